//! What an attempt has sent and heard, and what it owes for that: rules that whoever watches the wire can check.

use crate::probe::sip::call::DIALOGS_MAX;
use crate::probe::sip::message::{Message, NameAddr, StartLine, Via, cseq, reply};
use crate::probe::sip::scenario::{Conclusion, Outgoing, Stamp, Way};
use crate::probe::sip::timers::TRANSACTION;
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// What a CANCEL repeats of its INVITE (RFC 3261 §9.1).
const OF_THE_INVITE: [&str; 5] = ["To", "From", "Call-ID", "Max-Forwards", "Route"];

type Bytes = Vec<u8>;

/// Everything so far.
#[derive(Debug)]
pub(super) struct Ledger {
    /// What carries requests to each server.
    targets: Vec<Transport>,
    /// Requests outside a call go by a proxy that is not asked by `sips:`.
    by_open_proxy: bool,
    hung_up: bool,
    /// When the first request left.
    begun_at: Option<Instant>,
    /// When the first BYE of the call left.
    bye_at: Option<Instant>,
    invites: Vec<Invite>,
    /// Call-ID and tag of this side, once it has asked.
    own: Option<(Bytes, Bytes)>,
    /// By the tag of the other side.
    calls: BTreeMap<Bytes, Call>,
    /// Branches of BYEs.
    byes: BTreeSet<Bytes>,
    /// Method and status of responses.
    heard: Vec<(Bytes, u16, Instant)>,
    owed: Vec<Owed>,
    conclusion: Option<Conclusion>,
}

/// What must be sent before anything else happens.
#[derive(Debug, PartialEq, Eq)]
enum Owed {
    /// The ACK of a refusal, by the branch of the INVITE.
    AckRefusal(Bytes),
    /// The ACK of a 2xx, by its tag.
    Ack(Bytes),
    /// By tag and `RSeq`.
    Prack(Bytes, u32),
    /// To a request.
    Answer,
}

#[derive(Debug)]
struct Invite {
    outgoing: Outgoing,
    branch: Bytes,
    sequence: u32,
    secure: bool,
    life: Life,
    has_provisional: bool,
    has_refusal: bool,
    cancelled_at: Option<Instant>,
    /// The last that was acknowledged, by tag.
    rseq: BTreeMap<Bytes, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Calling(Instant),
    Proceeding,
    Refused,
    Accepted(Instant),
    /// Whether it was given up is not to be seen from here.
    Unsure,
}

#[derive(Debug, Default)]
struct Call {
    accepted: u32,
    acknowledged: u32,
    secure: bool,
    has_bye: bool,
}

impl Invite {
    /// A final response is certainly waited for.
    fn is_pending(&self, now: Instant) -> bool {
        let given_up = |since: Instant| now >= since + TRANSACTION;
        match self.life {
            Life::Calling(since) => !given_up(since),
            Life::Proceeding => !self.cancelled_at.is_some_and(given_up),
            Life::Refused | Life::Accepted(_) | Life::Unsure => false,
        }
    }
}

/// Request-URI of a request.
fn asked<'a>(message: &Message<'a>) -> Option<Uri> {
    match message.start {
        StartLine::Request { uri, .. } => Uri::parse(uri),
        StartLine::Response { .. } => None,
    }
}

fn text(message: &Message<'_>, name: &'static str) -> Bytes {
    message.first(name).unwrap_or_default().to_vec()
}

fn tag(message: &Message<'_>, name: &'static str) -> Bytes {
    message.tag(name).unwrap_or_default().to_vec()
}

impl Ledger {
    pub(super) fn new(targets: Vec<Transport>, by_open_proxy: bool) -> Self {
        Self {
            targets,
            by_open_proxy,
            hung_up: false,
            begun_at: None,
            bye_at: None,
            invites: Vec::new(),
            own: None,
            calls: BTreeMap::new(),
            byes: BTreeSet::new(),
            heard: Vec::new(),
            owed: Vec::new(),
            conclusion: None,
        }
    }

    /// No more time.
    pub(super) fn hang_up(&mut self) {
        self.hung_up = true;
    }

    /// A message that is timed has left.
    pub(super) fn left(&mut self, stamp: Stamp, at: Instant) {
        match stamp {
            Stamp::Request => self.begun_at.get_or_insert(at),
            Stamp::Bye => self.bye_at.get_or_insert(at),
        };
    }

    /// Something cannot be delivered: an INVITE that nobody has answered, or a stream by which one was.
    pub(super) fn unreachable(&mut self) {
        let Some(last) = self.invites.last_mut() else { return };
        let lasts = last.life == Life::Proceeding
            && last.cancelled_at.is_none()
            && !last.outgoing.transport.is_reliable();
        if matches!(last.life, Life::Calling(_) | Life::Proceeding) && !lasts {
            last.life = Life::Unsure;
        }
    }

