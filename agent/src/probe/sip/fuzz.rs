//! For fuzzing: attempts whose other side does what bytes say. See [`crate::fuzz`].

mod ledger;

use super::call::{Call, CallKind, CallPlan, DIALOGS_MAX};
use super::caller::{AskPlan, Caller, DATAGRAM_REQUEST_MAX_BYTES};
use super::digest::Credentials;
use super::identity::{Identifiers, SEED_BYTES};
use super::message::{Builder, Message, reply};
use super::options::Options;
use super::register::{Register, RegisterPlan};
use super::scenario::{Datagram, Outgoing, Scenario, Targets, Way};
use super::sdp::MediaPlace;
use super::timers::TRANSACTION;
use super::transport::Transport;
use super::uri::{Hop, Uri};
use crate::probe::failure::Failure;
use crate::probe::statuses::Statuses;
use crate::secret::Secret;
use ledger::Ledger;
use probefleet_proto::name::FailureClass;
use std::time::Duration;
use tokio::time::Instant;

/// How long an attempt may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// More messages than anything that the other side does may cost.
const SENT_MAX: usize = 20_000;
/// More timers than may fire when the other side is silent at last.
const TIMERS_MAX: usize = 2_000;
/// Messages that are kept to be answered.
const KEPT_MAX: usize = 64;
/// Most messages that a datagram is followed by: an ACK and a BYE or the next INVITE, a PRACK and a CANCEL.
const FOLLOW_MAX: usize = 2;
/// Most messages that anything else is followed by: a PRACK, an ACK and a BYE of each branch of a fork, and a CANCEL or an
/// INVITE.
const AT_ONCE_MAX: usize = 3 * DIALOGS_MAX + 1;

/// The servers of a name, by what carries requests to each.
const SERVERS: [&[Transport]; 4] = [
    &[Transport::Udp],
    &[Transport::Udp, Transport::Tcp],
    &[Transport::Tcp, Transport::Tls, Transport::Udp],
    &[Transport::Udp, Transport::Udp, Transport::Udp],
];
/// The same of one that is asked by `sips:`.
const PRIVATE_SERVERS: [&[Transport]; 2] = [&[Transport::Tls], &[Transport::Tls, Transport::Tls]];
/// Stands for more than a datagram has room for.
const LONG: &str = "LONG";

/// Lines that change what an answer means.
const LINES: [&[(&str, &str)]; 23] = [
    &[("Contact", "<sip:uas@192.0.2.7>")],
    &[("Contact", "<sip:LONG@192.0.2.7>")],
    &[("Contact", "<sip:uas@192.0.2.7;transport=tcp>")],
    &[("Contact", "<sip:a@192.0.2.8;transport=tcp>;q=0.5, <sips:b@[::1]>;q=0.9, <tel:1>")],
    &[("Contact", "<sip:c@192.0.2.10>"), ("Contact", "<sip:LONG@192.0.2.11>;q=0.1")],
    &[("Contact", "<sip:probefleet@192.0.2.1:40000>;expires=60")],
    &[("Record-Route", "<sip:p1.example;lr>, <sip:p2.example:5070>")],
    &[("Record-Route", "<sip:p1.example;lr;transport=tls>, <sip:LONG@p2.example:5070;lr>")],
    &[("WWW-Authenticate", "Digest realm=\"a\", nonce=\"1\", qop=\"auth\"")],
    &[("WWW-Authenticate", "Digest realm=\"a\", nonce=\"2\", qop=\"auth-int\", stale=true")],
    &[("Proxy-Authenticate", "Digest realm=\"b\", nonce=\"3\", algorithm=SHA-256")],
    &[("Require", "100rel")],
    &[("Require", "100rel"), ("RSeq", "1")],
    &[("Require", "100rel"), ("RSeq", "2")],
    &[("Require", "100rel"), ("RSeq", "3")],
    &[("Require", "100rel"), ("RSeq", "4294967295")],
    &[("RSeq", "1")],
    &[("Min-SE", "1800")],
    &[("Min-Expires", "7200")],
    &[("Session-Expires", "90;refresher=uac")],
    &[("Retry-After", "5")],
    &[("Reason", "Q.850;cause=16")],
    &[("Allow", "UPDATE")],
];
/// Statuses that are special somewhere.
const STATUSES: [u16; 24] = [
    100, 180, 180, 183, 183, 199, 200, 200, 202, 301, 302, 302, 401, 407, 408, 420, 422, 423, 481,
    486, 487, 491, 503, 603,
];
/// What the other side may ask within a call.
const METHODS: [&str; 8] = ["BYE", "INFO", "UPDATE", "INVITE", "ACK", "CANCEL", "OPTIONS", "X"];

