//! Where records live: the sealed bytes as the agents sent them, and the head of every stream.
//!
//! One trait, one conformance suite ([`conformance`]) for every engine. An engine is a member of [`AnyStore`], not a
//! `dyn`. Every method takes a [`TenantScope`]: what belongs to another tenant does not exist.
//!
//! The promise that money hangs on is [`Store::commit`]: it inserts records and moves the stream's head in one
//! transaction, and only if the head is still where the caller saw it. So a record is in the store exactly once,
//! whoever sends it how often, through however many collectors. What was published of a period stands beside them, as
//! revisions that are only ever added ([`Store::publish`]).

#[cfg(test)]
mod conformance;
mod digests;
mod evidence;
mod revisions;
mod schema;
mod sql;
mod sqlite;

pub use digests::{Digest, HOUR_S, HOURS_PAGE, HourCursor, NewDigest, StoredHour};
pub use evidence::{Evidence, SealedRecord, StreamInfo};
pub use sqlite::{Durability, SqliteStore};

use crate::revision::Revision;
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId};
use std::fmt;
use std::future::Future;
use uuid::Uuid;

/// Most rows that one read returns, so that no read holds the reader, or memory, for long: 512 records of 128 KiB are
/// 64 MiB at worst, some 2 MiB in practice.
pub const PAGE_ROWS: u32 = 512;

/// Most revisions that one read returns: twenty years of days, or of months with twenty revisions each.
pub const REVISIONS_MAX: u32 = 8_192;

/// Whose data is meant. It comes from a certificate or from the configuration, never from a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantScope(String);

impl TenantScope {
    /// The scope of a tenant.
    #[must_use]
    pub fn new(tenant: &Name) -> Self {
        Self(tenant.as_str().to_owned())
    }

    /// The tenant's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantScope {
    /// The tenant `default`: the only one until there are others.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// A stream in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) i64);

/// Who opens a session, and what is used of it when the agent is seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The agent, from its certificate.
    pub agent: Uuid,
    /// The spool that it speaks of.
    pub spool_id: SpoolId,
    /// Name at first sight.
    pub proposed_name: Name,
    /// Labels at first sight.
    pub proposed_labels: Labels,
    /// The key that it names, and from which sequence on it signs by it; pinned to the spool if none is yet.
    pub evidence: Option<Evidence>,
    /// Now, Unix seconds.
    pub now_s: u64,
    /// A stream may begin, if the spool is not known.
    pub may_begin: bool,
}

/// The end of what is committed of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Highest committed sequence; 0 = none.
    pub last_seq: u64,
    /// Its hash; of an empty stream, the hash that record 1 chains to.
    pub last_hash: Hash,
    /// The session that may commit: the newest.
    pub session: u64,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.last_hash;
        write!(f, "{} {a:02x}{b:02x}{c:02x}{d:02x}… session {}", self.last_seq, self.session)
    }
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The spool's stream.
    pub stream: StreamId,
    /// Where it ends, and this session's number.
    pub head: Head,
    /// The agent's name: the proposed one only if it was free when the agent was first seen.
    pub name: Name,
    /// The labels in force.
    pub labels: Labels,
    /// This was the first sight of the agent.
    pub first_sight: bool,
    /// The key that is pinned to the stream.
    pub evidence: Option<Evidence>,
    /// It was pinned just now, and the agent's stream before has this other one.
    pub key_before: Option<PublicKey>,
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool was first seen with another agent: a copied disk.
    #[error("this spool belongs to another agent: a spool is not copied from one agent to another")]
    ForeignSpool,
    /// Another key is pinned to the spool than the one that the agent names.
    #[error(
        "the records of this spool are signed with the key {pinned}, this agent has {offered}: its state directory was copied or restored, or its evidence.key swapped. Put back the evidence.key that belongs here; if it is lost, stop the agent and move the folder `spool` beside it away: a new spool begins with the new key"
    )]
    OtherKey {
        /// The one that is pinned.
        pinned: PublicKey,
        /// The one that the agent names.
        offered: PublicKey,
    },
    /// The agent's id is known under another tenant.
    #[error("this agent belongs to another tenant")]
    ForeignAgent,
    /// The spool is not known, and no stream may begin.
    #[error(
        "this agent has begun many streams lately, each with a new spool: is its state directory kept over a restart? The next may begin in a while"
    )]
    NewSpool,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A record that is to be committed, with what was read of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// As it came, but for the first sequence of a gap that reaches back over records that are held.
    pub record: Record,
    /// Its first sequence as it was sealed.
    pub sealed_seq: u64,
    /// What the next record chains to.
    pub hash: Hash,
    /// Width of the window, s; 0 for anything but a report.
    pub window_s: u32,
    /// Start of the window, or when it happened, Unix seconds.
    pub window_start_s: u64,
}

