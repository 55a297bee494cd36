//! What an agreement says, after it was read and checked.

mod credit;
mod measure;
mod ratio;
mod round;
mod termination;

pub use credit::{
    Band, Base, Claim, Combine, Credit, CreditForm, CreditRules, DayFraction, Per, PerCount, PerOf,
    Worth,
};
pub use measure::{Good, Measure, Operator, Scale, Target, Unit};
pub use ratio::Ratio;
pub use round::{PLACES_MAX, Round};
pub use termination::{MeanOf, TerminationRule};

use super::calendar::Calendar;
use super::money::{Currency, Money};
use super::number::{self, Exact};
use super::period::{PeriodKind, Span};
use probefleet_proto::label::Selector;
use probefleet_proto::name::Name;
use std::sync::Arc;

/// What sort of promise it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Between a provider and its customer.
    Sla,
    /// Between teams of one house: no credits.
    Ola,
    /// Between a provider and its supplier: credits are owed to us.
    Underpinning,
}

impl Kind {
    /// The word in an agreement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sla => "sla",
            Self::Ola => "ola",
            Self::Underpinning => "underpinning",
        }
    }
}

/// For whom it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every customer.
    Corporate,
    /// All services of one customer.
    Customer,
    /// One service.
    Service,
}

/// One side of the agreement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub contact: Option<String>,
}

/// Who agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// Who promises.
    pub provider: Party,
    /// To whom; without one it is no SLA.
    pub customer: Option<Party>,
    /// Who may look at the evidence.
    pub auditors: Vec<Party>,
}

/// What a party must do for the promise to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responsibility {
    /// `provider` or `customer`.
    pub party: String,
    /// The duty in words.
    pub text: String,
}

/// What is delivered and paid for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: Name,
    /// Its title; the name when none is given.
    pub title: String,
    /// What it costs a month.
    pub monthly_charge: Option<Money>,
    /// When it is in use; time outside is not eligible.
    pub active: Span,
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    /// Its name.
    pub name: Name,
    /// Index of its service in the agreement.
    pub service: usize,
    /// The probes that measure it.
    pub probes: Vec<Name>,
    /// From where it is measured.
    pub agents: Selector,
    /// What is measured.
    pub measure: Measure,
    /// What is promised.
    pub target: Target,
    /// The stretch over which it is judged.
    pub period: PeriodKind,
    /// Its service hours; `None`: around the clock.
    pub hours: Option<Arc<Calendar>>,
    /// When an agent calls a window Down.
    pub window: WindowRule,
    /// How the agents' voices make one.
    pub vantages: Vantages,
    /// When Down windows make an outage.
    pub outage: OutageRule,
    /// What excluded time counts as.
    pub exclusions: ExclusionRule,
    /// What Unknown time counts as.
    pub unknown: UnknownRule,
    /// Fewest counted attempts for a verdict.
    pub min_attempts: u64,
    /// Which attempts count beside an availability.
    pub during: During,
    /// What a failed attempt is for a threshold.
    pub failures: Failures,
    /// To what a percentage is rounded before it is compared; `None`: not at all.
    pub round: Option<Round>,
    /// What a breach is worth.
    pub credit: Option<Credit>,
    /// The objectives of other agreements that it rests on, all of them: agreement and name.
    pub supported_by: Vec<(Name, Name)>,
    /// What agreements that inherit it may do with it.
    pub inherit: Inherit,
}

impl Objective {
    /// A value of its measure as it is compared.
    #[must_use]
    pub fn rounded(&self, value: &Exact) -> Exact {
        self.round.map_or_else(|| value.clone(), |round| round.of(value, self.measure.unit()))
    }

    /// A comparison with a value that is compared, as one with the value that was measured.
    #[must_use]
    pub fn before_rounding(&self, (operator, limit): (Operator, &Exact)) -> (Operator, Exact) {
        match self.round {
            None => (operator, limit.clone()),
            Some(round) => round.before((operator, limit), self.measure.unit()),
        }
    }

    /// Where samples are cut by each comparison that a verdict turns on: the largest sample on the low side, in the unit of
    /// the phase or value. The target's first, then that of each credit band. Empty where no sample is compared.
    #[must_use]
    pub fn thresholds(&self) -> Vec<u64> {
        match &self.measure {
            Measure::Within { phase, limit } | Measure::GoodDays { phase, limit, .. } => {
                let operator = match Scale::of_samples(phase).good {
                    Good::Low => Operator::AtMost,
                    Good::High => Operator::AtLeast,
                };
                vec![low_side((operator, &number::whole(*limit)))]
            }
            Measure::Percentile { .. } => {
                let bands = self.credit.as_ref().map_or(&[][..], |credit| credit.form.bands());
                let bands = bands.iter().map(|band| (band.operator.negated(), &band.threshold));
                let target = (self.target.operator, &self.target.limit);
                std::iter::once(target).chain(bands).map(low_side).collect()
            }
            Measure::Availability
            | Measure::Downtime
            | Measure::LongestOutage
            | Measure::Outages
            | Measure::Success
            | Measure::Mean { .. }
            | Measure::Ratio(_)
            | Measure::MeanSuccess { .. } => Vec::new(),
        }
    }
}

