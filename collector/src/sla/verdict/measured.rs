//! What was measured: the figures that are compared with a target.

use crate::contract::model::{Good, Objective, Target};
use crate::contract::number::{self, Exact};

/// What was measured: the figures that were compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// A share of seconds, attempts or days.
    Share(Share),
    /// A percentile of samples.
    Percentile(Percentile),
    /// A mean of samples.
    Mean(Mean),
    /// A time in ns, or a number of outages.
    Amount(Exact),
    /// A mean of the shares of intervals.
    Intervals(Intervals),
}

impl Measured {
    /// Whether the promise is kept: for certain, and possibly. They differ where a threshold lies inside a histogram bucket
    /// and nobody counted it exactly.
    #[must_use]
    pub fn meets(&self, target: &Target) -> (bool, bool) {
        match self {
            Self::Share(share) => (target.met_by(&share.share), target.met_by(&share.most)),
            Self::Percentile(it) => (it.good >= it.needed, it.good_most >= it.needed),
            Self::Mean(Mean { mean: value, .. })
            | Self::Amount(value)
            | Self::Intervals(Intervals { mean: value, .. }) => {
                (target.met_by(value), target.met_by(value))
            }
        }
    }

    /// The value as it is compared: rounded, where that is agreed.
    pub(in crate::sla) fn rounded(mut self, objective: &Objective) -> Self {
        let round = |value: &mut Exact| *value = objective.rounded(value);
        match &mut self {
            Self::Share(share) => {
                round(&mut share.share);
                round(&mut share.most);
            }
            Self::Mean(Mean { mean: value, .. })
            | Self::Intervals(Intervals { mean: value, .. }) => round(value),
            // Neither is a percentage that is compared.
            Self::Percentile(_) | Self::Amount(_) => {}
        }
        self
    }

    /// The value that is compared, or the best that it may be, in the unit of the measure; `None` for a percentile, of
    /// which attempts are counted.
    pub(in crate::sla) fn at_best(&self) -> Option<Exact> {
        match self {
            Self::Share(share) => Some(share.most.clone()),
            Self::Mean(Mean { mean: value, .. })
            | Self::Amount(value)
            | Self::Intervals(Intervals { mean: value, .. }) => Some(value.clone()),
            Self::Percentile(_) => None,
        }
    }

    /// Orders the values of one measure, the worst first.
    #[must_use]
    pub(in crate::sla) fn goodness(&self, good: Good) -> (bool, Exact) {
        let value = match self {
            Self::Share(share) => share.share.clone(),
            Self::Percentile(Percentile { value: None, .. }) => return (false, number::whole(0)),
            Self::Percentile(Percentile { value: Some(value), .. }) => number::whole(*value),
            Self::Mean(Mean { mean: value, .. })
            | Self::Amount(value)
            | Self::Intervals(Intervals { mean: value, .. }) => value.clone(),
        };
        (true, if good == Good::High { value } else { -value })
    }
}

/// A percentile: how many attempts are on the good side of the target decides, not its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percentile {
    /// Attempts on the good side of the target, certainly.
    pub good: u64,
    /// Attempts on its good side, possibly: more than `good` only where a histogram bucket straddles the target.
    pub good_most: u64,
    /// All counted attempts; not zero.
    pub all: u64,
    /// How many must be on the good side: ⌈q·n⌉.
    pub needed: u64,
    /// The value for people, in the unit of the measure: the bad end of the histogram bucket of that rank from the good
    /// end. `None`: the rank lies beyond the ok attempts, so that it is a failure.
    pub value: Option<u64>,
    /// The ranks that bracket the true percentile at 95 % confidence, from the good end, each `None` where too few attempts have no such end;
    /// none at all for more attempts than can be bracketed.
    pub rank_interval: Option<[Option<u64>; 2]>,
}

/// A mean: the unreduced fraction that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mean {
    /// Exact sum of the samples, in the unit of the measure.
    pub sum: u128,
    /// How many; not zero.
    pub samples: u64,
    /// `sum / samples`, rounded where that is agreed.
    pub mean: Exact,
}

/// A mean of the shares of intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// What is compared: the exact mean, rounded where that is agreed.
    pub mean: Exact,
    /// The exact mean.
    pub exact: Exact,
    /// How many there are; not zero.
    pub all: u64,
    /// Those of them without attempts, which count as 1.
    pub empty: u64,
}

/// A share: the unreduced fraction that was compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Good seconds, attempts or days, certainly; for a ratio whose good end is low, those that it counts.
    pub numerator: u64,
    /// Good ones, possibly: more than `numerator` only where a histogram bucket straddles the threshold.
    pub numerator_most: u64,
    /// All of them; not zero.
    pub denominator: u64,
    /// `numerator / denominator`, rounded where that is agreed.
    pub share: Exact,
    /// The same of `numerator_most`.
    pub most: Exact,
}

impl Share {
    /// `None` of nothing.
    pub(in crate::sla) fn new(
        numerator: u64,
        numerator_most: u64,
        denominator: u64,
    ) -> Option<Self> {
        let share = number::ratio(numerator, denominator)?;
        let most = number::ratio(numerator_most, denominator)?;
        Some(Self { numerator, numerator_most, denominator, share, most })
    }
}
