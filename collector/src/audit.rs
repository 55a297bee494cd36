//! Whether the records of a stream are still what its agent sealed. Pure: what the store holds goes in, in order, one record at
//! a time; what is known beside that is one hash.
//!
//! # What is checked
//! Of each record: that it follows the one before without a hole; that its hash comes of the bytes that are stored, its place
//! and the hash before (so the payload, the order and everything before it are those that were acknowledged); that its
//! signature is by the key that is pinned to the stream; that its payload can be read; and that it is found by the window that
//! the payload speaks of. Of the stream: that it ends where its head says.
//!
//! # What is not
//! Who can write the store can take the newest records and set the head back, or begin anew with a key of his own. The first
//! contradicts the agent, which goes on from the end that was acknowledged to it, and whoever noted an end: so the end is told
//! with the result. The second shows in the key's fingerprint, which the agent's own log names. From which record on a stream is
//! signed is the store's word too: who doubts that says it ([`Auditor::expect`]). What a key-holder measured stays his word; the
//! names and labels of agents are the collector's.

use crate::ingest::session::{Payload, SignatureError, Unread, check_signature};
use crate::store::{Evidence, SealedRecord, StreamInfo};
use probefleet_proto::evidence::Fingerprint;
use probefleet_proto::record::{Hash, Kind, Record, RecordError, SpoolId, genesis_hash};

/// What is wrong with a record, or with the stream, and what that means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A hole.
    #[error("records {0} to {1} are missing: they were removed from the store")]
    Missing(u64, u64),
    /// Two records for one sequence.
    #[error("it stands where record {0} is next: it was put there, or moved")]
    Order(u64),
    /// No such kind.
    #[error("its kind {0} does not exist: it was changed in the store")]
    Kind(u64),
    /// Not a record at all.
    #[error("it is no record: {0}")]
    Malformed(#[from] RecordError),
    /// The stored hash is not that of the stored bytes.
    #[error(
        "its hash is not that of its content, its place and the record before: one of them was changed in the store"
    )]
    Hash,
    /// The signature.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// Kept as another record than it was sealed, and not as a gap is that is cut at its front.
    #[error(
        "it was sealed as record {0}, and only a gap is ever kept as another, a later one: records before it were removed, or it was moved"
    )]
    Reach(u64),
    /// No signature, and the store alone says that there need not be one.
    #[error(
        "it is not signed, and only the store says that it need not be: it may have been made up; if the agent did not sign at first, give with --signed-from from which record on it does, as its log says (next_seq of the first start that names an evidence_key) or an earlier verify"
    )]
    Unvouched,
    /// No signature where whoever asks knows that there must be one.
    #[error(
        "it is not signed, and from record {0} on (--signed-from) all must be: it was put there, or its signature was removed"
    )]
    Unsigned(u64),
    /// No signature at all where there must be some.
    #[error(
        "none of these records is signed, so the key vouches for none of them, not even those before --signed-from: look at more of them, up to one that is signed; if there is none yet, they may have been made up"
    )]
    NoneSigned,
    /// The payload.
    #[error("its payload cannot be read: {0}")]
    Payload(String),
    /// The columns by which it is found.
    #[error(
        "it is filed under another window than its payload speaks of: a verdict over that window does not find it"
    )]
    Filed,
    /// The pinned key, of the whole stream.
    #[error("it is not signed by the key {0}: whose is the key that is pinned?")]
    Key(Fingerprint),
    /// The newest records, or the head.
    #[error(
        "the stream ends with this record, and its head says {0}: the newest records were removed, or the head was changed"
    )]
    Head(u64),
}

impl Problem {
    /// One word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Missing(..) => "missing",
            Self::Order(_) => "order",
            Self::Kind(_) => "kind",
            Self::Malformed(_) => "malformed",
            Self::Hash => "hash",
            Self::Signature(SignatureError::Missing(_))
            | Self::Unvouched
            | Self::Unsigned(_)
            | Self::NoneSigned => "unsigned",
            Self::Signature(_) => "signature",
            Self::Reach(_) => "reach",
            Self::Payload(_) => "payload",
            Self::Filed => "filed",
            Self::Key(_) => "key",
            Self::Head(_) => "head",
        }
    }
}

