//! SIP calls by the real program, against SIPp, which nobody here wrote: what it got is right if it says so.

mod failover;
mod hostile;
mod losses;
mod transports;

use harness::command::run;
use harness::fleet::get;
use harness::process::{Process, eventually};
use harness::sip_relay::{Manners, SipRelay, header};
use harness::sipp::{self, Sipp};
use harness::{program, root};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long SIPp may take to be done with its calls.
const SATISFIED: Duration = Duration::from_secs(10);
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(30);
/// How long a service may take until it is up.
const UP: Duration = Duration::from_secs(10);
/// So far may a delay be from what the RFC's timers make it: T1 is 500 ms, and timers have 1 ms.
const SLACK: Duration = Duration::from_millis(20);

fn scenario(name: &str) -> PathBuf {
    root().join("tests/e2e/sip").join(name).with_extension("xml")
}

/// What `try` says of a plan with one probe: exit code and each attempt.
fn tried(sip: &str, timeout: &str, count: u32) -> (i32, Vec<Value>) {
    let dir = tempfile::tempdir().expect("a folder");
    let plan = dir.path().join("plan.yaml");
    let text =
        format!("probes:\n  - {{name: call, every: 60s, timeout: {timeout}, sip: {{{sip}}}}}\n");
    std::fs::write(&plan, text).expect("writes");
    let mut command = Command::new(program("probefleet-agent"));
    command.arg("try").arg(&plan).args(["--format", "json", "--every", "0s"]);
    let ran = run(command.args(["--count", &count.to_string()]), "", ENDS);
    let line = |line: &str| serde_json::from_str(line).expect(line);
    (ran.code.expect("an exit code"), ran.stdout.lines().map(line).collect())
}

/// One call to a port; the one attempt.
fn called(port: u16, keys: &str) -> Value {
    let sip = format!("uri: 'sip:echo@127.0.0.1:{port}', mode: call{keys}");
    tried(&sip, "5s", 1).1.pop().expect("one attempt")
}

fn phase_ms(attempt: &Value, phase: &str) -> Option<f64> {
    attempt["phases_ns"][phase].as_u64().map(|ns| ns as f64 / 1e6)
}

#[track_caller]
fn assert_ok(attempt: &Value) {
    assert_eq!(
        (&attempt["outcome"], &attempt["code"]),
        (&json!("ok"), &json!("sip:200")),
        "{attempt}"
    );
}

#[track_caller]
fn assert_failed(attempt: &Value, class: &str, code: &str) {
    let expected = (&json!("failed"), &json!(class), &json!(code));
    assert_eq!((&attempt["outcome"], &attempt["class"], &attempt["code"]), expected, "{attempt}");
}

#[track_caller]
fn assert_near(attempt: &Value, phase: &str, expected_ms: f64) {
    let ms = phase_ms(attempt, phase).expect(phase);
    let slack = SLACK.as_secs_f64() * 1e3;
    assert!((expected_ms - 1.0..=expected_ms + slack).contains(&ms), "{phase} {ms} ms: {attempt}");
    println!("{phase}: {ms:.3} ms, expected {expected_ms} ms");
}

/// Whether SIPp is here; says so if not.
fn has_sipp(test: &str) -> bool {
    let has = harness::has("sipp");
    if !has {
        harness::skip(test, "sip-tester");
    }
    has
}

