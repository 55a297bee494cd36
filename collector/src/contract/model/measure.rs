//! What is measured, and what is promised of it.

use crate::contract::number::{Exact, percent_short};
use probefleet_proto::units::duration_text;
use std::cmp::Ordering;
use std::fmt;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The share of eligible time that is Up.
    Availability,
    /// The share of attempts that are ok.
    Success,
    /// The share of attempts with a phase of at most a threshold.
    Within {
        /// The phase's name.
        phase: String,
        /// The threshold, in ns.
        at_most_ns: u64,
    },
    /// The duration that a share of the attempts does not exceed, by nearest rank (RFC 2330 §11.3).
    Percentile {
        /// The share, above zero: 0.95 for the 95th percentile.
        share: Exact,
        /// The phase's name.
        phase: String,
    },
    /// The mean duration of a phase over the ok attempts that have it.
    Mean {
        /// The phase's name.
        phase: String,
    },
}

/// What the value of a measure is, and with it targets and credit bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share, written as a percentage; good when it is high.
    Share,
    /// A duration, in ns; good when it is low.
    Duration,
}

impl Measure {
    /// True when it is an amount of time, not of attempts.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        matches!(self, Self::Availability)
    }

    /// What its value is.
    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Availability | Self::Success | Self::Within { .. } => Unit::Share,
            Self::Percentile { .. } | Self::Mean { .. } => Unit::Duration,
        }
    }

    /// The phase whose samples it is of.
    #[must_use]
    pub fn phase(&self) -> Option<&str> {
        match self {
            Self::Availability | Self::Success => None,
            Self::Within { phase, .. } | Self::Percentile { phase, .. } | Self::Mean { phase } => {
                Some(phase)
            }
        }
    }
}

impl fmt::Display for Measure {
    /// What the target is of, as the end of a sentence: `of the time up`, `as the 95% percentile of total`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Availability => f.write_str("of the time up"),
            Self::Success => f.write_str("of attempts ok"),
            Self::Within { phase, at_most_ns } => {
                write!(f, "of attempts with {phase} at most {}", duration_text(*at_most_ns))
            }
            Self::Percentile { share, phase } => {
                write!(f, "as the {} percentile of {phase}", percent_short(share))
            }
            Self::Mean { phase } => write!(f, "as the mean of {phase}"),
        }
    }
}

/// A comparison with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `<=`
    AtMost,
    /// `<`
    Below,
}

impl Operator {
    /// True when `value` stands in this relation to `limit`; equality satisfies `>=` and `<=`.
    #[must_use]
    pub fn holds(self, value: &Exact, limit: &Exact) -> bool {
        match value.cmp(limit) {
            Ordering::Less => matches!(self, Self::AtMost | Self::Below),
            Ordering::Equal => matches!(self, Self::AtLeast | Self::AtMost),
            Ordering::Greater => matches!(self, Self::AtLeast | Self::Above),
        }
    }

    /// The comparison that holds exactly where this one does not.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::AtLeast => Self::Below,
            Self::Above => Self::AtMost,
            Self::AtMost => Self::Above,
            Self::Below => Self::AtLeast,
        }
    }

    /// The sign in an agreement.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }
}

/// What is promised of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it is written: `>= 99.95%`.
    pub text: String,
    /// The comparison.
    pub operator: Operator,
    /// The limit: a share, or ns where the measure is a duration.
    pub limit: Exact,
}

impl Target {
    /// True when the promise is kept.
    #[must_use]
    pub fn met_by(&self, value: &Exact) -> bool {
        self.operator.holds(value, &self.limit)
    }
}
