//! What is measured, and what is promised of it.

use super::Ratio;
use crate::contract::number::{self, Exact, fixed, percent_short, short};
use probefleet_proto::extras::ValueUnit;
use probefleet_proto::units::{duration_text, seconds_text};
use std::cmp::Ordering;
use std::fmt;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// The share of eligible time that is Up.
    Availability,
    /// The Down time.
    Downtime,
    /// The Down time of the longest outage.
    LongestOutage,
    /// How many outages there are.
    Outages,
    /// The share of attempts that are ok.
    Success,
    /// The share of attempts whose phase or value is at least as good as a threshold.
    Within {
        /// The name of the phase or value.
        phase: String,
        /// The threshold, in the unit of its [`Scale`].
        limit: u64,
    },
    /// What a share of the attempts is at least as good as, by nearest rank (RFC 2330 §11.3): the duration or loss that it
    /// does not exceed, the score that it does not fall below.
    Percentile {
        /// The share, above zero: 0.95 for the 95th percentile.
        share: Exact,
        /// The name of the phase or value.
        phase: String,
    },
    /// The mean of a phase or value over the ok attempts that have it.
    Mean {
        /// The name of the phase or value.
        phase: String,
    },
    /// How many calls or registrations ended in one way, by the counters of cells.
    Ratio(Ratio),
    /// The mean, over intervals of a period, of the share of attempts in each that are ok; of one without attempts, all.
    MeanSuccess {
        /// How long an interval is, in s; above zero.
        every_s: u64,
    },
    /// The share of local days, of those with a counted attempt, on which enough attempts are within a threshold.
    GoodDays {
        /// The name of the phase or value.
        phase: String,
        /// The threshold, in the unit of its [`Scale`].
        limit: u64,
        /// The share of a day's attempts that is enough, above zero.
        at: Exact,
    },
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share of 1, written as a percentage.
    Share,
    /// A duration, in ns.
    Duration,
    /// Parts per million, written as a percentage.
    Ppm,
    /// Hundredths, written as a decimal with two places.
    Centi,
    /// Things, written as a whole number.
    Count,
}

/// Which end of a scale is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Good {
    /// The more the better.
    High,
    /// The less the better.
    Low,
}

/// What the value of a measure is, and with it its target and credit bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// What it counts.
    pub unit: Unit,
    /// Which end is good.
    pub good: Good,
}

impl Scale {
    /// That of the samples of a phase or value, by its name.
    #[must_use]
    pub fn of_samples(name: &str) -> Self {
        match ValueUnit::of_name(name) {
            None => Self { unit: Unit::Duration, good: Good::Low },
            Some(ValueUnit::Ppm) => Self { unit: Unit::Ppm, good: Good::Low },
            Some(ValueUnit::Centi) => Self { unit: Unit::Centi, good: Good::High },
        }
    }
}

impl Unit {
    /// A figure as short text: `99.95%`, `2.871s`, `0.08%`, `4.38`. A duration is rounded to the nanosecond, a percentage
    /// to six places and a decimal to four, half away from zero; only for display.
    #[must_use]
    pub fn text(self, figure: &Exact) -> String {
        match self {
            Self::Share => percent_short(figure),
            Self::Duration => {
                duration_text(u64::try_from(figure.round().to_integer()).unwrap_or(u64::MAX))
            }
            Self::Ppm => percent_short(&(figure / number::whole(PPM))),
            Self::Centi => {
                let text = fixed(&(figure / number::whole(CENTI)), CENTI_PLACES_MAX);
                let point = text.find('.').unwrap_or(text.len());
                let least = (point + 1 + CENTI_PLACES).min(text.len());
                let (kept, rest) = text.split_at(least);
                format!("{kept}{}", rest.trim_end_matches('0'))
            }
            Self::Count => short(figure),
        }
    }

    /// How many of it make 1 of what is written: a percentage as a share, a decimal.
    #[must_use]
    pub fn in_one(self) -> u64 {
        match self {
            Self::Share | Self::Count => 1,
            Self::Duration => probefleet_proto::units::NS_PER_S,
            Self::Ppm => PPM,
            Self::Centi => CENTI,
        }
    }
}

/// Parts per million.
const PPM: u64 = 1_000_000;
/// Hundredths.
const CENTI: u64 = 100;
/// Places of a decimal of hundredths, at least.
const CENTI_PLACES: usize = 2;
/// And at most: those of a mean.
const CENTI_PLACES_MAX: u32 = 4;

