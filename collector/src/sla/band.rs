//! Which credit band a value has passed, and how far away the next one is.
//!
//! In a closed period it is passed or not. While a period is open, a band is passed when the value will have passed it at
//! the period's end even if nothing more goes wrong: so a projected credit appears with the last of the budget, and never
//! goes away by itself. A mean has no such end; it is taken as it is.

use super::measure::Observation;
use super::outlook::{self, Outlook};
use super::verdict::{Distance, Measured, NextBand, Status};
use crate::contract::model::{CreditForm, Measure, Objective, Operator};
use crate::contract::number::{self, Exact};

/// What a judgement costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// The share of the base; `None` when nothing is due.
    pub(super) rate: Option<Exact>,
    /// What costs more, while the period is open.
    pub(super) next: Option<NextBand>,
}

/// The figures that steps are measured by.
pub(super) struct Figures<'a> {
    pub(super) objective: &'a Objective,
    pub(super) seen: &'a Observation,
    pub(super) measured: Option<&'a Measured>,
    /// `None` for a mean.
    pub(super) outlook: Option<&'a Outlook>,
}

/// A value at which a breach begins to cost something, or more.
struct Step {
    rate: Exact,
    threshold: (Operator, Exact),
    /// `None`: no value is known.
    margin: Option<Margin>,
}

/// How a value stands to a threshold.
#[derive(Clone, Debug)]
struct Margin {
    passed: bool,
    /// How much more must go wrong until it is passed, in s, attempts or ns.
    away: Exact,
    /// As much can still go wrong.
    in_reach: bool,
}

/// What is due in a closed period, or projected in an open one.
pub(super) fn due(figures: &Figures<'_>, status: Status, open: bool) -> Due {
    let Some(form) = &figures.objective.credit else { return Due::default() };
    if !open && status != Status::Breached {
        return Due::default();
    }
    let steps = figures.steps(form);
    let passed = |step: &&Step| step.margin.as_ref().is_some_and(|margin| margin.passed);
    let rate = steps.iter().rev().find(passed).map(|step| step.rate.clone());
    let next = if open { figures.next(&steps, rate.as_ref()) } else { None };
    Due { rate, next }
}

// === impl Figures ===

impl Figures<'_> {
    /// The steps of a credit, mildest first. Nothing is due before the promise is broken, whatever a band says.
    fn steps(&self, form: &CreditForm) -> Vec<Step> {
        let target = &self.objective.target;
        let broken = (target.operator.negated(), &target.limit);
        let breach = self.margin(0, broken);
        let step = |rate: &Exact, (operator, limit): (Operator, &Exact), margin| Step {
            rate: rate.clone(),
            threshold: (operator, limit.clone()),
            margin,
        };
        match form {
            CreditForm::Flat(rate) => vec![step(rate, broken, breach)],
            CreditForm::Bands(bands) => {
                let steps = bands.iter().enumerate().map(|(index, band)| {
                    let threshold = (band.operator, &band.threshold);
                    let own = self.margin(index + 1, threshold);
                    let both = breach.clone().zip(own).map(|(breach, own)| breach.and(own));
                    step(&band.rate, threshold, both)
                });
                steps.collect()
            }
        }
    }

    /// How the value stands to a threshold; `number` is its place among the objective's thresholds.
    fn margin(&self, number: usize, (operator, limit): (Operator, &Exact)) -> Option<Margin> {
        let Some(outlook) = self.outlook else {
            let Some(Measured::Mean(mean)) = self.measured else { return None };
            let away = (limit - &mean.mean_ns).max(number::whole(0));
            let passed = operator.holds(&mean.mean_ns, limit);
            return Some(Margin { passed, away, in_reach: true });
        };
        let (promise, bad, open) = match &self.objective.measure {
            Measure::Percentile { share, .. } => {
                let good = self.seen.counted.reach(number);
                let bad = self.seen.counted.all.saturating_sub(good.possible);
                let more = outlook.all - self.seen.counted.all;
                ((Operator::AtLeast, share), bad, more + good.possible - good.certain)
            }
            _ => ((operator.negated(), limit), outlook.bad_so_far, outlook.open),
        };
        let left = outlook::allowed(promise, outlook.all) - number::whole(bad);
        let away = (left + number::whole(1)).max(number::whole(0));
        let (passed, in_reach) = (away == number::whole(0), away <= number::whole(open));
        (outlook.all > 0).then_some(Margin { passed, away, in_reach })
    }

    /// The nearest step that costs more than `rate`; of several at once the most severe.
    fn next(&self, steps: &[Step], rate: Option<&Exact>) -> Option<NextBand> {
        let ahead = |step: &&Step| {
            let reachable = |margin: &Margin| !margin.passed && margin.in_reach;
            step.margin.as_ref().is_some_and(reachable) && Some(&step.rate) > rate
        };
        let away = |step: &Step| step.margin.as_ref().map(|margin| margin.away.clone());
        let nearest = steps.iter().find(ahead).and_then(away)?;
        let together = |step: &&Step| away(step).as_ref() == Some(&nearest);
        let step = steps.iter().rev().filter(ahead).find(together)?;
        let whole = u64::try_from(nearest.to_integer()).unwrap_or(u64::MAX);
        Some(NextBand {
            rate: step.rate.clone(),
            threshold: step.threshold.clone(),
            away: match self.objective.measure {
                Measure::Availability => Distance::Seconds(whole),
                Measure::Mean { .. } => Distance::Duration(nearest),
                _ => Distance::Attempts(whole),
            },
        })
    }
}

// === impl Margin ===

impl Margin {
    /// How far it is until both thresholds are passed.
    fn and(self, other: Self) -> Self {
        Self {
            passed: self.passed && other.passed,
            away: self.away.max(other.away),
            in_reach: self.in_reach && other.in_reach,
        }
    }
}