/// Records that follow each other, and the head they follow.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The stream.
    pub stream: StreamId,
    /// The head that the first record chains to; its session must still be the newest.
    pub expected: Head,
    /// In order, without a hole.
    pub records: Vec<NewRecord>,
    /// Now, Unix seconds.
    pub received_s: u64,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Outcome {
    /// Durable.
    Committed,
    /// The head was elsewhere, or a newer session exists; nothing was written.
    Conflict,
    /// The store cannot say: read the head again.
    Unknown(StoreError),
}

/// A committed record's place and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// First sequence.
    pub seq: u64,
    /// Last sequence.
    pub seq_to: u64,
    /// What the next record chains to.
    pub hash: Hash,
}

/// A committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its stream.
    pub stream: StreamId,
    /// Its agent.
    pub agent: Uuid,
    /// First sequence.
    pub seq: u64,
    /// Last sequence.
    pub seq_to: u64,
    /// What the payload is.
    pub kind: Kind,
    /// Start of the window, or when it happened, Unix seconds.
    pub window_start_s: u64,
    /// When it was committed, Unix seconds.
    pub received_s: u64,
    /// As the agent encoded it.
    pub payload: Vec<u8>,
}

/// A place in the order (window start, stream, sequence).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    window_start_s: u64,
    stream: StreamId,
    seq: u64,
}

impl Cursor {
    /// Before every record of the windows that start at `from_s` or later.
    #[must_use]
    pub const fn before(from_s: u64) -> Self {
        Self { window_start_s: from_s, stream: StreamId(0), seq: 0 }
    }
}

impl From<&StoredRecord> for Cursor {
    fn from(record: &StoredRecord) -> Self {
        Self { window_start_s: record.window_start_s, stream: record.stream, seq: record.seq }
    }
}

/// A stream and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The stream.
    pub stream: StreamId,
    /// Highest committed sequence; 0 = none.
    pub last_seq: u64,
}

/// An agent as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgent {
    /// Its identity.
    pub agent: Uuid,
    /// Its name.
    pub name: Name,
    /// When it was first seen, Unix seconds.
    pub first_seen_s: u64,
    /// Its labels, each with the Unix second from which they hold, ascending; never empty.
    pub labels: Vec<(u64, Labels)>,
    /// End of the window of its newest report, Unix seconds.
    pub last_report_end_s: Option<u64>,
    /// The different keys that were pinned to its streams, oldest first.
    pub evidence_keys: Vec<PublicKey>,
}

impl KnownAgent {
    /// The labels in force at a Unix second; before the first sight, the first ones: an agent may have measured
    /// for days before it reached its collector.
    #[must_use]
    pub fn labels_at(&self, unix_s: u64) -> Option<&Labels> {
        let valid = self.labels.iter().rev().find(|(from_s, _)| *from_s <= unix_s);
        valid.or_else(|| self.labels.first()).map(|(_, labels)| labels)
    }
}

/// A period of an agreement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeriodKey {
    /// The agreement's name.
    pub agreement: String,
    /// The word for its kind, such as `month`.
    pub kind: &'static str,
    /// The period's label.
    pub period: String,
}

