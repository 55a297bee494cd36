//! Records: the numbered, hash-chained units of a spool (`formats.md` §6).
//!
//! ```text
//! hash      = SHA-256("probefleet record v1\0" ‖ spool_id 16 ‖ seq u64 ‖ seq_to u64 ‖ kind u8 ‖ prev_hash 32 ‖ SHA-256(payload))
//! prev_hash = hash of the record before; of record 1: SHA-256("probefleet spool v1\0" ‖ spool_id)
//! ```
//! Integers are big-endian. `seq` is dense from 1. A gap stands for `[seq, seq_to]`; its hash is the one it names,
//! because the records behind it chain to the last record that it replaces.
//!
//! A signature is Ed25519 over the hash by the first formula, for gaps too ([`Record::content_hash`]), with the agent's
//! [evidence key](crate::evidence): whoever has a record as it was sealed, its spool's identity and the public key can check
//! it with nothing else.

use crate::v1;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// A SHA-256 value.
pub type Hash = [u8; 32];
/// Identity of a spool: 16 random bytes.
pub type SpoolId = [u8; 16];

/// Largest payload: a report is split before it grows beyond (`formats.md` §5).
pub const PAYLOAD_MAX_BYTES: usize = 128 << 10;
/// Largest gRPC message, so that one hostile frame cannot cost more (`formats.md` §7).
pub const MESSAGE_MAX_BYTES: usize = 256 << 10;
/// Largest message down, in which a plan comes whole: 10,000 probes need a few MiB, and what people write, 4 MiB at most,
/// does not become four times as much by its defaults.
pub const PLAN_MESSAGE_MAX_BYTES: usize = 16 << 20;
/// Least credit a collector grants, so that the largest record always fits (`formats.md` §7).
pub const CREDIT_MIN_BYTES: u32 = 256 << 10;

const RECORD_DOMAIN: &[u8] = b"probefleet record v1\0";
const SPOOL_DOMAIN: &[u8] = b"probefleet spool v1\0";

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Cells of one window.
    Report,
    /// Records that will never come.
    Gap,
    /// Something an auditor should know.
    Event,
}

impl Kind {
    /// The byte that is hashed, stored and sent.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Report => 1,
            Self::Gap => 2,
            Self::Event => 3,
        }
    }

    /// The kind of that byte.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Report),
            2 => Some(Self::Gap),
            3 => Some(Self::Event),
            _ => None,
        }
    }
}

/// A record of a known spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Dense, from 1.
    pub seq: u64,
    /// Equal to `seq`, but for a gap.
    pub seq_to: u64,
    /// What the payload is.
    pub kind: Kind,
    /// Hash of the record before.
    pub prev_hash: Hash,
    /// Encoded once by the agent, never again.
    pub payload: Vec<u8>,
    /// Ed25519 over the hash, or empty.
    pub signature: Vec<u8>,
}

/// Why a record cannot be taken, whatever the chain says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Neither report, gap nor event.
    #[error("unknown kind {0}")]
    Kind(i32),
    /// `seq` 0, `seq_to` below `seq`, or a range on something that is no gap.
    #[error("sequence [{0}, {1}] does not fit the kind")]
    Sequence(u64, u64),
    /// Not 32 bytes.
    #[error("prev_hash has {0} bytes, not 32")]
    PrevHash(usize),
    /// Larger than [`PAYLOAD_MAX_BYTES`].
    #[error("payload has {0} bytes, more than {PAYLOAD_MAX_BYTES}")]
    PayloadSize(usize),
    /// Neither empty nor 64 bytes.
    #[error("signature has {0} bytes, neither 0 nor 64")]
    Signature(usize),
    /// A gap whose payload does not say with which hash it ends.
    #[error("the gap's payload is malformed")]
    Gap,
}

impl Record {
    /// The hash that the next record chains to.
    ///
    /// # Errors
    /// [`RecordError::Gap`] when a gap's payload does not name its hash.
    pub fn hash(&self, spool_id: &SpoolId) -> Result<Hash, RecordError> {
        if self.kind == Kind::Gap {
            let gap = v1::Gap::decode(self.payload.as_slice()).map_err(|_| RecordError::Gap)?;
            return gap.to_hash.as_slice().try_into().map_err(|_| RecordError::Gap);
        }
        Ok(self.content_hash(spool_id))
    }

