//! What a breach is worth, how several credits become one payment, and when the customer may terminate.

use super::Section;
use super::frame::titled;
use super::words::{all_of, amount, compared, count, figure, money, nanoseconds, percent, seconds};
use crate::contract::Agreement;
use crate::contract::model::{
    Band, Base, Claim, Combine, Credit, CreditForm, CreditRules, DayFraction, Kind, MeanOf,
    Objective, Per, PerCount, PerOf, TerminationRule, Terms, Worth,
};
use crate::contract::money::{Currency, Rounding};
use crate::contract::number::{self, Exact};
use probefleet_proto::units::NS_PER_S;

/// The clauses on the credit of a promise.
pub(super) fn clauses(
    agreement: &Agreement,
    promise: &Objective,
    credit: &Credit,
    section: &mut Section,
) {
    let unit = promise.measure.unit();
    let currency = &agreement.terms().currency;
    match &credit.form {
        CreditForm::Flat(share) => {
            section.say(format!("A breach gives a credit of {} of the base.", percent(share)));
        }
        CreditForm::Days(days) => {
            section.say(format!("A breach gives a credit of {}.", amount(days, "day")));
        }
        CreditForm::Bands(bands) => section.list(
            "A breach gives a credit by the value that was measured: of these bands that of the most severe one that \
             the value has passed, as a share of the base; without such a band, none.",
            bands.iter().map(|band| self::band(band, |limit| figure(unit, limit))).collect(),
        ),
        CreditForm::DownBands(bands) => section.list(
            "A breach gives a credit by the Down time of the period: of these bands that of the most severe one that \
             the Down time has passed, as a share of the base; without such a band, none.",
            bands.iter().map(|band| self::band(band, in_seconds)).collect(),
        ),
        CreditForm::Per(per) => section.say(self::per(per)),
        CreditForm::Linear(factor) => section.say(format!(
            "For each percentage point by which the value misses its target, a breach gives a credit of {} of the \
             base; parts of a point count in proportion.",
            amount(factor, "percentage point")
        )),
    }
    if credit.form.is_in_days() {
        let day = match credit.day {
            DayFraction::Thirtieth => "a thirtieth of the monthly charge",
            DayFraction::Actual => "the charge for the period divided by its dates",
        };
        let service = agreement.service_of(promise).map(titled).unwrap_or_default();
        section.say(format!(
            "A day is worth {day} of {service}. The credit is at most the charge for the period."
        ));
    } else {
        let service = agreement.service_of(promise).map(titled).unwrap_or_default();
        section.say(format!(
            "The base is {}. The credit is at most the base.",
            base(&credit.base, &service, currency)
        ));
    }
}

fn band(band: &Band, words: impl Fn(&Exact) -> String) -> String {
    format!("{}: {}", compared(band.operator, &words(&band.threshold)), percent(&band.rate))
}

fn in_seconds(limit_s: &Exact) -> String {
    nanoseconds(&(limit_s * number::whole(NS_PER_S)))
}

fn base(base: &Base, service: &str, currency: &Currency) -> String {
    match base {
        Base::Charge => format!("the charge for the period of {service}"),
        Base::Amount(amount) => format!("{} for the whole period", money(amount, currency)),
        Base::GreaterOf(bases) => {
            let bases: Vec<String> =
                bases.iter().map(|base| self::base(base, service, currency)).collect();
            format!("the greatest of these: {}", all_of(&bases))
        }
    }
}

fn per(per: &Per) -> String {
    let worth = match &per.pays {
        Worth::Rate(rate) => format!("{} of the base", percent(rate)),
        Worth::Days(days) => amount(days, "day"),
    };
    let (unit, of) = match per.of {
        PerOf::Downtime => (in_seconds(&per.every), "of Down time in the period"),
        PerOf::ExcessDowntime => {
            (in_seconds(&per.every), "of Down time beyond what the target allows")
        }
        PerOf::FailedDays => {
            (amount(&per.every, "date"), "of the period on which the target is missed by itself")
        }
    };
    let round = match per.round_s {
        Some(step_s) => format!(
            " What is counted is first rounded to the nearest multiple of {}, and up where it lies in the middle.",
            seconds(step_s)
        ),
        None => String::new(),
    };
    let parts = match per.count {
        PerCount::Up => "A unit that has begun counts in full.",
        PerCount::Down => "A unit that is not complete does not count.",
        PerCount::Prorata => "Parts of a unit count in proportion.",
    };
    format!("For each {unit} {of}, a breach gives a credit of {worth}.{round} {parts}")
}

// === all credits of a period ===

