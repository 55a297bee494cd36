//! What was measured of one objective: its windows are taken one by one, or many that are alike at once, and counted where
//! they lie in the time that matters.

pub(super) use super::observation::{Observation, in_ns};

use super::burn::Recent;
use super::counted::Counted;
use super::evidence::Places;
use super::outage::{self, Grid, Outages, Run, State};
use super::parts::Parts;
use super::reports::{Cells, Report, Source, View};
use super::span::{Lie, Spans};
use super::states::States;
use super::verdict::{Attempts, Outage, Seconds};
use super::window_state::sweep;
use super::{JudgeError, Windows};
use crate::contract::model::{During, Objective};
use crate::contract::period::Span;

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
    cells: Cells<'a>,
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
        let attempts = report.attempts.times(windows);
        let cells = report.cells(index, windows);
        Self { source, report, span, windows, attempts, cells }
    }
}

fn known_time(runs: &[Run], grid: &Grid) -> Spans {
    Spans::from_sorted(runs.iter().map(|run| match run.state {
        State::Up | State::Down => grid.span(run.first, run.last),
    }))
}
