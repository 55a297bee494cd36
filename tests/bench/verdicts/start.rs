//! A start of the collector, and a report: from the records of some days, and from the digests that the first start has left
//! behind.

use super::{AGENTS_MAX, FAILED_EVERY, MIB, text, took_ns};
use crate::table::{Table, figure};
use anyhow::{Context as _, ensure};
use harness::fleet::{Fleet, get};
use harness::history::put;
use harness::process::{eventually, rss_most_bytes};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::report::{Cell, OtherKind, Series};
use probefleet_proto::units::NS_PER_S;
use std::path::Path;
use std::time::{Duration, Instant};

/// Windows of a day.
const WINDOWS_A_DAY: u64 = 1_440;
/// How long a start may take.
const READ: Duration = Duration::from_secs(120);
/// Most µs a window that a start from digests may take: a month of 50 agents in some four seconds.
const WINDOW_MAX_US: f64 = 2.0;
/// What is promised: the value of a percentile needs the most of its windows.
const OBJECTIVE: &str =
    r#"measure: {percentile: 95%, phase: total}, target: "<= 30ms", period: year"#;
/// Phases of a window beside the whole, as an HTTP probe has them.
const PHASES: [&str; 5] = ["resolve", "connect", "tls", "wait", "receive"];

/// The table.
pub fn of_a_start(agents: u64, window: Duration) -> anyhow::Result<Table> {
    let (days, agents) = (window.as_secs().clamp(1, 30), agents.min(AGENTS_MAX));
    let plan = "probes:\n  - {name: front, every: 60s, http: {url: 'http://127.0.0.1:9/'}}\n";
    let contract = text(OBJECTIVE).replace("2026-01-01", "2020-01-01").replace("2029", "2090");
    let mut fleet = Fleet::new(plan, &[("bench.yaml", &contract)]);
    let config = std::fs::read_to_string(fleet.collector_config())?;
    std::fs::write(fleet.collector_config(), config.replace("window: 10s", "window: 60s"))?;
    // Its own first start makes the tables.
    fleet.start_collector();
    stop(&mut fleet)?;
    fill(&fleet.store(), agents, days * WINDOWS_A_DAY)?;
    let windows = (agents * days * WINDOWS_A_DAY) as f64;
    let mut table = Table::new(
        "A start of the collector, and a report: windows of a minute with six phases, an objective of a percentile",
        &["windows", "s", "us/window", "RSS MiB", "MiB of them"],
    );
    for (name, bytes) in [
        ("from records", "SELECT sum(length(payload)) FROM record"),
        ("from digests", "SELECT sum(length(body)) FROM digest"),
    ] {
        let (took_s, rss) = start(&mut fleet)?;
        let mib = stored(&fleet.store(), bytes)? / MIB;
        ensure!(mib > 0.0, "{name}: there are none");
        let a_window_us = took_s * 1e6 / windows;
        table.row(
            name,
            &[
                figure(windows, 0),
                figure(took_s, 2),
                figure(a_window_us, 2),
                figure(rss as f64 / MIB, 1),
                figure(mib, 1),
            ],
        );
        let enough = days * agents >= 5 * AGENTS_MAX;
        if name == "from digests" && enough && a_window_us > WINDOW_MAX_US {
            table.miss(&format!("a start {name}: {a_window_us:.2} us a window"));
        }
    }
    for (name, forget) in [
        ("a report from digests", ""),
        ("a report from records", "UPDATE digest SET basis = NULL, body = NULL"),
    ] {
        rusqlite::Connection::open(fleet.store())?.execute_batch(forget)?;
        let took_s = report(&fleet)?;
        let (a_window_us, mib) = (took_s * 1e6 / windows, None);
        table
            .row(name, &[figure(windows, 0), figure(took_s, 2), figure(a_window_us, 2), None, mib]);
    }
    table.note(&format!(
        "{days} days of {agents} agents; until the first page with figures; RSS is the most that it ever had"
    ));
    table.note("the first start makes the digests as it reads; the latest hours are read from records by both");
    table.note(&format!(
        "limit from digests, for 5 days of {AGENTS_MAX} agents or more: {WINDOW_MAX_US} us a window"
    ));
    Ok(table)
}

fn stop(fleet: &mut Fleet) -> anyhow::Result<()> {
    let mut collector = fleet.collector.take().context("it runs")?;
    collector.terminate(Duration::from_secs(10));
    Ok(())
}

/// Starts it until it shows figures, and ends it: how long that took, in s, and its most memory, in bytes.
fn start(fleet: &mut Fleet) -> anyhow::Result<(f64, u64)> {
    let began = Instant::now();
    let portal = fleet.start_collector().portal;
    let shown = eventually(READ, || {
        let (_, page) = get(&portal, "/agreements/bench");
        page.contains("class=\"point\"").then_some(())
    });
    let took_s = began.elapsed().as_secs_f64();
    let process = fleet.collector.as_ref().context("it runs")?;
    ensure!(shown.is_some(), "no figures: {}", process.output());
    let rss = rss_most_bytes(process.pid()).unwrap_or_default();
    stop(fleet)?;
    Ok((took_s, rss))
}

/// How long a report of the open year takes, from its start to its end, in s.
fn report(fleet: &Fleet) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut command = std::process::Command::new(harness::program("probefleet-collector"));
    let year = jiff::Zoned::now().in_tz("Europe/Berlin")?.year().to_string();
    command.args(["report", "--agreement", "bench", "--format", "json", "--period", &year]);
    let ran = command.arg("--config").arg(fleet.collector_config()).output()?;
    let took_s = began.elapsed().as_secs_f64();
    let [text, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    ensure!(ran.status.success() && text.contains("\"attempts\""), "no report: {text}{error}");
    Ok(took_s)
}

fn stored(store: &Path, sum: &str) -> anyhow::Result<f64> {
    let file = rusqlite::Connection::open(store)?;
    let bytes: Option<i64> = file.query_row(sum, [], |row| row.get(0))?;
    Ok(bytes.unwrap_or(0) as f64)
}

/// Puts the latest windows of the agents into the store.
fn fill(store: &Path, agents: u64, windows: u64) -> anyhow::Result<()> {
    let now_s = unix_now_ns() / NS_PER_S;
    let last_s = (now_s - 120) / 60 * 60;
    for agent in 0..agents {
        let cells = (0..windows).rev().map(|back| (last_s - back * 60, cell(agent, back)));
        put(store, (u8::try_from(agent + 1)?, &format!("agent-{agent:02}")), cells);
    }
    Ok(())
}

/// A window with one attempt.
pub fn cell(agent: u64, back: u64) -> Cell {
    let mut cell = Cell {
        probe: "front".to_owned(),
        spec: [1; 16],
        interval_s: 60,
        scheduled: 1,
        ok: 1,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    if (back + agent).is_multiple_of(FAILED_EVERY.unsigned_abs()) {
        cell.ok = 0;
        cell.add_other(OtherKind::Failed, "timeout", "wait", 1);
        return cell;
    }
    let ns = took_ns(back.cast_signed());
    for (phase, part) in PHASES.iter().zip([20, 10, 5, 2, 30]) {
        let mut series = Series::new(*phase, &[]);
        series.record(ns / part);
        cell.series.push(series);
    }
    let mut total = Series::new("total", &[30_000_000]);
    total.record(ns);
    cell.series.push(total);
    cell
}
