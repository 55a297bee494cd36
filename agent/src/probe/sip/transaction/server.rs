//! As much of a server transaction as a client needs: the same answer to the same request (RFC 3261 §17.2.2).
//!
//! The peer of a call may ask something in it: its BYE, a re-INVITE. Each is answered at once with a final response, so
//! all that is left to do is to answer a repetition alike. That holds for a re-INVITE too: without a provisional response
//! its sender repeats it until the refusal arrives (timer A), so that the refusal needs no timer of its own.

use crate::probe::sip::message::Message;
use crate::probe::sip::timers::TRANSACTION;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is kept (timer J).
const KEPT: Duration = TRANSACTION;
/// Most answers kept for one call: a peer asks twice or three times.
const KEPT_MAX: usize = 16;

/// What was answered to which request.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnsweredRequests {
    kept: VecDeque<Answered>,
}

/// One answered request.
#[derive(Clone, Debug)]
struct Answered {
    /// `Via` and method: they name the transaction (§17.2.3).
    key: Vec<u8>,
    response: Vec<u8>,
    until: Instant,
}

impl AnsweredRequests {
    /// The answer that this request has had.
    pub(crate) fn find(&self, request: &Message<'_>, now: Instant) -> Option<&[u8]> {
        let key = key(request)?;
        let same = |kept: &&Answered| kept.key == key && kept.until > now;
        self.kept.iter().find(same).map(|kept| kept.response.as_slice())
    }

    /// Keeps the answer to a request; the oldest makes room.
    pub(crate) fn keep(&mut self, request: &Message<'_>, response: Vec<u8>, now: Instant) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.extend(key(request).map(|key| Answered { key, response, until: now + KEPT }));
    }
}

fn key(request: &Message<'_>) -> Option<Vec<u8>> {
    let via = request.values("Via").next()?;
    Some([via, b"\n", request.method()?].concat())
}
