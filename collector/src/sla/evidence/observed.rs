//! What is told to the evidence: a cell as it is read, and what some cells come to together.

use super::{Total, Within};
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use std::borrow::Cow;

/// Attempts by outcome; `scheduled` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Good.
    pub ok: u32,
    /// Failed: the provider's.
    pub failed: u32,
    /// Spoiled by us.
    pub invalid: u32,
    /// Never started: ours.
    pub missed: u32,
}

/// The samples and counters of a cell; `None` when it has no such phase. A value goes by its name like a phase; its figures
/// are in its own unit instead of ns.
pub trait Phases {
    /// How many of the phase's samples are at most `threshold_ns`. A histogram bucket that straddles it leaves the two
    /// apart.
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within>;

    /// The phase's samples by bucket.
    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>>;

    /// Number and exact sum of the phase's samples.
    fn total(&self, phase: &str) -> Option<Total>;

    /// What a counter has counted: zero where the cell has no such counter.
    fn counter(&self, name: &str) -> u64;

    /// Appends the phase's samples by bucket as [`Histogram::encode`] writes them; nothing where it has no such phase.
    fn write_buckets(&self, phase: &str, into: &mut Vec<u8>) {
        if let Some(histogram) = self.histogram(phase) {
            histogram.encode(into);
        }
    }
}

/// A cell as it is read.
pub struct Observed<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The agent's labels at the window's start; its name need not be among them.
    pub labels: &'a Labels,
    /// The probe's name.
    pub probe: &'a str,
    /// The probe's specification; zeros for "one and the same".
    pub spec: [u8; 16],
    /// The window's start, in s since 1970.
    pub start_s: i64,
    /// The window's width, in s.
    pub width_s: u32,
    /// The probe's interval, in s.
    pub interval_s: u32,
    /// What happened.
    pub counts: Counts,
    /// The agent or its clock was not to be trusted: the window is Unknown.
    pub flagged: bool,
    /// Digest of all the cell says, so that equal duplicates are told from conflicts.
    pub content: [u8; 16],
    /// Its samples.
    pub phases: &'a dyn Phases,
}

/// What cells of a series in a row come to together, said by somebody who has added them up before. It changes nothing that
/// is judged: it stands for those cells, and is taken where all of them are there and believed.
pub struct Merged<'a> {
    /// The agent's name.
    pub agent: &'a str,
    /// The probe's name.
    pub probe: &'a str,
    /// The probe's specification.
    pub spec: [u8; 16],
    /// The start of the first one, in s since 1970; they do not reach over a full hour.
    pub start_s: i64,
    /// How many there are, each beginning where the one before it ends.
    pub cells: usize,
    /// What they come to. Counts at thresholds and counters are not asked: adding up those of the cells is as quick, and
    /// bounds each by its cell's attempts.
    pub samples: &'a dyn Phases,
}
