//! Every row of the outcome table that a server can bring about.

use super::relay::Relay;
use super::{ACTIVE, Desk, assert_outcome, detail, outcome, phase, phases};
use harness::ports::free_port;
use harness::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

/// An attempt ends at most this long after its deadline, ms.
const LATE_MAX_MS: u64 = 50;

#[test]
fn what_the_server_refuses_has_its_state() {
    let Some(desk) = Desk::new("what_the_server_refuses_has_its_state") else { return };
    for (query, expected, error) in [
        (
            "SELECT * FROM nowhere",
            "failed status sqlstate:42P01",
            "relation \"nowhere\" does not exist",
        ),
        ("SELEC 1", "failed status sqlstate:42601", "syntax error"),
        ("SELECT 1/0", "failed status sqlstate:22012", "division by zero"),
        ("SELECT $1::int", "failed status sqlstate:08P01", "bind message supplies 0 parameters"),
        ("SELECT pg_read_file('PG_VERSION')", "failed status sqlstate:42501", "permission denied"),
        // Rows first, then an error.
        (
            "SELECT 1/(3 - i) FROM generate_series(1, 5) i",
            "failed status sqlstate:22012",
            "division by zero",
        ),
    ] {
        let attempt = desk.attempt(query);
        assert_outcome(&attempt, expected);
        assert!(detail(&attempt, "error").contains(error), "{attempt}");
        assert_eq!(phase(&attempt, "query"), None, "it did not end well: {attempt}");
    }
    let hinted = desk.attempt("SELECT nam FROM facts");
    assert_eq!(detail(&hinted, "position"), "8", "{hinted}");
    assert!(detail(&hinted, "hint").contains("facts.name"), "{hinted}");
    // Nothing is left open, and nobody left without a word.
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
    assert!(!desk.postgres.log().contains("unexpected EOF"), "{}", desk.postgres.log());
    let copied = desk.attempt("COPY facts TO STDOUT");
    assert_outcome(&copied, "invalid agent_error copy");
    assert!(detail(&copied, "error").contains("write a SELECT"), "{copied}");
}

#[test]
fn logins_are_refused_by_name() {
    let Some(desk) = Desk::new("logins_are_refused_by_name") else { return };
    let port = desk.postgres.port;
    let whole = |url: String| {
        desk.write("erp.url", &url, 0o600);
        desk.attempt("SELECT 1")
    };
    let wrong = whole(format!("postgres://probe:wrong@127.0.0.1:{port}/postgres"));
    assert_outcome(&wrong, "failed auth sqlstate:28P01");
    assert_eq!(phases(&wrong), ["connect", "total"], "the login did not end: {wrong}");
    let stranger = whole(format!("postgres://stranger:wrong@127.0.0.1:{port}/postgres"));
    assert_outcome(&stranger, "failed auth sqlstate:28P01");
    let nowhere = whole(format!("postgres://probe:S3cret%2FPa55word@127.0.0.1:{port}/nowhere"));
    assert_outcome(&nowhere, "failed status sqlstate:3D000");
    let without = whole(format!("postgres://probe@127.0.0.1:{port}/postgres"));
    assert_outcome(&without, "invalid agent_error password");
    assert!(detail(&without, "error").starts_with("the server asks for a password: "), "{without}");
    let bound = whole(format!(
        "postgres://probe:S3cret%2FPa55word@127.0.0.1:{port}/postgres?sslmode=disable&channel_binding=require"
    ));
    assert_outcome(&bound, "failed auth auth");
    desk.postgres.sql("ALTER ROLE probe NOLOGIN");
    let barred = whole(format!("postgres://probe:S3cret%2FPa55word@127.0.0.1:{port}/postgres"));
    assert_outcome(&barred, "failed auth sqlstate:28000");
}

#[test]
fn ports_that_are_no_database() {
    let Some(desk) = Desk::new("ports_that_are_no_database") else { return };
    desk.write_url_of("127.0.0.1", free_port(), "sslmode=disable");
    assert_outcome(&desk.attempt("SELECT 1"), "failed refused econnrefused");
    // The kernel takes the connection, and nobody ever speaks.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    for (mode, hung_in) in [("disable", "login"), ("prefer", "tls"), ("require", "tls")] {
        desk.write_url_of("127.0.0.1", port, &format!("sslmode={mode}"));
        let attempt = &desk.tries("500ms", json!({"query": "SELECT 1"}), "").attempts[0];
        assert_outcome(attempt, &format!("failed timeout {hung_in}"));
        assert_in_time(attempt, 500);
    }
    for (greeting, mode, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "disable", "failed protocol not_postgresql"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "prefer", "failed protocol not_postgresql"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "disable", "failed protocol not_postgresql"),
        // The `S` of its greeting passes for a yes to SSLRequest; what follows is no handshake.
        (b"SSH-2.0-OpenSSH_9.2\r\n", "require", "failed tls tls:not_tls"),
        (b"\x4a\0\0\0\x0a8.0.36\0", "disable", "failed protocol not_postgresql"),
        (b"E", "prefer", "failed protocol ssl_request"),
        (b"", "disable", "failed closed eof"),
        (b"", "require", "failed closed eof"),
    ] {
        let port = greets(greeting);
        desk.write_url_of("127.0.0.1", port, &format!("sslmode={mode}"));
        assert_outcome(&desk.attempt("SELECT 1"), expected);
    }
}

