//! What follows an INVITE that came to nothing: another one, with credentials, elsewhere, or for a longer session; or the
//! end of the call.

use super::redirects::Redirects;
use super::tally::{TIMED_OUT, UNREACHABLE};
use super::{Call, CallKind, unexpected};
use crate::probe::failure::Failure;
use crate::probe::sip::INVITE;
use crate::probe::sip::message::Message;
use crate::probe::sip::scenario::{Path, words};
use probefleet_proto::name::{FailureClass, InvalidReason};
use tokio::time::Instant;

/// Most INVITEs of one call: every server of a name, every redirection, and some challenges; more is a loop.
const INVITES_MAX: usize = 24;
/// Longest session that an INVITE is sent again for, in seconds: a day.
const MIN_SE_MAX_S: u32 = 86_400;

/// What becomes of a refusal.
enum Onward {
    /// Another INVITE was sent.
    Asked,
    /// It stands.
    Over,
    /// It stands, and that is why.
    Because(Failure),
}

impl Call {
    pub(super) fn refused(&mut self, index: usize, message: &Message<'_>, at: Instant) {
        let to = message.first("To").unwrap_or_default();
        let ack = self.within_invite(&self.invites[index], "ACK", to);
        let invite = &mut self.invites[index];
        self.outbox.push(&invite.sent_by, ack.clone(), None);
        invite.ack = ack;
        if index + 1 < self.invites.len() {
            return;
        }
        self.note_public_address(message);
        let onward = self.onward(message, at);
        if matches!(onward, Onward::Asked) {
            return;
        }
        let status = message.status().unwrap_or_default();
        self.times.refused(status, at);
        self.tally.last = Some(status);
        // A call that was only to ring has been taken back by us, and by nobody else.
        let by_us = self.plan.kind == CallKind::Answer || status != 487 || self.cancel.is_some();
        let result = match onward {
            _ if self.plan.ask.expected.has(status) && by_us => Ok(status),
            Onward::Because(failure) => Err(failure),
            Onward::Over | Onward::Asked => Err(unexpected(message)),
        };
        self.conclude(result, at);
    }

    fn onward(&mut self, message: &Message<'_>, now: Instant) -> Onward {
        let status = message.status().unwrap_or_default();
        let is_challenge = matches!(status, 401 | 407) && self.authorizer.is_some();
        let is_expected = self.plan.ask.expected.has(status) && !is_challenge;
        if is_expected || self.is_ended() || self.invites.len() == INVITES_MAX {
            return Onward::Over;
        }
        match status {
            401 | 407 if is_challenge => return self.challenged(status, message, now),
            status if Redirects::is_redirection(status) => {
                self.redirects.add(message);
                if self.redirect(now) {
                    return Onward::Asked;
                }
                let why = format!("{}; {}", words(message), self.redirects.why());
                return Onward::Because(match self.redirects.is_forbidden() {
                    true => Failure::invalid(InvalidReason::PolicyDenied, "users", why),
                    false => Failure::failed(FailureClass::Status, format!("sip:{status}"), why),
                });
            }
            422 if self.prolong(message, now) => return Onward::Asked,
            503 if self.fail_over(now) => return Onward::Asked,
            _ => {}
        }
        // §8.1.3.4: after a failure the next place is asked; 6xx speaks for all of them (§21.6).
        if status < 600 && self.redirect(now) { Onward::Asked } else { Onward::Over }
    }

    /// Nobody waits for the call, or it was taken back.
    fn is_ended(&self) -> bool {
        self.abandoned || self.cancel.is_some()
    }

    fn challenged(&mut self, status: u16, message: &Message<'_>, now: Instant) -> Onward {
        let Some(authorizer) = &mut self.authorizer else { return Onward::Over };
        if let Err(refused) = authorizer.challenged(message) {
            let (code, why) = (format!("sip:{status}"), refused.to_string());
            return Onward::Because(Failure::failed(FailureClass::Auth, code, why));
        }
        self.ask_again(now);
        Onward::Asked
    }

    /// The same call as a request of its own (§8.1.3.5).
    fn ask_again(&mut self, now: Instant) {
        self.aim.sequence += 1;
        self.invite(now);
    }

    fn prolong(&mut self, message: &Message<'_>, now: Instant) -> bool {
        let told = message.first("Min-SE").and_then(|value| {
            let digits = value.split(|byte| *byte == b';').next()?;
            std::str::from_utf8(digits.trim_ascii()).ok()?.parse().ok()
        });
        let told = told.filter(|told| (1..=MIN_SE_MAX_S).contains(told));
        if self.aim.min_se_s.is_some() || told.is_none() {
            return false;
        }
        self.aim.min_se_s = told;
        self.ask_again(now);
        true
    }

    /// Asks the next of the places that redirections have named.
    fn redirect(&mut self, now: Instant) -> bool {
        let Some(uri) = self.redirects.follow() else { return false };
        if !self.caller.has_proxy() {
            let hop = uri.hop();
            self.aim.path = Path { transport: hop.transport, way: super::Way::Onward(hop) };
        }
        self.aim.datagrams_only = false;
        self.aim.uri = uri;
        self.tally.redirects = self.redirects.followed;
        self.ask_again(now);
        true
    }

    /// Asks the next server of the name: the same request in a new transaction (RFC 3263 §4.3).
    fn fail_over(&mut self, now: Instant) -> bool {
        let Some(next) = self.plan.ask.targets.next(&self.aim.path) else { return false };
        (self.aim.path, self.aim.datagrams_only) = (next, false);
        self.invite(now);
        true
    }

    /// Asks somebody else, if nobody was heard.
    fn ask_elsewhere(&mut self, now: Instant) -> bool {
        !self.is_ended()
            && self.invites.len() < INVITES_MAX
            && (self.fail_over(now) || self.redirect(now))
    }

    /// Timer B. For a client this is as if 408 had come (RFC 3261 §8.1.3.1).
    pub(super) fn timed_out(&mut self, now: Instant) {
        if self.ask_elsewhere(now) {
            return;
        }
        let why = "no answer in 32 s (timer B)";
        self.tally.last = Some(TIMED_OUT);
        self.conclude(Err(Failure::failed(FailureClass::Timeout, INVITE, why)), now);
    }

    /// The transport has failed. For a client this is as if 503 had come (RFC 3261 §8.1.3.1).
    pub(super) fn invite_unreachable(&mut self, failure: Failure, now: Instant) {
        let invite = self.current();
        let grown = invite.sent_by != invite.aim.path;
        let heard = invite.transaction.is_proceeding();
        if heard && !invite.sent_by.transport.is_reliable() && self.cancel.is_none() {
            // Said of something else: an INVITE that was heard of is not sent any more.
            return;
        }
        if heard && self.cancel.is_none() {
            // The stream is gone, the call may be not.
            self.abandoned = true;
            self.cancel(now);
        } else {
            self.transaction().abandon();
            if grown && !heard && !self.is_ended() {
                // No stream for what is too large for a datagram: it is tried as one all the same (§18.1.1).
                self.aim.datagrams_only = true;
                return self.invite(now);
            }
            if !heard && self.ask_elsewhere(now) {
                return;
            }
        }
        self.tally.last = Some(UNREACHABLE);
        self.conclude(Err(failure), now);
    }
}