    /// The hash over the record's own content, which a signature covers; differs from [`Record::hash`] for gaps only.
    #[must_use]
    pub fn content_hash(&self, spool_id: &SpoolId) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(RECORD_DOMAIN);
        hasher.update(spool_id);
        hasher.update(self.seq.to_be_bytes());
        hasher.update(self.seq_to.to_be_bytes());
        hasher.update([self.kind.code()]);
        hasher.update(self.prev_hash);
        hasher.update(Sha256::digest(&self.payload));
        hasher.finalize().into()
    }
}

/// The `prev_hash` of record 1.
#[must_use]
pub fn genesis_hash(spool_id: &SpoolId) -> Hash {
    Sha256::new().chain_update(SPOOL_DOMAIN).chain_update(spool_id).finalize().into()
}

impl TryFrom<v1::Record> for Record {
    type Error = RecordError;

    fn try_from(wire: v1::Record) -> Result<Self, RecordError> {
        let kind = u8::try_from(wire.kind)
            .ok()
            .and_then(Kind::from_code)
            .ok_or(RecordError::Kind(wire.kind))?;
        let ordered = wire.seq >= 1
            && (wire.seq_to == wire.seq || (kind == Kind::Gap && wire.seq_to > wire.seq));
        if !ordered {
            return Err(RecordError::Sequence(wire.seq, wire.seq_to));
        }
        let prev_hash = wire
            .prev_hash
            .as_slice()
            .try_into()
            .map_err(|_| RecordError::PrevHash(wire.prev_hash.len()))?;
        if wire.payload.len() > PAYLOAD_MAX_BYTES {
            return Err(RecordError::PayloadSize(wire.payload.len()));
        }
        if !matches!(wire.signature.len(), 0 | 64) {
            return Err(RecordError::Signature(wire.signature.len()));
        }
        let (payload, signature) = (wire.payload, wire.signature);
        Ok(Self { seq: wire.seq, seq_to: wire.seq_to, kind, prev_hash, payload, signature })
    }
}

impl From<Record> for v1::Record {
    fn from(record: Record) -> Self {
        Self {
            seq: record.seq,
            seq_to: record.seq_to,
            kind: i32::from(record.kind.code()),
            prev_hash: record.prev_hash.to_vec(),
            payload: record.payload,
            signature: record.signature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOOL: SpoolId = [7; 16];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn report(seq: u64, prev_hash: Hash) -> Record {
        Record {
            seq,
            seq_to: seq,
            kind: Kind::Report,
            prev_hash,
            payload: b"payload".to_vec(),
            signature: vec![],
        }
    }

    /// Golden values, computed by hand with Python's hashlib: later versions must chain alike.
    #[test]
    fn hashes_are_those_of_the_format() {
        let genesis = genesis_hash(&SPOOL);
        assert_eq!(
            hex(&genesis),
            "19ea5cbf130cbd4028122c57a5d168dd40981d199bd4722c1667b9b4fc31d513"
        );
        let hash = report(1, genesis).hash(&SPOOL).expect("a report");
        assert_eq!(hex(&hash), "e7d86a03940e11fe3be71190a51c61242ca84ef7b8f4bf7e705cd4d7123ae076");
    }

    #[test]
    fn a_gap_ends_with_the_hash_it_names() {
        let gap = v1::Gap { to_hash: vec![9; 32], ..v1::Gap::default() };
        let mut record = report(3, [1; 32]);
        (record.kind, record.seq_to, record.payload) = (Kind::Gap, 8, gap.encode_to_vec());
        assert_eq!(record.hash(&SPOOL), Ok([9; 32]));
        record.payload = v1::Gap::default().encode_to_vec();
        assert_eq!(record.hash(&SPOOL), Err(RecordError::Gap));
    }

    #[test]
    fn the_wire_is_checked() {
        let good: v1::Record = report(1, [0; 32]).into();
        assert_eq!(Record::try_from(good.clone()), Ok(report(1, [0; 32])));
        let broken = |change: fn(&mut v1::Record)| {
            let mut wire = good.clone();
            change(&mut wire);
            Record::try_from(wire).expect_err("broken")
        };
        assert_eq!(broken(|r| r.kind = 0), RecordError::Kind(0));
        assert_eq!(broken(|r| r.seq = 0), RecordError::Sequence(0, 1));
        assert_eq!(broken(|r| r.seq_to = 2), RecordError::Sequence(1, 2));
        assert_eq!(broken(|r| r.prev_hash.truncate(31)), RecordError::PrevHash(31));
        assert_eq!(
            broken(|r| r.payload = vec![0; PAYLOAD_MAX_BYTES + 1]),
            RecordError::PayloadSize(131_073)
        );
        assert_eq!(broken(|r| r.signature = vec![0; 63]), RecordError::Signature(63));
    }
}
