//! `call` and `ring`: INVITE, ACK, hold, BYE, or INVITE and CANCEL, and whatever a peer makes of it (RFC 3261 §13–15, RFC
//! 6026, RFC 3262). Pure.
//!
//! One attempt may take several INVITEs: with credentials, redirected, at the next server of a name. Its delays run from
//! the first of them (RFC 6076 §5.3). It concludes where its outcome is certain: refused, or ended again after it was set
//! up. A call that is still ringing at the deadline concludes there, is cancelled, and stays to acknowledge what comes of
//! that. Every accepted call is acknowledged and ended, those of a fork, and those that crossed our CANCEL, at once.

mod dialog;
mod early;
mod invite;
mod onward;
mod outgoing;
mod redirects;
mod requests;
mod responses;
mod tally;
mod times;

use super::INVITE;
use super::caller::{AskPlan, Caller};
use super::digest::Authorizer;
use super::message::{Message, StartLine};
use super::rate::{Rate, TO_STRANGERS_PER_S};
use super::scenario::{Conclusion, Datagram, Established, Outbox, Scenario, Stamp, Way, words};
use super::sdp::MediaPlace;
use super::transaction::{AnsweredRequests, Fired, InviteFired};
use crate::policy::UserPattern;
use crate::probe::failure::Failure;
use dialog::{Dialog, Written};
use early::Early;
use invite::{Aim, Invite};
use outgoing::Request;
use probefleet_proto::name::FailureClass;
use redirects::Redirects;
use std::time::Duration;
use tally::{NOBODY_ANSWERED, TIMED_OUT, Tally};
use times::Times;
use tokio::time::Instant;

/// Most calls that a fork can make of one INVITE and that are ended in due form.
pub(super) const DIALOGS_MAX: usize = 16;
/// What is left of an attempt when its BYE leaves, so that a lost one can be sent again once.
pub(crate) const TEARDOWN: Duration = Duration::from_secs(1);
/// Number of the first INVITE.
const INVITE_SEQUENCE: u32 = 1;

/// What a call is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// To be answered, held and ended.
    Answer,
    /// To ring, and to be cancelled then.
    Ring,
}

/// How a call is made.
#[derive(Debug)]
pub(crate) struct CallPlan {
    /// Whom to ask.
    pub(crate) ask: AskPlan,
    /// What for.
    pub(crate) kind: CallKind,
    /// Who may be called, should the call be redirected; `None` = everybody.
    pub(crate) users: Option<Vec<UserPattern>>,
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
    authorizer: Option<Authorizer>,
    /// Tells our description of the session from others.
    session: u64,
    /// What the next INVITE asks.
    aim: Aim,
    redirects: Redirects,
    /// At least one; the last is the one under way.
    invites: Vec<Invite>,
    early: Vec<Early>,
    cancel: Option<Box<Request>>,
    /// When no final response is expected any more.
    give_up_at: Option<Instant>,
    /// The first is the call; others are a fork's.
    dialogs: Vec<Dialog>,
    /// What the call comes to once it has ended, should it be set up.
    verdict: Result<u16, Failure>,
    hold_until: Option<Instant>,
    established: Option<Established>,
    answered: AnsweredRequests,
    /// How many requests of no call are answered: whoever knows the Call-ID can have them sent.
    to_strangers: Rate,
    times: Times,
    tally: Tally,
    /// Nobody waits any more: what comes is only ended in due form.
    abandoned: bool,
    conclusion: Option<Conclusion>,
    outbox: Outbox,
}

impl Call {
    /// Calls.
    pub(crate) fn new(caller: Caller, mut plan: CallPlan, now: Instant) -> Self {
        let mut caller = caller.by(&plan.ask);
        let session = caller.identifiers.number();
        let uri = caller.target.as_request_uri();
        let redirects = Redirects::new(&uri, plan.users.take());
        let path = plan.ask.targets.path(0);
        let (sequence, min_se_s) = (INVITE_SEQUENCE, None);
        let mut call = Self {
            authorizer: plan.ask.credentials.take().map(Authorizer::new),
            caller,
            plan,
            session,
            aim: Aim { uri, path, datagrams_only: false, sequence, min_se_s },
            redirects,
            invites: Vec::new(),
            early: Vec::new(),
            cancel: None,
            give_up_at: None,
            dialogs: Vec::new(),
            verdict: Err(Failure::timeout(INVITE)),
            hold_until: None,
            established: None,
            answered: AnsweredRequests::default(),
            to_strangers: Rate::new(TO_STRANGERS_PER_S, now),
            times: Times::default(),
            tally: Tally::default(),
            abandoned: false,
            conclusion: None,
            outbox: Outbox::default(),
        };
        call.invite(now);
        call
    }

    /// Only the first counts.
    fn conclude(&mut self, result: Result<u16, Failure>, at: Instant) {
        if self.conclusion.is_none() {
            let phases = self.times.phases(result.as_ref().ok().copied());
            let counters = self.tally.counters(self.outbox.retransmits);
            self.conclusion = Some(Conclusion { result, at, phases, counters });
        }
    }

    fn hang_up_dialog(&mut self, index: usize, now: Instant) {
        let Some(dialog) = self.dialogs.get_mut(index).filter(|dialog| dialog.is_up()) else {
            return;
        };
        let bye = dialog.hang_up(&mut self.caller, self.authorizer.as_mut(), now);
        let stamp = (index == 0).then_some(Stamp::Bye);
        self.outbox.push(&bye.written.path, bye.written.bytes.clone(), stamp);
        if index == 0 {
            (self.hold_until, self.established) = (None, None);
        }
    }

