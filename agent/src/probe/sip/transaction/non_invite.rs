//! The client transaction of every other request (RFC 3261 §17.1.2).

use crate::probe::sip::timers::{K, T1, T2, TRANSACTION, doubled_to_t2};
use crate::probe::sip::transport::Transport;
use std::time::Duration;
use tokio::time::Instant;

/// A request such as BYE, CANCEL or OPTIONS, and what has become of it.
#[derive(Clone, Debug)]
pub(crate) struct NonInviteTransaction {
    state: State,
    /// Whether what carries it loses nothing: then there is neither timer E nor timer K.
    reliable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was heard. Timer E sends again, timer F gives up.
    Trying { resend_at: Instant, wait: Duration, give_up_at: Instant },
    /// A provisional response has come: timer E goes on, every T2.
    Proceeding { resend_at: Instant, give_up_at: Instant },
    /// Answered: until timer K the answer may come again.
    Completed { until: Instant },
    /// Over.
    Terminated,
}

/// What a response means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing any more.
    Nothing,
    /// It is being worked on.
    Provisional,
    /// The answer.
    Final,
}

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// Nothing.
    Nothing,
    /// Send the request again.
    Resend,
    /// No answer in 64·T1.
    TimedOut,
}

impl NonInviteTransaction {
    /// The request is sent now.
    pub(crate) fn new(transport: Transport, now: Instant) -> Self {
        let (reliable, give_up_at) = (transport.is_reliable(), now + TRANSACTION);
        let wait = if reliable { TRANSACTION } else { T1 };
        Self { state: State::Trying { resend_at: now + wait, wait, give_up_at }, reliable }
    }

    /// A response to it has come.
    pub(crate) fn receive(&mut self, status: u16, now: Instant) -> Heard {
        match (self.state, status) {
            (State::Trying { resend_at, give_up_at, .. }, 100..200) => {
                self.state = State::Proceeding { resend_at, give_up_at };
                Heard::Provisional
            }
            (State::Proceeding { .. }, 100..200) => Heard::Provisional,
            (State::Trying { .. } | State::Proceeding { .. }, _) => {
                self.state = State::Completed { until: if self.reliable { now } else { now + K } };
                Heard::Final
            }
            (State::Completed { .. } | State::Terminated, _) => Heard::Nothing,
        }
    }

    /// Fires the timers that are due.
    pub(crate) fn fire(&mut self, now: Instant) -> Fired {
        match self.state {
            State::Trying { give_up_at, .. } | State::Proceeding { give_up_at, .. }
                if give_up_at <= now =>
            {
                self.state = State::Terminated;
                Fired::TimedOut
            }
            State::Trying { resend_at, wait, give_up_at } if resend_at <= now => {
                let wait = doubled_to_t2(wait);
                self.state = State::Trying { resend_at: now + wait, wait, give_up_at };
                Fired::Resend
            }
            State::Proceeding { resend_at, give_up_at } if resend_at <= now => {
                self.state = State::Proceeding { resend_at: now + T2, give_up_at };
                Fired::Resend
            }
            State::Completed { until } if until <= now => {
                self.state = State::Terminated;
                Fired::Nothing
            }
            _ => Fired::Nothing,
        }
    }

    /// When the next timer fires.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        match self.state {
            State::Trying { resend_at, give_up_at, .. }
            | State::Proceeding { resend_at, give_up_at } => Some(resend_at.min(give_up_at)),
            State::Completed { until } => Some(until),
            State::Terminated => None,
        }
    }

    /// The transport cannot carry it (§17.1.4).
    pub(crate) fn abandon(&mut self) {
        self.state = State::Terminated;
    }

    /// No answer has come, and one may still.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }
}
