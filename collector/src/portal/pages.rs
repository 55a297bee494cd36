//! The pages: what a snapshot and the fleet say, as HTML. Names of others are escaped by the templates.

use super::words::{self, Marked, Part};
use crate::contract::Agreement;
use crate::contract::model::{Kind, Objective};
use crate::contract::number::percent_text;
use crate::contract::period::PeriodLabel;
use crate::evaluator::{AgreementNow, PeriodNow, Snapshot};
use crate::fleet::{AgentNow, PlanState};
use crate::sla::verdict::{ObjectiveVerdict, Reason, Status, Verdict};
use crate::verdict::text::{because, budget_text, counted, span_text};
use crate::verdict::value_text;
use askama::Template;
use probefleet_proto::units::{NS_PER_S, seconds_text};
use probefleet_proto::v1::ProbeNow;

/// Outages of an objective that a page lists; the report has all.
const OUTAGES_SHOWN: usize = 20;
/// A report that is older than so many windows is late.
const LATE_WINDOWS: u64 = 3;
/// A verdict that is older than this is said to stand still, s.
pub(super) const STALE_S: u64 = 60;

/// What stands round every page.
pub(super) struct Frame {
    pub(super) at: &'static str,
    pub(super) style: String,
    pub(super) as_of: String,
    pub(super) trouble: Option<String>,
    pub(super) version: &'static str,
}

impl Frame {
    pub(super) fn new(at: &'static str, snapshot: &Snapshot, now_s: u64) -> Self {
        let as_of = if snapshot.made_s == 0 {
            "reading the records …".to_owned()
        } else {
            let instant = i64::try_from(snapshot.as_of_s).unwrap_or_default();
            let time = words::local_time(instant, &jiff::tz::TimeZone::UTC);
            format!("as of {time}, {} ago", words::age(now_s.saturating_sub(snapshot.as_of_s)))
        };
        let idle_s = now_s.saturating_sub(snapshot.fresh_s);
        let trouble = match &snapshot.failure {
            Some(failure) => Some(failure.clone()),
            None if snapshot.made_s > 0 && idle_s > STALE_S => {
                Some(format!("The last round of judging was {} ago.", words::age(idle_s)))
            }
            None => None,
        };
        let style = super::assets::style_path();
        Self { at, style, as_of, trouble, version: env!("CARGO_PKG_VERSION") }
    }
}

// === agreements ===

#[derive(Template)]
#[template(path = "agreements.html")]
pub(super) struct AgreementsPage {
    pub(super) frame: Frame,
    pub(super) agreements: Vec<AgreementView>,
    pub(super) no_agents: bool,
}

#[derive(Template)]
#[template(path = "agreement.html")]
pub(super) struct AgreementPage {
    pub(super) frame: Frame,
    pub(super) agreement: AgreementView,
}

#[derive(Template)]
#[template(path = "missing.html")]
pub(super) struct MissingPage {
    pub(super) frame: Frame,
    pub(super) what: String,
}

pub(super) struct AgreementView {
    id: String,
    version: u64,
    title: String,
    link: String,
    parties: String,
    kind: &'static str,
    term: String,
    zone: String,
    standing: &'static str,
    status: Marked,
    periods: Vec<PeriodView>,
}

struct PeriodView {
    title: String,
    bounds: String,
    report: Option<String>,
    failure: Option<String>,
    objectives: Vec<ObjectiveView>,
    credit: Option<String>,
}

struct ObjectiveView {
    name: String,
    status: Marked,
    value: String,
    target: String,
    measure: String,
    budget: String,
    coverage: String,
    attempts: String,
    time: String,
    agents: String,
    credit: String,
    why: Option<String>,
    cautions: Vec<String>,
    bar: Vec<Part>,
    outages: Vec<OutageView>,
    outages_total: usize,
}

struct OutageView {
    from: String,
    until: String,
    down: String,
}

