//! What the other side answers.

use super::dialog::{Dialog, Remote};
use super::{Call, CallKind, DIALOGS_MAX, TEARDOWN, unexpected};
use crate::probe::failure::Failure;
use crate::probe::sip::message::{Message, cseq, parameter};
use crate::probe::sip::scenario::Established;
use crate::probe::sip::sdp::audio;
use crate::probe::sip::transaction::{Heard, InviteHeard};
use probefleet_proto::name::FailureClass;
use tokio::time::Instant;

impl Call {
    pub(super) fn response(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        let Some((branch, method)) = self.transaction_of(message) else {
            return self.outbox.discard();
        };
        if method == b"INVITE" {
            let known = |invite: &super::invite::Invite| invite.branch.as_bytes() == branch;
            return match self.invites.iter().position(known) {
                Some(index) => self.invite_response(index, message, at),
                None => self.outbox.discard(),
            };
        }
        let prack = self.early.iter_mut().filter_map(|early| early.prack.as_mut());
        let simple =
            prack.chain(self.cancel.as_deref_mut()).find(|one| one.is_answered_by(branch, method));
        if let Some(request) = simple {
            request.transaction.receive(status, at);
            return;
        }
        let ended = self.dialogs.iter_mut().enumerate().find_map(|(index, dialog)| {
            let bye = dialog.bye.as_mut().filter(|bye| bye.is_answered_by(branch, method))?;
            Some((index, bye.transaction.receive(status, at)))
        });
        match ended {
            Some((index, Heard::Final)) => self.bye_response(index, message, at),
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

    fn invite_response(&mut self, index: usize, message: &Message<'_>, at: Instant) {
        let status = message.status().unwrap_or_default();
        let invite = &mut self.invites[index];
        let heard = invite.transaction.receive(status, at);
        if heard != InviteHeard::Nothing {
            // Thousands of calls that are up need not keep what will not be sent again.
            invite.bytes = Vec::new();
        }
        match heard {
            InviteHeard::Nothing => {}
            InviteHeard::Provisional => self.provisional(status, message, at),
            InviteHeard::Accepted => self.accepted(index, message, at),
            InviteHeard::Refused => self.refused(index, message, at),
            InviteHeard::RefusedAgain => {
                self.outbox.push(&invite.sent_by, invite.ack.clone(), None);
            }
        }
    }

    fn provisional(&mut self, status: u16, message: &Message<'_>, at: Instant) {
        self.times.provisional(status, at);
        let rings = self.is_in_order(message, at) && !matches!(status, 100 | 199);
        // Before a provisional response a CANCEL might overtake its INVITE (§9.1).
        let wanted = self.abandoned || (self.plan.kind == CallKind::Ring && rings);
        if wanted && self.cancel.is_none() {
            self.tally.cancelled |= !self.abandoned;
            self.cancel(at);
        }
    }

    /// Every 2xx is acknowledged, and again when it comes again (RFC 3261 §13.2.2.4).
    fn accepted(&mut self, invite: usize, message: &Message<'_>, at: Instant) {
        let tag = message.tag("To").unwrap_or_default();
        let known = self.dialogs.iter().find(|dialog| dialog.remote.tag == tag);
        if let Some(Dialog { ack, .. }) = known {
            return self.outbox.push(&ack.path, ack.bytes.clone(), None);
        }
        if self.dialogs.len() == DIALOGS_MAX {
            return self.outbox.discard();
        }
        let index = self.dialogs.len();
        let invite = &self.invites[invite];
        // PRACKs have taken numbers after the INVITE's.
        let early = self.early.iter().find(|early| early.remote.tag == tag);
        let sequence = early.map_or(invite.aim.sequence, |early| early.remote.sequence);
        let place = audio(message.body).or_else(|| early.and_then(super::early::Early::audio));
        let remote = Remote::new(&invite.aim.uri, message, sequence, index > 0);
        let number = invite.aim.sequence;
        let dialog = Dialog::new(&mut self.caller, remote, number, &invite.credentials);
        self.outbox.push(&dialog.ack.path, dialog.ack.bytes.clone(), None);
        // As with INVITEs.
        self.dialogs.reserve_exact(1);
        self.dialogs.push(dialog);
        if index > 0 {
            self.tally.forked += 1;
        }
        if index > 0 || self.abandoned {
            return self.hang_up_dialog(index, at);
        }
        self.note_public_address(message);
        let shown = place.as_ref().map(|audio| {
            format!("{} at {} port {}", audio.codec, audio.place.address, audio.place.port)
        });
        self.outbox.note("media", shown.unwrap_or_else(|| "none".to_owned()));
        self.set_up(message, Established { answered_at: at, audio: place });
    }

    /// The call is up: it is held, or ended at once.
    fn set_up(&mut self, message: &Message<'_>, established: Established) {
        let at = established.answered_at;
        let status = message.status().unwrap_or_default();
        self.times.accepted(at);
        self.tally.last = Some(status);
        let expected = self.plan.ask.expected.has(status);
        self.verdict = match self.cancel {
            _ if expected => Ok(status),
            Some(_) => {
                let why = "answered while it was being cancelled";
                Err(Failure::failed(FailureClass::Status, format!("sip:{status}"), why))
            }
            None => Err(unexpected(message)),
        };
        if expected && self.plan.kind == CallKind::Answer {
            let latest = self.plan.deadline.checked_sub(TEARDOWN).unwrap_or(at).max(at);
            self.hold_until = Some((at + self.plan.hold).min(latest));
            self.established = Some(established);
        } else {
            self.hang_up_dialog(0, at);
        }
    }

    fn bye_response(&mut self, index: usize, message: &Message<'_>, at: Instant) {
        let status = message.status().unwrap_or_default();
        if matches!(status, 401 | 407) && self.answer_bye_challenge(index, message, at) {
            return;
        }
        if index > 0 {
            return;
        }
        self.times.disconnected((200..300).contains(&status), at);
        self.torn_down(Some(status), at);
    }

    fn answer_bye_challenge(&mut self, index: usize, message: &Message<'_>, at: Instant) -> bool {
        let Some(authorizer) = &mut self.authorizer else { return false };
        let dialog = &mut self.dialogs[index];
        if !dialog.may_try_again() || authorizer.challenged(message).is_err() {
            return false;
        }
        let bye = dialog.hang_up(&mut self.caller, Some(authorizer), at);
        self.outbox.push(&bye.written.path, bye.written.bytes.clone(), None);
        true
    }

    /// Where the other side saw us, if that is elsewhere than where we are (RFC 3581 §4).
    pub(super) fn note_public_address(&mut self, message: &Message<'_>) {
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
