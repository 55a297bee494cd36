//! Windows: samples in, closed cells out. Pure.
//!
//! A sample belongs to the window of its *scheduled* instant. A cell closes when its window has ended and none of its
//! attempts is in flight; one second after a window's end its closed cells are sealed, stragglers follow in a further
//! report of the same window (`formats.md` §5). `scheduled = ok + failed + invalid + missed` holds for every closed
//! cell, because each due instant enters by exactly one of [`Windows::started`] and [`Windows::missed`], and each that
//! started leaves by [`Windows::ended`].

use crate::probe::{Outcome, Phase, Sample};
use probefleet_proto::health;
use probefleet_proto::name::{InvalidReason, MissedReason};
use probefleet_proto::plan::{SpecHash, Thresholds};
use probefleet_proto::report::{Cell, Label, OtherKind, Series};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::window::{SEAL_AFTER_NS, START_LAG_MAX_NS, start_s};
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The phase that holds how late every started attempt was.
pub const START_LAG: &str = "start_lag";
/// Ending of phases that hold what failed only. A probe gives them to no attempt in which that went well.
const FAILED_SUFFIX: &str = "_failed";
/// Codes of attempts for which the machine had no socket.
const NO_SOCKET: [&str; 4] = ["emfile", "enfile", "enobufs", "enomem"];
/// Shortest time between two reports of a window: thousands of long attempts end after their window, one after the
/// other, and a record for each would be thousands a second.
const STRAGGLERS_EVERY_NS: u64 = NS_PER_S;

/// What an attempt measured, fresh from its probe or read back after a kill: the same is counted of either.
pub trait Measured {
    /// What became of it.
    fn outcome(&self) -> Outcome;
    /// Wire code, or empty.
    fn code(&self) -> &str;
    /// Duration of each phase, ns.
    fn phases_ns(&self) -> &[(Phase, u64)];
    /// Counts that are no outcomes.
    fn counters(&self) -> impl ExactSizeIterator<Item = (Label, u64)>;
    /// Measurements that are no durations.
    fn values(&self) -> impl ExactSizeIterator<Item = (Label, u64)>;
}

impl Measured for Sample {
    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn code(&self) -> &str {
        self.code.as_deref().unwrap_or("")
    }

    fn phases_ns(&self) -> &[(Phase, u64)] {
        &self.phases_ns
    }

    fn counters(&self) -> impl ExactSizeIterator<Item = (Label, u64)> {
        self.counters.iter().map(|(name, count)| (Label::Borrowed(*name), *count))
    }

    fn values(&self) -> impl ExactSizeIterator<Item = (Label, u64)> {
        self.values.iter().map(|(name, value)| (Label::Borrowed(*name), *value))
    }
}

/// What a cell is about: a probe with one spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSpec {
    /// Name of the probe.
    pub probe: String,
    /// Identity of what it measures.
    pub spec: SpecHash,
    /// Interval, s.
    pub interval_s: u32,
    /// What to count exactly, by phase, and by value in the value's own unit.
    pub at_most_ns: Thresholds,
}

impl SeriesSpec {
    /// What to count exactly of a phase or a value, ascending.
    fn thresholds(&self, name: &str) -> &[u64] {
        self.at_most_ns.get(name).map_or(&[], Vec::as_slice)
    }

    /// A cell that counts nothing yet.
    #[must_use]
    pub fn empty_cell(&self) -> Cell {
        Cell {
            probe: self.probe.clone(),
            spec: self.spec,
            interval_s: self.interval_s,
            scheduled: 0,
            ok: 0,
            others: Vec::new(),
            series: Vec::new(),
            counters: Vec::new(),
            values: Vec::new(),
        }
    }
}

/// Counts attempts that were due and never started.
fn add_missed(cell: &mut Cell, reason: MissedReason, count: u32) {
    cell.scheduled = cell.scheduled.saturating_add(count);
    cell.add_other(OtherKind::Missed, reason.as_str(), "", count);
}

impl PartialOrd for SeriesSpec {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeriesSpec {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.probe, self.spec, self.interval_s, &self.at_most_ns).cmp(&(
            &other.probe,
            other.spec,
            other.interval_s,
            &other.at_most_ns,
        ))
    }
}

// Those that differ in the rest alone are one probe before and after a change of its thresholds: too few to matter.
impl Hash for SeriesSpec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.probe.hash(state);
    }
}

