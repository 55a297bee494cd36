//! Calls on a clock of our own, against a peer of a few lines.

mod again;
mod early;
mod ends;
mod loss;
mod peer;
mod random;
mod ring;
mod ways;
mod within;

use super::*;
use crate::probe::Outcome;
use crate::probe::sip::transport::Transport;
use peer::{Desk, Reply, hop, text};
use std::time::Duration;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[track_caller]
fn assert_phases(desk: &Desk, expected: &[(&str, u64)]) {
    let phases = &desk.conclusion().phases;
    let phases: Vec<(&str, u64)> = phases
        .iter()
        .map(|(phase, delay)| (*phase, u64::try_from(delay.as_millis()).expect("short")))
        .collect();
    assert_eq!(phases, expected);
}

#[test]
fn a_call_is_set_up_held_and_ended() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    assert_eq!(invite.way, Way::Target(0));
    let lines = text(&invite.bytes);
    for line in [
        "INVITE sip:echo@sbc.example:5070 SIP/2.0\r\n",
        "\r\nVia: SIP/2.0/UDP 192.0.2.1:40000;branch=z9hG4bK",
        ";rport\r\n",
        "\r\nMax-Forwards: 70\r\n",
        "\r\nFrom: <sip:probefleet@192.0.2.1>;tag=",
        "\r\nTo: <sip:echo@sbc.example>\r\n",
        "\r\nCSeq: 1 INVITE\r\n",
        "\r\nContact: <sip:probefleet@192.0.2.1:40000>\r\n",
        "\r\nContent-Type: application/sdp\r\n",
        "m=audio 40002 RTP/AVP 0 8\r\n",
    ] {
        assert!(lines.contains(line), "{line:?} in {lines}");
    }
    assert!(invite.bytes.len() < 1_300, "goes by UDP (RFC 3261 §18.1.1)");
    desk.answer(ms(20), &Reply::to(&invite, 100));
    desk.answer(ms(80), &Reply::to(&invite, 180).tag("b"));
    desk.silence();
    desk.answer(ms(300), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7:6000"));
    let ack = desk.sent("ACK");
    assert_eq!(ack.way, hop("192.0.2.7", 6_000));
    let lines = text(&ack.bytes);
    assert!(lines.starts_with("ACK sip:uas@192.0.2.7:6000 SIP/2.0\r\n"), "{lines}");
    assert!(lines.contains("\r\nTo: <sip:echo@sbc.example>;tag=b\r\n"), "{lines}");
    assert!(lines.contains("\r\nCSeq: 1 ACK\r\n"), "{lines}");
    assert_ne!(desk.branch(&ack), desk.branch(&invite), "a transaction of its own (§13.2.2.4)");
    desk.wait(ms(1_000));
    let bye = desk.sent("BYE");
    assert!(text(&bye.bytes).contains("\r\nCSeq: 2 BYE\r\n"));
    desk.answer(ms(40), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
    assert_phases(
        &desk,
        &[
            ("trying", 20),
            ("session_request_delay", 100),
            ("time_to_answer", 400),
            ("session_disconnect_delay", 40),
        ],
    );
    assert!(desk.call.is_over());
    desk.silence();
}

#[test]
fn what_is_sent_again_moves_no_beginning() {
    let mut desk = Desk::new();
    desk.sent("INVITE");
    desk.wait(ms(500));
    let again = desk.sent("INVITE");
    desk.answer(ms(2), &Reply::to(&again, 183));
    desk.answer(ms(1), &Reply::to(&again, 200).tag("b"));
    desk.sent("ACK");
    desk.wait(ms(1_000));
    desk.sent("BYE");
    desk.wait(ms(500));
    let bye = desk.sent("BYE");
    desk.answer(ms(2), &Reply::to(&bye, 200));
    // 183 without a tag makes no dialog, and tells the caller something all the same (RFC 6076 §4.3.1).
    assert_phases(
        &desk,
        &[
            ("session_request_delay", 502),
            ("time_to_answer", 503),
            ("session_disconnect_delay", 502),
        ],
    );
    assert_eq!(desk.call.outbox().retransmits, 2);
}

#[test]
fn a_refusal_is_acknowledged_in_its_transaction() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(5), &Reply::to(&invite, 100));
    desk.answer(ms(25), &Reply::to(&invite, 486).tag("b"));
    let ack = desk.sent("ACK");
    assert_eq!((ack.way.clone(), desk.branch(&ack)), (Way::Target(0), desk.branch(&invite)));
    let lines = text(&ack.bytes);
    assert!(lines.starts_with("ACK sip:echo@sbc.example:5070 SIP/2.0\r\n"), "{lines}");
    assert!(lines.contains("\r\nTo: <sip:echo@sbc.example>;tag=b\r\n"), "{lines}");
    assert!(lines.contains("\r\nCSeq: 1 ACK\r\n"), "{lines}");
    assert_eq!(lines.matches("\r\nVia:").count(), 1);
    let failure = desk.conclusion().result.clone().expect_err("refused");
    assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Status));
    assert_eq!((failure.code.as_deref(), failure.why.as_str()), (Some("sip:486"), "486 Words"));
    assert_phases(&desk, &[("trying", 5), ("session_request_delay_failed", 30)]);
    assert!(!desk.call.is_over() && !desk.call.may_be_up());
    desk.answer(ms(500), &Reply::to(&invite, 486).tag("b"));
    assert_eq!(desk.sent("ACK").bytes, ack.bytes, "again, the same");
    desk.wait(ms(32_000));
    assert!(desk.call.is_over());
}