#[test]
fn sipp_takes_our_calls() {
    if !has_sipp("sipp_takes_our_calls") {
        return;
    }
    let mut sipp = Sipp::uas(10);
    let sip = format!("uri: 'sip:echo@127.0.0.1:{}', mode: call, hold: 50ms", sipp.port);
    let (code, attempts) = tried(&sip, "5s", 10);
    assert_eq!((code, attempts.len()), (0, 10), "{attempts:?}");
    for attempt in &attempts {
        assert_ok(attempt);
        let phases: Vec<&String> =
            attempt["phases_ns"].as_object().expect("phases").keys().collect();
        // It sends no 100.
        let expected =
            ["session_request_delay", "time_to_answer", "session_disconnect_delay", "total"];
        assert_eq!(phases, expected);
        assert!(
            attempt["detail"]["media"].as_str().is_some_and(|media| media.starts_with("PCMU at"))
        );
        assert!(phase_ms(attempt, "total").expect("total") >= 50.0);
    }
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn refusals_are_told_and_acknowledged() {
    if !has_sipp("refusals_are_told_and_acknowledged") {
        return;
    }
    for status in [486, 503, 404] {
        let mut sipp = Sipp::scenario(&scenario("refuses"), status);
        let relay = SipRelay::start(sipp.port, Manners::default());
        let attempt = called(relay.address.port(), "");
        assert_failed(&attempt, "status", &format!("sip:{status}"));
        assert!(phase_ms(&attempt, "session_request_delay_failed").is_some(), "{attempt}");
        assert!(phase_ms(&attempt, "trying").is_some(), "{attempt}");
        assert!(phase_ms(&attempt, "session_request_delay").is_none(), "{attempt}");
        assert!(sipp.is_satisfied(SATISFIED), "SIPp has its ACK: {}", sipp.output());
        let (invites, acks) = (relay.of("INVITE"), relay.of("ACK"));
        assert_eq!((invites.len(), acks.len()), (1, 1));
        // RFC 3261 §17.1.1.3: the ACK is in the transaction of the INVITE.
        assert_eq!(header(&acks[0].text, "Via"), header(&invites[0].text, "Via"));
        assert_eq!(header(&acks[0].text, "CSeq").as_deref(), Some("1 ACK"));
        assert!(header(&acks[0].text, "To").expect("is there").ends_with(";tag=b"));
    }
}

#[test]
fn a_refusal_whose_ack_was_lost_is_acknowledged_again() {
    if !has_sipp("a_refusal_whose_ack_was_lost_is_acknowledged_again") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("refuses"), 486);
    let relay =
        SipRelay::start(sipp.port, Manners { loses: Some(("ACK", 1)), records_route: false });
    let attempt = called(relay.address.port(), "");
    assert_failed(&attempt, "status", "sip:486");
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
    assert_eq!((relay.of("486 INVITE").len(), relay.of("ACK").len()), (2, 2));
}

#[test]
fn a_lost_invite_costs_500_ms() {
    if !has_sipp("a_lost_invite_costs_500_ms") {
        return;
    }
    let mut sipp = Sipp::uas(1);
    let relay =
        SipRelay::start(sipp.port, Manners { loses: Some(("INVITE", 1)), records_route: false });
    let attempt = called(relay.address.port(), ", hold: 10ms");
    assert_ok(&attempt);
    assert_near(&attempt, "session_request_delay", 500.0);
    assert_eq!(attempt["detail"]["retransmits"], 1, "{attempt}");
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn a_lost_bye_costs_500_ms() {
    if !has_sipp("a_lost_bye_costs_500_ms") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("answers"), 200);
    let relay =
        SipRelay::start(sipp.port, Manners { loses: Some(("BYE", 1)), records_route: true });
    let attempt = called(relay.address.port(), ", hold: 10ms");
    assert_ok(&attempt);
    assert_near(&attempt, "session_disconnect_delay", 500.0);
    assert_eq!(
        (relay.of("BYE").len(), &attempt["detail"]["retransmits"]),
        (2, &json!(1)),
        "{attempt}"
    );
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn requests_of_a_call_follow_its_recorded_route() {
    if !has_sipp("requests_of_a_call_follow_its_recorded_route") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("answers"), 200);
    let relay = SipRelay::start(sipp.port, Manners { loses: None, records_route: true });
    let attempt = called(relay.address.port(), ", hold: 10ms");
    assert_ok(&attempt);
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
    for kind in ["ACK", "BYE"] {
        // They came by the relay, though the other side has named an address of its own.
        let requests = relay.of(kind);
        assert_eq!(requests.len(), 1, "{kind}");
        let text = &requests[0].text;
        assert!(
            text.starts_with(&format!("{kind} sip:uas@127.0.0.1:{} SIP/2.0\r\n", sipp.port)),
            "{text}"
        );
        assert_eq!(header(text, "Route"), Some(format!("<sip:{};lr>", relay.address)));
    }
}

#[test]
fn without_a_route_requests_go_where_the_other_side_says() {
    if !has_sipp("without_a_route_requests_go_where_the_other_side_says") {
        return;
    }
    let mut sipp = Sipp::uas(1);
    let relay = SipRelay::start(sipp.port, Manners::default());
    let attempt = called(relay.address.port(), ", hold: 10ms");
    assert_ok(&attempt);
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
    assert!(
        relay.of("ACK").is_empty() && relay.of("BYE").is_empty(),
        "past the relay, to the Contact"
    );
}

#[test]
fn a_200_that_comes_again_is_acknowledged_again() {
    if !has_sipp("a_200_that_comes_again_is_acknowledged_again") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("answers"), 200);
    let relay =
        SipRelay::start(sipp.port, Manners { loses: Some(("ACK", 1)), records_route: true });
    let attempt = called(relay.address.port(), ", hold: 1s");
    assert_ok(&attempt);
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
    let acks = relay.of("ACK");
    assert_eq!((relay.of("200 INVITE").len(), acks.len()), (2, 2));
    assert_eq!(acks[0].text, acks[1].text);
}

