//! For fuzzing: attempts whose other side does what bytes say. See [`crate::fuzz`].

use super::call::{Call, CallKind, CallPlan};
use super::caller::{AskPlan, Caller};
use super::digest::Credentials;
use super::identity::{Identifiers, SEED_BYTES};
use super::message::{Builder, Message, reply};
use super::options::Options;
use super::register::{Register, RegisterPlan};
use super::scenario::{Datagram, Scenario, Targets};
use super::sdp::MediaPlace;
use super::spec::Codes;
use super::transport::Transport;
use super::uri::{Hop, Uri};
use crate::probe::failure::Failure;
use crate::secret::Secret;
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

/// Lines that change what an answer means.
const LINES: [(&str, &str); 16] = [
    ("Contact", "<sip:uas@192.0.2.7>"),
    ("Contact", "<sip:a@192.0.2.8;transport=tcp>;q=0.5, <sips:b@[::1]>;q=0.9, <tel:1>"),
    ("Contact", "<sip:probefleet@192.0.2.1:40000>;expires=60"),
    ("Record-Route", "<sip:p1.example;lr>, <sip:p2.example:5070>"),
    ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"1\", qop=\"auth\""),
    ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"2\", qop=\"auth-int\", stale=true"),
    ("Proxy-Authenticate", "Digest realm=\"b\", nonce=\"3\", algorithm=SHA-256"),
    ("Require", "100rel"),
    ("RSeq", "1"),
    ("RSeq", "4294967295"),
    ("Min-SE", "1800"),
    ("Min-Expires", "7200"),
    ("Session-Expires", "90;refresher=uac"),
    ("Retry-After", "5"),
    ("Reason", "Q.850;cause=16"),
    ("Allow", "UPDATE"),
];
/// Statuses that are special somewhere.
const STATUSES: [u16; 20] = [
    100, 180, 183, 199, 200, 202, 301, 302, 401, 407, 408, 420, 422, 423, 481, 486, 487, 491, 503,
    603,
];
/// What the other side may ask within a call.
const METHODS: [&str; 8] = ["BYE", "INFO", "UPDATE", "INVITE", "ACK", "CANCEL", "OPTIONS", "X"];

/// An attempt of the kind that the first byte says, and what happens to it.
///
/// # Panics
/// When it does not conclude, does not end, or leaves a call up.
pub(crate) fn attempt(bytes: &[u8]) {
    let mut script = Script { rest: bytes };
    let now = Instant::now();
    let Some(scenario) = scenario(script.byte(), now) else { return };
    let mut desk = Desk { scenario, now, sent: Vec::new(), count: 0 };
    desk.collect();
    while !script.rest.is_empty() && desk.now < now + TIMEOUT {
        desk.happen(&mut script);
    }
    desk.scenario.hang_up(desk.now);
    desk.collect();
    assert!(desk.scenario.conclusion().is_some(), "no conclusion when time is up");
    while !script.rest.is_empty() {
        desk.happen(&mut script);
    }
    for _ in 0..TIMERS_MAX {
        let Some(at) = desk.scenario.next_timer().filter(|_| !desk.scenario.is_over()) else {
            break;
        };
        desk.wait(at.saturating_duration_since(desk.now));
    }
    assert!(desk.scenario.is_over(), "still waits for something");
    assert!(!desk.scenario.may_be_up(), "a call is left up");
}

fn scenario(kind: u8, now: Instant) -> Option<Box<dyn Scenario>> {
    let target = Uri::parse(b"sip:echo@sbc.example:5070")?;
    let identifiers = Identifiers::new([1; SEED_BYTES]);
    let caller = Caller::new(target, "192.0.2.1:40000".to_owned(), identifiers);
    let password = Secret::new("secret".to_owned());
    let transports = vec![Transport::Udp, Transport::Tcp];
    let ask = AskPlan {
        expected: Codes::ok(),
        credentials: (kind & 4 == 0).then(|| Credentials { user: "probe".to_owned(), password }),
        from: None,
        proxy: None,
        targets: Targets { transports, failover: kind & 8 == 0 },
    };
    Some(match kind & 3 {
        0 => Box::new(Options::new(caller, ask, now)),
        1 => Box::new(Register::new(caller, RegisterPlan { ask, expires_s: 60 }, now)),
        kind => {
            let kind = if kind == 2 { CallKind::Ring } else { CallKind::Answer };
            let media = MediaPlace { address: "192.0.2.1".to_owned(), port: 40_002 };
            let hold = Duration::from_secs(1);
            let plan = CallPlan { ask, kind, users: None, hold, deadline: now + TIMEOUT, media };
            Box::new(Call::new(caller, plan, now))
        }
    })
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
    now: Instant,
    /// The last of them.
    sent: Vec<Vec<u8>>,
    count: usize,
}

impl Desk {
    /// Takes everything that is to be sent.
    fn collect(&mut self) {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            if let Some(stamp) = outgoing.stamp {
                self.scenario.sent(stamp, self.now);
            }
            self.count += 1;
            assert!(self.count <= SENT_MAX, "sends for ever");
            assert!(Message::parse(&outgoing.bytes).is_ok(), "what is sent cannot be read");
            if self.sent.len() == KEPT_MAX {
                self.sent.remove(0);
            }
            self.sent.push(outgoing.bytes);
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let source = Hop { host: "192.0.2.5".to_owned(), port: 5_070, transport: Transport::Udp };
        self.scenario.receive(&Datagram { bytes, at: self.now, source: &source });
    }

    fn happen(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        self.now += Duration::from_millis(1);
        match what % 8 {
            0..=3 => self.answer(script),
            4 => self.ask(script),
            5 => self.receive(script.some()),
            6 => {
                let failure = Failure::failed(FailureClass::Refused, "econnrefused", "");
                self.scenario.unreachable(failure, self.now);
            }
            _ => self.wait(Duration::from_millis(u64::from(script.byte()) * 20)),
        }
        self.collect();
    }

    /// Answers something that was sent.
    fn answer(&mut self, script: &mut Script<'_>) {
        let index = self.sent.len().saturating_sub(1 + usize::from(script.byte() % 4));
        let Some(request) = self.sent.get(index).cloned() else { return };
        let Ok(request) = Message::parse(&request) else { return };
        let status = script.one_of(&STATUSES).unwrap_or(200);
        let source = Hop { host: "192.0.2.1".to_owned(), port: 40_000, transport: Transport::Udp };
        let tag = format!("t{}", script.byte() % 4);
        let Some(answer) = reply(&request, (status, "X"), &source, Some(&tag)) else { return };
        self.finish(answer, script);
    }

    /// Asks something within the call, if there is one.
    fn ask(&mut self, script: &mut Script<'_>) {
        let method = script.one_of(&METHODS).unwrap_or("BYE");
        let Some(last) = self.sent.last().cloned() else { return };
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
            if let Some((name, value)) = script.one_of(&LINES) {
                message = message.header(name, value);
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
        self.receive(&bytes);
    }

    /// Lets time pass, timer by timer.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..TIMERS_MAX {
            let Some(at) = self.scenario.next_timer().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            self.scenario.fire(self.now);
            self.collect();
        }
        self.now = self.now.max(until);
    }
}