    /// The call was set up, and what has become of its BYE is certain: its final response, or none.
    fn torn_down(&mut self, answer: Option<u16>, at: Instant) {
        let Some(dialog) = self.dialogs.first().filter(|_| self.conclusion.is_none()) else {
            return;
        };
        // Who has hung up too may know no more of the call.
        let well =
            dialog.ended_by_peer || answer.is_some_and(|status| (200..300).contains(&status));
        self.tally.completed =
            well || answer.is_some_and(|status| !NOBODY_ANSWERED.contains(&status));
        self.tally.teardown_failed = !well;
        if !well {
            self.outbox.note("teardown_failed", 1);
        }
        self.conclude(self.verdict.clone(), at);
    }
}

fn unexpected(response: &Message<'_>) -> Failure {
    let status = response.status().unwrap_or_default();
    Failure::failed(FailureClass::Status, format!("sip:{status}"), words(response))
}

// === time ===

impl Call {
    fn fire_invites(&mut self, now: Instant) {
        let last = self.invites.len() - 1;
        let mut timed_out = false;
        for (index, invite) in self.invites.iter_mut().enumerate() {
            match invite.transaction.fire(now) {
                InviteFired::Nothing => {}
                InviteFired::Resend => {
                    self.outbox.push_again(&invite.sent_by, invite.bytes.clone());
                }
                InviteFired::TimedOut => timed_out |= index == last,
            }
        }
        if timed_out {
            self.timed_out(now);
        }
    }

    /// Sends CANCEL and PRACKs again, and gives up a call that neither ends nor rings on after its CANCEL (§9.1).
    fn fire_simple(&mut self, now: Instant) {
        let pracks = self.early.iter_mut().filter_map(|early| early.prack.as_mut());
        for request in pracks.chain(self.cancel.as_deref_mut()) {
            if request.transaction.fire(now) == Fired::Resend {
                let Written { path, bytes, .. } = &request.written;
                self.outbox.push_again(path, bytes.clone());
            }
        }
        if self.give_up_at.take_if(|until| *until <= now).is_some()
            && self.current().transaction.is_pending()
        {
            self.transaction().abandon();
            self.tally.last = Some(TIMED_OUT);
            let why = "no final response in 32 s after CANCEL";
            self.conclude(Err(Failure::failed(FailureClass::Timeout, INVITE, why)), now);
        }
    }

    fn fire_byes(&mut self, now: Instant) {
        let mut timed_out = false;
        for (index, dialog) in self.dialogs.iter_mut().enumerate() {
            let Some(bye) = &mut dialog.bye else { continue };
            match bye.transaction.fire(now) {
                Fired::Nothing => {}
                Fired::Resend => {
                    let Written { path, bytes, .. } = &bye.written;
                    self.outbox.push_again(path, bytes.clone());
                }
                Fired::TimedOut => timed_out |= index == 0,
            }
        }
        if timed_out {
            self.torn_down(None, now);
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
        if self.send_as_datagrams(at) {
            return;
        }
        if self.current().transaction.is_pending() {
            self.invite_unreachable(failure, at);
        }
        let pracks = self.early.iter_mut().filter_map(|early| early.prack.as_mut());
        pracks.for_each(|prack| prack.transaction.abandon());
        let mut ended = false;
        for (index, dialog) in self.dialogs.iter_mut().enumerate() {
            if let Some(bye) = dialog.bye.as_mut().filter(|bye| bye.transaction.is_pending()) {
                bye.transaction.abandon();
                ended |= index == 0;
            }
        }
        if ended {
            self.torn_down(None, at);
        }
    }

    fn fire(&mut self, now: Instant) {
        self.fire_invites(now);
        self.fire_simple(now);
        self.fire_byes(now);
        if self.hold_until.take_if(|until| *until <= now).is_some() {
            self.hang_up_dialog(0, now);
        }
    }

    fn next_timer(&self) -> Option<Instant> {
        let pracks = self.early.iter().filter_map(|early| early.prack.as_ref());
        let byes = self.dialogs.iter().filter_map(|dialog| dialog.bye.as_deref());
        let others = pracks.chain(byes).chain(self.cancel.as_deref());
        let others = others.filter_map(|one| one.transaction.next_timer());
        let invites = self.invites.iter().filter_map(|invite| invite.transaction.next_timer());
        invites.chain(others).chain(self.hold_until).chain(self.give_up_at).min()
    }

    fn hang_up(&mut self, now: Instant) {
        if self.abandoned {
            return;
        }
        self.abandoned = true;
        self.hold_until = None;
        if self.current().transaction.is_proceeding() && self.cancel.is_none() {
            self.cancel(now);
        }
        self.transaction().stop_sending(now);
        for index in 0..self.dialogs.len() {
            self.hang_up_dialog(index, now);
        }
        if self.dialogs.is_empty() {
            self.tally.last.get_or_insert(TIMED_OUT);
            self.conclude(Err(Failure::timeout(INVITE)), now);
        } else {
            self.torn_down(None, now);
        }
    }

    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn conclusion(&self) -> Option<&Conclusion> {
        self.conclusion.as_ref()
    }

    fn is_over(&self) -> bool {
        let acknowledges = self.dialogs.is_empty() && !self.current().transaction.is_terminated();
        self.conclusion.is_some() && !acknowledges && !self.may_be_up()
    }

    fn may_be_up(&self) -> bool {
        let calls = self.dialogs.iter().any(|dialog| dialog.is_up() || dialog.is_ending());
        self.current().transaction.is_pending() || calls
    }

    fn media(&self) -> Option<&Established> {
        self.established.as_ref()
    }
}

#[cfg(test)]
mod tests;