#[test]
fn a_call_that_still_rings_at_its_deadline_is_cancelled() {
    if !has_sipp("a_call_that_still_rings_at_its_deadline_is_cancelled") {
        return;
    }
    for name in ["rings", "crosses"] {
        let mut sipp = Sipp::scenario(&scenario(name), 200);
        let relay = SipRelay::start(sipp.port, Manners::default());
        let sip = format!("uri: 'sip:echo@{}', mode: call, hold: 10ms", relay.address);
        let (code, attempts) = tried(&sip, "1200ms", 1);
        assert_eq!(code, 1);
        assert_failed(&attempts[0], "timeout", "invite");
        let total = phase_ms(&attempts[0], "total").expect("total");
        assert!((1_200.0..1_250.0).contains(&total), "at once: {total} ms");
        assert!(sipp.is_satisfied(SATISFIED), "{name}: {}", sipp.output());
        let (invites, cancels) = (relay.of("INVITE"), relay.of("CANCEL"));
        assert_eq!(cancels.len(), 1);
        // RFC 3261 §9.1.
        for name in ["Via", "From", "To", "Call-ID"] {
            assert_eq!(header(&cancels[0].text, name), header(&invites[0].text, name), "{name}");
        }
    }
}

#[test]
fn a_call_is_ended_when_the_program_is() {
    if !has_sipp("a_call_is_ended_when_the_program_is") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let mut sipp = Sipp::scenario(&scenario("answers"), 200);
    let relay =
        SipRelay::start(sipp.port, Manners { loses: Some(("BYE", 1)), records_route: true });
    let plan = format!(
        "probes:\n  - {{name: call, every: 60s, timeout: 30s, sip: {{uri: 'sip:echo@{}', mode: call, hold: 20s}}}}\n",
        relay.address
    );
    std::fs::write(dir.path().join("plan.yaml"), plan).expect("writes");
    let mut command = Command::new(program("probefleet-agent"));
    command.args(["try", "plan.yaml"]).current_dir(dir.path());
    let mut trying = Process::start_command(command, &dir.path().join("try.log"));
    trying.wait_for("a call that is up", UP, || (!relay.of("ACK").is_empty()).then_some(()));
    trying.signal(Signal::INT);
    assert!(sipp.is_satisfied(SATISFIED), "it has its BYE: {}", sipp.output());
    assert_eq!(relay.of("BYE").len(), 2, "which was lost once");
    // Nothing was seen of an attempt that did not end: neither good nor bad.
    assert!(!trying.wait(ENDS), "{}", trying.output());
}

#[test]
fn every_answered_call_of_a_fork_is_ended() {
    if !has_sipp("every_answered_call_of_a_fork_is_ended") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("forks"), 200);
    let attempt = called(sipp.port, ", hold: 300ms");
    assert_ok(&attempt);
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn what_is_asked_within_a_call_is_answered() {
    if !has_sipp("what_is_asked_within_a_call_is_answered") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("asks"), 200);
    let attempt = called(sipp.port, ", hold: 3s");
    assert_failed(&attempt, "closed", "bye");
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn a_call_that_cannot_be_ended_was_set_up_all_the_same() {
    if !has_sipp("a_call_that_cannot_be_ended_was_set_up_all_the_same") {
        return;
    }
    let mut sipp = Sipp::scenario(&scenario("keeps"), 500);
    let attempt = called(sipp.port, ", hold: 10ms");
    assert_ok(&attempt);
    assert_eq!(attempt["detail"]["teardown_failed"], 1, "{attempt}");
    assert!(phase_ms(&attempt, "session_disconnect_delay_failed").is_some(), "{attempt}");
    assert!(phase_ms(&attempt, "session_disconnect_delay").is_none(), "{attempt}");
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());
}

#[test]
fn garbage_and_silence_are_timeouts() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    let silent = called_within(port, "call", "700ms");
    assert_failed(&silent, "timeout", "invite");
    assert_eq!(silent["detail"]["retransmits"], 1, "{silent}");
    assert!(silent["detail"]["discarded"].is_null(), "{silent}");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("can");
    // What the attempt before has left.
    socket.set_nonblocking(true).expect("can");
    let mut buffer = [0; 65_535];
    while socket.recv(&mut buffer).is_ok() {}
    socket.set_nonblocking(false).expect("can");
    let garbage = std::thread::spawn(move || {
        let (_, caller) = socket.recv_from(&mut buffer).expect("an OPTIONS");
        for bytes in [&b"garbage"[..], &[0; 60_000], b"SIP/2.0 200 OK\r\n\r\n"] {
            socket.send_to(bytes, caller).expect("sends");
        }
        // Held, so that nobody is told that the port is closed.
        socket
    });
    let attempt = called_within(port, "options", "700ms");
    assert_failed(&attempt, "timeout", "options");
    assert_eq!(attempt["detail"]["discarded"], 3, "{attempt}");
    drop(garbage.join().expect("no panic"));
}

