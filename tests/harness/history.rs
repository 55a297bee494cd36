//! A collector with a long history: records as agents would have sent them, put straight into its store.

use crate::fleet::{Fleet, get};
use crate::process::{Process, eventually};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::report::{Cell, Head, OtherKind, Series, encode};
use probefleet_proto::units::NS_PER_S;
use std::path::Path;
use std::time::Duration;

/// Width of a window, s.
const WINDOW_S: u64 = 60;
/// Attempts of a probe in a window.
const ATTEMPTS: u32 = 12;
/// The agents.
const AGENTS: [&str; 3] = ["berlin", "london", "tokyo"];
/// An outage of five minutes every so many windows, as seen from the latest window; the latest began 45 minutes ago.
const OUTAGE_EVERY: u64 = 3 * 1_440 + 17;
/// Windows of an outage, counted back from the latest one.
const OUTAGE: std::ops::Range<u64> = 40..45;
/// How long the collector may take to read and judge it all.
const READ: Duration = Duration::from_secs(120);

/// What was promised, over a whole year, so that no history is too long for it.
const AGREEMENT: &str = r#"
agreement: shop
version: 1
kind: sla
level: service
title: Web shop
parties: {provider: {name: Hosting AG}, customer: {name: Shop GmbH}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2020-01-01, until: 2090-01-01}
period: year
services:
  shop: {title: Web shop, monthly_charge: "3000.00"}
objectives:
  availability:
    service: shop
    probe: front
    measure: availability
    target: ">= 99.9%"
    vantages: {quorum: 51%, at_least: 2}
    outage: {after: 1, until: 1, bridge: 1}
    credit: {bands: [{below: 99.9%, rate: 10%}, {below: 99%, rate: 25%}]}
  response-time:
    service: shop
    probe: front
    measure: {within: 250ms, phase: total}
    target: ">= 99%"
    credit: {flat: 5%}
"#;

/// A collector that runs on a history.
pub struct Historian {
    _fleet: Fleet,
    process: Process,
    /// Where its portal is.
    pub portal: String,
    /// Windows of agents that it has read.
    pub records: u64,
}

impl Historian {
    /// A collector with so many days of one-minute windows, which has read and judged them.
    pub fn start(days: u64) -> Self {
        let plan = "probes:\n  - {name: front, every: 5s, http: {url: 'http://127.0.0.1:9/'}}\n";
        let mut fleet = Fleet::new(plan, &[("shop.yaml", AGREEMENT)]);
        let config = std::fs::read_to_string(fleet.collector_config()).expect("reads");
        std::fs::write(fleet.collector_config(), config.replace("window: 10s", "window: 60s"))
            .expect("writes");
        // Its own first start makes the tables.
        fleet.start_collector();
        fleet.collector.take().expect("runs").terminate(Duration::from_secs(10));
        let records = fill(&fleet, days * 86_400 / WINDOW_S);
        let portal = fleet.start_collector().portal;
        let process = fleet.collector.take().expect("runs");
        let ready = eventually(READ, || {
            let (_, page) = get(&portal, "/agreements/shop");
            std::thread::sleep(Duration::from_millis(200));
            page.contains("class=\"point\"").then_some(())
        });
        ready.unwrap_or_else(|| {
            panic!("{days} days are not read within {READ:?}: {}", process.output())
        });
        Self { _fleet: fleet, process, portal, records }
    }

    /// How long one request for a page takes, and how large it is, in bytes.
    pub fn time(&self, path: &str) -> (Duration, usize) {
        let began = std::time::Instant::now();
        let (status, body) = get(&self.portal, path);
        let took = began.elapsed();
        assert_eq!(status, 200, "{path}: {body}");
        (took, body.len())
    }

    /// Resident memory of the collector, bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.process.rss_bytes()
    }
}

/// Writes that many windows of every agent, the last of which has just ended; how many records.
fn fill(fleet: &Fleet, windows: u64) -> u64 {
    let now_s = unix_now_ns() / NS_PER_S;
    let last_s = (now_s - 2 * WINDOW_S) / WINDOW_S * WINDOW_S;
    let mut noise = 1;
    for (number, name) in (1..).zip(AGENTS) {
        let cells = (0..windows).rev().map(|back| {
            let start_s = last_s - back * WINDOW_S;
            (start_s, cell(start_s, back, &mut noise))
        });
        put(&fleet.store(), (number, name), cells);
    }
    windows * AGENTS.len() as u64
}

/// Puts windows of a minute into the store of a collector that does not run, as if an agent had delivered them; its
/// number tells it from others.
pub fn put(store: &Path, (number, name): (u8, &str), cells: impl IntoIterator<Item = (u64, Cell)>) {
    let mut store = rusqlite::Connection::open(store).expect("the store opens");
    let write = store.transaction().expect("is ours alone");
    let uuid = u128::from(number).to_be_bytes();
    write
        .execute(
            "INSERT INTO agent VALUES (?1, 'default', ?2, ?3, 0)",
            rusqlite::params![number, uuid, name],
        )
        .and_then(|_| write.execute("INSERT INTO agent_labels VALUES (?1, 0, '{}')", [number]))
        .expect("the schema is that of the format");
    let mut seq = 0_i64;
    let mut insert = write
        .prepare("INSERT INTO record VALUES (?1, ?2, ?2, 1, ?3, ?4, ?4, zeroblob(32), x'', ?5)")
        .expect("the schema is that of the format");
    for (start_s, cell) in cells {
        let head = Head { window_start_s: start_s, window_s: 60, ..Head::default() };
        let payload = encode(&head, &[cell]).remove(0);
        seq += 1;
        insert
            .execute(rusqlite::params![number, seq, WINDOW_S as i64, start_s as i64, payload])
            .expect("has room");
    }
    drop(insert);
    write
        .execute(
            "INSERT INTO stream (id, agent, spool_id, last_seq, last_hash, session) VALUES (?1, ?1, ?2, ?3, zeroblob(32), 1)",
            rusqlite::params![number, uuid, seq],
        )
        .expect("the schema is that of the format");
    write.commit().expect("has room");
}

/// A window as a shop has them: slower by day than by night, with a tail, and now and then not there at all.
fn cell(start_s: u64, back: u64, noise: &mut u64) -> Cell {
    let down = OUTAGE.contains(&(back % OUTAGE_EVERY));
    let ok = if down { 0 } else { ATTEMPTS };
    let mut cell = Cell {
        probe: "front".to_owned(),
        spec: [1; 16],
        interval_s: 5,
        scheduled: ATTEMPTS,
        ok,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    if down {
        cell.add_other(OtherKind::Failed, "status", "503", ATTEMPTS - 2);
        cell.add_other(OtherKind::Failed, "timeout", "wait", 2);
        return cell;
    }
    let mut total = Series::new("total", &[250_000_000]);
    let of_day = (start_s % 86_400) as f64 / 86_400.0 * std::f64::consts::TAU;
    let base_ns = 60_000_000.0 - 30_000_000.0 * of_day.cos();
    for _ in 0..ok {
        *noise ^= *noise << 13;
        *noise ^= *noise >> 7;
        *noise ^= *noise << 17;
        let uniform = (*noise >> 11) as f64 / (1_u64 << 53) as f64;
        // A long tail: one of a hundred takes five times as long.
        total.record((base_ns * (1.0 - uniform).powf(-0.35)) as u64);
    }
    cell.series.push(total);
    cell
}

/// The value that 99 of a hundred do not exceed, by nearest rank.
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[(times.len() * 99).div_ceil(100) - 1]
}
