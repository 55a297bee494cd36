//! The pages: what a snapshot and the fleet say, as HTML. Names of others are escaped by the templates.

mod board;

pub(super) use board::AgentsPage;

use super::events::Marks;
use super::plot::{Plot, Strip};
use super::words::{self, Marked};
use crate::contract::Agreement;
use crate::contract::model::{Kind, Objective};
use crate::contract::number::percent_text;
use crate::contract::period::PeriodLabel;
use crate::evaluator::{AgreementNow, PeriodNow, Snapshot};
use crate::sla::states::States;
use crate::sla::verdict::{ObjectiveVerdict, Reason, Status, Verdict};
use crate::timeline::{AgentSaw, Course, OutageSeen, Picture};
use crate::verdict::life;
use crate::verdict::text::{
    because, budget_text, burning_text, counted, next_band_text, span_text,
};
use crate::verdict::value_text;
use askama::Template;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::sync::Arc;

/// Kinds of failure that are told of an agent in an outage, the most frequent first.
const REASONS_SHOWN: usize = 4;
/// A verdict that is older than this is said to stand still, s.
pub(super) const STALE_S: u64 = 60;

/// What stands round every page.
pub(super) struct Frame {
    pub(super) at: &'static str,
    pub(super) style: String,
    pub(super) script: String,
    /// What the page shows; when that has another mark, it is time to look again.
    pub(super) refresh: &'static str,
    pub(super) mark: String,
    pub(super) as_of: String,
    pub(super) trouble: Option<String>,
    pub(super) version: &'static str,
}

impl Frame {
    /// The frame of a page with verdicts, or with the board (`at` is `agents`).
    pub(super) fn new(at: &'static str, snapshot: &Snapshot, marks: Marks, now_s: u64) -> Self {
        let as_of = if snapshot.made_s == 0 {
            "reading the records …".to_owned()
        } else {
            let instant = i64::try_from(snapshot.as_of_s).unwrap_or_default();
            format!("as of {}", words::local_time(instant, &jiff::tz::TimeZone::UTC))
        };
        let idle_s = now_s.saturating_sub(snapshot.fresh_s);
        let trouble = match &snapshot.failure {
            Some(failure) => Some(failure.clone()),
            None if stands_still(snapshot, now_s) => {
                Some(format!("The last round of judging was {} ago.", words::age(idle_s)))
            }
            None => complaint(snapshot),
        };
        let (refresh, mark) =
            if at == "agents" { ("agents", marks.agents) } else { ("verdicts", marks.verdicts) };
        let (style, script) = (super::assets::style_path(), super::assets::script_path());
        let version = env!("CARGO_PKG_VERSION");
        Self { at, style, script, refresh, mark, as_of, trouble, version }
    }
}

/// What is wrong with a file of exclusions.
fn complaint(snapshot: &Snapshot) -> Option<String> {
    let mut complaints = snapshot.agreements.iter().filter_map(|now| now.complaint.as_ref());
    complaints.next().map(|what| format!("The exclusions stay as they were: {what}"))
}

/// Nothing has been judged for too long.
pub(super) fn stands_still(snapshot: &Snapshot, now_s: u64) -> bool {
    snapshot.made_s > 0 && now_s.saturating_sub(snapshot.fresh_s) > STALE_S
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
    /// Closed periods before those.
    waiting: Vec<WaitingView>,
}

/// A closed period that takes late reports still, or did so a moment ago.
struct WaitingView {
    label: String,
    report: Option<String>,
    stage: String,
}

struct PeriodView {
    title: String,
    label: String,
    bounds: String,
    /// Where a closed one stands, and what was published of it.
    stage: Option<String>,
    revisions: Vec<String>,
    report: Option<String>,
    failure: Option<String>,
    objectives: Vec<ObjectiveView>,
    credit: Option<String>,
}

struct ObjectiveView {
    /// Begins the ids of its pictures.
    id: String,
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
    money: Vec<Row>,
    why: Option<String>,
    /// How fast the budget is being used, where that is too fast.
    burning: Option<Marked>,
    cautions: Vec<String>,
    plot: Option<Plot>,
    strips: Vec<Strip>,
    /// The latest first.
    outages: Vec<OutageView>,
    outages_total: usize,
}

/// A figure and what it is.
struct Row {
    label: &'static str,
    text: String,
}

struct OutageView {
    from: String,
    until: String,
    down: String,
    agents: Vec<SawView>,
    agents_more: usize,
    reasons_forgotten: bool,
}

