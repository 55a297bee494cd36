//! The SQLite engine: one writer thread that commits in groups, one reader thread, or everything inline.
//!
//! Commits are grouped by nothing but the disk: while one transaction is being made durable, the next jobs queue up,
//! and all of them go into the next transaction. So a lone commit waits for nobody, and a crowd shares one fsync. Each
//! job of a group has a savepoint of its own: one that fails takes nothing of its neighbours with it.
//!
//! A failed commit is answered [`StoreError::Unknown`], and the connection is opened anew before the next one: after a
//! failed fsync the pages in memory prove nothing, what SQLite recovers from the file does.

use super::schema::{prepare, prepare_reader, unusable};
use super::sql::{self, Opening};
use super::{
    Batch, Cursor, Head, Held, HourCursor, Introduction, KnownAgent, NewDigest, OpenError, Opened,
    Outcome, PeriodKey, SealedRecord, Store, StoreError, StoredHour, StoredRecord, StreamEnd,
    StreamId, StreamInfo, TenantScope, digests, evidence, revisions,
};
use crate::revision::Revision;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

pub use super::schema::Durability;

/// Most jobs of one transaction: a bound on what one failing fsync puts in doubt.
const GROUP_MAX: usize = 64;
/// Jobs that may wait for a thread: four groups; whoever comes later waits in its own session.
const QUEUE_JOBS: usize = 4 * GROUP_MAX;

/// Gives a waiting task its answer, once it is known whether the transaction is durable.
type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;
/// Runs in a transaction, or learns that there is none.
type WriteJob = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Answer + Send>;
type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

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

// === threads ===

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|error| StoreError::Unusable(format!("no thread for it: {error}")))
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

fn write_loop(path: &Path, mut connection: Connection, mut jobs: mpsc::Receiver<WriteJob>) {
    while let Some(first) = jobs.blocking_recv() {
        if run_group(&mut connection, first, &mut jobs).is_ok() {
            continue;
        }
        match open_writer(path) {
            Ok((fresh, _)) => connection = fresh,
            Err(error) => {
                tracing::error!(%error, "the store could not be opened again after a failed commit")
            }
        }
    }
}

/// Runs a job, and whatever else is waiting, in one transaction.
fn run_group(
    connection: &mut Connection,
    first: WriteJob,
    jobs: &mut mpsc::Receiver<WriteJob>,
) -> Result<(), StoreError> {
    let transaction = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(transaction) => transaction,
        Err(error) => {
            let error = failed(error);
            first(Err(error.clone()))(Err(error.clone()));
            return Err(error);
        }
    };
    let mut answers = vec![first(Ok(&transaction))];
    // A disk that is full may end the transaction under us: whatever ran after that would commit by itself.
    while answers.len() < GROUP_MAX && !transaction.is_autocommit() {
        let Ok(job) = jobs.try_recv() else { break };
        answers.push(job(Ok(&transaction)));
    }
    let committed = transaction.commit().map_err(unknown);
    if let Err(error) = &committed {
        tracing::error!(%error, jobs = answers.len(), "commit failed");
    }
    for answer in answers {
        answer(committed.clone());
    }
    committed
}

fn read_loop(connection: &Connection, mut jobs: mpsc::Receiver<ReadJob>) {
    while let Some(job) = jobs.blocking_recv() {
        job(connection);
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    run: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let ran = connection
        .execute_batch("SAVEPOINT job")
        .and_then(|()| run(connection))
        .and_then(|value| connection.execute_batch("RELEASE job").map(|()| value));
    if ran.is_err()
        && let Err(error) = connection.execute_batch("ROLLBACK TO job; RELEASE job")
    {
        tracing::warn!(%error, "the whole transaction is gone with one of its jobs");
    }
    ran.map_err(failed)
}

/// Answers a task; one that no longer waits has been dropped, and needs no answer.
fn deliver<T>(answer: oneshot::Sender<T>, value: T) {
    drop(answer.send(value));
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
mod tests {
    use super::*;
    use probefleet_proto::label::Labels;
    use probefleet_proto::name::Name;
    use uuid::Uuid;

    fn introduction(agent: u128, name: &str) -> Introduction {
        Introduction {
            agent: Uuid::from_u128(agent),
            spool_id: agent.to_be_bytes(),
            proposed_name: Name::new(name).expect("a name"),
            proposed_labels: Labels::new(),
            evidence: None,
            now_s: 1,
            may_begin: true,
        }
    }

    /// A full disk as SQLite sees it: the file may not grow any more.
    async fn fill(store: &SqliteStore) {
        let filled = store.write(|db| {
            let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
            db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        });
        filled.await.expect("sets the limit");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_full_disk_refuses_and_loses_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, _) = SqliteStore::open(&folder.path().join("collector.db")).expect("opens");
        let scope = TenantScope::default();
        let before = store.open_session(&scope, introduction(1, "a")).await.expect("opens");
        fill(&store).await;
        let large = store
            .write(|db| {
                db.execute("CREATE TABLE filler (x)", [])?;
                db.execute("INSERT INTO filler VALUES (zeroblob(10000000))", [])
            })
            .await;
        assert!(large.is_err(), "{large:?}");

        // Reading goes on, what was there is there, and what fits is taken.
        let head = store.head(&scope, before.stream).await.expect("reads");
        assert_eq!(head, Some(before.head));
        let after = store.open_session(&scope, introduction(1, "a")).await.expect("opens");
        assert_eq!(after.head.session, before.head.session + 1);
        store.check_writable().await.expect("writes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_job_that_fails_takes_nothing_of_its_neighbours_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, _) = SqliteStore::open(&folder.path().join("collector.db")).expect("opens");
        let scope = TenantScope::default();
        let mut jobs = Vec::new();
        for index in 0..40_u128 {
            let (store, scope) = (store.clone(), scope.clone());
            jobs.push(tokio::spawn(async move {
                if index % 2 == 0 {
                    let name = format!("agent-{index}");
                    let opened = store.open_session(&scope, introduction(index, &name)).await;
                    opened.map(drop).map_err(|error| error.to_string())
                } else {
                    let wrong = store.write(|db| {
                        db.execute("DELETE FROM agent", [])?;
                        db.execute("INSERT INTO nowhere VALUES (1)", [])
                    });
                    wrong.await.map(drop).map_err(|error| error.to_string())
                }
            }));
        }
        let mut failed = 0;
        for job in jobs {
            failed += usize::from(job.await.expect("no panic").is_err());
        }
        assert_eq!(failed, 20);
        assert_eq!(store.agents(&scope).await.expect("reads").len(), 20);
    }
}