#[test]
fn challenges_and_redirections_are_no_failed_sessions() {
    // RFC 6076 §4.3.2.
    for status in [302, 401, 402, 407] {
        let mut desk = Desk::new();
        let invite = desk.sent("INVITE");
        desk.answer(ms(30), &Reply::to(&invite, status).tag("b"));
        assert_phases(&desk, &[]);
        let code = desk.conclusion().result.clone().expect_err("not ok").code;
        assert_eq!(code, Some(format!("sip:{status}").into()));
    }
}

#[test]
fn what_is_expected_is_ok() {
    let mut desk = Desk::expecting("[486]");
    let invite = desk.sent("INVITE");
    desk.answer(ms(30), &Reply::to(&invite, 486).tag("b"));
    assert_eq!(desk.conclusion().result, Ok(486));
    assert_phases(&desk, &[("session_request_delay", 30)]);
    // An answer that was not expected is an answered call all the same.
    let mut desk = Desk::expecting("[486]");
    let invite = desk.sent("INVITE");
    desk.answer(ms(30), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    let bye = desk.sent("BYE");
    assert!(desk.call.may_be_up());
    desk.answer(ms(1), &Reply::to(&bye, 200));
    let failure = desk.conclusion().result.clone().expect_err("not ok");
    assert_eq!(failure.code.as_deref(), Some("sip:200"));
    assert_eq!((desk.count("established"), desk.count("completed")), (1, 1));
    assert!(desk.call.is_over());
}

#[test]
fn every_2xx_is_acknowledged_again() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b"));
    let ack = desk.sent("ACK");
    desk.answer(ms(500), &Reply::to(&invite, 200).tag("b"));
    assert_eq!(desk.sent("ACK"), ack);
    desk.wait(ms(500));
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b"));
    assert_eq!(desk.sent("ACK"), ack, "even when the call is being ended");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_phases(
        &desk,
        &[("session_request_delay", 1), ("time_to_answer", 1), ("session_disconnect_delay", 2)],
    );
}

#[test]
fn requests_follow_the_recorded_route() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    let ringing = Reply::to(&invite, 180).tag("b").header("Record-Route: <sip:old.example;lr>");
    desk.answer(ms(1), &ringing);
    let accepted = Reply::to(&invite, 200)
        .tag("b")
        .contact("sip:uas@192.0.2.7:6000;x=1")
        .header("Record-Route: <sip:far.example;lr>, <sip:p2@192.0.2.4:5080;lr;ftag=9>")
        .header("Record-Route: <sip:near.example:5090;lr>");
    desk.answer(ms(1), &accepted);
    let ack = desk.sent("ACK");
    desk.wait(ms(1_000));
    let bye = desk.sent("BYE");
    for (request, method) in [(&ack, "ACK"), (&bye, "BYE")] {
        let lines = text(&request.bytes);
        assert_eq!(request.way, hop("near.example", 5_090), "the route set of the 2xx, reversed");
        assert!(
            lines.starts_with(&format!("{method} sip:uas@192.0.2.7:6000;x=1 SIP/2.0\r\n")),
            "{lines}"
        );
        let routes: Vec<&str> =
            lines.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
        assert_eq!(
            routes,
            [
                "<sip:near.example:5090;lr>",
                "<sip:p2@192.0.2.4:5080;lr;ftag=9>",
                "<sip:far.example;lr>"
            ]
        );
    }
}

#[test]
fn a_strict_router_gets_its_own_address_first() {
    // §12.2.1.1, the second case.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    let accepted = Reply::to(&invite, 200)
        .tag("b")
        .contact("sip:uas@192.0.2.7")
        .header("Record-Route: <sip:far.example;lr>,<sip:strict.example:5090;method=INVITE>");
    desk.answer(ms(1), &accepted);
    let ack = desk.sent("ACK");
    let lines = text(&ack.bytes);
    assert_eq!(ack.way, hop("strict.example", 5_090));
    assert!(lines.starts_with("ACK sip:strict.example:5090 SIP/2.0\r\n"), "{lines}");
    let routes: Vec<&str> = lines.lines().filter_map(|line| line.strip_prefix("Route: ")).collect();
    assert_eq!(routes, ["<sip:far.example;lr>", "<sip:uas@192.0.2.7>"]);
}

