//! The verdict: a pure function of an agreement, the evidence and a question. No clock, no I/O, no float.

pub mod evidence;
pub mod verdict;

pub use evidence::{Added, Cell, Counts, EvidenceError, Observed, Phases, Windows, Within};
pub use verdict::{ObjectiveVerdict, Status, Verdict};

use crate::contract::Agreement;
use crate::contract::period::{LabelError, PeriodLabel};

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
    question: &Question,
) -> Result<Verdict, JudgeError> {
    let _ = (windows, agreement.zone());
    Err(JudgeError::LabelFitsNone {
        agreement: agreement.id().to_string(),
        label: question.label.to_string(),
        kind: question.label.kind().as_str(),
    })
}
