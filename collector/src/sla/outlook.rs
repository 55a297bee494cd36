//! What may still come: how many seconds or attempts the period has at most, and how they may turn out.
//!
//! Nothing here is a forecast. The best end is the one at which all that is undecided turns out well, the worst end the one
//! at which it turns out badly; what both ends agree on is certain.

use super::measure::Observation;
use super::span::Spans;
use super::verdict::{Budget, Measured};
use crate::contract::model::{ExclusionRule, Good, Measure, Objective, Operator, UnknownAs};
use crate::contract::number::{self, Exact};

/// Share of the budget whose use makes an objective at risk: three quarters.
const AT_RISK: (u64, u64) = (3, 4);

/// Seconds or attempts of the period.
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

/// The least share of all that must be good, and whether it suffices; for a percentile it is the percentile itself.
/// `None` for a mean, of which nothing is certain while anything may come.
pub(super) fn promise(objective: &Objective) -> Option<(Operator, Exact)> {
    match &objective.measure {
        Measure::Availability | Measure::Success | Measure::Within { .. } | Measure::Ratio(_) => {
            Some(of_good_ones(
                objective.measure.scale().good,
                (objective.target.operator, &objective.target.limit),
            ))
        }
        Measure::Percentile { share, .. } => Some((Operator::AtLeast, share.clone())),
        Measure::Mean { .. } => None,
    }
}

/// What is promised of a share, as a promise of the good ones: at most 1 % ineffective are at least 99 % others.
pub(super) fn of_good_ones(good: Good, (operator, limit): (Operator, &Exact)) -> (Operator, Exact) {
    match good {
        Good::High => (operator, limit.clone()),
        Good::Low => (operator.mirrored(), number::whole(1) - limit),
    }
}

/// How many of so many may be bad where a share of them must be good, exactly; −1 where not even none may be.
pub(super) fn allowed((operator, limit): &(Operator, Exact), all: u64) -> Exact {
    let budget = (number::whole(1) - limit) * number::whole(all);
    match operator {
        Operator::Above => budget.ceil() - number::whole(1),
        Operator::AtLeast | Operator::AtMost | Operator::Below => budget.floor(),
    }
}

// === impl Outlook ===

impl Outlook {
    /// `to_come` is what of the period has not been measured yet, `None` when it is over. `None` for a mean.
    pub(super) fn new(
        objective: &Objective,
        seen: &Observation,
        measured: Option<&Measured>,
        to_come: Option<&Spans>,
    ) -> Option<Self> {
        match (&objective.measure, to_come) {
            (Measure::Mean { .. }, _) => None,
            (Measure::Availability, None) => Some(Self::of_closed_time(measured)),
            (Measure::Availability, Some(_)) => Some(Self::of_time(seen, objective)),
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
        let end = End { all, bad: all - good };
        Self { all, bad_so_far: end.bad, best: end, worst: end, open: 0 }
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
    pub(super) fn is_broken(&self, promise: &(Operator, Exact)) -> bool {
        self.best.all > 0 && !self.best.keeps(promise)
    }

    /// True when every end keeps the promise.
    pub(super) fn is_kept(&self, promise: &(Operator, Exact)) -> bool {
        self.worst.all > 0 && self.worst.keeps(promise)
    }

    /// Three quarters of what may be bad in the whole period are.
    pub(super) fn is_mostly_used(&self, (_, limit): &(Operator, Exact)) -> bool {
        let budget = (number::whole(1) - limit) * number::whole(self.all);
        let (used, whole) = AT_RISK;
        let line = &budget * number::whole(used) / number::whole(whole);
        budget > number::whole(0) && number::whole(self.bad_so_far) >= line
    }

    /// What may still go wrong; `None` when there is nothing that could.
    pub(super) fn left(&self, objective: &Objective) -> Option<Budget> {
        let promise = promise(objective).filter(|_| self.all > 0)?;
        let left = allowed(&promise, self.all) - number::whole(self.bad_so_far);
        let left = i64::try_from(left.to_integer()).ok()?;
        Some(if objective.measure.is_of_time() {
            Budget::Seconds(left)
        } else {
            Budget::Attempts(left)
        })
    }
}

// === impl End ===

impl End {
    fn keeps(self, promise: &(Operator, Exact)) -> bool {
        number::whole(self.bad) <= allowed(promise, self.all)
    }
}
