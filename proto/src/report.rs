//! Reports: the closed cells of one window, as an agent seals them and a collector judges them (`formats.md` §5).
//!
//! [`encode`] makes payloads of at most 128 KiB from cells; [`Report::decode`] checks every number of a payload that
//! came over the wire, so that what it returns can be counted without further thought: `scheduled = ok + failed +
//! invalid + missed` in every cell, and every exact counter lies where its histogram allows.

mod columns;
mod decode;
mod encode;

pub use encode::encode;

use crate::extras::{COUNTERS_MAX, VALUES_MAX, is_name, is_value_name};
use crate::histogram::Histogram;
use crate::plan::SpecHash;
use std::borrow::Cow;

/// Longest phase, failure class, reason or wire code, in bytes: they are labels.
pub const LABEL_MAX_BYTES: usize = 64;
/// Most different wire codes of a cell; the rest are counted as [`CODE_OTHER`].
pub const CODES_MAX: usize = 16;
/// The wire code that stands for all beyond [`CODES_MAX`].
pub const CODE_OTHER: &str = "other";
/// Version of what stands beside outcomes and latencies; `fleet.proto` has the rule for others.
pub const EXTRAS_VERSION: u32 = 1;
/// Most phases of a cell.
pub const SERIES_MAX: usize = 64;

/// What all records of a window share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Start of the window, Unix s.
    pub window_start_s: u64,
    /// Width of the window, s.
    pub window_s: u32,
    /// Hash of the plan in force, or empty.
    pub plan_hash: Vec<u8>,
    /// How the agent itself is.
    pub health: crate::v1::Health,
    /// Attempts of this window are still in flight.
    pub stragglers_follow: bool,
}

/// A report as it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What all records of the window share.
    pub head: Head,
    /// Its cells.
    pub cells: Vec<Cell>,
}

/// Counts and latencies of one probe with one spec in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Name of the probe.
    pub probe: String,
    /// Identity of what it measures.
    pub spec: SpecHash,
    /// Interval of the probe, s.
    pub interval_s: u32,
    /// Attempts that were due.
    pub scheduled: u32,
    /// Attempts that were ok.
    pub ok: u32,
    /// Everything that is not ok.
    pub others: Vec<Other>,
    /// Latencies by phase.
    pub series: Vec<Series>,
    /// Counts that are no outcomes, ascending by name; none is zero.
    pub counters: Vec<(Label, u64)>,
    /// Measurements that are no durations: series whose name ends with a unit, and whose figures are in it instead of ns.
    pub values: Vec<Series>,
}

/// How many attempts were not ok in one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// Whose fault.
    pub kind: OtherKind,
    /// Failure class or reason.
    pub name: String,
    /// Wire code, or empty.
    pub code: String,
    /// How many.
    pub count: u32,
}

/// The three ways not to be ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtherKind {
    /// The provider's.
    Failed,
    /// Started, spoiled by us.
    Invalid,
    /// Never started.
    Missed,
}

impl OtherKind {
    /// The number that travels.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Missed => 3,
        }
    }

    const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Failed),
            2 => Some(Self::Invalid),
            3 => Some(Self::Missed),
            _ => None,
        }
    }
}

/// Name of a phase, a counter or a value: who measures knows his own, and makes thousands of cells of them.
pub type Label = Cow<'static, str>;

/// Latencies of one phase.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// Name of the phase.
    pub phase: Label,
    /// Exact sum, ns.
    pub sum_ns: u64,
    /// Exact maximum, ns.
    pub max_ns: u64,
    /// Samples above the last bucket.
    pub clamped: u32,
    /// Counts by bucket.
    pub histogram: Histogram,
    /// Threshold in ns and the exact number of samples at most that long, ascending by threshold.
    pub at_most: Vec<(u64, u32)>,
}

impl Series {
    /// An empty series that counts these thresholds (ns, ascending) exactly.
    #[must_use]
    pub fn new(phase: impl Into<Label>, thresholds_ns: &[u64]) -> Self {
        let at_most = thresholds_ns.iter().map(|threshold_ns| (*threshold_ns, 0)).collect();
        Self { phase: phase.into(), at_most, ..Self::default() }
    }