/// The windows that are not sealed to the last cell.
#[derive(Debug)]
pub struct Windows {
    /// Of new windows, s.
    width_s: u32,
    /// Of new windows.
    plan_hash: Vec<u8>,
    /// By start, Unix s.
    open: BTreeMap<u64, Window>,
}

#[derive(Debug)]
struct Window {
    width_s: u32,
    plan_hash: Vec<u8>,
    cells: HashMap<Arc<SeriesSpec>, OpenCell>,
    own: Own,
    /// Its first report was sealed: whatever is here now is a straggler.
    sealed: bool,
    /// When its next report may be sealed, Unix ns.
    next_seal_ns: u64,
    /// A straggler may have arrived since the last report.
    arrived: bool,
}

/// How the agent itself did in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Latest start of an attempt after its instant, ns.
    pub start_lag_max_ns: u64,
    /// Longest time that the agent was held up, ns.
    pub stall_max_ns: u64,
    /// Attempts for which the machine had no socket.
    pub sockets_refused: u64,
    /// Why it is not to be trusted: bits of [`probefleet_proto::health`].
    pub flags: u32,
}

/// Why what was measured in a window is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Start of the window, Unix s.
    pub window_start_s: u64,
    /// Bits of [`probefleet_proto::health`].
    pub flags: u32,
    /// For how long the agent was held up, ns.
    pub stall_ns: u64,
}

#[derive(Debug)]
struct OpenCell {
    cell: Cell,
    in_flight: u32,
}

/// Closed cells of one window, for one report.
#[derive(Clone, Debug, PartialEq)]
pub struct Sealed {
    /// Start of the window, Unix s.
    pub window_start_s: u64,
    /// Width of the window, s.
    pub window_s: u32,
    /// Plan in force in the window.
    pub plan_hash: Vec<u8>,
    /// The closed cells, ordered by probe and spec.
    pub cells: Vec<Cell>,
    /// Attempts of this window are still in flight.
    pub stragglers_follow: bool,
    /// How the agent itself did.
    pub own: Own,
}

impl Windows {
    /// No window yet; new ones have this width (s) under the plan of this hash.
    #[must_use]
    pub const fn new(width_s: u32, plan_hash: Vec<u8>) -> Self {
        Self { width_s, plan_hash, open: BTreeMap::new() }
    }

    /// Puts new windows under another plan; open ones keep theirs.
    pub fn set_plan(&mut self, width_s: u32, plan_hash: Vec<u8>) {
        self.width_s = width_s;
        self.plan_hash = plan_hash;
    }

    /// Opens the window of an instant (Unix ns), so that it is reported even when nothing is due in it.
    pub fn open(&mut self, at_ns: u64) -> u64 {
        let start_s = start_s(at_ns / NS_PER_S, self.width_s);
        let (width_s, plan_hash) = (self.width_s, &self.plan_hash);
        self.open.entry(start_s).or_insert_with(|| Window {
            width_s,
            plan_hash: plan_hash.clone(),
            cells: HashMap::new(),
            own: Own::default(),
            sealed: false,
            next_seal_ns: seal_ns(start_s, width_s),
            arrived: false,
        });
        start_s
    }

    /// An attempt has started. Returns the start of its window (Unix s), to be given back to [`Windows::ended`].
    pub fn started(&mut self, series: &Arc<SeriesSpec>, scheduled_ns: u64) -> u64 {
        let start_s = self.open(scheduled_ns);
        if let Some(cell) = self.cell(start_s, series) {
            cell.cell.scheduled = cell.cell.scheduled.saturating_add(1);
            cell.in_flight += 1;
        }
        start_s
    }

    /// An attempt was due and never started. Returns the start of its window, Unix s.
    pub fn missed(
        &mut self,
        series: &Arc<SeriesSpec>,
        scheduled_ns: u64,
        reason: MissedReason,
    ) -> u64 {
        let start_s = self.open(scheduled_ns);
        self.missed_of(series, start_s, (reason, 1));
        start_s
    }

