//! What may still come: how many seconds or attempts the period has at most, and how they may turn out.
//!
//! Nothing here is a forecast. The best end is the one at which all that is undecided turns out well, the worst end the one
//! at which it turns out badly; what both ends agree on is certain.

use super::measure::Observation;
use super::span::Spans;
use super::verdict::{Budget, Measured};
use crate::contract::model::{ExclusionRule, Good, Measure, Objective, Operator, UnknownAs};
use crate::contract::number::{self, Exact};
use probefleet_proto::units::NS_PER_S;

/// Share of the budget whose use makes an objective at risk: three quarters.
const AT_RISK: (u64, u64) = (3, 4);

/// What is promised, as a promise of how much may be bad.
#[derive(Clone, Debug)]
pub(super) enum Promise {
    /// So large a share of all must be good: at least that, or more.
    Good(Operator, Exact),
    /// So much may be bad, whatever the whole: at most that, or less.
    Bad(Operator, Exact),
}

/// Seconds, attempts or outages of the period.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook {
    /// All of them, those still to come included.
    pub(super) all: u64,
    /// Counted as bad so far.
    pub(super) bad_so_far: u64,
    /// If everything undecided turns out well.
    best: End,
    /// If everything undecided turns out badly.
    worst: End,
    /// How many more may still turn bad, those not counted that the worst end would no longer count.
    pub(super) open: u64,
}

/// How the period may end.
#[derive(Clone, Copy, Debug)]
struct End {
    all: u64,
    bad: u64,
}

/// What an objective promises of what its [`Outlook`] counts; for a percentile it is the percentile itself. `None` for a
/// mean and for good days, of which nothing is certain while anything may come.
pub(super) fn promise(objective: &Objective) -> Option<Promise> {
    match &objective.measure {
        Measure::Percentile { share, .. } => Some(Promise::Good(Operator::AtLeast, share.clone())),
        measure => {
            let target = (objective.target.operator, &objective.target.limit);
            let (operator, limit) = objective.before_rounding(target);
            Promise::of_value(measure, (operator, &limit))
        }
    }
}

// === impl Promise ===

impl Promise {
    /// What a comparison with the value of a measure promises of what its [`Outlook`] counts: at most 1 % ineffective are
    /// at least 99 % others. `None` where nothing of that kind is counted: for a percentile, a mean, good days.
    pub(super) fn of_value(
        measure: &Measure,
        (operator, limit): (Operator, &Exact),
    ) -> Option<Self> {
        match measure {
            Measure::Availability
            | Measure::Success
            | Measure::Within { .. }
            | Measure::Ratio(_) => Some(match measure.scale().good {
                Good::High => Self::Good(operator, limit.clone()),
                Good::Low => Self::Good(operator.mirrored(), number::whole(1) - limit),
            }),
            Measure::Downtime | Measure::LongestOutage => {
                Some(Self::Bad(operator, limit / number::whole(NS_PER_S)))
            }
            Measure::Outages => Some(Self::Bad(operator, limit.clone())),
            Measure::Percentile { .. }
            | Measure::Mean { .. }
            | Measure::MeanSuccess { .. }
            | Measure::GoodDays { .. } => None,
        }
    }

    /// How much of so much may be bad before the promise is broken, as the exact share of it.
    pub(super) fn budget(&self, all: u64) -> Exact {
        match self {
            Self::Good(_, limit) => (number::whole(1) - limit) * number::whole(all),
            Self::Bad(_, limit) => limit.clone(),
        }
    }

    /// How many of so many may be bad: whole ones; −1 where not even none may be.
    pub(super) fn allowed(&self, all: u64) -> Exact {
        let budget = self.budget(all);
        match self {
            Self::Good(Operator::Above, _) | Self::Bad(Operator::Below, _) => {
                budget.ceil() - number::whole(1)
            }
            Self::Good(..) | Self::Bad(..) => budget.floor(),
        }
    }
}

// === impl Outlook ===

impl Outlook {
    /// `to_come` is what of the period has not been measured yet, `None` when it is over. `None` for a mean and
    /// for good days.
    pub(super) fn new(
        objective: &Objective,
        seen: &Observation,
        measured: Option<&Measured>,
        to_come: Option<&Spans>,
    ) -> Option<Self> {
        match (&objective.measure, to_come) {
            (Measure::Mean { .. } | Measure::MeanSuccess { .. } | Measure::GoodDays { .. }, _) => {
                None
            }
            (Measure::Availability, None) => Some(Self::of_closed_time(measured)),
            (Measure::Downtime, None) => {
                let (all, bad) = (seen.seconds.eligible, seen.down_s(objective));
                Some(Self::settled(all, bad))
            }
            (Measure::Availability | Measure::Downtime, Some(_)) => {
                Some(Self::of_time(seen, objective))
            }
            (Measure::LongestOutage, _) => Some(Self::of_outages(seen, seen.longest_outage_s(), 1)),
            (Measure::Outages, _) => {
                let outages = u64::try_from(seen.outages.len()).unwrap_or(u64::MAX);
                Some(Self::of_outages(seen, outages, objective.window.width_s))
            }
            (
                Measure::Success
                | Measure::Within { .. }
                | Measure::Percentile { .. }
                | Measure::Ratio(_),
                to_come,
            ) => {
                let more = to_come.map_or(0, |to_come| seen.attempts_to_come(to_come));
                Some(Self::of_attempts(seen, more))
            }
        }
    }

