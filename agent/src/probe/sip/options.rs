//! `options`: one request that any SIP server answers (RFC 3261 §11). Pure.

use super::OPTIONS;
use super::caller::{Caller, Line};
use super::message::{Message, cseq};
use super::scenario::{Conclusion, Datagram, Outbox, Scenario, Stamp, Way, words};
use super::spec::Codes;
use super::transaction::{Fired, Heard, NonInviteTransaction};
use crate::probe::failure::Failure;
use probefleet_proto::name::FailureClass;
use tokio::time::Instant;

/// From the first OPTIONS sent to its final response.
const REQUEST_DELAY: &str = "options_request_delay";
/// The same, of an attempt that failed by what was answered.
const REQUEST_DELAY_FAILED: &str = "options_request_delay_failed";

/// An OPTIONS under way.
#[derive(Debug)]
pub(crate) struct Options {
    caller: Caller,
    expected: Codes,
    branch: String,
    request: Vec<u8>,
    transaction: NonInviteTransaction,
    sent_at: Option<Instant>,
    conclusion: Option<Conclusion>,
    outbox: Outbox,
}

impl Options {
    /// Asks.
    pub(crate) fn new(mut caller: Caller, expected: Codes, now: Instant) -> Self {
        let branch = caller.identifiers.branch();
        let uri = caller.target.as_request_uri();
        let line = Line { method: "OPTIONS", uri: &uri, branch: &branch, sequence: 1 };
        let request = caller
            .request(&line, caller.to())
            .header("Contact", caller.contact())
            .header("Accept", super::sdp::CONTENT_TYPE)
            .empty();
        let mut outbox = Outbox::default();
        outbox.push(Way::Target(0), request.clone(), Some(Stamp::Request));
        let transaction = NonInviteTransaction::new(now);
        Self {
            caller,
            expected,
            branch,
            request,
            transaction,
            sent_at: None,
            conclusion: None,
            outbox,
        }
    }

    /// The status of a response to this request.
    fn status(&self, message: &Message<'_>) -> Option<u16> {
        let via = message.only_via()?;
        let (_, method) = cseq(message.first("CSeq")?)?;
        let ours = self.caller.is_local(via.sent_by)
            && via.branch() == Some(self.branch.as_bytes())
            && method == b"OPTIONS";
        message.status().filter(|_| ours)
    }

    fn answered(&mut self, status: u16, response: &Message<'_>, at: Instant) {
        let result = if self.expected.has(status) {
            Ok(status)
        } else {
            let code = format!("sip:{status}");
            Err(Failure::failed(FailureClass::Status, code, words(response)))
        };
        let phase = if result.is_ok() { REQUEST_DELAY } else { REQUEST_DELAY_FAILED };
        let delay = self.sent_at.map(|sent| (phase, at.saturating_duration_since(sent)));
        self.conclude(Conclusion {
            result,
            at,
            phases: delay.into_iter().collect(),
            counters: Vec::new(),
        });
    }

    fn conclude(&mut self, conclusion: Conclusion) {
        self.conclusion.get_or_insert(conclusion);
    }

    fn fail(&mut self, failure: Failure, at: Instant) {
        self.conclude(Conclusion {
            result: Err(failure),
            at,
            phases: Vec::new(),
            counters: Vec::new(),
        });
    }
}

impl Scenario for Options {
    fn receive(&mut self, datagram: &Datagram<'_>) {
        let Some(message) = self.outbox.read(datagram) else { return };
        let Some(status) = self.status(&message) else { return self.outbox.discard() };
        if self.transaction.receive(status, datagram.at) == Heard::Final {
            self.answered(status, &message, datagram.at);
        }
    }

    fn sent(&mut self, _: Stamp, at: Instant) {
        self.sent_at.get_or_insert(at);
    }

    fn unreachable(&mut self, failure: Failure, at: Instant) {
        if self.transaction.is_pending() {
            self.transaction.abandon();
            self.fail(failure, at);
        }
    }

    fn fire(&mut self, now: Instant) {
        match self.transaction.fire(now) {
            Fired::Nothing => {}
            Fired::Resend => self.outbox.push_again(Way::Target(0), self.request.clone()),
            Fired::TimedOut => {
                let why = "no answer in 32 s (timer F)";
                self.fail(Failure::failed(FailureClass::Timeout, OPTIONS, why), now);
            }
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        self.transaction.next_timer()
    }

    fn hang_up(&mut self, now: Instant) {
        self.fail(Failure::timeout(OPTIONS), now);
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }

    fn is_over(&self) -> bool {
        self.conclusion.is_some()
    }

    fn may_be_up(&self) -> bool {
        false
    }
}
