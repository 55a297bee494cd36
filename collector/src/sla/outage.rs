//! Outages: which Down windows are one, from the first to the last of them.
//!
//! The machine counts evaluation windows of service time only ([`Grid`]), so that time outside it neither breaks nor
//! feeds a streak, and it knows nothing of periods, so that streaks run across their edges. It labels in retrospect: an
//! outage that is confirmed by its n-th Down window began with the first.

use super::span::Spans;
use crate::contract::model::OutageRule;
use crate::contract::period::Span;

/// What is known of the service in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It worked.
    Up,
    /// It did not.
    Down,
}

/// Consecutive windows of one known state. Windows in no run are Unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index of the first window: its start divided by the width.
    pub first: i64,
    /// Index of the last one.
    pub last: i64,
    /// Their state.
    pub state: State,
}

/// The evaluation windows that touch service time, numbered without gaps.
#[derive(Clone, Debug)]
pub struct Grid {
    width_s: i64,
    /// First and last window of each stretch, and the number of windows before it.
    stretches: Vec<(i64, i64, i64)>,
}

/// The outages of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    /// First and last Down window of each, in order.
    pub ranges: Vec<(i64, i64)>,
}

// === impl Grid ===

impl Grid {
    /// The windows of that width which touch `service_time`.
    #[must_use]
    pub fn new(width_s: u32, service_time: &Spans) -> Self {
        let width_s = i64::from(width_s.max(1));
        let (mut stretches, mut before): (Vec<(i64, i64, i64)>, i64) = (Vec::new(), 0);
        for span in service_time.iter() {
            let (first, last) =
                (span.from_s.div_euclid(width_s), (span.until_s - 1).div_euclid(width_s));
            // A window that is cut by a pause shorter than itself is one window.
            let first = stretches.last().map_or(first, |(_, end, _)| first.max(end + 1));
            if first <= last {
                stretches.push((first, last, before));
                before += last - first + 1;
            }
        }
        Self { width_s, stretches }
    }

    /// The window in which an instant lies.
    #[must_use]
    pub fn index(&self, instant_s: i64) -> i64 {
        instant_s.div_euclid(self.width_s)
    }

    /// The time of windows from `first` to `last`, service time or not.
    #[must_use]
    pub fn span(&self, first: i64, last: i64) -> Span {
        Span { from_s: first * self.width_s, until_s: (last + 1) * self.width_s }
    }

    /// The first window.
    fn first(&self) -> Option<Place> {
        self.stretches.first().map(|&(first, _, before)| Place { index: first, number: before })
    }

    /// The last window.
    fn last(&self) -> Option<Place> {
        let &(first, last, before) = self.stretches.last()?;
        Some(Place { index: last, number: before + last - first })
    }

    /// The windows of a run that touch service time: first and last of each stretch, with the number of the first.
    fn numbered(&self, run: Run) -> impl Iterator<Item = (i64, i64, i64)> {
        let start = self.stretches.partition_point(|(_, last, _)| *last < run.first);
        let touching =
            self.stretches.iter().skip(start).take_while(move |(first, ..)| *first <= run.last);
        touching.map(move |&(first, last, before)| {
            let from = first.max(run.first);
            (from, last.min(run.last), before + from - first)
        })
    }
}

/// Finds the outages in the known runs of a timeline, sorted.
#[must_use]
pub fn outages(runs: &[Run], grid: &Grid, rule: OutageRule) -> Outages {
    let mut machine = Machine::new(rule);
    for run in runs {
        for (first, last, number) in grid.numbered(*run) {
            machine.step(Run { first, last, ..*run }, number);
        }
    }
    machine.finish()
}

