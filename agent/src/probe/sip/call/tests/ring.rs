//! Calls that are only to ring.

use super::peer::{Desk, Reply, text};
use super::{Scenario as _, assert_phases, ms};
use crate::probe::Outcome;
use crate::probe::statuses::Statuses;
use probefleet_proto::name::FailureClass;

#[track_caller]
fn assert_failed(desk: &Desk, class: FailureClass, code: &str) {
    let failure = desk.conclusion().result.clone().expect_err("failed");
    assert_eq!((failure.outcome, failure.code.as_deref()), (Outcome::Failed(class), Some(code)));
}

#[test]
fn a_call_is_cancelled_as_soon_as_it_rings() {
    for status in [180, 181, 182, 183, 155] {
        let mut desk = Desk::ring();
        let invite = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&invite, 100));
        desk.answer(ms(10), &Reply::to(&invite, 199).tag("c"));
        desk.silence();
        desk.answer(ms(80), &Reply::to(&invite, status).tag("b"));
        let cancel = desk.sent("CANCEL");
        // §9.1.
        assert_eq!(desk.branch(&cancel), desk.branch(&invite));
        assert_eq!(cancel.way, invite.way);
        let lines = text(&cancel.bytes);
        assert!(lines.starts_with("CANCEL sip:echo@sbc.example:5070 SIP/2.0\r\n"), "{lines}");
        assert!(lines.contains("\r\nTo: <sip:echo@sbc.example>\r\n"), "without a tag: {lines}");
        assert!(lines.contains("\r\nCSeq: 1 CANCEL\r\n"), "{lines}");
        assert!(!lines.contains("Require"), "{lines}");
        desk.answer(ms(1), &Reply::to(&invite, 180).tag("c"));
        desk.silence();
        desk.answer(ms(1), &Reply::to(&cancel, 200).tag("b"));
        desk.answer(ms(1), &Reply::to(&invite, 487).tag("b"));
        desk.sent("ACK");
        assert_eq!(desk.conclusion().result, Ok(487));
        assert_phases(&desk, &[("trying", 10), ("session_request_delay", 100)]);
        let counted = [("call_attempts", 1), ("effective", 1), ("invite_transactions", 1)];
        assert_eq!(desk.conclusion().counters, counted);
        assert!(!desk.call.may_be_up() && !desk.call.is_over());
        desk.answer(ms(500), &Reply::to(&invite, 487).tag("b"));
        desk.sent("ACK");
        desk.wait(ms(32_000));
        assert!(desk.call.is_over());
    }
}

#[test]
fn a_call_that_is_answered_while_it_is_cancelled_has_failed() {
    let mut desk = Desk::ring();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 180).tag("b"));
    let cancel = desk.sent("CANCEL");
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    let bye = desk.sent("BYE");
    assert!(desk.call.media().is_none(), "nobody is to speak");
    desk.answer(ms(1), &Reply::to(&cancel, 200).tag("b"));
    desk.answer(ms(4), &Reply::to(&bye, 200));
    assert_failed(&desk, FailureClass::Status, "sip:200");
    assert_eq!((desk.count("established"), desk.count("completed")), (1, 1));
    assert_phases(
        &desk,
        &[("session_request_delay", 10), ("time_to_answer", 11), ("session_disconnect_delay", 5)],
    );
    assert!(desk.call.is_over());
    // Who expects that has it.
    let mut desk = Desk::planned(|plan| {
        (plan.kind, plan.ask.expected) = (super::CallKind::Ring, Statuses::of("[200, 487]"));
    });
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    let bye = desk.sent("BYE");
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
}

#[test]
fn what_nobody_cancelled_does_not_count_as_rung() {
    for status in [486, 487, 503] {
        let mut desk = Desk::ring();
        let invite = desk.sent("INVITE");
        desk.answer(ms(10), &Reply::to(&invite, status).tag("b"));
        desk.sent("ACK");
        assert_failed(&desk, FailureClass::Status, &format!("sip:{status}"));
        assert_eq!(desk.count("effective"), u64::from(status == 486), "{status}");
    }
}

#[test]
fn a_cancel_is_sent_again_and_given_up() {
    let mut desk = Desk::ring();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 180).tag("b"));
    let (cancel, cancelled) = (desk.sent("CANCEL"), desk.now);
    let mut resent = Vec::new();
    while desk.call.conclusion().is_none() {
        desk.wait(ms(60_000));
        while let Some(again) = desk.call.outbox().pop() {
            assert_eq!(again.bytes, cancel.bytes);
            resent.push((desk.now - cancelled).as_millis());
        }
    }
    let e = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(resent, e);
    // 64·T1 after the CANCEL (§9.1).
    assert_eq!(desk.conclusion().at - cancelled, ms(32_000));
    assert_failed(&desk, FailureClass::Timeout, "invite");
    assert_phases(&desk, &[("session_request_delay", 10)]);
    assert_eq!(desk.count("ineffective"), 1);
    assert!(desk.call.is_over() && !desk.call.may_be_up());
}

#[test]
fn a_call_that_does_not_ring_by_its_deadline_has_failed() {
    let mut desk = Desk::ring();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 100));
    desk.hang_up();
    desk.sent("CANCEL");
    assert_failed(&desk, FailureClass::Timeout, "invite");
    assert_phases(&desk, &[("trying", 10)]);
}