/// A port that greets the first who comes, and then ends the stream.
fn greets(greeting: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream.write_all(greeting).expect("listens");
        stream.shutdown(std::net::Shutdown::Write).expect("ends");
        // Until the other side has closed, so that it is no reset.
        let _all = std::io::copy(&mut stream, &mut std::io::sink());
    });
    port
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_query() {
    let Some(mut desk) = Desk::new("a_server_that_dies_in_the_middle_of_a_query") else { return };
    let asleep = "SELECT pid FROM pg_stat_activity WHERE application_name = 'probefleet' AND state = 'active'";
    let start = |desk: &Desk| {
        desk.write_plan("20s", json!({"query": "SELECT pg_sleep(15)"}));
        let log = desk.dir().join("try.log");
        let _absent_at_first = std::fs::remove_file(&log);
        let mut command = harness::command::shell(
            desk.dir(),
            "exec probefleet-agent try plan.yaml --format json",
        );
        command.env("NO_COLOR", "1");
        let mut process = Process::start_command(command, &log);
        let pid = process.wait_for("the query", Duration::from_secs(10), || {
            Some(desk.postgres.sql(asleep)).filter(|pid| !pid.is_empty())
        });
        (process, pid.parse::<i32>().expect("one process"))
    };
    let end = |mut process: Process| {
        assert!(!process.wait(Duration::from_secs(5)), "an attempt failed");
        serde_json::from_str::<serde_json::Value>(&process.output()).expect("one line")
    };
    // The server's process dies, and the others follow it.
    let (process, pid) = start(&desk);
    kill_process(Pid::from_raw(pid).expect("an id"), Signal::KILL).expect("is ours");
    let killed = end(process);
    // A reset, where something of ours was not read yet.
    let ends = ["failed closed eof", "failed closed econnreset"];
    assert!(ends.contains(&outcome(&killed).as_str()), "{killed}");
    desk.postgres.wait_until("SELECT 1", "1", Duration::from_secs(10));
    // An administrator ends the session.
    let (process, pid) = start(&desk);
    desk.postgres.sql(&format!("SELECT pg_terminate_backend({pid})"));
    assert_outcome(&end(process), "failed closed sqlstate:57P01");
    // The server is stopped.
    let (process, _) = start(&desk);
    desk.postgres.stop();
    assert_outcome(&end(process), "failed closed sqlstate:57P01");
    assert_outcome(&desk.attempt("SELECT 1"), "failed refused econnrefused");
}

#[test]
fn a_deadline_that_the_server_does_not_keep_is_kept_here_and_the_query_cancelled() {
    let Some(desk) =
        Desk::new("a_deadline_that_the_server_does_not_keep_is_kept_here_and_the_query_cancelled")
    else {
        return;
    };
    // The server answers, but the answer is lost.
    for (muted, hung_in) in [("pg_sleep", "query"), ("BEGIN READ ONLY", "setup")] {
        let relay = Relay::start(desk.postgres.port, muted);
        desk.write_url_of("127.0.0.1", relay.port, "sslmode=disable");
        let attempt = &desk.tries("500ms", json!({"query": "SELECT pg_sleep(30)"}), "").attempts[0];
        assert_outcome(attempt, &format!("failed timeout {hung_in}"));
        assert_in_time(attempt, 500);
        assert_eq!(relay.cancels().len(), 1, "one cancel request");
    }
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
}

#[test]
fn over_a_cap_the_query_is_cancelled_and_nothing_is_drained() {
    let Some(desk) = Desk::new("over_a_cap_the_query_is_cancelled_and_nothing_is_drained") else {
        return;
    };
    // The server sends 8 KiB at a time: the head of the first row too many is in what leaves before the sleep, and nothing
    // more is sent until that ends. Only a cancel request ends it before its time.
    let query = "SELECT repeat('x', 8300), CASE WHEN i = 12 THEN pg_sleep(15) END FROM generate_series(1, 20) i";
    let tried = desk.tries("20s", json!({"query": query, "expect": {"max_rows": 10}}), "");
    assert_outcome(&tried.attempts[0], "failed assertion max_rows");
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
    assert!(
        desk.postgres.log().contains("canceling statement due to user request"),
        "{}",
        desk.postgres.log()
    );
    let many = desk.attempt_of(json!({"query": "SELECT generate_series(1, 12000)"}));
    assert_outcome(&many, "failed assertion max_rows");
    assert_eq!(detail(&many, "error"), "more than 10000 rows");
    assert_eq!(many["detail"]["rows"], 10_001);
    let large = desk
        .attempt_of(json!({"query": "SELECT repeat('x', 1000000) FROM generate_series(1, 100)"}));
    assert_outcome(&large, "failed assertion max_bytes");
    // One row that is too large is not waited for.
    let row = desk.attempt_of(json!({"query": "SELECT repeat('x', 50000000)"}));
    assert_outcome(&row, "failed assertion max_bytes");
    let within = desk.attempt_of(
        json!({"query": "SELECT generate_series(1, 10000)", "expect": {"rows": 10_000}}),
    );
    assert_outcome(&within, "ok");
}

fn assert_in_time(attempt: &serde_json::Value, timeout_ms: u64) {
    let total_ms = phase(attempt, "total").expect("always there") / 1_000_000;
    assert!(
        (timeout_ms..=timeout_ms + LATE_MAX_MS).contains(&total_ms),
        "{total_ms} ms: {attempt}"
    );
}
