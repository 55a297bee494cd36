//! What breaches are worth: each line exact, at most its base, rounded once; then combined, capped and filled in order.
//! What is projected of an open period goes through the same steps.

use super::Judged;
use super::verdict::{CreditLine, CreditTotals};
use crate::contract::Agreement;
use crate::contract::model::{Combine, CreditRules, Kind, Objective, Terms};
use crate::contract::money::{Money, Rounding};
use crate::contract::number::{self, Exact};
use crate::contract::period::PeriodLabel;
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
    let share_of_period = period_share(agreement, label);
    let mut charged = BTreeSet::new();
    for Judged { objective, verdict, due } in judged.iter_mut().filter(|_| owed) {
        verdict.next_band = due.next.clone();
        let Some(rate) = due.rate.clone() else { continue };
        let Some(charge) = charge(terms, objective.service, &share_of_period) else { continue };
        let exact = (&rate * &charge).min(charge.clone());
        let rounding = terms.credits.rounding;
        let amount = Money::rounded(&exact, rounding);
        verdict.credit = Some(CreditLine { rate, base: Money::rounded(&charge, rounding), amount });
        charged.insert(objective.service);
    }
    let charges = charged.iter().filter_map(|service| charge(terms, *service, &share_of_period));
    let charges: Exact = charges.fold(number::whole(0), |sum, charge| sum + charge);
    combine(agreement, &charges, judged)
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
    CreditTotals { sum, payable, currency: agreement.terms().currency.clone() }
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

/// A service's charge for the period, in minor units: its monthly charge × months × the share that the term covers.
fn charge(terms: &Terms, service: usize, share_of_period: &Exact) -> Option<Exact> {
    let monthly = terms.services.get(service)?.monthly_charge.as_ref()?;
    Some(monthly.exact() * share_of_period)
}

/// Months in the period × the share of its dates that lie in the term.
fn period_share(agreement: &Agreement, label: PeriodLabel) -> Exact {
    let term = agreement.terms().term;
    let (mut dates, mut inside) = (0_u64, 0_u64);
    for date in label.dates(agreement.zone()) {
        dates += 1;
        inside += u64::from(term.covers(date));
    }
    let months = match label.kind().months() {
        Some(months) => number::ratio(months, 1),
        None => number::ratio(dates, DAYS_OF_A_MONTH),
    };
    let covered = number::ratio(inside, dates);
    months.zip(covered).map_or(number::whole(0), |(months, covered)| months * covered)
}
