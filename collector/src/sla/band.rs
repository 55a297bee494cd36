//! Which credit band a value has passed, and how far away the next one is.
//!
//! In a closed period it is passed or not. While a period is open, a band is passed when the value will have passed it at
//! the period's end even if nothing more goes wrong: so a projected credit appears with the last of the budget, and never
//! goes away by itself. A mean has no such end; it is taken as it is.

use super::measure::Observation;
use super::outlook::{self, Outlook};
use super::verdict::{Distance, Measured, NextBand, Status};
use crate::contract::model::{CreditForm, Good, Measure, Objective, Operator, Unit};
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
struct Step<'a> {
    rate: &'a Exact,
    threshold: Threshold<'a>,
    /// `None`: no value is known.
    margin: Option<Margin>,
}

/// What is true of a value that has passed it.
type Threshold<'a> = (Operator, &'a Exact);

/// How a value stands to a threshold.
#[derive(Clone, Debug)]
struct Margin {
    passed: bool,
    /// How much more must go wrong until it is passed, in s, attempts or the unit of a mean.
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
    let passed = |step: &&Step<'_>| step.margin.as_ref().is_some_and(|margin| margin.passed);
    let rate = steps.iter().rev().find(passed).map(|step| step.rate.clone());
    let next = if open { figures.next(&steps, rate.as_ref()) } else { None };
    Due { rate, next }
}

// === impl Figures ===

impl Figures<'_> {
    /// The steps of a credit, mildest first. Nothing is due before the promise is broken: a milder band begins with that.
    fn steps<'f>(&'f self, form: &'f CreditForm) -> Vec<Step<'f>> {
        let target = &self.objective.target;
        let breach = (0, (target.operator.negated(), &target.limit));
        let step = |rate, (number, threshold): (usize, Threshold<'f>)| Step {
            rate,
            threshold,
            margin: self.margin(number, threshold),
        };
        match form {
            CreditForm::Flat(rate) => vec![step(rate, breach)],
            CreditForm::Bands(bands) => {
                let steps = bands.iter().zip(1..).map(|(band, number)| {
                    let own = (number, (band.operator, &band.threshold));
                    let begin = if is_milder(own.1, breach.1) { breach } else { own };
                    step(&band.rate, begin)
                });
                steps.collect()
            }
        }
    }

    /// How the value stands to a threshold; `number` is its place among the objective's thresholds.
    fn margin(&self, number: usize, (operator, limit): Threshold<'_>) -> Option<Margin> {
        let Some(outlook) = self.outlook else {
            let Some(Measured::Mean(mean)) = self.measured else { return None };
            let away = match self.objective.measure.scale().good {
                Good::Low => limit - &mean.mean,
                Good::High => &mean.mean - limit,
            };
            let away = away.max(number::whole(0));
            let passed = operator.holds(&mean.mean, limit);
            return Some(Margin { passed, away, in_reach: true });
        };
        let (promise, bad, open) = match &self.objective.measure {
            Measure::Percentile { share, .. } => {
                let good = self.seen.counted.reach(number);
                let bad = self.seen.counted.all.saturating_sub(good.possible);
                let more = outlook.all - self.seen.counted.all;
                ((Operator::AtLeast, share.clone()), bad, more + good.possible - good.certain)
            }
            measure => {
                let kept = (operator.negated(), limit);
                let promise = outlook::of_good_ones(measure.scale().good, kept);
                (promise, outlook.bad_so_far, outlook.open)
            }
        };
        let left = outlook::allowed(&promise, outlook.all) - number::whole(bad);
        let away = (left + number::whole(1)).max(number::whole(0));
        let (passed, in_reach) = (away == number::whole(0), away <= number::whole(open));
        (outlook.all > 0).then_some(Margin { passed, away, in_reach })
    }

    /// The nearest step that costs more than `rate`; of several at once the most severe.
    fn next(&self, steps: &[Step<'_>], rate: Option<&Exact>) -> Option<NextBand> {
        let ahead = |step: &&Step<'_>| {
            let reachable = |margin: &Margin| !margin.passed && margin.in_reach;
            step.margin.as_ref().is_some_and(reachable) && Some(step.rate) > rate
        };
        let away = |step: &Step<'_>| step.margin.as_ref().map(|margin| margin.away.clone());
        let nearest = steps.iter().find(ahead)?;
        let distance = away(nearest)?;
        // What is bad is the same for every share, but for each threshold of samples another.
        let by_count = self.objective.measure.unit() == Unit::Share;
        let together = |step: &&Step<'_>| {
            step.threshold == nearest.threshold || (by_count && away(step) == away(nearest))
        };
        let step = steps.iter().rev().filter(ahead).find(together)?;
        let whole = u64::try_from(distance.to_integer()).unwrap_or(u64::MAX);
        let (operator, limit) = step.threshold;
        Some(NextBand {
            rate: step.rate.clone(),
            threshold: (operator, limit.clone()),
            away: match self.objective.measure {
                Measure::Availability => Distance::Seconds(whole),
                Measure::Mean { .. } => Distance::Value(distance),
                Measure::Success
                | Measure::Within { .. }
                | Measure::Percentile { .. }
                | Measure::Ratio(_) => Distance::Attempts(whole),
            },
        })
    }
}

/// True when a value passes the first threshold before the second.
fn is_milder(first: Threshold<'_>, second: Threshold<'_>) -> bool {
    let better = match first.0 {
        Operator::Below | Operator::AtMost => first.1.cmp(second.1),
        Operator::Above | Operator::AtLeast => second.1.cmp(first.1),
    };
    let includes_its_limit = matches!(first.0, Operator::AtMost | Operator::AtLeast);
    better.is_gt() || (better.is_eq() && includes_its_limit)
}
