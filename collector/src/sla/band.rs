//! What a breach costs by its rule: which credit band a value has passed, how many units there are, and how far away the
//! next band is.
//!
//! In a closed period a band is passed or not. While a period is open, it is passed when the value will have passed it at
//! the period's end even if nothing more goes wrong: so a projected credit appears with the last of the budget, and never
//! goes away by itself. A mean and good days have no such end; they are taken as they are.

use super::measure::{Observation, in_ns};
use super::outlook::{Outlook, Promise};
use super::verdict::{Distance, Measured, NextBand, Status};
use crate::contract::model::{
    Band, Credit, CreditForm, Good, Measure, Objective, Operator, Per, PerOf, Unit, Worth,
};
use crate::contract::number::{self, Exact};

/// What a judgement costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// `None` when nothing is due.
    pub(super) amount: Option<Amount>,
    /// What costs more, while the period is open.
    pub(super) next: Option<NextBand>,
}

/// What is due, before anybody knows what the service costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) worth: Worth,
    /// So many times.
    pub(super) units: Option<Exact>,
}

/// The figures that steps are measured by.
pub(super) struct Figures<'a> {
    pub(super) objective: &'a Objective,
    pub(super) seen: &'a Observation,
    pub(super) measured: Option<&'a Measured>,
    /// `None` for a mean and for good days.
    pub(super) outlook: Option<&'a Outlook>,
}

/// A value at which a breach begins to cost something, or more.
struct Step<'a> {
    worth: Worth,
    threshold: Threshold<'a>,
    /// The threshold is of Down time, in s, not of the value.
    by_downtime: bool,
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
    let Some(Credit { form, .. }) = &figures.objective.credit else { return Due::default() };
    if !open && status != Status::Breached {
        return Due::default();
    }
    let breached = !open || figures.breach().is_some_and(|margin| margin.passed);
    let steps = figures.steps(form);
    let amount = match form {
        CreditForm::Per(per) => figures.units(per).filter(|_| breached),
        CreditForm::Linear(factor) => figures.points(factor).filter(|_| breached),
        CreditForm::Flat(_)
        | CreditForm::Days(_)
        | CreditForm::Bands(_)
        | CreditForm::DownBands(_) => {
            let passed =
                |step: &&Step<'_>| step.margin.as_ref().is_some_and(|margin| margin.passed);
            let step = steps.iter().rev().find(passed).filter(|_| breached);
            step.map(|step| Amount { worth: step.worth.clone(), units: None })
        }
    };
    let next = if open { figures.next(&steps, amount.as_ref()) } else { None };
    Due { amount, next }
}

// === impl Figures ===

