//! What is wrong or unwise in an agreement that can be read.

mod plan;

use super::model::{
    Band, CreditForm, ExclusionRule, Failures, Good, Kind, Measure, Objective, Operator, Scale,
    TerminationRule, Terms, Unit, UnknownAs, Vantages,
};
use super::number::{self, Exact};
use super::parse::{Placed, Read};
use super::period::PeriodKind;
use probefleet_proto::name::Name;
use probefleet_proto::plan::Plan;
use probefleet_proto::units::seconds_text;
use probefleet_proto::yaml::Problems;

/// The label that every agent has: its name.
const AGENT_LABEL: &str = "agent";

/// Reports what is wrong and what is unwise; without a plan, names and intervals stay unchecked.
pub(super) fn check(
    read: &Read,
    plan: Option<&Plan>,
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    if read.terms.kind == Kind::Sla && read.terms.parties.customer.is_none() {
        let cure = "name the customer; without one, nobody was promised anything";
        warnings.report::<()>(read.parties_at, "no-customer", "an sla without a customer", cure);
    }
    for name in &read.terms.credits.priority {
        if !read.objectives.iter().any(|placed| placed.objective.name == *name) {
            let message = format!("`priority` names `{name}`, which is no objective");
            problems.report::<()>(
                read.credits_at,
                "unknown-objective",
                message,
                "name objectives of this agreement",
            );
        }
    }
    termination(read, problems, warnings);
    ambiguous(read, problems);
    for placed in &read.objectives {
        if placed.inherited {
            // The rest is said of the file that it stands in; what it costs, this one says.
            let here = Placed { at: read.parent_at, ..placed.clone() };
            charge(&here, &read.terms, problems, warnings);
            continue;
        }
        charge(placed, &read.terms, problems, warnings);
        wisdom(placed, warnings);
        vantages(placed, &read.terms, warnings);
        exclusions(placed, &read.terms, warnings);
        mean_alone(placed, &read.objectives, warnings);
        if let Some(plan) = plan {
            plan::against(placed, plan, problems, warnings);
        }
    }
}

/// The label of a month means one stretch of time: a calendar month, or the month from one billing day on.
fn ambiguous(read: &Read, problems: &mut Problems) {
    let monthly = |placed: &&Placed| {
        matches!(placed.objective.period, PeriodKind::Month | PeriodKind::Billing(_))
    };
    let mut months = read.objectives.iter().filter(monthly);
    let Some(first) = months.next() else { return };
    if let Some(other) = months.find(|other| other.objective.period != first.objective.period) {
        let message = format!(
            "`{}` and `{}` begin their months on different days",
            first.objective.name, other.objective.name
        );
        let at = if other.inherited { read.parent_at } else { other.at };
        problems.report::<()>(at, "period-ambiguous", message, "agree on one day for both");
    }
}

/// A right to terminate follows from breaches that have a price, or from a percentage.
fn termination(read: &Read, problems: &mut Problems, warnings: &mut Problems) {
    let with_credit = read.objectives.iter().any(|placed| placed.objective.credit.is_some());
    for (rule, at) in read.terms.termination.iter().zip(&read.termination_at) {
        if read.terms.kind == Kind::Ola || !with_credit {
            let message = "this right never opens";
            let cure = "it follows from objectives with a credit, and an ola has none";
            warnings.report::<()>(*at, "termination-without-credit", message, cure);
        }
        let TerminationRule::MeanBelow { objective, .. } = rule else { continue };
        let named = read.objectives.iter().find(|placed| placed.objective.name == *objective);
        let Some(named) = named else {
            let message = format!("`{objective}` is no objective");
            let cure = "name an objective of this agreement";
            problems.report::<()>(*at, "unknown-objective", message, cure);
            continue;
        };
        let measure = &named.objective.measure;
        if measure.scale() != (Scale { unit: Unit::Share, good: Good::High }) {
            let message = format!("`{objective}` is no percentage that is good when it is high");
            let cure = "a mean below a percentage is of such ones only";
            problems.report::<()>(*at, "measure-target-mismatch", message, cure);
        }
    }
}

