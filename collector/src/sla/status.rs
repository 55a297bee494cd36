//! How a promise stands: kept or broken when its period is over, and what is already certain while it is not.

use super::band::{self, Due, Figures};
use super::burn::{self, Burn};
use super::measure::{Observation, in_ns};
use super::outlook::{self, Outlook};
use super::span::Spans;
use super::verdict::{Budget, Measured, Reason, Status};
use crate::contract::model::{Measure, Objective, UnknownAs};
use crate::contract::number::{self, Exact};

/// The judgement of one observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
    pub(super) band: Option<[Exact; 2]>,
    pub(super) coverage: Option<Exact>,
    pub(super) budget_left: Option<Budget>,
    pub(super) burn: Vec<Burn>,
    pub(super) due: Due,
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
    let outlook = Outlook::new(objective, seen, measured, to_come);
    let (status, reason) = if seconds.eligible + seconds.remaining.unwrap_or(0) == 0 {
        (Status::NotApplicable, None)
    } else if to_come.is_some() {
        (live(objective, seen, measured, outlook.as_ref()), None)
    } else {
        closed(objective, seen, measured, (coverage.as_ref(), band.as_ref()))
    };
    let outlook = outlook.filter(|_| status != Status::NotApplicable);
    let budget_left = outlook.and_then(|outlook| outlook.left(objective));
    let open = outlook.as_ref().filter(|_| to_come.is_some());
    let burn = open.map_or_else(Vec::new, |outlook| burn::burn(objective, seen, outlook));
    let figures = Figures { objective, seen, measured, outlook: outlook.as_ref() };
    let due = band::due(&figures, status, to_come.is_some());
    Standing { status, reason, band, coverage, budget_left, burn, due }
}

/// The lowest and the highest value of an availability or a downtime: with all Unknown time Down, and with all of it Up.
fn band(objective: &Objective, seen: &Observation) -> Option<[Exact; 2]> {
    let seconds = seen.seconds;
    if seconds.eligible == 0 {
        return None;
    }
    match &objective.measure {
        Measure::Availability => {
            let up = seconds.up + seen.excluded_as_up_s(objective);
            let all = up + seconds.down + seconds.unknown;
            Some([number::ratio(up, all)?, number::ratio(up + seconds.unknown, all)?])
        }
        Measure::Downtime => Some([seconds.down, seconds.down + seconds.unknown].map(in_ns)),
        Measure::LongestOutage
        | Measure::Outages
        | Measure::Success
        | Measure::Within { .. }
        | Measure::Percentile { .. }
        | Measure::Mean { .. }
        | Measure::Ratio(_)
        | Measure::MeanSuccess { .. }
        | Measure::GoodDays { .. } => None,
    }
}

fn closed(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    (coverage, band): (Option<&Exact>, Option<&[Exact; 2]>),
) -> (Status, Option<Reason>) {
    let inconclusive = |reason| (Status::Inconclusive, Some(reason));
    if seen.counted.all < objective.min_attempts {
        return inconclusive(Reason::Attempts);
    }
    let Some(measured) = measured else { return inconclusive(Reason::NoValue) };
    let target = &objective.target;
    let covered = coverage.is_some_and(|coverage| *coverage >= objective.unknown.coverage)
        || objective.unknown.counts_as != UnknownAs::Removed
        || band.is_some_and(|ends| {
            let [low, high] = ends.each_ref().map(|end| target.met_by(&objective.rounded(end)));
            low == high
        });
    if !covered {
        return inconclusive(Reason::Coverage);
    }
    match measured.meets(target) {
        (true, true) => (Status::Met, None),
        (false, false) => (Status::Breached, None),
        _ => inconclusive(Reason::Resolution),
    }
}

fn live(
    objective: &Objective,
    seen: &Observation,
    measured: Option<&Measured>,
    outlook: Option<&Outlook>,
) -> Status {
    if seen.seconds.up + seen.seconds.down == 0 {
        return Status::Pending;
    }
    let mut mostly_used = false;
    if let Some((outlook, promise)) = outlook.zip(outlook::promise(objective)) {
        if outlook.is_broken(&promise) {
            return Status::BreachCertain;
        }
        if outlook.is_kept(&promise) {
            return Status::MetCertain;
        }
        mostly_used = outlook.is_mostly_used(&promise);
    }
    let misses = measured.is_some_and(|measured| !measured.meets(&objective.target).1);
    if misses || mostly_used { Status::AtRisk } else { Status::OnTrack }
}
