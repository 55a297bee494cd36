//! What breaches are worth: each line exact, at most its base, rounded once; then combined, capped and filled in order.
//! What is projected of an open period goes through the same steps.

use super::band::Amount;
use super::court::Judged;
use super::verdict::{CreditLine, CreditTotals};
use crate::contract::Agreement;
use crate::contract::model::{
    Base, Claim, Combine, Credit, CreditRules, DayFraction, Kind, Objective, Worth,
};
use crate::contract::money::{Money, Rounding};
use crate::contract::number::{self, Exact};
use crate::contract::period::{PeriodLabel, end_of_date_at};
use std::collections::BTreeSet;

/// Days of a month, where a day is priced.
const DAYS_OF_A_MONTH: u64 = 30;

/// Fills in the credits of judged objectives, and adds them up.
pub(super) fn settle(
    agreement: &Agreement,
    label: PeriodLabel,
    signed: bool,
    judged: &mut [Judged<'_>],
) -> CreditTotals {
    let terms = agreement.terms();
    let owed = signed && matches!(terms.kind, Kind::Sla | Kind::Underpinning);
    let prices = Prices::of(agreement, label);
    let mut charged = BTreeSet::new();
    for Judged { objective, verdict, due } in judged.iter_mut().filter(|_| owed) {
        verdict.next_band = due.next.clone();
        let Some((amount, credit)) = due.amount.as_ref().zip(objective.credit.as_ref()) else {
            continue;
        };
        let Some((exact, base)) = prices.line(objective, credit, amount) else { continue };
        let rounding = terms.credits.rounding;
        verdict.credit = Some(CreditLine {
            worth: amount.worth.clone(),
            units: amount.units.clone(),
            base: Money::rounded(&base, rounding),
            amount: Money::rounded(&exact, rounding),
        });
        charged.insert(objective.service);
    }
    let charges = charged.iter().filter_map(|service| prices.charge(*service));
    let charges: Exact = charges.fold(number::whole(0), |sum, charge| sum + charge);
    let mut totals = combine(agreement, &charges, judged);
    if totals.payable > Money::zero() {
        totals.claim_until_s = claim_until_s(agreement, label);
    }
    totals
}

/// The instant from which on a credit can no longer be asked for: the end of the local day on which its time runs out.
fn claim_until_s(agreement: &Agreement, label: PeriodLabel) -> Option<i64> {
    let Claim::WithinS(within_s) = agreement.terms().credits.claim else { return None };
    let end_s = label.span(agreement.zone()).ok()?.until_s;
    end_of_date_at(end_s.checked_add_unsigned(within_s)?, agreement.zone())
}

/// Lines to totals: combination, cap, minimum; then lines are filled in priority order up to what is payable.
fn combine(agreement: &Agreement, charges: &Exact, judged: &mut [Judged<'_>]) -> CreditTotals {
    let rules = &agreement.terms().credits;
    let mut lines: Vec<(usize, &mut CreditLine)> = judged
        .iter_mut()
        .enumerate()
        .filter_map(|(index, judged)| {
            let rank = rank(rules, judged.objective, index);
            judged.verdict.credit.as_mut().map(|line| (rank, line))
        })
        .collect();
    lines.sort_by_key(|(rank, _)| *rank);
    let sum = lines.iter().fold(Money::zero(), |sum, (_, line)| sum.plus(&line.amount));
    let combined = match rules.combine {
        Combine::Sum => sum.clone(),
        Combine::Max => keep_largest(&mut lines),
    };
    let cap = rules.cap.as_ref().map(|share| Money::rounded(&(share * charges), Rounding::Down));
    let capped = cap.map_or(combined.clone(), |cap| combined.min(cap));
    let payable = match &rules.minimum {
        Some(minimum) if capped < *minimum => Money::zero(),
        _ => capped,
    };
    let mut left = payable.clone();
    for (_, line) in lines {
        line.amount = line.amount.clone().min(left.clone());
        left = left.less(&line.amount);
    }
    let currency = agreement.terms().currency.clone();
    CreditTotals { sum, payable, currency, claim_until_s: None }
}

/// Named objectives first, in their order; the others follow in the order of the agreement.
fn rank(rules: &CreditRules, objective: &Objective, index: usize) -> usize {
    let named = rules.priority.iter().position(|name| *name == objective.name);
    named.unwrap_or(rules.priority.len() + index)
}

/// The largest line stays, of equals the first; the others get nothing.
fn keep_largest(lines: &mut [(usize, &mut CreditLine)]) -> Money {
    let largest = lines.iter().map(|(_, line)| line.amount.clone()).max().unwrap_or(Money::zero());
    let keeper = lines.iter().position(|(_, line)| line.amount == largest);
    for (index, (_, line)) in lines.iter_mut().enumerate() {
        if Some(index) != keeper {
            line.amount = Money::zero();
        }
    }
    largest
}

/// What things cost in a period, in minor units.
struct Prices<'a> {
    agreement: &'a Agreement,
    /// Months in the period; a date is a thirtieth of one where the period is not made of months.
    months: Exact,
    /// Its dates.
    dates: Exact,
    /// The share of its dates that lies in the term.
    covered: Exact,
}

impl<'a> Prices<'a> {
    fn of(agreement: &'a Agreement, label: PeriodLabel) -> Self {
        let term = agreement.terms().term;
        let (mut dates, mut inside) = (0_u64, 0_u64);
        for date in label.dates(agreement.zone()) {
            dates += 1;
            inside += u64::from(term.covers(date));
        }
        let dates = dates.max(1);
        let months = match label.kind().months() {
            Some(months) => number::whole(months),
            None => number::whole(dates) / number::whole(DAYS_OF_A_MONTH),
        };
        let covered = number::whole(inside) / number::whole(dates);
        Self { agreement, months, dates: number::whole(dates), covered }
    }

    fn monthly(&self, service: usize) -> Option<Exact> {
        let service = self.agreement.terms().services.get(service)?;
        Some(service.monthly_charge.as_ref()?.exact())
    }

    /// A service's charge for the period: its monthly charge × months × the share that the term covers.
    fn charge(&self, service: usize) -> Option<Exact> {
        Some(self.monthly(service)? * &self.months * &self.covered)
    }

    /// One day of a service.
    fn day(&self, service: usize, fraction: DayFraction) -> Option<Exact> {
        let monthly = self.monthly(service)?;
        Some(match fraction {
            DayFraction::Thirtieth => monthly / number::whole(DAYS_OF_A_MONTH),
            DayFraction::Actual => monthly * &self.months / &self.dates,
        })
    }

    fn base(&self, service: usize, base: &Base) -> Option<Exact> {
        match base {
            Base::Charge => self.charge(service),
            Base::Amount(amount) => Some(amount.exact()),
            Base::GreaterOf(bases) => bases.iter().map(|base| self.base(service, base)).max()?,
        }
    }

    /// What a line is worth exactly, and its base, which it does not exceed.
    fn line(
        &self,
        objective: &Objective,
        credit: &Credit,
        amount: &Amount,
    ) -> Option<(Exact, Exact)> {
        let (one, base) = match &amount.worth {
            Worth::Rate(rate) => {
                let base = self.base(objective.service, &credit.base)?;
                (rate * &base, base)
            }
            Worth::Days(days) => {
                let day = self.day(objective.service, credit.day)?;
                (days * day, self.charge(objective.service)?)
            }
        };
        let exact = match &amount.units {
            Some(units) => one * units,
            None => one,
        };
        Some((exact.min(base.clone()), base))
    }
}
