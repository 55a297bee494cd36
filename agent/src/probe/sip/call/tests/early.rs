//! Provisional responses that are acknowledged (RFC 3262).

use super::peer::{Desk, HOLD, Reply, hop, text};
use super::{Scenario as _, assert_phases, ms};
use crate::probe::sip::message::Message;
use crate::probe::sip::scenario::{Outgoing, Way};
use crate::probe::sip::uri::Hop;

const SDP: &str = "v=0\r\no=b 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n";

/// A response that is to be acknowledged.
fn reliable(invite: &Outgoing, status: u16, tag: &str, rseq: u32) -> Reply {
    Reply::to(invite, status)
        .tag(tag)
        .contact("sip:uas@192.0.2.7:6000")
        .header("Record-Route: <sip:far.example;lr>, <sip:near.example:5090;lr>")
        .header("Require: 100rel")
        .header(&format!("RSeq: {rseq}"))
}

#[track_caller]
fn assert_has(message: &Outgoing, lines: &[&str]) {
    let written = text(&message.bytes);
    for line in lines {
        assert!(written.contains(line), "{line:?} in {written}");
    }
}

#[test]
fn each_is_acknowledged_once_and_in_its_order() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    assert_has(&invite, &["\r\nSupported: 100rel\r\n"]);
    desk.answer(ms(10), &reliable(&invite, 183, "b", 700));
    let prack = desk.sent("PRACK");
    assert_has(
        &prack,
        &[
            "PRACK sip:uas@192.0.2.7:6000 SIP/2.0\r\n",
            "\r\nRAck: 700 1 INVITE\r\n",
            "\r\nCSeq: 2 PRACK\r\n",
            "\r\nTo: <sip:echo@sbc.example>;tag=b\r\n",
            "\r\nRoute: <sip:near.example:5090;lr>\r\nRoute: <sip:far.example;lr>\r\n",
        ],
    );
    assert_eq!(prack.way, hop("near.example", 5_090));
    // The same again, and one too early.
    desk.answer(ms(5), &reliable(&invite, 183, "b", 700));
    desk.answer(ms(5), &reliable(&invite, 180, "b", 702));
    desk.answer(ms(5), &reliable(&invite, 180, "b", 0));
    desk.silence();
    desk.wait(ms(485));
    assert_eq!(desk.sent("PRACK").bytes, prack.bytes, "timer E");
    desk.answer(ms(1), &Reply::to(&prack, 200).tag("b"));
    desk.answer(ms(1), &reliable(&invite, 180, "b", 701));
    let prack = desk.sent("PRACK");
    assert_has(&prack, &["\r\nRAck: 701 1 INVITE\r\n", "\r\nCSeq: 3 PRACK\r\n"]);
    desk.answer(ms(1), &Reply::to(&prack, 200).tag("b"));
    let accepted = Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7:6001");
    desk.answer(ms(1), &accepted);
    let ack = desk.sent("ACK");
    assert_has(&ack, &["\r\nCSeq: 1 ACK\r\n"]);
    assert_eq!(ack.way, hop("192.0.2.7", 6_001), "the route is that of the 2xx");
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    assert_has(&bye, &["\r\nCSeq: 4 BYE\r\n"]);
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
    assert_phases(
        &desk,
        &[("session_request_delay", 10), ("time_to_answer", 514), ("session_disconnect_delay", 1)],
    );
    assert_eq!(desk.count("retransmissions"), 1);
}

#[test]
fn every_branch_of_a_fork_counts_for_itself() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &reliable(&invite, 180, "b", 1));
    desk.sent("PRACK");
    desk.answer(ms(1), &reliable(&invite, 180, "c", 1));
    let prack = desk.sent("PRACK");
    assert_has(&prack, &[";tag=c\r\n", "\r\nCSeq: 2 PRACK\r\n"]);
    assert!(matches!(&prack.way, Way::Aside(Hop { host, .. }) if host == "near.example"));
    // Not more of them than are remembered.
    for number in 0..100 {
        desk.answer(ms(0), &reliable(&invite, 180, &format!("t{number}"), 1));
    }
    let pracks = std::iter::from_fn(|| desk.call.outbox().pop()).count();
    assert_eq!(pracks, super::DIALOGS_MAX - 2);
}