/// The store failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the store refused: {0}")]
    Failed(String),
    /// It is not known whether the transaction is durable.
    #[error("the store does not say whether it committed: {0}")]
    Unknown(String),
    /// The engine's thread is gone.
    #[error("the store is closed")]
    Closed,
    /// The file is not one that this version may use.
    #[error("{0}")]
    Unusable(String),
}

/// What every engine can do.
pub trait Store {
    /// Finds or creates agent and stream, and makes this the stream's newest session.
    fn open_session(
        &self,
        scope: &TenantScope,
        introduction: Introduction,
    ) -> impl Future<Output = Result<Opened, OpenError>> + Send;

    /// The head of a stream; `None` for a stream that is not this tenant's.
    fn head(
        &self,
        scope: &TenantScope,
        stream: StreamId,
    ) -> impl Future<Output = Result<Option<Head>, StoreError>> + Send;

    /// For each sequence, the committed record that covers it.
    fn held(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        sequences: Vec<u64>,
    ) -> impl Future<Output = Result<Vec<Option<Held>>, StoreError>> + Send;

    /// Inserts records and moves the head, both or neither.
    fn commit(&self, scope: &TenantScope, batch: Batch) -> impl Future<Output = Outcome> + Send;

    /// All agents, by name.
    fn agents(
        &self,
        scope: &TenantScope,
    ) -> impl Future<Output = Result<Vec<KnownAgent>, StoreError>> + Send;

    /// All streams and where they end.
    fn stream_ends(
        &self,
        scope: &TenantScope,
    ) -> impl Future<Output = Result<Vec<StreamEnd>, StoreError>> + Send;

