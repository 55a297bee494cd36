//! The one who is called: every request becomes answers, now and later (RFC 3261 §8.2, §13.3, §17.2). Pure.
//!
//! Nobody can use it to send much to somebody else: what is no well-formed request gets nothing, few requests a second
//! are looked at, few calls may wait for their ACK, and requests are small.

use super::behaviour::{Behaviour, reason};
use super::call::{Call, Due, Leg, Stage};
use super::counts::Counts;
use super::echo::Party;
use super::registrar::{self, Registrar};
use super::request::Request;
use crate::probe::sip::identity::Identifiers;
use crate::probe::sip::message::{Builder, Message, reply};
use crate::probe::sip::rate::Rate;
use crate::probe::sip::sdp::{CONTENT_TYPE, MediaPlace, audio};
use crate::probe::sip::uri::Hop;
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Requests a second that are looked at: some hundred calls a second, each with INVITE, ACK and BYE.
const REQUESTS_PER_S: u32 = 2_000;
/// Largest request, in bytes: a call through many proxies has some 3 KiB.
const REQUEST_MAX_BYTES: usize = 8 << 10;
/// Most calls that ring or wait for their ACK.
const PENDING_MAX: usize = 500;
/// Most calls that are not over.
const CALLS_MAX: usize = 2_000;
/// Most calls that are remembered, over or not: some KiB each.
const REMEMBERED_MAX: usize = 4_096;
/// What can be asked here.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER";
/// A datagram, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: Instant,
    /// Who sent it.
    pub(super) source: &'a Hop,
    /// Where it came in: address and port, as a URI has them.
    pub(super) local: &'a str,
    /// Where audio may come, should this be a call.
    pub(super) media: &'a MediaPlace,
    /// Which line that is.
    pub(super) line: usize,
}

/// What a line is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A call is up.
    Open { line: usize, call: u64, party: Party },
    /// A call is over.
    Close { line: usize, call: u64 },
}

/// An answer to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) to: Hop,
    pub(super) bytes: Vec<u8>,
}

/// Call-ID and the caller's tag.
pub(super) type Key = (Vec<u8>, Vec<u8>);

/// All calls.
#[derive(Debug)]
pub(super) struct Answerer {
    identifiers: Identifiers,
    ring: Duration,
    rate: Rate,
    calls: BTreeMap<Key, Call>,
    /// The next timer of each call.
    timers: BTreeMap<(Instant, Key), ()>,
    pending: usize,
    over: usize,
    outgoing: VecDeque<Outgoing>,
    /// At most two for each call, until they are taken.
    changes: VecDeque<Change>,
    legs: u64,
    registrar: Registrar,
    counts: Arc<Counts>,
}

impl Answerer {
    /// No call yet.
    pub(super) fn new(identifiers: Identifiers, ring: Duration, now: Instant) -> Self {
        Self {
            identifiers,
            ring,
            rate: Rate::new(REQUESTS_PER_S, now),
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            pending: 0,
            over: 0,
            outgoing: VecDeque::new(),
            changes: VecDeque::new(),
            legs: 0,
            registrar: Registrar::default(),
            counts: Arc::default(),
        }
    }

    /// What it counts.
    pub(super) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// The next answer to be sent.
    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// What the next line is to be told.
    pub(super) fn changed(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// When the next timer fires.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), ())| *at)
    }

    /// A datagram has come.
    pub(super) fn receive(&mut self, asked: &Asked<'_>) {
        let message = Message::parse(asked.bytes).ok();
        let small = asked.bytes.len() <= REQUEST_MAX_BYTES;
        let request = message.as_ref().and_then(|message| Request::of(message, asked));
        match request.filter(|_| small && self.rate.admits(asked.at)) {
            Some(request) => self.answer(&request),
            None => self.counts.discarded.add(),
        }
    }