/// A credit needs something that it is a share of, and somebody who owes it.
fn charge(placed: &Placed, terms: &Terms, problems: &mut Problems, warnings: &mut Problems) {
    let Some(credit) = &placed.objective.credit else { return };
    let service = terms.services.get(placed.objective.service);
    if let Some(service) = service.filter(|service| service.monthly_charge.is_none()) {
        let message = format!("service `{}` has no monthly_charge", service.name);
        let cure = "a credit is a share of it: add `monthly_charge: \"…\"` to the service";
        problems.report::<()>(placed.at, "missing-key", message, cure);
    }
    let zero = number::whole(0);
    let unit = placed.objective.measure.unit();
    let all = number::whole(unit.in_one());
    let never_passed = match &credit.form {
        CreditForm::Bands(bands) => {
            // No share is below 0 % or above 100 %; a duration is above any threshold when it takes long enough.
            let never = |band: &Band| match band.operator {
                Operator::Below => band.threshold == zero,
                Operator::Above => matches!(unit, Unit::Share | Unit::Ppm) && band.threshold == all,
                Operator::AtLeast | Operator::AtMost => false,
            };
            bands.iter().all(never)
        }
        CreditForm::Flat(_)
        | CreditForm::Days(_)
        | CreditForm::DownBands(_)
        | CreditForm::Per(_)
        | CreditForm::Linear(_) => false,
    };
    if terms.kind == Kind::Ola || never_passed {
        let cure =
            "an ola has no credits, and no share is below 0% or above 100%: leave `credit` out";
        warnings.report::<()>(placed.at, "credit-cannot-occur", "this credit is never due", cure);
    }
}

/// What is legal, but rarely meant.
fn wisdom(placed: &Placed, warnings: &mut Problems) {
    let objective = &placed.objective;
    let mut warn = |code, message: &str, cure: &str| {
        warnings.report::<()>(placed.at, code, message, cure);
    };
    if objective.unknown.counts_as == UnknownAs::Up {
        warn("unknown-as-up", "time that nobody measured counts as Up", "write `as: removed`");
    }
    if let Some(agents) = agents_too_few(objective) {
        let message = format!("a state needs more agents than the {agents} that are chosen");
        warn("quorum-over-agents", &message, "lower `at_least` or choose more agents");
    }
    if objective.failures == Failures::Exclude {
        let message = "failed attempts do not count against this threshold";
        warn("failures-excluded", message, "pair it with an objective for `success`");
    }
    let width_s = u64::from(objective.window.width_s);
    if let Some(message) = mostly_empty(objective, width_s, "windows are") {
        warn("interval-mostly-empty", &message, MOSTLY_EMPTY_CURE);
    }
    let Some(budget) = down_budget_s(objective) else { return };
    if budget == number::whole(0) && objective.outage.after == 1 {
        let message = "nothing may be Down, without grace: one bad window breaches";
        warn(
            "hundred-percent-without-grace",
            message,
            "write `outage: {after: 2}` or a lower target",
        );
    } else if budget < number::whole(objective.window.width_s)
        && budget > number::whole(0)
        && objective.measure != Measure::Outages
    {
        let message = "the budget is shorter than one window: one bad window breaches";
        warn("budget-under-one-window", message, "narrow `window: width` or lower the target");
    }
}

/// Who measures: where the provider's own agents do it alone, he grades himself.
fn vantages(placed: &Placed, terms: &Terms, warnings: &mut Problems) {
    let own = [PROVIDER, terms.parties.provider.name.as_str()];
    let is_own = |value: &String| own.iter().any(|own| value.eq_ignore_ascii_case(own));
    let mut wanted = placed.objective.agents.wanted();
    if terms.kind != Kind::Ola && wanted.any(|(_, values)| values.iter().all(is_own)) {
        let message = "only agents of the provider measure this";
        let cure = "choose agents of the customer, too: `agents: {operator: [provider, customer]}`";
        warnings.report::<()>(placed.at, "provider-only-vantages", message, cure);
    }
}

/// The value of a label that says whose agent it is.
const PROVIDER: &str = "provider";

/// What helps where the intervals of a mean are shorter than what fills them.
const MOSTLY_EMPTY_CURE: &str = "an interval without attempts counts as 100%: write a longer one";

