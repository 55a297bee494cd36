//! The bytes of a segment: a header, then records. Pure; every integer is little-endian.

use probefleet_proto::record::{Hash, Kind, PAYLOAD_MAX_BYTES, Record, SpoolId};

/// The version that this program writes, and the only one that it reads.
pub(super) const FORMAT_VERSION: u32 = 1;
/// `magic 8 ‖ version u32 ‖ spool_id 16 ‖ first_seq u64 ‖ prev_hash 32 ‖ crc32c u32`.
pub(super) const HEADER_BYTES: usize = 72;
/// What a record takes beside its payload: `len u32 ‖ crc32c u32 ‖ body without payload`.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 8 + BODY_MIN_BYTES;

const MAGIC: [u8; 8] = *b"PFSPOOL\0";
/// `kind u8 ‖ seq u64 ‖ seq_to u64 ‖ prev_hash 32 ‖ signature 64`.
const BODY_MIN_BYTES: usize = 1 + 8 + 8 + 32 + SIGNATURE_BYTES;
const BODY_MAX_BYTES: usize = BODY_MIN_BYTES + PAYLOAD_MAX_BYTES;
const SIGNATURE_BYTES: usize = 64;

/// What every segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The spool that the segment belongs to.
    pub(super) spool_id: SpoolId,
    /// Sequence of the segment's first record.
    pub(super) first_seq: u64,
    /// Hash that the first record chains to.
    pub(super) prev_hash: Hash,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Too short, or its checksum does not fit.
    Damaged,
    /// Intact, but of a format that this program does not read.
    Version(u32),
}

impl Header {
    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        fields.extend_from_slice(&self.spool_id);
        fields.extend_from_slice(&self.first_seq.to_le_bytes());
        fields.extend_from_slice(&self.prev_hash);
        fields.extend_from_slice(&crc32c::crc32c(&fields).to_le_bytes());
        let mut bytes = [0; HEADER_BYTES];
        bytes.copy_from_slice(&fields);
        bytes
    }

    /// Reads the header that `bytes` begin with.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader(bytes.get(..HEADER_BYTES).ok_or(HeaderError::Damaged)?);
        let checksum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        let parsed = (|| {
            let (magic, version) = (reader.array::<8>()?, reader.u32()?);
            let header = Self {
                spool_id: reader.array()?,
                first_seq: reader.u64()?,
                prev_hash: reader.array()?,
            };
            (magic == MAGIC && reader.u32()? == checksum).then_some((version, header))
        })();
        match parsed {
            Some((FORMAT_VERSION, header)) => Ok(header),
            Some((version, _)) => Err(HeaderError::Version(version)),
            None => Err(HeaderError::Damaged),
        }
    }
}

/// A record as it lies in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    /// Its first sequence.
    pub(super) seq: u64,
    /// Its last sequence.
    pub(super) seq_to: u64,
    /// What the payload is.
    pub(super) kind: Kind,
    /// Hash of the record before.
    pub(super) prev_hash: Hash,
    /// 64 bytes; all zero = unsigned.
    signature: &'a [u8],
    /// The payload.
    pub(super) payload: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads the record that `bytes` begin with; none unless each of its bits is as it was written.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        Self::decode_within(bytes, 1, u64::MAX)
    }

    /// As [`Stored::decode`], but only a record whose first sequence is in `[from, until)`. That is checked before the
    /// checksum, which makes a search through damaged bytes cheap.
    pub(super) fn decode_within(bytes: &'a [u8], from: u64, until: u64) -> Option<Self> {
        let mut reader = Reader(bytes);
        let len_bytes = reader.array::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(len_bytes)).ok()?;
        if !(BODY_MIN_BYTES..=BODY_MAX_BYTES).contains(&len) {
            return None;
        }
        let checksum = reader.u32()?;
        let body = reader.take(len)?;
        let mut reader = Reader(body);
        let kind = Kind::from_code(reader.array::<1>()?[0])?;
        let (seq, seq_to) = (reader.u64()?, reader.u64()?);
        let in_order = if kind == Kind::Gap { seq_to >= seq } else { seq_to == seq };
        if !in_order || !(from..until).contains(&seq) {
            return None;
        }
        if crc32c::crc32c_append(crc32c::crc32c(&len_bytes), body) != checksum {
            return None;
        }
        let prev_hash = reader.array()?;
        let signature = reader.take(SIGNATURE_BYTES)?;
        Some(Self { seq, seq_to, kind, prev_hash, signature, payload: reader.0 })
    }

    /// Bytes that it takes in the segment.
    pub(super) const fn stored_bytes(&self) -> usize {
        RECORD_OVERHEAD_BYTES + self.payload.len()
    }

    /// The record by itself.
    pub(super) fn to_record(self) -> Record {
        let signed = self.signature.iter().any(|byte| *byte != 0);
        Record {
            seq: self.seq,
            seq_to: self.seq_to,
            kind: self.kind,
            prev_hash: self.prev_hash,
            payload: self.payload.to_vec(),
            signature: if signed { self.signature.to_vec() } else { Vec::new() },
        }
    }
}

/// Appends a record's bytes to `out`. The payload has at most [`PAYLOAD_MAX_BYTES`].
pub(super) fn encode_record(record: &Record, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(BODY_MIN_BYTES + record.payload.len());
    body.push(record.kind.code());
    body.extend_from_slice(&record.seq.to_le_bytes());
    body.extend_from_slice(&record.seq_to.to_le_bytes());
    body.extend_from_slice(&record.prev_hash);
    let mut signature = [0; SIGNATURE_BYTES];
    if record.signature.len() == SIGNATURE_BYTES {
        signature.copy_from_slice(&record.signature);
    }
    body.extend_from_slice(&signature);
    body.extend_from_slice(&record.payload);
    // A length that does not fit is read back as no record at all, never as another one.
    let len_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&len_bytes), &body);
    out.extend_from_slice(&len_bytes);
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&body);
}

/// Takes fields off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8], signature: Vec<u8>) -> Record {
        Record {
            seq: 5,
            seq_to: 5,
            kind: Kind::Event,
            prev_hash: [3; 32],
            payload: payload.to_vec(),
            signature,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for signature in [vec![], vec![7; 64]] {
            let record = record(b"payload", signature);
            let mut bytes = Vec::new();
            encode_record(&record, &mut bytes);
            assert_eq!(bytes.len(), RECORD_OVERHEAD_BYTES + 7);
            let stored = Stored::decode(&bytes).expect("intact");
            assert_eq!(stored.stored_bytes(), bytes.len());
            assert_eq!(stored.to_record(), record);
        }
    }

    #[test]
    fn each_flipped_bit_and_each_cut_is_seen() {
        let mut bytes = Vec::new();
        encode_record(&record(b"payload", vec![]), &mut bytes);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Stored::decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert_eq!(Stored::decode(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(Stored::decode(&[0; 4096]), None, "zeros are no record");
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_read() {
        let mut bytes = Vec::new();
        encode_record(&record(&vec![0; PAYLOAD_MAX_BYTES + 1], vec![]), &mut bytes);
        assert_eq!(Stored::decode(&bytes), None);
    }

    #[test]
    fn headers_are_read_and_newer_formats_are_named() {
        let header = Header { spool_id: [1; 16], first_seq: 9, prev_hash: [2; 32] };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        for bit in 0..HEADER_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), Err(HeaderError::Damaged), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        bytes[8] = 2;
        let checksum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(HeaderError::Version(2)));
        assert_eq!(Header::decode(&bytes[..71]), Err(HeaderError::Damaged));
    }
}
