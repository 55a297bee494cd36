//! The journal: what became of each due attempt, on disk before its window is sealed, so that a kill loses nothing that
//! was measured. This text is the specification.
//!
//! # Constraints
//! * What has landed is written in the same turn of the runner, with one write for all of the turn: the system has it
//!   then, whatever becomes of this process. Twice a second it is synced, so that a power cut costs at most a second.
//! * A restarted agent counts what it finds here as if it had never been killed; what was due and is not here is
//!   `missed: agent_down`. Attempts that were in flight are among those.
//! * The spool outranks it: a cell that stands in a sealed record, or may stand in one, is never taken from here.
//! * It only helps. Whatever happens to it, attempts are started, counted and sealed as before; an event says since when
//!   it could not be written, and another that it is again.
//! * A clean stop leaves none, because everything is sealed then.
//!
//! # Layout
//! ```text
//! STATE/journal/0000000001.log     a new file for each window, and every 4 MiB
//!
//! file   = header, entry*
//! header = "PFJOURN\0" ‖ version u32 ‖ crc32c u32
//! entry  = len u32 ‖ crc32c u32 ‖ body
//! body   = 1 ‖ spec 16 ‖ probe                                        the next series; they are numbered from 0
//!        | 2 ‖ name                                                   the next name; likewise
//!        | 3 ‖ place ‖ lag ‖ code ‖ phases ‖ counters ‖ values        ok
//!        | 4 ‖ place ‖ class ‖ lag ‖ code ‖ phases ‖ counters ‖ values     failed
//!        | 5 ‖ place ‖ reason ‖ lag ‖ code ‖ phases ‖ counters ‖ values    invalid
//!        | 6 ‖ place ‖ reason                                         missed
//!        | 7 ‖ window's start in Unix s ‖ flags ‖ stall in ns         the window is not to be trusted: `fleet.proto`, Health
//! place  = series ‖ window's start in Unix s ‖ scheduled instant in Unix ns
//! code   = length ‖ bytes
//! phases = counters = values = number of them, (name ‖ figure)*
//! ```
//! `u32` is little-endian, every other number a LEB128 varint; class, reason and name are numbers of names, lag and
//! phases are in ns. `len` counts the body; the checksum covers `len` and body. Names and series are those of the file that
//! they stand in. Any change of this is another version.
//!
//! # Read
//! At a start, all files in the order of their numbers, each up to its first byte that is not as it was written: a torn
//! end, zeros or a flipped bit cost what lies behind them in that file. A file of another version is left alone, and what
//! it holds is missed. No file is written to again.
//!
//! # Delete
//! A file goes when each window of which it holds anything is durable in the spool to its last cell. Together they hold
//! at most a sixteenth of the spool's budget, [`TOTAL_MAX_BYTES`] by default: what lands beyond that is not kept here.
//!
//! # Failure
//! After a write or a sync that failed, nothing is written to that file any more. Another one is tried a second later.
//! While a sync takes long, no file is begun, and results wait in memory, up to [`PENDING_MAX_BYTES`], rather than a probe for
//! the disk.

mod entry;
mod files;
mod keeper;

pub(crate) use entry::read_bodies;
pub use entry::{Entry, Fate, Logged, LoggedResult};
pub use files::clear;

use crate::probe::Sample;
use crate::window::{SeriesSpec, Suspect};
use entry::{Place, Writer};
use files::{File, Past};
use keeper::{Keeper, Work};
use probefleet_proto::name::MissedReason;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most bytes on disk, however large the spool may grow: a million attempts, a window of the widest kind with a thousand
/// a second.
pub const TOTAL_MAX_BYTES: u64 = 64 << 20;
/// And at least, however small the spool is.
const TOTAL_MIN_BYTES: u64 = 1 << 20;
/// Most bytes of results that wait in memory while the disk is busy: some seconds of a thousand attempts a second.
pub const PENDING_MAX_BYTES: usize = 1 << 20;
/// A file is begun only where so much may follow.
const ROOM_BYTES: u64 = 128 << 10;
/// Largest file: what is read at once at a start.
const FILE_MAX_BYTES: u64 = 4 << 20;
/// Results are written before there are more of them, however much a turn brings.
const WRITE_BYTES: usize = 64 << 10;
/// How often files are synced: with what a sync takes, a power cut costs less than a second.
const SYNC_EVERY: Duration = Duration::from_millis(500);
/// A sync that takes longer than this may hold up a write.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// Wait before another file is tried.
const RETRY: Duration = Duration::from_secs(1);
/// Why nothing is kept while a sync takes long and there is no more room, or no file, for what lands.
const BUSY: &str = "the disk does not keep up";