    /// Likewise so many of a window that is open (Unix s).
    pub fn missed_of(
        &mut self,
        series: &Arc<SeriesSpec>,
        window_start_s: u64,
        (reason, count): (MissedReason, u32),
    ) {
        if count == 0 {
            return;
        }
        if let Some(cell) = self.cell(window_start_s, series) {
            add_missed(&mut cell.cell, reason, count);
        }
        if let Some(window) = self.open.get_mut(&window_start_s) {
            let suspended = reason == MissedReason::Suspended;
            window.own.flags |= if suspended { health::SUSPENDED } else { 0 };
        }
        self.arrived(window_start_s);
    }

    /// An attempt has ended that began `lag_ns` after its instant.
    pub fn ended(
        &mut self,
        series: &Arc<SeriesSpec>,
        window_start_s: u64,
        lag_ns: u64,
        sample: &impl Measured,
    ) {
        if let Some(window) = self.open.get_mut(&window_start_s) {
            window.own.note(lag_ns, sample);
        }
        self.arrived(window_start_s);
        let Some(cell) = self.cell(window_start_s, series) else { return };
        cell.in_flight = cell.in_flight.saturating_sub(1);
        count(&mut cell.cell, series, lag_ns, sample);
    }

    /// What the windows that were open at an instant (Unix ns) or later hold is not to be trusted, nor what of earlier
    /// ones was in flight. Returns those of which that was not known.
    pub fn suspect(&mut self, since_ns: u64, flags: u32, stall_ns: u64) -> Vec<Suspect> {
        let in_flight = |window: &Window| window.cells.values().any(|cell| cell.in_flight > 0);
        let spoiled = self.open.iter().filter(|(start_s, window)| {
            let end_s = **start_s + u64::from(window.width_s);
            let known = window.own.flags & flags == flags && window.own.stall_max_ns >= stall_ns;
            !known && (end_s.saturating_mul(NS_PER_S) > since_ns || in_flight(window))
        });
        let spoiled: Vec<Suspect> = spoiled
            .map(|(start_s, _)| Suspect { window_start_s: *start_s, flags, stall_ns })
            .collect();
        spoiled.iter().for_each(|suspect| self.mark(suspect));
        spoiled
    }

    /// Notes why a window that is open is not to be trusted.
    pub fn mark(&mut self, suspect: &Suspect) {
        if let Some(window) = self.open.get_mut(&suspect.window_start_s) {
            window.own.flags |= suspect.flags;
            window.own.stall_max_ns = window.own.stall_max_ns.max(suspect.stall_ns);
        }
    }

    /// A cell of the window may be closed now.
    fn arrived(&mut self, window_start_s: u64) {
        if let Some(window) = self.open.get_mut(&window_start_s) {
            window.arrived = true;
        }
    }

    fn cell(&mut self, window_start_s: u64, series: &Arc<SeriesSpec>) -> Option<&mut OpenCell> {
        let window = self.open.get_mut(&window_start_s)?;
        let fresh = || OpenCell { cell: series.empty_cell(), in_flight: 0 };
        Some(window.cells.entry(Arc::clone(series)).or_insert_with(fresh))
    }

    /// When [`Windows::seal`] will next have something by the clock alone, Unix ns.
    #[must_use]
    pub fn next_seal_ns(&self) -> Option<u64> {
        let waits = |window: &&Window| !window.sealed || window.arrived;
        self.open.values().filter(waits).map(|window| window.next_seal_ns).min()
    }

    /// The next window whose time has come: its closed cells, once; or stragglers of one that was sealed before.
    pub fn seal(&mut self, now_ns: u64) -> Option<Sealed> {
        let due = self.open.iter_mut().find_map(|(s, window)| window.is_due(now_ns).then_some(*s));
        let start_s = due?;
        if let Some(window) = self.open.get_mut(&start_s) {
            window.next_seal_ns = now_ns.saturating_add(STRAGGLERS_EVERY_NS);
        }
        self.seal_window(start_s)
    }

    /// Seals the oldest window, ended or not: the agent stops. Attempts in flight must have been ended before.
    pub fn seal_oldest(&mut self) -> Option<Sealed> {
        let start_s = *self.open.first_key_value()?.0;
        self.seal_window(start_s)
    }

    /// Takes the windows from one on (Unix s) out.
    #[must_use]
    pub fn split_off(&mut self, start_s: u64) -> Self {
        let (width_s, plan_hash) = (self.width_s, self.plan_hash.clone());
        Self { width_s, plan_hash, open: self.open.split_off(&start_s) }
    }

