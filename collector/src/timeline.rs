//! The latest windows of every objective, as figures to draw: latencies, attempts, and what failed for whom.
//!
//! Derived, never evidence: it is filled beside the evidence as records arrive, filled again at every start, and may be
//! dropped at will. Whether a window was Up or Down is not decided here: a picture takes that from the verdict
//! ([`crate::sla::states`]). Its size has a bound whatever the history: [`WINDOWS_SHOWN`] windows of an objective with a
//! histogram each, and [`failures`] of at most so many windows and agents.

pub mod failures;

use crate::contract::Agreement;
use crate::contract::model::{Measure, Objective, Scale, Unit};
use crate::contract::period::Span;
use crate::sla::evidence::AGENT_LABEL;
use crate::sla::verdict::{Attempts, ObjectiveVerdict, Outage};
use crate::sla::{Observed, Windows};
use failures::{Failures, Told};
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Selector;
use probefleet_proto::report::{Cell, OtherKind};
use std::collections::BTreeMap;

/// Windows of an objective that are drawn: half an hour of 10 s windows, three hours of a minute. Enough to see a change
/// begin, and on a phone a window is still two pixels wide.
pub const WINDOWS_SHOWN: u16 = 180;
/// Windows after the present one that are taken: clocks differ a little. A later one is some agent's wrong clock, and
/// must not push the others out.
const WINDOWS_AHEAD: i64 = 4;
/// Outages of an objective that are told one by one, the longest; the report has all.
pub const OUTAGES_TOLD: usize = 20;
/// Agents that are told of an outage, those with the most failures first.
const AGENTS_TOLD: usize = 50;
/// Kinds of failure that are told of a window, the most frequent first.
const KINDS_TOLD: usize = 3;
/// The phase that every attempt has.
const TOTAL: &str = "total";

/// The pictures of one agreement's objectives.
#[derive(Debug)]
pub struct Timeline {
    /// One an objective, in the order of the agreement.
    tracks: Vec<Track>,
}

/// What is kept of one objective.
#[derive(Debug)]
struct Track {
    probes: Vec<String>,
    agents: Selector,
    phase: String,
    threshold_ns: Option<u64>,
    width_s: i64,
    /// By index: the window's start divided by its width.
    windows: BTreeMap<i64, Window>,
    failures: Failures,
}

#[derive(Debug, Default)]
struct Window {
    attempts: Attempts,
    samples: Histogram,
    /// Of the samples; computed anew when there are more.
    latency: Option<Latency>,
}

/// An objective's latest windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The phase that is timed.
    pub phase: String,
    /// What the objective promises of it, in ns.
    pub threshold_ns: Option<u64>,
    /// Width of a window, s.
    pub width_s: u32,
    /// From the first to the last window that is drawn.
    pub span: Span,
    /// The windows in which something was due, by start.
    pub points: Vec<Point>,
}

/// One window of an objective: all its agents and probes together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its start, s since 1970.
    pub start_s: i64,
    /// Its attempts.
    pub attempts: Attempts,
    /// How long the phase took in its ok attempts; `None` without one.
    pub latency: Option<Latency>,
    /// The most frequent failures, and how many attempts failed so.
    pub failures: Vec<(String, u64)>,
}

/// Percentiles by nearest rank, in ns: the highest value of the histogram's bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many samples.
    pub samples: u64,
    /// The median.
    pub p50_ns: u64,
    /// 95 of a hundred took at most that long.
    pub p95_ns: u64,
    /// 99 of a hundred took at most that long.
    pub p99_ns: u64,
}

/// What is drawn and told of an objective in a period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Its latest windows, while the period is open.
    pub course: Option<Course>,
    /// Its longest outages, by start.
    pub outages: Vec<OutageSeen>,
}

/// An outage, and what each agent saw of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutageSeen {
    /// The outage.
    pub outage: Outage,
    /// Those who saw it, the most failures first.
    pub agents: Vec<AgentSaw>,
    /// How many more agents measured meanwhile.
    pub agents_more: usize,
    /// Some of its failures were too long ago to say more than their number.
    pub reasons_forgotten: bool,
}