/// What an auditor should know of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Name of the event.
    pub what: &'static str,
    /// For people.
    pub detail: String,
}

/// The journal of an agent that runs.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    total_max_bytes: u64,
    next_number: u64,
    current: Option<Current>,
    /// Files that are not written to any more and hold something that is not sealed.
    past: Vec<Past>,
    pending: Vec<u8>,
    /// Results in `pending`.
    pending_results: u64,
    keeper: Keeper,
    trouble: Option<Trouble>,
    notice: Option<Notice>,
}

/// The file that is written to.
#[derive(Debug)]
struct Current {
    file: File,
    writer: Writer,
    windows: BTreeSet<u64>,
}

/// Since when nothing could be written.
#[derive(Debug)]
struct Trouble {
    again_at: Instant,
    lost_results: u64,
}

impl Journal {
    /// Hands what earlier processes left to `take`, which says whether it is of use, and goes on with a file of its own.
    /// `spool_max_bytes` is the budget of the spool beside it.
    pub fn open(dir: &Path, spool_max_bytes: u64, take: impl FnMut(&Entry) -> bool) -> Self {
        let (past, next_number) = files::read_all(dir, take);
        Self {
            dir: dir.to_owned(),
            total_max_bytes: (spool_max_bytes / 16).clamp(TOTAL_MIN_BYTES, TOTAL_MAX_BYTES),
            next_number,
            current: None,
            past,
            pending: Vec::new(),
            pending_results: 0,
            keeper: Keeper::new(dir),
            trouble: None,
            notice: None,
        }
    }

    /// An attempt has ended. It is on its way to the disk with the next [`Journal::flush`].
    pub fn ended(
        &mut self,
        series: &Arc<SeriesSpec>,
        (window_start_s, scheduled_ns): (u64, u64),
        lag_ns: u64,
        sample: &Sample,
    ) {
        let place = Place { series, window_start_s, scheduled_ns };
        self.add(window_start_s, |writer, out| writer.ended(out, place, lag_ns, sample));
    }

    /// An attempt was due and never started.
    pub fn missed(
        &mut self,
        series: &Arc<SeriesSpec>,
        (window_start_s, scheduled_ns): (u64, u64),
        reason: MissedReason,
    ) {
        let place = Place { series, window_start_s, scheduled_ns };
        self.add(window_start_s, |writer, out| writer.missed(out, place, reason));
    }

    /// A window is not to be trusted.
    pub fn suspect(&mut self, suspect: &Suspect) {
        self.add(suspect.window_start_s, |writer, out| writer.suspect(out, suspect));
    }

    fn add(&mut self, window_start_s: u64, write: impl FnOnce(&mut Writer, &mut Vec<u8>)) {
        let now = Instant::now();
        if self.pending.len() >= WRITE_BYTES {
            self.flush(now);
        }
        if self.pending.is_empty() {
            self.turn_page(now, window_start_s);
        }
        if let Some(trouble) = self.trouble.as_mut().filter(|trouble| now < trouble.again_at) {
            trouble.lost_results = trouble.lost_results.saturating_add(1);
            return;
        }
        if self.current.is_none() && !self.begin_file(now) {
            return;
        }
        let Some(current) = &mut self.current else { return };
        current.windows.insert(window_start_s);
        write(&mut current.writer, &mut self.pending);
        self.pending_results += 1;
    }

    /// Leaves a file that is full, or of older windows alone. Not while the disk is busy: the next one would hold up the
    /// caller, and this one does not grow meanwhile.
    fn turn_page(&mut self, now: Instant, window_start_s: u64) {
        if self.keeper.is_slow(now) {
            return;
        }
        let full = |current: &mut Current| {
            let is_older = current.windows.last().is_none_or(|newest_s| *newest_s < window_start_s);
            !current.file.is_empty() && (is_older || current.file.bytes >= FILE_MAX_BYTES)
        };
        if let Some(current) = self.current.take_if(full) {
            self.leave(current);
        }
    }

    fn leave(&mut self, Current { file, mut windows, .. }: Current) {
        if file.is_empty() {
            windows.clear();
        }
        let (past, handle) = file.leave(windows);
        self.keeper.sync_once_more(handle);
        self.past.push(past);
        self.forget_sealed();
    }

