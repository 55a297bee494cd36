//! What a judgement says, with every figure that it turned on.

mod measured;

pub use measured::{Intervals, Mean, Measured, Percentile, Share};

use super::burn::Burn;
use super::evidence::Counts;
use super::states::States;
use crate::contract::exclusions;
use crate::contract::model::{Measure, Operator, Round, Worth};
use crate::contract::money::{Currency, Money};
use crate::contract::number::Exact;
use crate::contract::period::Span;

/// The judgement of one agreement over one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The agreement's name.
    pub agreement: String,
    /// Its version.
    pub version: u64,
    /// Its title.
    pub title: String,
    /// It was countersigned.
    pub signed: bool,
    /// The period's label.
    pub label: String,
    /// The period.
    pub period: Span,
    /// It was judged as of this instant, inside the period or not.
    pub as_of_s: Option<i64>,
    /// One a judged objective, in the order of the agreement.
    pub objectives: Vec<ObjectiveVerdict>,
    /// The records that claim time of the period, by beginning.
    pub claims: Vec<Claim>,
    /// The credits together; while the period is open, those that are projected.
    pub credits: CreditTotals,
    /// The customer may terminate.
    pub termination_right: bool,
    /// `sha256:…` over everything that mattered.
    pub inputs_digest: String,
}

impl Verdict {
    /// The period was not over yet: statuses are live, credits projected.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.as_of_s.is_some_and(|as_of_s| as_of_s < self.period.until_s)
    }
}

/// A record that claims time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The time.
    pub span: Span,
    /// Why it claims it.
    pub reason: exclusions::Reason,
    /// Why it does not hold; `None` where it does, as far as hours and allowance go.
    pub refused: Option<Refusal>,
}

/// Why a record does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The agreement excludes no maintenance.
    NotAgreed,
    /// It was never announced.
    NotAnnounced,
    /// It was announced too late.
    ShortNotice,
    /// Nobody approved it.
    NotApproved,
}

impl Refusal {
    /// The word in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAgreed => "not_agreed",
            Self::NotAnnounced => "not_announced",
            Self::ShortNotice => "short_notice",
            Self::NotApproved => "not_approved",
        }
    }
}

/// How a promise stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Closed: kept.
    Met,
    /// Closed: broken.
    Breached,
    /// Closed: the evidence does not suffice.
    Inconclusive,
    /// There is no eligible second.
    NotApplicable,
    /// Open: nothing is known yet.
    Pending,
    /// Open: fine so far.
    OnTrack,
    /// Open: misses the target so far, or has used three quarters of its budget.
    AtRisk,
    /// Open: cannot be kept any more.
    BreachCertain,
    /// Open: cannot be broken any more.
    MetCertain,
}

impl Status {
    /// The word in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Breached => "breached",
            Self::Inconclusive => "inconclusive",
            Self::NotApplicable => "not_applicable",
            Self::Pending => "pending",
            Self::OnTrack => "on_track",
            Self::AtRisk => "at_risk",
            Self::BreachCertain => "breach_certain",
            Self::MetCertain => "met_certain",
        }
    }
}

/// Why a verdict is inconclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too little of the eligible time is known.
    Coverage,
    /// Fewer counted attempts than agreed.
    Attempts,
    /// The threshold lies inside a histogram bucket, and nobody counted it exactly.
    Resolution,
    /// A named vantage has no window in the period.
    NoWindows,
    /// Nothing was counted, so there is no value.
    NoValue,
}

impl Reason {
    /// The word in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Attempts => "attempts",
            Self::Resolution => "resolution",
            Self::NoWindows => "no_windows",
            Self::NoValue => "no_value",
        }
    }
}