#[test]
fn what_does_not_ask_for_it_is_not_acknowledged() {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    for reply in [
        Reply::to(&invite, 180).tag("b").header("RSeq: 1"),
        Reply::to(&invite, 180).tag("b").header("Require: 100rel"),
        Reply::to(&invite, 180).tag("b").header("Require: 100rel").header("RSeq: x"),
        Reply::to(&invite, 180).tag("b").header("Require: 100rel").header("RSeq: 4294967296"),
        Reply::to(&invite, 180).header("Require: 100rel").header("RSeq: 1"),
        Reply::to(&invite, 100).tag("b").header("Require: 100rel").header("RSeq: 1"),
    ] {
        desk.answer(ms(1), &reply);
        desk.silence();
    }
    desk.answer(ms(1), &Reply::to(&invite, 486).tag("b"));
    desk.sent("ACK");
    assert_phases(&desk, &[("trying", 6), ("session_request_delay_failed", 1)]);
}

#[test]
fn an_offer_is_answered_where_it_is_acknowledged() {
    // RFC 3262 §5.
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(1), &reliable(&invite, 183, "b", 1).body(SDP));
    let prack = desk.sent("PRACK");
    assert_has(&prack, &["\r\nContent-Length: 0\r\n"]);
    desk.answer(ms(1), &reliable(&invite, 183, "b", 2).body(SDP));
    assert_has(&desk.sent("PRACK"), &["\r\nContent-Length: 0\r\n"]);
    let offer = SDP.replace("7000", "7002");
    desk.answer(ms(1), &reliable(&invite, 183, "b", 3).body(&offer));
    let prack = desk.sent("PRACK");
    assert_has(&prack, &["\r\nContent-Type: application/sdp\r\n", "m=audio 40002 RTP/AVP 8\r\n"]);
    let offer = SDP.replace("m=audio 7000 RTP/AVP 8", "m=audio 7000 RTP/AVP 18");
    desk.answer(ms(1), &reliable(&invite, 183, "b", 4).body(&offer));
    let prack = desk.sent("PRACK");
    assert_has(&prack, &["m=audio 0 RTP/AVP 18\r\n"]);
    let message = Message::parse(&prack.bytes).expect("is read");
    assert!(message.body.starts_with(b"v=0\r\n"));
    desk.answer(ms(1), &Reply::to(&prack, 200).tag("b"));
    // The answer of the call is what came first, where the 2xx has none.
    desk.answer(ms(1), &Reply::to(&invite, 200).tag("b").contact("sip:uas@192.0.2.7"));
    desk.sent("ACK");
    let established = desk.call.media().expect("is up");
    let audio = established.audio.as_ref().expect("is known");
    assert_eq!((audio.codec, audio.place.port), ("PCMA", 7_000));
    assert_eq!(established.answered_at, desk.now);
    desk.wait(HOLD);
    desk.sent("BYE");
    assert_eq!(desk.call.media(), None);
}

#[test]
fn a_call_that_rings_reliably_is_acknowledged_and_cancelled() {
    let mut desk = Desk::ring();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &reliable(&invite, 180, "b", 1));
    desk.sent("PRACK");
    let cancel = desk.sent("CANCEL");
    assert_eq!(desk.branch(&cancel), desk.branch(&invite));
    desk.answer(ms(1), &Reply::to(&invite, 487).tag("b"));
    desk.sent("ACK");
    assert_eq!(desk.conclusion().result, Ok(487));
}

#[test]
fn what_is_asked_while_it_rings_is_answered() {
    for (method, body, status) in [
        ("OPTIONS", "", "200 OK"),
        ("INFO", "x", "200 OK"),
        ("UPDATE", "", "200 OK"),
        ("UPDATE", "v=0", "491 Request Pending"),
        ("INVITE", "v=0", "491 Request Pending"),
        ("BYE", "", "481 Call/Transaction Does Not Exist"),
    ] {
        let mut desk = Desk::new();
        let invite = desk.sent("INVITE");
        desk.answer(ms(10), &reliable(&invite, 180, "b", 1));
        desk.sent("PRACK");
        desk.receive(ms(1), super::within::request(&invite, method, body).as_bytes());
        desk.sent(&format!("SIP/2.0 {status}\r\n"));
        desk.silence();
        assert!(desk.call.conclusion().is_none());
    }
}
