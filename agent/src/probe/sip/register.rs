//! `register`: tells a registrar where this side is, and takes it back (RFC 3261 §10.2). Pure.
//!
//! The delay is that of RFC 6076 §4.1: from the first REGISTER to its 200, challenges in between included. What follows
//! removes the binding again; it changes no outcome, but one that may be left behind is told.

use super::REGISTER;
use super::caller::{AskPlan, Caller, named};
use super::inquiry::{Answer, Inquiry, Question};
use super::message::Message;
use super::scenario::{Conclusion, Datagram, Outbox, RETRANSMISSIONS, Scenario, Stamp};
use super::uri::Uri;
use crate::probe::failure::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// From the first REGISTER to its 200 (RFC 6076 §4.1).
const REQUEST_DELAY: &str = "registration_request_delay";
/// Longest binding that a registrar may demand of an attempt, in seconds: a day. It is removed anyhow.
const EXPIRES_MAX_S: u32 = 86_400;

/// How an attempt registers.
#[derive(Debug)]
pub(crate) struct RegisterPlan {
    /// Whom to ask.
    pub(crate) ask: AskPlan,
    /// How long the binding is to last, in seconds, should it not be removed.
    pub(crate) expires_s: u32,
}

/// What is under way.
#[derive(Debug)]
enum Stage {
    /// The binding is being made.
    Making,
    /// The figure is certain: the binding is being removed.
    Removing(Result<u16, Failure>),
    /// Nothing.
    Done,
}

/// A registration under way.
#[derive(Debug)]
pub(crate) struct Register {
    inquiry: Inquiry,
    stage: Stage,
    expires_s: u32,
    /// The registrar has said once that this is too short.
    prolonged: bool,
    delay: Option<Duration>,
    ineffective: bool,
    teardown_failed: bool,
    conclusion: Option<Conclusion>,
}

impl Register {
    /// Registers the address of record that is the caller's target, or who the plan says it is.
    pub(crate) fn new(caller: Caller, plan: RegisterPlan, now: Instant) -> Self {
        let record = plan.ask.from.clone().unwrap_or_else(|| Box::new(named(&caller.target)));
        let ask = AskPlan { from: Some(record.clone()), ..plan.ask };
        let question = Question {
            method: "REGISTER",
            phase: REGISTER,
            // A domain, and no user (§10.2).
            uri: Uri { user: None, ..caller.target.as_request_uri() },
            to: format!("<{}>", named(&record)),
            contact_parameters: String::new(),
            headers: expires(plan.expires_s),
        };
        Self {
            inquiry: Inquiry::new(caller, ask, question, now),
            stage: Stage::Making,
            expires_s: plan.expires_s,
            prolonged: false,
            delay: None,
            ineffective: false,
            teardown_failed: false,
            conclusion: None,
        }
    }

    fn answered(&mut self, answer: &Answer<'_>, at: Instant) {
        let status = answer.status;
        if !matches!(self.stage, Stage::Making) {
            self.teardown_failed |= !(200..300).contains(&status);
            return self.end(at);
        }
        if self.prolong(answer, at) {
            return;
        }
        // RFC 6076 §4.2: demands for credentials or payment are no failed registrations.
        self.ineffective = status >= 400 && !matches!(status, 401 | 402 | 407);
        let expected = self.inquiry.expects(status);
        let result = if expected { Ok(status) } else { Err(answer.failure()) };
        if (200..300).contains(&status) {
            self.delay = self.inquiry.delay(at);
            self.remove(result, at);
        } else {
            self.conclude(result, at);
        }
    }

    /// A binding that lasts as long as the registrar demands at least (§10.2.8), once.
    fn prolong(&mut self, answer: &Answer<'_>, now: Instant) -> bool {
        let demanded = min_expires(&answer.message).filter(|demanded| {
            answer.status == 423
                && !self.prolonged
                && (self.expires_s + 1..=EXPIRES_MAX_S).contains(demanded)
        });
        let Some(demanded) = demanded else { return false };
        (self.prolonged, self.expires_s) = (true, demanded);
        self.inquiry.question.headers = expires(demanded);
        self.inquiry.ask_again(now);
        true
    }

    /// Removes the binding (§10.2.2).
    fn remove(&mut self, result: Result<u16, Failure>, now: Instant) {
        self.stage = Stage::Removing(result);
        ";expires=0".clone_into(&mut self.inquiry.question.contact_parameters);
        self.inquiry.question.headers = expires(0);
        self.inquiry.ask_again(now);
    }

    /// What was to be removed is, or will not be.
    fn end(&mut self, at: Instant) {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Removing(result) => self.conclude(result, at),
            Stage::Making | Stage::Done => {}
        }
    }

    fn failed(&mut self, failure: Option<Failure>, at: Instant) {
        let Some(failure) = failure else { return };
        if matches!(self.stage, Stage::Making) {
            self.ineffective = true;
            return self.conclude(Err(failure), at);
        }
        self.teardown_failed = true;
        self.end(at);
    }

    /// Only the first counts.
    fn conclude(&mut self, result: Result<u16, Failure>, at: Instant) {
        if !matches!(self.stage, Stage::Removing(_)) {
            self.stage = Stage::Done;
        }
        if self.conclusion.is_some() {
            return;
        }
        if self.teardown_failed {
            self.inquiry.outbox.note("teardown_failed", 1);
        }
        let retransmits = u64::from(self.inquiry.outbox.retransmits);
        let counters = [
            ("registrations_ineffective", u64::from(self.ineffective)),
            ("teardown_failed", u64::from(self.teardown_failed)),
            (RETRANSMISSIONS, retransmits),
        ];
        let counted = counters.into_iter().filter(|(_, count)| *count > 0);
        self.conclusion = Some(Conclusion {
            result,
            at,
            phases: self.delay.map(|delay| (REQUEST_DELAY, delay)).into_iter().collect(),
            counters: [("registrations", 1)].into_iter().chain(counted).collect(),
        });
    }
}

fn expires(seconds: u32) -> Vec<(&'static str, String)> {
    vec![("Expires", seconds.to_string())]
}

fn min_expires(message: &Message<'_>) -> Option<u32> {
    std::str::from_utf8(message.first("Min-Expires")?).ok()?.parse().ok()
}

impl Scenario for Register {
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
        match &self.stage {
            // Whatever the registrar makes of the first request, the second, which has a higher number, takes it back
            // (§10.3, step 7).
            Stage::Making => {
                self.ineffective = true;
                self.remove(Err(Failure::timeout(REGISTER)), now);
                self.conclude(Err(Failure::timeout(REGISTER)), now);
            }
            Stage::Removing(result) => {
                let result = result.clone();
                self.teardown_failed = true;
                self.conclude(result, now);
            }
            Stage::Done => {}
        }
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.inquiry.outbox
    }

    fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    fn may_be_up(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
