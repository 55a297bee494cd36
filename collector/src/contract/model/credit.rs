//! What a breach is worth, and how several credits become one payment.

use super::Operator;
use crate::contract::money::{Money, Rounding};
use crate::contract::number::{self, Exact};
use probefleet_proto::name::Name;

/// What a breach is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// By which rule.
    pub form: CreditForm,
    /// What a rate is a share of.
    pub base: Base,
    /// What a day is worth.
    pub day: DayFraction,
}

/// The rule by which a breach is priced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreditForm {
    /// The same share for every breach.
    Flat(Exact),
    /// The same number of days for every breach.
    Days(Exact),
    /// By how bad the value is; mildest first. Bands on what lies beyond the target are bands on the value too: those of
    /// the target and so much more.
    Bands(Vec<Band>),
    /// By the period's Down time, whatever the measure; mildest first, thresholds in s.
    DownBands(Vec<Band>),
    /// For each unit of something.
    Per(Per),
    /// So many percentage points for each percentage point missed.
    Linear(Exact),
}

impl CreditForm {
    /// Its bands on the value, mildest first.
    #[must_use]
    pub fn bands(&self) -> &[Band] {
        match self {
            Self::Bands(bands) => bands,
            Self::Flat(_) | Self::Days(_) | Self::DownBands(_) | Self::Per(_) | Self::Linear(_) => {
                &[]
            }
        }
    }

    /// True when its lines are days of the charge, not shares of a base.
    #[must_use]
    pub fn is_in_days(&self) -> bool {
        matches!(self, Self::Days(_) | Self::Per(Per { pays: Worth::Days(_), .. }))
    }
}

/// One step of a band table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// `<` (below) or `<=` (at most) where high is good, `>` (above) or `>=` (at least) where low is.
    pub operator: Operator,
    /// The value it begins at, in the unit of the measure.
    pub threshold: Exact,
    /// The credit, as a share of the base.
    pub rate: Exact,
}

/// So much for each unit of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Per {
    /// What is counted.
    pub of: PerOf,
    /// One unit, in s or days; above zero.
    pub every: Exact,
    /// What one unit is worth.
    pub pays: Worth,
    /// How parts of a unit are counted.
    pub count: PerCount,
    /// What is counted is rounded to a multiple of so many s before it is: to the nearest, ties up.
    pub round_s: Option<u64>,
}

impl Per {
    /// How many units so much is, in s or days.
    #[must_use]
    pub fn units(&self, amount: &Exact) -> Exact {
        let amount = match self.round_s {
            Some(step_s) => to_nearest(amount, &number::whole(step_s)),
            None => amount.clone(),
        };
        let units = amount / &self.every;
        match self.count {
            PerCount::Up => units.ceil(),
            PerCount::Down => units.floor(),
            PerCount::Prorata => units,
        }
    }
}

/// A multiple of a step: the nearest, ties up.
fn to_nearest(amount: &Exact, step: &Exact) -> Exact {
    let half = Exact::new(1.into(), 2.into());
    (amount / step + half).floor() * step
}

/// What is counted in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerOf {
    /// The period's Down time.
    Downtime,
    /// What of it lies beyond the budget.
    ExcessDowntime,
    /// Local days whose own value misses the target.
    FailedDays,
}

/// How parts of a unit are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerCount {
    /// As a whole one.
    Up,
    /// Not at all.
    Down,
    /// As the part they are.
    Prorata,
}

/// What something is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worth {
    /// A share of the base.
    Rate(Exact),
    /// Days of the service's charge.
    Days(Exact),
}

/// What a rate is a share of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The service's charge for the period.
    Charge,
    /// An amount for the whole period.
    Amount(Money),
    /// The greatest of several.
    GreaterOf(Vec<Self>),
}

/// What a day is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayFraction {
    /// A thirtieth of the monthly charge.
    Thirtieth,
    /// The period's charge over its dates.
    Actual,
}

/// How several credits become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// All of them.
    Sum,
    /// The largest.
    Max,
}

/// When a credit must be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Never: it is granted by itself.
    Automatic,
    /// Within so many seconds after the period's end, and until the end of that local day.
    WithinS(u64),
}

/// The rules for all credits of a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditRules {
    /// How several become one.
    pub combine: Combine,
    /// Largest total, as a share of the charges.
    pub cap: Option<Exact>,
    /// Objectives whose lines are filled first.
    pub priority: Vec<Name>,
    /// How a line becomes whole minor units.
    pub rounding: Rounding,
    /// A smaller total is not paid.
    pub minimum: Option<Money>,
    /// Credits are the only remedy.
    pub sole_remedy: bool,
    /// Whether they must be asked for.
    pub claim: Claim,
}

impl Default for CreditRules {
    fn default() -> Self {
        Self {
            combine: Combine::Sum,
            cap: None,
            priority: Vec::new(),
            rounding: Rounding::HalfAwayFromZero,
            minimum: None,
            sole_remedy: false,
            claim: Claim::Automatic,
        }
    }
}
