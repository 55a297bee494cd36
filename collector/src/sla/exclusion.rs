//! Which of the time that records claim is excluded: what passes notice and approval, as far as the allowance goes.

use super::span::Spans;
use super::verdict::{Claim, Refusal};
use crate::contract::Agreement;
use crate::contract::exclusions::{Exclusion, Exclusions, Reason};
use crate::contract::model::{Approval, ExclusionRule, Maintenance, Objective};
use crate::contract::period::{PeriodLabel, Span};

/// The records that can matter to whoever looks at a stretch of time: those of every period that begins before its end
/// and does not end before its beginning, because maintenance earlier in a period uses up what is allowed in it.
pub(super) fn that_matter(
    agreement: &Agreement,
    records: &Exclusions,
    stretch: Span,
) -> Exclusions {
    let zone = agreement.zone();
    let period = |objective: &Objective| {
        let label = PeriodLabel::at(objective.period, zone, stretch.from_s)?;
        label.span(zone).ok()
    };
    let starts = agreement.objectives().iter().filter_map(period).map(|span| span.from_s);
    let from_s = starts.min().unwrap_or(stretch.from_s).min(stretch.from_s);
    records.touching(Span { from_s, ..stretch })
}

/// The excluded time of an objective, all of it service time; `as_of_s`: records announced later do not exist.
pub(super) fn excluded(
    agreement: &Agreement,
    objective: &Objective,
    service: &Spans,
    (records, as_of_s): (&Exclusions, Option<i64>),
) -> Spans {
    if objective.exclusions == ExclusionRule::None {
        return Spans::EMPTY;
    }
    let rule = agreement.terms().maintenance.as_ref();
    let (mut maintenance, mut others) = (Vec::new(), Vec::new());
    for record in records.at(as_of_s).filter(|record| record.names(&objective.name)) {
        match refusal(record, rule) {
            Some(_) => {}
            None if record.reason == Reason::Maintenance => maintenance.push(record.span),
            None => others.push(record.span),
        }
    }
    let allowed = match rule {
        Some(rule) => {
            let maintenance = Spans::from_sorted(maintenance).meet(service);
            within_allowance(agreement, objective, &maintenance, rule.at_most_s)
        }
        None => Spans::EMPTY,
    };
    allowed.unite(&Spans::from_sorted(others).meet(service))
}

/// The records that claim time of the period, each with why it does not hold.
pub(super) fn claims(
    agreement: &Agreement,
    period: Span,
    (records, as_of_s): (&Exclusions, Option<i64>),
) -> Vec<Claim> {
    let rule = agreement.terms().maintenance.as_ref();
    let claiming = records.at(as_of_s).filter(|record| record.span.meet(period).seconds() > 0);
    let claim = |record: &Exclusion| Claim {
        span: record.span,
        reason: record.reason,
        refused: refusal(record, rule),
    };
    claiming.map(claim).collect()
}

/// Why a record does not hold: maintenance is announced in time, and approved where that is agreed; everything else is
/// approved.
fn refusal(record: &Exclusion, rule: Option<&Maintenance>) -> Option<Refusal> {
    let not_approved = (!record.approved).then_some(Refusal::NotApproved);
    if record.reason != Reason::Maintenance {
        return not_approved;
    }
    let Some(rule) = rule else { return Some(Refusal::NotAgreed) };
    let Some(announced_s) = record.announced_s else { return Some(Refusal::NotAnnounced) };
    let notice = u64::try_from(record.span.from_s.saturating_sub(announced_s)).ok();
    if notice.is_none_or(|notice_s| notice_s < rule.notice_s) {
        return Some(Refusal::ShortNotice);
    }
    not_approved.filter(|_| rule.approval == Approval::Customer)
}

/// The first so many seconds of each of the objective's periods.
fn within_allowance(
    agreement: &Agreement,
    objective: &Objective,
    claimed: &Spans,
    at_most_s: u64,
) -> Spans {
    let (mut period, mut left_s) = (Span { from_s: i64::MIN, until_s: i64::MIN }, 0);
    let mut allowed = Vec::new();
    for mut rest in claimed.iter() {
        while rest.seconds() > 0 {
            if rest.from_s >= period.until_s {
                let label = PeriodLabel::at(objective.period, agreement.zone(), rest.from_s);
                let span = label.and_then(|label| label.span(agreement.zone()).ok());
                // Beyond the calendar there is no period, and nothing is excluded.
                let Some(span) = span.filter(|span| span.until_s > rest.from_s) else { break };
                (period, left_s) = (span, at_most_s);
            }
            let part = rest.meet(period);
            let seconds = part.seconds().min(left_s);
            left_s -= seconds;
            let until_s = part.from_s.saturating_add_unsigned(seconds);
            allowed.push(Span { until_s, ..part });
            rest.from_s = part.until_s;
        }
    }
    Spans::from_sorted(allowed)
}
