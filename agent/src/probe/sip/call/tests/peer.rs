//! The other side: a few lines that answer what was sent.

use super::super::*;
use super::ms;
use crate::probe::sip::identity::{Identifiers, SEED_BYTES};
use crate::probe::sip::scenario::{Outgoing, Targets};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};
use crate::probe::statuses::Statuses;

/// How long attempts in these tests may take.
pub(super) const TIMEOUT: Duration = ms(60_000);
/// How long calls are held.
pub(super) const HOLD: Duration = ms(1_000);

/// A call as most tests make it.
fn plan(expected: Statuses, now: Instant) -> CallPlan {
    CallPlan {
        ask: AskPlan {
            expected,
            credentials: None,
            from: None,
            proxy: None,
            targets: Targets { transports: vec![Transport::Udp], failover: false },
        },
        kind: CallKind::Answer,
        users: None,
        hold: HOLD,
        deadline: now + TIMEOUT,
        media: MediaPlace { address: "192.0.2.1".to_owned(), port: 40_002 },
    }
}

/// Whom most tests call.
fn echo() -> Uri {
    Uri::parse(b"sip:echo@sbc.example:5070").expect("a URI")
}

/// A call, and the time in its world.
pub(super) struct Desk {
    pub(super) call: Call,
    pub(super) now: Instant,
    pub(super) deadline: Instant,
    source: Hop,
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn hop(host: &str, port: u16) -> Way {
    Way::Hop(Hop { host: host.to_owned(), port, transport: Transport::Udp })
}

impl Desk {
    pub(super) fn new() -> Self {
        Self::with(Statuses::one(200), TIMEOUT, HOLD)
    }

    pub(super) fn expecting(codes: &str) -> Self {
        Self::with(Statuses::of(codes), TIMEOUT, HOLD)
    }

    pub(super) fn with(expected: Statuses, timeout: Duration, hold: Duration) -> Self {
        let now = Instant::now();
        let plan = CallPlan { hold, deadline: now + timeout, ..plan(expected, now) };
        Self::call(echo(), plan, now)
    }

    /// A call of the usual plan, with a change.
    pub(super) fn planned(change: impl FnOnce(&mut CallPlan)) -> Self {
        Self::to(echo(), change)
    }

    /// The same, to somebody else.
    pub(super) fn to(target: Uri, change: impl FnOnce(&mut CallPlan)) -> Self {
        let now = Instant::now();
        let mut plan = plan(Statuses::one(200), now);
        change(&mut plan);
        Self::call(target, plan, now)
    }

    /// A call that is to ring, and to be cancelled then.
    pub(super) fn ring() -> Self {
        Self::planned(|plan| {
            (plan.kind, plan.ask.expected) = (CallKind::Ring, Statuses::of("[487]"));
        })
    }

    fn call(target: Uri, plan: CallPlan, now: Instant) -> Self {
        let identifiers = Identifiers::new([1; SEED_BYTES]);
        let caller = Caller::new(target, "192.0.2.1:40000".to_owned(), identifiers);
        let deadline = plan.deadline;
        let call = Call::new(caller, plan, now);
        Self {
            call,
            now,
            deadline,
            source: Hop { host: "192.0.2.5".to_owned(), port: 5_070, transport: Transport::Udp },
        }
    }

    /// The next message, which is of that method and leaves now.
    #[track_caller]
    pub(super) fn sent(&mut self, method: &str) -> Outgoing {
        let outgoing = self.call.outbox().pop().expect(method);
        assert!(text(&outgoing.bytes).starts_with(method), "{}", text(&outgoing.bytes));
        if let Some(stamp) = outgoing.stamp {
            self.call.sent(stamp, self.now);
        }
        outgoing
    }

    #[track_caller]
    pub(super) fn silence(&mut self) {
        let outgoing = self.call.outbox().pop();
        assert!(outgoing.is_none(), "{}", text(&outgoing.expect("something").bytes));
    }

    /// Lets time pass, timer by timer, up to something that is to be sent.
    pub(super) fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.call.next_timer().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.call.fire(self.now);
            if !self.call.outbox().is_empty() {
                break;
            }
        }
        if self.call.outbox().is_empty() {
            self.now = until;
        }
    }

    pub(super) fn receive(&mut self, after: Duration, bytes: &[u8]) {
        self.now += after;
        let datagram = Datagram { bytes, at: self.now, source: &self.source };
        self.call.receive(&datagram);
    }

    pub(super) fn answer(&mut self, after: Duration, reply: &Reply) {
        self.receive(after, &reply.bytes());
    }

    pub(super) fn hang_up(&mut self) {
        self.call.hang_up(self.now);
    }

    /// What was counted under that name.
    #[track_caller]
    pub(super) fn count(&self, name: &str) -> u64 {
        let counters = &self.conclusion().counters;
        counters.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }

    #[track_caller]
    pub(super) fn conclusion(&self) -> &Conclusion {
        self.call.conclusion().expect("a conclusion")
    }

    /// The branch of a message.
    pub(super) fn branch(&self, outgoing: &Outgoing) -> String {
        let message = Message::parse(&outgoing.bytes).expect("is read");
        text(message.only_via().expect("one").branch().expect("a branch"))
    }
}

/// A response to a request of ours.
pub(super) struct Reply {
    request: Vec<u8>,
    status: u16,
    tag: String,
    contact: String,
    headers: Vec<String>,
    body: String,
}

impl Reply {
    pub(super) fn to(request: &Outgoing, status: u16) -> Self {
        let request = request.bytes.clone();
        let (tag, contact, headers, body) = Default::default();
        Self { request, status, tag, contact, headers, body }
    }

    pub(super) fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    pub(super) fn contact(mut self, contact: &str) -> Self {
        contact.clone_into(&mut self.contact);
        self
    }

    pub(super) fn header(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }

    /// With SDP.
    pub(super) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.header("Content-Type: application/sdp")
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let request = text(&self.request);
        let mut lines = vec![format!("SIP/2.0 {} Words", self.status)];
        for line in request.lines() {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                lines.push(line.to_owned());
            }
            if line.starts_with("To:") {
                let tag =
                    if self.tag.is_empty() { String::new() } else { format!(";tag={}", self.tag) };
                lines.push(format!("{line}{tag}"));
            }
        }
        if !self.contact.is_empty() {
            lines.push(format!("Contact: <{}>", self.contact));
        }
        lines.extend(self.headers.iter().cloned());
        lines.push(format!("Content-Length: {}", self.body.len()));
        (lines.join("\r\n") + "\r\n\r\n" + &self.body).into_bytes()
    }
}
