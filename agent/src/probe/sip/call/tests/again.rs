//! Calls that take more than one INVITE.

use super::peer::{Desk, HOLD, Reply, hop, text};
use super::{Scenario as _, assert_phases, ms};
use crate::policy::UserPattern;
use crate::probe::Outcome;
use crate::probe::failure::Failure;
use crate::probe::sip::digest::Credentials;
use crate::probe::sip::scenario::{Outgoing, Way};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::Uri;
use crate::probe::statuses::Statuses;
use crate::secret::Secret;
use probefleet_proto::name::{FailureClass, InvalidReason};

const CHALLENGE: &str = r#"Proxy-Authenticate: Digest realm="acme", nonce="1", qop="auth""#;

fn with_credentials() -> Desk {
    Desk::planned(|plan| {
        let password = Secret::new("secret".to_owned());
        plan.ask.credentials = Some(Credentials { user: "probe".to_owned(), password });
    })
}

fn with_targets(transports: &[Transport]) -> Desk {
    Desk::planned(|plan| {
        plan.ask.targets.transports = transports.to_vec();
        plan.ask.targets.failover = true;
    })
}

fn refused() -> Failure {
    Failure::failed(FailureClass::Refused, "econnrefused", "nobody there")
}

#[track_caller]
fn assert_failed(desk: &Desk, class: FailureClass, code: &str) -> String {
    let failure = desk.conclusion().result.clone().expect_err("failed");
    assert_eq!((failure.outcome, failure.code.as_deref()), (Outcome::Failed(class), Some(code)));
    failure.why
}

#[track_caller]
fn assert_has(message: &Outgoing, lines: &[&str]) {
    let written = text(&message.bytes);
    for line in lines {
        assert!(written.contains(line), "{line:?} in {written}");
    }
}

/// The value of a header of a message.
fn header(message: &Outgoing, name: &str) -> String {
    let written = text(&message.bytes);
    let line = written.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.expect(name).to_owned()
}

#[test]
fn a_challenge_is_answered_in_the_same_call() {
    let mut desk = with_credentials();
    let first = desk.sent("INVITE");
    assert!(!text(&first.bytes).contains("Authorization"));
    desk.answer(ms(10), &Reply::to(&first, 100));
    desk.answer(ms(10), &Reply::to(&first, 407).tag("p").header(CHALLENGE));
    let ack = desk.sent("ACK");
    assert_eq!(desk.branch(&ack), desk.branch(&first));
    let second = desk.sent("INVITE");
    assert_ne!(desk.branch(&second), desk.branch(&first));
    for name in ["Call-ID", "From", "To", "Contact"] {
        assert_eq!(header(&second, name), header(&first, name));
    }
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_has(&second, &["Proxy-Authorization: Digest ", "uri=\"sip:echo@sbc.example:5070\""]);
    assert_eq!(second.stamp, None, "the call began with the first");
    // The refusal of the first comes again.
    desk.answer(ms(480), &Reply::to(&first, 407).tag("p").header(CHALLENGE));
    assert_eq!(desk.sent("ACK").bytes, ack.bytes);
    desk.silence();
    desk.answer(ms(0), &Reply::to(&second, 180).tag("b"));
    desk.answer(ms(100), &Reply::to(&second, 200).tag("b").contact("sip:uas@192.0.2.7"));
    let ack = desk.sent("ACK");
    assert_eq!(header(&ack, "CSeq"), "2 ACK");
    let given = header(&second, "Proxy-Authorization");
    assert_eq!(header(&ack, "Proxy-Authorization"), given, "§13.2.2.4");
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    assert_eq!(header(&bye, "CSeq"), "3 BYE");
    assert_has(&bye, &["Proxy-Authorization: ", "nc=00000002"]);
    // A proxy may ask for fresh credentials even here.
    let stale = r#"Proxy-Authenticate: Digest realm="acme", nonce="2", stale=true, qop="auth""#;
    desk.answer(ms(10), &Reply::to(&bye, 407).header(stale));
    let bye = desk.sent("BYE");
    assert_eq!((header(&bye, "CSeq").as_str(), bye.stamp), ("4 BYE", None));
    assert_has(&bye, &["nonce=\"2\""]);
    desk.answer(ms(10), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
    assert_phases(
        &desk,
        &[
            ("trying", 10),
            ("session_request_delay", 500),
            ("time_to_answer", 600),
            ("session_disconnect_delay", 20),
        ],
    );
    assert_eq!((desk.count("call_attempts"), desk.count("invite_transactions")), (1, 2));
    assert_eq!((desk.count("established"), desk.count("completed")), (1, 1));
    assert_eq!((desk.count("ineffective"), desk.count("retransmissions")), (0, 0));
}

#[test]
fn credentials_that_are_not_accepted_are_given_once() {
    let mut desk = with_credentials();
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 407).tag("p").header(CHALLENGE));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&second, 407).tag("p").header(CHALLENGE));
    desk.sent("ACK");
    desk.silence();
    assert_failed(&desk, FailureClass::Auth, "sip:407");
    assert_phases(&desk, &[]);
    // Nothing that is known here.
    for challenge in [r#"WWW-Authenticate: Digest realm="a", nonce="1", algorithm=X"#, "X: y"] {
        let mut desk = with_credentials();
        let first = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&first, 401).tag("p").header(challenge));
        desk.sent("ACK");
        desk.silence();
        assert_failed(&desk, FailureClass::Auth, "sip:401");
    }
    // Without an account a challenge is a status as any other.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 401).tag("p").header(CHALLENGE));
    assert_failed(&desk, FailureClass::Status, "sip:401");
    assert_eq!((desk.count("effective"), desk.count("ineffective")), (0, 0));
}

