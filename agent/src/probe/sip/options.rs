//! `options`: one request that any SIP server answers (RFC 3261 §11). Pure.

use super::OPTIONS;
use super::caller::{AskPlan, Caller};
use super::inquiry::{Answer, Inquiry, Question};
use super::scenario::{Conclusion, Datagram, Outbox, RETRANSMISSIONS, Scenario, Stamp};
use crate::probe::failure::Failure;
use tokio::time::Instant;

/// From the first OPTIONS sent to its final response.
const REQUEST_DELAY: &str = "options_request_delay";
/// The same, of an attempt that failed by what was answered.
const REQUEST_DELAY_FAILED: &str = "options_request_delay_failed";

/// An OPTIONS under way.
#[derive(Debug)]
pub(crate) struct Options {
    inquiry: Inquiry,
    conclusion: Option<Conclusion>,
}

impl Options {
    /// Asks.
    pub(crate) fn new(caller: Caller, plan: AskPlan, now: Instant) -> Self {
        let question = Question {
            method: "OPTIONS",
            phase: OPTIONS,
            uri: caller.target.as_request_uri(),
            to: caller.to(),
            contact_parameters: String::new(),
            headers: vec![("Accept", super::sdp::CONTENT_TYPE.to_owned())],
        };
        Self { inquiry: Inquiry::new(caller, plan, question, now), conclusion: None }
    }

    fn answered(&mut self, answer: &Answer<'_>, at: Instant) {
        let expected = self.inquiry.expects(answer.status);
        let result = if expected { Ok(answer.status) } else { Err(answer.failure()) };
        let phase = if expected { REQUEST_DELAY } else { REQUEST_DELAY_FAILED };
        let delay = self.inquiry.delay(at).map(|delay| (phase, delay));
        self.conclude(result, at, delay.into_iter().collect());
    }

    fn conclude(
        &mut self,
        result: Result<u16, Failure>,
        at: Instant,
        phases: Vec<(&'static str, std::time::Duration)>,
    ) {
        let retransmits = u64::from(self.inquiry.outbox.retransmits);
        let counters = (retransmits > 0).then_some((RETRANSMISSIONS, retransmits));
        let counters = counters.into_iter().collect();
        self.conclusion.get_or_insert(Conclusion { result, at, phases, counters });
    }

    fn failed(&mut self, failure: Option<Failure>, at: Instant) {
        if let Some(failure) = failure {
            self.conclude(Err(failure), at, Vec::new());
        }
    }
}

impl Scenario for Options {
    fn receive(&mut self, datagram: &Datagram<'_>) {
        if let Some(answer) = self.inquiry.receive(datagram) {
            self.answered(&answer, datagram.at);
        }
    }

    fn sent(&mut self, _: Stamp, at: Instant) {
        self.inquiry.sent(at);
    }

    fn unreachable(&mut self, failure: Failure, at: Instant) {
        let failure = self.inquiry.unreachable(failure, at);
        self.failed(failure, at);
    }

    fn fire(&mut self, now: Instant) {
        let failure = self.inquiry.fire(now);
        self.failed(failure, now);
    }

    fn next_timer(&self) -> Option<Instant> {
        self.inquiry.next_timer()
    }

    fn hang_up(&mut self, now: Instant) {
        self.failed(Some(Failure::timeout(OPTIONS)), now);
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.inquiry.outbox
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