    /// Counts a sample of `ns`.
    pub fn record(&mut self, ns: u64) {
        self.clamped = self.clamped.saturating_add(u32::from(self.histogram.record(ns)));
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
        for (_, count) in self.at_most.iter_mut().filter(|(threshold_ns, _)| ns <= *threshold_ns) {
            *count = count.saturating_add(1);
        }
    }
}

impl Cell {
    /// Attempts of one kind that were not ok.
    #[must_use]
    pub fn count(&self, kind: OtherKind) -> u64 {
        self.others
            .iter()
            .filter(|other| other.kind == kind)
            .map(|other| u64::from(other.count))
            .sum()
    }

    /// What a counter has counted.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let place = self.counters.binary_search_by(|(known, _)| known.as_ref().cmp(name));
        place.ok().and_then(|place| self.counters.get(place)).map_or(0, |(_, count)| *count)
    }

    /// Adds to a counter. What has no name that travels, or is the 33rd, is not counted.
    pub fn add_counter(&mut self, name: impl Into<Label>, count: u64) {
        let name = name.into();
        if count == 0 || !is_name(&name) {
            return;
        }
        match self.counters.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(place) => {
                let (_, sum) = &mut self.counters[place];
                *sum = sum.saturating_add(count);
            }
            Err(place) if self.counters.len() < COUNTERS_MAX => {
                self.counters.insert(place, (name, count));
            }
            Err(_) => {}
        }
    }

    /// Counts a sample of a value; `thresholds` (ascending) are counted exactly from its first one on. What has no name
    /// that travels, as one without a unit, or is the ninth value, is not counted.
    pub fn record_value(&mut self, name: impl Into<Label>, value: u64, thresholds: &[u64]) {
        let name = name.into();
        let known = self.values.iter().position(|known| known.phase == name);
        let place = known.unwrap_or_else(|| {
            if self.values.len() < VALUES_MAX && is_value_name(&name) {
                self.values.push(Series::new(name.clone(), thresholds));
            }
            self.values.len().saturating_sub(1)
        });
        if let Some(series) = self.values.get_mut(place).filter(|series| series.phase == name) {
            series.record(value);
        }
    }

    /// Counts attempts that were not ok; codes beyond [`CODES_MAX`] become [`CODE_OTHER`].
    pub fn add_other(&mut self, kind: OtherKind, name: &str, code: &str, count: u32) {
        let known = |other: &Other, code: &str| {
            other.kind == kind && other.name == name && other.code == code
        };
        let is_new = !self.others.iter().any(|other| known(other, code));
        let code = if is_new && self.others.len() >= CODES_MAX && !code.is_empty() {
            CODE_OTHER
        } else {
            code
        };
        match self.others.iter_mut().find(|other| known(other, code)) {
            Some(other) => other.count = other.count.saturating_add(count),
            None => self.others.push(Other {
                kind,
                name: name.to_owned(),
                code: code.to_owned(),
                count,
            }),
        }
    }
}

/// Why a payload is no report. Permanent, but for [`ReportError::Version`]: the same bytes are refused for ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not protobuf of this shape.
    #[error("not a report: {0}")]
    Protobuf(String),
    /// A window that is not on the grid.
    #[error("window {start_s} + {width_s} s is not on the grid")]
    Window {
        /// Start, Unix s.
        start_s: u64,
        /// Width, s.
        width_s: u32,
    },
    /// Columns that do not fit together.
    #[error("column `{0}` does not fit the others")]
    Column(&'static str),
    /// An index that points nowhere.
    #[error("`{0}` points nowhere")]
    Index(&'static str),
    /// A name that is none.
    #[error("`{0}` is no name")]
    Name(&'static str),
    /// A cell whose counts do not add up.
    #[error("cell of `{0}`: scheduled differs from ok + failed + invalid + missed")]
    Accounting(String),
    /// The same cell or phase twice.
    #[error("`{0}` stands twice")]
    Twice(String),
    /// Counters and values of another version.
    #[error(
        "counters and values of version {0}, which is not known here: upgrade the collector, then it is taken"
    )]
    Version(u32),
    /// Counters that no attempt can have counted.
    #[error("counter `{counter}` of `{probe}`: {why}")]
    Counter {
        /// Probe.
        probe: String,
        /// Counter.
        counter: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A histogram, or numbers that contradict it.
    #[error("series `{phase}` of `{probe}`: {why}")]
    Series {
        /// Probe.
        probe: String,
        /// Phase.
        phase: String,
        /// What is wrong.
        why: String,
    },
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
