//! Closed periods: judged when what they are judged from has changed, published when their time has come, restated when
//! what was published no longer holds.
//!
//! They are judged from what their own windows and the context before them say, and from nothing else: so `report`, which
//! reads just that from the store, says the same to the last byte.

use super::{judge, with_context};
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::{PeriodLabel, Span};
use crate::revision::{Basis, Revision};
use crate::sla::life::{self, Closing, Heard, Life};
use crate::sla::{LATE_S, Verdict, Windows, exclusions_of};
use crate::store::{PeriodKey, Store, StoreError, TenantScope};
use std::sync::Arc;

/// A closed period is kept for so long after it could be published, s: whoever could not work then has a day for it.
const CATCH_UP_S: u64 = 86_400;
/// Most closed periods of one kind that are kept: a year of days.
const KEPT_MAX: usize = 366;
/// What comes late comes in one go: a restatement waits until nothing has come for so long, s.
pub(super) const QUIET_S: i64 = 30;
/// Most revisions of a period: more of them is a fault that must not fill the store.
const REVISIONS_OF_PERIOD_MAX: u64 = 1_000;

/// The name of a period in the store.
#[must_use]
pub fn key(agreement: &Agreement, label: PeriodLabel) -> PeriodKey {
    PeriodKey {
        agreement: agreement.id().to_string(),
        kind: label.kind().as_str(),
        period: label.to_string(),
    }
}

/// The closed periods that are kept beside the last closed one, the latest first: those that take late reports still or
/// did so a moment ago.
pub(super) fn waiting(agreement: &Agreement, last: PeriodLabel, now_s: i64) -> Vec<PeriodLabel> {
    let keep_s = agreement.terms().close.grace_s.saturating_add(CATCH_UP_S);
    let mut labels = Vec::new();
    let mut label = last;
    while let Some(earlier) = label.previous().filter(|_| labels.len() < KEPT_MAX) {
        let Ok(span) = earlier.span(agreement.zone()) else { break };
        let in_term = span.meet(agreement.terms().term).seconds() > 0;
        if !in_term || span.until_s.saturating_add_unsigned(keep_s) <= now_s {
            break;
        }
        labels.push(earlier);
        label = earlier;
    }
    labels
}

/// A closed period that is kept.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) label: PeriodLabel,
    period: Span,
    /// `None`: what it is judged from has changed.
    judged: Option<Judged>,
    /// When something came late for the last time.
    disturbed_s: Option<i64>,
    /// Records of excluded time have changed since this collector began.
    exclusions_changed: bool,
    /// `None`: not read yet.
    revisions: Option<Arc<[Revision]>>,
    /// There was somebody to measure from its start on.
    measured: bool,
}

#[derive(Clone, Debug)]
struct Judged {
    verdict: Result<Arc<Verdict>, String>,
    basis: Option<Basis>,
}

/// What closed periods of an agreement are judged from.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) agreement: &'a Agreement,
    pub(super) windows: &'a Windows,
    pub(super) exclusions: &'a Exclusions,
    pub(super) countersigned: bool,
    /// Since when agents have been known, s since 1970.
    pub(super) known_since_s: i64,
}

// === impl Closed ===

impl Closed {
    pub(super) fn new(label: PeriodLabel, period: Span) -> Self {
        Self {
            label,
            period,
            judged: None,
            disturbed_s: None,
            exclusions_changed: false,
            revisions: None,
            measured: false,
        }
    }

    /// A period with its revisions, for which something was heard after it had been let go.
    pub(super) fn reopened(
        (label, period): (PeriodLabel, Span),
        heard: Heard,
        revisions: Vec<Revision>,
    ) -> Self {
        Self {
            disturbed_s: heard.late.then_some(i64::MIN),
            exclusions_changed: heard.exclusions,
            revisions: Some(revisions.into()),
            ..Self::new(label, period)
        }
    }

    /// When something came late for the last time.
    pub(super) fn disturbed_s(&self) -> Option<i64> {
        self.disturbed_s
    }

    /// What has come for it.
    pub(super) fn heard(&self) -> Heard {
        Heard { late: self.disturbed_s.is_some(), exclusions: self.exclusions_changed }
    }