fn onward(host: &str, port: u16) -> Way {
    let Way::Hop(place) = hop(host, port) else { panic!("a hop") };
    Way::Onward(place)
}

#[test]
fn redirections_are_followed_best_first() {
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    let moved = Reply::to(&first, 302)
        .tag("r")
        .header("Contact: <sip:third@192.0.2.13>;q=0.1, <sip:echo@SBC.example:5070>")
        .header("Contact: <tel:+4930>, <sip:first@192.0.2.11:5090;method=BYE;x=1?Subject=y>;q=0.9")
        .header("Contact: <sip:second@192.0.2.12;transport=tcp>;q=0.55");
    desk.answer(ms(10), &moved);
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    assert_eq!(second.way, onward("192.0.2.11", 5_090));
    assert_has(&second, &["INVITE sip:first@192.0.2.11:5090;x=1 SIP/2.0\r\n"]);
    assert_has(&second, &["\r\nTo: <sip:echo@sbc.example>\r\n", "\r\nCSeq: 2 INVITE\r\n"]);
    desk.answer(ms(10), &Reply::to(&second, 486).tag("x"));
    desk.sent("ACK");
    let third = desk.sent("INVITE");
    let Way::Onward(place) = &third.way else { panic!("{:?}", third.way) };
    assert_eq!((place.host.as_str(), place.transport), ("192.0.2.12", Transport::Tcp));
    assert_eq!(third.transport, Transport::Tcp);
    assert_has(&third, &["Via: SIP/2.0/TCP ", ";transport=tcp>\r\n", "\r\nCSeq: 3 INVITE\r\n"]);
    desk.answer(ms(10), &Reply::to(&third, 180).tag("b"));
    desk.answer(ms(10), &Reply::to(&third, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_phases(
        &desk,
        &[("session_request_delay", 30), ("time_to_answer", 40), ("session_disconnect_delay", 1)],
    );
    assert_eq!((desk.count("redirects"), desk.count("redirected")), (2, 0));
    assert_eq!(desk.count("invite_transactions"), 3);
}

#[test]
fn redirections_that_lead_nowhere_fail_as_what_they_are() {
    // A loop.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&second, 301).tag("r").contact("sip:echo@sbc.example:5070"));
    desk.sent("ACK");
    desk.silence();
    let why = assert_failed(&desk, FailureClass::Status, "sip:301");
    assert!(why.contains("a loop"), "{why}");
    assert_phases(&desk, &[]);
    assert_eq!((desk.count("redirected"), desk.count("ineffective")), (1, 0));
    // Further and further.
    let mut desk = Desk::new();
    for number in 0..6 {
        let invite = desk.sent("INVITE");
        let contact = format!("sip:{number}@192.0.2.11");
        desk.answer(ms(10), &Reply::to(&invite, 302).tag("r").contact(&contact));
        desk.sent("ACK");
    }
    desk.silence();
    let why = assert_failed(&desk, FailureClass::Status, "sip:302");
    assert!(why.contains("redirected 5 times already"), "{why}");
    // What says nothing, and what does not mean the call (§21.3.4, §21.3.5).
    for (status, contact) in [(302, ""), (305, "sip:b@192.0.2.11"), (380, "sip:b@192.0.2.11")] {
        let mut desk = Desk::new();
        let first = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&first, status).tag("r").contact(contact));
        desk.sent("ACK");
        desk.silence();
        assert_failed(&desk, FailureClass::Status, &format!("sip:{status}"));
    }
    // What is expected is not followed.
    let mut desk = Desk::expecting("[302]");
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    desk.sent("ACK");
    desk.silence();
    assert_eq!(desk.conclusion().result, Ok(302));
}

