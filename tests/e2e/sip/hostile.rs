//! Peers that do what no peer should: each attempt ends as it must, in time and in memory, and a call beside it, of the
//! same process and by the same socket, hears nothing of it.

mod floods;
mod silence;

use super::*;
use harness::attempts::{total, try_plan, verdict};
use harness::sip_hostile::{Act, Asked, SipHostile, answer, bare, head};
use std::sync::OnceLock;

/// Of the attempts at hostile peers.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// By so much one may miss its deadline, while a dozen go on beside it.
const LATE_MAX: Duration = Duration::from_millis(200);
/// Attempts of each probe.
const COUNT: u32 = 2;
/// So much more memory than a friendly peer may hostile ones cost: 64 messages of 64 KiB may wait for one attempt, and 32
/// are read at once.
const MEMORY_MAX_BYTES: u64 = 8 << 20;
/// Nothing was lost of the call beside them: what is sent again comes after 500 ms.
const UNDISTURBED_MS: f64 = 250.0;
/// Headers of a message that has too many.
const HEADERS: usize = 10_000;

/// A hostile peer, and what attempts at it must come to.
struct Row {
    name: &'static str,
    /// The `sip` block, with `PEER` for its address.
    sip: &'static str,
    peer: SipHostile,
    expected: &'static str,
    check: fn(&Value),
}

const BY_TCP: &str = "uri: 'sip:echo@PEER;transport=tcp', mode: call, hold: 100ms";
const BY_UDP: &str = "uri: 'sip:echo@PEER', mode: call, hold: 400ms";
const OPTIONS: &str = "uri: 'sip:echo@PEER'";

/// Tries all of them and a friendly peer at once: most memory that it took.
fn side_by_side(rows: &[Row]) -> u64 {
    let dir = tempfile::tempdir().expect("a folder");
    // Not waited for: it would stay for 4 s after its calls, and each is seen to be completed here.
    let sipp = Sipp::uas(COUNT);
    let mut plan = format!(
        "probes:\n  - {{name: friendly, every: 60s, timeout: 5s, sip: {{uri: 'sip:echo@127.0.0.1:{}', mode: call, hold: 400ms}}}}\n",
        sipp.port
    );
    for Row { name, sip, peer, .. } in rows {
        let sip = sip.replace("PEER", &peer.address.to_string());
        let timeout = TIMEOUT.as_millis();
        plan +=
            &format!("  - {{name: {name}, every: 60s, timeout: {timeout}ms, sip: {{{sip}}}}}\n");
    }
    let path = dir.path().join("plan.yaml");
    std::fs::write(&path, plan).expect("writes");
    let tried = try_plan(&path, COUNT, Duration::from_secs(30));
    let of = |name: &str| -> Vec<&Value> {
        let mine: Vec<_> = tried.lines.iter().filter(|line| line["probe"] == name).collect();
        assert_eq!(mine.len(), COUNT as usize, "{name}: one sample an attempt: {mine:?}");
        mine
    };
    for Row { name, expected, check, .. } in rows {
        for line in of(name) {
            println!("{name:<20} {expected:<34} {:?}", total(line));
            assert_eq!(verdict(line), *expected, "{name}: {line}");
            assert!(total(line) <= TIMEOUT + LATE_MAX, "{name}: {line}");
            let hangs = expected.starts_with("failed timeout");
            assert!(!hangs || total(line) >= TIMEOUT, "{name} ended before its deadline: {line}");
            check(line);
        }
    }
    of("friendly").into_iter().for_each(assert_undisturbed);
    assert_eq!(tried.lines.len(), (rows.len() + 1) * COUNT as usize);
    tried.rss_most_bytes
}

#[track_caller]
fn assert_undisturbed(attempt: &Value) {
    assert_ok(attempt);
    assert_eq!(attempt["counters"]["completed"], 1, "{attempt}");
    for phase in ["session_request_delay", "time_to_answer", "session_disconnect_delay"] {
        let ms = phase_ms(attempt, phase).expect(phase);
        println!("{:<20} {phase} {ms:.3} ms", "friendly");
        assert!(ms < UNDISTURBED_MS, "{phase} {ms} ms: {attempt}");
    }
    // A timer may fire while what it waits for lies unread on a busy machine: that moves no figure.
    assert!(attempt["detail"]["discarded"].is_null(), "{attempt}");
}

