//! The engine's threads: jobs in, one transaction for all that wait, answers out.

use super::{failed, open_writer, unknown};
use crate::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// Most jobs of one transaction: a bound on what one failing fsync puts in doubt.
pub(super) const GROUP_MAX: usize = 64;

/// Gives a waiting task its answer, once it is known whether the transaction is durable.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;
/// Runs in a transaction, or learns that there is none.
pub(super) type WriteJob = Box<dyn FnOnce(Result<&Connection, StoreError>) -> Answer + Send>;
pub(super) type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|error| StoreError::Unusable(format!("no thread for it: {error}")))
}

pub(super) fn write_loop(
    path: &Path,
    mut connection: Connection,
    mut jobs: mpsc::Receiver<WriteJob>,
) {
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

pub(super) fn read_loop(connection: &Connection, mut jobs: mpsc::Receiver<ReadJob>) {
    while let Some(job) = jobs.blocking_recv() {
        job(connection);
    }
}

pub(super) fn in_savepoint<T>(
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
pub(super) fn deliver<T>(answer: oneshot::Sender<T>, value: T) {
    drop(answer.send(value));
}