    /// Seals the window that begins then (Unix s), as [`Windows::seal_oldest`] does the oldest.
    pub fn seal_window(&mut self, start_s: u64) -> Option<Sealed> {
        let window = self.open.get_mut(&start_s)?;
        (window.sealed, window.arrived) = (true, false);
        let closed = window.cells.extract_if(|_, cell| cell.in_flight == 0);
        let mut closed: Vec<_> = closed.collect();
        closed.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let sealed = Sealed {
            window_start_s: start_s,
            window_s: window.width_s,
            plan_hash: window.plan_hash.clone(),
            cells: closed.into_iter().map(|(_, cell)| cell.cell).collect(),
            stragglers_follow: !window.cells.is_empty(),
            own: window.own,
        };
        if window.cells.is_empty() {
            self.open.remove(&start_s);
        }
        Some(sealed)
    }
}

impl Window {
    /// First report: its time has come. Further ones: some straggler has arrived, and the last report was a while ago.
    fn is_due(&mut self, now_ns: u64) -> bool {
        if self.next_seal_ns > now_ns {
            return false;
        }
        if self.sealed && self.arrived {
            // Looked through once a report, not at every turn: a window may hold thousands.
            self.arrived = self.cells.values().any(|cell| cell.in_flight == 0);
        }
        !self.sealed || self.arrived
    }
}

impl Own {
    fn note(&mut self, lag_ns: u64, sample: &impl Measured) {
        self.start_lag_max_ns = self.start_lag_max_ns.max(lag_ns);
        self.flags |= if lag_ns > START_LAG_MAX_NS { health::LAG } else { 0 };
        let local = sample.outcome() == Outcome::Invalid(InvalidReason::LocalNetwork);
        self.sockets_refused += u64::from(local && NO_SOCKET.contains(&sample.code()));
    }
}

/// When the first report of a window is due, Unix ns.
fn seal_ns(start_s: u64, width_s: u32) -> u64 {
    (start_s + u64::from(width_s)).saturating_mul(NS_PER_S).saturating_add(SEAL_AFTER_NS)
}

/// Counts a sample of an attempt that began `lag_ns` late.
fn count(cell: &mut Cell, series: &SeriesSpec, lag_ns: u64, sample: &impl Measured) {
    // A late start says nothing about the provider, whatever came out of it.
    let (outcome, code) = if lag_ns > START_LAG_MAX_NS {
        (Outcome::Invalid(InvalidReason::AgentOverload), "")
    } else {
        (sample.outcome(), sample.code())
    };
    if cell.series.is_empty() {
        // Exactly: thousands of cells wait at once.
        cell.series.reserve_exact(sample.phases_ns().len() + 1);
        cell.counters.reserve_exact(sample.counters().len());
    }
    record(cell, series, &Label::Borrowed(START_LAG), lag_ns);
    match outcome {
        Outcome::Ok => cell.ok = cell.ok.saturating_add(1),
        Outcome::Failed(class) => cell.add_other(OtherKind::Failed, class.as_str(), code, 1),
        Outcome::Invalid(reason) => cell.add_other(OtherKind::Invalid, reason.as_str(), code, 1),
    }
    for (phase, ns) in sample.phases_ns() {
        let holds = match outcome {
            // What failed behind the outcome, as a call that was set up and could not be ended (`formats.md` §9).
            Outcome::Ok => true,
            Outcome::Failed(_) => phase.ends_with(FAILED_SUFFIX),
            Outcome::Invalid(_) => false,
        };
        if holds {
            record(cell, series, phase, *ns);
        }
    }
    if !matches!(outcome, Outcome::Invalid(_)) {
        sample.counters().for_each(|(name, count)| cell.add_counter(name, count));
    }
    if outcome == Outcome::Ok {
        for (name, value) in sample.values() {
            let thresholds = series.thresholds(&name);
            cell.record_value(name.clone(), value, thresholds);
        }
    }
}

fn record(cell: &mut Cell, series: &SeriesSpec, phase: &Label, ns: u64) {
    let at = cell.series.iter().position(|known| known.phase == *phase).unwrap_or_else(|| {
        cell.series.push(Series::new(phase.clone(), series.thresholds(phase)));
        cell.series.len() - 1
    });
    cell.series[at].record(ns);
}

#[cfg(test)]
mod tests;
