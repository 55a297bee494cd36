//! What each lost message costs: the n-th of a kind is lost on its way, and the delays are those of the RFC's timers.

use super::*;
use std::thread::scope;

/// When a message arrives of which the first so many were lost, ms: each wait is twice the one before, which begins with T1
/// (RFC 3261 §17.1.1.2, §17.1.2.2, §13.3.1.4).
fn sent_again_ms(lost: usize) -> f64 {
    500.0 * f64::from((1_u32 << lost) - 1)
}

/// How long the other side rings.
const RINGS_MS: f64 = 20.0;

/// One call to SIPp, the first `lost` messages of a kind being lost.
fn call(kind: &'static str, lost: usize, hold: &str) -> (Value, SipRelay) {
    let mut sipp = Sipp::scenario(&scenario("answers"), 200);
    let manners = Manners { loses: Some((kind, lost)), records_route: true };
    let relay = SipRelay::start(sipp.port, manners);
    let sip = format!("uri: 'sip:echo@{}', mode: call, hold: {hold}", relay.address);
    let (_, mut attempts) = tried(&sip, "12s", 1);
    assert_eq!(attempts.len(), 1, "one sample");
    assert!(sipp.is_satisfied(SATISFIED), "{kind} {lost}: {}", sipp.output());
    (attempts.remove(0), relay)
}

/// Loses one, two and three of a kind, each in a call of its own, side by side.
fn each(kind: &'static str, hold: &str, check: impl Fn(usize, &Value, &SipRelay) + Sync) {
    scope(|threads| {
        for lost in 1..=3 {
            let check = &check;
            threads.spawn(move || {
                let (attempt, relay) = call(kind, lost, hold);
                assert_ok(&attempt);
                check(lost, &attempt, &relay);
            });
        }
    });
}

/// Nothing was lost on this way: it takes what the other side takes, while three calls begin at once on this machine.
#[track_caller]
fn assert_soon(attempt: &Value, phase: &str, least_ms: f64) {
    let ms = phase_ms(attempt, phase).expect(phase);
    assert!((least_ms - 1.0..least_ms + 200.0).contains(&ms), "{phase} {ms} ms: {attempt}");
}

fn retransmissions(attempt: &Value) -> u64 {
    attempt["counters"]["retransmissions"].as_u64().unwrap_or_default()
}

#[test]
fn lost_invites() {
    if !has_sipp("lost_invites") {
        return;
    }
    each("INVITE", "10ms", |lost, attempt, _| {
        assert_near(attempt, "session_request_delay", sent_again_ms(lost));
        assert_near(attempt, "time_to_answer", sent_again_ms(lost) + RINGS_MS);
        assert_eq!(retransmissions(attempt), lost as u64, "{attempt}");
    });
}

#[test]
fn lost_answers() {
    if !has_sipp("lost_answers") {
        return;
    }
    each("200 INVITE", "10ms", |lost, attempt, relay| {
        assert_soon(attempt, "session_request_delay", 0.0);
        assert_near(attempt, "time_to_answer", sent_again_ms(lost) + RINGS_MS);
        assert_eq!((retransmissions(attempt), relay.of("ACK").len()), (0, 1), "{attempt}");
    });
    // Nobody sends a 180 again: what is said next is the answer.
    let (attempt, _) = call("180 INVITE", 1, "10ms");
    assert_ok(&attempt);
    assert_near(&attempt, "session_request_delay", RINGS_MS);
}

#[test]
fn lost_acknowledgements() {
    if !has_sipp("lost_acknowledgements") {
        return;
    }
    each("ACK", "4s", |lost, attempt, relay| {
        assert_soon(attempt, "time_to_answer", RINGS_MS);
        assert_eq!(relay.of("ACK").len(), lost + 1, "one for each 200");
        assert_eq!(retransmissions(attempt), 0, "an ACK is no request of a transaction");
    });
}

#[test]
fn lost_farewells() {
    if !has_sipp("lost_farewells") {
        return;
    }
    each("BYE", "10ms", |lost, attempt, _| {
        assert_near(attempt, "session_disconnect_delay", sent_again_ms(lost));
        assert_eq!(retransmissions(attempt), lost as u64, "{attempt}");
    });
}

#[test]
fn lost_answers_to_farewells() {
    let dir = tempfile::tempdir().expect("a folder");
    let args = ["respond", "--http", "0", "--sip", "0", "--ring", "20ms"];
    let mut responder =
        Process::start(&program("probefleet-agent"), &args, &dir.path().join("log"));
    let port: u16 =
        responder.wait_for_output("listening on sip:127.0.0.1:", UP).parse().expect("a port");
    scope(|threads| {
        for lost in 1..=3 {
            threads.spawn(move || {
                let manners = Manners { loses: Some(("200 BYE", lost)), records_route: true };
                let relay = SipRelay::start(port, manners);
                let sip = format!("uri: 'sip:echo@{}', mode: call, hold: 10ms", relay.address);
                let attempt = tried(&sip, "12s", 1).1.pop().expect("one attempt");
                assert_ok(&attempt);
                assert_near(&attempt, "session_disconnect_delay", sent_again_ms(lost));
                assert_eq!(relay.of("BYE").len(), lost + 1);
                assert_eq!(attempt["counters"]["completed"], 1, "{attempt}");
            });
        }
    });
}
