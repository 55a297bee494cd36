//! By what requests go, and where this side says that it is: size, streams that cannot be had, `sips:`.

use super::peer::{Desk, HOLD, Reply, hop, text};
use super::{Scenario as _, assert_phases, ms};
use crate::probe::failure::Failure;
use crate::probe::sip::caller::DATAGRAM_REQUEST_MAX_BYTES;
use crate::probe::sip::scenario::{Outgoing, Stamp, Way};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};
use crate::probe::statuses::Statuses;
use probefleet_proto::name::FailureClass;

fn refused() -> Failure {
    Failure::failed(FailureClass::Refused, "econnrefused", "nobody there")
}

/// A Contact that no datagram has room for.
fn long() -> String {
    format!("sip:{}@192.0.2.7:6000", "x".repeat(DATAGRAM_REQUEST_MAX_BYTES))
}

fn uri(text: &str) -> Uri {
    Uri::parse(text.as_bytes()).expect(text)
}

/// The place of [`long`].
fn far() -> Hop {
    Hop { host: "192.0.2.7".to_owned(), port: 6_000, transport: Transport::Udp }
}

#[track_caller]
fn assert_has(message: &Outgoing, lines: &[&str]) {
    let written = text(&message.bytes);
    for line in lines {
        assert!(written.contains(line), "{line:?} in {written}");
    }
}

#[track_caller]
fn assert_by_stream(message: &Outgoing) {
    assert_eq!((&message.way, message.transport), (&Way::Onward(far()), Transport::Tcp));
    assert_has(message, &["\r\nVia: SIP/2.0/TCP "]);
}

#[track_caller]
fn assert_by_datagram(message: &Outgoing, way: &Way) {
    assert_eq!((&message.way, message.transport), (way, Transport::Udp));
    assert_has(message, &["\r\nVia: SIP/2.0/UDP "]);
}

#[test]
fn what_is_too_large_in_a_call_goes_by_a_stream_or_else_as_a_datagram() {
    // §18.1.1.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact(&long()));
    let first = desk.sent("ACK");
    assert_by_stream(&first);
    desk.call.unreachable(refused(), desk.now);
    let again = desk.sent("ACK");
    assert_by_datagram(&again, &hop("192.0.2.7", 6_000));
    assert_has(&again, &["\r\nCSeq: 1 ACK\r\n"]);
    assert_ne!(desk.branch(&again), desk.branch(&first));
    assert!(desk.call.conclusion().is_none(), "the call is up");
    // The 2xx comes again, and the network says of something else that it has not arrived.
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact(&long()));
    assert_eq!(desk.sent("ACK"), again);
    desk.call.unreachable(refused(), desk.now);
    desk.silence();
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    assert_by_datagram(&bye, &hop("192.0.2.7", 6_000));
    desk.answer(ms(5), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
}

#[test]
fn a_bye_without_a_stream_does_not_pass_its_ack() {
    // Both wait to be sent when the stream is refused.
    let mut desk = Desk::planned(|plan| plan.ask.expected = Statuses::of("[486]"));
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact(&long()));
    assert_by_stream(&desk.sent("ACK"));
    desk.call.unreachable(refused(), desk.now);
    assert_by_datagram(&desk.sent("ACK"), &hop("192.0.2.7", 6_000));
    let bye = desk.sent("BYE");
    assert_by_datagram(&bye, &hop("192.0.2.7", 6_000));
    desk.silence();
    desk.answer(ms(5), &Reply::to(&bye, 200));
    assert_eq!((desk.count("established"), desk.count("completed")), (1, 1));
}

#[test]
fn a_bye_whose_stream_is_gone_is_timed_from_the_one_that_leaves() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact(&long()));
    assert_by_stream(&desk.sent("ACK"));
    desk.wait(HOLD);
    let bye = desk.call.outbox().pop().expect("a BYE");
    assert_by_stream(&bye);
    desk.now += ms(7);
    desk.call.unreachable(refused(), desk.now);
    assert_by_datagram(&desk.sent("ACK"), &hop("192.0.2.7", 6_000));
    let again = desk.sent("BYE");
    assert_by_datagram(&again, &hop("192.0.2.7", 6_000));
    assert_has(&again, &["\r\nCSeq: 2 BYE\r\n"]);
    assert_eq!(again.stamp, Some(Stamp::Bye));
    // Timer E runs for it now.
    desk.wait(ms(500));
    assert_eq!(desk.sent("BYE").bytes, again.bytes);
    desk.answer(ms(5), &Reply::to(&again, 200));
    assert_phases(
        &desk,
        &[("session_request_delay", 10), ("time_to_answer", 10), ("session_disconnect_delay", 505)],
    );
    // Nor as a datagram.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact(&long()));
    desk.sent("ACK");
    desk.wait(HOLD);
    desk.sent("BYE");
    desk.call.unreachable(refused(), desk.now);
    desk.sent("ACK");
    desk.sent("BYE");
    desk.call.unreachable(refused(), desk.now);
    desk.silence();
    assert_eq!(desk.conclusion().result, Ok(200));
    assert_eq!((desk.count("completed"), desk.count("teardown_failed")), (0, 1));
    assert!(desk.call.is_over());
}

