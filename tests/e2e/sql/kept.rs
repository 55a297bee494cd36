//! What is kept between attempts, and what is not.

use super::{Desk, assert_outcome, phase, phases};
use harness::process::Process;
use serde_json::{Value, json};
use std::time::Duration;

#[test]
fn a_kept_session_logs_in_once() {
    let Some(desk) = Desk::new("a_kept_session_logs_in_once") else { return };
    let query = "SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    for (session, sessions) in [("kept", 1), ("fresh", 5)] {
        let tried =
            desk.tries("2s", json!({"query": query, "session": session}), "--count 5 --every 20ms");
        assert_eq!(tried.code, Some(0), "{:?}", tried.attempts);
        let checksums: std::collections::BTreeSet<&str> =
            tried.attempts.iter().map(|attempt| super::detail(attempt, "checksum")).collect();
        assert_eq!(checksums.len(), sessions, "{session}: as many sessions as starts of them");
        for attempt in &tried.attempts[1..] {
            let expected: &[&str] = if session == "kept" {
                &["first_row", "fetch", "query", "total"]
            } else {
                &["connect", "login", "first_row", "fetch", "query", "total"]
            };
            assert_eq!(phases(attempt), expected);
        }
        assert!(phase(&tried.attempts[0], "login").is_some());
    }
}

#[test]
fn an_attempt_does_not_change_the_next() {
    let Some(desk) = Desk::new("an_attempt_does_not_change_the_next") else { return };
    for (query, first) in [
        (
            "SELECT coalesce(current_setting('probe.seen', true), '') || set_config('probe.seen', 'x', false)",
            "x",
        ),
        (
            "SELECT current_setting('search_path') || set_config('search_path', 'nowhere', false)",
            "\"$user\", publicnowhere",
        ),
        (
            "SELECT count(*)::text || pg_advisory_lock(7)::text FROM pg_locks WHERE locktype = 'advisory'",
            "0",
        ),
    ] {
        let block = json!({"query": query, "session": "kept", "expect": {"first": first}});
        let tried = desk.tries("2s", block, "--count 3 --every 0s");
        assert_eq!(tried.attempts.len(), 3, "{}", tried.stderr);
        for attempt in &tried.attempts {
            assert_outcome(attempt, "ok");
        }
    }
    // A statement that fails, or ends the transaction itself, costs no session.
    for (query, expected) in
        [("SELECT 1/0", "failed status sqlstate:22012"), ("COMMIT", "ok"), ("LISTEN news", "ok")]
    {
        let tried =
            desk.tries("2s", json!({"query": query, "session": "kept"}), "--count 3 --every 0s");
        for (index, attempt) in tried.attempts.iter().enumerate() {
            assert_outcome(attempt, expected);
            assert_eq!(phase(attempt, "login").is_some(), index == 0, "{attempt}");
        }
    }
    // One that is cut off does.
    let cut = json!({"query": "SELECT generate_series(1, 1000000)", "session": "kept"});
    for attempt in &desk.tries("2s", cut, "--count 2 --every 0s").attempts {
        assert_outcome(attempt, "failed assertion max_rows");
        assert!(phase(attempt, "login").is_some(), "{attempt}");
    }
}

/// Starts `try` with a kept session, and waits for its second attempt.
fn start(desk: &Desk, count: usize) -> Process {
    desk.write_plan("2s", json!({"query": "SELECT 1", "session": "kept"}));
    let line =
        format!("exec probefleet-agent try plan.yaml --format json --count {count} --every 300ms");
    let mut process = Process::start_command(
        harness::command::shell(desk.dir(), &line),
        &desk.dir().join("try.log"),
    );
    let log = desk.dir().join("try.log");
    process.wait_for("two attempts", Duration::from_secs(10), || {
        (std::fs::read_to_string(&log).unwrap_or_default().lines().count() >= 2).then_some(())
    });
    process
}

#[test]
fn a_kept_session_that_was_ended_is_replaced() {
    let Some(desk) = Desk::new("a_kept_session_that_was_ended_is_replaced") else { return };
    let mut process = start(&desk, 6);
    let ended = desk.postgres.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'probefleet'");
    assert_eq!(ended, "1", "one session");
    process.wait(Duration::from_secs(10));
    let attempts: Vec<Value> =
        process.output().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(attempts.len(), 6);
    let with_login: Vec<usize> =
        (0..6).filter(|index| phase(&attempts[*index], "login").is_some()).collect();
    assert_eq!(with_login.len(), 2, "the first, and the one after the end: {with_login:?}");
    // It ended between two attempts, so that no attempt failed.
    for attempt in &attempts {
        assert_outcome(attempt, "ok");
    }
}
