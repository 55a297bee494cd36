//! Ingest: agents over gRPC, one core for the collector, beside what the disk alone would take.

mod agent;
pub mod reports;

use crate::machine::{MEASURED, Spent, watch};
use crate::table::{Table, figure};
use agent::{Delivered, Feed};
use anyhow::{Context as _, ensure};
use harness::fleet::Fleet;
use harness::process::Process;
use probefleet_agent::simulation::EvidenceKey;
use reports::{CELLS, PHASES, Reports};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long agents deliver before the collector is watched.
const WARM_UP: Duration = Duration::from_millis(700);

/// How long the disk alone is measured at most: its file grows by some 100 MB a second.
const LIMIT_MAX: Duration = Duration::from_secs(3);

/// How reports arrive.
struct Shape {
    name: &'static str,
    agents: u32,
    /// Reports of a frame.
    frame: usize,
    /// Each report is signed by its agent and checked by the collector.
    signed: bool,
    /// Reports that share an fsync at most: the collector's transactions take up to 64 frames of different agents.
    group: usize,
}

/// Day to day, what of that the signatures cost, and after an outage.
const SHAPES: [Shape; 3] = [
    Shape { name: "64 agents, a report a frame", agents: 64, frame: 1, signed: true, group: 64 },
    Shape { name: "likewise, not signed", agents: 64, frame: 1, signed: false, group: 64 },
    Shape { name: "1 agent, 8 reports a frame", agents: 1, frame: 8, signed: true, group: 8 },
];

/// What a shape came to.
struct Measured {
    spent: Spent,
    delivered: Delivered,
    store_bytes: u64,
    limit_per_s: f64,
}

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        "Ingest, one core: a report is a window of 50 probes with 6 phases of 6 samples each",
        &[
            "windows/s",
            "windows/s/core",
            "series/s/core",
            "busy %",
            "RSS MiB",
            "B/series stored",
            "B/series on wire",
            "limit windows/s",
            "of limit",
        ],
    );
    let (cells, series) = (CELLS as f64, (CELLS * PHASES.len()) as f64);
    for shape in &SHAPES {
        let Measured { spent, delivered, store_bytes, limit_per_s } = one(shape, window)?;
        let all_series = delivered.records as f64 * series;
        table.row(
            shape.name,
            &[
                figure(spent.rate() * cells, 0),
                figure(spent.per_core() * cells, 0),
                figure(spent.per_core() * series, 0),
                figure(spent.busy_percent(), 0),
                figure(spent.rss_mib(), 1),
                figure(store_bytes as f64 / all_series, 1),
                figure(delivered.wire_bytes as f64 / all_series, 1),
                figure(limit_per_s * cells, 0),
                figure(spent.rate() / limit_per_s, 2),
            ],
        );
    }
    table.note("a window here is a cell: one probe of one agent in one window; `/core` is per second of processor time");
    table.note("limit: append + fdatasync of the same payloads to a file on the same disk, as many at a time as share a commit at most;");
    table.note("the better of before and after; where others share the disk it swings, and so does `of limit`");
    table.note("on wire: gRPC messages, without TLS; stored: the collector's file after a clean stop, indexes and all");
    Ok(vec![table])
}

fn one(shape: &Shape, window: Duration) -> anyhow::Result<Measured> {
    let reports = Arc::new(Reports::new()?);
    let file = tempfile::tempdir()?;
    let before_per_s = limit(file.path(), &reports, shape.group, window)?;
    let fleet = Fleet::new(
        "probes:\n  - {name: probe-0, every: 10s, http: {url: 'http://127.0.0.1:9/'}}\n",
        &[],
    );
    let (mut collector, address) = start_collector(&fleet);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let agents = (0..shape.agents)
        .map(|number| {
            let feed = Feed {
                collector: address.clone(),
                number,
                frame: shape.frame,
                key: shape.signed.then(|| evidence_key(number)).transpose()?,
                reports: Arc::clone(&reports),
                acknowledged: Arc::clone(&acknowledged),
                stop: Arc::clone(&stop),
            };
            Ok(runtime.spawn(feed.run()))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    std::thread::sleep(WARM_UP);
    let spent = watch(&collector, window, || acknowledged.load(Ordering::Relaxed));
    stop.store(true, Ordering::Relaxed);
    let mut delivered = Delivered::default();
    for agent in agents {
        delivered += runtime.block_on(agent)??;
    }
    collector.terminate(Duration::from_secs(30));
    let store_bytes = check_store(&fleet.store(), &delivered)?;
    let after_per_s = limit(file.path(), &reports, shape.group, window)?;
    // Shared disks have good and bad seconds; a limit is what they do at best.
    let limit_per_s = before_per_s.max(after_per_s);
    Ok(Measured { spent, delivered, store_bytes, limit_per_s })
}

/// The evidence key of an agent.
fn evidence_key(number: u32) -> anyhow::Result<EvidenceKey> {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    probefleet_agent::simulation::evidence_key(&seed).context("a seed without a key")
}

fn start_collector(fleet: &Fleet) -> (Process, String) {
    let config = fleet.collector_config();
    let args = ["run".as_ref(), "--config".as_ref(), config.as_os_str()];
    let program = harness::program("probefleet-collector");
    let log = fleet.dir().join("collector.log");
    let mut process = Process::start_on_core(MEASURED, &program, &args, &log);
    let addresses =
        process.wait_for("its addresses", Duration::from_secs(20), || fleet.addresses());
    (process, addresses.agents)
}

/// What was acknowledged is in the store: as many records, as many bytes. Gives the size of the store.
fn check_store(store: &Path, delivered: &Delivered) -> anyhow::Result<u64> {
    let connection = rusqlite::Connection::open(store)?;
    let sql = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM record";
    let held = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sent = (i64::try_from(delivered.records)?, i64::try_from(delivered.payload_bytes)?);
    ensure!(held == sent, "(records, bytes): the store holds {held:?}, acknowledged were {sent:?}");
    Ok(std::fs::metadata(store)?.len())
}

/// Reports a second that a file takes when each group of them is made durable.
fn limit(dir: &Path, reports: &Reports, group: usize, window: Duration) -> anyhow::Result<f64> {
    let bytes: Vec<u8> = (1..).take(group).flat_map(|seq| reports.payload(seq)).collect();
    let mut file = File::create(dir.join("appended"))?;
    let (began, mut groups) = (Instant::now(), 0_u64);
    while began.elapsed() < window.min(LIMIT_MAX) {
        file.write_all(&bytes)?;
        file.sync_data()?;
        groups += 1;
    }
    Ok((groups * group as u64) as f64 / began.elapsed().as_secs_f64())
}