/// What one agent saw of an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSaw {
    /// Its name.
    pub agent: String,
    /// Its attempts.
    pub attempts: Attempts,
    /// Its failures by kind.
    pub failures: Told,
}

// === impl Timeline ===

impl Timeline {
    /// Nothing yet, for the objectives of an agreement.
    #[must_use]
    pub fn for_agreement(agreement: &Agreement) -> Self {
        Self { tracks: agreement.objectives().iter().map(Track::new).collect() }
    }

    /// Adds a cell that the evidence did not have yet; `now_s` bounds what may be drawn.
    pub fn add(&mut self, observed: &Observed<'_>, cell: &Cell, now_s: i64) {
        for track in self.tracks.iter_mut().filter(|track| track.asks(observed)) {
            track.add(observed, cell, now_s);
        }
    }

    /// The first instant of which more than attempts and failures may be drawn, at an instant.
    #[must_use]
    pub fn drawn_from_s(&self, now_s: u64) -> u64 {
        let widest_s = self.tracks.iter().map(|track| track.width_s.unsigned_abs()).max();
        let shown = u64::from(WINDOWS_SHOWN) + 1;
        now_s.saturating_sub(shown.saturating_mul(widest_s.unwrap_or(0)))
    }

    /// Lets go of what happened before an instant.
    pub fn forget_before(&mut self, instant_s: i64) {
        self.tracks.iter_mut().for_each(|track| track.failures.forget_before(instant_s));
    }

    /// The picture of the objective with that number, as its verdict judged it; its latest windows up to `as_of_s`.
    pub fn picture(
        &mut self,
        (number, objective): (usize, &Objective),
        windows: &Windows,
        judged: &ObjectiveVerdict,
        as_of_s: Option<i64>,
    ) -> Picture {
        let Some(track) = self.tracks.get_mut(number) else { return Picture::default() };
        let outages = longest(judged.outages.as_deref().unwrap_or_default());
        Picture {
            course: as_of_s.map(|as_of_s| track.course(as_of_s)),
            outages: outages
                .into_iter()
                .map(|outage| track.outage(outage, objective, windows))
                .collect(),
        }
    }
}

/// The longest outages, by start.
fn longest(outages: &[Outage]) -> Vec<Outage> {
    let mut longest = outages.to_vec();
    longest.sort_by_key(|outage| std::cmp::Reverse(outage.seconds));
    longest.truncate(OUTAGES_TOLD);
    longest.sort_by_key(|outage| outage.span.from_s);
    longest
}

// === impl Track ===

impl Track {
    fn new(objective: &Objective) -> Self {
        let (phase, threshold_ns) = timed(objective);
        Self {
            probes: objective.probes.iter().map(ToString::to_string).collect(),
            agents: objective.agents.clone(),
            phase: phase.to_owned(),
            threshold_ns,
            width_s: i64::from(objective.window.width_s.max(1)),
            windows: BTreeMap::new(),
            failures: Failures::default(),
        }
    }

    /// Whether the objective is about this cell.
    fn asks(&self, observed: &Observed<'_>) -> bool {
        let label = |key: &str| match key {
            AGENT_LABEL => Some(observed.agent),
            key => observed.labels.get(key).map(String::as_str),
        };
        let chosen = |(key, values): (&str, &[String])| {
            label(key).is_some_and(|value| values.iter().any(|one| one == value))
        };
        self.probes.iter().any(|probe| probe == observed.probe) && self.agents.wanted().all(chosen)
    }

    fn add(&mut self, observed: &Observed<'_>, cell: &Cell, now_s: i64) {
        let index = observed.start_s.div_euclid(self.width_s);
        let present = now_s.div_euclid(self.width_s);
        if index > present + WINDOWS_AHEAD {
            return;
        }
        let failed = cell.others.iter().filter(|other| other.kind == OtherKind::Failed);
        let place = (index * self.width_s, observed.agent);
        failed.for_each(|other| self.failures.add(place, (&other.name, &other.code), other.count));
        let first = present - i64::from(WINDOWS_SHOWN);
        while self.windows.first_key_value().is_some_and(|(oldest, _)| *oldest < first) {
            self.windows.pop_first();
        }
        if index < first {
            return;
        }
        let window = self.windows.entry(index).or_default();
        window.attempts.add(observed.counts);
        if let Some(series) = cell.series.iter().find(|series| series.phase == self.phase) {
            window.samples.merge(&series.histogram);
            window.latency = None;
        }
    }