    fn pay(&mut self, owed: &Owed) -> bool {
        let index = self.owed.iter().position(|one| one == owed);
        index.map(|index| self.owed.remove(index)).is_some()
    }

    /// What happened has been dealt with.
    ///
    /// # Panics
    /// When something was not.
    pub(super) fn settle(&mut self, conclusion: Option<&Conclusion>) {
        assert!(self.owed.is_empty(), "owes {:?}", self.owed);
        if self.hung_up {
            let up = self.calls.values().find(|call| call.acknowledged > 0 && !call.has_bye);
            assert!(up.is_none(), "a call is left up: {:?}", self.calls);
        }
        if let Some(known) = &self.conclusion {
            assert!(conclusion == Some(known), "{known:?} became {conclusion:?}");
        } else if let Some(conclusion) = conclusion {
            self.measure(conclusion);
            self.conclusion = Some(conclusion.clone());
        }
    }

    /// Every delay runs from something that left to something that came.
    fn measure(&self, conclusion: &Conclusion) {
        for (phase, delay) in &conclusion.phases {
            let accepted: fn(u16) -> bool = |status| (200..300).contains(&status);
            let (from, method, counts): (_, &[u8], fn(u16) -> bool) = match *phase {
                "trying" => (self.begun_at, b"INVITE", |status| status == 100),
                "session_request_delay" | "session_request_delay_failed" => {
                    (self.begun_at, b"INVITE", |status| status > 100 && status != 199)
                }
                "time_to_answer" => (self.begun_at, b"INVITE", accepted),
                "session_disconnect_delay" => (self.bye_at, b"BYE", accepted),
                "session_disconnect_delay_failed" => (self.bye_at, b"BYE", |status| status >= 300),
                "options_request_delay" | "options_request_delay_failed" => {
                    (self.begun_at, b"OPTIONS", |status| status >= 200)
                }
                _ => (self.begun_at, b"REGISTER", accepted),
            };
            let until = from.map(|from| from + *delay);
            let ends = |(heard, status, at): &(Bytes, u16, Instant)| {
                heard == method && counts(*status) && Some(*at) == until
            };
            assert!(self.heard.iter().any(ends), "nothing ends {phase}: {conclusion:?}");
        }
        let answered = matches!(conclusion.result, Ok(200..300)) && !self.invites.is_empty();
        let has = |wanted: &str| conclusion.phases.iter().any(|(phase, _)| *phase == wanted);
        assert!(
            !answered || (has("session_request_delay") && has("time_to_answer")),
            "an answer without its delays: {conclusion:?}"
        );
    }
}

// === what is sent ===

impl Ledger {
    /// A message is to be sent.
    ///
    /// # Panics
    /// When it may not.
    pub(super) fn send(&mut self, outgoing: &Outgoing, now: Instant) {
        let message = Message::parse(&outgoing.bytes);
        assert!(message.is_ok(), "what is sent cannot be read");
        let Ok(message) = message else { return };
        let via = message.values("Via").next().and_then(Via::parse);
        let by = via.map(|via| via.transport).unwrap_or_default();
        let named = outgoing.transport.via();
        assert!(by == named.as_bytes(), "a Via of {} by {named}", by.escape_ascii());
        let branch = via.and_then(|via| via.branch()).unwrap_or_default().to_vec();
        let (sequence, _) = message.first("CSeq").and_then(cseq).unwrap_or_default();
        if message.method().is_some() {
            self.own.get_or_insert_with(|| (text(&message, "Call-ID"), tag(&message, "From")));
        }
        let tag = tag(&message, "To");
        match message.method() {
            None => drop(self.pay(&Owed::Answer)),
            Some(b"INVITE") => self.invite(outgoing, &message, (branch, sequence), now),
            Some(b"CANCEL") => self.cancel(outgoing, &message, &branch, now),
            Some(b"ACK") => self.ack(outgoing, (branch, tag)),
            Some(b"PRACK") => self.prack(outgoing, &message, tag),
            Some(b"BYE") => {
                let call = self.calls.entry(tag).or_default();
                assert!(call.acknowledged > 0, "a BYE before an ACK");
                call.has_bye = true;
                assert!(!call.secure || outgoing.transport == Transport::Tls, "a BYE in clear");
                self.byes.insert(branch);
            }
            Some(_) => {}
        }
    }

