//! The life of a period: open, closed while late reports are taken, published, final; restated where what it was judged
//! from has changed since. Pure: the instants and the revisions so far are given.
//!
//! ```text
//! open ── end ──→ closed ── end + grace, revision 1 ──→ published ── revision 1 + dispute ──→ final
//! ```
//!
//! A revision is never changed. Another one follows whenever the inputs differ from those of the latest one, before the
//! period is final or after it; the deltas of all of them add up to what is payable now.

use super::Verdict;
use super::digest;
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::model::CloseRules;
use crate::contract::money::Currency;
use crate::contract::period::Span;
use crate::revision::{Basis, Cause, Revision};
use std::sync::Arc;

/// What a verdict was made from; `exclusions` are those that can matter to it.
#[must_use]
pub fn basis(verdict: &Verdict, agreement: &Agreement, exclusions: &Exclusions) -> Basis {
    Basis {
        form: digest::FORM,
        inputs: verdict.inputs_digest.clone(),
        terms: digest::terms(agreement, verdict.signed),
        exclusions: digest::exclusions(exclusions),
    }
}

/// The digest of an agreement, and of whether it is countersigned, as a [`Basis`] has it.
#[must_use]
pub fn terms(agreement: &Agreement, signed: bool) -> String {
    digest::terms(agreement, signed)
}

/// True when a revision is known to have been made with other records of excluded time than these, which are those that can
/// matter to it.
#[must_use]
pub fn excludes_other_time(revision: &Revision, exclusions: &Exclusions) -> bool {
    let Basis { form, exclusions: before, .. } = &revision.basis;
    *form == digest::FORM && *before != digest::exclusions(exclusions)
}

/// True when what a verdict was made from, or where that cannot be compared its outcome, is not that of a revision.
#[must_use]
pub fn differs(verdict: &Verdict, revision: &Revision) -> bool {
    match revision.basis.form == digest::FORM {
        true => revision.basis.inputs != verdict.inputs_digest,
        false => revision.payable != verdict.credits.currency.text(&verdict.credits.payable),
    }
}

/// What has come for a period, or changed about it, since the program began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Reports.
    pub late: bool,
    /// Records of excluded time.
    pub exclusions: bool,
}

/// Where a period stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not over.
    Open,
    /// Late reports are taken; past `until_s`, nothing was published.
    Closed {
        /// First instant after the time for late reports.
        until_s: i64,
    },
    /// Objections are taken.
    Published {
        /// First instant of its being final.
        until_s: i64,
    },
    /// The time for objections is over.
    Final {
        /// Since when.
        since_s: i64,
    },
}

impl Stage {
    /// The words of the stages that a closed period has, in their order.
    pub const CLOSED_WORDS: [&'static str; 3] = ["closed", "published", "final"];

    /// The word in results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed { .. } => "closed",
            Self::Published { .. } => "published",
            Self::Final { .. } => "final",
        }
    }
}

/// Where a period stands, and what was published of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it stands.
    pub stage: Stage,
    /// What was published, by number.
    pub revisions: Arc<[Revision]>,
}

impl Life {
    /// Where a period of an agreement stands at an instant.
    #[must_use]
    pub fn of(agreement: &Agreement, period: Span, now_s: i64, revisions: Arc<[Revision]>) -> Self {
        Self { stage: Closing::of(agreement, period).stage(now_s, &revisions), revisions }
    }
}

/// A period that has an end, and the rules of what follows.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// First instant after the period, s since 1970.
    pub ended_s: i64,
    /// How long it takes late reports and objections.
    pub rules: CloseRules,
}

impl Closing {
    /// A period of an agreement.
    #[must_use]
    pub fn of(agreement: &Agreement, period: Span) -> Self {
        Self { ended_s: period.until_s, rules: agreement.terms().close }
    }

    /// The first instant after the time for late reports, s since 1970.
    #[must_use]
    pub fn grace_ends_s(self) -> i64 {
        self.ended_s.saturating_add_unsigned(self.rules.grace_s)
    }

    /// Where the period stands. The time for objections runs from the first revision on, whatever follows it: its end is
    /// known from then on.
    #[must_use]
    pub fn stage(self, now_s: i64, revisions: &[Revision]) -> Stage {
        if now_s < self.ended_s {
            return Stage::Open;
        }
        let Some(first) = revisions.first() else {
            return Stage::Closed { until_s: self.grace_ends_s() };
        };
        let final_s = first.made_s.saturating_add_unsigned(self.rules.dispute_s);
        if now_s < final_s {
            Stage::Published { until_s: final_s }
        } else {
            Stage::Final { since_s: final_s }
        }
    }

    /// The revision that is due for a verdict; `None` when it is too early, or the latest one was made from the same.
    #[must_use]
    pub fn due(
        self,
        now_s: i64,
        revisions: &[Revision],
        (verdict, basis): (&Verdict, Basis),
        heard: Heard,
    ) -> Option<Revision> {
        let latest = revisions.last();
        if now_s < self.grace_ends_s() {
            return None;
        }
        let cause = match latest {
            None => Cause::Published,
            Some(latest) => cause(&latest.basis, &basis, heard)?,
        };
        let credits = &verdict.credits;
        let payable = credits.currency.text(&credits.payable);
        Some(Revision {
            number: latest.map_or(0, |latest| latest.number).saturating_add(1),
            version: verdict.version,
            made_s: now_s,
            cause,
            after_final: matches!(self.stage(now_s, revisions), Stage::Final { .. }),
            basis,
            delta: delta(&credits.currency, latest, &payable),
            payable,
            currency: credits.currency.code().to_owned(),
        })
    }
}

/// Why what was made from `before` is restated; `None` when it is not. A program of another version may have hashed
/// otherwise: then only what was heard since this one began tells that there is something new.
fn cause(before: &Basis, now: &Basis, heard: Heard) -> Option<Cause> {
    let same_form = before.form == now.form;
    if same_form && before.inputs == now.inputs {
        return None;
    }
    if before.terms != now.terms {
        return Some(Cause::AgreementChanged);
    }
    let excluded = if same_form { before.exclusions != now.exclusions } else { heard.exclusions };
    if excluded {
        return Some(Cause::ExclusionsChanged);
    }
    (same_form || heard.late).then_some(Cause::LateData)
}

/// By how much more is payable than by the latest revision. An amount in another currency has nothing to do with it: then
/// all of the new one is the difference.
fn delta(currency: &Currency, latest: Option<&Revision>, payable: &str) -> String {
    let before = latest.filter(|latest| latest.currency == currency.code());
    let before = before.and_then(|latest| currency.amount(&latest.payable).ok());
    match before.zip(currency.amount(payable).ok()) {
        Some((before, now)) => currency.difference_text(&now, &before),
        None => payable.to_owned(),
    }
}

#[cfg(test)]
mod tests;
