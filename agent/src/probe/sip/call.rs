//! `call`: INVITE, ACK, hold, BYE, and whatever a peer makes of it (RFC 3261 §13–15, RFC 6026). Pure.
//!
//! The call concludes where its outcome is certain: refused, or ended again after it was held. A call that is still
//! ringing at the deadline concludes there, is cancelled, and stays to acknowledge what comes of that. Every accepted
//! call is acknowledged and ended, those of a fork, and those that crossed our CANCEL, at once.

mod dialog;
mod outgoing;
mod requests;
mod times;

use super::INVITE;
use super::caller::{ALLOW, Caller, Line};
use super::message::{Message, StartLine, cseq, parameter};
use super::scenario::{Conclusion, Datagram, Outbox, Scenario, Stamp, Way, words};
use super::sdp::{CONTENT_TYPE, MediaPlace, audio};
use super::spec::Codes;
use super::transaction::{
    AnsweredRequests, Fired, Heard, InviteFired, InviteHeard, InviteTransaction,
};
use super::uri::Uri;
use crate::probe::failure::Failure;
use dialog::{Dialog, INVITE_SEQUENCE};
use outgoing::Request;
use probefleet_proto::name::FailureClass;
use std::time::Duration;
use times::Times;
use tokio::time::Instant;

/// Most calls that a fork can make of one INVITE and that are ended in due form.
const DIALOGS_MAX: usize = 16;
/// What is left of an attempt when its BYE leaves, so that a lost one can be sent again once.
pub(crate) const TEARDOWN: Duration = Duration::from_secs(1);

/// How a call is made.
#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    /// Statuses that are as expected.
    pub(crate) expected: Codes,
    /// How long it is held.
    pub(crate) hold: Duration,
    /// When it must have ended.
    pub(crate) deadline: Instant,
    /// Where audio may come.
    pub(crate) media: MediaPlace,
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    caller: Caller,
    plan: CallPlan,
    uri: Uri,
    branch: String,
    invite: Vec<u8>,
    transaction: InviteTransaction,
    cancel: Option<Request>,
    /// The ACK of a refusal, for its repetitions.
    refusal_ack: Vec<u8>,
    /// The first is the call; others are a fork's.
    dialogs: Vec<Dialog>,
    hold_until: Option<Instant>,
    answered: AnsweredRequests,
    times: Times,
    /// Nobody waits any more: what comes is only ended in due form.
    abandoned: bool,
    conclusion: Option<Conclusion>,
    outbox: Outbox,
}

impl Call {
    /// Calls.
    pub(crate) fn new(mut caller: Caller, plan: CallPlan, now: Instant) -> Self {
        let branch = caller.identifiers.branch();
        let session = caller.identifiers.number();
        let uri = caller.target.as_request_uri();
        let line = Line { method: "INVITE", uri: &uri, branch: &branch, sequence: INVITE_SEQUENCE };
        let invite = caller
            .request(&line, caller.to())
            .header("Contact", caller.contact())
            .header("Allow", ALLOW)
            .header("Accept", CONTENT_TYPE)
            .body(CONTENT_TYPE, plan.media.offer(session).as_bytes());
        let mut outbox = Outbox::default();
        outbox.push(Way::Target(0), invite.clone(), Some(Stamp::Request));
        Self {
            caller,
            plan,
            uri,
            branch,
            invite,
            transaction: InviteTransaction::new(now),
            cancel: None,
            refusal_ack: Vec::new(),
            dialogs: Vec::new(),
            hold_until: None,
            answered: AnsweredRequests::default(),
            times: Times::default(),
            abandoned: false,
            conclusion: None,
            outbox,
        }
    }

    /// Only the first counts.
    fn conclude(&mut self, result: Result<u16, Failure>, at: Instant) {
        if self.conclusion.is_none() {
            let phases = self.times.phases(result.as_ref().ok().copied());
            self.conclusion = Some(Conclusion { result, at, phases, counters: Vec::new() });
        }
    }

    /// A request within this attempt's INVITE: its ACK or its CANCEL (RFC 3261 §9.1, §17.1.1.3).
    fn within_invite(&self, method: &'static str, to: &[u8]) -> Vec<u8> {
        let sequence = INVITE_SEQUENCE;
        let line = Line { method, uri: &self.uri, branch: &self.branch, sequence };
        self.caller.request(&line, to).empty()
    }

    fn cancel(&mut self, now: Instant) {
        let bytes = self.within_invite("CANCEL", self.caller.to().as_bytes());
        self.cancel = Some(Request::new("CANCEL", self.branch.clone(), bytes.clone(), now));
        self.outbox.push(Way::Target(0), bytes, None);
    }

