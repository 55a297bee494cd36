//! What the other side asks within a call.

use super::ms;
use super::peer::{Desk, HOLD, Reply, text};
use crate::probe::Outcome;
use crate::probe::sip::message::Message;
use crate::probe::sip::scenario::{Outgoing, Scenario as _, Way};
use probefleet_proto::name::FailureClass;

/// A request of the other side, in the call that the INVITE began.
pub(super) fn request(invite: &Outgoing, method: &str, body: &str) -> String {
    let message = Message::parse(&invite.bytes).expect("is read");
    let header = |name| text(message.first(name).expect("is there"));
    format!(
        "{method} sip:probefleet@192.0.2.1:40000 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.5:5070;branch=z9hG4bK{method}\r\n\
         Max-Forwards: 70\r\nUser-Agent: a telephone\r\nFrom: {};tag=b\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        header("To"),
        header("From"),
        header("Call-ID"),
        body.len()
    )
}

/// A call that is up.
fn up() -> (Desk, Outgoing) {
    let mut desk = Desk::new();
    let invite = desk.sent("INVITE");
    desk.answer(ms(10), &Reply::to(&invite, 200).tag("b"));
    desk.sent("ACK");
    (desk, invite)
}

#[test]
fn every_request_is_answered_and_alike_when_it_comes_again() {
    for (method, body, status) in [
        ("BYE", "", "200 OK"),
        ("OPTIONS", "", "200 OK"),
        ("INFO", "x", "200 OK"),
        ("UPDATE", "", "200 OK"),
        ("UPDATE", "v=0", "488 Not Acceptable Here"),
        ("INVITE", "v=0", "488 Not Acceptable Here"),
        ("NOTIFY", "", "481 Call/Transaction Does Not Exist"),
        ("CANCEL", "", "481 Call/Transaction Does Not Exist"),
        ("MESSAGE", "x", "405 Method Not Allowed"),
        ("FOO", "", "405 Method Not Allowed"),
    ] {
        let (mut desk, invite) = up();
        let request = request(&invite, method, body);
        desk.receive(ms(1), request.as_bytes());
        let response = desk.sent(&format!("SIP/2.0 {status}\r\n"));
        assert_eq!(response.way, Way::Back);
        let lines = text(&response.bytes);
        assert!(
            lines.contains(&format!("branch=z9hG4bK{method};received=192.0.2.5\r\n")),
            "{lines}"
        );
        assert!(lines.contains(&format!("\r\nCSeq: 1 {method}\r\n")), "{lines}");
        assert_eq!(lines.contains("\r\nAllow: INVITE, ACK"), status.starts_with("405"), "{lines}");
        desk.receive(ms(500), request.as_bytes());
        assert_eq!(desk.sent("SIP/2.0").bytes, response.bytes);
        desk.silence();
        assert_eq!(desk.call.conclusion().is_some(), method == "BYE", "{method} changes nothing");
    }
}

#[test]
fn a_call_that_the_other_side_ends_early_has_failed() {
    let (mut desk, invite) = up();
    desk.receive(ms(400), request(&invite, "BYE", "").as_bytes());
    desk.sent("SIP/2.0 200");
    let failure = desk.conclusion().result.clone().expect_err("cut off");
    assert_eq!(
        (failure.outcome, failure.code.as_deref()),
        (Outcome::Failed(FailureClass::Closed), Some("bye"))
    );
    assert!(desk.call.is_over());
    desk.wait(HOLD);
    desk.hang_up();
    desk.silence();
}

#[test]
fn both_may_hang_up_at_once() {
    let (mut desk, invite) = up();
    desk.wait(HOLD);
    let bye = desk.sent("BYE");
    desk.receive(ms(1), request(&invite, "BYE", "").as_bytes());
    desk.sent("SIP/2.0 200");
    assert!(desk.call.conclusion().is_none());
    desk.answer(ms(1), &Reply::to(&bye, 200));
    assert_eq!(desk.conclusion().result, Ok(200));
}

#[test]
fn strangers_are_told_that_there_is_no_such_call() {
    let (mut desk, invite) = up();
    let ours = request(&invite, "BYE", "");
    for stranger in [
        ours.replace("Call-ID: ", "Call-ID: x"),
        ours.replace(";tag=b", ";tag=c"),
        ours.replace("To: <sip:probefleet@192.0.2.1>;tag=", "To: <sip:probefleet@192.0.2.1>;tag=x"),
    ] {
        assert_ne!(stranger, ours);
        let stranger = stranger.replace("z9hG4bKBYE", &format!("z9hG4bK{}", stranger.len()));
        desk.receive(ms(1), stranger.as_bytes());
        desk.call.outbox().pop().filter(|one| one.bytes.starts_with(b"SIP/2.0 481")).expect("told");
        desk.silence();
    }
    desk.receive(ms(1), request(&invite, "ACK", "").as_bytes());
    desk.silence();
    desk.receive(ms(1), b"BYE sip:probefleet@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n");
    desk.silence();
    assert_eq!(desk.call.outbox().discarded, 1, "what cannot be answered is garbage");
    assert!(desk.call.conclusion().is_none());
}

#[test]
fn a_flood_of_strangers_is_no_flood_of_answers() {
    let (mut desk, invite) = up();
    let stranger = request(&invite, "BYE", "").replace(";tag=b", ";tag=c");
    for number in 0..1_000 {
        // One half comes again and again, the other is new each time.
        let branch = format!("z9hG4bK{}", if number % 2 == 0 { 0 } else { number });
        desk.receive(ms(0), stranger.replace("z9hG4bKBYE", &branch).as_bytes());
    }
    let mut answers = 0;
    while let Some(answer) = desk.call.outbox().pop() {
        assert!(answer.bytes.starts_with(b"SIP/2.0 481"), "{}", text(&answer.bytes));
        assert!(answer.bytes.len() <= stranger.len());
        answers += 1;
    }
    assert_eq!((answers, desk.call.outbox().discarded), (100, 900));
    let short = stranger.replace("Max-Forwards: 70\r\nUser-Agent: a telephone\r\n", "");
    desk.receive(ms(1_000), short.as_bytes());
    desk.silence();
    // Whoever is in the call is heard all the same.
    desk.receive(ms(0), request(&invite, "OPTIONS", "").as_bytes());
    desk.sent("SIP/2.0 200");
}
