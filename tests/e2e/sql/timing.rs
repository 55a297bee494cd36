//! What the phases measure, and how much memory a large result takes.

use super::{ACTIVE, Desk, assert_outcome, detail, phase, phases};
use harness::process::{Process, eventually};
use harness::program;
use serde_json::{Value, json};
use std::time::Duration;

/// How far `query` may be from what the server was asked to sleep, ns.
const QUERY_OFF_MAX_NS: i64 = 1_000_000;
/// Most memory that a result takes beyond that of a trivial one, whatever its size.
const GROWTH_MAX_BYTES: u64 = 8 << 20;

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The phase `query`, and what the server itself measured of its sleep, ns.
fn measured(attempt: &Value) -> (i64, i64) {
    let server_us: i64 = detail(attempt, "first").parse().expect("microseconds");
    let query_ns = i64::try_from(phase(attempt, "query").expect("a query")).expect("short");
    (query_ns, server_us * 1_000)
}

/// In a session that is kept, because a new process of the server takes milliseconds for its first question alone. The
/// median of some attempts is asserted: a machine that is busy may disturb some, not most.
#[test]
fn a_sleep_of_the_server_is_measured_within_a_millisecond() {
    let Some(desk) = Desk::new("a_sleep_of_the_server_is_measured_within_a_millisecond") else {
        return;
    };
    for (sleep_ms, count) in [(5_i64, 22), (50, 12), (500, 6)] {
        let query = format!(
            "SELECT (extract(epoch FROM clock_timestamp() - began) * 1000000)::int8
             FROM (SELECT clock_timestamp() AS began, pg_sleep({}) OFFSET 0) AS slept",
            sleep_ms as f64 / 1e3
        );
        let block = json!({"query": query, "session": "kept"});
        let tried = desk.tries("5s", block, &format!("--count {count} --every 0s"));
        assert_eq!(tried.code, Some(0), "{}", tried.stderr);
        let all: Vec<(i64, i64)> = tried.attempts.iter().skip(1).map(measured).collect();
        assert_eq!(all.len(), count - 1);
        assert!(all.iter().all(|(_, server)| *server >= sleep_ms * 1_000_000), "{all:?}");
        let off = median(all.iter().map(|(query, server)| query - server).collect());
        println!("{sleep_ms} ms: `query` is {off} ns longer than the sleep (median)");
        assert!((0..=QUERY_OFF_MAX_NS).contains(&off), "{sleep_ms} ms: off by {off} ns: {all:?}");
        for attempt in tried.attempts.iter().skip(1) {
            assert_eq!(phases(attempt), ["first_row", "fetch", "query", "total"]);
            let sum = phase(attempt, "first_row").zip(phase(attempt, "fetch")).map(|(a, b)| a + b);
            assert_eq!(sum, phase(attempt, "query"), "query covers both: {attempt}");
        }
    }
}

#[test]
fn first_row_and_fetch_are_told_apart() {
    let Some(desk) = Desk::new("first_row_and_fetch_are_told_apart") else { return };
    // The second row comes late, and rows are sent when 8 KiB are there: the first must fill that.
    let query = "SELECT repeat('x', 20000), CASE WHEN i > 1 THEN pg_sleep(0.3) END FROM generate_series(1, 2) i";
    let late = desk.attempt(query);
    assert_outcome(&late, "ok");
    assert!(phase(&late, "first_row").expect("a row") < 250_000_000, "{late}");
    assert!(phase(&late, "fetch").expect("rows") >= 250_000_000, "{late}");
    let none = desk.attempt("SELECT 1 WHERE pg_sleep(0.02) IS NULL");
    assert_outcome(&none, "ok");
    assert_eq!(phases(&none), ["connect", "login", "query", "total"], "no row came");
    assert!(phase(&none, "query").expect("it was asked") >= 20_000_000);
    assert_eq!(none["detail"]["rows"], 0);
    // Phases and what lies between them are all of `total`.
    let sum: u64 = ["connect", "login", "query"].iter().filter_map(|name| phase(&none, name)).sum();
    assert!(sum <= phase(&none, "total").expect("a total"), "{none}");
}