    fn answer(&mut self, request: &Request<'_>) {
        match request.method {
            b"OPTIONS" => self.options(request),
            b"INVITE" if request.message.tag("To").is_none() => self.invite(request),
            b"INVITE" => self.within(request, 488),
            b"ACK" => self.ack(request),
            b"BYE" => self.bye(request),
            b"CANCEL" => self.cancel(request),
            b"REGISTER" => self.register(request),
            _ => self.reply(request, 405, "Method Not Allowed"),
        }
    }

    fn options(&mut self, request: &Request<'_>) {
        self.counts.options.add();
        match Behaviour::of(request.user(), self.ring) {
            Behaviour::Silent => {}
            Behaviour::Refuse(status) => self.reply(request, status, reason(status)),
            Behaviour::Answer { .. } => self.reply(request, 200, "OK"),
        }
    }

    fn register(&mut self, request: &Request<'_>) {
        let user = registrar::user(request.message).unwrap_or_default();
        match Behaviour::of(&user, self.ring) {
            Behaviour::Silent => return,
            Behaviour::Refuse(status) => return self.reply(request, status, reason(status)),
            Behaviour::Answer { .. } => {}
        }
        match self.registrar.register(request.message, request.asked.at) {
            Err((status, words)) => self.reply(request, status, words),
            Ok(contacts) => {
                self.counts.registered.add();
                let tag = self.tag(request);
                let Some(builder) = request.reply((200, "OK"), &tag) else { return };
                self.push(request.to.clone(), builder.headers("Contact", contacts).empty());
            }
        }
    }

    /// An answer that nothing is remembered of: if the request comes again, it is made again, alike.
    fn reply(&mut self, request: &Request<'_>, status: u16, words: &'static str) {
        let tag = self.tag(request);
        let Some(builder) = request.reply((status, words), &tag) else { return };
        let builder =
            if matches!(status, 200 | 405) { builder.header("Allow", ALLOW) } else { builder };
        self.push(request.to.clone(), builder.empty());
    }

    fn tag(&self, request: &Request<'_>) -> String {
        self.identifiers.of(&[&request.key.0, &request.key.1, request.via])
    }

    fn push(&mut self, to: Hop, bytes: Vec<u8>) {
        self.outgoing.push_back(Outgoing { to, bytes });
    }
}

// === calls ===

impl Answerer {
    fn invite(&mut self, request: &Request<'_>) {
        if let Some(call) = self.calls.get(&request.key) {
            if call.via == request.via {
                let (to, answer) = (call.to.clone(), call.answer.clone());
                if !answer.is_empty() {
                    self.push(to, answer);
                }
                return;
            }
            // The same call by another way (§8.2.2.2), unless it is one that was refused and is tried again.
            if !call.stage.is_over() {
                return self.reply(request, 482, "Loop Detected");
            }
            self.forget(&request.key.clone());
        }
        self.counts.calls.add();
        let behaviour = Behaviour::of(request.user(), self.ring);
        if behaviour != Behaviour::Silent
            && (self.pending >= PENDING_MAX || self.calls.len() - self.over >= CALLS_MAX)
        {
            return self.reply(request, 503, reason(503));
        }
        self.make_room();
        let call = match behaviour {
            Behaviour::Silent => {
                Some(self.call(request, Vec::new(), Stage::unheard(request.asked.at)))
            }
            Behaviour::Refuse(status) => self.refuse(request, status),
            Behaviour::Answer { ring } => self.ring(request, ring),
        };
        if let Some(call) = call {
            self.remember(request.key.clone(), call);
        }
    }

    fn call(&self, request: &Request<'_>, answer: Vec<u8>, stage: Stage) -> Call {
        let (via, to) = (request.via.to_vec(), request.to.clone());
        Call { via, tag: self.tag(request), to, answer, stage, leg: None }
    }