#[test]
fn nobody_is_called_whom_the_policy_forbids() {
    let users = || ["echo", "+4930*"].map(|text| UserPattern::parse(text).expect(text)).to_vec();
    let mut desk = Desk::planned(|plan| plan.users = Some(users()));
    let first = desk.sent("INVITE");
    let dear = "<sip:+88212345@192.0.2.11>;q=1, <sip:+49-30-1@192.0.2.11>;q=0.5";
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r").header(&format!("Contact: {dear}")));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    assert!(second.bytes.starts_with(b"INVITE sip:+49-30-1@192.0.2.11 "));
    desk.answer(ms(10), &Reply::to(&second, 302).tag("r").contact("sip:+88212345@192.0.2.11"));
    desk.sent("ACK");
    desk.silence();
    let failure = desk.conclusion().result.clone().expect_err("forbidden");
    assert_eq!(failure.outcome, Outcome::Invalid(InvalidReason::PolicyDenied));
    assert!(failure.why.contains("does not let sip:+88212345@192.0.2.11 be called"), "{failure:?}");
}

#[test]
fn nobody_is_redirected_out_of_tls() {
    let secure = Uri::parse(b"sips:echo@sbc.example").expect("a URI");
    let mut desk = Desk::to(secure, |plan| plan.ask.targets.transports = vec![Transport::Tls]);
    let first = desk.sent("INVITE");
    assert_has(
        &first,
        &["Via: SIP/2.0/TLS ", "\r\nContact: <sips:probefleet@192.0.2.1:40000>\r\n"],
    );
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    desk.sent("ACK");
    desk.silence();
    let why = assert_failed(&desk, FailureClass::Status, "sip:302");
    assert!(why.contains("sip:b@192.0.2.11 would leave TLS"), "{why}");
}