    fn invite(
        &mut self,
        outgoing: &Outgoing,
        message: &Message<'_>,
        (branch, sequence): (Bytes, u32),
        now: Instant,
    ) {
        if let Some(known) = self.invites.iter().find(|invite| invite.branch == branch) {
            assert!(!outgoing.transport.is_reliable(), "sent again by a stream");
            assert!(known.outgoing.bytes == outgoing.bytes, "another INVITE with that branch");
            return;
        }
        assert!(!self.hung_up, "an INVITE after the end");
        let before = |invite: &Invite| invite.is_pending(now) || invite.cancelled_at.is_some();
        assert!(!self.invites.iter().any(before), "two INVITEs at once, or one after a CANCEL");
        let secure = asked(message).is_some_and(|uri| uri.secure);
        let by = outgoing.transport;
        assert!(!secure || self.by_open_proxy || by == Transport::Tls, "an INVITE in clear");
        self.check_contact(outgoing, message, secure);
        self.invites.push(Invite {
            outgoing: outgoing.clone(),
            branch,
            sequence,
            secure,
            life: Life::Calling(now),
            has_provisional: false,
            has_refusal: false,
            cancelled_at: None,
            rseq: BTreeMap::new(),
        });
    }

    /// One Contact, by `sips:` where that is how it asks (RFC 3261 §8.1.1.8), and else of the transport of whom it asks: a
    /// stream that a request's size alone asks for changes nothing.
    fn check_contact(&self, outgoing: &Outgoing, message: &Message<'_>, secure: bool) {
        let uri = |value| NameAddr::parse(value).and_then(|named| Uri::parse(named.uri));
        let contacts: Vec<_> = message.values("Contact").filter_map(uri).collect();
        let route = message.values("Route").next().and_then(uri);
        let secure = secure || route.is_some_and(|route| route.secure);
        let asked = match &outgoing.way {
            Way::Target(index) => self.targets.get(*index).copied(),
            Way::Onward(hop) => Some(hop.transport),
            Way::Hop(_) | Way::Aside(_) | Way::Back => None,
        };
        let sound = contacts.len() == 1
            && contacts[0].secure == secure
            && (secure || Some(contacts[0].transport()) == asked);
        assert!(sound, "{contacts:?} for {asked:?}");
        let grown = asked == Some(Transport::Udp) && outgoing.transport == Transport::Tcp;
        assert!(
            grown || asked == Some(outgoing.transport),
            "{asked:?} by {}",
            outgoing.transport.via()
        );
    }

    /// Only of the last INVITE, only after a provisional response to it, and like it (RFC 3261 §9.1).
    fn cancel(&mut self, outgoing: &Outgoing, message: &Message<'_>, branch: &[u8], now: Instant) {
        let last = self.invites.last_mut().filter(|invite| invite.branch == branch);
        assert!(last.is_some(), "a CANCEL without its INVITE");
        let Some(invite) = last else { return };
        assert!(invite.has_provisional, "a CANCEL before a provisional response");
        if invite.cancelled_at.is_none() {
            let ended = matches!(invite.life, Life::Refused | Life::Accepted(_));
            assert!(!ended, "a CANCEL after the final response");
            invite.cancelled_at = Some(now);
        }
        let Ok(cancelled) = Message::parse(&invite.outgoing.bytes) else { return };
        let alike = OF_THE_INVITE.iter().all(|name| message.lines(name).eq(cancelled.lines(name)));
        let way = (&outgoing.way, outgoing.transport);
        assert!(way == (&invite.outgoing.way, invite.outgoing.transport), "another way");
        assert!(alike && asked(message) == asked(&cancelled), "a CANCEL of something else");
        let number = message.first("CSeq").and_then(cseq).unwrap_or_default().0;
        assert!(number == invite.sequence, "a CANCEL with another number");
    }

    fn ack(&mut self, outgoing: &Outgoing, (branch, tag): (Bytes, Bytes)) {
        if let Some(invite) = self.invites.iter().find(|invite| invite.branch == branch) {
            assert!(invite.has_refusal, "an ACK of nothing");
            self.pay(&Owed::AckRefusal(branch));
            return;
        }
        let owed = self.pay(&Owed::Ack(tag.clone()));
        let call = self.calls.entry(tag).or_default();
        assert!(!call.secure || outgoing.transport == Transport::Tls, "an ACK in clear");
        call.acknowledged += 1;
        // Once more, as a datagram, where no stream could be had.
        assert!(owed || call.acknowledged <= call.accepted + 1, "an ACK of nothing: {call:?}");
        assert!(call.accepted > 0, "an ACK of nothing");
    }

