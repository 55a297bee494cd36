//! What was due while the agent did not run, or ran and was killed: the account that a restarted agent writes first. Pure.
//!
//! The schedule is known, and the journal says what became of each attempt that had ended. So the windows that were not
//! sealed are counted again from the journal, and each of their attempts that it does not know becomes
//! `missed: agent_down`. Three stretches:
//!
//! 1. windows that were sealed while some of their attempts were still in flight: the cells that never followed;
//! 2. windows after the last sealed one that have ended: whole;
//! 3. the window that is open now: up to now, the rest will be run. Unless it was sealed by a clean stop.
//!
//! What lies more than a day back is not accounted for, but for the windows that the journal knows: what landed is counted
//! however long the agent was down.
//!
//! The spool outranks the journal: a cell that was sealed, or may have been in a spool that was left, is not counted
//! again.

use crate::journal::{Entry, Fate, Logged};
use crate::spool::RECORD_REFUSED;
use crate::task::Task;
use crate::window::{Sealed, SeriesSpec, Suspect, Windows};
use probefleet_proto::name::MissedReason;
use probefleet_proto::plan::SpecHash;
use probefleet_proto::report::Report;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1::Gap;
use probefleet_proto::window::WIDTHS_S;
use probefleet_proto::window::{AGENT_DOWN_MAX_S, TIMEOUT_MAX_NS, edge_at_or_after_s, start_s};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How long before the newest sealed window another may still have missed a straggler, s: the longest attempt and the
/// widest window.
pub const STRAGGLERS_S: u64 = TIMEOUT_MAX_NS / NS_PER_S + 900;

/// The tasks that were in force from a window on.
#[derive(Clone, Debug)]
pub struct Era {
    /// First window, Unix s.
    pub from_s: u64,
    /// Width of its windows, s.
    pub window_s: u32,
    /// Hash of the plan.
    pub plan_hash: Vec<u8>,
    /// Its tasks.
    pub tasks: Vec<Arc<Task>>,
}

/// What the newest records of the spool say was sealed.
#[derive(Debug, Default)]
pub struct SealedBefore {
    /// Cells by window start (Unix s).
    cells: BTreeMap<u64, HashSet<(String, SpecHash)>>,
    /// Probes by window start (Unix s) that a gap stands for in the place of one report.
    refused: BTreeMap<u64, HashSet<String>>,
    /// End of the newest window, Unix s.
    end_s: Option<u64>,
    /// When this spool was begun, Unix s; `None` when it holds nothing at all.
    begun_s: Option<u64>,
}

impl SealedBefore {
    /// Notes a report of the spool.
    pub fn note(&mut self, report: &Report) {
        let cells = self.cells.entry(report.head.window_start_s).or_default();
        cells.extend(report.cells.iter().map(|cell| (cell.probe.clone(), cell.spec)));
        let end_s = report.head.window_start_s + u64::from(report.head.window_s);
        self.end_s = self.end_s.max(Some(end_s));
    }

    /// Notes a gap of the spool: the windows that it speaks of were sealed, and are not accounted for a second time. One
    /// that stands for a single report says which probes; others of its window may have had to follow in another.
    pub fn note_gap(&mut self, gap: &Gap) {
        if gap.reason == RECORD_REFUSED && !gap.probes.is_empty() {
            let probes = gap.probes.iter().map(|one| one.probe.clone());
            self.refused.entry(gap.from_s).or_default().extend(probes);
        }
        if gap.until_s > 0 {
            self.end_s = self.end_s.max(Some(gap.until_s));
        }
    }

    /// Notes an instant (Unix ns) at which the spool was in use: what is older may stand in another spool, which was
    /// left for this one, and is never accounted for a second time.
    pub fn note_in_use(&mut self, at_ns: u64) {
        let at_s = at_ns.div_ceil(NS_PER_S);
        self.begun_s = Some(self.begun_s.map_or(at_s, |begun_s| begun_s.min(at_s)));
    }