/// What an agent saw of an outage.
struct SawView {
    agent: String,
    saw: Marked,
    reasons: String,
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
            waiting: now.waiting.iter().map(|period| WaitingView::new(now, period)).collect(),
        }
    }

    /// Without closed periods and pictures, for the list.
    pub(super) fn open_only(now: &AgreementNow) -> Self {
        let mut open = now.clone();
        open.periods.retain(|period| period.open);
        open.waiting.clear();
        open.periods.iter_mut().for_each(|period| period.pictures = Arc::default());
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

impl WaitingView {
    fn new(now: &AgreementNow, period: &PeriodNow) -> Self {
        let verdict = period.verdict.as_ref().ok();
        Self {
            label: period.label.to_string(),
            report: verdict.map(|_| report_link(now, period.label)),
            stage: stage(now, period),
        }
    }
}

fn report_link(now: &AgreementNow, label: PeriodLabel) -> String {
    format!("/agreements/{}/report.json?period={label}", now.agreement.id())
}

/// Where a closed period stands, and why there is no verdict where there is none.
fn stage(now: &AgreementNow, period: &PeriodNow) -> String {
    let now_s = i64::try_from(unix_now_ns() / NS_PER_S).unwrap_or(i64::MAX);
    let stage = life::sentence(&period.life, now_s, now.agreement.zone());
    match &period.verdict {
        Ok(_) => stage,
        Err(error) => format!("{stage}; no verdict: {error}"),
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
        let pictures = period.pictures.iter().map(Some).chain(std::iter::repeat(None));
        let objectives = judged
            .zip(pictures)
            .map(|(judged, picture)| ObjectiveView::new(now, period, judged, picture));
        Self {
            title,
            label: period.label.to_string(),
            bounds: bounds(&now.agreement, period.label),
            report: verdict.map(|_| report_link(now, period.label)),
            stage: (!period.open).then(|| stage(now, period)),
            revisions: match &period.life.revisions[..] {
                [] | [_] => Vec::new(),
                many => many
                    .iter()
                    .map(|revision| {
                        let zone = now.agreement.zone();
                        let text = life::revision_text(revision, zone);
                        format!("Revision {}: {text}", revision.number)
                    })
                    .collect(),
            },
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
    fn new(
        now: &AgreementNow,
        period: &PeriodNow,
        judged: &ObjectiveVerdict,
        picture: Option<&Picture>,
    ) -> Self {
        let agreement = &now.agreement;
        let dash = || "–".to_owned();
        let mut promised = agreement.objectives().iter();
        let promised = promised.find(|objective| objective.name.as_str() == judged.name);
        let value = judged.value.as_ref();
        let value = value.map_or_else(dash, |value| value_text(judged.measure.unit(), value));
        let course = picture.and_then(|picture| picture.course.as_ref());
        let outages = picture.iter().flat_map(|picture| picture.outages.iter().rev());
        let outages = outages.map(|seen| OutageView::new(seen, agreement));
        Self {
            id: format!("{}-{}", period.label, judged.name),
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
            money: money(now, period.open, promised, judged),
            why: why(judged),
            burning: burning(judged),
            cautions: cautions(judged),
            plot: course.map(|course| Plot::new(course, agreement.zone())),
            strips: match picture {
                Some(_) => strips((now, period), promised, judged, course),
                None => Vec::new(),
            },
            outages: outages.collect(),
            outages_total: judged.outages.as_ref().map_or(0, Vec::len),
        }
    }
}

/// The states of the latest windows, and of the whole period where time is what was promised.
fn strips(
    (now, period): (&AgreementNow, &PeriodNow),
    promised: Option<&Objective>,
    judged: &ObjectiveVerdict,
    course: Option<&Course>,
) -> Vec<Strip> {
    let zone = now.agreement.zone();
    let mut strips = Vec::new();
    if let Some(course) = course {
        // The latest windows may reach back into the period before.
        let verdicts = now.periods.iter().filter_map(|period| period.verdict.as_ref().ok());
        let same = verdicts.flat_map(|verdict| &verdict.objectives);
        let same = same.filter(|other| other.name == judged.name);
        let states: Vec<&States> = same.map(|other| &other.states).collect();
        strips.push(Strip::of_windows(course, &states, zone));
    }
    let of_time = promised.filter(|objective| objective.measure.is_of_time());
    if let (Some(objective), Ok(span)) = (of_time, period.label.span(zone)) {
        strips.push(Strip::of_period(span, objective.window.width_s, &judged.states, zone));
    }
    strips
}

impl OutageView {
    fn new(seen: &OutageSeen, agreement: &Agreement) -> Self {
        let span = seen.outage.span;
        Self {
            from: words::local_time(span.from_s, agreement.zone()),
            until: words::local_time(span.until_s, agreement.zone()),
            down: span_text(seen.outage.seconds),
            agents: seen.agents.iter().map(SawView::new).collect(),
            agents_more: seen.agents_more,
            reasons_forgotten: seen.reasons_forgotten,
        }
    }
}

impl SawView {
    fn new(saw: &AgentSaw) -> Self {
        let (ok, failed) = (saw.attempts.ok, saw.attempts.failed);
        let counted = ok + failed;
        let saw_what = match (ok, failed) {
            (0, 0) => Marked::new("nothing that counts", "none"),
            (_, 0) => Marked::new(format!("all {counted} ok"), "good"),
            (0, _) => Marked::new(format!("all {counted} failed"), "bad"),
            _ => Marked::new(format!("{failed} of {counted} failed"), "warn"),
        };
        let reasons = saw.failures.iter().take(REASONS_SHOWN);
        let mut reasons: Vec<String> =
            reasons.map(|(kind, count)| format!("{kind} ×{count}")).collect();
        if saw.failures.len() > REASONS_SHOWN {
            reasons.push("…".to_owned());
        }
        Self { agent: saw.agent.clone(), saw: saw_what, reasons: reasons.join(", ") }
    }
}

fn agents(judged: &ObjectiveVerdict) -> String {
    let number = counted(judged.agents, "agent");
    match &judged.agent {
        Some(agent) => format!("{number}; judged by {agent}, the worst"),
        None => number,
    }
}

/// What the objective is worth, as the verdict says it: every figure about money on the page is made here.
fn money(
    now: &AgreementNow,
    open: bool,
    promised: Option<&Objective>,
    judged: &ObjectiveVerdict,
) -> Vec<Row> {
    let mut rows = vec![Row { label: "Credit", text: credit(now, open, promised, judged) }];
    if let Some(next) = judged.next_band.as_ref().filter(|_| pays(now)) {
        rows.push(Row { label: "Next band", text: next_band_text(judged, next) });
    }
    rows
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

/// How fast the budget is being used; worse where it does not last.
fn burning(judged: &ObjectiveVerdict) -> Option<Marked> {
    let pair = judged.burn.iter().find(|pair| pair.is_firing())?;
    let class = if pair.gone_in_s.is_some() { "bad" } else { "warn" };
    burning_text(judged).map(|text| Marked::new(text, class))
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
