//! Registrations on a clock of our own.

use super::*;
use crate::probe::Outcome;
use crate::probe::sip::digest::Credentials;
use crate::probe::sip::identity::{Identifiers, SEED_BYTES};
use crate::probe::sip::scenario::{Outgoing, Targets, Way};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::Hop;
use crate::probe::statuses::Statuses;
use crate::secret::Secret;
use probefleet_proto::name::FailureClass;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Desk {
    register: Register,
    now: Instant,
}

fn text(outgoing: &Outgoing) -> String {
    String::from_utf8_lossy(&outgoing.bytes).into_owned()
}

impl Desk {
    fn new(credentials: Option<Credentials>, transports: Vec<Transport>) -> Self {
        let target = Uri::parse(b"sip:probe@acme.example;transport=udp").expect("a URI");
        Self::to(target, credentials, transports)
    }

    fn to(target: Uri, credentials: Option<Credentials>, transports: Vec<Transport>) -> Self {
        let now = Instant::now();
        let identifiers = Identifiers::new([1; SEED_BYTES]);
        let caller = Caller::new(target, "192.0.2.1:40000".to_owned(), identifiers);
        let ask = AskPlan {
            expected: Statuses::one(200),
            credentials,
            from: None,
            proxy: None,
            targets: Targets { failover: transports.len() > 1, transports },
        };
        Self { register: Register::new(caller, RegisterPlan { ask, expires_s: 60 }, now), now }
    }

    fn plain() -> Self {
        Self::new(None, vec![Transport::Udp])
    }

    #[track_caller]
    fn sent(&mut self) -> Outgoing {
        let outgoing = self.register.outbox().pop().expect("a REGISTER");
        assert!(outgoing.bytes.starts_with(b"REGISTER "), "{}", text(&outgoing));
        if let Some(stamp) = outgoing.stamp {
            self.register.sent(stamp, self.now);
        }
        outgoing
    }

    #[track_caller]
    fn silence(&mut self) {
        assert_eq!(self.register.outbox().pop(), None);
    }