    /// In the order of `RSeq`, each once or again (RFC 3262 §4).
    fn prack(&mut self, outgoing: &Outgoing, message: &Message<'_>, tag: Bytes) {
        let Ok(rack) = String::from_utf8(text(message, "RAck")) else { return };
        let numbers: Vec<u32> = rack.split(' ').filter_map(|one| one.parse().ok()).collect();
        let [rseq, sequence] = numbers[..] else { return };
        self.pay(&Owed::Prack(tag.clone(), rseq));
        let last = self.invites.last_mut().filter(|invite| invite.sequence == sequence);
        assert!(last.is_some(), "a PRACK of no INVITE: {rack}");
        let Some(invite) = last else { return };
        assert!(!invite.secure || outgoing.transport == Transport::Tls, "a PRACK in clear");
        let before = invite.rseq.insert(tag, rseq);
        let in_order = before.is_none_or(|before| rseq == before || rseq == before + 1);
        assert!(in_order, "acknowledged {rseq} after {before:?}");
    }
}

// === what is heard ===

impl Ledger {
    /// A datagram has come to a call.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) {
        let Ok(message) = Message::parse(bytes) else { return };
        if let Some(method) = message.method() {
            return self.hear_request(&message, method);
        }
        let (Some(status), Some((_, method))) =
            (message.status(), message.first("CSeq").and_then(cseq))
        else {
            return;
        };
        let Some(via) = message.only_via() else { return };
        let branch = via.branch().unwrap_or_default();
        let counts = method != b"BYE" || self.byes.contains(branch);
        if counts {
            self.heard.push((method.to_vec(), status, now));
        }
        let known = self.invites.iter().position(|invite| invite.branch == branch);
        if let Some(index) = known.filter(|_| method == b"INVITE") {
            match status {
                ..200 => self.hear_provisional(index, &message, now),
                200..300 => self.hear_accepted(index, &message, now),
                _ => self.hear_refused(index, now),
            }
        }
    }

    fn hear_request(&mut self, request: &Message<'_>, method: &[u8]) {
        let source = Hop { host: "h".to_owned(), port: 1, transport: Transport::Udp };
        let can_be_answered = reply(request, (200, "OK"), &source, None).is_some();
        // Strangers are answered as long as there are few, and never by more than they have sent.
        let known = self.calls.get(&tag(request, "From")).is_some_and(|call| call.acknowledged > 0);
        let call = (text(request, "Call-ID"), tag(request, "To"));
        if method != b"ACK" && can_be_answered && known && self.own.as_ref() == Some(&call) {
            self.owed.push(Owed::Answer);
        }
        if method == b"BYE" {
            // Whether it is one of the call, or one that has been answered otherwise before, only the call knows.
            if let Some(call) = self.calls.get_mut(&tag(request, "From")) {
                call.has_bye = true;
            }
        }
    }

    fn hear_provisional(&mut self, index: usize, message: &Message<'_>, now: Instant) {
        let invite = &mut self.invites[index];
        invite.has_provisional = true;
        if !invite.is_pending(now) {
            return;
        }
        invite.life = Life::Proceeding;
        let required =
            message.values("Require").any(|option| option.eq_ignore_ascii_case(b"100rel"));
        let rseq = message.first("RSeq").and_then(|text| std::str::from_utf8(text).ok());
        let rseq: Option<u32> = rseq.and_then(|text| text.parse().ok());
        let rseq = rseq.filter(|rseq| (1..1 << 31).contains(rseq));
        let (Some(tag), Some(rseq), true) = (message.tag("To"), rseq, required) else { return };
        let in_order = match invite.rseq.get(tag) {
            Some(before) => rseq == before + 1,
            None => invite.rseq.len() < DIALOGS_MAX,
        };
        if in_order && message.status() != Some(100) {
            self.owed.push(Owed::Prack(tag.to_vec(), rseq));
        }
    }

    fn hear_accepted(&mut self, index: usize, message: &Message<'_>, now: Instant) {
        let invite = &mut self.invites[index];
        let tag = tag(message, "To");
        let is_new = self.calls.get(&tag).is_none_or(|call| call.acknowledged == 0);
        let full = self.calls.values().filter(|call| call.acknowledged > 0).count();
        let owed = match invite.life {
            Life::Accepted(since) => now < since + TRANSACTION,
            _ => invite.is_pending(now),
        };
        if invite.is_pending(now) {
            invite.life = Life::Accepted(now);
        }
        let call = self.calls.entry(tag.clone()).or_default();
        call.accepted += 1;
        if is_new {
            // With the same tag again it is the same dialog, whichever INVITE is said to have made it.
            call.secure = invite.secure;
        }
        if owed && !(is_new && full >= DIALOGS_MAX) {
            self.owed.push(Owed::Ack(tag));
        }
    }

    fn hear_refused(&mut self, index: usize, now: Instant) {
        let invite = &mut self.invites[index];
        invite.has_refusal = true;
        if invite.is_pending(now) {
            invite.life = Life::Refused;
            self.owed.push(Owed::AckRefusal(invite.branch.clone()));
        }
    }
}