    fn refuse(&mut self, request: &Request<'_>, status: u16) -> Option<Call> {
        let tag = self.tag(request);
        let refusal = request.reply((status, reason(status)), &tag)?.empty();
        self.push(request.to.clone(), refusal.clone());
        Some(self.call(request, refusal, Stage::unacknowledged(false, request.asked.at)))
    }

    /// 100 and 180 at once, 200 when it has rung long enough.
    fn ring(&mut self, request: &Request<'_>, ring: Duration) -> Option<Call> {
        let (tag, session) = (self.tag(request), self.identifiers.number());
        let (body, media) = (request.message.body, request.asked.media);
        let description =
            if body.is_empty() { Some(media.offer(session)) } else { media.answer(body, session) };
        let Some(description) = description else { return self.refuse(request, 488) };
        let contact = format!("<sip:{}>", request.asked.local);
        let in_dialog = |builder: Builder| {
            let routes = request.message.lines("Record-Route");
            builder.headers("Record-Route", routes).header("Contact", &contact)
        };
        // 100 has no tag: it comes from this hop alone (§17.2.1).
        let trying = reply(request.message, (100, "Trying"), request.asked.source, None)?.empty();
        let ringing = in_dialog(request.reply((180, "Ringing"), &tag)?).empty();
        let accepted = in_dialog(request.reply((200, "OK"), &tag)?)
            .header("Allow", ALLOW)
            .body(CONTENT_TYPE, description.as_bytes());
        let cancelled = request.reply((487, "Request Terminated"), &tag)?.empty();
        self.push(request.to.clone(), trying);
        self.push(request.to.clone(), ringing.clone());
        let stage = Stage::Ringing { answer_at: request.asked.at + ring, accepted, cancelled };
        let leg = Some(self.leg(request));
        Some(Call { leg, ..self.call(request, ringing, stage) })
    }

    /// The audio that was agreed: the caller's description stands in its INVITE, if anywhere.
    fn leg(&mut self, request: &Request<'_>) -> Leg {
        self.legs += 1;
        let audio = audio(request.message.body);
        let place = audio.as_ref().and_then(|audio| {
            let address: IpAddr = audio.place.address.parse().ok()?;
            Some(SocketAddr::new(address.to_canonical(), audio.place.port))
        });
        let party = Party {
            place,
            signalling: request.asked.source.host.parse().ok(),
            listens: audio.is_none_or(|audio| audio.direction.listens()),
            seed: self.identifiers.number(),
        };
        Leg { line: request.asked.line, call: self.legs, party, open: false }
    }

    fn ack(&mut self, request: &Request<'_>) {
        let now = request.asked.at;
        let Some(call) = self.calls.get(&request.key) else { return };
        let Stage::Unacknowledged { accepted, .. } = call.stage else { return };
        // That of a refusal has the branch of the INVITE, that of a call its tag (§17.1.1.3, §13.2.2.4).
        if accepted && request.is_to(&call.tag) {
            self.counts.acknowledged.add();
            self.change(&request.key, Stage::up(now));
        } else if !accepted && call.via == request.via {
            self.change(&request.key, Stage::refused(now));
        }
    }

    fn bye(&mut self, request: &Request<'_>) {
        let now = request.asked.at;
        match self
            .calls
            .get(&request.key)
            .filter(|call| request.is_to(&call.tag))
            .map(|call| &call.stage)
        {
            // Before the ACK has come too: it may be lost, or late.
            Some(Stage::Up { .. } | Stage::Unacknowledged { accepted: true, .. }) => {
                self.counts.ended.add();
                self.change(&request.key, Stage::ended(now));
                self.reply(request, 200, "OK");
            }
            Some(Stage::Over { ended: true, .. }) => self.reply(request, 200, "OK"),
            _ => self.reply(request, 481, "Call/Transaction Does Not Exist"),
        }
    }