    fn answer(&mut self, after: u64, request: &Outgoing, status: u16, header: &str) {
        self.now += ms(after);
        let mut lines = vec![format!("SIP/2.0 {status} Words")];
        let repeated = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let request = text(request);
        let of = |line: &&str| repeated.iter().any(|name| line.starts_with(name));
        lines.extend(request.lines().filter(of).map(str::to_owned));
        lines.push(header.to_owned());
        let bytes = (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        let source = Hop { host: "192.0.2.5".to_owned(), port: 5_060, transport: Transport::Udp };
        self.register.receive(&Datagram { bytes: &bytes, at: self.now, source: &source });
    }

    /// Fires the next timer.
    fn wait(&mut self) {
        self.now = self.register.next_timer().expect("a timer");
        self.register.fire(self.now);
    }

    #[track_caller]
    fn conclusion(&self) -> &Conclusion {
        self.register.conclusion().expect("a conclusion")
    }

    #[track_caller]
    fn assert_failed(&self, class: FailureClass, code: &str) {
        let failure = self.conclusion().result.clone().expect_err("failed");
        let expected = (Outcome::Failed(class), Some(code));
        assert_eq!((failure.outcome, failure.code.as_deref()), expected);
        assert_eq!(self.conclusion().phases, []);
    }
}

fn credentials() -> Option<Credentials> {
    let password = Secret::new("secret".to_owned());
    Some(Credentials { user: "probe".to_owned(), password })
}

#[test]
fn a_binding_is_made_and_removed() {
    let mut desk = Desk::plain();
    let first = desk.sent();
    let lines = text(&first);
    for line in [
        "REGISTER sip:acme.example;transport=udp SIP/2.0\r\n",
        "\r\nFrom: <sip:probe@acme.example>;tag=",
        "\r\nTo: <sip:probe@acme.example>\r\n",
        "\r\nContact: <sip:probe@192.0.2.1:40000>\r\n",
        "\r\nCSeq: 1 REGISTER\r\n",
        "\r\nExpires: 60\r\n",
    ] {
        assert!(lines.contains(line), "{line:?} in {lines}");
    }
    desk.answer(5, &first, 100, "X: y");
    desk.answer(25, &first, 200, "X: y");
    assert!(desk.register.conclusion().is_none());
    let second = desk.sent();
    let lines = text(&second);
    for line in [
        "\r\nContact: <sip:probe@192.0.2.1:40000>;expires=0\r\n",
        "\r\nCSeq: 2 REGISTER\r\n",
        "\r\nExpires: 0\r\n",
    ] {
        assert!(lines.contains(line), "{line:?} in {lines}");
    }
    desk.answer(100, &second, 200, "X: y");
    assert_eq!(desk.conclusion().result, Ok(200));
    assert_eq!(desk.conclusion().phases, [("registration_request_delay", ms(30))]);
    assert_eq!(desk.conclusion().counters, [("registrations", 1)]);
    assert!(desk.register.is_over());
    desk.silence();
}

#[test]
fn a_challenge_is_a_part_of_the_delay() {
    // RFC 6076 §4.2.
    let mut desk = Desk::new(credentials(), vec![Transport::Udp]);
    let first = desk.sent();
    assert!(!text(&first).contains("Authorization"));
    let challenge = r#"WWW-Authenticate: Digest realm="acme", nonce="1", qop="auth""#;
    desk.answer(10, &first, 401, challenge);
    let second = desk.sent();
    let lines = text(&second);
    assert!(lines.contains("\r\nAuthorization: Digest "), "{lines}");
    assert!(lines.contains("uri=\"sip:acme.example;transport=udp\""), "{lines}");
    assert!(lines.contains("\r\nCSeq: 2 REGISTER\r\n"), "{lines}");
    desk.answer(20, &second, 200, "X: y");
    let third = desk.sent();
    assert!(text(&third).contains("nc=00000002"), "{}", text(&third));
    desk.answer(20, &third, 200, "X: y");
    assert_eq!(desk.conclusion().phases, [("registration_request_delay", ms(30))]);
    // Refused again: the credentials are wrong.
    let mut desk = Desk::new(credentials(), vec![Transport::Udp]);
    let first = desk.sent();
    desk.answer(10, &first, 401, challenge);
    let second = desk.sent();
    desk.answer(10, &second, 401, challenge);
    desk.silence();
    desk.assert_failed(FailureClass::Auth, "sip:401");
    assert_eq!(desk.conclusion().counters, [("registrations", 1)], "RFC 6076 §4.2: no failure");
}

#[test]
fn a_refusal_leaves_nothing_to_remove() {
    for (status, ineffective) in [(302, false), (401, false), (403, true), (503, true), (603, true)]
    {
        let mut desk = Desk::plain();
        let first = desk.sent();
        desk.answer(10, &first, status, "X: y");
        desk.assert_failed(FailureClass::Status, &format!("sip:{status}"));
        let counted = desk.conclusion().counters.contains(&("registrations_ineffective", 1));
        assert_eq!(counted, ineffective, "{status}");
        desk.silence();
        assert!(desk.register.is_over());
    }
}

#[test]
fn a_longer_binding_is_made_once_where_it_is_demanded() {
    let mut desk = Desk::plain();
    let first = desk.sent();
    desk.answer(10, &first, 423, "Min-Expires: 600");
    let second = desk.sent();
    assert!(text(&second).contains("\r\nExpires: 600\r\n"));
    desk.answer(10, &second, 423, "Min-Expires: 700");
    desk.assert_failed(FailureClass::Status, "sip:423");
    for demanded in ["60", "0", "x", "99999999"] {
        let mut desk = Desk::plain();
        let first = desk.sent();
        desk.answer(10, &first, 423, &format!("Min-Expires: {demanded}"));
        desk.assert_failed(FailureClass::Status, "sip:423");
    }
}

#[test]
fn a_binding_that_may_stay_is_told() {
    for silent in [false, true] {
        let mut desk = Desk::plain();
        let first = desk.sent();
        desk.answer(10, &first, 200, "X: y");
        let second = desk.sent();
        if silent {
            while desk.register.conclusion().is_none() {
                desk.wait();
            }
        } else {
            desk.answer(10, &second, 500, "X: y");
        }
        assert_eq!(desk.conclusion().result, Ok(200));
        assert!(desk.conclusion().counters.contains(&("teardown_failed", 1)));
        assert!(desk.register.outbox().notes.contains(&("teardown_failed", 1.into())));
    }
}

#[test]
fn whoever_is_out_of_time_takes_back_what_may_be_there() {
    let mut desk = Desk::plain();
    desk.sent();
    desk.register.hang_up(desk.now + ms(100));
    desk.assert_failed(FailureClass::Timeout, "register");
    let second = desk.sent();
    assert!(text(&second).contains("\r\nExpires: 0\r\n"));
    assert!(!desk.register.is_over());
    desk.register.hang_up(desk.now + ms(100));
    desk.silence();
    desk.answer(10, &second, 200, "X: y");
    assert!(desk.register.is_over());
    // The figure is certain, the removal is not.
    let mut desk = Desk::plain();
    let first = desk.sent();
    desk.answer(10, &first, 200, "X: y");
    let second = desk.sent();
    desk.register.hang_up(desk.now);
    assert_eq!(desk.conclusion().result, Ok(200));
    assert!(desk.conclusion().counters.contains(&("teardown_failed", 1)));
    desk.answer(10, &second, 200, "X: y");
    assert!(desk.register.is_over());
}

#[test]
fn silence_is_a_timeout_after_timer_f() {
    let mut desk = Desk::plain();
    let started = desk.now;
    let mut resent = Vec::new();
    while desk.register.conclusion().is_none() {
        desk.wait();
        while let Some(outgoing) = desk.register.outbox().pop() {
            assert_eq!(outgoing.way, Way::Target(0));
            resent.push(desk.now.duration_since(started).as_millis());
        }
    }
    let e = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(resent[1..], e, "the first is that of the beginning");
    desk.assert_failed(FailureClass::Timeout, "register");
    let counters = &desk.conclusion().counters;
    let expected = [("registrations", 1), ("registrations_ineffective", 1), (RETRANSMISSIONS, 10)];
    assert_eq!(counters[..], expected);
}

#[test]
fn the_next_server_is_asked_where_one_cannot_be_had() {
    let refused = || Failure::failed(FailureClass::Refused, "econnrefused", "nobody there");
    let mut desk = Desk::new(None, vec![Transport::Tcp, Transport::Udp, Transport::Udp]);
    let first = desk.sent();
    assert!(text(&first).contains("Via: SIP/2.0/TCP "));
    assert!(text(&first).contains("\r\nContact: <sip:probe@192.0.2.1:40000;transport=tcp>\r\n"));
    desk.register.unreachable(refused(), desk.now);
    let second = desk.sent();
    assert_eq!((second.way.clone(), second.transport), (Way::Target(1), Transport::Udp));
    assert!(text(&second).contains("\r\nCSeq: 1 REGISTER\r\n"), "the same request");
    desk.answer(10, &second, 503, "X: y");
    let third = desk.sent();
    assert_eq!(third.way, Way::Target(2));
    desk.register.unreachable(refused(), desk.now);
    desk.assert_failed(FailureClass::Refused, "econnrefused");
    assert!(desk.conclusion().counters.contains(&("registrations_ineffective", 1)));
}

#[test]
fn the_delay_begins_with_what_has_left() {
    // No stream for the first, which is too large for a datagram: nothing was externally observable (RFC 6076 §3).
    let domain = "x".repeat(1_300);
    let target = Uri::parse(format!("sip:probe@{domain}").as_bytes()).expect("a URI");
    let mut desk = Desk::to(target, None, vec![Transport::Udp]);
    let first = desk.register.outbox().pop().expect("a REGISTER");
    assert_eq!((first.transport, first.stamp), (Transport::Tcp, Some(Stamp::Request)));
    desk.now += ms(100);
    let refused = Failure::failed(FailureClass::Refused, "econnrefused", "nobody there");
    desk.register.unreachable(refused, desk.now);
    let second = desk.sent();
    assert_eq!((second.transport, second.stamp), (Transport::Udp, Some(Stamp::Request)));
    desk.answer(30, &second, 200, "X: y");
    let third = desk.sent();
    assert_eq!(third.stamp, None);
    desk.answer(1, &third, 200, "X: y");
    assert_eq!(desk.conclusion().phases, [(REQUEST_DELAY, ms(30))]);
}
