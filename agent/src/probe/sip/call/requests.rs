//! What the other side asks within a call: every request gets an answer, or it is repeated for 32 s (RFC 3261 §12.2.2).

use super::Call;
use crate::probe::failure::Failure;
use crate::probe::sip::caller::ALLOW;
use crate::probe::sip::message::{Message, reply};
use crate::probe::sip::scenario::Datagram;
use probefleet_proto::name::FailureClass;
use tokio::time::Instant;

/// The code of a call that the other side ended while it was to be held.
const HUNG_UP: &str = "bye";

const OK: (u16, &str) = (200, "OK");
const NOT_ALLOWED: (u16, &str) = (405, "Method Not Allowed");
const NO_SUCH_CALL: (u16, &str) = (481, "Call/Transaction Does Not Exist");
const PENDING: (u16, &str) = (491, "Request Pending");
const NOT_ACCEPTABLE: (u16, &str) = (488, "Not Acceptable Here");

impl Call {
    /// Answers a request, alike when it comes again.
    pub(super) fn request(&mut self, request: &Message<'_>, datagram: &Datagram<'_>) {
        if request.method() == Some(b"ACK") {
            return;
        }
        let dialog = self.dialog_of(request);
        let status = match dialog {
            Some(_) => Some(answer(request)),
            None if self.is_early(request) => Some(answer_early(request)),
            None => None,
        };
        // It has our Call-ID, and is in no call all the same. A flood must not become a flood of answers.
        let is_stranger = status.is_none();
        if is_stranger && !self.to_strangers.admits(datagram.at) {
            return self.outbox.discard();
        }
        if let Some(response) = self.answered.find(request, datagram.at) {
            return self.outbox.push_back(request, response.to_vec());
        }
        let status = status.unwrap_or(NO_SUCH_CALL);
        let Some(response) = reply(request, status, datagram.source, None) else {
            return self.outbox.discard();
        };
        let response =
            if status == NOT_ALLOWED { response.header("Allow", ALLOW) } else { response }.empty();
        if is_stranger && response.len() > datagram.bytes.len() {
            return self.outbox.discard();
        }
        self.answered.keep(request, response.clone(), datagram.at);
        self.outbox.push_back(request, response);
        if let Some(index) = dialog.filter(|_| request.method() == Some(b"BYE")) {
            self.ended_by_peer(index, datagram.at);
        }
    }

    /// The call that a request is in: both tags and the Call-ID are its own (RFC 3261 §12).
    fn dialog_of(&self, request: &Message<'_>) -> Option<usize> {
        let from = request.tag("From").unwrap_or_default();
        let ours = self.is_ours(request);
        self.dialogs.iter().position(|dialog| ours && dialog.remote.tag == from)
    }

    /// Whether a request is in a call that still rings.
    fn is_early(&self, request: &Message<'_>) -> bool {
        let from = request.tag("From").unwrap_or_default();
        self.is_ours(request) && self.early.iter().any(|early| early.remote.tag == from)
    }

    fn is_ours(&self, request: &Message<'_>) -> bool {
        self.caller.is_call_id(request.first("Call-ID")) && self.caller.is_tag(request.tag("To"))
    }

    fn ended_by_peer(&mut self, index: usize, at: Instant) {
        let Some(dialog) = self.dialogs.get_mut(index) else { return };
        let was_held = dialog.is_up();
        dialog.ended_by_peer = true;
        if index == 0 && was_held {
            (self.hold_until, self.established) = (None, None);
            self.tally.completed = true;
            let why = "the other side hung up before the call was to end";
            self.conclude(Err(Failure::failed(FailureClass::Closed, HUNG_UP, why)), at);
        }
    }
}

/// What a request within a call is answered. A refused re-INVITE or UPDATE leaves the call as it was (RFC 3261 §14.1,
/// RFC 3311 §5.1): nothing can be changed in a call that carries no media.
fn answer(request: &Message<'_>) -> (u16, &'static str) {
    match request.method() {
        Some(b"BYE" | b"OPTIONS" | b"INFO") => OK,
        Some(b"UPDATE") if request.body.is_empty() => OK,
        Some(b"INVITE" | b"UPDATE") => NOT_ACCEPTABLE,
        // Neither a request to cancel nor a subscription is under way.
        Some(b"CANCEL" | b"NOTIFY" | b"PRACK") => NO_SUCH_CALL,
        _ => NOT_ALLOWED,
    }
}

/// The same while the call rings: nobody who is called ends it by BYE (§15), and an offer crosses ours (§14.2, RFC 3311
/// §5.2).
fn answer_early(request: &Message<'_>) -> (u16, &'static str) {
    match request.method() {
        Some(b"BYE") => NO_SUCH_CALL,
        Some(b"INVITE") => PENDING,
        Some(b"UPDATE") if !request.body.is_empty() => PENDING,
        _ => answer(request),
    }
}