/// What a stream came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// First sequence that was looked at; 0 = none.
    pub from_seq: u64,
    /// Last sequence.
    pub to_seq: u64,
    /// Records, gaps among them.
    pub records: u64,
    /// Those that are signed; each signature was checked.
    pub signed: u64,
    /// Those that are not.
    pub unsigned: u64,
    /// Gap records.
    pub gaps: u64,
    /// Sequences that gaps stand for.
    pub lost: u64,
    /// The hash behind the last one.
    pub last_hash: Option<Hash>,
    /// How many problems there are.
    pub problems: u64,
    /// The first of them, with the sequence of its record.
    pub first_problem: Option<(u64, Problem)>,
}

/// Looks at one stream.
#[derive(Debug)]
pub struct Auditor {
    spool_id: SpoolId,
    evidence: Option<Evidence>,
    /// From this sequence on each record must be signed, whatever the store says; 0 = all, none = as the store says.
    must_sign_from: Option<u64>,
    next_seq: u64,
    /// What the next record may chain to: one hash, or, behind a record whose own is not right, the stored and the right one,
    /// so that one change counts once.
    before: Vec<Hash>,
    account: Account,
}

impl Auditor {
    /// From the beginning of a stream.
    #[must_use]
    pub fn new(info: &StreamInfo) -> Self {
        Self {
            spool_id: info.spool_id,
            evidence: info.evidence,
            must_sign_from: None,
            next_seq: 1,
            before: vec![genesis_hash(&info.spool_id)],
            account: Account::default(),
        }
    }

    /// Begins behind a record, whose hash is taken for right.
    pub fn begin_behind(&mut self, record: &SealedRecord) {
        self.before = record.hash.as_slice().try_into().into_iter().collect();
        self.next_seq = record.seq_to.saturating_add(1);
    }

    /// The stream must be signed by the key with this fingerprint: each record, or those from `signed_from` on. What the store
    /// says of that is not believed: who can write it can have records of his own lie before the first signature.
    pub fn expect(&mut self, key: Fingerprint, signed_from: Option<u64>) {
        self.must_sign_from = Some(signed_from.unwrap_or(0));
        let pinned = self.evidence.map(|evidence| evidence.key.fingerprint());
        if pinned != Some(key) {
            self.note(0, Problem::Key(key));
        }
    }

    /// Looks at the next record.
    pub fn take(&mut self, stored: &SealedRecord) {
        let account = &mut self.account;
        if account.from_seq == 0 {
            account.from_seq = stored.seq;
        }
        account.records += 1;
        if stored.signature.is_empty() {
            account.unsigned += 1;
        } else {
            account.signed += 1;
        }
        if stored.kind == u64::from(Kind::Gap.code()) {
            account.gaps += 1;
            let lost = stored.seq_to.saturating_sub(stored.seq).saturating_add(1);
            account.lost = account.lost.saturating_add(lost);
        }
        if stored.seq > self.next_seq {
            self.note(stored.seq, Problem::Missing(self.next_seq, stored.seq - 1));
        } else if stored.seq < self.next_seq {
            self.note(stored.seq, Problem::Order(self.next_seq));
        }
        let is_whole = stored.seq == self.next_seq;
        match self.check(stored, is_whole) {
            Ok(hash) => {
                self.before = vec![hash];
                if let Some(problem) = self.unsigned(stored) {
                    self.note(stored.seq, problem);
                }
            }
            Err((problem, right)) => {
                self.note(stored.seq, problem);
                let stored_hash = stored.hash.as_slice().try_into().ok();
                self.before = stored_hash.into_iter().chain(right).collect();
            }
        }
        self.next_seq = stored.seq_to.max(stored.seq).saturating_add(1);
        (self.account.to_seq, self.account.last_hash) =
            (stored.seq_to, self.before.first().copied());
    }

    fn note(&mut self, seq: u64, problem: Problem) {
        self.account.problems += 1;
        self.account.first_problem.get_or_insert((seq, problem));
    }

    /// What is wrong with a record that is unsigned although whoever asks says that it must not be.
    fn unsigned(&self, stored: &SealedRecord) -> Option<Problem> {
        let from = self.must_sign_from?;
        if !stored.signature.is_empty() || stored.seq_to < from {
            return None;
        }
        Some(if from == 0 { Problem::Unvouched } else { Problem::Unsigned(from) })
    }

