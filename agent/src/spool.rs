//! The spool: sealed records, durable before they may be sent, until the collector has them.

use probefleet_proto::record::{Hash, Kind, Record, SpoolId};
use std::path::{Path, PathBuf};
use tokio::sync::{mpsc, watch};

/// How much the spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    total_bytes: u64,
}

impl Limits {
    /// A budget in bytes.
    #[must_use]
    pub const fn new(total_bytes: u64) -> Self {
        Self { total_bytes }
    }

    /// The default for a folder: the smaller of 1 GiB and a tenth of its file system.
    ///
    /// # Errors
    /// When the file system does not say how large it is.
    pub fn of_file_system(_dir: &Path) -> Result<Self, SpoolError> {
        todo!()
    }
}

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Identity of the spool.
    pub spool_id: SpoolId,
    /// Sequence of the next record.
    pub next_seq: u64,
    /// Lowest sequence held; 0 = none.
    pub oldest_seq: u64,
    /// Hash of record `next_seq - 1`.
    pub head_hash: Hash,
    /// Newest window of the newest reports: start in Unix seconds, width in seconds.
    pub last_sealed_window: Option<(u64, u32)>,
    /// No spool was there, or none that could be continued: this one starts at 1.
    pub was_new: bool,
    /// Bytes cut off the end: records whose write had not been finished.
    pub torn_bytes: u64,
    /// Files that could not be read whole and were set aside.
    pub quarantined: Vec<PathBuf>,
}

/// What the spool holds right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolState {
    /// Identity; changes when a fork makes the agent start another spool.
    pub spool_id: SpoolId,
    /// Lowest sequence held; 0 = none.
    pub oldest_seq: u64,
    /// Sequence of the next record; every lower one is durable.
    pub next_seq: u64,
    /// Hash of record `next_seq - 1`.
    pub head_hash: Hash,
    /// Bytes on disk.
    pub bytes: u64,
    /// Payload bytes not known to be acknowledged.
    pub unacked_bytes: u64,
    /// Window start of the oldest report not known to be acknowledged, Unix seconds.
    pub oldest_unsent_s: Option<u64>,
}

/// Why a spool cannot be used, or an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool has been closed.
    #[error("the spool is closed")]
    Closed,
}

/// Why a spool is left for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    /// The collector holds another content under our numbers.
    Forked,
    /// The collector holds more than we ever wrote: this folder is an old copy.
    RolledBack,
}

/// A handle on the thread that owns the files; clones share it.
#[derive(Clone, Debug)]
pub struct SpoolHandle {
    state: watch::Receiver<SpoolState>,
    #[expect(dead_code)]
    commands: mpsc::Sender<()>,
}

/// The spool of an agent.
#[derive(Debug)]
pub struct Spool;

impl Spool {
    /// Opens the spool in `dir` (`STATE/spool`), or makes one, and starts the thread that owns it.
    ///
    /// # Errors
    /// [`SpoolError`]: another process owns it, a newer program wrote it, the disk fails.
    pub fn open(_dir: &Path, _limits: Limits) -> Result<(SpoolHandle, Recovered), SpoolError> {
        todo!()
    }
}

impl SpoolHandle {
    /// Appends a record and resolves when it is on disk: its sequence and hash. Concurrent appends share one fdatasync.
    ///
    /// # Errors
    /// [`SpoolError`]; then the record is not in the spool and may be appended again.
    pub async fn append(&self, _kind: Kind, _payload: Vec<u8>) -> Result<(u64, Hash), SpoolError> {
        todo!()
    }

    /// Durable records from `seq` on, in order, of at most `max_bytes` payload, but at least one where there is one.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn read_from(&self, _seq: u64, _max_bytes: usize) -> Result<Vec<Record>, SpoolError> {
        todo!()
    }

    /// Hash of the record that ends at `seq`, if that is still known here.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn hash_of(&self, _seq: u64) -> Result<Option<Hash>, SpoolError> {
        todo!()
    }

    /// The collector has everything up to `seq`.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn released(&self, _seq: u64) -> Result<(), SpoolError> {
        todo!()
    }

    /// What the spool holds, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SpoolState> {
        self.state.clone()
    }

    /// Writes everything out, ends the thread and gives up the lock.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn close(&self) -> Result<(), SpoolError> {
        todo!()
    }
}
