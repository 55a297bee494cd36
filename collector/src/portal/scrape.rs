//! `/metrics`: what is known, as OpenMetrics or in the text format before it.
//!
//! Figures of objectives are those of their open periods. `probefleet_objective_status` has one series for each status,
//! of which exactly one is 1, so that `probefleet_objective_status{status="breach_certain"} == 1` finds what it says. A
//! figure that is not known is left out, never a zero, so too a burn rate of whose window too little is known; neither has a percentile that is a timeout a number of seconds. What became of closed periods: [`periods`].

mod health;
mod periods;

use super::Portal;
use crate::contract::Agreement;
use crate::contract::model::{Kind, Unit};
use crate::contract::money::{Currency, Money};
use crate::contract::number::{self, Exact, fixed};
use crate::evaluator::Snapshot;
use crate::sla::Verdict;
use crate::sla::burn::{Rate, length_text};
use crate::sla::verdict::{Budget, Measured, ObjectiveVerdict};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Places of a share: more than a float has.
const SHARE_PLACES: u32 = 17;

type Figures = Family<OfObjective, Gauge<f64, AtomicU64>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfObjective {
    agreement: String,
    objective: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStatus {
    agreement: String,
    objective: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWindow {
    agreement: String,
    objective: String,
    window: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CreditOfObjective {
    agreement: String,
    objective: String,
    currency: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CreditOfAgreement {
    agreement: String,
    currency: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAgent {
    agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFault {
    agent: String,
    fault: String,
}

/// Everything, in the text format of OpenMetrics.
///
/// # Errors
/// When the text cannot be written, which memory alone decides.
pub(super) fn render(portal: &Portal, ready: bool) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("probefleet_collector_build", "The program that runs", build);
    portal.metrics.register(&mut registry);
    register_agents(portal, &mut registry);
    health::register(&portal.fleet.board(), &mut registry);
    let up: Gauge = Gauge::default();
    up.set(i64::from(ready));
    registry.register(
        "probefleet_ready",
        "Whether everything of the collector works, as /readyz says",
        up,
    );
    let snapshot = Arc::clone(&portal.snapshots.borrow());
    register_objectives(&snapshot, &mut registry);
    periods::register(&snapshot, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The same in the text format before OpenMetrics (version 0.0.4): there a counter's family has the name of its samples,
/// and what is only information is a gauge.
pub(super) fn classic(open: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open.len()), "");
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let (ending, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            text.push_str(&format!("# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn register_agents(portal: &Portal, registry: &mut Registry) {
    let now_ns = unix_now_ns();
    let ages: Family<OfAgent, Gauge> = Family::default();
    let connected: Family<OfAgent, Gauge> = Family::default();
    let backlogs: Family<OfAgent, Gauge> = Family::default();
    let attempts: Family<OfAgent, Gauge> = Family::default();
    let silences: Family<OfAgent, Gauge> = Family::default();
    let faults: Family<OfFault, Gauge> = Family::default();
    for agent in portal.fleet.board() {
        let labels = OfAgent { agent: agent.name.to_string() };
        connected.get_or_create(&labels).set(i64::from(agent.session.is_some()));
        if let Some(seen_s) = agent.last_seen_s {
            let silence_s = (now_ns / NS_PER_S).saturating_sub(seen_s);
            silences.get_or_create(&labels).set(number_of(silence_s));
        }
        for fault in &agent.faults {
            let (agent, fault) = (labels.agent.clone(), fault.what.clone());
            faults.get_or_create(&OfFault { agent, fault }).set(1);
        }
        if let Some(age_s) = agent.report_age_s(now_ns) {
            ages.get_or_create(&labels).set(number_of(age_s));
        }
        if let Some(backlog_bytes) = agent.backlog_bytes {
            backlogs.get_or_create(&labels).set(number_of(backlog_bytes));
        }
        if let Some(age_s) = agent.attempt_age_s(now_ns) {
            attempts.get_or_create(&labels).set(number_of(age_s));
        }
    }
    registry.register(
        "probefleet_agent_last_report_age_seconds",
        "Time since the end of the window of an agent's newest report",
        ages,
    );
    registry.register(
        "probefleet_agent_silence_seconds",
        "Time since an agent last said anything",
        silences,
    );
    registry.register(
        "probefleet_agent_fault",
        "1 for what an agent says is wrong with itself; gone when it is over",
        faults,
    );
    registry.register("probefleet_agent_connected", "Whether an agent has a session", connected);
    registry.register(
        "probefleet_agent_backlog_bytes",
        "What an agent has measured but not delivered",
        backlogs,
    );
    registry.register(
        "probefleet_agent_latest_attempt_age_seconds",
        "Time since the latest attempt that an agent told of, delivered or not",
        attempts,
    );
}

/// The figures of objectives by name of the metric.
#[derive(Default)]
struct Objectives {
    value: Figures,
    target: Figures,
    value_seconds: Figures,
    target_seconds: Figures,
    value_score: Figures,
    target_score: Figures,
    value_outages: Figures,
    target_outages: Figures,
    budget_outages: Figures,
    budget_seconds: Figures,
    budget_attempts: Figures,
    coverage: Figures,
    burn_rate: Family<OfWindow, Gauge<f64, AtomicU64>>,
    burn_factor: Family<OfWindow, Gauge<f64, AtomicU64>>,
    burning: Family<OfWindow, Gauge>,
    status: Family<OfStatus, Gauge>,
    credit: Family<CreditOfObjective, Gauge<f64, AtomicU64>>,
    credits: Family<CreditOfAgreement, Gauge<f64, AtomicU64>>,
}

fn register_objectives(snapshot: &Snapshot, registry: &mut Registry) {
    let objectives = Objectives::default();
    for now in &snapshot.agreements {
        let open = now.periods.iter().filter(|period| period.open);
        let open: Vec<_> = open.filter_map(|period| period.verdict.as_ref().ok()).collect();
        for verdict in &open {
            for judged in &verdict.objectives {
                objectives.add(&verdict.agreement, judged);
            }
        }
        if now.countersigned && matches!(now.agreement.terms().kind, Kind::Sla | Kind::Underpinning)
        {
            objectives.add_credits(&now.agreement, &open);
        }
    }
    objectives.register_burn(registry);
    objectives.register(registry);
    let age_s = (unix_now_ns() / NS_PER_S).saturating_sub(snapshot.fresh_s);
    if snapshot.fresh_s > 0 {
        let age: Gauge = Gauge::default();
        age.set(number_of(age_s));
        let help = "Time since the agreements were last judged, or found unchanged";
        registry.register("probefleet_evaluation_age_seconds", help, age);
    }
}

impl Objectives {
    fn add(&self, agreement: &str, judged: &ObjectiveVerdict) {
        let (agreement, name) = (agreement.to_owned(), judged.name.clone());
        let labels = OfObjective { agreement: agreement.clone(), objective: name.clone() };
        let set = |family: &Figures, value: f64| {
            family.get_or_create(&labels).set(value);
        };
        let unit = judged.measure.unit();
        let [value, target] = match unit {
            Unit::Share | Unit::Ppm => [&self.value, &self.target],
            Unit::Duration => [&self.value_seconds, &self.target_seconds],
            Unit::Centi => [&self.value_score, &self.target_score],
            Unit::Count => [&self.value_outages, &self.target_outages],
        };
        let in_one = |figure: &Exact| ratio(&(figure / number::whole(unit.in_one())));
        let measured = match &judged.value {
            Some(Measured::Share(share)) => Some(share.share.clone()),
            Some(Measured::Percentile(it)) => it.value.map(number::whole),
            Some(Measured::Mean(mean)) => Some(mean.mean.clone()),
            Some(Measured::Amount(amount)) => Some(amount.clone()),
            Some(Measured::Intervals(it)) => Some(it.mean.clone()),
            None => None,
        };
        if let Some(measured) = measured {
            set(value, in_one(&measured));
        }
        set(target, in_one(&judged.limit));
        if let Some(coverage) = &judged.coverage {
            set(&self.coverage, ratio(coverage));
        }
        match judged.budget_left {
            Some(Budget::Seconds(left)) => set(&self.budget_seconds, whole(left)),
            Some(Budget::Attempts(left)) => set(&self.budget_attempts, whole(left)),
            Some(Budget::Outages(left)) => set(&self.budget_outages, whole(left)),
            None => {}
        }
        self.add_burn(&labels, judged);
        for status in super::words::BY_URGENCY {
            let (agreement, objective) = (agreement.clone(), name.clone());
            let labels = OfStatus { agreement, objective, status: status.as_str() };
            self.status.get_or_create(&labels).set(i64::from(status == judged.status));
        }
    }

    /// The rate of each window; by a pair's long one, from which rate on it fires, and whether it does.
    fn add_burn(&self, of: &OfObjective, judged: &ObjectiveVerdict) {
        let labels = |rate: &Rate| OfWindow {
            agreement: of.agreement.clone(),
            objective: of.objective.clone(),
            window: length_text(rate.window_s),
        };
        for pair in &judged.burn {
            for window in [&pair.long, &pair.short] {
                if let Some(rate) = window.rate.as_ref().filter(|_| window.covered) {
                    self.burn_rate.get_or_create(&labels(window)).set(ratio(rate));
                }
            }
            self.burn_factor.get_or_create(&labels(&pair.long)).set(ratio(&pair.factor));
            if !pair.is_frozen() {
                let firing = i64::from(pair.is_firing());
                self.burning.get_or_create(&labels(&pair.long)).set(firing);
            }
        }
    }

    /// What is projected, zero included, wherever a credit is agreed and owed.
    fn add_credits(&self, agreement: &Agreement, open: &[&Arc<Verdict>]) {
        let currency = &agreement.terms().currency;
        let (name, code) = (agreement.id().to_string(), currency.code().to_owned());
        let agreed = |judged: &&ObjectiveVerdict| {
            let mut objectives = agreement.objectives().iter();
            let promised = objectives.find(|objective| objective.name.as_str() == judged.name);
            promised.is_some_and(|objective| objective.credit.is_some())
        };
        for judged in open.iter().flat_map(|verdict| &verdict.objectives).filter(agreed) {
            let (agreement, objective) = (name.clone(), judged.name.clone());
            let labels = CreditOfObjective { agreement, objective, currency: code.clone() };
            let due = judged.credit.as_ref().map_or(0.0, |line| money(&line.amount, currency));
            self.credit.get_or_create(&labels).set(due);
        }
        let payable = open.iter().map(|verdict| &verdict.credits.payable);
        let payable = payable.fold(Money::zero(), |sum, payable| sum.plus(payable));
        let labels = CreditOfAgreement { agreement: name, currency: code };
        self.credits.get_or_create(&labels).set(money(&payable, currency));
    }

    fn register_burn(&self, registry: &mut Registry) {
        registry.register(
            "probefleet_objective_burn_rate",
            "How many times too fast the budget was used in the last so much eligible time; 1 lasts for just the period",
            self.burn_rate.clone(),
        );
        registry.register(
            "probefleet_objective_burn_factor",
            "The burn rate from which on a pair of windows fires, by its long window",
            self.burn_factor.clone(),
        );
        registry.register(
            "probefleet_objective_burning",
            "Whether a pair of windows fires, by its long window",
            self.burning.clone(),
        );
    }

    /// Name and help of every figure.
    fn figures(&self) -> [(&'static str, &'static str, &Figures); 12] {
        [
            ("probefleet_objective_value_ratio", "What was measured, of 1", &self.value),
            ("probefleet_objective_target_ratio", "What was promised, of 1", &self.target),
            (
                "probefleet_objective_value_seconds",
                "What was measured, where it is a duration",
                &self.value_seconds,
            ),
            (
                "probefleet_objective_target_seconds",
                "What was promised, where it is a duration",
                &self.target_seconds,
            ),
            (
                "probefleet_objective_value_score",
                "What was measured, where it is a score such as a MOS",
                &self.value_score,
            ),
            (
                "probefleet_objective_target_score",
                "What was promised, where it is a score such as a MOS",
                &self.target_score,
            ),
            (
                "probefleet_objective_value_outages",
                "What was measured, where it is a number of outages",
                &self.value_outages,
            ),
            (
                "probefleet_objective_target_outages",
                "What was promised, where it is a number of outages",
                &self.target_outages,
            ),
            (
                "probefleet_objective_budget_left_outages",
                "Outages that there may still be; negative: overdrawn",
                &self.budget_outages,
            ),
            (
                "probefleet_objective_budget_left_seconds",
                "Time that may still be down; negative: overdrawn",
                &self.budget_seconds,
            ),
            (
                "probefleet_objective_budget_left_attempts",
                "Attempts that may still be bad; negative: overdrawn",
                &self.budget_attempts,
            ),
            (
                "probefleet_objective_coverage_ratio",
                "Known share of the eligible time so far, of 1",
                &self.coverage,
            ),
        ]
    }

    fn register(self, registry: &mut Registry) {
        for (name, help, family) in self.figures() {
            registry.register(name, help, family.clone());
        }
        registry.register(
            "probefleet_objective_status",
            "1 for the status that an objective has, 0 for the others",
            self.status,
        );
        registry.register(
            "probefleet_objective_credit_projected",
            "Credit for the open period if nothing more goes wrong",
            self.credit,
        );
        registry.register(
            "probefleet_agreement_credit_projected",
            "Payable for the open periods together if nothing more goes wrong",
            self.credits,
        );
    }
}

/// The nearest float of an exact share, for a scraper; verdicts never see it.
fn ratio(share: &Exact) -> f64 {
    fixed(share, SHARE_PLACES).parse().unwrap_or(f64::NAN)
}

fn money(amount: &Money, currency: &Currency) -> f64 {
    currency.text(amount).parse().unwrap_or(f64::NAN)
}

fn number_of(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn whole(number: i64) -> f64 {
    number.to_string().parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_older_format_names_families_as_their_samples() {
        let open = "# HELP a What a is.\n# TYPE a info\na_info{v=\"1\"} 1\n\
            # HELP b What b is.\n# TYPE b counter\nb_total 7\n\
            # HELP c What c is.\n# TYPE c gauge\nc{d=\"#\"} 0.5\n# EOF\n";
        let classic = "# HELP a_info What a is.\n# TYPE a_info gauge\na_info{v=\"1\"} 1\n\
            # HELP b_total What b is.\n# TYPE b_total counter\nb_total 7\n\
            # HELP c What c is.\n# TYPE c gauge\nc{d=\"#\"} 0.5\n";
        assert_eq!(super::classic(open), classic);
    }
}