    /// Forgets the oldest window: the records that were read may begin in its middle.
    pub fn forget_oldest(&mut self) {
        let oldest_s = self.cells.pop_first().map_or(u64::MAX, |(start_s, _)| start_s);
        self.refused.retain(|start_s, _| *start_s > oldest_s);
    }

    /// Start of the newest window that was noted, Unix s.
    #[must_use]
    pub fn newest_s(&self) -> Option<u64> {
        self.cells.last_key_value().map(|(start_s, _)| *start_s)
    }

    /// End of the newest sealed window, Unix s.
    #[must_use]
    pub const fn end_s(&self) -> Option<u64> {
        self.end_s
    }
}

/// The account of a downtime, window by window, so that a day of it never stands in memory.
#[derive(Debug)]
pub struct Recovery {
    eras: Vec<Arc<Known>>,
    sealed: SealedBefore,
    next_s: u64,
    now_ns: u64,
    /// Windows from here on were never sealed, Unix s.
    sealed_until_s: u64,
    /// Those from here on are accounted for though the journal knows nothing of them, Unix s: a day back at most.
    unsealed_from_s: u64,
    /// What the journal knows of windows that are still to be accounted for.
    rebuilt: Windows,
    /// The instants that it knows, by window (Unix s).
    seen: BTreeMap<u64, HashMap<Arc<SeriesSpec>, HashSet<u64>>>,
}

/// An era, and its tasks by what they measure.
#[derive(Debug)]
struct Known {
    era: Era,
    tasks: HashMap<(String, SpecHash), usize>,
}

impl Known {
    fn new(era: Era) -> Arc<Self> {
        let key = |task: &Arc<Task>| (task.series.probe.clone(), task.series.spec);
        let tasks = era.tasks.iter().enumerate().map(|(at, task)| (key(task), at)).collect();
        Arc::new(Self { era, tasks })
    }
}

impl Recovery {
    /// The account at an instant (Unix ns), for the plans that were in force (ascending).
    #[must_use]
    pub fn new(eras: Vec<Era>, sealed: SealedBefore, now_ns: u64) -> Self {
        let now_s = now_ns / NS_PER_S;
        let earliest_s = now_s.saturating_sub(AGENT_DOWN_MAX_S);
        let sealed_until_s =
            sealed.end_s.unwrap_or_else(|| first_whole_window_s(&eras, &sealed, now_ns));
        let unsealed_from_s = sealed_until_s.max(earliest_s);
        let oldest_noted_s = sealed.cells.first_key_value().map(|(start_s, _)| *start_s);
        let next_s = oldest_noted_s.unwrap_or(unsealed_from_s).min(unsealed_from_s);
        let (rebuilt, seen) = (Windows::new(WIDTHS_S[0], Vec::new()), BTreeMap::new());
        let eras = eras.into_iter().map(Known::new).collect();
        Self { eras, sealed, next_s, now_ns, sealed_until_s, unsealed_from_s, rebuilt, seen }
    }

    /// Takes an entry of the journal. False when it is of no use: what it is about is sealed, or nobody can say any more
    /// that it was due. One that is still to come is not counted, but it is of use: the clock may be behind, and when the
    /// agent starts again with the right one, it was due.
    pub fn note(&mut self, entry: &Entry) -> bool {
        match entry {
            Entry::Attempt(logged) => self.note_attempt(logged),
            Entry::Suspect(suspect) => self.note_suspect(suspect),
        }
    }

    /// A window that was not to be trusted is not to be trusted now. It may have been sealed but for some stragglers.
    fn note_suspect(&mut self, suspect: &Suspect) -> bool {
        let window_start_s = suspect.window_start_s;
        let open = self.sealed.cells.contains_key(&window_start_s)
            || window_start_s >= self.sealed_until_s;
        let Some(known) = self.era(window_start_s).cloned().filter(|_| open) else { return false };
        let (width_s, plan_hash) = (known.era.window_s, known.era.plan_hash.clone());
        if start_s(window_start_s, width_s) != window_start_s {
            return false;
        }
        if window_start_s.saturating_mul(NS_PER_S) >= self.now_ns {
            return true;
        }
        self.know(window_start_s);
        self.rebuilt.set_plan(width_s, plan_hash);
        self.rebuilt.open(window_start_s.saturating_mul(NS_PER_S));
        self.rebuilt.mark(suspect);
        true
    }