#[test]
fn a_peer_of_rfc_2543_has_neither_tag_nor_contact() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&invite, 200));
    let ack = desk.sent("ACK");
    assert!(text(&ack.bytes).starts_with("ACK sip:echo@sbc.example:5070 SIP/2.0\r\n"));
    assert_eq!(ack.way, hop("sbc.example", 5_070));
    desk.wait(ms(1_000));
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
}

#[test]
fn the_other_side_tells_where_it_saw_us() {
    for (added, expected) in [
        (";rport=5555;received=203.0.113.9", Some("203.0.113.9:5555")),
        (";rport=5555;received=2001:db8::1", Some("[2001:db8::1]:5555")),
        (";rport=40000;received=192.0.2.1", None),
        (";rport", None),
    ] {
        let mut desk = Desk::new();
        let invite = desk.sent("INVITE");
        let answer = text(&Reply::to(&invite, 200).tag("b").bytes()).replace(";rport", added);
        desk.receive(ms(1), answer.as_bytes());
        let notes = &desk.call.outbox().notes;
        let seen = notes.iter().find(|(key, _)| *key == "seen_as").map(|(_, value)| value.as_str());
        assert_eq!(seen.flatten(), expected, "{added}");
    }
}

#[test]
fn what_is_not_ours_is_counted_and_dropped() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    let sound = text(&Reply::to(&invite, 200).tag("b").bytes());
    let branch = desk.branch(&invite);
    let wrong = [
        "garbage".to_owned(),
        "SIP/2.0 200 OK\r\n\r\n".to_owned(),
        sound.replace(&branch, "z9hG4bKother"),
        sound.replace("192.0.2.1:40000;", "192.0.2.1:40001;"),
        sound.replace("Call-ID: ", "Call-ID: x"),
        sound.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        sound.replace("CSeq: 1 INVITE", "CSeq: 99999999999 INVITE"),
        sound.replace("From:", "Form:"),
        sound.replace("Via:", "Via: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK9\r\nVia:"),
        sound.replace("Content-Length: 0", "Content-Length: 1"),
    ];
    for datagram in &wrong {
        assert_ne!(datagram, &sound);
        desk.receive(ms(1), datagram.as_bytes());
        desk.silence();
    }
    desk.receive(ms(1), b"\r\n\r\n");
    assert_eq!(desk.call.outbox().discarded, 10, "a keep-alive is no garbage");
    desk.receive(ms(1), sound.as_bytes());
    desk.sent("ACK");
}

#[test]
fn a_stream_carries_everything_once() {
    let mut desk = Desk::planned(|plan| plan.ask.targets.transports = vec![Transport::Tcp]);
    let invite = desk.sent("INVITE");
    let lines = text(&invite.bytes);
    assert_eq!(invite.transport, Transport::Tcp);
    assert!(lines.contains("\r\nVia: SIP/2.0/TCP 192.0.2.1:40000;"), "{lines}");
    assert!(lines.contains("\r\nContact: <sip:probefleet@192.0.2.1:40000;transport=tcp>\r\n"));
    desk.wait(ms(5_000));
    desk.silence();
    desk.answer(ms(0), &Reply::to(&invite, 200).tag("b").contact("sip:b@192.0.2.7;transport=tcp"));
    let ack = desk.sent("ACK");
    assert_eq!(ack.transport, Transport::Tcp);
    desk.wait(ms(1_000));
    let bye = desk.sent("BYE");
    assert!(text(&bye.bytes).contains("\r\nVia: SIP/2.0/TCP "), "{}", text(&bye.bytes));
    desk.wait(ms(20_000));
    desk.silence();
    desk.answer(ms(0), &Reply::to(&bye, 200));
    assert_eq!(desk.count("retransmissions"), 0);
    assert_eq!(desk.conclusion().result, Ok(200));
    // Timers B and F stay.
    let mut desk = Desk::planned(|plan| plan.ask.targets.transports = vec![Transport::Tls]);
    let started = desk.now;
    desk.sent("INVITE");
    desk.wait(ms(60_000));
    desk.wait(ms(60_000));
    assert_eq!(desk.conclusion().at - started, ms(32_000));
    assert_eq!(desk.count("ineffective"), 1);
}

#[test]
fn a_stream_that_breaks_while_it_rings_ends_the_attempt_and_not_the_call() {
    let mut desk = Desk::planned(|plan| plan.ask.targets.transports = vec![Transport::Tcp]);
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&invite, 180).tag("b"));
    let closed = || Failure::failed(FailureClass::Closed, "eof", "the stream ended");
    desk.call.unreachable(closed(), desk.now);
    let failure = desk.conclusion().result.clone().expect_err("broken");
    assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Closed));
    desk.sent("CANCEL");
    assert!(desk.call.may_be_up());
    desk.call.unreachable(closed(), desk.now);
    desk.silence();
    assert!(desk.call.is_over() && !desk.call.may_be_up());
}