/// The largest sample for which `<= limit` or `< limit` holds, or `> limit` or `>= limit` does not: samples are whole.
fn low_side((operator, limit): (Operator, &Exact)) -> u64 {
    let largest = match operator {
        Operator::AtMost | Operator::Above => limit.floor(),
        Operator::Below | Operator::AtLeast => limit.ceil() - number::whole(1),
    };
    // Limits of an agreement fit into 64 bits, and nothing is compared with "below zero" or "at least zero".
    let none = largest < number::whole(0);
    u64::try_from(largest.to_integer()).unwrap_or(if none { 0 } else { u64::MAX })
}

/// The evaluation window, and when an agent calls it Down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// Its width, in s.
    pub width_s: u32,
    /// The comparison of the failed share with [`WindowRule::bad_share`].
    pub bad_operator: Operator,
    /// The failed share beyond which it is Down.
    pub bad_share: Exact,
    /// Fewest ok and failed attempts for a voice.
    pub attempts: u64,
}

/// How the agents' voices make the service's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vantages {
    /// Down when at least a share of those that said Up or Down say Down.
    Quorum {
        /// That share.
        share: Exact,
        /// Fewest voices for a state.
        at_least: u64,
    },
    /// Every agent alone, the worst one decides. Empty list: every agent with a window in the period.
    Each(Vec<String>),
}

/// When Down windows make an outage; all in windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutageRule {
    /// It begins after so many consecutive Down windows.
    pub after: u64,
    /// It ends at the first of so many consecutive Up windows.
    pub until: u64,
    /// Unknown runs up to so many are neutral.
    pub bridge: u64,
}

/// What agreements that inherit an objective may do with it, from the freest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inherit {
    /// Anything.
    Open,
    /// Promise more.
    Floor,
    /// Nothing.
    Locked,
}

/// What excluded time counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusionRule {
    /// Nothing: it is not eligible.
    Removed,
    /// Likewise, but an availability adds it to Up and to the whole.
    AsUp,
    /// As any other time: nothing is excluded.
    None,
}

/// Who grants maintenance that was announced in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nobody has to.
    Automatic,
    /// The customer.
    Customer,
}

/// What maintenance is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// It is announced at least so many seconds before it begins.
    pub notice_s: u64,
    /// So many seconds of each period, at most.
    pub at_most_s: u64,
    /// Who grants it.
    pub approval: Approval,
}

/// What Unknown seconds count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownAs {
    /// Nothing.
    Removed,
    /// Up.
    Up,
    /// Down.
    Down,
}

/// How Unknown time is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRule {
    /// What it counts as.
    pub counts_as: UnknownAs,
    /// Least known share of eligible time for a verdict.
    pub coverage: Exact,
}

/// Which attempts a response time objective counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// Those outside Down time of the service's availability objectives.
    Available,
    /// All.
    Always,
}

/// What a failed attempt is for a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failures {
    /// Worse than any threshold.
    AsWorst,
    /// Not counted.
    Exclude,
}

/// How long a period stays open after its end, in s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRules {
    /// Late reports are taken so long.
    pub grace_s: u64,
    /// Objections are taken so long.
    pub dispute_s: u64,
}

/// Everything an agreement says beside its objectives' meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The agreement's name.
    pub id: Name,
    /// Its version.
    pub version: u64,
    /// What sort of promise it is.
    pub kind: Kind,
    /// For whom it holds.
    pub level: Level,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub overview: Option<String>,
    /// What is expressly not promised.
    pub not_included: Vec<String>,
    /// Who agreed.
    pub parties: Parties,
    /// Who must do what.
    pub responsibilities: Vec<Responsibility>,
    /// IANA name of the zone of all its dates.
    pub time_zone: String,
    /// The currency of all its amounts.
    pub currency: Currency,
    /// When it holds.
    pub term: Span,
    /// Its period, for objectives without their own.
    pub period: PeriodKind,
    /// Service hours that objectives may name.
    pub calendars: Vec<Arc<Calendar>>,
    /// What maintenance is excluded; `None`: none.
    pub maintenance: Option<Maintenance>,
    /// What is delivered.
    pub services: Vec<Service>,
    /// How credits combine.
    pub credits: CreditRules,
    /// What lets the customer terminate.
    pub termination: Vec<TerminationRule>,
    /// How long a period stays open.
    pub close: CloseRules,
}
