//! What a collector answers to an agent: the rules of a session, without socket, store or clock.
//!
//! A frame of records is sorted into what is held already, what continues the chain, and the first record that can not
//! be taken ([`Session::sort`]). Whoever drives the session compares the first with the store, commits the second, and
//! sends what comes of it: [`super::accept`].
//!
//! # Signatures
//! The first key that a Hello names is pinned to the spool, over TLS or the loopback alike. From `next_seq` of that Hello on
//! every record must be signed by it; before that, a version that did not sign may have sealed it. Nothing comes into the
//! store with a signature that was not checked: what is signed while no key is known is not taken either. A record that is
//! held already is compared by its hash alone, so that what comes twice costs nothing.

use crate::evidence::is_signed_by;
use crate::store::{Batch, Evidence, Head, Held, NewRecord, Opened, StreamId};
use crate::text::{bounded, cut};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::health::is_suspect;
use probefleet_proto::label::{LABEL_MAX_BYTES, LABELS_MAX, Labels, label_text};
use probefleet_proto::name::Name;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use probefleet_proto::report::{self, Report, ReportError};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1::{self, nack::Code};
use prost::{DecodeError, Message as _};
use uuid::Uuid;

/// The protocol that is spoken here.
pub const PROTOCOL: u32 = 1;
/// Payload bytes that an agent may have unacknowledged: eight of the largest reports, so that a round trip is never
/// waited for, and little enough to lose with a connection.
pub const CREDIT_BYTES: u32 = 1 << 20;
/// When to come back after the store failed, milliseconds: it is given time to recover, the spool holds meanwhile.
pub const BUSY_RETRY_MS: u32 = 5_000;
/// Sequences and instants are signed in every store.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// The label that every agent has without being given it: its name.
const AGENT_LABEL: &str = "agent";

/// A Hello that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The spool's identity.
    pub spool_id: SpoolId,
    /// Hash of the plan in force; empty = none.
    pub plan_hash: Vec<u8>,
    /// Version of the agent's program.
    pub version: String,
    /// Name at first sight.
    pub proposed_name: Name,
    /// Labels at first sight.
    pub proposed_labels: Labels,
    /// The agent's clock, Unix ns.
    pub wall_time_ns: u64,
    /// The key that it names, and from which sequence on it signs by it.
    pub evidence: Option<Evidence>,
    /// What of the proposal could not be used, for the log.
    pub ignored: Vec<String>,
}

/// Why a frame is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class that the agent acts on.
    pub code: Code,
    /// For people.
    pub text: String,
    /// When to try again, milliseconds.
    pub retry_after_ms: u32,
    /// What is the matter.
    pub cause: Cause,
}

/// What is the matter when something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The agent, or what it says.
    Agent,
    /// The store is not well; nothing is wrong with the agent.
    Store,
    /// The agent comes with too many new spools ([`super::newcomers`]).
    NewSpool,
}

impl Refusal {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retry_after_ms: 0, cause: Cause::Agent }
    }

    /// The store is not well; nothing is wrong with the agent.
    pub(super) fn busy(text: impl Into<String>) -> Self {
        let cause = Cause::Store;
        Self { retry_after_ms: BUSY_RETRY_MS, cause, ..Self::new(Code::Busy, text) }
    }

    /// It begins too many streams. When it may begin the next is said by who counts them.
    pub(super) fn new_spool(text: impl Into<String>) -> Self {
        Self { cause: Cause::NewSpool, ..Self::busy(text) }
    }

    /// Whether the session is over: the agent can do nothing about it within it.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        !matches!(self.code, Code::OutOfOrder | Code::Poison | Code::Busy)
    }

    /// As it travels, with the sequence that is expected next.
    #[must_use]
    pub fn into_nack(self, expected_seq: u64) -> v1::Nack {
        let (code, retry_after_ms) = (i32::from(self.code), self.retry_after_ms);
        v1::Nack { expected_seq, code, retry_after_ms, text: self.text }
    }
}

/// Reads the first message of a session.
///
/// # Errors
/// [`Refusal`] when another protocol is spoken, or an identity has the wrong length.
pub fn greet(hello: v1::Hello, agent: Uuid) -> Result<Greeting, Refusal> {
    if hello.protocol != PROTOCOL {
        let text = format!(
            "this collector speaks protocol {PROTOCOL}, the agent {}: upgrade the older of the two",
            hello.protocol
        );
        return Err(Refusal::new(Code::Version, text));
    }
    let malformed = |what: &str, length: usize| {
        Refusal::new(Code::Version, format!("Hello.{what} has {length} bytes"))
    };
    let spool_id = hello.spool_id.as_slice().try_into();
    let spool_id = spool_id.map_err(|_| malformed("spool_id", hello.spool_id.len()))?;
    if !matches!(hello.plan_hash.len(), 0 | 32) {
        return Err(malformed("plan_hash", hello.plan_hash.len()));
    }
    let evidence = offered(&hello)?;
    let mut ignored = Vec::new();
    let proposed_name = Name::new(&hello.proposed_name).unwrap_or_else(|error| {
        ignored.push(format!("name: {error}"));
        name_of(agent)
    });
    let proposed_labels = usable_labels(hello.proposed_labels, &mut ignored);
    Ok(Greeting {
        spool_id,
        plan_hash: hello.plan_hash,
        version: bounded(&hello.version),
        proposed_name,
        proposed_labels,
        wall_time_ns: hello.wall_time_ns,
        evidence,
        ignored,
    })
}