    /// §9.2: only what rings can be cancelled; to be told so is no error.
    fn cancel(&mut self, request: &Request<'_>) {
        let now = request.asked.at;
        let known = self.calls.get_mut(&request.key).filter(|call| call.via == request.via);
        let Some(call) = known else {
            return self.reply(request, 481, "Call/Transaction Does Not Exist");
        };
        let cancelled = match &mut call.stage {
            Stage::Ringing { cancelled, .. } => Some(std::mem::take(cancelled)),
            _ => None,
        };
        let to = call.to.clone();
        if let Some(cancelled) = cancelled {
            call.answer.clone_from(&cancelled);
            self.counts.cancelled.add();
            self.reply(request, 200, "OK");
            self.push(to, cancelled);
            return self.change(&request.key, Stage::unacknowledged(false, now));
        }
        self.reply(request, 200, "OK");
    }

    /// Something else within a call.
    fn within(&mut self, request: &Request<'_>, status: u16) {
        let known = self.calls.get(&request.key).filter(|call| request.is_to(&call.tag));
        match known.filter(|call| matches!(call.stage, Stage::Up { .. })) {
            Some(_) => self.reply(request, status, reason(status)),
            None => self.reply(request, 481, "Call/Transaction Does Not Exist"),
        }
    }
}

// === time and memory ===

impl Answerer {
    /// Fires the timers that are due.
    pub(super) fn fire(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, key), ()) = entry.remove_entry();
            let Some(mut call) = self.take(&key) else { continue };
            let due = call.fire(now);
            if matches!(due, Due::Answer | Due::Accept) {
                self.push(call.to.clone(), call.answer.clone());
            }
            if due == Due::Accept {
                self.counts.answered.add();
            }
            match due {
                Due::Forget => self.close(&mut call),
                _ => self.remember(key, call),
            }
        }
    }

    /// Tells the line of a call that is up, or no longer is.
    fn tell_line(&mut self, call: &mut Call) {
        match &mut call.leg {
            Some(leg) if call.stage.is_heard() && !leg.open => {
                leg.open = true;
                let (line, call, party) = (leg.line, leg.call, leg.party.clone());
                self.changes.push_back(Change::Open { line, call, party });
            }
            _ if !call.stage.is_heard() => self.close(call),
            _ => {}
        }
    }

    fn close(&mut self, call: &mut Call) {
        if let Some(leg) = call.leg.as_mut().filter(|leg| leg.open) {
            leg.open = false;
            self.changes.push_back(Change::Close { line: leg.line, call: leg.call });
        }
    }

    fn remember(&mut self, key: Key, mut call: Call) {
        self.tell_line(&mut call);
        self.pending += usize::from(call.stage.is_pending());
        self.over += usize::from(call.stage.is_over());
        self.timers.insert((call.stage.next_timer(), key.clone()), ());
        self.calls.insert(key, call);
    }

    fn take(&mut self, key: &Key) -> Option<Call> {
        let call = self.calls.remove(key)?;
        self.pending -= usize::from(call.stage.is_pending());
        self.over -= usize::from(call.stage.is_over());
        Some(call)
    }

    fn forget(&mut self, key: &Key) -> Option<Call> {
        let call = self.take(key)?;
        self.timers.remove(&(call.stage.next_timer(), key.clone()));
        Some(call)
    }

    fn change(&mut self, key: &Key, stage: Stage) {
        if let Some(call) = self.forget(key) {
            self.remember(key.clone(), Call { stage, ..call });
        }
    }

    /// Forgets a call that is over, if as many are remembered as may be. There is one: fewer may be up.
    fn make_room(&mut self) {
        if self.calls.len() < REMEMBERED_MAX {
            return;
        }
        let over = self.timers.keys().map(|(_, key)| key);
        let is_over = |key: &&Key| self.calls.get(*key).is_some_and(|call| call.stage.is_over());
        if let Some(key) = over.clone().find(is_over).cloned() {
            self.forget(&key);
        }
    }
}

#[cfg(test)]
mod tests;