/// The same, and memory is bounded.
fn try_all(rows: &[Row]) {
    static FRIENDLY: OnceLock<u64> = OnceLock::new();
    let friendly = *FRIENDLY.get_or_init(|| side_by_side(&[]));
    let most = side_by_side(rows);
    println!("{} KiB, {} KiB more than friendly", most >> 10, most.saturating_sub(friendly) >> 10);
    assert!(most <= friendly + MEMORY_MAX_BYTES, "{most} bytes, with a friendly peer {friendly}");
}

/// Takes a call by TCP in the usual way, but for the answers to the INVITE.
fn taken(asked: &Asked<'_>, answers: impl FnOnce(&str, Vec<u8>) -> Vec<Act>) -> Vec<Act> {
    match asked.text.split(' ').next() {
        Some("INVITE") => {
            let contact = format!("sip:hostile@{};transport=tcp", asked.local);
            answers(asked.text, answer(asked.text, &contact))
        }
        Some("BYE") => vec![Act::Send(bare(asked.text, "200 OK"))],
        _ => Vec::new(),
    }
}

/// Answers the INVITE of a connection with this behind the first headers, and then does that.
fn broken(rest: &'static str, then: fn() -> Vec<Act>) -> SipHostile {
    SipHostile::by_tcp(move |asked| {
        let answer = head(asked.text, "180 Ringing") + rest;
        std::iter::once(Act::Send(answer.into_bytes())).chain(then()).collect()
    })
}

/// Answers every request but ACK with this behind the first headers, by UDP.
fn answers(rest: impl Fn() -> String + Send + Sync + 'static) -> SipHostile {
    SipHostile::by_udp(move |asked| {
        vec![Act::Send((head(asked.text, "200 OK") + &rest()).into_bytes())]
    })
}

fn row(
    name: &'static str,
    (sip, peer): (&'static str, SipHostile),
    expected: &'static str,
    check: fn(&Value),
) -> Row {
    Row { name, sip, peer, expected, check }
}

/// Nobody was reached: to whoever called that is a 503 (RFC 3261 §8.1.3.1).
fn ineffective(attempt: &Value) {
    let expected = json!({"call_attempts": 1, "ineffective": 1, "invite_transactions": 1});
    assert_eq!(attempt["counters"], expected, "{attempt}");
}

fn completed(attempt: &Value) {
    let expected = json!({"call_attempts": 1, "established": 1, "effective": 1, "completed": 1, "invite_transactions": 1});
    assert_eq!(attempt["counters"], expected, "{attempt}");
}

fn not_completed(attempt: &Value) {
    let expected = json!({"call_attempts": 1, "established": 1, "effective": 1, "teardown_failed": 1, "invite_transactions": 1});
    assert_eq!(attempt["counters"], expected, "{attempt}");
}

fn discarded(attempt: &Value) {
    // The answer to the first OPTIONS, and that to the one that was sent again.
    assert_eq!(attempt["detail"]["discarded"], 2, "{attempt}");
}

/// Streams that are cut in odd places, but whole.
fn odd() -> [Row; 4] {
    let drips = SipHostile::by_tcp(|asked| {
        let acts = taken(asked, |invite, answer| {
            vec![Act::Send(bare(invite, "180 Ringing")), Act::Send(answer)]
        });
        let drip = |act| match act {
            Act::Send(bytes) => Act::Drip(bytes),
            act => act,
        };
        acts.into_iter().map(drip).collect()
    });
    let together = SipHostile::by_tcp(|asked| {
        taken(asked, |invite, answer| {
            vec![Act::Send([bare(invite, "180 Ringing"), answer].concat())]
        })
    });
    let resets = |asked: &Asked<'_>| match asked.text.starts_with("ACK ") {
        true => vec![Act::Reset],
        false => taken(asked, |_, answer| vec![Act::Send(answer)]),
    };
    let resets_byes = move |asked: &Asked<'_>| match asked.text.starts_with("BYE ") {
        true => vec![Act::Reset],
        false => resets(asked),
    };
    [
        row("byte-by-byte", (BY_TCP, drips), "ok - sip:200", completed),
        row("two-in-a-segment", (BY_TCP, together), "ok - sip:200", |attempt| {
            completed(attempt);
            let phases = &attempt["phases_ns"];
            assert_eq!(phases["session_request_delay"], phases["time_to_answer"], "{attempt}");
        }),
        // The call is up all the same: it is ended by a connection of its own.
        row("reset-in-call", (BY_TCP, SipHostile::by_tcp(resets)), "ok - sip:200", completed),
        row(
            "reset-twice",
            (BY_TCP, SipHostile::by_tcp(resets_byes)),
            "ok - sip:200",
            not_completed,
        ),
    ]
}

