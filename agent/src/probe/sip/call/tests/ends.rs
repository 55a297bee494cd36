//! How calls end that do not end well.

use super::peer::{Desk, HOLD, Reply, TIMEOUT};
use super::{assert_phases, ms};
use crate::probe::Outcome;
use crate::probe::failure::Failure;
use crate::probe::sip::scenario::{Scenario as _, Way};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::Hop;
use crate::probe::statuses::Statuses;
use probefleet_proto::name::FailureClass;

#[track_caller]
fn assert_failed(desk: &Desk, class: FailureClass, code: &str) {
    let failure = desk.conclusion().result.clone().expect_err("failed");
    assert_eq!((failure.outcome, failure.code.as_deref()), (Outcome::Failed(class), Some(code)));
}

fn teardown_failed(desk: &mut Desk) -> bool {
    desk.call.outbox().notes.iter().any(|(key, _)| *key == "teardown_failed")
}

#[test]
fn silence_is_a_timeout_and_no_delay() {
    let mut desk = Desk::new();
    for _ in 0..7 {
        desk.sent("INVITE");
        desk.wait(ms(60_000));
    }
    desk.silence();
    assert_failed(&desk, FailureClass::Timeout, "invite");
    assert_phases(&desk, &[]);
    assert_eq!(desk.call.outbox().retransmits, 6);
    assert!(desk.call.is_over() && !desk.call.may_be_up());
}

#[test]
fn a_call_that_rings_at_its_deadline_is_cancelled() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 180).tag("b"));
    desk.wait(TIMEOUT);
    desk.silence();
    desk.hang_up();
    assert_failed(&desk, FailureClass::Timeout, "invite");
    // §9.1: everything is that of the INVITE but the method.
    let cancel = desk.sent("CANCEL");
    assert_eq!((cancel.way.clone(), desk.branch(&cancel)), (Way::Target(0), desk.branch(&invite)));
    let lines = super::text(&cancel.bytes);
    assert!(lines.starts_with("CANCEL sip:echo@sbc.example:5070 SIP/2.0\r\n"), "{lines}");
    assert!(lines.contains("\r\nTo: <sip:echo@sbc.example>\r\n"), "without a tag: {lines}");
    assert!(lines.contains("\r\nCSeq: 1 CANCEL\r\n"), "{lines}");
    desk.hang_up();
    desk.silence();
    assert!(desk.call.may_be_up());
    desk.wait(ms(500));
    desk.sent("CANCEL");
    desk.answer(ms(1), &Reply::to(&cancel, 200).tag("b"));
    desk.answer(ms(1), &Reply::to(&invite, 487).tag("b"));
    let ack = desk.sent("ACK");
    assert_eq!(desk.branch(&ack), desk.branch(&invite));
    assert!(!desk.call.may_be_up());
    assert_failed(&desk, FailureClass::Timeout, "invite");
}

#[test]
fn nothing_is_cancelled_before_it_was_heard() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.wait(ms(400));
    desk.hang_up();
    desk.wait(ms(900));
    desk.silence();
    desk.answer(ms(1), &Reply::to(&invite, 100));
    let cancel = desk.sent("CANCEL");
    desk.answer(ms(1), &Reply::to(&invite, 180));
    desk.silence();
    assert_eq!(desk.branch(&cancel), desk.branch(&invite));
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 180).tag("b"));
    desk.hang_up();
    let cancel = desk.sent("CANCEL");
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&cancel, 200).tag("b"));
    assert!(!desk.call.is_over());
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert!(desk.call.is_over());
    assert_failed(&desk, FailureClass::Timeout, "invite");
    assert!(!teardown_failed(&mut desk));
}

#[test]
fn every_call_of_a_fork_is_ended() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b").contact("sip:b@192.0.2.7"));
    desk.sent("ACK");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("c").contact("sip:c@192.0.2.8"));
    let ack = desk.sent("ACK");
    let bye = desk.sent("BYE");
    for request in [&ack, &bye] {
        let hop = Hop { host: "192.0.2.8".to_owned(), port: 5_060, transport: Transport::Udp };
        assert_eq!(request.way, Way::Aside(hop));
        assert!(super::text(&request.bytes).contains(";tag=c\r\n"));
    }
    assert_eq!(bye.stamp, None, "its end is not that of the call");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert!(desk.call.conclusion().is_none());
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    assert!(super::text(&bye.bytes).contains(";tag=b\r\n"));
    desk.answer(ms(7), &Reply::to(&bye, 200));
    assert_phases(
        &desk,
        &[("session_request_delay", 10), ("time_to_answer", 10), ("session_disconnect_delay", 7)],
    );
    // Not more of them than are remembered.
    for number in 0..100 {
        let tag = format!("t{number}");
        desk.answer(ms(1), &Reply::to(&invite, 200).tag(&tag).contact("sip:d@192.0.2.9"));
    }
    let acks = std::iter::from_fn(|| desk.call.outbox().pop());
    assert_eq!(acks.filter(|one| one.bytes.starts_with(b"ACK")).count(), super::DIALOGS_MAX - 2);
}

