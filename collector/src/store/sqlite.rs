//! The SQLite engine: one writer thread that commits in groups, one reader thread, or everything inline.
//!
//! Commits are grouped by nothing but the disk: while one transaction is being made durable, the next jobs queue up,
//! and all of them go into the next transaction. So a lone commit waits for nobody, and a crowd shares one fsync. Each
//! job of a group has a savepoint of its own: one that fails takes nothing of its neighbours with it.
//!
//! A failed commit is answered [`StoreError::Unknown`], and the connection is opened anew before the next one: after a
//! failed fsync the pages in memory prove nothing, what SQLite recovers from the file does.

mod threads;

use super::schema::{prepare, prepare_reader, unusable};
use super::sql::{self, Opening};
use super::{
    Batch, Cursor, Head, Held, HourCursor, Introduction, KnownAgent, NewDigest, OpenError, Opened,
    Outcome, PeriodKey, SealedRecord, Store, StoreError, StoredHour, StoredRecord, StreamEnd,
    StreamId, StreamInfo, TenantScope, digests, evidence, revisions,
};
use crate::revision::Revision;
use rusqlite::{Connection, OpenFlags};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use threads::{GROUP_MAX, ReadJob, WriteJob, deliver, in_savepoint, read_loop, spawn, write_loop};
use tokio::sync::{mpsc, oneshot};

pub use super::schema::Durability;

/// Jobs that may wait for a thread: four groups; whoever comes later waits in its own session.
const QUEUE_JOBS: usize = 4 * GROUP_MAX;

/// A store in one SQLite file.
#[derive(Clone)]
pub struct SqliteStore {
    engine: Engine,
}

#[derive(Clone)]
enum Engine {
    /// In the calling task: for tests, simulation and short-lived commands.
    Inline(Arc<Mutex<Connection>>),
    /// In threads of its own, which end with the last clone.
    Threads { writer: mpsc::Sender<WriteJob>, reader: mpsc::Sender<ReadJob> },
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.engine {
            Engine::Inline(_) => "SqliteStore(inline)",
            Engine::Threads { .. } => "SqliteStore(threads)",
        })
    }
}

impl SqliteStore {
    /// Opens or creates the file for the service.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file cannot be opened, is of another version, or cannot be durable.
    pub fn open(path: &Path) -> Result<(Self, Durability), StoreError> {
        let (connection, durability) = open_writer(path)?;
        let (writer, write_jobs) = mpsc::channel(QUEUE_JOBS);
        let (reader, read_jobs) = mpsc::channel(QUEUE_JOBS);
        let read_connection = open_reader(path)?;
        let path = path.to_owned();
        spawn("store-writer", move || write_loop(&path, connection, write_jobs))?;
        spawn("store-reader", move || read_loop(&read_connection, read_jobs))?;
        Ok((Self { engine: Engine::Threads { writer, reader } }, durability))
    }

    /// Opens a file that another process may be writing, to read only; runs inline.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when there is no store of this version.
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::inline(open_reader(path)?))
    }

    /// A store in memory, run inline, for tests and simulation.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when SQLite cannot have the memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        let mut connection = Connection::open_in_memory().map_err(unusable)?;
        prepare(&mut connection)?;
        Ok(Self::inline(connection))
    }

    fn inline(connection: Connection) -> Self {
        Self { engine: Engine::Inline(Arc::new(Mutex::new(connection))) }
    }

    async fn read<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.engine {
            Engine::Inline(connection) => {
                let connection = connection.lock().map_err(|_| StoreError::Closed)?;
                run(&connection).map_err(failed)
            }
            Engine::Threads { reader, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: ReadJob =
                    Box::new(move |connection| deliver(answer, run(connection).map_err(failed)));
                reader.send(job).await.map_err(|_| StoreError::Closed)?;
                answered.await.map_err(|_| StoreError::Closed)?
            }
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.engine {
            Engine::Inline(connection) => {
                let mut connection = connection.lock().map_err(|_| StoreError::Closed)?;
                let transaction = connection.transaction().map_err(failed)?;
                let value = run(&transaction).map_err(failed)?;
                transaction.commit().map_err(unknown)?;
                Ok(value)
            }
            Engine::Threads { writer, .. } => {
                let (answer, answered) = oneshot::channel();
                let job: WriteJob = Box::new(move |connection| {
                    let ran = connection.and_then(|connection| in_savepoint(connection, run));
                    Box::new(move |committed| deliver(answer, committed.and(ran)))
                });
                writer.send(job).await.map_err(|_| StoreError::Closed)?;
                answered.await.map_err(|_| StoreError::Closed)?
            }
        }
    }
}