/// Streams in which no message can be told from the next, or that are cut off.
fn cut() -> [Row; 9] {
    let early = SipHostile::by_tcp(|_| vec![Act::Reset]);
    let late = SipHostile::by_tcp(|asked| {
        // What is sent must be read before the reset is.
        let rings = Act::Send(bare(asked.text, "180 Ringing"));
        vec![rings, Act::Wait(Duration::from_millis(100)), Act::Reset]
    });
    let other = SipHostile::by_tcp(|_| vec![Act::Send(b"HTTP/1.1 400 Bad Request\r\n".to_vec())]);
    let nothing = Vec::new;
    let endless = || vec![Act::Endless(vec![b'x'; 4_096])];
    let headers = || vec![Act::Send(b"X: y\r\n".repeat(HEADERS))];
    [
        row("reset-early", (BY_TCP, early), "failed closed econnreset", ineffective),
        row("reset-ringing", (BY_TCP, late), "failed closed econnreset", ineffective),
        row(
            "no-length",
            (BY_TCP, broken("\r\n", nothing)),
            "failed protocol no_content_length",
            ineffective,
        ),
        row(
            "no-number",
            (BY_TCP, broken("Content-Length: many\r\n\r\n", nothing)),
            "failed protocol content_length",
            ineffective,
        ),
        row(
            "far-too-long",
            (BY_TCP, broken("Content-Length: 99999999999999999999\r\n\r\n", nothing)),
            "failed protocol too_large",
            ineffective,
        ),
        row(
            "never-whole",
            (BY_TCP, broken("Content-Length: 5000\r\n\r\n", nothing)),
            "failed timeout invite",
            ineffective,
        ),
        row(
            "endless-header",
            (BY_TCP, broken("X: ", endless)),
            "failed protocol too_large",
            ineffective,
        ),
        row(
            "many-headers",
            (BY_TCP, broken("", headers)),
            "failed protocol too_large",
            ineffective,
        ),
        row("no-sip", (BY_TCP, other), "failed protocol not_sip", ineffective),
    ]
}

/// Datagrams that are large, and that say what is not so.
fn large() -> [Row; 3] {
    let padded = || format!("X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(60_000));
    let headers = || "X:\r\n".repeat(HEADERS) + "Content-Length: 0\r\n\r\n";
    let longer = || "Content-Length: 5000\r\n\r\n".to_owned();
    [
        row("large", (OPTIONS, answers(padded)), "ok - sip:200", |attempt| {
            assert!(attempt["detail"]["discarded"].is_null(), "{attempt}");
        }),
        row(
            "many-headers-by-udp",
            (OPTIONS, answers(headers)),
            "failed timeout options",
            discarded,
        ),
        row("longer-by-udp", (OPTIONS, answers(longer)), "failed timeout options", discarded),
    ]
}

#[test]
fn odd_and_broken_answers_are_told_apart_in_time_and_in_memory() {
    if !has_sipp("odd_and_broken_answers_are_told_apart_in_time_and_in_memory") {
        return;
    }
    let rows: Vec<Row> = odd().into_iter().chain(cut()).chain(large()).collect();
    try_all(&rows);
}