    /// Begins a file. False when the disk does not let us, or is so busy that it would hold up the caller; then what lands is
    /// counted as lost.
    fn begin_file(&mut self, now: Instant) -> bool {
        if self.keeper.is_slow(now) {
            self.fail(now, 1, BUSY);
            return false;
        }
        let number = self.next_number;
        let created = if self.total_bytes().saturating_add(ROOM_BYTES) > self.total_max_bytes {
            Err(io::Error::other(self.used_up()))
        } else {
            File::create(&self.dir, number)
        };
        match created {
            Ok(file) => {
                self.next_number = number.saturating_add(1);
                let (writer, windows) = (Writer::default(), BTreeSet::new());
                self.current = Some(Current { file, writer, windows });
                true
            }
            Err(error) => {
                self.fail(now, 1, &error.to_string());
                false
            }
        }
    }

    /// Writes what has landed since the last time, unless the disk is so busy that it would hold up the caller.
    pub fn flush(&mut self, now: Instant) {
        if self.pending.is_empty() {
            return;
        }
        let room = self.pending.len() < PENDING_MAX_BYTES;
        if self.keeper.is_slow(now) {
            if !room {
                self.fail(now, 0, BUSY);
            }
            return;
        }
        let held = self.total_bytes().saturating_add(self.pending.len() as u64);
        if held > self.total_max_bytes {
            return self.fail(now, 0, &self.used_up());
        }
        let Some(current) = &mut self.current else { return };
        if let Err(error) = current.file.append(&self.pending) {
            return self.fail(now, 0, &error.to_string());
        }
        self.pending.clear();
        self.pending_results = 0;
        if let Some(trouble) = self.trouble.take() {
            let detail = format!("{} results were not kept meanwhile", trouble.lost_results);
            tracing::info!(detail, "the journal is written again");
            self.notice = Some(Notice { what: "journal_recovered", detail });
        }
    }

    fn used_up(&self) -> String {
        format!("its {} bytes are used up", self.total_max_bytes)
    }

    fn total_bytes(&self) -> u64 {
        let past: u64 = self.past.iter().map(Past::bytes).sum();
        past + self.current.as_ref().map_or(0, |current| current.file.bytes)
    }

    /// Gives up what waits, and the file that it was for: another is tried in a while.
    fn fail(&mut self, now: Instant, more_lost: u64, why: &str) {
        self.pending.clear();
        let lost = std::mem::take(&mut self.pending_results) + more_lost;
        if let Some(current) = self.current.take() {
            self.leave(current);
        }
        let again_at = now + RETRY;
        match &mut self.trouble {
            Some(trouble) => {
                trouble.lost_results = trouble.lost_results.saturating_add(lost);
                trouble.again_at = again_at;
            }
            None => {
                tracing::error!(
                    folder = %self.dir.display(), why,
                    "results are not kept beside the spool: a kill now would lose those of the open windows"
                );
                self.trouble = Some(Trouble { again_at, lost_results: lost });
                self.notice = Some(Notice { what: "journal_failed", detail: why.to_owned() });
            }
        }
    }

    /// Everything of a window is durable in the spool: what is held of it here serves nobody any more.
    pub fn sealed(&mut self, window_start_s: u64) {
        let current = self.current.iter_mut().map(|current| &mut current.windows);
        let past = self.past.iter_mut().map(|past| &mut past.windows);
        for windows in current.chain(past) {
            windows.remove(&window_start_s);
        }
        self.forget_sealed();
    }

    /// The account of the downtime is durable: so is every window before the one that was open at the start.
    pub fn sealed_before(&mut self, window_start_s: u64) {
        for past in &mut self.past {
            past.windows = past.windows.split_off(&window_start_s);
        }
        self.forget_sealed();
    }

    fn forget_sealed(&mut self) {
        for past in self.past.extract_if(.., |past| past.windows.is_empty()) {
            self.keeper.delete(past.into_path());
        }
    }

    /// Syncs and deletes, aside, what is to be. Call it whenever [`Journal::next`] has come, or more often.
    pub fn tend(&mut self, now: Instant) {
        if let Some(Err(error)) = self.keeper.finished() {
            self.fail(now, 0, &sync_failed(&error));
        }
        if !self.keeper.is_due(now) {
            return;
        }
        let current = self.current.as_mut().and_then(|current| current.file.unsynced());
        self.keeper.start(now, Work::of(current));
    }

    /// When [`Journal::tend`] next has something to do; `None` while there is nothing.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let dirty = self.current.as_ref().is_some_and(|current| current.file.is_dirty());
        let waits = dirty || !self.pending.is_empty();
        self.keeper.next(waits)
    }

    /// What an auditor should know, once.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }
}

fn sync_failed(error: &io::Error) -> String {
    format!("a sync failed: {error}")
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