    /// What is compared at the end, and nothing may change any more.
    fn of_closed_time(measured: Option<&Measured>) -> Self {
        let (all, good) = match measured {
            Some(Measured::Share(share)) => (share.denominator, share.numerator),
            _ => (0, 0),
        };
        Self::settled(all, all - good)
    }

    /// Nothing may change any more.
    fn settled(all: u64, bad: u64) -> Self {
        let end = End { all, bad };
        Self { all, bad_so_far: bad, best: end, worst: end, open: 0 }
    }

    /// The longest outage, or their number: neither ever becomes less, and how bad they may get is not said. What is
    /// undecided makes at most one more of each `step_s` seconds.
    fn of_outages(seen: &Observation, so_far: u64, step_s: u32) -> Self {
        let undecided_s = seen.undecided_at_most_s();
        let all = seen.seconds.eligible + seen.seconds.remaining.unwrap_or(0);
        Self {
            all,
            bad_so_far: so_far,
            best: End { all, bad: so_far },
            worst: End { all, bad: u64::MAX },
            open: undecided_s.div_ceil(u64::from(step_s.max(1))),
        }
    }

    fn of_time(seen: &Observation, objective: &Objective) -> Self {
        let seconds = seen.seconds;
        let unknown = seconds.unknown + seconds.remaining.unwrap_or(0);
        let as_up = match objective.exclusions {
            ExclusionRule::AsUp => seconds.excluded + seen.excluded_to_come_s,
            ExclusionRule::Removed | ExclusionRule::None => 0,
        };
        let all = seconds.up + seconds.down + unknown + as_up;
        let counted_down = objective.unknown.counts_as == UnknownAs::Down;
        let bad_so_far = seconds.down + if counted_down { seconds.unknown } else { 0 };
        let bad_most = seconds.down + unknown + seen.undecided_s;
        Self {
            all,
            bad_so_far,
            best: End { all, bad: seconds.down },
            worst: End { all, bad: bad_most },
            open: bad_most.saturating_sub(bad_so_far),
        }
    }

    /// Attempts that an outage may still swallow make both ends better or worse than they look now.
    fn of_attempts(seen: &Observation, more: u64) -> Self {
        let (good, revocable) = (seen.counted.of_target(), seen.revocable.of_target());
        // A report may claim more samples than attempts; it is not believed beyond them.
        let bad = |all: u64, good: u64| all.saturating_sub(good);
        let all = seen.counted.all + more;
        let bad_so_far = bad(seen.counted.all, good.possible);
        let bad_most = bad(seen.counted.all, good.certain) + more;
        let spared = bad(seen.revocable.all, revocable.possible);
        Self {
            all,
            bad_so_far,
            best: End { all: all - spared, bad: bad_so_far.saturating_sub(spared) },
            worst: End { all: all.saturating_sub(revocable.possible), bad: bad_most },
            open: bad_most - bad_so_far,
        }
    }

    /// True when no end keeps the promise.
    pub(super) fn is_broken(&self, promise: &Promise) -> bool {
        self.best.all > 0 && !self.best.keeps(promise)
    }

    /// True when every end keeps the promise.
    pub(super) fn is_kept(&self, promise: &Promise) -> bool {
        self.worst.all > 0 && self.worst.keeps(promise)
    }

    /// Three quarters of what may be bad in the whole period are.
    pub(super) fn is_mostly_used(&self, promise: &Promise) -> bool {
        let budget = promise.budget(self.all);
        let (used, whole) = AT_RISK;
        let line = &budget * number::whole(used) / number::whole(whole);
        budget > number::whole(0) && number::whole(self.bad_so_far) >= line
    }

    /// What may still go wrong; `None` when there is nothing that could.
    pub(super) fn left(&self, objective: &Objective) -> Option<Budget> {
        let promise = promise(objective).filter(|_| self.all > 0)?;
        let left = promise.allowed(self.all) - number::whole(self.bad_so_far);
        let left = i64::try_from(left.to_integer()).ok()?;
        Some(match objective.measure {
            Measure::Availability | Measure::Downtime | Measure::LongestOutage => {
                Budget::Seconds(left)
            }
            Measure::Outages => Budget::Outages(left),
            Measure::Success
            | Measure::Within { .. }
            | Measure::Percentile { .. }
            | Measure::Mean { .. }
            | Measure::Ratio(_)
            | Measure::MeanSuccess { .. }
            | Measure::GoodDays { .. } => Budget::Attempts(left),
        })
    }
}

// === impl End ===

impl End {
    fn keeps(self, promise: &Promise) -> bool {
        number::whole(self.bad) <= promise.allowed(self.all)
    }
}