    fn note_attempt(&mut self, logged: &Logged) -> bool {
        let (start_s, scheduled_ns) = (logged.window_start_s, logged.scheduled_ns);
        let Some(task) = self.open_task(logged) else { return false };
        if scheduled_ns >= self.now_ns {
            return true;
        }
        let seen = self.know(start_s);
        if !seen.entry(Arc::clone(&task.series)).or_default().insert(scheduled_ns) {
            return true;
        }
        match &logged.fate {
            Fate::Ended { lag_ns, result } => {
                self.rebuilt.started(&task.series, scheduled_ns);
                self.rebuilt.ended(&task.series, start_s, *lag_ns, result);
            }
            Fate::Missed(reason) => {
                self.rebuilt.missed(&task.series, scheduled_ns, *reason);
            }
        }
        true
    }

    /// The instants of a window (Unix s) that the journal knows; it is accounted for, however old it is.
    fn know(&mut self, window_start_s: u64) -> &mut HashMap<Arc<SeriesSpec>, HashSet<u64>> {
        self.next_s = self.next_s.min(window_start_s);
        self.seen.entry(window_start_s).or_default()
    }

    /// The task of an attempt whose cell is still to be accounted for.
    fn open_task(&mut self, logged: &Logged) -> Option<Arc<Task>> {
        let window_start_s = logged.window_start_s;
        let known = Arc::clone(self.era(window_start_s)?);
        let (width_s, plan_hash) = (known.era.window_s, &known.era.plan_hash);
        let task = &known.era.tasks[*known.tasks.get(&*logged.series)?];
        let span_ns = window_start_s.saturating_mul(NS_PER_S)
            ..(window_start_s + u64::from(width_s)).saturating_mul(NS_PER_S);
        let was_due = start_s(window_start_s, width_s) == window_start_s
            && span_ns.contains(&logged.scheduled_ns)
            && task.grid.at_or_after(logged.scheduled_ns) == logged.scheduled_ns;
        if !was_due || !self.is_open(window_start_s, &logged.series) {
            return None;
        }
        self.rebuilt.set_plan(width_s, plan_hash.clone());
        Some(Arc::clone(task))
    }

    /// A cell was not sealed, as far as anybody can know.
    fn is_open(&self, window_start_s: u64, key: &(String, SpecHash)) -> bool {
        let refused = self.sealed.refused.get(&window_start_s);
        if refused.is_some_and(|probes| probes.contains(&key.0)) {
            return false;
        }
        match self.sealed.cells.get(&window_start_s) {
            Some(reported) => !reported.contains(key),
            None => refused.is_some() || window_start_s >= self.sealed_until_s,
        }
    }

    /// Nothing of a window was sealed, and all of it is to be accounted for.
    fn is_whole(&self, window_start_s: u64) -> bool {
        let is_known = self.seen.contains_key(&window_start_s);
        window_start_s >= if is_known { self.sealed_until_s } else { self.unsealed_from_s }
    }

    /// From which instant (Unix ns) the schedule may run: now, or the end of a window that was sealed early.
    #[must_use]
    pub fn resume_ns(&self) -> u64 {
        self.unsealed_from_s.saturating_mul(NS_PER_S).max(self.now_ns)
    }

    /// Since when nothing was sealed, Unix s; `None` when nothing was due since.
    #[must_use]
    pub fn down_since_s(&self) -> Option<u64> {
        let first_due_s =
            self.eras.first().map(|known| known.era.from_s)?.max(self.unsealed_from_s);
        (first_due_s.saturating_mul(NS_PER_S) < self.now_ns).then_some(first_due_s)
    }