impl AgreementView {
    pub(super) fn new(now: &AgreementNow) -> Self {
        let agreement = &now.agreement;
        let terms = agreement.terms();
        let open = now.periods.iter().filter(|period| period.open);
        let statuses = open
            .filter_map(|period| period.verdict.as_ref().ok())
            .flat_map(|verdict| verdict.objectives.iter().map(|objective| objective.status));
        let failed = now.periods.iter().any(|period| period.verdict.is_err());
        let status = match words::most_urgent(statuses) {
            _ if failed => Marked::new("No verdict", "warn"),
            Some(status) => words::status(status),
            None => Marked::new("No data yet", "none"),
        };
        let customer = terms.parties.customer.as_ref().map(|party| party.name.as_str());
        let date = |instant_s| {
            let time = words::local_time(instant_s, agreement.zone());
            time.split(' ').next().unwrap_or_default().to_owned()
        };
        Self {
            id: agreement.id().to_string(),
            version: agreement.version(),
            title: agreement.title().to_owned(),
            link: format!("/agreements/{}", agreement.id()),
            parties: format!(
                "{} for {}",
                terms.parties.provider.name,
                customer.unwrap_or("nobody in particular")
            ),
            kind: match terms.kind {
                Kind::Sla => "service level agreement",
                Kind::Ola => "operational level agreement",
                Kind::Underpinning => "underpinning contract",
            },
            term: format!("{} to {}", date(terms.term.from_s), date(terms.term.until_s)),
            zone: agreement.zone().iana_name().unwrap_or("its own zone").to_owned(),
            standing: standing(now),
            status,
            periods: now.periods.iter().map(|period| PeriodView::new(now, period)).collect(),
        }
    }

    /// Without the closed periods, for the list.
    pub(super) fn open_only(now: &AgreementNow) -> Self {
        let mut open = now.clone();
        open.periods.retain(|period| period.open);
        Self::new(&open)
    }
}

/// Money follows only where both parties have signed, and are two parties.
fn pays(now: &AgreementNow) -> bool {
    now.countersigned && matches!(now.agreement.terms().kind, Kind::Sla | Kind::Underpinning)
}

fn standing(now: &AgreementNow) -> &'static str {
    if pays(now) {
        "countersigned (declared by the operator)"
    } else {
        "internal target: no credit"
    }
}

impl PeriodView {
    fn new(now: &AgreementNow, period: &PeriodNow) -> Self {
        let title = if period.open {
            format!("{}, so far", period.label)
        } else {
            period.label.to_string()
        };
        let (verdict, failure) = match &period.verdict {
            Ok(verdict) => (Some(verdict), None),
            Err(error) => (None, Some(error.clone())),
        };
        let judged = verdict.iter().flat_map(|verdict| &verdict.objectives);
        let objectives = judged.map(|judged| ObjectiveView::new(now, period.open, judged));
        Self {
            title,
            bounds: bounds(&now.agreement, period.label),
            report: verdict.map(|_| {
                format!("/agreements/{}/report.json?period={}", now.agreement.id(), period.label)
            }),
            failure,
            objectives: objectives.collect(),
            credit: verdict.filter(|_| pays(now)).and_then(|it| credit_total(it, period.open)),
        }
    }
}

fn bounds(agreement: &Agreement, label: PeriodLabel) -> String {
    label.span(agreement.zone()).map_or_else(
        |error| error.to_string(),
        |span| {
            let [from, until] = [span.from_s, span.until_s]
                .map(|instant_s| words::local_time(instant_s, agreement.zone()));
            format!("{from} to {until}")
        },
    )
}

/// What is due for the period, where anything can be.
fn credit_total(verdict: &Verdict, open: bool) -> Option<String> {
    if verdict.objectives.iter().all(|objective| objective.credit.is_none()) {
        return None;
    }
    let credits = &verdict.credits;
    let amount = credits.currency.text(&credits.payable);
    let word = if open { "Projected credit" } else { "Credit" };
    Some(format!("{word} for this period: {amount} {}", credits.currency.code()))
}

