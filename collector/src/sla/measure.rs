//! What was measured of one objective: its seconds by state, its outages, its attempts, and the value they come to.
//!
//! A percentile is that of all counted attempts of all windows, agents and probes together: samples are merged, never
//! percentiles averaged. Whether it keeps its target is counted, not read from the merged histogram: `<= T` holds when at
//! least ⌈q·n⌉ attempts are at most T (RFC 2330 §11.3), and failed ones are worse than any T (RFC 2681 §4.1). Where high is
//! good, as of a MOS, `>= T` holds when at least ⌈q·n⌉ attempts are at least T: ranks count from the good end.

use super::burn::Recent;
use super::counted::Counted;
use super::evidence::{Held, Places};
use super::outage::{self, Grid, Outages, Run, State};
use super::parts::{Parts, Tallies};
use super::reports::{Report, Source, View};
use super::span::{Lie, Spans};
use super::states::States;
use super::uncertainty::rank_interval;
use super::verdict::{Attempts, Mean, Measured, Outage, Percentile, Seconds, Share};
use super::window_state::sweep;
use super::{JudgeError, Windows};
use crate::contract::model::{During, ExclusionRule, Good, Measure, Objective, UnknownAs};
use crate::contract::number::{self, Exact};
use crate::contract::period::Span;
use probefleet_proto::units::NS_PER_S;
use std::collections::{BTreeMap, BTreeSet};

/// The time that matters to one objective.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// Term, active service and service hours without what is excluded, in the period or not.
    pub(super) service: Spans,
    /// What of it lies in the period and has passed.
    pub(super) eligible: Spans,
    /// What of it lies in the period and is still to come; `None` once the period is over.
    pub(super) remaining: Option<Spans>,
    /// What is excluded of the period's service time and has passed.
    pub(super) excluded: Spans,
    /// And is still to come, in s.
    pub(super) excluded_to_come_s: u64,
}

/// One objective, seen by all of its agents or by one.
pub(super) struct Case<'a> {
    pub(super) windows: &'a Windows,
    pub(super) objective: &'a Objective,
    pub(super) times: &'a Times,
    pub(super) as_of_s: Option<i64>,
    pub(super) only: Option<u32>,
    /// How its period is cut.
    pub(super) parts: Parts,
}

/// Down time that keeps attempts from being counted a second time.
#[derive(Clone, Debug)]
pub(super) struct DownTime<'a> {
    pub(super) objective: &'a Objective,
    /// The agent that it holds for; `None`: all of them.
    pub(super) only: Option<u32>,
    pub(super) seen: Observation,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    pub(super) seconds: Seconds,
    pub(super) states: States,
    /// The outages, as far as they lie in the period.
    pub(super) outages: Vec<Outage>,
    /// Down time in or out of the period.
    pub(super) down: Spans,
    /// The same if all that is Unknown or to come is Down; empty once the period is over.
    pub(super) down_at_worst: Spans,
    /// Seconds that count as Up, but are Down if all that is Unknown or to come is; zero once the period is over.
    pub(super) undecided_s: u64,
    /// Service time to come that is excluded.
    pub(super) excluded_to_come_s: u64,
    /// Local days whose own value misses the target, where a credit counts them.
    pub(super) failed_days: u64,
    pub(super) attempts: Attempts,
    /// Attempts that count for the measure.
    pub(super) counted: Counted,
    /// The same by the parts of the period that are judged one by one.
    pub(super) tallies: Tallies,
    /// Those of them that a later window may still turn into attempts of an outage, which do not count.
    pub(super) revocable: Counted,
    /// What was seen just before the as-of instant, in or out of the period.
    pub(super) recent: Recent,
    pub(super) flagged: u64,
    pub(super) conflicts: u64,
    /// Agents with a window in the period.
    pub(super) agents: BTreeSet<u32>,
    /// Specifications of each probe.
    pub(super) specs: BTreeMap<usize, BTreeSet<[u8; 16]>>,
    /// Latest interval of each agent and probe, in s.
    pub(super) intervals_s: BTreeMap<Source, u32>,
}

/// What one agent and probe said of windows in a row that lie alike to all that matters to the objective.
#[derive(Clone, Copy)]
struct Piece<'a> {
    source: Source,
    report: &'a Report<'a>,
    /// From the first window's start to the last one's end.
    span: Span,
    windows: u64,
    /// Attempts of all of them.
    attempts: Attempts,
    cells: &'a [Held<'a>],
}

// === impl Case ===