#[test]
fn a_lock_is_waited_for_and_measured() {
    let Some(desk) = Desk::new("a_lock_is_waited_for_and_measured") else { return };
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'facts'::regclass";
    // As long as the lock is held, a question about the table waits; about the catalog it does not.
    let holder =
        desk.postgres.sql_in_background("BEGIN; LOCK TABLE facts; SELECT pg_sleep(1.5); COMMIT");
    desk.postgres.wait_until(held, "1", Duration::from_secs(10));
    let waited =
        desk.tries("10s", json!({"query": "SELECT id FROM facts", "expect": {"rows": 5}}), "");
    assert_outcome(&waited.attempts[0], "ok");
    assert!(
        phase(&waited.attempts[0], "query").expect("a query") > 200_000_000,
        "{}",
        waited.attempts[0]
    );
    drop(holder);
    let holder = desk.postgres.sql_in_background("BEGIN; LOCK TABLE facts; SELECT pg_sleep(60)");
    desk.postgres.wait_until(held, "1", Duration::from_secs(10));
    let refused = desk.tries("1s", json!({"query": "SELECT id FROM facts"}), "");
    assert_outcome(&refused.attempts[0], "failed timeout sqlstate:55P03");
    assert_total(&refused.attempts[0], 800..=1_050);
    drop(holder);
}

#[test]
fn the_servers_own_limit_comes_first() {
    let Some(desk) = Desk::new("the_servers_own_limit_comes_first") else { return };
    for (timeout, total_ms) in [("1s", 850..=1_050), ("2s", 1_850..=2_050)] {
        let tried =
            desk.tries(timeout, json!({"query": "SELECT pg_sleep(30)"}), "--count 3 --every 0s");
        assert_eq!(tried.code, Some(1));
        for attempt in &tried.attempts {
            assert_outcome(attempt, "failed timeout sqlstate:57014");
            assert_total(attempt, total_ms.clone());
            assert_eq!(
                phases(attempt),
                ["connect", "login", "total"],
                "a query that did not end has no sample"
            );
        }
    }
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
    // A catalog that takes longer to look through than the limit comes before the deadline.
    desk.postgres.sql(
        "DO $$ DECLARE columns text := (SELECT string_agg('c' || i || ' int', ', ') FROM generate_series(1, 500) i);
         BEGIN FOR i IN 1..300 LOOP EXECUTE 'CREATE TABLE wide_' || i || ' (' || columns || ')'; END LOOP; END $$",
    );
    let tried = desk.tries("1s", json!({"query": "SELECT pg_sleep(30)"}), "");
    assert_outcome(&tried.attempts[0], "failed timeout sqlstate:57014");
}

fn assert_total(attempt: &Value, ms: std::ops::RangeInclusive<u64>) {
    let total_ms = phase(attempt, "total").expect("always there") / 1_000_000;
    assert!(ms.contains(&total_ms), "{total_ms} ms, not {ms:?}: {attempt}");
}

/// The highest resident memory of a `try` that runs a block again and again, bytes.
fn peak_bytes(desk: &Desk, block: Value, expected: &str) -> u64 {
    desk.write_plan("5s", block);
    let log = desk.dir().join("try.log");
    let _absent_at_first = std::fs::remove_file(&log);
    let plan = desk.dir().join("plan.yaml");
    let url = desk.dir().join("erp.url");
    let text = std::fs::read_to_string(&plan).expect("was written");
    let text = text.replace("\"erp.url\"", &json!(url).to_string());
    std::fs::write(&plan, text).expect("writes");
    let plan = plan.display().to_string();
    let args = ["try", &plan, "--format", "json", "--count", "1000", "--every", "50ms"];
    let process = Process::start(&program("probefleet-agent"), &args, &log);
    let lines = eventually(Duration::from_secs(30), || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.lines().count() >= 20).then_some(text)
    });
    let lines = lines.unwrap_or_else(|| panic!("too slow: {}", process.output()));
    assert!(lines.lines().all(|line| line.contains(expected)), "{lines}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).expect("runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("has memory");
    peak.split_whitespace().next().expect("a number").parse::<u64>().expect("kB") * 1_024
}

#[test]
fn a_million_rows_take_no_more_memory_than_their_caps() {
    let Some(desk) = Desk::new("a_million_rows_take_no_more_memory_than_their_caps") else {
        return;
    };
    let base = peak_bytes(&desk, json!({"query": "SELECT 1"}), "\"outcome\":\"ok\"");
    for (columns, expect, code) in [
        ("i, repeat('x', 100)", json!({"max_rows": 10_000_000}), "\"max_bytes\""),
        ("i", json!({}), "\"max_rows\""),
    ] {
        let rows = format!("SELECT {columns} FROM generate_series(1, 1000000) i");
        let peak = peak_bytes(&desk, json!({"query": rows, "expect": expect}), code);
        let growth = peak.saturating_sub(base);
        println!(
            "a million rows, {code}: {} KiB, {} KiB more than a trivial query",
            peak >> 10,
            growth >> 10
        );
        assert!(growth <= GROWTH_MAX_BYTES, "{code}: {growth} bytes more than {base}");
    }
    desk.postgres.wait_until(ACTIVE, "0", Duration::from_secs(2));
}