    /// Takes note that a window which begins at an instant has come.
    pub(super) fn hear(&mut self, start_s: i64, now_s: i64) {
        let span = with_context(self.period);
        if (span.from_s..span.until_s).contains(&start_s) {
            self.judged = None;
            self.disturbed_s = Some(now_s);
        }
    }

    /// Takes note that records of excluded time have changed.
    pub(super) fn forget_verdict(&mut self) {
        self.judged = None;
        self.exclusions_changed = true;
    }

    /// Its verdict; made anew only when what it is made from has changed.
    pub(super) fn verdict(&mut self, file: File<'_>) -> Result<Arc<Verdict>, String> {
        let judged = self.judged.take().unwrap_or_else(|| {
            self.measured = self.is_measured(file);
            self.judge(file)
        });
        self.judged.insert(judged).verdict.clone()
    }

    fn judge(&self, file: File<'_>) -> Judged {
        let File { agreement, exclusions, countersigned, .. } = file;
        let looks_at = with_context(self.period);
        let exclusions = &exclusions_of(agreement, exclusions, looks_at);
        let verdict = file.windows.within(looks_at).map_err(|e| e.to_string());
        let verdict = verdict.and_then(|own| {
            let question = (self.label, u64::MAX, countersigned);
            judge(agreement, &own, exclusions, question).map_err(|error| error.to_string())
        });
        let basis = verdict.as_ref().ok().map(|it| life::basis(it, agreement, exclusions));
        Judged { verdict: verdict.map(Arc::new), basis }
    }

    fn is_measured(&self, file: File<'_>) -> bool {
        let begun_s = self.period.from_s.max(file.agreement.terms().term.from_s);
        let first_s = file.windows.first_start_s();
        file.known_since_s <= begun_s
            || first_s.is_some_and(|first_s| first_s <= begun_s.saturating_add(LATE_S))
    }

    /// Where it stands.
    pub(super) fn life(&self, agreement: &Agreement, now_s: i64) -> Life {
        let revisions = self.revisions.clone().unwrap_or_default();
        Life::of(agreement, self.period, now_s, revisions)
    }

    /// Publishes what is due; true when something was, or was read for the first time.
    pub(super) async fn publish(
        &mut self,
        agreement: &Agreement,
        (store, scope): (&impl Store, &TenantScope),
        now_s: i64,
    ) -> Result<bool, StoreError> {
        let key = key(agreement, self.label);
        let mut changed = false;
        let revisions = match &self.revisions {
            Some(known) => Arc::clone(known),
            None => {
                let read = store.revisions(scope, &key.agreement, Some(&key.period)).await?;
                changed = true;
                let read: Arc<[Revision]> = read.into_iter().map(|(_, one)| one).collect();
                Arc::clone(self.revisions.insert(read))
            }
        };
        let Some((revision, verdict)) = self.due(agreement, &revisions, now_s) else {
            return Ok(changed);
        };
        let result = verdict.to_json().to_string();
        if store.publish(scope, key.clone(), revision.clone(), result).await? {
            tracing::info!(
                agreement = %key.agreement, period = %key.period, revision = revision.number,
                cause = revision.cause.as_str(), payable = %revision.payable, delta = %revision.delta,
                currency = %revision.currency, after_final = revision.after_final, "published"
            );
            self.revisions = Some(revisions.iter().cloned().chain([revision]).collect());
        } else {
            tracing::warn!(agreement = %key.agreement, period = %key.period, "somebody else has published it");
            self.revisions = None;
        }
        Ok(true)
    }

    fn due(
        &self,
        agreement: &Agreement,
        revisions: &[Revision],
        now_s: i64,
    ) -> Option<(Revision, Arc<Verdict>)> {
        let judged = self.judged.as_ref()?;
        let verdict = judged.verdict.as_ref().ok()?;
        let basis = judged.basis.clone()?;
        let is_first = revisions.is_empty();
        let quiet = self.disturbed_s.is_none_or(|at_s| now_s >= at_s.saturating_add(QUIET_S));
        if (is_first && !self.measured) || (!is_first && !quiet) {
            return None;
        }
        let closing = Closing::of(agreement, self.period);
        let due = closing.due(now_s, revisions, (verdict, basis), self.heard())?;
        if due.number > REVISIONS_OF_PERIOD_MAX {
            tracing::error!(agreement = %agreement.id(), period = %self.label, "too many revisions; none is added");
            return None;
        }
        Some((due, Arc::clone(verdict)))
    }
}
