//! How the agent is, told to whoever asks it over HTTP, and to its collector.
//!
//! | path | |
//! |---|---|
//! | `/healthz` | 200: the process answers |
//! | `/readyz` | 200 when everything works; else 503 and a line for each fault: what, since when, what to do |
//! | `/metrics` | for Prometheus: OpenMetrics when asked for, else the text format before it |
//!
//! A task looks once a second and remembers what it saw, so that asking costs nothing and asks nobody: not the disk, which
//! may not answer. What it finds goes to the collector too, with the snapshot that the uplink sends every five seconds: an
//! operator who watches the collector alone learns of an agent's full disk as long as there is a way to it.
//!
//! It is off unless the configuration says `status:`. On a loopback address only requests for a loopback name are answered
//! (DNS rebinding), and no probe may be sent to it, whatever the policy says.

mod faults;
mod metrics;
mod server;

pub use faults::Fault;
pub use server::Listener;

use crate::runner::Waiting;
use crate::spool::{Health, SpoolHandle, SpoolState};
use crate::uplink::LinkState;
use faults::{Seen, Watch};
use jiff::Timestamp;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look that is older says that nothing runs in time here.
const LOOK_STALE: Duration = Duration::from_secs(10);
/// Longest text of a fault that is sent to the collector, in bytes: eight of them leave room for probes.
const TEXT_MAX_BYTES: usize = 1_000;

/// Where to look.
#[derive(Debug)]
pub struct Sources {
    /// The spool.
    pub spool: SpoolHandle,
    /// Files that were set aside when it was opened.
    pub set_aside: usize,
    /// The connection.
    pub link: watch::Receiver<LinkState>,
    /// Sessions so far.
    pub sessions: watch::Receiver<u64>,
    /// Hash of the plan in force; empty = none.
    pub plan_hash: watch::Receiver<Vec<u8>>,
    /// What the runner says of itself.
    pub runner: watch::Receiver<v1::Status>,
    /// What waits in memory for the spool.
    pub waiting: watch::Receiver<Waiting>,
}

/// What was seen at one look.
#[derive(Clone, Debug)]
pub struct Report {
    /// When, and the same instant in Unix seconds.
    at: (Instant, u64),
    faults: Vec<Fault>,
    spool: SpoolState,
    health: Option<Health>,
    waiting: Waiting,
    set_aside: usize,
    link: LinkState,
    sessions: u64,
    has_plan: bool,
    /// Probes that have run under it.
    probes: usize,
}

/// Looks, for as long as anybody listens.
#[derive(Debug)]
pub struct Watcher {
    sources: Sources,
    watch: Watch,
    runner_at: Instant,
    reports: watch::Sender<Arc<Report>>,
    /// The runner's snapshot with the faults, for the collector.
    status: watch::Sender<v1::Status>,
}

impl Watcher {
    /// Returns what it will tell, to this machine and to the collector.
    #[must_use]
    pub fn new(
        sources: Sources,
    ) -> (Self, watch::Receiver<Arc<Report>>, watch::Receiver<v1::Status>) {
        let now = Instant::now();
        let (watch, runner_at) = (Watch::default(), now);
        let (status, statuses) = watch::channel(v1::Status::default());
        let first = Report::of(&sources.seen(runner_at), &sources, now);
        let (reports, views) = watch::channel(Arc::new(first));
        (Self { sources, watch, runner_at, reports, status }, views, statuses)
    }

    /// Looks every second; never ends by itself.
    pub async fn run(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(Instant::now());
        }
    }

    fn look(&mut self, now: Instant) {
        if self.sources.runner.has_changed().unwrap_or(false) {
            self.runner_at = now;
        }
        let mut status = self.sources.runner.borrow_and_update().clone();
        let seen = self.sources.seen(self.runner_at);
        let faults = self.watch.look(&seen, now);
        let report = Report { faults, ..Report::of(&seen, &self.sources, now) };
        status.faults = report.faults.iter().map(|fault| report.told(fault)).collect();
        self.status.send_replace(status);
        self.reports.send_replace(Arc::new(report));
    }
}

impl Sources {
    fn seen(&self, runner_at: Instant) -> Seen {
        let health = self.spool.health();
        let health = health.has_changed().is_ok().then(|| health.borrow().clone());
        Seen {
            spool: self.spool.state().borrow().clone(),
            health,
            link: self.link.borrow().clone(),
            has_plan: !self.plan_hash.borrow().is_empty(),
            plan_refused: self.runner.borrow().faults.first().cloned(),
            runner_at,
            waiting: *self.waiting.borrow(),
        }
    }
}

impl Report {
    fn of(seen: &Seen, sources: &Sources, now: Instant) -> Self {
        Self {
            at: (now, unix_now_ns() / NS_PER_S),
            faults: Vec::new(),
            spool: seen.spool.clone(),
            health: seen.health.clone(),
            waiting: seen.waiting,
            set_aside: sources.set_aside,
            link: seen.link.clone(),
            sessions: *sources.sessions.borrow(),
            has_plan: seen.has_plan,
            probes: sources.runner.borrow().probes.len(),
        }
    }

    /// Unix second of an instant that was not after the look.
    fn unix_s(&self, instant: Instant) -> u64 {
        self.at.1.saturating_sub(self.at.0.saturating_duration_since(instant).as_secs())
    }

    /// A fault as the collector is told it.
    fn told(&self, fault: &Fault) -> v1::Fault {
        let mut text = format!("{}; {}", fault.text, fault.cure);
        text.truncate(text.floor_char_boundary(TEXT_MAX_BYTES));
        v1::Fault { what: fault.what.to_string(), since_s: self.unix_s(fault.since), text }
    }

    /// Whether everything works, and what `/readyz` says.
    fn readiness(&self, now: Instant) -> (bool, String) {
        let mut text = String::new();
        let age = now.saturating_duration_since(self.at.0);
        if age >= LOOK_STALE {
            let line = format!(
                "agent: nothing has run in time for {} s; give this machine more processor time\n",
                age.as_secs()
            );
            text.push_str(&line);
        }
        for fault in &self.faults {
            let since_s = i64::try_from(self.unix_s(fault.since)).unwrap_or_default();
            let since = Timestamp::from_second(since_s).unwrap_or_default();
            // Texts of the system and of collectors: they stay on their line.
            let said = fault.text.replace(char::is_control, " ");
            let line = writeln!(text, "{}: {said} (since {since}); {}", fault.what, fault.cure);
            debug_assert!(line.is_ok(), "a text takes everything");
        }
        let ready = text.is_empty();
        let head = if ready { "ready\n" } else { "not ready\n" };
        (ready, format!("{head}{text}{}", self.notes()))
    }

    /// What is over, and a person should know.
    fn notes(&self) -> String {
        let mended = self.health.as_ref().map_or(0, |health| health.mishaps.mended_segments);
        let files = u64::try_from(self.set_aside).unwrap_or(u64::MAX).saturating_add(mended);
        if files == 0 {
            return String::new();
        }
        format!(
            "note: {files} damaged files of the spool were set aside, gaps stand for what is lost; `probefleet-agent spool` lists them\n"
        )
    }
}

#[cfg(test)]
mod tests;