impl ObjectiveView {
    fn new(now: &AgreementNow, open: bool, judged: &ObjectiveVerdict) -> Self {
        let agreement = &now.agreement;
        let dash = || "–".to_owned();
        let mut promised = agreement.objectives().iter();
        let promised = promised.find(|objective| objective.name.as_str() == judged.name);
        let of_time = promised.is_some_and(|objective| objective.measure.is_of_time());
        let mut longest: Vec<_> = judged.outages.iter().flatten().copied().collect();
        let outages_total = longest.len();
        longest.sort_by_key(|outage| std::cmp::Reverse(outage.seconds));
        longest.truncate(OUTAGES_SHOWN);
        longest.sort_by_key(|outage| outage.span.from_s);
        let view = |outage: &crate::sla::verdict::Outage| OutageView {
            from: words::local_time(outage.span.from_s, agreement.zone()),
            until: words::local_time(outage.span.until_s, agreement.zone()),
            down: span_text(outage.seconds),
        };
        let value = judged.value.as_ref().map_or_else(dash, value_text);
        Self {
            name: judged.name.clone(),
            status: words::status(judged.status),
            value,
            target: judged.target.clone(),
            measure: judged.measure.to_string(),
            budget: judged.budget_left.map_or_else(dash, budget_text),
            coverage: judged.coverage.as_ref().map_or_else(dash, percent_text),
            attempts: words::attempts(&judged.attempts),
            time: words::time(&judged.seconds),
            agents: agents(judged),
            credit: credit(now, open, promised, judged),
            why: why(judged),
            cautions: cautions(judged),
            bar: if of_time { words::bar(&judged.seconds) } else { Vec::new() },
            outages: longest.iter().map(view).collect(),
            outages_total,
        }
    }
}

fn agents(judged: &ObjectiveVerdict) -> String {
    let number = counted(judged.agents, "agent");
    match &judged.agent {
        Some(agent) => format!("{number}; judged by {agent}, the worst"),
        None => number,
    }
}

fn credit(
    now: &AgreementNow,
    open: bool,
    promised: Option<&Objective>,
    judged: &ObjectiveVerdict,
) -> String {
    let nothing = match promised.and_then(|objective| objective.credit.as_ref()) {
        _ if !pays(now) => standing(now),
        None => "none agreed",
        Some(_) => "none due",
    };
    let Some(line) = judged.credit.as_ref().filter(|_| pays(now)) else {
        return nothing.to_owned();
    };
    let currency = &now.agreement.terms().currency;
    let word = if open { "projected" } else { "payable" };
    format!("{} {} {word}", currency.text(&line.amount), currency.code())
}

/// Why there is no verdict, in a sentence that says what would help.
fn why(judged: &ObjectiveVerdict) -> Option<String> {
    let reason = judged.reason?;
    let help = match reason {
        Reason::Coverage => "; are all agents running?",
        Reason::Attempts => "; probe more often or from more places",
        Reason::Resolution => "; agents count it exactly from now on",
        Reason::NoWindows | Reason::NoValue => "; does an agent run the probe?",
    };
    let shown = judged.status == Status::Inconclusive;
    shown.then(|| format!("No verdict: {}{help}.", because(reason)))
}

fn cautions(judged: &ObjectiveVerdict) -> Vec<String> {
    let mut cautions = Vec::new();
    if judged.specs > 1 {
        let specs = judged.specs;
        cautions.push(format!("The probe was changed: the period holds {specs} versions of it."));
    }
    if judged.flagged > 0 {
        let cells = counted(judged.flagged, "window");
        cautions.push(format!("{cells} of agents that were not to be trusted count as unknown."));
    }
    if judged.conflicts > 0 {
        let cells = counted(judged.conflicts, "window");
        cautions.push(format!("{cells} came with contradicting contents and count as unknown."));
    }
    cautions
}

// === agents ===

#[derive(Template)]
#[template(path = "agents.html")]
pub(super) struct AgentsPage {
    pub(super) frame: Frame,
    pub(super) agents: Vec<AgentView>,
    pub(super) listen: String,
    pub(super) window: String,
}

pub(super) struct AgentView {
    name: String,
    id: String,
    labels: Vec<String>,
    state: Marked,
    report: String,
    plan: Marked,
    backlog: String,
    clock: String,
    version: String,
    probes: Vec<ProbeView>,
}

struct ProbeView {
    name: String,
    outcome: Marked,
    took: String,
    when: String,
}