    fn hang_up_dialog(&mut self, index: usize, now: Instant) {
        let Some(dialog) = self.dialogs.get_mut(index).filter(|dialog| dialog.is_up()) else {
            return;
        };
        let (way, bye) = (dialog.way.clone(), dialog.hang_up(&mut self.caller, now));
        self.outbox.push(way, bye, (index == 0).then_some(Stamp::Bye));
    }

    /// The call was set up, and what has become of its BYE is certain.
    fn torn_down(&mut self, well: bool, at: Instant) {
        let Some(status) = self.dialogs.first().map(|dialog| dialog.status) else { return };
        if self.conclusion.is_none() && !well {
            self.outbox.note("teardown_failed", 1);
        }
        self.conclude(Ok(status), at);
    }
}

// === responses ===

impl Call {
    fn response(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        let Some((branch, method)) = self.transaction_of(message) else {
            return self.outbox.discard();
        };
        if branch == self.branch.as_bytes() && method == b"INVITE" {
            return self.invite_response(status, message, at);
        }
        if let Some(cancel) = self.cancel.as_mut().filter(|one| one.is_answered_by(branch, method))
        {
            cancel.transaction.receive(status, at);
            return;
        }
        let ended = self.dialogs.iter_mut().enumerate().find_map(|(index, dialog)| {
            let bye = dialog.bye.as_mut().filter(|bye| bye.is_answered_by(branch, method))?;
            Some((index, bye.transaction.receive(status, at)))
        });
        match ended {
            Some((0, Heard::Final)) => self.bye_response(status, at),
            Some(_) => {}
            None => self.outbox.discard(),
        }
    }

    /// Branch and method of a response, if it is one to this side (RFC 3261 §8.1.3.3, §18.1.2).
    fn transaction_of<'a>(&self, message: &'a Message<'_>) -> Option<(&'a [u8], &'a [u8])> {
        let via = message.only_via()?;
        let (_, method) = cseq(message.first("CSeq")?)?;
        let ours = self.caller.is_local(via.sent_by)
            && self.caller.is_call_id(message.first("Call-ID"))
            && self.caller.is_tag(message.tag("From"));
        via.branch().filter(|_| ours).map(|branch| (branch, method))
    }

    fn invite_response(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        match self.transaction.receive(status, at) {
            InviteHeard::Nothing => {}
            InviteHeard::Provisional => {
                self.times.provisional(status, at);
                // Before a provisional response a CANCEL might overtake its INVITE (§9.1).
                if self.abandoned && self.cancel.is_none() {
                    self.cancel(at);
                }
            }
            InviteHeard::Accepted => self.accepted(status, message, at),
            InviteHeard::Refused => self.refused(status, message, at),
            InviteHeard::RefusedAgain => {
                self.outbox.push(Way::Target(0), self.refusal_ack.clone(), None);
            }
        }
    }

    fn refused(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        self.times.refused(status, at);
        self.refusal_ack = self.within_invite("ACK", message.first("To").unwrap_or_default());
        self.outbox.push(Way::Target(0), self.refusal_ack.clone(), None);
        self.note_public_address(message);
        let result =
            if self.plan.expected.has(status) { Ok(status) } else { Err(unexpected(message)) };
        self.conclude(result, at);
    }

    /// Every 2xx is acknowledged, and again when it comes again (RFC 3261 §13.2.2.4).
    fn accepted(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        let tag = message.tag("To").unwrap_or_default();
        let known = self.dialogs.iter().find(|dialog| dialog.remote_tag == tag);
        if let Some(dialog) = known {
            return self.outbox.push(dialog.way.clone(), dialog.ack(), None);
        }
        if self.dialogs.len() == DIALOGS_MAX {
            return self.outbox.discard();
        }
        let index = self.dialogs.len();
        let dialog = Dialog::new(&mut self.caller, message, status, index == 0);
        self.outbox.push(dialog.way.clone(), dialog.ack(), None);
        self.dialogs.push(dialog);
        if index > 0 || self.abandoned {
            return self.hang_up_dialog(index, at);
        }
        self.times.accepted(at);
        self.note_public_address(message);
        self.note_media(message);
        if self.plan.expected.has(status) {
            let latest = self.plan.deadline.checked_sub(TEARDOWN).unwrap_or(at).max(at);
            self.hold_until = Some((at + self.plan.hold).min(latest));
        } else {
            self.conclude(Err(unexpected(message)), at);
            self.hang_up_dialog(index, at);
        }
    }

    fn bye_response(&mut self, status: u16, at: Instant) {
        let well = (200..300).contains(&status);
        self.times.disconnected(well, at);
        self.torn_down(well, at);
    }

    fn note_media(&mut self, message: &Message<'_>) {
        let audio = audio(message.body).map(|audio| {
            format!("{} at {} port {}", audio.codec, audio.place.address, audio.place.port)
        });
        self.outbox.note("media", audio.unwrap_or_else(|| "none".to_owned()));
    }

    /// Where the other side saw us, if that is elsewhere than where we are (RFC 3581 §4).
    fn note_public_address(&mut self, message: &Message<'_>) {
        let Some(via) = message.only_via() else { return };
        let text = |name| {
            let value = parameter(via.parameters, name).flatten()?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        if let (Some(host), Some(port)) = (text("received"), text("rport")) {
            let seen = if host.contains(':') && !host.starts_with('[') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            if !self.caller.is_local(seen.as_bytes()) {
                self.outbox.note("seen_as", seen);
            }
        }
    }
}