impl Case<'_> {
    /// Looks at all windows of the objective.
    ///
    /// # Errors
    /// [`JudgeError::WindowWidth`].
    pub(super) fn observe(&self, down_times: &[DownTime<'_>]) -> Result<Observation, JudgeError> {
        let grid = Grid::new(self.objective.window.width_s, &self.times.service);
        let (windows, objective, as_of_s, only) =
            (self.windows, self.objective, self.as_of_s, self.only);
        let view = View { windows, objective, grid: &grid, as_of_s, only };
        let places = windows.places(objective);
        // The window in progress does not exist yet.
        let until_s = as_of_s.map_or(i64::MAX, |as_of_s| {
            let index = grid.index(as_of_s);
            grid.span(index, index).from_s
        });
        let recent = Recent::new(objective, self.times, until_s);
        let mut seen = Observation { recent, ..Observation::default() };
        let runs = sweep(&view, |source, report| {
            let places = places.get(source.probe);
            let mut index = report.index;
            while index < report.end() {
                let (lies, alike) = self.lies(grid.span(index, index), down_times, &seen.recent);
                let windows = alike.clamp(1, report.end().abs_diff(index));
                let until = index.saturating_add_unsigned(windows);
                let span = grid.span(index, until - 1);
                let piece = Piece::of(source, report, (index, windows), span);
                if self.take(&piece, lies, &mut seen) {
                    self.count(&piece, down_times, places, &mut seen);
                }
                self.count_recent(&piece, down_times, places, &mut seen.recent);
                index = until;
            }
        })?;
        let found = outage::outages(&runs, &grid, self.objective.outage);
        self.account(&runs, &found, &grid, &mut seen);
        seen.tallies.parts = self.parts.begun(&self.times.eligible);
        Ok(seen)
    }

    /// How a window lies to eligible time, and how many windows from it on lie alike to all that matters.
    fn lies(&self, window: Span, down_times: &[DownTime<'_>], recent: &Recent) -> (Lie, u64) {
        let (lies, mut alike) = self.times.eligible.lie(window);
        if !self.objective.measure.is_of_time() {
            alike = alike.min(recent.alike(window)).min(self.times.service.lie(window).1);
        }
        let width_s = i64::from(self.objective.window.width_s);
        alike = alike.min(self.parts.alike(window.from_s, width_s));
        for down in down_times.iter().filter(|_| self.leaves_out()) {
            for spans in [&down.seen.down, &down.seen.down_at_worst] {
                alike = alike.min(spans.lie(window).1);
            }
        }
        (lies, alike)
    }

    /// Takes windows of an agent and probe; true when their attempts lie in eligible time.
    fn take(&self, piece: &Piece<'_>, lies: Lie, seen: &mut Observation) -> bool {
        let Piece { source, report, windows, attempts, .. } = piece;
        if lies == Lie::Outside {
            return false;
        }
        seen.agents.insert(source.agent);
        seen.flagged += report.flagged * windows;
        seen.conflicts += report.conflicts * windows;
        seen.intervals_s.insert(*source, report.interval_s.max(1));
        seen.specs.entry(source.probe).or_default().extend(report.specs.iter().copied());
        // Attempts are not cut: only those of whole windows count.
        let whole = lies == Lie::Inside;
        if whole {
            seen.attempts.sum(attempts);
        }
        whole
    }

    /// Counts the attempts of windows for the measure.
    fn count(
        &self,
        piece: &Piece<'_>,
        down_times: &[DownTime<'_>],
        places: Option<&Places>,
        seen: &mut Observation,
    ) {
        if self.counted_elsewhere(piece, down_times, |seen| &seen.down) {
            return;
        }
        let what = (&piece.attempts, piece.cells);
        seen.counted.count(self.objective, what, places);
        if let Some(part) = self.parts.part_of(piece.span.from_s) {
            let mut own = Counted::default();
            own.count(self.objective, what, places);
            seen.tallies.add(part, own.all, own.of_target());
        }
        seen.counted.pool(piece.cells, places);
        if self.counted_elsewhere(piece, down_times, |seen| &seen.down_at_worst) {
            seen.revocable.count(self.objective, what, places);
        }
    }

    /// Counts the attempts of windows for the burn rates that reach back to them.
    fn count_recent(
        &self,
        piece: &Piece<'_>,
        down_times: &[DownTime<'_>],
        places: Option<&Places>,
        recent: &mut Recent,
    ) {
        let of_time = self.objective.measure.is_of_time();
        if of_time
            || !recent.reaches(piece.span)
            || !self.times.service.covers(piece.span)
            || self.counted_elsewhere(piece, down_times, |seen| &seen.down)
        {
            return;
        }
        let mut own = Counted::default();
        own.count(self.objective, (&piece.attempts, piece.cells), places);
        recent.add(piece.span, own.all, own.of_target().possible);
    }

    /// True when attempts in Down time are not counted a second time.
    fn leaves_out(&self) -> bool {
        self.objective.measure.phase().is_some() && self.objective.during == During::Available
    }

    /// True for attempts that an availability objective of the same service judges as Down time.
    fn counted_elsewhere(
        &self,
        piece: &Piece<'_>,
        down_times: &[DownTime<'_>],
        down_of: impl Fn(&Observation) -> &Spans,
    ) -> bool {
        let Piece { source, report, span, .. } = *piece;
        let Some(probe) = self.objective.probes.get(source.probe).filter(|_| self.leaves_out())
        else {
            return false;
        };
        down_times.iter().any(|down| {
            down.objective.service == self.objective.service
                && down.only.is_none_or(|agent| agent == source.agent)
                && down.objective.probes.contains(probe)
                && down_of(&down.seen).overlaps(span)
                && self.windows.has_labels(report.labels, &down.objective.agents)
        })
    }

    /// Turns states and outages into seconds of the period.
    fn account(&self, runs: &[Run], found: &Outages, grid: &Grid, seen: &mut Observation) {
        let spans_of = |ranges: &[(i64, i64)]| {
            Spans::from_sorted(ranges.iter().map(|&(first, last)| grid.span(first, last)))
        };
        let eligible = &self.times.eligible;
        let (all_down, known) = (spans_of(&found.ranges), known_time(runs, grid));
        seen.recent.settle(&known, &all_down);
        seen.states = States {
            eligible: eligible.clone(),
            excluded: self.times.excluded.clone(),
            known: eligible.meet(&known),
            down: eligible.meet(&all_down),
        };
        let remaining = self.times.remaining.as_ref().map(Spans::seconds);
        seen.excluded_to_come_s = self.times.excluded_to_come_s;
        seen.seconds = Seconds { remaining, ..seen.states.seconds(Span::ALWAYS) };
        seen.outages = found
            .ranges
            .iter()
            .filter_map(|&(first, last)| {
                let part = eligible.within(grid.span(first, last));
                Some(Outage { span: part.hull()?, seconds: part.seconds() })
            })
            .collect();
        seen.down = self.times.service.meet(&all_down);
        if self.times.remaining.is_some() {
            let worst = outage::outages_at_worst(runs, grid, self.objective.outage);
            let worst = spans_of(&worst.ranges);
            seen.down_at_worst = self.times.service.meet(&worst);
            let worst = eligible.meet(&worst);
            let known_down_s = seen.states.down.meet(&known).seconds();
            seen.undecided_s = worst.meet(&known).seconds().saturating_sub(known_down_s);
        }
    }
}

// === impl Piece ===

impl<'a> Piece<'a> {
    /// So many windows of a report, from one of its windows on.
    fn of(
        source: Source,
        report: &'a Report<'a>,
        (index, windows): (i64, u64),
        span: Span,
    ) -> Self {
        let place = |windows: u64| {
            // As many cells of each window.
            let cells = (report.cells.len() as u64).checked_div(report.windows).unwrap_or(0);
            usize::try_from(windows * cells).unwrap_or(usize::MAX)
        };
        let before = index.abs_diff(report.index);
        let cells = report.cells.get(place(before)..place(before + windows)).unwrap_or_default();
        let attempts = report.attempts.times(windows);
        Self { source, report, span, windows, attempts, cells }
    }
}

fn known_time(runs: &[Run], grid: &Grid) -> Spans {
    Spans::from_sorted(runs.iter().map(|run| match run.state {
        State::Up | State::Down => grid.span(run.first, run.last),
    }))
}

/// How many of so many attempts a percentile asks for: ⌈q·n⌉, and one at least.
fn needed(share: &Exact, all: u64) -> u64 {
    let rank = (share * number::whole(all)).ceil().to_integer();
    u64::try_from(rank).unwrap_or(all).max(1)
}

/// Seconds in the unit of durations.
pub(super) fn in_ns(seconds: u64) -> Exact {
    number::whole(seconds) * number::whole(NS_PER_S)
}

// === impl Observation ===

impl Observation {
    /// Nothing was seen: all of the time is Unknown.
    pub(super) fn unseen(times: &Times) -> Self {
        let (eligible, remaining) =
            (times.eligible.seconds(), times.remaining.as_ref().map(Spans::seconds));
        let excluded = times.excluded.seconds();
        let seconds =
            Seconds { eligible, unknown: eligible, excluded, remaining, ..Seconds::default() };
        let states = States {
            eligible: times.eligible.clone(),
            excluded: times.excluded.clone(),
            ..States::default()
        };
        let excluded_to_come_s = times.excluded_to_come_s;
        Self { seconds, states, excluded_to_come_s, ..Self::default() }
    }

    /// Most distinct specifications of one probe.
    pub(super) fn specs(&self) -> u64 {
        let specs = self.specs.values().map(BTreeSet::len).max().unwrap_or(0);
        u64::try_from(specs).unwrap_or(u64::MAX)
    }

    /// What is compared with the target; `None` when there is nothing to measure by.
    pub(super) fn measured(&self, objective: &Objective) -> Option<Measured> {
        self.as_measured(objective).map(|measured| measured.rounded(objective))
    }

    /// What is compared where nothing is rounded.
    fn as_measured(&self, objective: &Objective) -> Option<Measured> {
        let (counted, good) = (&self.counted, self.counted.of_target());
        match &objective.measure {
            Measure::Availability => {
                let (up, whole) = self.up_and_whole(objective);
                Share::new(up, up, whole).map(Measured::Share)
            }
            // Of time of which nothing is known, nothing is measured.
            Measure::Downtime => {
                let (_, whole) = self.up_and_whole(objective);
                (whole > 0).then(|| Measured::Amount(in_ns(self.down_s(objective))))
            }
            Measure::LongestOutage => {
                let amount = || Measured::Amount(in_ns(self.longest_outage_s()));
                self.is_known().then(amount)
            }
            Measure::Outages => {
                self.is_known().then(|| Measured::Amount(number::whole(self.outages.len())))
            }
            Measure::Success | Measure::Within { .. } => {
                Share::new(good.certain, good.possible, counted.all).map(Measured::Share)
            }
            Measure::Percentile { share, .. } if counted.all > 0 => {
                let needed = needed(share, counted.all);
                Some(Measured::Percentile(Percentile {
                    good: good.certain,
                    good_most: good.possible,
                    all: counted.all,
                    needed,
                    value: counted.value_at(objective.measure.scale().good, needed),
                    rank_interval: rank_interval(share, counted.all),
                }))
            }
            Measure::Percentile { .. } => None,
            Measure::Mean { .. } => {
                let total = counted.samples.total;
                let mean = number::ratio(total.sum_ns, total.samples)?;
                let (sum, samples) = (total.sum_ns, total.samples);
                Some(Measured::Mean(Mean { sum, samples, mean }))
            }
            Measure::Ratio(ratio) => {
                let counted_ones = match ratio.good() {
                    Good::High => good.certain,
                    Good::Low => counted.all.saturating_sub(good.certain),
                };
                Share::new(counted_ones, counted_ones, counted.all).map(Measured::Share)
            }
            Measure::MeanSuccess { .. } => self.tallies.mean().map(Measured::Intervals),
            Measure::GoodDays { at, .. } => self.tallies.good_days(at).map(Measured::Share),
        }
    }

    /// Some second of the period is Up or Down.
    fn is_known(&self) -> bool {
        self.seconds.up + self.seconds.down > 0
    }

    /// The Down time of the longest outage, in s.
    pub(super) fn longest_outage_s(&self) -> u64 {
        self.outages.iter().map(|outage| outage.seconds).max().unwrap_or(0)
    }

    /// Down time in the period, in s: with what is Unknown where that counts as Down.
    pub(super) fn down_s(&self, objective: &Objective) -> u64 {
        let Seconds { down, unknown, .. } = self.seconds;
        down + if objective.unknown.counts_as == UnknownAs::Down { unknown } else { 0 }
    }

    /// The seconds that an availability adds to Up and to the whole for excluded time that has passed.
    pub(super) fn excluded_as_up_s(&self, objective: &Objective) -> u64 {
        if objective.exclusions == ExclusionRule::AsUp { self.seconds.excluded } else { 0 }
    }

    fn up_and_whole(&self, objective: &Objective) -> (u64, u64) {
        let Seconds { up, down, unknown: x, .. } = self.seconds;
        let up = up + self.excluded_as_up_s(objective);
        match objective.unknown.counts_as {
            UnknownAs::Removed => (up, up + down),
            UnknownAs::Up => (up + x, up + down + x),
            UnknownAs::Down => (up, up + down + x),
        }
    }

    /// Most attempts that may still be started in the period, by the intervals seen so far.
    pub(super) fn attempts_to_come(&self, to_come: &Spans) -> u64 {
        let of_interval = |interval_s: &u32| -> u64 {
            to_come.iter().map(|span| span.seconds().div_ceil(u64::from(*interval_s))).sum()
        };
        self.intervals_s.values().map(of_interval).sum()
    }

    /// Seconds that may still become Down: what is Unknown, to come, or Up only as long as nothing else is known.
    pub(super) fn undecided_at_most_s(&self) -> u64 {
        self.seconds.unknown + self.seconds.remaining.unwrap_or(0) + self.undecided_s
    }

    /// Bounds of the true Down time: sampling sees neither the beginning nor the end of an outage exactly.
    pub(super) fn downtime_bracket_s(&self, width_s: u32) -> Option<[u64; 2]> {
        let step_s = u64::from(self.intervals_s.values().copied().fold(width_s, u32::max));
        let least = self.outages.iter().map(|outage| outage.seconds.saturating_sub(step_s)).sum();
        let most = self.outages.iter().map(|outage| outage.seconds + step_s).sum();
        (!self.outages.is_empty()).then_some([least, most])
    }
}
