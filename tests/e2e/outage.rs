//! A collector that was away for a week: what an agent kept of fifty probes is delivered whole, and how it is now is seen
//! from the first second on.
//!
//! Nobody waits for the week: its records are put into the agent's spool by the spool itself, then the real programs run.

use harness::fleet::{Fleet, get, start_responder};
use harness::process::{eventually, rss_most_bytes};
use probefleet_agent::evidence::EvidenceKey;
use probefleet_agent::spool::{Limits, Spool};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{Cell, Head, Series, encode};
use probefleet_proto::units::NS_PER_S;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PROBES: usize = 50;
const WINDOW_S: u64 = 10;
const DAY_S: u64 = 86_400;
/// How long the collector was away. Unoptimised programs get less to do.
const AWAY_S: u64 = if cfg!(debug_assertions) { DAY_S } else { 7 * DAY_S };
/// The default budget, where the file system is large enough for it.
const BUDGET_BYTES: u64 = 1 << 30;
/// Phases of an HTTP attempt, and their share of the whole.
const PHASES: [(&str, u64); 6] =
    [("resolve", 20), ("connect", 10), ("tls", 5), ("wait", 2), ("receive", 30), ("total", 1)];
/// Records that wait for the disk together.
const GROUP: u64 = 64;
/// An agent that had no session yet waits up to two minutes between two tries.
const RECONNECT: Duration = Duration::from_secs(130);
/// At least so many times faster than it was measured.
const DRAIN_MIN: f64 = 20.0;
/// What is known of now is no older than two windows.
const STATUS_MAX_S: f64 = 2.0 * WINDOW_S as f64;
const MIB: u64 = 1 << 20;

fn plan(target: &str) -> String {
    let probe = |n| {
        format!("  - {{name: probe-{n}, every: {WINDOW_S}s, http: {{url: 'http://{target}/'}}}}\n")
    };
    format!("probes:\n{}", (0..PROBES).map(probe).collect::<String>())
}

/// The cell of one attempt.
fn cell(probe: usize, window: u64) -> Cell {
    let ns = 20_000_000 + (window * 7_919 + probe as u64 * 104_729) % 9_999_991;
    let series = |(phase, share): &(&'static str, u64)| {
        let mut series = Series::new(*phase, &[]);
        series.record(ns / share);
        series
    };
    Cell {
        probe: format!("probe-{probe}"),
        spec: [1; 16],
        interval_s: WINDOW_S as u32,
        scheduled: 1,
        ok: 1,
        others: Vec::new(),
        series: PHASES.iter().map(series).collect(),
        counters: Vec::new(),
        values: Vec::new(),
    }
}

fn payload(window_start_s: u64) -> Vec<u8> {
    let cells: Vec<Cell> = (0..PROBES).map(|probe| cell(probe, window_start_s)).collect();
    let head = Head { window_start_s, window_s: WINDOW_S as u32, ..Head::default() };
    let mut payloads = encode(&head, &cells);
    assert_eq!(payloads.len(), 1, "fifty cells are one report");
    payloads.remove(0)
}

/// Fills a spool with the windows of the outage, and says how many there are and what they take.
fn fill(state: &Path) -> (u64, u64) {
    let last_s = unix_now_ns() / NS_PER_S / WINDOW_S * WINDOW_S;
    let windows = AWAY_S / WINDOW_S;
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let key = Arc::new(EvidenceKey::kept(state).expect("the agent left it"));
    runtime.block_on(async {
        let (spool, _) = Spool::open(&state.join("spool"), Limits::new(BUDGET_BYTES), key)
            .expect("the agent left it");
        for group in 0..windows.div_ceil(GROUP) {
            let starts = (group * GROUP..windows.min((group + 1) * GROUP))
                .map(|window| last_s - (windows - window) * WINDOW_S);
            let mut waiting = Vec::new();
            for start_s in starts {
                let spool = spool.clone();
                let append = async move { spool.append(Kind::Report, payload(start_s)).await };
                waiting.push(tokio::spawn(append));
            }
            for appended in waiting {
                appended.await.expect("no panic").expect("there is room");
            }
        }
        let bytes = spool.state().borrow().bytes;
        spool.close().await.expect("closes");
        (windows, bytes)
    })
}

