//! Where records live: the sealed bytes as the agents sent them, and the head of every stream.
//!
//! One trait, one conformance suite ([`conformance`]) for every engine. An engine is a member of [`AnyStore`], not a
//! `dyn`. Every method takes a [`TenantScope`]: what belongs to another tenant does not exist.
//!
//! The promise that money hangs on is [`Store::commit`]: it inserts records and moves the stream's head in one
//! transaction, and only if the head is still where the caller saw it. So a record is in the store exactly once,
//! whoever sends it how often, through however many collectors. What was published of a period stands beside them, as
//! revisions that are only ever added ([`Store::publish`]).
//!
//! Here is what every engine can do; `session` and `record` have the words of it, `digests` and `evidence` theirs. `sqlite`
//! is the one engine: `schema` is its tables, `sql`, `digests`, `evidence` and `revisions` what it asks of them.

mod any;
#[cfg(test)]
mod conformance;
mod digests;
mod evidence;
mod record;
mod revisions;
mod schema;
mod session;
mod sql;
mod sqlite;

pub use any::AnyStore;
pub use digests::{Digest, HOUR_S, HOURS_PAGE, HourCursor, NewDigest, StoredHour};
pub use evidence::{Evidence, SealedRecord, StreamInfo};
pub use record::{Batch, Cursor, Held, NewRecord, Outcome, StoredRecord, StreamEnd};
pub use session::{Head, Introduction, KnownAgent, OpenError, Opened};
pub use sqlite::{Durability, SqliteStore};

use crate::revision::Revision;
use probefleet_proto::name::Name;
use std::future::Future;

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