#[test]
fn a_longer_session_is_offered_once() {
    // RFC 4028 §7.3.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    assert_has(&first, &["\r\nSupported: 100rel\r\n"]);
    desk.answer(ms(10), &Reply::to(&first, 422).tag("r").header("Min-SE: 1800"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    assert_has(&second, &["\r\nSession-Expires: 1800;refresher=uas\r\n", "\r\nMin-SE: 1800\r\n"]);
    assert_has(&second, &["\r\nSupported: 100rel, timer\r\n", "\r\nCSeq: 2 INVITE\r\n"]);
    desk.answer(ms(10), &Reply::to(&second, 422).tag("r").header("Min-SE: 3600"));
    desk.sent("ACK");
    desk.silence();
    assert_failed(&desk, FailureClass::Status, "sip:422");
}

#[test]
fn the_next_server_is_asked_in_a_transaction_of_its_own() {
    // RFC 3263 §4.3.
    let mut desk = with_targets(&[Transport::Udp, Transport::Tls, Transport::Udp]);
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 503).tag("r"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    assert_eq!((second.way.clone(), second.transport), (Way::Target(1), Transport::Tls));
    assert_has(&second, &["Via: SIP/2.0/TLS ", "\r\nCSeq: 1 INVITE\r\n"]);
    assert_ne!(desk.branch(&second), desk.branch(&first));
    desk.call.unreachable(refused(), desk.now);
    let third = desk.sent("INVITE");
    assert_eq!((third.way.clone(), third.transport), (Way::Target(2), Transport::Udp));
    // A challenge is answered where it came from.
    desk.answer(ms(10), &Reply::to(&third, 503).tag("r"));
    desk.sent("ACK");
    assert_failed(&desk, FailureClass::Status, "sip:503");
    assert_eq!((desk.count("ineffective"), desk.count("invite_transactions")), (1, 3));
    // Only one of them, where that is what is measured.
    let mut desk = Desk::planned(|plan| {
        plan.ask.targets.transports = vec![Transport::Udp; 2];
    });
    desk.sent("INVITE");
    desk.call.unreachable(refused(), desk.now);
    desk.silence();
    assert_failed(&desk, FailureClass::Refused, "econnrefused");
    assert_eq!(desk.count("ineffective"), 1, "a 503 of RFC 3261 §8.1.3.1");
}

#[test]
fn a_server_that_is_silent_is_left_after_timer_b() {
    let mut desk = with_targets(&[Transport::Tcp, Transport::Udp]);
    let started = desk.now;
    desk.sent("INVITE");
    desk.wait(ms(60_000));
    let second = desk.sent("INVITE");
    assert_eq!((second.way.clone(), desk.now - started), (Way::Target(1), ms(32_000)));
    desk.answer(ms(10), &Reply::to(&second, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    // t1 is that of the first (RFC 6076 §5.3).
    assert_phases(
        &desk,
        &[
            ("session_request_delay", 32_010),
            ("time_to_answer", 32_010),
            ("session_disconnect_delay", 1),
        ],
    );
}

#[test]
fn what_is_too_large_for_a_datagram_goes_by_a_stream() {
    // §18.1.1.
    let long = format!("sip:{}@sbc.example", "x".repeat(400));
    let long = Uri::parse(long.as_bytes()).expect("a URI");
    let mut desk = Desk::to(long.clone(), |_| {});
    let first = desk.sent("INVITE");
    assert!(first.bytes.len() > 1_300);
    assert_eq!((first.way.clone(), first.transport), (Way::Target(0), Transport::Tcp));
    assert_has(&first, &["Via: SIP/2.0/TCP "]);
    desk.answer(ms(10), &Reply::to(&first, 486).tag("b"));
    assert_eq!(desk.sent("ACK").transport, Transport::Tcp);
    // No stream is to be had.
    let mut desk = Desk::to(long, |_| {});
    let first = desk.sent("INVITE");
    desk.call.unreachable(refused(), desk.now);
    let second = desk.sent("INVITE");
    assert_eq!((second.way.clone(), second.transport), (Way::Target(0), Transport::Udp));
    assert_has(&second, &["Via: SIP/2.0/UDP ", "\r\nCSeq: 1 INVITE\r\n"]);
    assert_ne!(desk.branch(&second), desk.branch(&first));
    desk.call.unreachable(refused(), desk.now);
    desk.silence();
    assert_failed(&desk, FailureClass::Refused, "econnrefused");
}

#[test]
fn an_outbound_proxy_is_on_the_way_of_everything_outside_a_dialog() {
    let proxy = Uri::parse(b"sip:proxy.example:5080").expect("a URI");
    let from = Uri::parse(b"sip:alice@acme.example").expect("a URI");
    let mut desk = Desk::planned(|plan| {
        (plan.ask.proxy, plan.ask.from) = (Some(Box::new(proxy)), Some(Box::new(from)));
        plan.ask.expected = Statuses::of("[200]");
    });
    let first = desk.sent("INVITE");
    assert_eq!(first.way, Way::Target(0));
    assert_has(&first, &["INVITE sip:echo@sbc.example:5070 SIP/2.0\r\n"]);
    assert_has(&first, &["\r\nRoute: <sip:proxy.example:5080;lr>\r\n"]);
    assert_has(&first, &["\r\nFrom: <sip:alice@acme.example>;tag="]);
    assert_has(&first, &["\r\nContact: <sip:alice@192.0.2.1:40000>\r\n"]);
    desk.answer(ms(1), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    assert_has(&desk.sent("ACK"), &["\r\nRoute: <sip:proxy.example:5080;lr>\r\n"]);
    let second = desk.sent("INVITE");
    assert_eq!(second.way, Way::Target(0), "by the proxy too");
    assert_has(&second, &["INVITE sip:b@192.0.2.11 SIP/2.0\r\n", "\r\nRoute: <sip:proxy."]);
    desk.answer(ms(1), &Reply::to(&second, 180).tag("b"));
    desk.hang_up();
    assert_has(&desk.sent("CANCEL"), &["\r\nRoute: <sip:proxy.example:5080;lr>\r\n"]);
    let accepted = Reply::to(&second, 200).tag("b").contact("sip:uas@192.0.2.7");
    desk.answer(ms(1), &accepted);
    let ack = desk.sent("ACK");
    assert_eq!(ack.way, hop("192.0.2.7", 5_060), "it has not recorded itself");
    assert!(!text(&ack.bytes).contains("Route:"));
}