impl AgentView {
    pub(super) fn new(agent: &AgentNow, window_s: u32, now_ns: u64) -> Self {
        let age_s = agent.report_age_s(now_ns);
        let late = age_s.is_some_and(|age_s| age_s > LATE_WINDOWS * u64::from(window_s));
        let state = match (agent.session.is_some(), late) {
            (true, false) => Marked::new("connected", "good"),
            (true, true) => Marked::new("connected, reports late", "warn"),
            (false, _) => Marked::new("not connected", "bad"),
        };
        let seen = agent.last_seen_s.map_or_else(String::new, |seen_s| {
            let ago = words::age((now_ns / NS_PER_S).saturating_sub(seen_s));
            format!("; heard of {ago} ago")
        });
        let report = match age_s {
            Some(age_s) => format!("window ended {} ago{seen}", words::age(age_s)),
            None => format!("none yet{seen}"),
        };
        Self {
            name: agent.name.to_string(),
            id: agent.agent.to_string(),
            labels: agent.labels.iter().map(|(key, value)| format!("{key}: {value}")).collect(),
            state,
            report,
            plan: plan(agent),
            backlog: agent.backlog_bytes.map_or_else(|| "–".to_owned(), words::size),
            clock: clock(agent.clock),
            version: if agent.version.is_empty() {
                "–".to_owned()
            } else {
                agent.version.clone()
            },
            probes: probes(agent, now_ns),
        }
    }
}

fn plan(agent: &AgentNow) -> Marked {
    let probes = counted(u64::try_from(agent.probes.len()).unwrap_or(u64::MAX), "probe");
    match &agent.plan {
        PlanState::Unknown => Marked::new("not heard of since the collector started", "none"),
        PlanState::Handed => Marked::new(format!("{probes}, handed out"), "warn"),
        PlanState::Applied if agent.probes.is_empty() => {
            Marked::new("no probe is meant for its labels", "warn")
        }
        PlanState::Applied => Marked::new(format!("{probes}, in force"), "good"),
        PlanState::Refused(error) => Marked::new(format!("refused by the agent: {error}"), "bad"),
    }
}

fn clock(clock: Option<(i64, u64)>) -> String {
    match clock {
        None | Some((_, 0)) => "never compared".to_owned(),
        Some((offset_ns, error_ns)) => {
            let side = if offset_ns < 0 { "behind" } else { "ahead" };
            let [offset, error] = [offset_ns.unsigned_abs(), error_ns].map(words::milliseconds);
            format!("{offset} {side}, ± {error}")
        }
    }
}

/// The agent's probes: those of its plan, with the latest attempt where one is known.
fn probes(agent: &AgentNow, now_ns: u64) -> Vec<ProbeView> {
    let latest = |name: &str| agent.latest.iter().find(|now| now.probe == name);
    let unplanned = agent.latest.iter().map(|now| now.probe.as_str());
    let unplanned = unplanned.filter(|name| !agent.probes.iter().any(|probe| probe == name));
    let names = agent.probes.iter().map(String::as_str).chain(unplanned);
    names.map(|name| probe(name, latest(name), now_ns)).collect()
}

fn probe(name: &str, latest: Option<&ProbeNow>, now_ns: u64) -> ProbeView {
    let name = name.to_owned();
    let Some(now) = latest else {
        let outcome = Marked::new("not yet", "none");
        return ProbeView { name, outcome, took: "–".to_owned(), when: "–".to_owned() };
    };
    let text = if now.code.is_empty() {
        now.outcome.clone()
    } else {
        format!("{} ({})", now.outcome, now.code)
    };
    let class = if now.outcome == "ok" { "good" } else { "bad" };
    let ago_s = now_ns.saturating_sub(now.scheduled_ns) / NS_PER_S;
    ProbeView {
        name,
        outcome: Marked::new(text, class),
        took: words::milliseconds(now.total_ns),
        when: format!("{} ago", words::age(ago_s)),
    }
}

/// The width of a window, for people.
pub(super) fn window_text(window_s: u32) -> String {
    seconds_text(u64::from(window_s))
}
