//! Whether the customer may terminate: by a row of periods, the latest first, of which those without a verdict are left
//! out before it is looked at.

use super::verdict::{Intervals, Measured, ObjectiveVerdict, Share, Status};
use crate::contract::model::{MeanOf, Objective, TerminationRule};
use crate::contract::number::{self, Exact};
use probefleet_proto::name::Name;

/// One closed period, as far as a right can follow from it.
#[derive(Clone, Debug)]
pub(super) struct Closed {
    /// Some objective that carries a credit is breached; `None` without a verdict.
    breached: Option<bool>,
    /// The shares of its objectives that have a verdict.
    shares: Vec<(Name, Part)>,
}

/// A share with what it was of.
#[derive(Clone, Debug)]
struct Part {
    share: Exact,
    good: Exact,
    all: Exact,
}

impl Part {
    /// `None` of what is no share.
    fn of(measured: &Measured) -> Option<Self> {
        match measured {
            Measured::Share(Share { share, numerator, denominator, .. }) => Some(Self {
                share: share.clone(),
                good: number::whole(*numerator),
                all: number::whole(*denominator),
            }),
            Measured::Intervals(Intervals { mean, exact, all, .. }) => {
                let all = number::whole(*all);
                Some(Self { share: mean.clone(), good: exact * &all, all })
            }
            Measured::Percentile(_) | Measured::Mean(_) | Measured::Amount(_) => None,
        }
    }
}

impl Closed {
    /// What the judgements of a closed period come to.
    pub(super) fn new<'a>(
        judged: impl Iterator<Item = (&'a Objective, &'a ObjectiveVerdict)>,
    ) -> Self {
        let (mut statuses, mut shares) = (Vec::new(), Vec::new());
        for (objective, verdict) in judged {
            if objective.credit.is_some() {
                statuses.push(verdict.status);
            }
            let decided = matches!(verdict.status, Status::Met | Status::Breached);
            let value = verdict.value.as_ref().filter(|_| decided);
            shares.extend(value.and_then(Part::of).map(|part| (objective.name.clone(), part)));
        }
        let met = |status: &Status| matches!(status, Status::Met | Status::NotApplicable);
        let breached = if statuses.contains(&Status::Breached) {
            Some(true)
        } else {
            (statuses.contains(&Status::Met) && statuses.iter().all(met)).then_some(false)
        };
        Self { breached, shares }
    }

    fn share_of(&self, objective: &Name) -> Option<&Part> {
        self.shares.iter().find(|(name, _)| name == objective).map(|(_, share)| share)
    }
}

/// True when one of the rules gives the right after these periods, the latest first.
pub(super) fn is_open(rules: &[TerminationRule], row: &[Closed]) -> bool {
    rules.iter().any(|rule| opens(rule, row))
}

/// True when no earlier period can change what the rules say.
pub(super) fn is_long_enough(rules: &[TerminationRule], row: &[Closed]) -> bool {
    let verdicts = row.iter().filter(|period| period.breached.is_some()).count();
    rules.iter().all(|rule| match rule {
        TerminationRule::OfLast { of_last, .. } => at_least(verdicts, *of_last),
        TerminationRule::Consecutive(periods) => at_least(verdicts, *periods),
        TerminationRule::MeanBelow { objective, over, .. } => {
            at_least(row.iter().filter_map(|period| period.share_of(objective)).count(), *over)
        }
    })
}

fn at_least(count: usize, wanted: u64) -> bool {
    u64::try_from(count).is_ok_and(|count| count >= wanted)
}

fn opens(rule: &TerminationRule, row: &[Closed]) -> bool {
    match rule {
        TerminationRule::OfLast { breached, of_last } => breached_of(row, *of_last) >= *breached,
        TerminationRule::Consecutive(periods) => breached_of(row, *periods) >= *periods,
        TerminationRule::MeanBelow { objective, below, over, combine } => {
            let over = usize::try_from(*over).unwrap_or(usize::MAX);
            let shares: Vec<&Part> =
                row.iter().filter_map(|period| period.share_of(objective)).take(over).collect();
            let mean = mean(&shares, *combine).filter(|_| shares.len() == over);
            mean.is_some_and(|mean| mean < *below)
        }
    }
}

/// How many of the last so many that have a verdict are breached.
fn breached_of(row: &[Closed], last: u64) -> u64 {
    let last = usize::try_from(last).unwrap_or(usize::MAX);
    row.iter().filter_map(|period| period.breached).take(last).map(u64::from).sum()
}

fn mean(shares: &[&Part], combine: MeanOf) -> Option<Exact> {
    let sum = |of: fn(&Part) -> &Exact| {
        shares.iter().fold(number::whole(0), |sum, share| sum + of(share))
    };
    let (good, all) = match combine {
        MeanOf::Pooled => (sum(|it| &it.good), sum(|it| &it.all)),
        MeanOf::Periods => (sum(|it| &it.share), number::whole(shares.len())),
    };
    (all > number::whole(0)).then(|| good / all)
}