#[test]
fn a_bye_that_is_refused_does_not_undo_the_call() {
    for status in [401, 481, 500] {
        let mut desk = Desk::new();
        let invite = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
        desk.sent("ACK");
        desk.wait(HOLD);
        let bye = desk.sent("BYE");
        desk.answer(ms(5), &Reply::to(&bye, 100));
        desk.answer(ms(5), &Reply::to(&bye, status));
        assert_eq!(desk.conclusion().result, Ok(200));
        assert!(teardown_failed(&mut desk));
        assert_phases(
            &desk,
            &[
                ("session_request_delay", 10),
                ("time_to_answer", 10),
                ("session_disconnect_delay_failed", 10),
            ],
        );
    }
}

#[test]
fn a_bye_without_an_answer_has_no_delay() {
    // Timer F: excluded from the metric (RFC 6076 §4.4).
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    for _ in 0..11 {
        desk.wait(ms(40_000));
        desk.sent("BYE");
    }
    desk.wait(ms(40_000));
    desk.silence();
    assert_eq!(desk.conclusion().result, Ok(200));
    assert!(teardown_failed(&mut desk));
    assert_phases(&desk, &[("session_request_delay", 10), ("time_to_answer", 10)]);
    assert!(desk.call.is_over());
}

#[test]
fn a_session_has_completed_unless_nobody_answers_its_end() {
    // RFC 6076 §4.9: what fails a session is the lack of a response, of which a proxy may tell.
    for (status, completed) in
        [(200, 1), (401, 1), (481, 1), (500, 1), (503, 1), (603, 1), (408, 0), (504, 0)]
    {
        let mut desk = Desk::new();
        let invite = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
        desk.sent("ACK");
        desk.wait(HOLD);
        let bye = desk.sent("BYE");
        desk.answer(ms(5), &Reply::to(&bye, status));
        assert_eq!(desk.count("completed"), completed, "{status}");
        assert_eq!(desk.count("teardown_failed"), u64::from(status != 200), "{status}");
    }
    // Neither at all.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    desk.wait(HOLD);
    desk.sent("BYE");
    desk.hang_up();
    assert_eq!((desk.count("completed"), desk.count("teardown_failed")), (0, 1));
    // Both sides have hung up: the other side's word is enough, whether or not it answers ours.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    desk.wait(HOLD);
    desk.sent("BYE");
    desk.receive(ms(1), super::within::request(&invite, "BYE", "").as_bytes());
    desk.sent("SIP/2.0 200 OK");
    desk.hang_up();
    assert_eq!((desk.count("completed"), desk.count("teardown_failed")), (1, 0));
}

#[test]
fn an_attempt_counts_once_whatever_its_invites_came_to() {
    // RFC 6076 §4.6–4.8 count new sessions, not transactions: what was asked again is the same one.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r").contact("sip:b@192.0.2.11"));
    desk.sent("ACK");
    let second = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&second, 503).tag("r"));
    desk.sent("ACK");
    let counted: Vec<_> = desk.conclusion().counters.clone();
    let expected =
        [("call_attempts", 1), ("ineffective", 1), ("redirects", 1), ("invite_transactions", 2)];
    assert_eq!(counted, expected);
    // What stays a redirection is no part of SER and SEER.
    let mut desk = Desk::new();
    let first = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&first, 302).tag("r"));
    desk.sent("ACK");
    let counted: Vec<_> = desk.conclusion().counters.clone();
    assert_eq!(counted, [("call_attempts", 1), ("redirected", 1), ("invite_transactions", 1)]);
}

#[test]
fn a_hold_leaves_time_to_hang_up() {
    let mut desk = Desk::with(Statuses::one(200), ms(5_000), ms(3_000));
    let invite = desk.sent("INVITE");
    desk.answer(ms(2_500), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    desk.wait(ms(10_000));
    desk.sent("BYE");
    assert_eq!(desk.deadline - desk.now, super::TEARDOWN, "not after 5.5 s");
    // Answered when there is no time left at all: ended at once.
    let mut desk = Desk::with(Statuses::one(200), ms(5_000), ms(3_000));
    let invite = desk.sent("INVITE");
    desk.answer(ms(4_900), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    desk.wait(ms(0));
    desk.sent("BYE");
    desk.wait(ms(100));
    desk.hang_up();
    desk.silence();
    assert_eq!(desk.conclusion().result, Ok(200));
    assert!(teardown_failed(&mut desk));
}

#[test]
fn nobody_there_is_told_by_the_network() {
    let refused = || Failure::failed(FailureClass::Refused, "econnrefused", "nobody there");
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.call.unreachable(refused(), desk.now);
    assert_failed(&desk, FailureClass::Refused, "econnrefused");
    assert!(desk.call.is_over());
    assert_eq!(desk.call.next_timer(), None);
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b"));
    desk.silence();

    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    desk.call.unreachable(refused(), desk.now);
    assert!(desk.call.conclusion().is_none(), "a call that is up is judged by its end");
    desk.wait(HOLD);
    desk.sent("BYE");
    desk.call.unreachable(refused(), desk.now);
    assert_eq!(desk.conclusion().result, Ok(200));
    assert!(teardown_failed(&mut desk) && desk.call.is_over());
}
