//! The sealer: closed windows become durable records, off the runner's way.
//!
//! What comes is encoded at once and waits here for the disk ([`Backlog`]). A disk that is slow for a moment holds the runner
//! up: its windows wait there. On one that takes nothing for [`STUCK`], or leaves [`WAITING_MAX_BYTES`] waiting for as long,
//! no more than these wait; then the oldest give way, and a gap counts what they held.

mod backlog;

use self::backlog::{Backlog, Job, Work};
use super::Recovery;
use super::health::Vitals;
use crate::spool::{SpoolError, SpoolHandle};
use crate::uplink::ClockOffset;
use crate::window::Sealed;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{Head, encode};
use probefleet_proto::v1;
use prost::Message as _;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error};

pub use self::backlog::WAITING_MAX_BYTES;

/// Wait before a record is appended again after the disk failed.
const RETRY: Duration = Duration::from_secs(1);
/// A record that is not on disk after that time: the disk does not take any. A large fleet's window is many records, which
/// wait for each other for a moment.
const STUCK: Duration = Duration::from_secs(5);

/// Something to put on record.
#[derive(Debug)]
pub enum Seal {
    /// Closed cells of a window.
    Window(Sealed),
    /// Something an auditor should know.
    Event {
        /// Which: `start`, `stop`, `agent_down`, `clock_step`, `journal_failed`, `journal_recovered`.
        what: &'static str,
        /// When, Unix ns.
        wall_time_ns: u64,
        /// For people.
        detail: String,
    },
}

/// What comes to the sealer, and what it says of that.
#[derive(Debug)]
pub struct Desk {
    /// Closed windows and events.
    pub seals: mpsc::Receiver<Seal>,
    /// How many of these windows are durable, in themselves or in a gap.
    pub kept: watch::Sender<u64>,
    /// What waits for the disk.
    pub waiting: watch::Sender<Waiting>,
    /// How far the clock is from the collector's.
    pub offset: watch::Receiver<Option<ClockOffset>>,
    /// How much the spool may hold.
    pub spool_max_bytes: u64,
}

/// What waits in memory for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Bytes of records.
    pub bytes: usize,
    /// Reports that gave way and are not in a durable gap yet.
    pub lost_reports: u64,
}

/// Puts the account of the downtime on record, then everything that comes, until the senders are gone. True when all of
/// it is durable.
pub async fn run(spool: SpoolHandle, recovery: Recovery, desk: Desk) -> bool {
    let Desk { mut seals, kept, waiting, offset, spool_max_bytes } = desk;
    let vitals = Vitals::new(spool_max_bytes);
    let (account, backlog) = (VecDeque::new(), Backlog::default());
    let mut office = Office { spool, offset, vitals, recovery, account, backlog };
    let (mut writing, mut is_open, mut full_since) = (None, true, None);
    loop {
        if writing.is_none() {
            writing = office.next_job().map(|job| Writing::begin(office.spool.clone(), job));
        }
        let now = office.waiting(writing.as_ref());
        waiting.send_if_modified(|known| std::mem::replace(known, now) != now);
        if writing.is_none() && !is_open {
            return true;
        }
        // A disk that is always a little too slow is as good as one that takes nothing.
        full_since = office.backlog.is_full().then(|| full_since.unwrap_or_else(Instant::now));
        let begun = writing.as_ref().map(|writing| writing.since).into_iter().chain(full_since);
        let stuck_at = begun.min().map(|since| since + STUCK);
        let is_stuck = stuck_at.is_some_and(|at| at <= Instant::now());
        let takes = is_open && (is_stuck || !office.backlog.is_full());
        tokio::select! {
            seal = seals.recv(), if takes => match seal {
                Some(seal) => office.take(seal),
                None => is_open = false,
            },
            written = done(&mut writing) => {
                let Some(Writing { windows, .. }) = writing.take().filter(|_| written.is_ok())
                else { return false };
                kept.send_if_modified(|kept| { *kept += windows; windows > 0 });
            }
            () = sleep_until(stuck_at.unwrap_or_else(Instant::now)), if stuck_at.is_some() && !is_stuck => {}
        }
        if is_stuck {
            office.backlog.give_way();
        }
    }
}

/// The spool has ended: there is nowhere to keep anything.
struct Closed;

/// A record that is being appended. It is not to be dropped: that would not undo it.
struct Writing {
    since: Instant,
    /// How many of the windows that came are durable with it.
    windows: u64,
    /// Reports that gave way and that it counts.
    lost_reports: u64,
    done: Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>,
}

impl Writing {
    fn begin(spool: SpoolHandle, Job { work, windows }: Job) -> Self {
        let lost_reports = match &work {
            Work::Lost(lost) => lost.reports(),
            Work::Record(..) => 0,
        };
        Self { since: Instant::now(), windows, lost_reports, done: Box::pin(append(spool, work)) }
    }
}

async fn done(writing: &mut Option<Writing>) -> Result<(), Closed> {
    match writing {
        Some(writing) => writing.done.as_mut().await,
        None => pending().await,
    }
}

/// What a record is made with, and those that are made.
struct Office {
    spool: SpoolHandle,
    offset: watch::Receiver<Option<ClockOffset>>,
    vitals: Vitals,
    /// The account of the downtime, which goes before everything else, as far as it is not written yet.
    recovery: Recovery,
    /// The records of one window of it.
    account: VecDeque<Vec<u8>>,
    backlog: Backlog,
}

impl Office {
    fn next_job(&mut self) -> Option<Job> {
        if self.account.is_empty()
            && let Some(sealed) = self.recovery.next()
        {
            self.account = self.report(&sealed).into();
        }
        match self.account.pop_front() {
            Some(payload) => Some(Job { work: Work::Record(Kind::Report, payload), windows: 0 }),
            None => self.backlog.next_job(),
        }
    }

    fn waiting(&self, writing: Option<&Writing>) -> Waiting {
        let Waiting { bytes, lost_reports } = self.backlog.waiting();
        let in_gap = writing.map_or(0, |writing| writing.lost_reports);
        Waiting { bytes, lost_reports: lost_reports + in_gap }
    }

    fn take(&mut self, seal: Seal) {
        match seal {
            Seal::Window(sealed) => {
                let payloads = self.report(&sealed);
                self.backlog.push_window(payloads);
            }
            Seal::Event { what, wall_time_ns, detail } => {
                let event = v1::Event { what: what.to_owned(), wall_time_ns, detail };
                self.backlog.push_event(event.encode_to_vec());
            }
        }
    }

    fn report(&mut self, sealed: &Sealed) -> Vec<Vec<u8>> {
        let offset = *self.offset.borrow();
        let state = self.spool.state().borrow().clone();
        let head = Head {
            window_start_s: sealed.window_start_s,
            window_s: sealed.window_s,
            plan_hash: sealed.plan_hash.clone(),
            health: self.vitals.health(sealed.own, &state, offset),
            stragglers_follow: sealed.stragglers_follow,
        };
        encode(&head, &sealed.cells)
    }
}

/// Appends until it succeeds.
async fn append(spool: SpoolHandle, work: Work) -> Result<(), Closed> {
    loop {
        let appended = match &work {
            Work::Record(kind, payload) => spool.append(*kind, payload.clone()).await,
            Work::Lost(lost) => spool.append_lost(lost.clone()).await,
        };
        match appended {
            Ok(_) => return Ok(()),
            Err(SpoolError::Closed) => {
                error!("the spool is closed: a record is not kept");
                return Err(Closed);
            }
            Err(error) => {
                debug!(%error, "the spool cannot be written; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
