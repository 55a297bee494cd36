//! One request outside a call and its answer: with credentials when it is challenged (RFC 3261 §22), at the next server
//! when one cannot be had (RFC 3263 §4.3). Pure.

use super::caller::{AskPlan, Caller, Line, carried};
use super::digest::Authorizer;
use super::message::{Message, cseq};
use super::scenario::{Datagram, Outbox, Path, Stamp, Targets, words};
use super::transaction::{Fired, Heard, NonInviteTransaction};
use super::uri::Uri;
use crate::probe::failure::Failure;
use crate::probe::statuses::Statuses;
use probefleet_proto::name::FailureClass;
use std::time::Duration;
use tokio::time::Instant;

/// Most requests of one inquiry: every server of a name, and some challenges; more is a loop.
const REQUESTS_MAX: u32 = 16;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// Such as `OPTIONS`.
    pub(super) method: &'static str,
    /// The phase that a timeout names.
    pub(super) phase: &'static str,
    /// The Request-URI.
    pub(super) uri: Uri,
    /// Whom it is about.
    pub(super) to: String,
    /// What follows the URI in `Contact`.
    pub(super) contact_parameters: String,
    /// Headers of its own.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// A final answer that is not followed by another request.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) message: Message<'a>,
    /// Why its challenge was not answered, where there are credentials.
    pub(super) refused: Option<Failure>,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) question: Question,
    caller: Caller,
    expected: Statuses,
    targets: Targets,
    authorizer: Option<Authorizer>,
    /// Where it goes, by the transport of that server.
    path: Path,
    /// How it went: by a stream, if it was too large for a datagram.
    sent_by: Path,
    /// No stream could be had for what is too large.
    datagrams_only: bool,
    sequence: u32,
    requests: u32,
    branch: String,
    bytes: Vec<u8>,
    transaction: NonInviteTransaction,
    /// When the first request left.
    sent_at: Option<Instant>,
    pub(super) outbox: Outbox,
}

impl Inquiry {
    /// Asks for the first time.
    pub(super) fn new(caller: Caller, plan: AskPlan, question: Question, now: Instant) -> Self {
        let path = plan.targets.path(0);
        let transaction = NonInviteTransaction::new(path.transport, now);
        let mut inquiry = Self {
            question,
            caller: caller.by(&plan),
            expected: plan.expected,
            targets: plan.targets,
            authorizer: plan.credentials.map(Authorizer::new),
            sent_by: path.clone(),
            path,
            datagrams_only: false,
            sequence: 1,
            requests: 0,
            branch: String::new(),
            bytes: Vec::new(),
            transaction,
            sent_at: None,
            outbox: Outbox::default(),
        };
        inquiry.send(now);
        inquiry
    }

    /// Whether a status is as expected.
    pub(super) fn expects(&self, status: u16) -> bool {
        self.expected.has(status)
    }

    /// Asks the same server again, as a request of its own.
    pub(super) fn ask_again(&mut self, now: Instant) {
        self.sequence += 1;
        self.send(now);
    }

    /// A request left.
    pub(super) fn sent(&mut self, at: Instant) {
        self.sent_at.get_or_insert(at);
    }

    /// The delay from the first request that left.
    pub(super) fn delay(&self, at: Instant) -> Option<Duration> {
        self.sent_at.map(|sent| at.saturating_duration_since(sent))
    }

    fn send(&mut self, now: Instant) {
        let question = &self.question;
        self.branch = self.caller.identifiers.branch();
        self.requests += 1;
        let uri = question.uri.to_string();
        let identifiers = &mut self.caller.identifiers;
        let authorizer = self.authorizer.as_mut();
        let credentials =
            authorizer.map(|one| one.headers(question.method, &uri, b"", identifiers));
        let contact = self.caller.contact(&question.uri, self.path.transport);
        let contact = contact + &question.contact_parameters;
        let write = |transport| {
            let line = Line {
                method: question.method,
                uri: &question.uri,
                branch: &self.branch,
                sequence: self.sequence,
                transport,
            };
            let request = self.caller.initial(&line, &question.to).header("Contact", &contact);
            let own = question.headers.iter().chain(credentials.iter().flatten());
            own.fold(request, |request, (name, value)| request.header(name, value)).empty()
        };
        let (bytes, sent_by) = carried(&self.path, self.datagrams_only, write);
        self.sent_by = sent_by;
        self.transaction = NonInviteTransaction::new(self.sent_by.transport, now);
        // One that found no stream has not left: then the next begins the delay.
        let stamp = self.sent_at.is_none().then_some(Stamp::Request);
        self.outbox.push(&self.sent_by, bytes.clone(), stamp);
        self.bytes = bytes;
    }