/// The outages there would be if every window of no run, in between and to come, were Down.
///
/// What counts as Up today may be Down then: a streak that was too short, or Up windows that are too few to end an
/// outage.
#[must_use]
pub fn outages_at_worst(runs: &[Run], grid: &Grid, rule: OutageRule) -> Outages {
    let mut machine = Machine::new(rule);
    let mut next = grid.first();
    for run in runs {
        for (first, last, number) in grid.numbered(*run) {
            if let Some(gap) = next.filter(|next| next.number < number) {
                let windows = number.abs_diff(gap.number);
                machine.mode = machine.downs(gap.index, first - 1, windows);
            }
            machine.mode = machine.after(Run { first, last, ..*run });
            next = Some(Place { index: last + 1, number: number + (last - first) + 1 });
        }
    }
    let to_come = next.zip(grid.last()).filter(|(next, last)| next.number <= last.number);
    if let Some((next, last)) = to_come {
        let windows = last.number.abs_diff(next.number).saturating_add(1);
        machine.mode = machine.downs(next.index, last.index, windows);
    }
    machine.finish()
}

/// A window of a grid.
#[derive(Clone, Copy)]
struct Place {
    index: i64,
    number: i64,
}

/// The two-state machine.
struct Machine {
    rule: OutageRule,
    mode: Mode,
    /// Number of the last known window.
    last: Option<i64>,
    ranges: Vec<(i64, i64)>,
}

/// Where the machine is; windows by index.
#[derive(Clone, Copy)]
enum Mode {
    /// No outage, but perhaps Down windows on the way to one.
    Up { streak: Option<Streak> },
    /// In an outage from `first`; after `last`, its latest Down window, came `ups` Up windows.
    Down { first: i64, last: i64, ups: u64 },
}

/// Down windows without an Up one between them.
#[derive(Clone, Copy)]
struct Streak {
    first: i64,
    downs: u64,
}

// === impl Machine ===

impl Machine {
    fn new(rule: OutageRule) -> Self {
        Self { rule, mode: Mode::Up { streak: None }, last: None, ranges: Vec::new() }
    }

    /// Known windows of one state, of which the first has a number.
    fn step(&mut self, run: Run, number: i64) {
        let unknown = self.last.map_or(0, |last| number - last - 1);
        if u64::try_from(unknown).is_ok_and(|unknown| unknown > self.rule.bridge) {
            self.close();
        }
        self.last = Some(number + (run.last - run.first));
        self.mode = self.after(run);
    }

    /// Where known windows in a row lead.
    fn after(&mut self, run: Run) -> Mode {
        let windows = run.last.abs_diff(run.first).saturating_add(1);
        match (self.mode, run.state) {
            (_, State::Down) => self.downs(run.first, run.last, windows),
            (Mode::Up { .. }, State::Up) => Mode::Up { streak: None },
            (Mode::Down { first, last, ups }, State::Up) => {
                if ups.saturating_add(windows) >= self.rule.until {
                    self.ranges.push((first, last));
                    Mode::Up { streak: None }
                } else {
                    Mode::Down { first, last, ups: ups + windows }
                }
            }
        }
    }

    /// Where so many Down windows in a row lead.
    fn downs(&self, first: i64, last: i64, windows: u64) -> Mode {
        let streak = match self.mode {
            Mode::Down { first, .. } => return Mode::Down { first, last, ups: 0 },
            Mode::Up { streak } => streak.unwrap_or(Streak { first, downs: 0 }),
        };
        let streak = Streak { downs: streak.downs.saturating_add(windows), ..streak };
        if streak.downs >= self.rule.after {
            Mode::Down { first: streak.first, last, ups: 0 }
        } else {
            Mode::Up { streak: Some(streak) }
        }
    }

    /// A long Unknown run, or the end of the data.
    fn close(&mut self) {
        if let Mode::Down { first, last, .. } = self.mode {
            self.ranges.push((first, last));
        }
        self.mode = Mode::Up { streak: None };
    }

    fn finish(mut self) -> Outages {
        self.close();
        Outages { ranges: self.ranges }
    }
}

#[cfg(test)]
mod tests;