impl Measure {
    /// True when it is of states and outages, not of attempts.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        match self {
            Self::Availability | Self::Downtime | Self::LongestOutage | Self::Outages => true,
            Self::Success
            | Self::Within { .. }
            | Self::Percentile { .. }
            | Self::Mean { .. }
            | Self::Ratio(_)
            | Self::MeanSuccess { .. }
            | Self::GoodDays { .. } => false,
        }
    }

    /// True when its value is a percentage that is compared as such; of a percentile, attempts are counted.
    #[must_use]
    pub fn is_percentage(&self) -> bool {
        let percentile = matches!(self, Self::Percentile { .. });
        matches!(self.unit(), Unit::Share | Unit::Ppm) && !percentile
    }

    /// True when it has a budget of Down time: so much of it may be spent before the promise is broken.
    #[must_use]
    pub fn has_down_budget(&self) -> bool {
        matches!(self, Self::Availability | Self::Downtime)
    }

    /// What its value is.
    #[must_use]
    pub fn scale(&self) -> Scale {
        match self {
            Self::Availability
            | Self::Success
            | Self::Within { .. }
            | Self::MeanSuccess { .. }
            | Self::GoodDays { .. } => Scale { unit: Unit::Share, good: Good::High },
            Self::Downtime | Self::LongestOutage => Scale { unit: Unit::Duration, good: Good::Low },
            Self::Outages => Scale { unit: Unit::Count, good: Good::Low },
            Self::Percentile { phase, .. } | Self::Mean { phase } => Scale::of_samples(phase),
            Self::Ratio(ratio) => Scale { unit: Unit::Share, good: ratio.good() },
        }
    }

    /// What its value counts.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.scale().unit
    }

    /// The phase or value whose samples it is of.
    #[must_use]
    pub fn phase(&self) -> Option<&str> {
        match self {
            Self::Availability
            | Self::Downtime
            | Self::LongestOutage
            | Self::Outages
            | Self::Success
            | Self::Ratio(_)
            | Self::MeanSuccess { .. } => None,
            Self::Within { phase, .. }
            | Self::Percentile { phase, .. }
            | Self::Mean { phase }
            | Self::GoodDays { phase, .. } => Some(phase),
        }
    }
}

impl fmt::Display for Measure {
    /// What the target is of, as the end of a sentence: `of the time up`, `as the 95% percentile of total`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Availability => f.write_str("of the time up"),
            Self::Downtime => f.write_str("of Down time"),
            Self::LongestOutage => f.write_str("as the longest outage"),
            Self::Outages => f.write_str("as the number of outages"),
            Self::Success => f.write_str("of attempts ok"),
            Self::Within { phase, limit } => {
                write!(f, "of attempts with {}", within_text(phase, *limit))
            }
            Self::Percentile { share, phase } => match Scale::of_samples(phase).good {
                Good::Low => write!(f, "as the {} percentile of {phase}", percent_short(share)),
                Good::High => write!(f, "as {phase} of {} of attempts", percent_short(share)),
            },
            Self::Mean { phase } => write!(f, "as the mean of {phase}"),
            Self::Ratio(ratio) => ratio.fmt(f),
            Self::MeanSuccess { every_s } => {
                write!(f, "as the mean success of intervals of {}", seconds_text(*every_s))
            }
            Self::GoodDays { phase, limit, at } => {
                let (enough, within) = (percent_short(at), within_text(phase, *limit));
                write!(f, "of days with {enough} of attempts with {within}")
            }
        }
    }
}

/// A threshold of a phase or value: `total at most 2s`.
fn within_text(phase: &str, limit: u64) -> String {
    let Scale { unit, good } = Scale::of_samples(phase);
    let side = if good == Good::High { "at least" } else { "at most" };
    format!("{phase} {side} {}", unit.text(&number::whole(limit)))
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

    /// Which end is good where this is promised.
    #[must_use]
    pub fn good(self) -> Good {
        match self {
            Self::AtLeast | Self::Above => Good::High,
            Self::AtMost | Self::Below => Good::Low,
        }
    }

    /// The comparison of 1 − a share with 1 − the limit.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::AtLeast => Self::AtMost,
            Self::Above => Self::Below,
            Self::AtMost => Self::AtLeast,
            Self::Below => Self::Above,
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
    /// The limit, in the unit of the measure: a share of 1, ns, ppm, hundredths or a number.
    pub limit: Exact,
}

impl Target {
    /// True when the promise is kept.
    #[must_use]
    pub fn met_by(&self, value: &Exact) -> bool {
        self.operator.holds(value, &self.limit)
    }
}