    /// The start of the window that is open now (Unix s), and that window with what of it was due before now, to be run
    /// on.
    #[must_use]
    pub fn open_window(&mut self) -> (u64, Windows) {
        let now_s = self.now_ns / NS_PER_S;
        let known = self.era(now_s).cloned();
        let start_s = known.as_ref().map_or(now_s, |known| start_s(now_s, known.era.window_s));
        if let Some(known) = known.filter(|_| start_s >= self.unsealed_from_s) {
            self.account(&known, start_s, self.now_ns);
        }
        (start_s, self.rebuilt.split_off(start_s))
    }

    fn era(&self, at_s: u64) -> Option<&Arc<Known>> {
        self.eras.iter().rev().find(|known| known.era.from_s <= at_s)
    }

    /// Adds what the journal does not know of the unsealed cells of a window, up to an instant (Unix ns).
    fn account(&mut self, Known { era, .. }: &Known, window_start_s: u64, until_ns: u64) {
        let mut seen = self.seen.remove(&window_start_s).unwrap_or_default();
        self.rebuilt.set_plan(era.window_s, era.plan_hash.clone());
        self.rebuilt.open(window_start_s.saturating_mul(NS_PER_S));
        for (task, count) in due(era, window_start_s.saturating_mul(NS_PER_S), until_ns) {
            if self.is_open(window_start_s, &(task.series.probe.clone(), task.series.spec)) {
                let known = seen.remove(&task.series).map_or(0, |instants| instants.len());
                let unknown = count.saturating_sub(u32::try_from(known).unwrap_or(u32::MAX));
                let missed = (MissedReason::AgentDown, unknown);
                self.rebuilt.missed_of(&task.series, window_start_s, missed);
            }
        }
    }
}

impl Iterator for Recovery {
    /// A window that has ended.
    type Item = Sealed;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(known) = self.era(self.next_s).cloned() else {
                // Nothing was in force yet: go on where something was.
                let from_s = self.eras.iter().map(|known| known.era.from_s);
                self.next_s = from_s.into_iter().find(|from_s| *from_s > self.next_s)?;
                continue;
            };
            let window_start_s = start_s(self.next_s, known.era.window_s);
            let end_s = window_start_s + u64::from(known.era.window_s);
            if end_s.saturating_mul(NS_PER_S) > self.now_ns {
                return None;
            }
            self.next_s = end_s;
            let whole = self.is_whole(window_start_s);
            if !whole && !self.sealed.cells.contains_key(&window_start_s) {
                continue;
            }
            self.account(&known, window_start_s, end_s.saturating_mul(NS_PER_S));
            let sealed = self.rebuilt.seal_window(window_start_s);
            if let Some(sealed) = sealed.filter(|sealed| whole || !sealed.cells.is_empty()) {
                return Some(sealed);
            }
        }
    }
}

/// Where the account begins when no window was sealed in this spool: where a plan was in force and this spool in use.
/// The first edge after that, because the window before may have been sealed elsewhere.
fn first_whole_window_s(eras: &[Era], sealed: &SealedBefore, now_ns: u64) -> u64 {
    let Some(first) = eras.first() else { return now_ns / NS_PER_S };
    let begun_ns = sealed.begun_s.map_or(now_ns, |begun_s| begun_s.saturating_mul(NS_PER_S));
    first.from_s.max(edge_at_or_after_s(begun_ns, first.window_s))
}

/// The tasks with instants in `[from_ns, until_ns)`, and how many.
pub(super) fn due(
    era: &Era,
    from_ns: u64,
    until_ns: u64,
) -> impl Iterator<Item = (Arc<Task>, u32)> {
    era.tasks.iter().filter_map(move |task| {
        let count = u32::try_from(task.grid.count(from_ns, until_ns)).unwrap_or(u32::MAX);
        (count > 0).then(|| (Arc::clone(task), count))
    })
}

