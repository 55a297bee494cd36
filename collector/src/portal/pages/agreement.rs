//! An agreement on a page: what it is, and where each of its periods stands.

use super::objective::ObjectiveView;
use crate::contract::Agreement;
use crate::contract::model::Kind;
use crate::contract::period::PeriodLabel;
use crate::evaluator::{AgreementNow, PeriodNow};
use crate::portal::words::{self, Marked};
use crate::sla::verdict::Verdict;
use crate::verdict::life;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::sync::Arc;

pub(in crate::portal) struct AgreementView {
    pub(super) id: String,
    pub(super) version: u64,
    pub(super) title: String,
    pub(super) link: String,
    pub(super) parties: String,
    pub(super) kind: &'static str,
    pub(super) term: String,
    pub(super) zone: String,
    pub(super) standing: &'static str,
    pub(super) status: Marked,
    pub(super) periods: Vec<PeriodView>,
    /// Closed periods before those.
    pub(super) waiting: Vec<WaitingView>,
}

/// A closed period that takes late reports still, or did so a moment ago.
pub(super) struct WaitingView {
    pub(super) label: String,
    pub(super) report: Option<String>,
    pub(super) stage: String,
}

pub(super) struct PeriodView {
    pub(super) title: String,
    pub(super) label: String,
    pub(super) bounds: String,
    /// Where a closed one stands, and what was published of it.
    pub(super) stage: Option<String>,
    pub(super) revisions: Vec<String>,
    pub(super) report: Option<String>,
    pub(super) failure: Option<String>,
    pub(super) objectives: Vec<ObjectiveView>,
    pub(super) credit: Option<String>,
}

impl AgreementView {
    pub(in crate::portal) fn new(now: &AgreementNow) -> Self {
        let agreement = &now.agreement;
        let terms = agreement.terms();
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
            status: status(now),
            periods: now.periods.iter().map(|period| PeriodView::new(now, period)).collect(),
            waiting: now.waiting.iter().map(|period| WaitingView::new(now, period)).collect(),
        }
    }

    /// Without closed periods and pictures, for the list.
    pub(in crate::portal) fn open_only(now: &AgreementNow) -> Self {
        let mut open = now.clone();
        open.periods.retain(|period| period.open);
        open.waiting.clear();
        open.periods.iter_mut().for_each(|period| period.pictures = Arc::default());
        Self::new(&open)
    }
}

/// How the open periods stand together.
fn status(now: &AgreementNow) -> Marked {
    let open = now.periods.iter().filter(|period| period.open);
    let statuses = open
        .filter_map(|period| period.verdict.as_ref().ok())
        .flat_map(|verdict| verdict.objectives.iter().map(|objective| objective.status));
    let failed = now.periods.iter().any(|period| period.verdict.is_err());
    match words::most_urgent(statuses) {
        _ if failed => Marked::new("No verdict", "warn"),
        Some(status) => words::status(status),
        None => Marked::new("No data yet", "none"),
    }
}

/// Money follows only where both parties have signed, and are two parties.
pub(super) fn pays(now: &AgreementNow) -> bool {
    now.countersigned && matches!(now.agreement.terms().kind, Kind::Sla | Kind::Underpinning)
}

pub(super) fn standing(now: &AgreementNow) -> &'static str {
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
