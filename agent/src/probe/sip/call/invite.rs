//! The INVITEs of one call: the first, and those with which it is asked again, or elsewhere.

use super::Call;
use super::dialog::{Says, Written};
use super::outgoing::Request;
use crate::probe::sip::caller::{ALLOW, Line, carried};
use crate::probe::sip::scenario::{Path, Stamp};
use crate::probe::sip::sdp::CONTENT_TYPE;
use crate::probe::sip::timers::TRANSACTION;
use crate::probe::sip::transaction::InviteTransaction;
use crate::probe::sip::uri::Uri;
use tokio::time::Instant;

/// What the next INVITE asks, and where.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    /// The Request-URI.
    pub(super) uri: Uri,
    /// Where it goes, by the transport of that server.
    pub(super) path: Path,
    /// No stream could be had for what is too large for a datagram.
    pub(super) datagrams_only: bool,
    /// Its number.
    pub(super) sequence: u32,
    /// The shortest session that somebody on the way takes, in seconds, once told (RFC 4028 §7.3).
    pub(super) min_se_s: Option<u32>,
}

/// One INVITE and its transaction. What came before the last stays to acknowledge its refusal again.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) aim: Aim,
    pub(super) branch: String,
    /// How it went.
    pub(super) sent_by: Path,
    /// The whole of it until it is heard of: until then it is sent again.
    pub(super) bytes: Vec<u8>,
    /// Its answers to challenges, for the requests that repeat them (RFC 3261 §22.1).
    pub(super) credentials: Vec<(&'static str, String)>,
    pub(super) transaction: InviteTransaction,
    /// The ACK of its refusal, for repetitions.
    pub(super) ack: Vec<u8>,
}

impl Call {
    /// Sends the next INVITE.
    pub(super) fn invite(&mut self, now: Instant) {
        let aim = self.aim.clone();
        let branch = self.caller.identifiers.branch();
        let offer = self.plan.media.offer(self.session);
        let identifiers = &mut self.caller.identifiers;
        let authorizer = self.authorizer.as_mut();
        let credentials = authorizer
            .map(|one| one.headers("INVITE", &aim.uri.to_string(), offer.as_bytes(), identifiers))
            .unwrap_or_default();
        let caller = &self.caller;
        let contact = caller.contact(&aim.uri, aim.path.transport);
        let timer = session_timer(aim.min_se_s);
        let write = |transport| {
            let (method, uri, sequence) = ("INVITE", &aim.uri, aim.sequence);
            let line = Line { method, uri, branch: &branch, sequence, transport };
            let request = caller
                .initial(&line, caller.to())
                .header("Contact", &contact)
                .header("Allow", ALLOW)
                .header("Accept", CONTENT_TYPE);
            let own = timer.iter().chain(&credentials);
            let request = own.fold(request, |request, (name, value)| request.header(name, value));
            request.body(CONTENT_TYPE, offer.as_bytes())
        };
        let (bytes, sent_by) = carried(&aim.path, aim.datagrams_only, write);
        // One that found no stream has not left: then the next begins the delays.
        let stamp = (!self.times.have_begun()).then_some(Stamp::Request);
        self.outbox.push(&sent_by, bytes.clone(), stamp);
        let transaction = InviteTransaction::new(sent_by.transport, now);
        let ack = Vec::new();
        self.early.clear();
        // One INVITE is the rule; room for four would be a kilobyte in each of thousands of calls.
        self.invites.reserve_exact(1);
        self.invites.push(Invite { aim, branch, sent_by, bytes, credentials, transaction, ack });
        self.tally.invite_transactions += 1;
    }

    /// The last INVITE.
    pub(super) fn current(&self) -> &Invite {
        &self.invites[self.invites.len() - 1]
    }

    /// The transaction of the last INVITE.
    pub(super) fn transaction(&mut self) -> &mut InviteTransaction {
        let last = self.invites.len() - 1;
        &mut self.invites[last].transaction
    }

    /// A request within an INVITE's transaction: its ACK or its CANCEL, with its branch and its route (RFC 3261 §9.1,
    /// §17.1.1.3).
    pub(super) fn within_invite(
        &self,
        invite: &Invite,
        method: &'static str,
        to: &[u8],
    ) -> Vec<u8> {
        let line = Line {
            method,
            uri: &invite.aim.uri,
            branch: &invite.branch,
            sequence: invite.aim.sequence,
            transport: invite.sent_by.transport,
        };
        self.caller.initial(&line, to).empty()
    }

    /// Cancels the last INVITE, which has been heard of (§9.1).
    pub(super) fn cancel(&mut self, now: Instant) {
        let invite = self.current();
        let bytes = self.within_invite(invite, "CANCEL", self.caller.to().as_bytes());
        let (branch, path) = (invite.branch.clone(), invite.sent_by.clone());
        let says = Says::only("CANCEL", invite.aim.sequence);
        self.outbox.push(&path, bytes.clone(), None);
        self.cancel = Some(Box::new(Request::new(Written { says, branch, bytes, path }, now)));
        // A 487 cannot be relied on: a peer of RFC 2543 sends none (§9.1).
        self.give_up_at = Some(now + TRANSACTION);
    }
}

/// The headers of an INVITE that was refused for too short a session: it is for the other side to refresh what lasts that
/// long, and no call of a probe does.
fn session_timer(min_se_s: Option<u32>) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    let supported = if min_se_s.is_some() { "100rel, timer" } else { "100rel" };
    headers.push(("Supported", supported.to_owned()));
    if let Some(seconds) = min_se_s {
        headers.push(("Session-Expires", format!("{seconds};refresher=uas")));
        headers.push(("Min-SE", seconds.to_string()));
    }
    headers
}
