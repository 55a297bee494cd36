//! How the spool and the disk under it are, for whoever has to say so.

use super::SpoolError;
use super::disk::Disk;
use super::store::Store;
use std::path::PathBuf;
use tokio::time::Instant;

/// What went wrong since the spool was opened; each counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// Writes that failed, so that a new segment was tried.
    pub failed_writes: u64,
    /// Segments that were damaged on disk while the agent ran, each mended by a gap.
    pub mended_segments: u64,
    /// Reports that were dropped because the spool was full, each counted in a gap.
    pub dropped_reports: u64,
    /// Reports that were given up because nothing could be written, each counted in a gap that could be since.
    pub unwritten_reports: u64,
    /// Records that the collector can never accept, each kept in a file and counted in a gap.
    pub refused_records: u64,
}

/// A record that the collector can never accept, and that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its sequence.
    pub seq: u64,
    /// Why, in the collector's words.
    pub why: String,
    /// Where it is kept.
    pub file: PathBuf,
    /// How many such files there are.
    pub kept: usize,
}

impl RefusedRecord {
    /// The last one that is kept.
    pub(super) fn last(store: &Store<impl Disk>, why: &str) -> Option<Self> {
        let files = store.refused_files();
        let files = files.inspect_err(
            |error| tracing::warn!(%error, "what is kept of refused records is not known"),
        );
        let mut files = files.ok()?;
        let kept = files.len();
        let (seq, file) = files.pop()?;
        Some(Self { seq, why: why.to_owned(), file, kept })
    }
}

/// Why something could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What failed, on which file, and what the system said.
    pub text: String,
    /// What a person can do about it.
    pub cure: &'static str,
}

/// How the spool is.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Why the last append is not on disk; none when it is.
    pub append: Option<Failure>,
    /// Why the disk failed when the spool was last read or tidied up; none when it did not.
    pub other: Option<Failure>,
    /// Since when one and the same operation has been going on; none between two.
    pub busy_since: Option<Instant>,
    /// When the collector last acknowledged anything.
    pub released: Option<Instant>,
    /// What went wrong so far.
    pub mishaps: Mishaps,
    /// The last record that was set aside because the collector can never accept it.
    pub refused: Option<RefusedRecord>,
    /// Most bytes that the spool may hold.
    pub budget_bytes: u64,
}

impl Health {
    pub(super) fn of(store: &Store<impl Disk>) -> Self {
        let refused = RefusedRecord::last(store, "so it was before this agent was started");
        Self { budget_bytes: store.budget_bytes(), refused, ..Self::default() }
    }

    pub(super) fn note_append(&mut self, error: Option<&SpoolError>) {
        self.append = error.map(Failure::of);
    }

    pub(super) fn note_other(&mut self, error: Option<&SpoolError>) {
        self.other = error.filter(|error| error.is_of_disk()).map(Failure::of);
    }
}

impl Failure {
    fn of(error: &SpoolError) -> Self {
        Self { text: error.to_string(), cure: error.cure() }
    }
}