/// The key that a Hello names.
fn offered(hello: &v1::Hello) -> Result<Option<Evidence>, Refusal> {
    if hello.evidence_key.is_empty() {
        return Ok(None);
    }
    let unusable = |why: &str| Refusal::new(Code::Version, format!("Hello.evidence_key {why}"));
    let bytes = hello.evidence_key.as_slice().try_into();
    let bytes =
        bytes.map_err(|_| unusable(&format!("has {} bytes, not 32", hello.evidence_key.len())))?;
    let key = PublicKey::new(bytes).map_err(|weak| unusable(&format!("is unusable: {weak}")))?;
    if !(1..=NUMBER_MAX).contains(&hello.next_seq) {
        return Err(unusable("came with a next_seq that is out of range"));
    }
    Ok(Some(Evidence { key, signed_from: hello.next_seq }))
}

/// The name of an agent that proposed none: the random end of its id.
#[expect(clippy::expect_used, reason = "hexadecimal digits are a name")]
fn name_of(agent: Uuid) -> Name {
    let digits = agent.simple().to_string();
    Name::new(&format!("agent-{}", &digits[digits.len() - 8..])).expect("hexadecimal digits")
}

fn usable_labels(
    proposed: std::collections::HashMap<String, String>,
    ignored: &mut Vec<String>,
) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in proposed {
        match (label_text(&key), label_text(&value)) {
            (Ok(key), Ok(value)) if key != AGENT_LABEL && labels.len() < LABELS_MAX => {
                labels.insert(key, value);
            }
            _ => ignored.push(format!("label `{}`", cut(&key, LABEL_MAX_BYTES))),
        }
    }
    labels
}

/// One session, after Hello.
#[derive(Clone, Debug)]
pub struct Session {
    spool_id: SpoolId,
    stream: StreamId,
    head: Head,
    evidence: Option<Evidence>,
}

/// A frame, sorted.
#[derive(Debug, Default)]
pub struct Sorted {
    /// What the store must hold for the frame to be true.
    pub claims: Vec<Claim>,
    /// What continues the chain, in order.
    pub fresh: Vec<NewRecord>,
    /// What all records of the newest fresh report share.
    pub newest: Option<report::Head>,
    /// Fresh reports that their agent does not trust.
    pub suspects: u64,
    /// Records that are held already.
    pub duplicates: usize,
    /// Why the first record that is in none of these cannot be taken.
    pub refused: Option<Refusal>,
}

