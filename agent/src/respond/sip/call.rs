//! One call, as the one who is called has it (RFC 3261 §13.3, §17.2.1). Pure.

use super::echo::Party;
use crate::probe::sip::timers::{T1, T4, TRANSACTION, doubled_to_t2};
use crate::probe::sip::uri::Hop;
use std::time::Duration;
use tokio::time::Instant;

/// Longest call: whoever has not hung up by then has gone.
const CALL_MAX: Duration = Duration::from_secs(3_600);

/// A call, from its INVITE to the time when nothing of it can come again.
#[derive(Debug)]
pub(super) struct Call {
    /// Top `Via` of the INVITE: it names the transaction.
    pub(super) via: Vec<u8>,
    /// This side's tag.
    pub(super) tag: String,
    /// Where answers to the INVITE go.
    pub(super) to: Hop,
    /// The last answer to the INVITE, for when that comes again; empty for a call that hears nothing.
    pub(super) answer: Vec<u8>,
    /// How far it is.
    pub(super) stage: Stage,
    /// Its audio, if it has any.
    pub(super) leg: Option<Leg>,
}

/// The audio of a call.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// Which line it was promised.
    pub(super) line: usize,
    /// Which call it is, among those of all lines.
    pub(super) call: u64,
    pub(super) party: Party,
    /// The line has been told.
    pub(super) open: bool,
}

/// How far a call is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It rings.
    Ringing {
        answer_at: Instant,
        /// The 200 that will be sent.
        accepted: Vec<u8>,
        /// The 487 that will be sent if it is cancelled.
        cancelled: Vec<u8>,
    },
    /// Answered or refused, and not acknowledged: the answer is sent again (§13.3.1.4 and timer G), and given up after
    /// 64·T1 (timer H).
    Unacknowledged { accepted: bool, resend_at: Instant, wait: Duration, until: Instant },
    /// Acknowledged.
    Up { until: Instant },
    /// Nothing is left but to answer alike what comes again.
    Over { until: Instant, ended: bool },
}

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Send the answer.
    Answer,
    /// Send the answer for the first time: the call is accepted.
    Accept,
    /// Forget the call.
    Forget,
}

impl Stage {
    /// An answer was sent that must be acknowledged.
    pub(super) fn unacknowledged(accepted: bool, now: Instant) -> Self {
        Self::Unacknowledged { accepted, resend_at: now + T1, wait: T1, until: now + TRANSACTION }
    }

    /// Acknowledged now.
    pub(super) fn up(now: Instant) -> Self {
        Self::Up { until: now + CALL_MAX }
    }

    /// A refusal was acknowledged (timer I).
    pub(super) fn refused(now: Instant) -> Self {
        Self::Over { until: now + T4, ended: false }
    }

    /// Hung up now (timer J).
    pub(super) fn ended(now: Instant) -> Self {
        Self::Over { until: now + TRANSACTION, ended: true }
    }

    /// Nothing was and will be answered.
    pub(super) fn unheard(now: Instant) -> Self {
        Self::Over { until: now + TRANSACTION, ended: false }
    }

    /// When its next timer fires.
    pub(super) fn next_timer(&self) -> Instant {
        match self {
            Self::Ringing { answer_at, .. } => *answer_at,
            Self::Unacknowledged { resend_at, until, .. } => *until.min(resend_at),
            Self::Up { until } | Self::Over { until, .. } => *until,
        }
    }

    /// Whether an answer is still to come or to be acknowledged.
    pub(super) fn is_pending(&self) -> bool {
        matches!(self, Self::Ringing { .. } | Self::Unacknowledged { .. })
    }

    /// Whether the caller is heard: from the 200 on, for its audio may come before its ACK.
    pub(super) fn is_heard(&self) -> bool {
        matches!(self, Self::Unacknowledged { accepted: true, .. } | Self::Up { .. })
    }

    /// Whether it is over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over { .. })
    }
}

impl Call {
    /// Fires the timer, if it is due.
    pub(super) fn fire(&mut self, now: Instant) -> Due {
        match &mut self.stage {
            Stage::Ringing { answer_at, accepted, .. } if *answer_at <= now => {
                self.answer = std::mem::take(accepted);
                self.stage = Stage::unacknowledged(true, now);
                Due::Accept
            }
            // Nobody acknowledges: whoever called has gone, or never was there. A BYE (§13.3.1.4) would go to an address
            // that a stranger has named, so there is none.
            Stage::Unacknowledged { until, .. }
            | Stage::Up { until }
            | Stage::Over { until, .. }
                if *until <= now =>
            {
                Due::Forget
            }
            Stage::Unacknowledged { resend_at, wait, .. } if *resend_at <= now => {
                *wait = doubled_to_t2(*wait);
                *resend_at = now + *wait;
                Due::Answer
            }
            _ => Due::Nothing,
        }
    }
}