#[test]
fn a_prack_without_a_stream_does_not_end_the_call() {
    for transports in [vec![Transport::Udp], vec![Transport::Tcp]] {
        let mut desk = Desk::planned(|plan| plan.ask.targets.transports = transports);
        let invite = desk.sent("INVITE");
        let ringing = Reply::to(&invite, 180).tag("b").contact(&long());
        desk.answer(ms(10), &ringing.header("Require: 100rel").header("RSeq: 7"));
        assert_by_stream(&desk.sent("PRACK"));
        desk.call.unreachable(refused(), desk.now);
        let again = desk.sent("PRACK");
        assert_by_datagram(&again, &hop("192.0.2.7", 6_000));
        assert_has(&again, &["\r\nRAck: 7 1 INVITE\r\n", "\r\nCSeq: 2 PRACK\r\n"]);
        desk.silence();
        assert!(desk.call.conclusion().is_none() && desk.call.may_be_up());
    }
}

#[test]
fn a_further_call_of_a_fork_keeps_aside() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.8"));
    desk.sent("ACK");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("c").contact(&long()));
    assert_by_stream(&desk.sent("ACK"));
    desk.call.unreachable(refused(), desk.now);
    for method in ["ACK", "BYE"] {
        assert_by_datagram(&desk.sent(method), &Way::Aside(far()));
    }
    desk.silence();
    assert!(desk.call.conclusion().is_none());
}

#[test]
fn delays_begin_with_what_has_left() {
    // No stream for the first INVITE, so nothing was externally observable (RFC 6076 §3).
    let target = uri(&format!("sip:{}@sbc.example", "x".repeat(DATAGRAM_REQUEST_MAX_BYTES)));
    let mut desk = Desk::to(target, |_| {});
    let first = desk.call.outbox().pop().expect("an INVITE");
    assert_eq!((first.transport, first.stamp), (Transport::Tcp, Some(Stamp::Request)));
    desk.now += ms(100);
    desk.call.unreachable(refused(), desk.now);
    let second = desk.sent("INVITE");
    assert_eq!((second.transport, second.stamp), (Transport::Udp, Some(Stamp::Request)));
    desk.answer(ms(30), &Reply::to(&second, 486).tag("b"));
    assert_phases(&desk, &[("session_request_delay_failed", 30)]);
}

/// The value of `Contact`.
fn contact(message: &Outgoing) -> String {
    let written = text(&message.bytes);
    let line = written.lines().find_map(|line| line.strip_prefix("Contact: "));
    line.expect("a Contact").to_owned()
}

#[test]
fn a_contact_names_the_transport_of_the_server_that_is_asked() {
    // §8.1.1.8, after failover too (RFC 3263 §4.3).
    let all = [Transport::Udp, Transport::Tcp, Transport::Udp, Transport::Tls];
    let mut desk = Desk::planned(|plan| {
        plan.ask.targets.transports = all.to_vec();
        plan.ask.targets.failover = true;
    });
    for (transport, parameter) in all.into_iter().zip(["", ";transport=tcp", "", ";transport=tls"])
    {
        let invite = desk.sent("INVITE");
        assert_eq!(invite.transport, transport);
        assert_has(&invite, &[&format!("\r\nVia: SIP/2.0/{} ", transport.via())]);
        assert_eq!(contact(&invite), format!("<sip:probefleet@192.0.2.1:40000{parameter}>"));
        desk.answer(ms(1), &Reply::to(&invite, 503).tag("r"));
        desk.sent("ACK");
    }
    // Because of its size alone this request goes by a stream; this side is asked at the port where it listens.
    let target = uri(&format!("sip:{}@sbc.example", "x".repeat(DATAGRAM_REQUEST_MAX_BYTES)));
    let mut desk = Desk::to(target, |_| {});
    let invite = desk.sent("INVITE");
    assert_eq!(invite.transport, Transport::Tcp);
    assert_eq!(contact(&invite), "<sip:probefleet@192.0.2.1:40000>");
}

#[test]
fn who_asks_by_sips_is_asked_by_sips() {
    // §8.1.1.8: also where a redirection leads there.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    assert_eq!(contact(&first), "<sip:probefleet@192.0.2.1:40000>");
    desk.answer(ms(1), &Reply::to(&first, 302).tag("r").contact("sips:b@192.0.2.11"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    assert_eq!(second.transport, Transport::Tls);
    assert_eq!(contact(&second), "<sips:probefleet@192.0.2.1:40000>");
}

#[test]
fn nothing_of_a_private_call_goes_in_clear() {
    for (named, place) in [
        ("sip:uas@192.0.2.7", ("192.0.2.7", 5_061)),
        ("sip:uas@192.0.2.7:6000;transport=tcp", ("192.0.2.7", 6_000)),
        ("", ("sbc.example", 5_061)),
    ] {
        let secure = |plan: &mut super::CallPlan| {
            plan.ask.targets.transports = vec![Transport::Tls];
        };
        let mut desk = Desk::to(uri("sips:echo@sbc.example"), secure);
        let invite = desk.sent("INVITE");
        desk.answer(ms(1), &Reply::to(&invite, 200).tag("b").contact(named));
        let ack = desk.sent("ACK");
        desk.wait(HOLD);
        let bye = desk.sent("BYE");
        for request in [&ack, &bye] {
            let hop = Hop { host: place.0.to_owned(), port: place.1, transport: Transport::Tls };
            assert_eq!((&request.way, request.transport), (&Way::Hop(hop), Transport::Tls));
            assert_has(request, &["\r\nVia: SIP/2.0/TLS "]);
        }
    }
}

#[test]
fn a_call_without_a_contact_is_where_it_was_redirected_to() {
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&second, 200));
    let ack = desk.sent("ACK");
    assert_has(&ack, &["ACK sip:b@192.0.2.11 SIP/2.0\r\n"]);
    assert_eq!(ack.way, hop("192.0.2.11", 5_060));
}