fn open_writer(path: &Path) -> Result<(Connection, Durability), StoreError> {
    let mut connection = Connection::open(path).map_err(unusable)?;
    let durability = prepare(&mut connection)?;
    if durability.journal_mode == "wal" {
        return Ok((connection, durability));
    }
    Err(StoreError::Unusable(format!(
        "the store has journal_mode={} where it must be wal: is it on a network file system?",
        durability.journal_mode
    )))
}

fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(unusable)?;
    prepare_reader(&connection)?;
    Ok(connection)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn unknown(error: rusqlite::Error) -> StoreError {
    StoreError::Unknown(error.to_string())
}

// === impl Store ===

impl Store for SqliteStore {
    async fn open_session(
        &self,
        scope: &TenantScope,
        introduction: Introduction,
    ) -> Result<Opened, OpenError> {
        let scope = scope.clone();
        match self.write(move |db| sql::open_session(db, &scope, &introduction)).await? {
            Opening::Done(opened) => Ok(opened),
            Opening::ForeignSpool => Err(OpenError::ForeignSpool),
            Opening::ForeignAgent => Err(OpenError::ForeignAgent),
            Opening::NewSpool => Err(OpenError::NewSpool),
            Opening::OtherKey { pinned, offered } => Err(OpenError::OtherKey { pinned, offered }),
        }
    }

    async fn head(
        &self,
        scope: &TenantScope,
        stream: StreamId,
    ) -> Result<Option<Head>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::head(db, &scope, stream)).await
    }

    async fn held(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        sequences: Vec<u64>,
    ) -> Result<Vec<Option<Held>>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::held(db, &scope, stream, &sequences)).await
    }

    async fn commit(&self, scope: &TenantScope, batch: Batch) -> Outcome {
        let scope = scope.clone();
        match self.write(move |db| sql::commit(db, &scope, &batch)).await {
            Ok(true) => Outcome::Committed,
            Ok(false) => Outcome::Conflict,
            Err(error) => Outcome::Unknown(error),
        }
    }

    async fn agents(&self, scope: &TenantScope) -> Result<Vec<KnownAgent>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::agents(db, &scope)).await
    }

    async fn stream_ends(&self, scope: &TenantScope) -> Result<Vec<StreamEnd>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::stream_ends(db, &scope)).await
    }

    async fn records_between(
        &self,
        scope: &TenantScope,
        after: Cursor,
        until_s: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::records_between(db, &scope, after, until_s)).await
    }

    async fn records_after(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| sql::records_after(db, &scope, stream, seq)).await
    }

    async fn streams(&self, scope: &TenantScope) -> Result<Vec<StreamInfo>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| evidence::streams(db, &scope)).await
    }

    async fn stretch(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        within_s: (u64, u64),
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| evidence::stretch(db, (&scope, stream), within_s)).await
    }

    async fn sealed_from(
        &self,
        scope: &TenantScope,
        stream: StreamId,
        seq: u64,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| evidence::sealed_from(db, (&scope, stream), seq)).await
    }

    async fn hours_after(
        &self,
        scope: &TenantScope,
        after: HourCursor,
        until_s: u64,
    ) -> Result<Vec<StoredHour>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| digests::hours_after(db, &scope, after, until_s)).await
    }

    async fn hour_due(
        &self,
        scope: &TenantScope,
        from_s: u64,
        until_s: u64,
    ) -> Result<Option<u64>, StoreError> {
        let scope = scope.clone();
        self.read(move |db| digests::hour_due(db, &scope, from_s, until_s)).await
    }

    async fn keep_digests(
        &self,
        scope: &TenantScope,
        hour_s: u64,
        made: Vec<NewDigest>,
    ) -> Result<(), StoreError> {
        let scope = scope.clone();
        self.write(move |db| digests::keep_digests(db, &scope, hour_s, &made)).await
    }

    async fn publish(
        &self,
        scope: &TenantScope,
        of: PeriodKey,
        revision: Revision,
        result: String,
    ) -> Result<bool, StoreError> {
        let scope = scope.clone();
        self.write(move |db| revisions::publish(db, &scope, &of, (&revision, &result))).await
    }

    async fn revisions(
        &self,
        scope: &TenantScope,
        agreement: &str,
        period: Option<&str>,
    ) -> Result<Vec<(String, Revision)>, StoreError> {
        let (scope, agreement) = (scope.clone(), agreement.to_owned());
        let period = period.map(str::to_owned);
        self.read(move |db| revisions::revisions(db, &scope, &agreement, period.as_deref())).await
    }

    async fn result(
        &self,
        scope: &TenantScope,
        of: &PeriodKey,
        number: u64,
    ) -> Result<Option<String>, StoreError> {
        let (scope, of) = (scope.clone(), of.clone());
        self.read(move |db| revisions::result(db, &scope, &of, number)).await
    }

    /// Writes for real: the version that the file has already.
    async fn check_writable(&self) -> Result<(), StoreError> {
        self.write(|db| {
            let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
            db.pragma_update(None, "user_version", version)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