    /// The hash behind a record that is sound. Of another: what is wrong, and the hash that it should have, if that is known.
    /// Behind a hole the hash before is not known, and neither is whether this one's is right.
    fn check(
        &self,
        stored: &SealedRecord,
        is_whole: bool,
    ) -> Result<Hash, (Problem, Option<Hash>)> {
        let kind = u8::try_from(stored.kind).ok().and_then(Kind::from_code);
        let kind = kind.ok_or((Problem::Kind(stored.kind), None))?;
        check_cut(stored, kind).map_err(|problem| (problem, None))?;
        let stored_hash: Option<Hash> = stored.hash.as_slice().try_into().ok();
        let chained = |before: Hash| -> Result<(Record, Hash), Problem> {
            let record = self.as_sealed(stored, kind, before)?;
            let hash = record.hash(&self.spool_id)?;
            Ok((record, hash))
        };
        let mut right = None;
        let mut found = None;
        for before in &self.before {
            let (record, hash) = chained(*before).map_err(|problem| (problem, None))?;
            right = right.or(Some(hash));
            if Some(hash) == stored_hash {
                let signed = check_signature(self.evidence.as_ref(), &record, &self.spool_id);
                let is_sound = signed.is_ok();
                found = Some((record, hash, signed));
                if is_sound {
                    break;
                }
            }
        }
        let Some((record, hash, signed)) = found else {
            let problem = if is_whole && !self.before.is_empty() {
                Problem::Hash
            } else {
                // One problem is told already: the hole. What is stored is gone on from.
                return stored_hash.ok_or((Problem::Hash, None));
            };
            return Err((problem, right));
        };
        let after = |problem: Problem| (problem, Some(hash));
        signed.map_err(|error| after(error.into()))?;
        let payload = Payload::read(&record).map_err(|unread| {
            let (Unread::Newer(why) | Unread::Poison(why)) = unread;
            after(Problem::Payload(why))
        })?;
        let filed = (stored.window_s, stored.window_start_s);
        if filed == (u64::from(payload.window_s), payload.window_start_s) {
            Ok(hash)
        } else {
            Err(after(Problem::Filed))
        }
    }

    /// The record as its agent sealed it.
    fn as_sealed(
        &self,
        stored: &SealedRecord,
        kind: Kind,
        before: Hash,
    ) -> Result<Record, RecordError> {
        let (seq, prev_hash) = match &stored.reaches_back {
            Some((seq, prev_hash)) => (*seq, prev_hash.clone()),
            None => (stored.seq, before.to_vec()),
        };
        let wire = probefleet_proto::v1::Record {
            seq,
            seq_to: stored.seq_to,
            kind: i32::from(kind.code()),
            prev_hash,
            payload: stored.payload.clone(),
            signature: stored.signature.clone(),
        };
        Record::try_from(wire)
    }

    /// The stream ends here; `head` is where it says so, unless only a part of it was looked at.
    #[must_use]
    pub fn end(mut self, head: Option<(u64, &[u8])>) -> Account {
        let found = (self.next_seq - 1, self.before.iter().map(Hash::as_slice).collect::<Vec<_>>());
        if let Some((last_seq, last_hash)) = head
            && (found.0 != last_seq || !found.1.contains(&last_hash))
        {
            self.note(found.0, Problem::Head(last_seq));
        }
        let Account { to_seq, records, signed, problems, .. } = self.account;
        if self.must_sign_from.is_some() && problems == 0 && records > 0 && signed == 0 {
            self.note(to_seq, Problem::NoneSigned);
        }
        self.account
    }
}

/// Whether a record that is stored as another than it was sealed is a gap that is cut at its front, as one is that reaches back
/// over records that are held: it is kept from the first sequence that it settles. Of any other, what it was sealed as would
/// hide that records before it are gone, or put in place of others.
fn check_cut(stored: &SealedRecord, kind: Kind) -> Result<(), Problem> {
    let Some((sealed_seq, _)) = stored.reaches_back else { return Ok(()) };
    let is_cut = kind == Kind::Gap && sealed_seq < stored.seq && stored.seq <= stored.seq_to;
    if is_cut { Ok(()) } else { Err(Problem::Reach(sealed_seq)) }
}

#[cfg(test)]
mod tests;