fn unexpected(response: &Message<'_>) -> Failure {
    let status = response.status().unwrap_or_default();
    Failure::failed(FailureClass::Status, format!("sip:{status}"), words(response))
}

// === time ===

impl Call {
    fn fire_invite(&mut self, now: Instant) {
        match self.transaction.fire(now) {
            InviteFired::Nothing => {}
            InviteFired::Resend => self.outbox.push_again(Way::Target(0), self.invite.clone()),
            // For a client this is as if 408 had come (RFC 3261 §8.1.3.1).
            InviteFired::TimedOut => {
                let why = "no answer in 32 s (timer B)";
                self.conclude(Err(Failure::failed(FailureClass::Timeout, INVITE, why)), now);
            }
        }
    }

    fn fire_byes(&mut self, now: Instant) {
        let mut timed_out = false;
        for (index, dialog) in self.dialogs.iter_mut().enumerate() {
            let Some(bye) = &mut dialog.bye else { continue };
            match bye.transaction.fire(now) {
                Fired::Nothing => {}
                Fired::Resend => self.outbox.push_again(dialog.way.clone(), bye.bytes.clone()),
                Fired::TimedOut => timed_out |= index == 0,
            }
        }
        if timed_out {
            self.torn_down(false, now);
        }
    }
}

impl Scenario for Call {
    fn receive(&mut self, datagram: &Datagram<'_>) {
        let Some(message) = self.outbox.read(datagram) else { return };
        match message.start {
            StartLine::Response { status, .. } => self.response(status, &message, datagram.at),
            StartLine::Request { .. } => self.request(&message, datagram),
        }
    }

    fn sent(&mut self, stamp: Stamp, at: Instant) {
        self.times.sent(stamp, at);
    }

    fn unreachable(&mut self, failure: Failure, at: Instant) {
        if self.transaction.is_pending() {
            self.transaction.abandon();
            self.conclude(Err(failure), at);
        }
        let mut ended = false;
        for (index, dialog) in self.dialogs.iter_mut().enumerate() {
            if let Some(bye) = dialog.bye.as_mut().filter(|bye| bye.transaction.is_pending()) {
                bye.transaction.abandon();
                ended |= index == 0;
            }
        }
        if ended {
            self.torn_down(false, at);
        }
    }

    fn fire(&mut self, now: Instant) {
        self.fire_invite(now);
        if let Some(cancel) = &mut self.cancel
            && cancel.transaction.fire(now) == Fired::Resend
        {
            self.outbox.push_again(Way::Target(0), cancel.bytes.clone());
        }
        self.fire_byes(now);
        if self.hold_until.take_if(|until| *until <= now).is_some() {
            self.hang_up_dialog(0, now);
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let byes = self.dialogs.iter().filter_map(|dialog| dialog.bye.as_ref());
        let others = byes.chain(&self.cancel).filter_map(|one| one.transaction.next_timer());
        self.transaction.next_timer().into_iter().chain(others).chain(self.hold_until).min()
    }

    fn hang_up(&mut self, now: Instant) {
        if self.abandoned {
            return;
        }
        self.abandoned = true;
        self.hold_until = None;
        if self.transaction.is_proceeding() {
            self.cancel(now);
        }
        self.transaction.stop_sending(now);
        for index in 0..self.dialogs.len() {
            self.hang_up_dialog(index, now);
        }
        if self.dialogs.is_empty() {
            self.conclude(Err(Failure::timeout(INVITE)), now);
        } else {
            self.torn_down(false, now);
        }
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }

    fn is_over(&self) -> bool {
        let acknowledges = self.dialogs.is_empty() && !self.transaction.is_terminated();
        self.conclusion.is_some() && !acknowledges && !self.may_be_up()
    }

    fn may_be_up(&self) -> bool {
        let calls = self.dialogs.iter().any(|dialog| dialog.is_up() || dialog.is_ending());
        self.transaction.is_pending() || calls
    }
}

#[cfg(test)]
mod tests;