    /// The latest windows that end at an instant or before.
    fn course(&mut self, as_of_s: i64) -> Course {
        let end = as_of_s.div_euclid(self.width_s);
        let first = end - i64::from(WINDOWS_SHOWN);
        let (failures, width_s) = (&self.failures, self.width_s);
        let points: Vec<Point> = self
            .windows
            .range_mut(first..end)
            .map(|(index, window)| {
                let start_s = index * width_s;
                let kinds = failures.told(Span { from_s: start_s, until_s: start_s + width_s });
                Point {
                    start_s,
                    attempts: window.attempts,
                    latency: window.latency(),
                    failures: kinds.into_iter().take(KINDS_TOLD).collect(),
                }
            })
            .collect();
        let from_s = points.first().map_or(end * width_s, |point| point.start_s);
        Course {
            phase: self.phase.clone(),
            threshold_ns: self.threshold_ns,
            width_s: u32::try_from(width_s).unwrap_or(u32::MAX),
            span: Span { from_s, until_s: end * width_s },
            points,
        }
    }

    fn outage(&self, outage: Outage, objective: &Objective, windows: &Windows) -> OutageSeen {
        let mut told = self.failures.by_agent(outage.span);
        let seen = windows.seen_by_agent(objective, outage.span).into_iter();
        let mut agents: Vec<AgentSaw> = seen
            .map(|(agent, attempts)| {
                let failures = told.remove(agent).unwrap_or_default();
                AgentSaw { agent: agent.to_owned(), attempts, failures }
            })
            .collect();
        agents.sort_by_key(|saw| std::cmp::Reverse(saw.attempts.failed));
        let agents_more = agents.len().saturating_sub(AGENTS_TOLD);
        agents.truncate(AGENTS_TOLD);
        let reasons_forgotten = self.failures.forgotten_since(outage.span.from_s);
        OutageSeen { outage, agents, agents_more, reasons_forgotten }
    }
}

/// The phase that an objective is about, and the duration that its samples are compared with, in ns. Only durations are
/// drawn: one of a value or ratio is drawn like an availability, by the whole attempts.
fn timed(objective: &Objective) -> (&str, Option<u64>) {
    let phase = objective.measure.phase();
    let Some(phase) = phase.filter(|name| Scale::of_samples(name).unit == Unit::Duration) else {
        return (TOTAL, None);
    };
    let threshold_ns = match &objective.measure {
        Measure::Within { limit, .. } | Measure::GoodDays { limit, .. } => Some(*limit),
        Measure::Percentile { .. } | Measure::Mean { .. } => {
            u64::try_from(objective.target.limit.to_integer()).ok()
        }
        Measure::Availability
        | Measure::Downtime
        | Measure::LongestOutage
        | Measure::Outages
        | Measure::Success
        | Measure::Ratio(_)
        | Measure::MeanSuccess { .. } => None,
    };
    (phase, threshold_ns)
}

// === impl Window ===

impl Window {
    fn latency(&mut self) -> Option<Latency> {
        if self.latency.is_none() {
            self.latency = Latency::of(&self.samples);
        }
        self.latency
    }
}

// === impl Latency ===

impl Latency {
    fn of(samples: &Histogram) -> Option<Self> {
        let count = samples.count();
        let percentile = |percent: u64| {
            let rank = u128::from(count) * u128::from(percent);
            samples.value_at_rank_ns(u64::try_from(rank.div_ceil(100)).unwrap_or(u64::MAX))
        };
        Some(Self {
            samples: count,
            p50_ns: percentile(50)?,
            p95_ns: percentile(95)?,
            p99_ns: percentile(99)?,
        })
    }
}

#[cfg(test)]
mod tests;