/// The record that ends at a sequence has this hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its last sequence.
    pub seq_to: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Session {
    /// The session that the store has opened.
    #[must_use]
    pub fn new(spool_id: SpoolId, opened: &Opened) -> Self {
        Self { spool_id, stream: opened.stream, head: opened.head, evidence: opened.evidence }
    }

    /// What is committed.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The spool that it is about.
    #[must_use]
    pub fn spool_id(&self) -> SpoolId {
        self.spool_id
    }

    /// How its records are signed.
    #[must_use]
    pub fn evidence(&self) -> Option<Evidence> {
        self.evidence
    }

    /// The stream of its spool.
    #[must_use]
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// The answer to Hello; within what time to come back is said by who knows the fleet.
    #[must_use]
    pub fn welcome(&self, agent: Uuid, now_ns: u64) -> v1::Welcome {
        v1::Welcome {
            agent_id: agent.as_bytes().to_vec(),
            last_seq: self.head.last_seq,
            last_hash: self.head.last_hash.to_vec(),
            session: self.head.session,
            credit_bytes: CREDIT_BYTES,
            wall_time_ns: now_ns,
            reconnect_within_ms: 0,
        }
    }

    /// Acknowledges what is committed.
    #[must_use]
    pub fn ack(&self, now_ns: u64) -> v1::Ack {
        v1::Ack {
            last_seq: self.head.last_seq,
            last_hash: self.head.last_hash.to_vec(),
            credit_bytes: CREDIT_BYTES,
            wall_time_ns: now_ns,
        }
    }

    /// The refusal as it travels.
    #[must_use]
    pub fn nack(&self, refusal: Refusal) -> v1::Nack {
        refusal.into_nack(self.head.last_seq.saturating_add(1))
    }

    /// Takes the head as the store has it now, after a commit that conflicted or did not say how it ended.
    ///
    /// # Errors
    /// [`Refusal`] when a newer session may commit and this one may not.
    pub fn reread(&mut self, head: Head) -> Result<(), Refusal> {
        if head.session != self.head.session {
            return Err(Refusal::new(
                Code::Fenced,
                "a newer session of this spool exists: is the agent running twice?",
            ));
        }
        self.head = head;
        Ok(())
    }

    /// Sorts a frame. Nothing changes until [`Session::committed`].
    #[must_use]
    pub fn sort(&self, data: &v1::Data) -> Sorted {
        let mut sorted = Sorted::default();
        if data.session != self.head.session {
            sorted.refused = Some(Refusal::new(Code::Fenced, "the frame is of another session"));
            return sorted;
        }
        let (spool_id, evidence) = (&self.spool_id, self.evidence.as_ref());
        let mut tip = Tip { head: self.head, spool_id, evidence, sorted: &mut sorted };
        for record in &data.records {
            if let Err(refusal) = tip.take(record, self.head.last_seq) {
                sorted.refused = Some(refusal);
                break;
            }
        }
        sorted
    }

    /// The batch that commits the fresh records of a sorted frame.
    #[must_use]
    pub fn batch(&self, fresh: Vec<NewRecord>, received_s: u64) -> Batch {
        Batch { stream: self.stream, expected: self.head, records: fresh, received_s }
    }

    /// The fresh records are durable.
    pub fn committed(&mut self, last: (u64, Hash)) {
        (self.head.last_seq, self.head.last_hash) = last;
    }
}

/// Compares what a frame claims with what the store holds. A claim about the inside of a gap cannot be checked and
/// needs no check: whatever was there is accounted for.
///
/// # Errors
/// [`Refusal`] when the agent's chain is not the one that is stored.
pub fn compare(claims: &[Claim], held: &[Option<Held>]) -> Result<(), Refusal> {
    for (claim, held) in claims.iter().zip(held) {
        let same = held.is_some_and(|held| held.seq_to > claim.seq_to || held.hash == claim.hash);
        if !same {
            return Err(fork(claim.seq_to));
        }
    }
    Ok(())
}

fn fork(seq: u64) -> Refusal {
    let text = format!(
        "record {seq} differs from the one that is stored: this spool was copied, or set back to an earlier state"
    );
    Refusal::new(Code::Fork, text)
}

/// The end of the chain while a frame is being sorted.
struct Tip<'a> {
    head: Head,
    spool_id: &'a SpoolId,
    evidence: Option<&'a Evidence>,
    sorted: &'a mut Sorted,
}

impl Tip<'_> {
    fn take(&mut self, wire: &v1::Record, committed_seq: u64) -> Result<(), Refusal> {
        let expected_seq = self.head.last_seq.saturating_add(1);
        if wire.seq > expected_seq {
            let text = format!("record {} came where {expected_seq} is next", wire.seq);
            return Err(Refusal::new(Code::OutOfOrder, text));
        }
        let poison = |why: String| {
            Refusal::new(Code::Poison, format!("record {} cannot be taken: {why}", wire.seq))
        };
        let record = Record::try_from(wire.clone()).map_err(|error| poison(error.to_string()))?;
        if record.seq_to > NUMBER_MAX {
            return Err(poison("its sequence is out of range".to_owned()));
        }
        let hash = record.hash(self.spool_id).map_err(|error| poison(error.to_string()))?;
        if record.seq_to <= self.head.last_seq {
            self.sorted.duplicates += 1;
            return self.claim(Claim { seq_to: record.seq_to, hash }, committed_seq);
        }
        self.check_chain(&record, committed_seq)?;
        check_signature(self.evidence, &record, self.spool_id)
            .map_err(|error| poison(error.to_string()))?;
        let payload = Payload::read(&record).map_err(|unread| match unread {
            Unread::Newer(why) => {
                Refusal::new(Code::Version, format!("record {} has {why}", wire.seq))
            }
            Unread::Poison(why) => poison(why),
        })?;
        self.push(record, hash, payload);
        Ok(())
    }

    /// The record chains to the tip; a gap may reach back over records that are held: the agent could not know that
    /// they had arrived. Then it must chain to where it begins.
    fn check_chain(&mut self, record: &Record, committed_seq: u64) -> Result<(), Refusal> {
        if record.seq == self.head.last_seq + 1 {
            let chained = record.prev_hash == self.head.last_hash;
            return if chained { Ok(()) } else { Err(fork(record.seq)) };
        }
        if record.seq == 1 {
            let chained = record.prev_hash == genesis_hash(self.spool_id);
            return if chained { Ok(()) } else { Err(fork(record.seq)) };
        }
        self.claim(Claim { seq_to: record.seq - 1, hash: record.prev_hash }, committed_seq)
    }

    /// A claim about a record of this same frame is settled at once.
    fn claim(&mut self, claim: Claim, committed_seq: u64) -> Result<(), Refusal> {
        if claim.seq_to <= committed_seq {
            self.sorted.claims.push(claim);
            return Ok(());
        }
        let covers = |new: &&NewRecord| new.record.seq_to >= claim.seq_to;
        let same = self
            .sorted
            .fresh
            .iter()
            .find(covers)
            .is_some_and(|new| new.record.seq_to > claim.seq_to || new.hash == claim.hash);
        if same { Ok(()) } else { Err(fork(claim.seq_to)) }
    }

    fn push(&mut self, mut record: Record, hash: Hash, payload: Payload) {
        // A gap that reaches back is kept from the first sequence that it settles.
        let sealed_seq = record.seq;
        record.seq = self.head.last_seq + 1;
        (self.head.last_seq, self.head.last_hash) = (record.seq_to, hash);
        let Payload { window_s, window_start_s, report } = payload;
        self.sorted.fresh.push(NewRecord { record, sealed_seq, hash, window_s, window_start_s });
        let suspect = report.as_ref().is_some_and(|head| is_suspect(head.health.flags));
        self.sorted.suspects += u64::from(suspect);
        self.sorted.newest = report.or(self.sorted.newest.take());
    }
}

