//! How a promise stands: kept or broken when its period is over, and what is already certain while it is not.

use super::measure::Observation;
use super::span::Spans;
use super::verdict::{Budget, Measured, Reason, Status};
use crate::contract::model::{Measure, Objective, Operator, Target, UnknownAs};
use crate::contract::number::{self, Exact};

/// Share of the budget whose use makes an objective at risk: three quarters.
const AT_RISK: (u64, u64) = (3, 4);

/// The judgement of one observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
    pub(super) band: Option<[Exact; 2]>,
    pub(super) coverage: Option<Exact>,
    pub(super) budget_left: Option<Budget>,
}

/// Seconds or attempts: how many there are at most in the period, and how they may turn out.
#[derive(Clone, Copy, Debug)]
struct Outlook {
    /// All of them, those still to come included.
    all: u64,
    /// Bad now, whatever comes.
    bad: u64,
    /// Bad if everything undecided turns out badly.
    bad_most: u64,
    /// Counted as bad so far.
    bad_so_far: u64,
}

/// Judges an observation; `to_come` is what of the period has not been measured yet, `None` when it is over.
pub(super) fn standing(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    to_come: Option<&Spans>,
) -> Standing {
    let seconds = seen.seconds;
    let band = band(objective, seen);
    let coverage = number::ratio(seconds.up + seconds.down, seconds.eligible);
    let outlook = outlook(objective, seen, measured, to_come);
    let (status, reason) = if seconds.eligible + seconds.remaining.unwrap_or(0) == 0 {
        (Status::NotApplicable, None)
    } else if to_come.is_some() {
        (live(objective, seen, measured, outlook), None)
    } else {
        closed(objective, seen, measured, coverage.as_ref(), band.as_ref())
    };
    let budget_left = outlook.left(objective).filter(|_| status != Status::NotApplicable);
    Standing { status, reason, band, coverage, budget_left }
}

/// An availability with all Unknown time Down, and with all of it Up.
fn band(objective: &Objective, seen: &Observation) -> Option<[Exact; 2]> {
    let seconds = seen.seconds;
    let all = seconds.up + seconds.down + seconds.unknown;
    let of_time = objective.measure.is_of_time();
    let low = number::ratio(seconds.up, all).filter(|_| of_time)?;
    let high = number::ratio(seconds.up + seconds.unknown, all)?;
    Some([low, high])
}

fn closed(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    coverage: Option<&Exact>,
    band: Option<&[Exact; 2]>,
) -> (Status, Option<Reason>) {
    let inconclusive = |reason| (Status::Inconclusive, Some(reason));
    let counted = seen.counted.all;
    if counted < objective.min_attempts {
        return inconclusive(Reason::Attempts);
    }
    let Some(measured) = measured else { return inconclusive(Reason::NoValue) };
    let target = &objective.target;
    let covered = coverage.is_some_and(|coverage| *coverage >= objective.unknown.coverage)
        || objective.unknown.counts_as != UnknownAs::Removed
        || band.is_some_and(|[low, high]| target.met_by(low) == target.met_by(high));
    if !covered {
        return inconclusive(Reason::Coverage);
    }
    match (target.met_by(&measured.share), target.met_by(&measured.share_most())) {
        (true, true) => (Status::Met, None),
        (false, false) => (Status::Breached, None),
        _ => inconclusive(Reason::Resolution),
    }
}

fn live(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    outlook: Outlook,
) -> Status {
    let target = &objective.target;
    if seen.seconds.up + seen.seconds.down == 0 {
        return Status::Pending;
    }
    if !outlook.met_with(outlook.bad, target) {
        return Status::BreachCertain;
    }
    if outlook.met_with(outlook.bad_most, target) {
        return Status::MetCertain;
    }
    let misses = measured.is_some_and(|measured| !target.met_by(&measured.share_most()));
    if misses || outlook.mostly_used(target) { Status::AtRisk } else { Status::OnTrack }
}

fn outlook(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    to_come: Option<&Spans>,
) -> Outlook {
    let seconds = seen.seconds;
    match (objective.measure.is_of_time(), to_come) {
        // What is compared at the end, and nothing may change any more.
        (true, None) => {
            let (all, good) = measured.map_or((0, 0), |m| (m.denominator, m.numerator));
            let bad = all - good;
            Outlook { all, bad, bad_most: bad, bad_so_far: bad }
        }
        (true, Some(_)) => {
            let unknown = seconds.unknown + seconds.remaining.unwrap_or(0);
            let all = seconds.up + seconds.down + unknown;
            let counted_down = objective.unknown.counts_as == UnknownAs::Down;
            let bad_so_far = seconds.down + if counted_down { seconds.unknown } else { 0 };
            let bad_most = seconds.down + unknown + seen.undecided_s;
            Outlook { all, bad: seconds.down, bad_most, bad_so_far }
        }
        (false, to_come) => {
            let counted = seen.counted;
            let more = to_come.map_or(0, |to_come| seen.attempts_to_come(to_come));
            let bad = counted.all - counted.good_most;
            let bad_most = counted.all - counted.good + more;
            Outlook { all: counted.all + more, bad, bad_most, bad_so_far: bad }
        }
    }
}

// === impl Outlook ===

impl Outlook {
    fn met_with(self, bad: u64, target: &Target) -> bool {
        number::ratio(self.all - bad, self.all).is_some_and(|share| target.met_by(&share))
    }

    /// What the target allows to be bad, exactly.
    fn budget(self, target: &Target) -> Exact {
        (number::whole(1) - &target.limit) * number::whole(self.all)
    }

    fn mostly_used(self, target: &Target) -> bool {
        let budget = self.budget(target);
        let (used, whole) = AT_RISK;
        let limit = &budget * number::whole(used) / number::whole(whole);
        budget > number::whole(0) && number::whole(self.bad_so_far) >= limit
    }

    /// `None` when there is nothing that could be bad.
    fn left(self, objective: &Objective) -> Option<Budget> {
        if self.all == 0 {
            return None;
        }
        let budget = self.budget(&objective.target);
        let allowed = match objective.target.operator {
            Operator::Above => budget.ceil() - number::whole(1),
            Operator::AtLeast | Operator::AtMost | Operator::Below => budget.floor(),
        };
        let left = i64::try_from((allowed - number::whole(self.bad_so_far)).to_integer()).ok()?;
        Some(match objective.measure {
            Measure::Availability => Budget::Seconds(left),
            Measure::Success | Measure::Within { .. } => Budget::Attempts(left),
        })
    }
}
