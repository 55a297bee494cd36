//! The engines, and the one that is at hand.

use super::{
    Batch, Cursor, Head, Held, HourCursor, Introduction, KnownAgent, NewDigest, OpenError, Opened,
    Outcome, PeriodKey, SealedRecord, SqliteStore, Store, StoreError, StoredHour, StoredRecord,
    StreamEnd, StreamId, StreamInfo, TenantScope,
};
use crate::revision::Revision;

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