    /// Up to [`PAGE_ROWS`] records after `after` whose window starts before `until_s`, in the cursor's order.
    fn records_between(
        &self,
        scope: &TenantScope,
        after: Cursor,
        until_s: u64,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, StoreError>> + Send;

    /// Up to [`PAGE_ROWS`] records of a stream after a sequence, in its order.
    fn records_after(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, StoreError>> + Send;

    /// All streams as an auditor needs them, by their agents' names.
    fn streams(
        &self,
        scope: &TenantScope,
    ) -> impl Future<Output = Result<Vec<StreamInfo>, StoreError>> + Send;

    /// The records of a stream from the first to the last of the windows that start in `[from_s, until_s)`: the sequence of
    /// the record before them (0 = none), and their last one.
    fn stretch(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        within_s: (u64, u64),
    ) -> impl Future<Output = Result<Option<(u64, u64)>, StoreError>> + Send;

    /// Up to [`PAGE_ROWS`] records of a stream from a sequence on, to the last byte.
    fn sealed_from(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> impl Future<Output = Result<Vec<SealedRecord>, StoreError>> + Send;

    /// Up to [`HOURS_PAGE`] hours of streams after `after` that begin before `until_s`, in the cursor's order. There is one
    /// for each hour in which a stream has reports.
    fn hours_after(
        &self,
        scope: &TenantScope,
        after: HourCursor,
        until_s: u64,
    ) -> impl Future<Output = Result<Vec<StoredHour>, StoreError>> + Send;

    /// The first hour that begins in a stretch and in which a stream has no digest.
    fn hour_due(
        &self,
        scope: &TenantScope,
        from_s: u64,
        until_s: u64,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Keeps the digests of an hour, each until a report of its stream and hour is committed. One whose hour already has a
    /// record after its `read_to` is not kept.
    fn keep_digests(
        &self,
        scope: &TenantScope,
        hour_s: u64,
        made: Vec<NewDigest>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Adds the next revision of a period with its result, as it was said; false when it is not the next one, so that
    /// nothing was written.
    fn publish(
        &self,
        scope: &TenantScope,
        of: PeriodKey,
        revision: Revision,
        result: String,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The revisions of an agreement by number; of one period, or with each period's label. At most [`REVISIONS_MAX`] of
    /// the periods with the latest labels.
    fn revisions(
        &self,
        scope: &TenantScope,
        agreement: &str,
        period: Option<&str>,
    ) -> impl Future<Output = Result<Vec<(String, Revision)>, StoreError>> + Send;

    /// The result of a revision, as it was said.
    fn result(
        &self,
        scope: &TenantScope,
        of: &PeriodKey,
        number: u64,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Whether a write transaction can be had now.
    fn check_writable(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The engines.
#[derive(Clone, Debug)]
pub enum AnyStore {
    /// One file of this machine.
    Sqlite(SqliteStore),
}

/// Hands a call to the engine at hand.
macro_rules! engine {
    ($self:ident . $method:ident ( $($argument:expr),* )) => {
        match $self {
            AnyStore::Sqlite(engine) => engine.$method($($argument),*).await,
        }
    };
}

impl Store for AnyStore {
    async fn open_session(
        &self,
        scope: &TenantScope,
        introduction: Introduction,
    ) -> Result<Opened, OpenError> {
        engine!(self.open_session(scope, introduction))
    }

    async fn head(
        &self,
        scope: &TenantScope,
        stream: StreamId,
    ) -> Result<Option<Head>, StoreError> {
        engine!(self.head(scope, stream))
    }

    async fn held(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        sequences: Vec<u64>,
    ) -> Result<Vec<Option<Held>>, StoreError> {
        engine!(self.held(scope, stream, sequences))
    }

    async fn commit(&self, scope: &TenantScope, batch: Batch) -> Outcome {
        engine!(self.commit(scope, batch))
    }

    async fn agents(&self, scope: &TenantScope) -> Result<Vec<KnownAgent>, StoreError> {
        engine!(self.agents(scope))
    }

    async fn stream_ends(&self, scope: &TenantScope) -> Result<Vec<StreamEnd>, StoreError> {
        engine!(self.stream_ends(scope))
    }

    async fn records_between(
        &self,
        scope: &TenantScope,
        after: Cursor,
        until_s: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        engine!(self.records_between(scope, after, until_s))
    }

    async fn records_after(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        engine!(self.records_after(scope, stream, seq))
    }

    async fn streams(&self, scope: &TenantScope) -> Result<Vec<StreamInfo>, StoreError> {
        engine!(self.streams(scope))
    }

    async fn stretch(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        within_s: (u64, u64),
    ) -> Result<Option<(u64, u64)>, StoreError> {
        engine!(self.stretch(scope, stream, within_s))
    }

    async fn sealed_from(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        engine!(self.sealed_from(scope, stream, seq))
    }

    async fn hours_after(
        &self,
        scope: &TenantScope,
        after: HourCursor,
        until_s: u64,
    ) -> Result<Vec<StoredHour>, StoreError> {
        engine!(self.hours_after(scope, after, until_s))
    }

    async fn hour_due(
        &self,
        scope: &TenantScope,
        from_s: u64,
        until_s: u64,
    ) -> Result<Option<u64>, StoreError> {
        engine!(self.hour_due(scope, from_s, until_s))
    }

    async fn keep_digests(
        &self,
        scope: &TenantScope,
        hour_s: u64,
        made: Vec<NewDigest>,
    ) -> Result<(), StoreError> {
        engine!(self.keep_digests(scope, hour_s, made))
    }

    async fn publish(
        &self,
        scope: &TenantScope,
        of: PeriodKey,
        revision: Revision,
        result: String,
    ) -> Result<bool, StoreError> {
        engine!(self.publish(scope, of, revision, result))
    }

    async fn revisions(
        &self,
        scope: &TenantScope,
        agreement: &str,
        period: Option<&str>,
    ) -> Result<Vec<(String, Revision)>, StoreError> {
        engine!(self.revisions(scope, agreement, period))
    }

    async fn result(
        &self,
        scope: &TenantScope,
        of: &PeriodKey,
        number: u64,
    ) -> Result<Option<String>, StoreError> {
        engine!(self.result(scope, of, number))
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        engine!(self.check_writable())
    }
}
