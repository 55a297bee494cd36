//! The verdict: a pure function of an agreement, the evidence and a question. No clock, no I/O, no float.
//!
//! In reading order: [`evidence`] (the cells), `exclusion` (time that does not count), `reports` (cells to what an agent
//! says of a window), `window_state` (that to states), [`outage`] (states to outages), `measure`, `counted` and `parts`
//! (outages and attempts to a value), `outlook` (what may still come), `status` (a value to a judgement), [`burn`] (how fast
//! a budget is being used up), `band` (how far it is to the next credit), `court` (all of that, for every objective),
//! `credit` (judgements to money), `termination` (judgements to the right to leave), `uncertainty` (what sampling leaves
//! open), `digest` (what it was all made from), and [`verdict`] (what is said of it); then [`life`] (what is published of
//! it, and when). [`states`] and `witnesses` say when, and who saw it, to those who draw or list it.
//!
//! "Window" in an agreement's rules is the evaluation window of the objective: attempts count where it lies in eligible
//! time as a whole, and it overlaps Down time or ends after the as-of instant as a whole.

mod band;
pub mod burn;
mod counted;
mod court;
mod credit;
mod digest;
pub mod evidence;
mod exclusion;
pub mod life;
mod measure;
mod observation;
pub mod outage;
mod outlook;
mod parts;
mod reports;
pub mod span;
pub mod states;
mod status;
mod termination;
pub mod uncertainty;
pub mod verdict;
mod window_state;
mod witnesses;

pub use evidence::{Added, Cell, Counts, EvidenceError, Observed, Phases, Total, Windows, Within};
pub use verdict::{ObjectiveVerdict, Status, Verdict};

use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::{LabelError, PeriodLabel, Span};
use court::{Court, answered};

/// Time after a period that is looked at: five weeks, so that there are service hours in it.
const BEYOND_S: i64 = 35 * 86_400;

/// So much later than a period measuring may have begun that it still covers it: an hour.
pub(crate) const LATE_S: i64 = 3_600;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The period.
    pub label: PeriodLabel,
    /// Windows that end later do not exist; `None`: the period is over.
    pub as_of_s: Option<i64>,
    /// The agreement was countersigned.
    pub signed: bool,
}

/// There is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No objective has such a period.
    #[error(
        "no objective of `{agreement}` has the period `{label}`: a {kind}; see each objective's `period`"
    )]
    LabelFitsNone {
        /// The agreement.
        agreement: String,
        /// The label.
        label: String,
        /// Its kind.
        kind: &'static str,
    },
    /// The label has no bounds.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A measured window does not fit into the objective's.
    #[error(
        "windows of {measured_s} s (agent `{agent}`, probe `{probe}`) cannot be added up to the {wanted_s} s of \
         objective `{objective}`; its `window: width` must be a multiple of the measured width"
    )]
    WindowWidth {
        /// The objective.
        objective: String,
        /// The agent.
        agent: String,
        /// The probe.
        probe: String,
        /// The measured width, in s.
        measured_s: u32,
        /// The objective's, in s.
        wanted_s: u32,
    },
}

/// Judges one period of an agreement.
///
/// # Errors
/// [`JudgeError`] when the question does not fit the agreement, or the evidence does not fit an objective.
pub fn judge(
    agreement: &Agreement,
    windows: &Windows,
    exclusions: &Exclusions,
    question: &Question,
) -> Result<Verdict, JudgeError> {
    let question = &Question { label: agreement.meant(question.label), ..*question };
    let period = question.label.span(agreement.zone())?;
    let exclusions = &exclusion::that_matter(agreement, exclusions, seen(windows, period));
    let horizon = horizon(windows, period);
    let answered = answered(agreement, exclusions, question.as_of_s, horizon);
    let answered = &answered;
    let court = Court { agreement, windows, question, period, answered };
    let mut judged = court.judged()?;
    if judged.is_empty() {
        return Err(JudgeError::LabelFitsNone {
            agreement: agreement.id().to_string(),
            label: question.label.to_string(),
            kind: question.label.kind().as_str(),
        });
    }
    let credits = credit::settle(agreement, question.label, question.signed, &mut judged);
    let termination_right = court.termination_right(&judged)?;
    Ok(Verdict {
        agreement: agreement.id().to_string(),
        version: agreement.version(),
        title: agreement.title().to_owned(),
        signed: question.signed,
        label: question.label.to_string(),
        period,
        as_of_s: question.as_of_s,
        objectives: judged.into_iter().map(|judged| judged.verdict).collect(),
        claims: exclusion::claims(agreement, period, (exclusions, question.as_of_s)),
        credits,
        termination_right,
        inputs_digest: digest::inputs(agreement, windows, exclusions, question),
    })
}

/// From when on burn rates of a period that is open at an instant want to see windows, s since 1970: never before the period
/// before it.
///
/// # Errors
/// [`LabelError`] when the period has no bounds.
pub fn burn_from_s(
    agreement: &Agreement,
    exclusions: &Exclusions,
    (label, as_of_s): (PeriodLabel, i64),
) -> Result<i64, LabelError> {
    let zone = agreement.zone();
    let period = label.span(zone)?;
    let before = label.previous().and_then(|before| before.span(zone).ok());
    let from_s = before.map_or(period.from_s, |before| before.from_s);
    let looked_at = Span { from_s, until_s: period.until_s };
    let exclusions = exclusion::that_matter(agreement, exclusions, looked_at);
    let answered = answered(agreement, &exclusions, Some(as_of_s), looked_at);
    let begins =
        agreement.objectives().iter().zip(&answered).filter_map(|(objective, answered)| {
            let whole_s = answered.service.within(period).seconds();
            let longest_s = burn::longest_s(objective, whole_s);
            let longest_s = longest_s.filter(|_| objective.period == label.kind())?;
            let past = answered.service.within(Span { from_s, until_s: as_of_s });
            let hull = past.last_seconds(longest_s).hull()?;
            // A window that begins before may reach into it.
            Some(hull.from_s.saturating_sub(i64::from(objective.window.width_s)))
        });
    Ok(begins.min().map_or(period.from_s, |begins_s| begins_s.max(from_s).min(period.from_s)))
}

/// The stretch in which service hours matter: where there are windows, the period, and what may still confirm an outage
/// that is going on at its end.
fn horizon(windows: &Windows, period: Span) -> Span {
    let seen = seen(windows, period);
    Span { until_s: seen.until_s.saturating_add(BEYOND_S), ..seen }
}

/// The period, and the stretch where there are windows. Time beyond both changes nothing: what nobody measured is unknown,
/// excluded or not.
fn seen(windows: &Windows, period: Span) -> Span {
    let seen = windows.extent().unwrap_or(period);
    Span { from_s: seen.from_s.min(period.from_s), until_s: seen.until_s.max(period.until_s) }
}

/// The records of excluded time that can matter to a verdict which looks at a stretch of time.
#[must_use]
pub fn exclusions_of(agreement: &Agreement, exclusions: &Exclusions, looks_at: Span) -> Exclusions {
    exclusion::that_matter(agreement, exclusions, looks_at)
}

#[cfg(test)]
mod tests;