/// An attempt of the kind that the first bytes say, and what happens to it.
///
/// # Panics
/// When it breaks a rule of its [`Ledger`], does not conclude, does not end, or leaves a call up.
pub(crate) fn attempt(bytes: &[u8]) {
    let mut script = Script { rest: bytes };
    let now = Instant::now();
    let Some(mut desk) = Desk::new(&mut script, now) else { return };
    desk.collect(&mut script, FOLLOW_MAX);
    while !script.rest.is_empty() && desk.now < now + TIMEOUT {
        desk.happen(&mut script);
    }
    desk.hang_up(&mut script);
    assert!(desk.scenario.conclusion().is_some(), "no conclusion when time is up");
    while !script.rest.is_empty() {
        desk.happen(&mut script);
    }
    for _ in 0..TIMERS_MAX {
        let Some(at) = desk.scenario.next_timer().filter(|_| !desk.scenario.is_over()) else {
            break;
        };
        desk.wait(at.saturating_duration_since(desk.now), &mut script);
    }
    assert!(desk.scenario.is_over(), "still waits for something");
    assert!(!desk.scenario.may_be_up(), "a call is left up");
}

/// Whom an attempt asks.
struct Asked {
    target: Uri,
    proxy: Option<Uri>,
    servers: &'static [Transport],
}

impl Asked {
    fn new(script: &mut Script<'_>) -> Option<Self> {
        let kind = script.byte();
        let scheme = if kind & 1 == 0 { "sip" } else { "sips" };
        let user = if kind & 14 == 0 { long() } else { "echo".to_owned() };
        let target = Uri::parse(format!("{scheme}:{user}@sbc.example:5070").as_bytes())?;
        let proxy = match kind >> 4 {
            0 => Some("sip:proxy.example;lr"),
            1 => Some("sips:proxy.example:5080"),
            _ => None,
        };
        let proxy = proxy.and_then(|proxy| Uri::parse(proxy.as_bytes()));
        let secure = proxy.as_ref().unwrap_or(&target).secure;
        let servers =
            if secure { script.one_of(&PRIVATE_SERVERS) } else { script.one_of(&SERVERS) };
        Some(Self { target, proxy, servers: servers? })
    }
}

fn scenario(asked: &Asked, kind: u8, now: Instant) -> Box<dyn Scenario> {
    let identifiers = Identifiers::new([1; SEED_BYTES]);
    let caller = Caller::new(asked.target.clone(), "192.0.2.1:40000".to_owned(), identifiers);
    let password = Secret::new("secret".to_owned());
    let ask = AskPlan {
        expected: Statuses::one(200),
        credentials: (kind & 4 == 0).then(|| Credentials { user: "probe".to_owned(), password }),
        from: None,
        proxy: asked.proxy.clone().map(Box::new),
        targets: Targets { transports: asked.servers.to_vec(), failover: kind & 8 == 0 },
    };
    // Calls have more to go wrong.
    match kind >> 4 {
        0..2 => Box::new(Options::new(caller, ask, now)),
        2..4 => Box::new(Register::new(caller, RegisterPlan { ask, expires_s: 60 }, now)),
        number => {
            let kind = if number < 7 { CallKind::Ring } else { CallKind::Answer };
            let media = MediaPlace { address: "192.0.2.1".to_owned(), port: 40_002 };
            let hold = Duration::from_secs(1);
            let plan = CallPlan { ask, kind, users: None, hold, deadline: now + TIMEOUT, media };
            Box::new(Call::new(caller, plan, now))
        }
    }
}