/// What is wrong with the intervals of a mean that are shorter than what is `apart`, of which there is one every so often.
fn mostly_empty(objective: &Objective, every_s: u64, apart: &str) -> Option<String> {
    let Measure::MeanSuccess { every_s: interval_s } = objective.measure else { return None };
    let (interval, every) = (seconds_text(interval_s), seconds_text(every_s));
    (interval_s < every_s)
        .then(|| format!("most intervals of {interval} stay empty: {apart} {every} apart"))
}

/// How many seconds, or outages, there may be in the shortest period; `None` where the measure is of attempts.
fn down_budget_s(objective: &Objective) -> Option<Exact> {
    let limit = &objective.target.limit;
    match objective.measure {
        Measure::Availability => {
            let (_, least) = objective.before_rounding((objective.target.operator, limit));
            Some((number::whole(1) - least) * number::whole(shortest_s(objective)))
        }
        Measure::Downtime | Measure::LongestOutage => {
            Some(limit / number::whole(Unit::Duration.in_one()))
        }
        Measure::Outages => Some(limit.clone()),
        Measure::Success
        | Measure::Within { .. }
        | Measure::Percentile { .. }
        | Measure::Mean { .. }
        | Measure::Ratio(_)
        | Measure::MeanSuccess { .. }
        | Measure::GoodDays { .. } => None,
    }
}

/// Excluded time that changes nothing, or changes too much.
fn exclusions(placed: &Placed, terms: &Terms, warnings: &mut Problems) {
    let objective = &placed.objective;
    let mut warn = |code, message: &str, cure: &str| {
        warnings.report::<()>(placed.at, code, message, cure);
    };
    if objective.exclusions == ExclusionRule::AsUp && objective.measure != Measure::Availability {
        let message = "only an availability adds excluded time to what was up";
        warn("as-up-no-effect", message, "write `exclusions: removed`, which is the same here");
    }
    let budget = down_budget_s(objective).filter(|_| objective.measure.has_down_budget());
    let Some((maintenance, budget)) = terms.maintenance.zip(budget) else { return };
    if objective.exclusions == ExclusionRule::None && number::whole(maintenance.at_most_s) > budget
    {
        let message =
            "maintenance that is allowed counts as Down here, and is more than the budget";
        warn("maintenance-over-budget", message, "exclude it, or allow less");
    }
}

/// A mean is of ok attempts only: the more of them fail, the less there is to find fault with.
fn mean_alone(placed: &Placed, all: &[Placed], warnings: &mut Problems) {
    let mean = &placed.objective;
    if !matches!(mean.measure, Measure::Mean { .. }) {
        return;
    }
    let counts_failures = |probe: &Name| {
        let mut successes = all.iter().map(|placed| &placed.objective).filter(|objective| {
            let of_all =
                matches!(objective.measure, Measure::Success | Measure::MeanSuccess { .. });
            of_all && objective.service == mean.service
        });
        successes.any(|success| success.probes.contains(probe))
    };
    if let Some(probe) = mean.probes.iter().find(|probe| !counts_failures(probe)) {
        let message = format!("failed attempts of `{probe}` are in no mean");
        let cure = "pair it with an objective for `success` of the same service and probe";
        warnings.report::<()>(placed.at, "mean-without-success", message, cure);
    }
}

/// How many agents are chosen by name, when they are fewer than a state needs.
fn agents_too_few(objective: &Objective) -> Option<usize> {
    let Vantages::Quorum { at_least, .. } = objective.vantages else { return None };
    let (_, named) = objective.agents.wanted().find(|(key, _)| *key == AGENT_LABEL)?;
    u64::try_from(named.len()).is_ok_and(|agents| agents < at_least).then_some(named.len())
}

/// The shortest period of the objective's kind, in s of its service hours, but for the hour of a changed clock and for
/// holidays.
fn shortest_s(objective: &Objective) -> u64 {
    let days = objective.period.days_min();
    match &objective.hours {
        None => days * 86_400,
        Some(hours) if days == 1 => hours.shortest_day_s(),
        Some(hours) => days * hours.week_s() / 7,
    }
}