    /// A datagram has come: the answer, if it is one and the last.
    pub(super) fn receive<'a>(&mut self, datagram: &Datagram<'a>) -> Option<Answer<'a>> {
        let message = self.outbox.read(datagram)?;
        let Some(status) = self.status(&message) else {
            self.outbox.discard();
            return None;
        };
        if self.transaction.receive(status, datagram.at) != Heard::Final {
            return None;
        }
        let refused = match self.answer_challenge(status, &message, datagram.at) {
            Ok(true) => return None,
            Ok(false) => None,
            Err(refused) => Some(refused),
        };
        let unavailable = status == 503 && !self.expected.has(status);
        if unavailable && self.fail_over(datagram.at) {
            return None;
        }
        Some(Answer { status, message, refused })
    }

    /// The status of a response to this request.
    fn status(&self, message: &Message<'_>) -> Option<u16> {
        let via = message.only_via()?;
        let (_, method) = cseq(message.first("CSeq")?)?;
        let ours = self.caller.is_local(via.sent_by)
            && via.branch() == Some(self.branch.as_bytes())
            && method == self.question.method.as_bytes();
        message.status().filter(|_| ours)
    }

    fn answer_challenge(
        &mut self,
        status: u16,
        message: &Message<'_>,
        now: Instant,
    ) -> Result<bool, Failure> {
        let Some(authorizer) = self.authorizer.as_mut().filter(|_| matches!(status, 401 | 407))
        else {
            return Ok(false);
        };
        let refused =
            |why: String| Failure::failed(FailureClass::Auth, format!("sip:{status}"), why);
        authorizer.challenged(message).map_err(|why| refused(why.to_string()))?;
        if self.requests == REQUESTS_MAX {
            return Err(refused("challenged again and again".to_owned()));
        }
        self.ask_again(now);
        Ok(true)
    }

    /// Asks the next server: the same request in a new transaction.
    fn fail_over(&mut self, now: Instant) -> bool {
        let next = self.targets.next(&self.path).filter(|_| self.requests < REQUESTS_MAX);
        let Some(next) = next else { return false };
        (self.path, self.datagrams_only) = (next, false);
        self.send(now);
        true
    }

    /// The network says that nobody is there: the failure, if nobody else can be asked.
    pub(super) fn unreachable(&mut self, failure: Failure, now: Instant) -> Option<Failure> {
        if !self.transaction.is_pending() {
            return None;
        }
        self.transaction.abandon();
        if self.sent_by != self.path {
            // No stream for what is too large for a datagram: it is tried as one all the same (RFC 3261 §18.1.1).
            self.datagrams_only = true;
            self.send(now);
            return None;
        }
        (!self.fail_over(now)).then_some(failure)
    }

    /// Fires the timers that are due: the failure, if it was the last.
    pub(super) fn fire(&mut self, now: Instant) -> Option<Failure> {
        match self.transaction.fire(now) {
            Fired::Nothing => None,
            Fired::Resend => {
                self.outbox.push_again(&self.sent_by, self.bytes.clone());
                None
            }
            Fired::TimedOut => {
                let why = "no answer in 32 s (timer F)";
                let failure = Failure::failed(FailureClass::Timeout, self.question.phase, why);
                (!self.fail_over(now)).then_some(failure)
            }
        }
    }

    /// When the next timer fires.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.transaction.next_timer()
    }
}

impl Answer<'_> {
    /// Why it is not what was expected.
    pub(super) fn failure(&self) -> Failure {
        self.refused.clone().unwrap_or_else(|| {
            let code = format!("sip:{}", self.status);
            Failure::failed(FailureClass::Status, code, words(&self.message))
        })
    }
}
