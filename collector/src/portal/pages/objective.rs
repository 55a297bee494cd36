//! An objective of a period on a page: its figures, its money, its pictures and its outages.

use super::agreement::{pays, standing};
use crate::contract::Agreement;
use crate::contract::model::Objective;
use crate::contract::number::percent_text;
use crate::evaluator::{AgreementNow, PeriodNow};
use crate::portal::plot::{Plot, Strip};
use crate::portal::words::{self, Marked};
use crate::sla::states::States;
use crate::sla::verdict::{ObjectiveVerdict, Reason, Status};
use crate::timeline::{AgentSaw, Course, OutageSeen, Picture};
use crate::verdict::value_text;
use crate::verdict::words::{
    because, budget_text, burning_text, counted, next_band_text, span_text,
};

/// Kinds of failure that are told of an agent in an outage, the most frequent first.
const REASONS_SHOWN: usize = 4;

pub(super) struct ObjectiveView {
    /// Begins the ids of its pictures.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: Marked,
    pub(super) value: String,
    pub(super) target: String,
    pub(super) measure: String,
    pub(super) budget: String,
    pub(super) coverage: String,
    pub(super) attempts: String,
    pub(super) time: String,
    pub(super) agents: String,
    pub(super) money: Vec<Row>,
    pub(super) why: Option<String>,
    /// How fast the budget is being used, where that is too fast.
    pub(super) burning: Option<Marked>,
    pub(super) cautions: Vec<String>,
    pub(super) plot: Option<Plot>,
    pub(super) strips: Vec<Strip>,
    /// The latest first.
    pub(super) outages: Vec<OutageView>,
    pub(super) outages_total: usize,
}

/// A figure and what it is.
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) text: String,
}

pub(super) struct OutageView {
    pub(super) from: String,
    pub(super) until: String,
    pub(super) down: String,
    pub(super) agents: Vec<SawView>,
    pub(super) agents_more: usize,
    pub(super) reasons_forgotten: bool,
}

/// What an agent saw of an outage.
pub(super) struct SawView {
    pub(super) agent: String,
    pub(super) saw: Marked,
    pub(super) reasons: String,
}

impl ObjectiveView {
    pub(super) fn new(
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