/// What is wrong with a signature, or with there being none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There must be one.
    #[error(
        "it is not signed, and from record {} on this spool's are, with the key {}; was the agent set back to a version that does not sign? Run the later one", .0.signed_from, .0.key
    )]
    Missing(Evidence),
    /// By another key, or over other bytes.
    #[error(
        "its signature is not by the key {} that is pinned to this spool; restore the agent's evidence.key, or, if it is this agent's own, suspect that the record was changed", .0.key
    )]
    Wrong(Evidence),
    /// Nothing to check it by.
    #[error(
        "it is signed, but the agent names no key; run the version of the agent that signed it, or a later one"
    )]
    WithoutKey,
}

/// Whether a record is signed as it must be.
///
/// # Errors
/// [`SignatureError`] when it is not.
pub fn check_signature(
    evidence: Option<&Evidence>,
    record: &Record,
    spool_id: &SpoolId,
) -> Result<(), SignatureError> {
    match (evidence, record.signature.is_empty()) {
        (None, false) => Err(SignatureError::WithoutKey),
        (Some(evidence), true) if record.seq_to >= evidence.signed_from => {
            Err(SignatureError::Missing(*evidence))
        }
        (None | Some(_), true) => Ok(()),
        (Some(evidence), false) => {
            let hash = record.content_hash(spool_id);
            let signed = is_signed_by(&evidence.key, &hash, &record.signature);
            if signed { Ok(()) } else { Err(SignatureError::Wrong(*evidence)) }
        }
    }
}

/// What the store's index needs of a payload, after all of it was checked.
pub(crate) struct Payload {
    pub(crate) window_s: u32,
    pub(crate) window_start_s: u64,
    pub(crate) report: Option<report::Head>,
}

/// Why a payload was not read.
pub(crate) enum Unread {
    /// A later collector reads it: the agent keeps it until then.
    Newer(String),
    /// Nobody ever will.
    Poison(String),
}

impl From<ReportError> for Unread {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Version(_) => Self::Newer(error.to_string()),
            error => Self::Poison(error.to_string()),
        }
    }
}

impl From<DecodeError> for Unread {
    fn from(error: DecodeError) -> Self {
        Self::Poison(error.to_string())
    }
}

impl Payload {
    pub(crate) fn read(record: &Record) -> Result<Self, Unread> {
        let payload = record.payload.as_slice();
        let read = match record.kind {
            Kind::Report => {
                let head = Report::decode(payload)?.head;
                Self {
                    window_s: head.window_s,
                    window_start_s: head.window_start_s,
                    report: Some(head),
                }
            }
            Kind::Gap => {
                let gap = v1::Gap::decode(payload)?;
                Self { window_s: 0, window_start_s: gap.from_s, report: None }
            }
            Kind::Event => {
                let event = v1::Event::decode(payload)?;
                Self { window_s: 0, window_start_s: event.wall_time_ns / NS_PER_S, report: None }
            }
        };
        if read.window_start_s > NUMBER_MAX {
            return Err(Unread::Poison("its window lies beyond the calendar".to_owned()));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