#[cfg(test)]
mod rebuilt;
#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::plan::AgentPlan;
    use probefleet_proto::report::{Cell, Head, OtherKind};
    use probefleet_proto::v1::GapProbe;
    use serde_json::json;

    const WIDTH_S: u64 = 10;

    /// Two probes: `a` every 2 s, `b` every 7 s.
    pub(super) fn era(from_s: u64) -> Era {
        let probe = |name: &str, every: &str| json!({"at_most_ns": {}, "every": every, "http": {"url": "http://127.0.0.1/"}, "name": name, "timeout": "1s"});
        let plan = json!({"probes": [probe("a", "2s"), probe("b", "7s")], "version": 1, "window_s": WIDTH_S});
        let plan = AgentPlan::from_canonical_json(&probefleet_proto::plan::canonical_json(&plan))
            .expect("valid");
        let tasks = crate::task::build(&plan, &[9; 16]).expect("valid");
        Era { from_s, window_s: 10, plan_hash: vec![1; 32], tasks }
    }

    pub(super) fn report(window_start_s: u64, probes: &[&str]) -> Report {
        let era = era(0);
        let cells = era.tasks.iter().filter(|task| probes.contains(&task.series.probe.as_str()));
        Report {
            head: Head { window_start_s, window_s: 10, ..Head::default() },
            cells: cells.map(|task| task.series.empty_cell()).collect(),
        }
    }

    pub(super) fn sealed_before(reports: &[Report]) -> SealedBefore {
        let mut sealed = SealedBefore::default();
        reports.iter().for_each(|report| sealed.note(report));
        sealed
    }

    fn missed(cells: &[Cell]) -> u64 {
        cells.iter().map(|cell| cell.count(OtherKind::Missed)).sum()
    }

    /// What the schedule alone says was due in a stretch.
    fn scheduled(from_s: u64, until_s: u64) -> u64 {
        let count = |task: &Arc<Task>| task.grid.count(from_s * NS_PER_S, until_s * NS_PER_S);
        era(0).tasks.iter().map(count).sum()
    }

    #[test]
    fn windows_after_the_last_sealed_one_are_missed_whole() {
        let sealed = sealed_before(&[report(1_000, &["a", "b"])]);
        let mut recovery = Recovery::new(vec![era(500)], sealed, 1_043 * NS_PER_S);
        assert_eq!(recovery.down_since_s(), Some(1_010));
        assert_eq!(recovery.resume_ns(), 1_043 * NS_PER_S);
        let open = recovery.open_window().1.seal_oldest().expect("is open");
        assert_eq!(missed(&open.cells), scheduled(1_040, 1_043));
        let windows: Vec<Sealed> = recovery.collect();
        assert_eq!(
            windows.iter().map(|w| w.window_start_s).collect::<Vec<_>>(),
            [1_010, 1_020, 1_030]
        );
        assert_eq!(windows.iter().map(|w| missed(&w.cells)).sum::<u64>(), scheduled(1_010, 1_040));
    }

    #[test]
    fn stragglers_that_never_followed_are_missed() {
        let sealed = sealed_before(&[report(1_000, &["a"]), report(1_010, &["a", "b"])]);
        let windows: Vec<Sealed> =
            Recovery::new(vec![era(500)], sealed, 1_021 * NS_PER_S).collect();
        assert_eq!(windows.len(), 1);
        assert_eq!((windows[0].window_start_s, windows[0].cells[0].probe.as_str()), (1_000, "b"));
    }

    #[test]
    fn a_window_that_became_a_gap_is_not_accounted_for_again() {
        let mut sealed = sealed_before(&[report(1_000, &["a", "b"])]);
        sealed.note_gap(&Gap::default());
        sealed.note_gap(&Gap { from_s: 1_010, until_s: 1_020, ..Gap::default() });
        let windows: Vec<Sealed> =
            Recovery::new(vec![era(500)], sealed, 1_031 * NS_PER_S).collect();
        assert_eq!(windows.iter().map(|w| w.window_start_s).collect::<Vec<_>>(), [1_020]);
    }

    #[test]
    fn what_follows_a_report_that_was_refused_is_still_open() {
        let mut sealed = sealed_before(&[report(1_000, &["a", "b"])]);
        let probes = vec![GapProbe { probe: "a".to_owned(), ..GapProbe::default() }];
        let reason = RECORD_REFUSED.to_owned();
        let gap = Gap { from_s: 1_010, until_s: 1_020, reason, probes, ..Gap::default() };
        sealed.note_gap(&gap);
        let key = |probe: &str| (probe.to_owned(), [0; 16]);
        let recovery = Recovery::new(vec![era(500)], sealed, 1_031 * NS_PER_S);
        assert!(!recovery.is_open(1_010, &key("a")) && recovery.is_open(1_010, &key("b")));
        assert!(!recovery.is_open(990, &key("b")) && recovery.is_open(1_020, &key("a")));
        let mut sealed = sealed_before(&[report(1_020, &["a"])]);
        sealed.note_gap(&gap);
        sealed.forget_oldest();
        assert!(sealed.refused.is_empty(), "its window may have begun before what was read");
    }

    #[test]
    fn after_a_clean_stop_the_open_window_is_not_run_again() {
        let sealed = sealed_before(&[report(1_000, &["a", "b"])]);
        let mut recovery = Recovery::new(vec![era(500)], sealed, 1_004 * NS_PER_S);
        assert_eq!(recovery.resume_ns(), 1_010 * NS_PER_S);
        assert_eq!((recovery.down_since_s(), recovery.open_window().1.seal_oldest()), (None, None));
        assert_eq!(recovery.count(), 0);
    }

    /// A spool that was begun at an instant (Unix s) and holds no window.
    fn begun(at_s: u64) -> SealedBefore {
        let mut sealed = SealedBefore::default();
        sealed.note_in_use(at_s * NS_PER_S);
        sealed
    }

    #[test]
    fn what_may_stand_in_another_spool_is_not_accounted_for_twice() {
        let windows: Vec<Sealed> =
            Recovery::new(vec![era(500)], begun(1_003), 1_025 * NS_PER_S).collect();
        assert_eq!(windows.iter().map(|w| w.window_start_s).collect::<Vec<_>>(), [1_010]);
        let mut lost = Recovery::new(vec![era(500)], SealedBefore::default(), 1_025 * NS_PER_S);
        assert_eq!(
            (lost.open_window().1.seal_oldest(), lost.resume_ns()),
            (None, 1_030 * NS_PER_S)
        );
        assert_eq!(lost.count(), 0);
    }

    #[test]
    fn a_plan_of_which_nothing_was_sealed_counts_from_its_edge() {
        let recovery = Recovery::new(vec![era(1_000)], begun(990), 1_025 * NS_PER_S);
        let windows: Vec<Sealed> = recovery.collect();
        assert_eq!(windows.iter().map(|w| w.window_start_s).collect::<Vec<_>>(), [1_000, 1_010]);
    }

    #[test]
    fn nothing_is_due_before_the_first_plan_or_more_than_a_day_ago() {
        assert_eq!(Recovery::new(Vec::new(), SealedBefore::default(), 1_025 * NS_PER_S).count(), 0);
        assert_eq!(
            Recovery::new(vec![era(2_000)], SealedBefore::default(), 1_025 * NS_PER_S).count(),
            0
        );
        let now_s = 1_000_000;
        let recovery = Recovery::new(vec![era(10)], begun(5), now_s * NS_PER_S);
        assert_eq!(recovery.count() as u64, AGENT_DOWN_MAX_S / WIDTH_S);
    }

    #[test]
    fn a_change_of_plan_while_down_splits_the_account() {
        let mut later = era(1_020);
        later.tasks.retain(|task| task.series.probe == "a");
        let sealed = sealed_before(&[report(1_000, &["a", "b"])]);
        let windows: Vec<Sealed> =
            Recovery::new(vec![era(500), later], sealed, 1_040 * NS_PER_S).collect();
        assert_eq!(windows.len(), 3);
        assert!(windows[1..].iter().all(|w| w.cells.iter().all(|cell| cell.probe == "a")));
    }
}