/// How the credits of a period become one payment.
pub(super) fn rules(agreement: &Agreement) -> Section {
    let terms = agreement.terms();
    let mut section = Section::new("credits", "Credits of a period");
    let carries = |objective: &&Objective| objective.credit.is_some();
    if !agreement.objectives().iter().any(|objective| carries(&objective)) {
        section.say("No promise carries a credit.");
        return section;
    }
    section.say(match terms.kind {
        Kind::Sla | Kind::Underpinning => {
            "A credit is given for a breach only, never for a period without a verdict."
        }
        Kind::Ola => "Between parts of one house, the credits that are named here are not given.",
    });
    section.say(
        "The charge for a period is the monthly charge times its months, where a day counts as a thirtieth of a month and \
         a week as seven; for a period that lies in the term in part, in proportion to its dates.",
    );
    for clause in payment(agreement, &terms.credits) {
        section.say(clause);
    }
    section
}

/// From lines to what is paid, in the order of the steps.
fn payment(agreement: &Agreement, rules: &CreditRules) -> Vec<String> {
    let currency = &agreement.terms().currency;
    let rounding = match rules.rounding {
        Rounding::HalfAwayFromZero => "to the nearest, and up where it lies in the middle",
        Rounding::HalfEven => "to the nearest, and to the even one where it lies in the middle",
        Rounding::Down => "down",
    };
    let order = order(agreement, rules);
    let combined = match rules.combine {
        Combine::Sum => "The credits of a period are added up.".to_owned(),
        Combine::Max => {
            "Of the credits of a period only the largest is given; of equal ones, the first."
                .to_owned()
        }
    };
    let cap = match &rules.cap {
        Some(cap) => format!(
            "All of them together are at most {} of the period's charges of the services that have a credit in it, each \
             counted once, cut to a whole minor unit.",
            percent(cap)
        ),
        None => "There is no limit to all of them together.".to_owned(),
    };
    let minimum = rules
        .minimum
        .as_ref()
        .map(|minimum| format!("A total of less than {} is not paid.", money(minimum, currency)));
    let claim = match rules.claim {
        Claim::Automatic => "Credits are given without being asked for.".to_owned(),
        Claim::WithinS(within_s) => format!(
            "A credit is given only where it is claimed in time: within {} after the end of the period, and until the \
             end of the date on which that time runs out.",
            seconds(within_s)
        ),
    };
    let remedy = if rules.sole_remedy {
        "Credits are the only remedy for a breach."
    } else {
        "Credits do not take the place of other remedies."
    };
    let first = [
        format!("Each credit is rounded to a whole minor unit of {}, {rounding}.", currency.code()),
        combined,
        cap,
    ];
    first.into_iter().chain(minimum).chain(order).chain([claim, remedy.to_owned()]).collect()
}

/// Whose credits are filled first; nothing where there is only one.
fn order(agreement: &Agreement, rules: &CreditRules) -> Option<String> {
    let carries = |name: &&str| {
        agreement
            .objectives()
            .iter()
            .any(|objective| objective.name.as_str() == *name && objective.credit.is_some())
    };
    let named = rules.priority.iter().map(AsRef::as_ref);
    let all = agreement.objectives().iter().map(|objective| objective.name.as_str());
    let mut names: Vec<&str> = Vec::new();
    for name in named.chain(all).filter(carries) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (names.len() > 1).then(|| {
        format!(
            "Where not all can be paid in full, they are paid in this order: {}.",
            names.join(", ")
        )
    })
}

// === termination ===

/// What lets the customer terminate.
pub(super) fn termination(terms: &Terms) -> Section {
    let mut section = Section::new("termination", "Right to terminate");
    if terms.termination.is_empty() {
        section.say("Breaches give no right to terminate under this agreement.");
        return section;
    }
    section.list(
        "The customer may terminate when one of these is so:",
        terms.termination.iter().map(right).collect(),
    );
    section.say(
        "A period is breached when a promise that carries a credit is, and met when all of those are. Periods that are \
         neither are left out before they are counted.",
    );
    section
}

fn right(rule: &TerminationRule) -> String {
    match rule {
        TerminationRule::OfLast { breached, of_last } => {
            let verb = if *breached == 1 { "is" } else { "are" };
            format!("of the last {} {breached} {verb} breached", count(*of_last, "period"))
        }
        TerminationRule::Consecutive(periods) => {
            format!("{} in a row are breached", count(*periods, "period"))
        }
        TerminationRule::MeanBelow { objective, below, over, combine } => {
            let mean = match combine {
                MeanOf::Periods => "the mean of the periods' values",
                MeanOf::Pooled => {
                    "what all periods together come to, the sum of their numerators over that of their denominators,"
                }
            };
            format!(
                "of the promise {objective} {mean} is less than {} over the last {}",
                percent(below),
                count(*over, "period")
            )
        }
    }
}