impl Figures<'_> {
    /// What is true of a value that breaks the promise.
    fn broken(&self) -> Threshold<'_> {
        (self.objective.target.operator.negated(), &self.objective.target.limit)
    }

    /// How far away the breach is.
    fn breach(&self) -> Option<Margin> {
        self.margin(0, self.broken())
    }

    /// The steps of a credit, mildest first; none where it grows with every unit. Nothing is due before the promise is
    /// broken: a milder band begins with that.
    fn steps<'f>(&'f self, form: &'f CreditForm) -> Vec<Step<'f>> {
        let breach = (0, self.broken());
        let step = |worth, (number, threshold): (usize, Threshold<'f>)| Step {
            worth,
            threshold,
            by_downtime: false,
            margin: self.margin(number, threshold),
        };
        match form {
            CreditForm::Flat(rate) => vec![step(Worth::Rate(rate.clone()), breach)],
            CreditForm::Days(days) => vec![step(Worth::Days(days.clone()), breach)],
            CreditForm::Bands(bands) => {
                let steps = bands.iter().zip(1..).map(|(band, number)| {
                    let own = (number, (band.operator, &band.threshold));
                    let begin = if is_milder(own.1, breach.1) { breach } else { own };
                    step(Worth::Rate(band.rate.clone()), begin)
                });
                steps.collect()
            }
            CreditForm::DownBands(bands) => bands.iter().map(|band| self.down_step(band)).collect(),
            CreditForm::Per(_) | CreditForm::Linear(_) => Vec::new(),
        }
    }

    /// A step by Down time.
    fn down_step<'f>(&'f self, band: &'f Band) -> Step<'f> {
        let down = number::whole(self.down_s());
        let threshold = (band.operator, &band.threshold);
        // Down time comes in whole seconds: so many more until it is above, or at least, the threshold.
        let needed = match band.operator {
            Operator::Above | Operator::Below => band.threshold.floor() + number::whole(1),
            Operator::AtLeast | Operator::AtMost => band.threshold.ceil(),
        };
        let open = self.seen.undecided_at_most_s();
        let away = (needed - &down).max(number::whole(0));
        let margin = Margin {
            passed: band.operator.holds(&down, &band.threshold),
            in_reach: away <= number::whole(open),
            away,
        };
        let worth = Worth::Rate(band.rate.clone());
        Step { worth, threshold, by_downtime: true, margin: Some(margin) }
    }

    /// The period's Down time, in s; what is Unknown belongs to it where that is agreed.
    fn down_s(&self) -> u64 {
        self.seen.down_s(self.objective)
    }

    /// The units of a credit that is paid by them; `None` when there is none.
    fn units(&self, per: &Per) -> Option<Amount> {
        let amount = match per.of {
            PerOf::Downtime => number::whole(self.down_s()),
            PerOf::FailedDays => number::whole(self.seen.failed_days),
            PerOf::ExcessDowntime => {
                let outlook = self.outlook?;
                let Objective { measure, target, .. } = self.objective;
                let promise = Promise::of_value(measure, (target.operator, &target.limit))?;
                let budget = promise.budget(outlook.all);
                (number::whole(outlook.bad_so_far) - budget).max(number::whole(0))
            }
        };
        let units = per.units(&amount);
        (units > number::whole(0)).then(|| Amount { worth: per.pays.clone(), units: Some(units) })
    }

    /// The credit of points missed, as a share; `None` when there is none.
    fn points(&self, factor: &Exact) -> Option<Amount> {
        let limit = &self.objective.target.limit;
        let good = self.objective.measure.scale().good;
        let value = match (self.outlook, self.measured) {
            (Some(outlook), _) => {
                let bad = number::ratio(outlook.bad_so_far, outlook.all)?;
                let value = if good == Good::Low { bad } else { number::whole(1) - bad };
                self.objective.rounded(&value)
            }
            (None, measured) => measured?.at_best()?,
        };
        let missed = if good == Good::Low { value - limit } else { limit - value };
        let rate = factor * missed / number::whole(self.objective.measure.unit().in_one());
        let rate = rate.min(number::whole(1));
        (rate > number::whole(0)).then_some(Amount { worth: Worth::Rate(rate), units: None })
    }

    /// How the value stands to a threshold; `number` is its place among the objective's thresholds.
    fn margin(&self, number: usize, (operator, limit): Threshold<'_>) -> Option<Margin> {
        let Some(outlook) = self.outlook else {
            let value = self.measured?.at_best()?;
            let away = match self.objective.measure.scale().good {
                Good::Low => limit - &value,
                Good::High => &value - limit,
            };
            let away = away.max(number::whole(0));
            let passed = operator.holds(&value, limit);
            return Some(Margin { passed, away, in_reach: true });
        };
        let (promise, bad, open) = match &self.objective.measure {
            Measure::Percentile { share, .. } => {
                let good = self.seen.counted.reach(number);
                let bad = self.seen.counted.all.saturating_sub(good.possible);
                let more = outlook.all - self.seen.counted.all;
                let promise = Promise::Good(Operator::AtLeast, share.clone());
                (promise, bad, more + good.possible - good.certain)
            }
            measure => {
                let (operator, limit) = self.objective.before_rounding((operator, limit));
                let promise = Promise::of_value(measure, (operator.negated(), &limit))?;
                (promise, outlook.bad_so_far, outlook.open)
            }
        };
        let left = promise.allowed(outlook.all) - number::whole(bad);
        let away = (left + number::whole(1)).max(number::whole(0));
        let (passed, in_reach) = (away == number::whole(0), away <= number::whole(open));
        (outlook.all > 0).then_some(Margin { passed, away, in_reach })
    }

    /// The nearest step that costs more than what is due; of several at once the most severe.
    fn next(&self, steps: &[Step<'_>], due: Option<&Amount>) -> Option<NextBand> {
        let rate = |worth: &Worth| match worth {
            Worth::Rate(of) | Worth::Days(of) => of.clone(),
        };
        let paid = due.map(|due| rate(&due.worth));
        let ahead = |step: &&Step<'_>| {
            let reachable = |margin: &Margin| !margin.passed && margin.in_reach;
            let margin = step.margin.as_ref();
            margin.is_some_and(reachable) && Some(rate(&step.worth)) > paid
        };
        let away = |step: &Step<'_>| step.margin.as_ref().map(|margin| margin.away.clone());
        let nearest = steps.iter().find(ahead)?;
        let distance = away(nearest)?;
        // What is bad is the same for every share, but for each threshold of samples another.
        let by_count = self.objective.measure.phase().is_none()
            || self.objective.measure.unit() == Unit::Share;
        let together = |step: &&Step<'_>| {
            step.threshold == nearest.threshold || (by_count && away(step) == away(nearest))
        };
        let step = steps.iter().rev().filter(ahead).find(together)?;
        // Down time alone costs nothing before the promise is broken.
        if step.by_downtime && !self.breach().is_some_and(|margin| margin.passed) {
            return None;
        }
        let whole = u64::try_from(distance.to_integer()).unwrap_or(u64::MAX);
        let (operator, limit) = step.threshold;
        Some(NextBand {
            worth: step.worth.clone(),
            by_downtime: step.by_downtime,
            threshold: (operator, limit.clone()),
            away: match self.objective.measure {
                _ if step.by_downtime => Distance::Seconds(whole),
                Measure::Availability | Measure::Downtime => Distance::Seconds(whole),
                Measure::LongestOutage => Distance::Value(in_ns(whole)),
                Measure::Outages
                | Measure::Mean { .. }
                | Measure::MeanSuccess { .. }
                | Measure::GoodDays { .. } => Distance::Value(distance),
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