/// A figure of the only agent from `/metrics`.
fn figure(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// What an observer of the collector saw while the spool was drained.
#[derive(Debug)]
struct Drain {
    took: Duration,
    status_age_most_s: f64,
    looks: u64,
}

/// Watches until everything is delivered.
fn watch(portal: &str) -> Drain {
    let connected = eventually(RECONNECT, || {
        let (_, metrics) = get(portal, "/metrics");
        (figure(&metrics, "probefleet_agent_backlog_bytes")? > 0.0).then(Instant::now)
    });
    let began = connected.expect("the agent came back and says what it holds");
    let mut drain = Drain { took: Duration::ZERO, status_age_most_s: 0.0, looks: 0 };
    let done = eventually(Duration::from_secs(AWAY_S).div_f64(DRAIN_MIN), || {
        let (_, metrics) = get(portal, "/metrics");
        let age_s = figure(&metrics, "probefleet_agent_latest_attempt_age_seconds")?;
        drain.status_age_most_s = drain.status_age_most_s.max(age_s);
        drain.looks += 1;
        let backlog = figure(&metrics, "probefleet_agent_backlog_bytes")?;
        std::thread::sleep(Duration::from_millis(100));
        (backlog < 64.0 * 1024.0).then(|| began.elapsed())
    });
    drain.took = done.expect("everything is delivered in a twentieth of the time");
    drain
}

/// Every window of the outage is in the store once, and nothing but reports and events is.
fn check_store(store: &Path, windows: u64) {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = rusqlite::Connection::open_with_flags(store, flags).expect("the store opens");
    let mut rows = store
        .prepare(
            "SELECT seq, kind, window_start_s, length(payload) FROM record ORDER BY stream, seq",
        )
        .expect("the schema is that of the format");
    let mut rows = rows.query([]).expect("reads");
    let (mut seen, mut last) = (HashSet::new(), 0_i64);
    while let Some(row) = rows.next().expect("reads") {
        let column = |index| row.get::<_, i64>(index).expect("an integer");
        assert_eq!(column(0), last + 1, "no sequence is missing");
        last = column(0);
        assert_ne!(column(1), 2, "a gap stands for {last}");
        // Those with all cells: the agent's own first and last windows are cut.
        if column(3) > 4_096 {
            assert!(seen.insert(column(2)), "window {} twice", column(2));
        }
    }
    assert!(seen.len() as u64 >= windows, "{} of {windows} windows", seen.len());
}

#[test]
fn a_week_without_a_collector_is_delivered_while_now_is_seen() {
    let responder_log = tempfile::NamedTempFile::new().expect("a file");
    let (_responder, target) = start_responder(responder_log.path());
    let mut fleet = Fleet::new(&plan(&target), &[]);
    let agents = fleet.start_collector().agents;
    // It must come back where the agent knows it.
    let config = std::fs::read_to_string(fleet.collector_config()).expect("reads");
    let config = config.replace("listen: 127.0.0.1:0", &format!("listen: {agents}"));
    std::fs::write(fleet.collector_config(), config).expect("writes");
    fleet.add_agent("berlin", "berlin", &agents, &target);
    fleet.start_agent("berlin");
    let state = fleet.dir().join("berlin/state");
    let planned = || state.join("plan.json").exists().then_some(());
    eventually(Duration::from_secs(20), planned).expect("the plan is in force");
    let (_, good) = fleet.agent("berlin").terminate(Duration::from_secs(5));
    assert!(good, "the agent stops cleanly");
    fleet.collector.as_mut().expect("runs").terminate(Duration::from_secs(5));

    let began = Instant::now();
    let (windows, bytes) = fill(&state);
    let filled = began.elapsed();
    fleet.start_agent("berlin");
    let began = Instant::now();
    fleet.agent("berlin").wait_for_output("the agent runs", Duration::from_secs(60));
    let opened = began.elapsed();
    std::thread::sleep(Duration::from_secs(2 * WINDOW_S));
    let rss_before = fleet.agent("berlin").rss_bytes();
    let portal = fleet.start_collector().portal;
    let drain = watch(&portal);
    let rss_most = rss_most_bytes(fleet.agent("berlin").pid()).expect("it runs");
    let (_, good) = fleet.agent("berlin").terminate(Duration::from_secs(5));
    assert!(good, "the agent stops cleanly");
    fleet.collector.as_mut().expect("runs").terminate(Duration::from_secs(10));

    let ratio = AWAY_S as f64 / drain.took.as_secs_f64();
    println!(
        "{windows} windows of {PROBES} probes: {} MiB, filled in {filled:.1?}, opened in {opened:.1?}, delivered in {:.1?} ({ratio:.0} x); \
         status at most {:.0} s old in {} looks; RSS {} MiB, most {} MiB",
        bytes / MIB,
        drain.took,
        drain.status_age_most_s,
        drain.looks,
        rss_before / MIB,
        rss_most / MIB,
    );
    assert!(bytes < BUDGET_BYTES, "the week has room in the default budget");
    check_store(&fleet.store(), windows);
    assert!(ratio >= DRAIN_MIN, "{ratio:.1} x");
    assert!(drain.status_age_most_s <= STATUS_MAX_S, "{drain:?}");
    assert!(rss_most <= rss_before + 8 * MIB, "RSS grew from {rss_before} to {rss_most}");
    assert!(rss_most <= 40 * MIB, "RSS {rss_most}");
}