fn called_within(port: u16, mode: &str, timeout: &str) -> Value {
    let hold = if mode == "call" { ", hold: 0s" } else { "" };
    // The plan's timeout leaves room for the end of a call, so a call's is cut here.
    let timeout = if mode == "call" { "1100ms" } else { timeout };
    let sip = format!("uri: 'sip:echo@127.0.0.1:{port}', mode: {mode}{hold}");
    tried(&sip, timeout, 1).1.pop().expect("one attempt")
}

#[test]
fn a_closed_port_refuses() {
    let port = harness::ports::free_port();
    for mode in ["call", "options"] {
        let attempt = called_within(port, mode, "2s");
        assert_failed(&attempt, "refused", "econnrefused");
        assert!(phase_ms(&attempt, "total").expect("total") < 400.0, "{attempt}");
    }
}

// === our own responder ===

/// A responder for calls, which counts, and the addresses of both its sides.
fn responder(dir: &tempfile::TempDir) -> (Process, String, u16) {
    let args = ["respond", "--http", "0", "--sip", "0", "--ring", "100ms"];
    let log = dir.path().join("responder.log");
    let mut responder = Process::start(&program("probefleet-agent"), &args, &log);
    let http = responder.wait_for_output("listening on http://", UP);
    let sip = responder.wait_for_output("listening on sip:127.0.0.1:", UP);
    (responder, http, sip.parse().expect("a port"))
}

fn counts(http: &str) -> Value {
    let (status, body) = get(http, "/requests");
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&body).expect(&body)["sip"].clone()
}

#[test]
fn both_ends_count_the_same_calls() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut responder, http, port) = responder(&dir);
    let sip = format!("uri: 'sip:echo@127.0.0.1:{port}', mode: call, hold: 20ms");
    let (code, attempts) = tried(&sip, "5s", 20);
    assert_eq!((code, attempts.len()), (0, 20), "{attempts:?}");
    for attempt in &attempts {
        assert_ok(attempt);
        let answer = phase_ms(attempt, "time_to_answer").expect("an answer");
        assert!((100.0..160.0).contains(&answer), "after --ring: {attempt}");
    }
    for (user, status) in [("busy", 486), ("over", 503), ("gone", 404), ("status-603", 603)] {
        let (code, attempts) =
            tried(&format!("uri: 'sip:{user}@127.0.0.1:{port}', mode: call"), "5s", 1);
        assert_eq!(code, 1);
        assert_failed(&attempts[0], "status", &format!("sip:{status}"));
    }
    let sip = format!("uri: 'sip:ring-2m@127.0.0.1:{port}', mode: call, hold: 0s");
    assert_failed(&tried(&sip, "1100ms", 1).1[0], "timeout", "invite");
    let (code, attempts) = tried(&format!("uri: 'sip:echo@127.0.0.1:{port}'"), "5s", 3);
    assert_eq!(code, 0, "{attempts:?}");
    assert!(phase_ms(&attempts[0], "options_request_delay").is_some(), "{attempts:?}");
    let expected = json!({
        "options": 3, "calls": 25, "answered": 20, "acknowledged": 20, "ended": 20, "cancelled": 1, "registered": 0,
        "media": {"echoed": 0, "unheard": 0, "reports": 0}, "discarded": 0
    });
    assert_eq!(counts(&http), expected);
    let (took, good) = responder.terminate(Duration::from_secs(3));
    assert!(good, "ended in {took:?}: {}", responder.output());
}

#[test]
fn sipp_calls_our_responder_hundreds_at_once() {
    if !has_sipp("sipp_calls_our_responder_hundreds_at_once") {
        return;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let (_responder, http, port) = responder(&dir);
    let (good, said) = sipp::call(port, 600, 150, Duration::from_secs(2));
    assert!(good, "{said}");
    let all = eventually(Duration::from_secs(2), || {
        Some(counts(&http)).filter(|counts| counts["ended"] == 600)
    });
    let all = all.unwrap_or_else(|| panic!("{}", counts(&http)));
    assert_eq!(
        (&all["calls"], &all["answered"], &all["acknowledged"]),
        (&json!(600), &json!(600), &json!(600))
    );
    println!("600 calls, some 300 at once: {all}");
}
