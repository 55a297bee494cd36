//! The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §7.2).

use crate::probe::sip::timers::{D, T1, TRANSACTION};
use crate::probe::sip::transport::Transport;
use std::time::Duration;
use tokio::time::Instant;

/// An INVITE and what has become of it.
#[derive(Clone, Debug)]
pub(crate) struct InviteTransaction {
    state: State,
    /// Timer D: nothing where the transport loses nothing.
    kept: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was heard. Timer A sends again, timer B gives up.
    Calling { resend_at: Instant, wait: Duration, give_up_at: Instant },
    /// A provisional response has stopped both timers.
    Proceeding,
    /// Refused: until timer D every repetition of the refusal is acknowledged again.
    Completed { until: Instant },
    /// Accepted: until timer M every 2xx goes to whoever acknowledges it.
    Accepted { until: Instant },
    /// Over: whatever still comes is dropped.
    Terminated,
}

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InviteHeard {
    /// Nothing any more.
    Nothing,
    /// It is being worked on.
    Provisional,
    /// A 2xx, the first or any other: to be acknowledged by the call it makes.
    Accepted,
    /// The refusal: to be acknowledged.
    Refused,
    /// The refusal again: to be acknowledged again, and nothing else.
    RefusedAgain,
}

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InviteFired {
    /// Nothing.
    Nothing,
    /// Send the INVITE again.
    Resend,
    /// No response at all in 64·T1.
    TimedOut,
}

impl InviteTransaction {
    /// The INVITE is sent now. What a reliable transport carries is not sent again (no timer A), and its refusal does not
    /// come again (timer D is 0).
    pub(crate) fn new(transport: Transport, now: Instant) -> Self {
        let give_up_at = now + TRANSACTION;
        let (wait, kept) =
            if transport.is_reliable() { (TRANSACTION, Duration::ZERO) } else { (T1, D) };
        Self { state: State::Calling { resend_at: now + wait, wait, give_up_at }, kept }
    }

    /// A response to it has come.
    pub(crate) fn receive(&mut self, status: u16, now: Instant) -> InviteHeard {
        match (self.state, status) {
            (State::Calling { .. } | State::Proceeding, 100..200) => {
                self.state = State::Proceeding;
                InviteHeard::Provisional
            }
            (State::Calling { .. } | State::Proceeding, 200..300) => {
                self.state = State::Accepted { until: now + TRANSACTION };
                InviteHeard::Accepted
            }
            (State::Calling { .. } | State::Proceeding, _) => {
                self.state = State::Completed { until: now + self.kept };
                InviteHeard::Refused
            }
            (State::Accepted { .. }, 200..300) => InviteHeard::Accepted,
            (State::Completed { .. }, 300..) => InviteHeard::RefusedAgain,
            (State::Accepted { .. } | State::Completed { .. } | State::Terminated, _) => {
                InviteHeard::Nothing
            }
        }
    }

    /// Fires the timers that are due.
    pub(crate) fn fire(&mut self, now: Instant) -> InviteFired {
        match self.state {
            State::Calling { give_up_at, .. } if give_up_at <= now => {
                self.state = State::Terminated;
                InviteFired::TimedOut
            }
            State::Calling { resend_at, wait, give_up_at } if resend_at <= now => {
                // Doubles without bound, but B ends it (§17.1.1.2).
                let wait = wait.saturating_mul(2);
                self.state = State::Calling { resend_at: now + wait, wait, give_up_at };
                InviteFired::Resend
            }
            State::Completed { until } | State::Accepted { until } if until <= now => {
                self.state = State::Terminated;
                InviteFired::Nothing
            }
            _ => InviteFired::Nothing,
        }
    }

    /// When the next timer fires.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        match self.state {
            State::Calling { resend_at, give_up_at, .. } => Some(resend_at.min(give_up_at)),
            State::Completed { until } | State::Accepted { until } => Some(until),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// Nobody waits for the answer any more: it is not sent again, but what comes is still heard.
    pub(crate) fn stop_sending(&mut self, now: Instant) {
        if let State::Calling { give_up_at, .. } = self.state {
            let wait = give_up_at.saturating_duration_since(now);
            self.state = State::Calling { resend_at: give_up_at, wait, give_up_at };
        }
    }

    /// The transport cannot carry it (§17.1.4).
    pub(crate) fn abandon(&mut self) {
        self.state = State::Terminated;
    }

    /// A provisional response has come, and no final one.
    pub(crate) fn is_proceeding(&self) -> bool {
        self.state == State::Proceeding
    }

    /// No final response has come, and one may still.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding)
    }

    /// Whether it is over.
    pub(crate) fn is_terminated(&self) -> bool {
        self.state == State::Terminated
    }
}