/// The judgement of one objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectiveVerdict {
    /// The objective's name.
    pub name: String,
    /// The agent that decided, where every agent is judged alone.
    pub agent: Option<String>,
    /// How it stands.
    pub status: Status,
    /// Why it is inconclusive.
    pub reason: Option<Reason>,
    /// What was promised, as written.
    pub target: String,
    /// Of what.
    pub measure: Measure,
    /// The limit of that promise, in the unit of the measure.
    pub limit: Exact,
    /// What was measured, where there is a value.
    pub value: Option<Measured>,
    /// To what the value was rounded.
    pub round: Option<Round>,
    /// The lowest and the highest value that Unknown time leaves open: with all of it Up, and with all of it Down.
    pub band: Option<[Exact; 2]>,
    /// The known share of eligible time.
    pub coverage: Option<Exact>,
    /// Eligible time by state.
    pub seconds: Seconds,
    /// When it was in which.
    pub states: States,
    /// For measures of time: its outages.
    pub outages: Option<Vec<Outage>>,
    /// All attempts of believed cells in the period.
    pub attempts: Attempts,
    /// Bounds of the true Down time that sampling leaves open, in s.
    pub downtime_bracket_s: Option<[u64; 2]>,
    /// How much more may go wrong.
    pub budget_left: Option<Budget>,
    /// While the period is open: how fast the budget is being used, the fastest pair of windows first.
    pub burn: Vec<Burn>,
    /// Agents with a window in the period.
    pub agents: u64,
    /// Most distinct specifications of one of its probes.
    pub specs: u64,
    /// Cells in the period whose agent was not to be trusted.
    pub flagged: u64,
    /// Cells in the period with contradicting contents.
    pub conflicts: u64,
    /// What is due for a breach. While the period is open: what will be due if nothing more goes wrong until its end, or,
    /// for a mean, if it stays as it is.
    pub credit: Option<CreditLine>,
    /// While the period is open and a credit is agreed: what costs more, and how far away it is.
    pub next_band: Option<NextBand>,
}

/// Seconds of the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seconds {
    /// Up, Down and Unknown together.
    pub eligible: u64,
    /// Up.
    pub up: u64,
    /// Down.
    pub down: u64,
    /// Unknown.
    pub unknown: u64,
    /// Excluded from eligible time.
    pub excluded: u64,
    /// Eligible time still to come, while the period is open.
    pub remaining: Option<u64>,
}

/// One outage, as far as it lies in the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// From its first to its last eligible second.
    pub span: Span,
    /// Its eligible Down seconds.
    pub seconds: u64,
}

/// Attempts by outcome; `scheduled` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// All.
    pub scheduled: u64,
    /// Good.
    pub ok: u64,
    /// Failed: the provider's.
    pub failed: u64,
    /// Spoiled by us.
    pub invalid: u64,
    /// Never started: ours.
    pub missed: u64,
}

impl Attempts {
    /// Adds a cell's.
    pub fn add(&mut self, counts: Counts) {
        let [ok, failed, invalid, missed] =
            [counts.ok, counts.failed, counts.invalid, counts.missed].map(u64::from);
        self.scheduled += ok + failed + invalid + missed;
        self.ok += ok;
        self.failed += failed;
        self.invalid += invalid;
        self.missed += missed;
    }

    /// So many times as many.
    #[must_use]
    pub fn times(&self, times: u64) -> Self {
        let Self { scheduled, ok, failed, invalid, missed } = *self;
        let [scheduled, ok, failed, invalid, missed] =
            [scheduled, ok, failed, invalid, missed].map(|count| count * times);
        Self { scheduled, ok, failed, invalid, missed }
    }

    /// Adds other attempts.
    pub fn sum(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.ok += other.ok;
        self.failed += other.failed;
        self.invalid += other.invalid;
        self.missed += other.missed;
    }
}

/// What may still go wrong before the promise is broken; below zero: how much too much went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Seconds that may still be Down; of a longest outage, by which it may get longer.
    Seconds(i64),
    /// Outages that there may still be.
    Outages(i64),
    /// Attempts that may still be bad.
    Attempts(i64),
}

/// What is due for one breach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditLine {
    /// What one unit is worth, or the whole line.
    pub worth: Worth,
    /// How many units, where the credit is paid by them.
    pub units: Option<Exact>,
    /// What a share is taken of, and what the line does not exceed.
    pub base: Money,
    /// What is payable of it, after combination, cap and minimum.
    pub amount: Money,
}

/// The next step at which a breach costs more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextBand {
    /// What it costs from there on.
    pub worth: Worth,
    /// The threshold is of Down time, in s, not of the value.
    pub by_downtime: bool,
    /// The value from which on it does, in the unit of the measure.
    pub threshold: (Operator, Exact),
    /// How far away it is.
    pub away: Distance,
}

/// How much more must go wrong before something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Seconds Down.
    Seconds(u64),
    /// Bad attempts: failed, or on the bad side of the threshold.
    Attempts(u64),
    /// By how much the value must get worse, in the unit of the measure: that of a mean, good days, the longest outage, the
    /// number of outages.
    Value(Exact),
}

/// The credits of a period together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditTotals {
    /// The sum of the rounded lines.
    pub sum: Money,
    /// After combination, cap and minimum.
    pub payable: Money,
    /// The currency of every amount.
    pub currency: Currency,
    /// The first instant at which it can no longer be asked for, where it must be.
    pub claim_until_s: Option<i64>,
}