fn long() -> String {
    "x".repeat(DATAGRAM_REQUEST_MAX_BYTES)
}

/// Bytes that are taken as they are needed.
struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.rest.split_first().unwrap_or((&0, &[]));
        self.rest = rest;
        *byte
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(usize::from(self.byte()) % all.len().max(1)).copied()
    }

    fn some(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (some, rest) = self.rest.split_at(length);
        self.rest = rest;
        some
    }
}

/// An attempt, and the time in its world.
struct Desk {
    scenario: Box<dyn Scenario>,
    ledger: Ledger,
    now: Instant,
    /// The last requests.
    sent: Vec<Vec<u8>>,
    count: usize,
    /// Streams that stand.
    streams: Vec<Way>,
}

impl Desk {
    fn new(script: &mut Script<'_>, now: Instant) -> Option<Self> {
        let asked = Asked::new(script)?;
        let by_open_proxy = asked.proxy.as_ref().is_some_and(|proxy| !proxy.secure);
        let ledger = Ledger::new(asked.servers.to_vec(), by_open_proxy);
        let scenario = scenario(&asked, script.byte(), now);
        Some(Self { scenario, ledger, now, sent: Vec::new(), count: 0, streams: Vec::new() })
    }

    /// Takes everything that is to be sent, at most so many messages.
    fn collect(&mut self, script: &mut Script<'_>, mut most: usize) {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            assert!(most > 0, "too much at once");
            most -= 1;
            self.count += 1;
            assert!(self.count <= SENT_MAX, "sends for ever");
            self.ledger.send(&outgoing, self.now);
            match &outgoing.way {
                _ if self.is_open(&outgoing, script) => self.leave(outgoing),
                // As whoever drives it does where a stream cannot be had.
                Way::Target(_) | Way::Onward(_) => {
                    self.unreachable();
                    most = AT_ONCE_MAX;
                }
                Way::Hop(_) => {
                    self.leave(outgoing);
                    self.ledger.hang_up();
                    self.scenario.hang_up(self.now);
                    most += AT_ONCE_MAX;
                }
                Way::Aside(_) | Way::Back => self.leave(outgoing),
            }
        }
        self.ledger.settle(self.scenario.conclusion());
    }

    fn is_open(&mut self, outgoing: &Outgoing, script: &mut Script<'_>) -> bool {
        let known = self.streams.contains(&outgoing.way);
        let refused = outgoing.transport.is_reliable() && !known && script.byte() % 16 == 1;
        if outgoing.transport.is_reliable() && !known && !refused {
            self.streams.push(outgoing.way.clone());
        }
        !refused
    }

    fn leave(&mut self, outgoing: Outgoing) {
        if let Some(stamp) = outgoing.stamp {
            self.ledger.left(stamp, self.now);
            self.scenario.sent(stamp, self.now);
        }
        // Nobody answers an answer.
        if outgoing.way == Way::Back {
            return;
        }
        if self.sent.len() == KEPT_MAX {
            self.sent.remove(0);
        }
        self.sent.push(outgoing.bytes);
    }

    fn unreachable(&mut self) {
        let failure = Failure::failed(FailureClass::Refused, "econnrefused", "");
        self.ledger.unreachable();
        self.scenario.unreachable(failure, self.now);
    }

    fn hang_up(&mut self, script: &mut Script<'_>) {
        self.ledger.hang_up();
        self.scenario.hang_up(self.now);
        self.collect(script, AT_ONCE_MAX);
    }

    fn receive(&mut self, bytes: &[u8], script: &mut Script<'_>) {
        let source = Hop { host: "192.0.2.5".to_owned(), port: 5_070, transport: Transport::Udp };
        self.ledger.hear(bytes, self.now);
        self.scenario.receive(&Datagram { bytes, at: self.now, source: &source });
        self.collect(script, FOLLOW_MAX);
    }

    fn happen(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        self.now += Duration::from_millis(1);
        match what % 16 {
            0..=8 => self.answer(script),
            9..=10 => self.ask(script),
            11 => {
                let noise = script.some();
                self.receive(noise, script);
            }
            12 => {
                self.unreachable();
                self.collect(script, AT_ONCE_MAX);
            }
            _ => {
                let time = match script.byte() {
                    byte @ ..240 => Duration::from_millis(u64::from(byte) * 20),
                    240.. => TRANSACTION,
                };
                self.wait(time, script);
            }
        }
    }

    /// One of the last messages that were sent.
    fn any(&self, script: &mut Script<'_>) -> Option<Vec<u8>> {
        let index = self.sent.len().checked_sub(1 + usize::from(script.byte() % 4))?;
        self.sent.get(index).cloned()
    }

    /// Answers something that was sent.
    fn answer(&mut self, script: &mut Script<'_>) {
        let Some(request) = self.any(script) else { return };
        let Ok(request) = Message::parse(&request) else { return };
        let status = script.one_of(&STATUSES).unwrap_or(200);
        let source = Hop { host: "192.0.2.1".to_owned(), port: 40_000, transport: Transport::Udp };
        // More branches of a fork than are remembered, once in a while, and peers that give no tag.
        let tag = match script.byte() {
            byte @ ..32 => Some(format!("f{byte}")),
            byte @ 32..240 => Some(format!("t{}", byte % 4)),
            240.. => None,
        };
        let answer = reply(&request, (status, "X"), &source, tag.as_deref());
        let Some(mut answer) = answer else { return };
        // Most that ring want to be acknowledged, in their order or not.
        let rseq = script.byte() % 8;
        if (101..200).contains(&status) && rseq < 6 {
            answer = answer.header("Require", "100rel").header("RSeq", rseq.to_string());
        }
        self.finish(answer, script);
    }

    /// Asks something within the call, if there is one.
    fn ask(&mut self, script: &mut Script<'_>) {
        let method = script.one_of(&METHODS).unwrap_or("BYE");
        let Some(last) = self.any(script) else { return };
        let Ok(last) = Message::parse(&last) else { return };
        let mut request = Builder::request(method, "sip:probefleet@192.0.2.1:40000")
            .header("Via", format!("SIP/2.0/UDP 192.0.2.5;branch=z9hG4bK{}", script.byte() % 4))
            .header("CSeq", format!("{} {method}", script.byte()));
        for (header, from) in [("From", "To"), ("To", "From"), ("Call-ID", "Call-ID")] {
            request = request.header(header, last.first(from).unwrap_or_default());
        }
        self.finish(request, script);
    }

    /// Adds up to three lines, and a body.
    fn finish(&mut self, mut message: Builder, script: &mut Script<'_>) {
        for _ in 0..script.byte() % 4 {
            for (name, value) in script.one_of(&LINES).unwrap_or_default() {
                message = message.header(name, value.replace(LONG, &long()));
            }
        }
        let bytes = match script.byte() % 4 {
            0 => message.empty(),
            1 => message.body("application/sdp", script.some()),
            _ => {
                let place = MediaPlace { address: "192.0.2.9".to_owned(), port: 5_000 };
                message.body("application/sdp", place.offer(1).as_bytes())
            }
        };
        self.receive(&bytes, script);
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, time: Duration, script: &mut Script<'_>) {
        let until = self.now + time;
        for _ in 0..TIMERS_MAX {
            let Some(at) = self.scenario.next_timer().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            self.scenario.fire(self.now);
            self.collect(script, AT_ONCE_MAX);
        }
        self.now = self.now.max(until);
    }
}
