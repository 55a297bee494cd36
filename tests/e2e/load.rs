//! A thousand real probes every second from one core, through an outage of the collector.

use harness::evidence::{Counts, cells, records, reports};
use harness::fleet::Fleet;
use harness::process::eventually;
use harness::target::Target;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::histogram::Histogram;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use std::time::{Duration, Instant};

const PROBES: u64 = 1_000;
const OUTAGE: Duration = Duration::from_secs(60);
/// Back-off after such an outage is up to two minutes, by design.
const RECONNECT: Duration = Duration::from_secs(150);
const MIB: u64 = 1 << 20;

fn plan(target: &Target) -> String {
    let probe = |n: u64| {
        format!(
            "  - {{name: probe-{n}, every: 1s, http: {{url: 'http://{}/{n}'}}}}\n",
            target.address
        )
    };
    format!("probes:\n{}", (0..PROBES).map(probe).collect::<String>())
}

/// All samples of a phase, merged.
fn merged(reports: &[(String, v1::Report)], phase: &str) -> Histogram {
    let mut sum = Histogram::new();
    for (_, report) in reports {
        let series = report.series.clone().unwrap_or_default();
        let mut rest = series.histograms.as_slice();
        for of in &series.phase {
            let histogram = Histogram::decode_first(&mut rest).expect("a histogram");
            if report.names[*of as usize] == phase {
                sum.merge(&histogram);
            }
        }
    }
    sum
}

/// Start of the newest window in the store, Unix s.
fn newest_window_s(fleet: &Fleet) -> u64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store =
        rusqlite::Connection::open_with_flags(fleet.store(), flags).expect("the store opens");
    let newest =
        store.query_row("SELECT coalesce(max(window_start_s), 0) FROM record", [], |row| {
            row.get::<_, i64>(0)
        });
    u64::try_from(newest.expect("the schema is that of the format")).expect("after 1970")
}

#[test]
fn a_thousand_probes_a_second_on_one_core_through_an_outage() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 || !harness::has("taskset") {
        harness::skip("a_thousand_probes_a_second_on_one_core", "two cores and taskset");
        return;
    }
    let target = Target::start();
    let mut fleet = Fleet::new(&plan(&target), &[]);
    // The collector must come back where the agent knows it.
    let port = fleet.start_collector().agents;
    let config = std::fs::read_to_string(fleet.collector_config()).expect("reads");
    std::fs::write(
        fleet.collector_config(),
        config.replace("listen: 127.0.0.1:0", &format!("listen: {port}")),
    )
    .expect("writes");
    fleet.add_agent("berlin", "berlin", &port, &target.address.to_string());
    fleet.start_agent_on_core("berlin", 0);
    eventually(Duration::from_secs(40), || (target.count() > 5 * PROBES).then_some(()))
        .expect("probing has begun");

    let steady = Instant::now();
    std::thread::sleep(Duration::from_secs(15));
    let rss_before = fleet.agent("berlin").rss_bytes();
    let (cpu_before, count_before) = (fleet.agent("berlin").cpu(), target.count());
    let (_, good) = fleet.collector.as_mut().expect("runs").terminate(Duration::from_secs(5));
    assert!(good, "the collector stops cleanly");
    let outage = Instant::now();
    let mut rss_most = rss_before;
    while outage.elapsed() < OUTAGE {
        std::thread::sleep(Duration::from_millis(500));
        rss_most = rss_most.max(fleet.agent("berlin").rss_bytes());
    }
    let attempts = target.count() - count_before;
    let cpu = fleet.agent("berlin").cpu() - cpu_before;
    let (peak, mean) = target.peak_and_mean_per_100_ms(steady, Instant::now());
    fleet.start_collector();
    let back = Instant::now();
    let drained = eventually(RECONNECT, || {
        rss_most = rss_most.max(fleet.agent("berlin").rss_bytes());
        std::thread::sleep(Duration::from_millis(200));
        (newest_window_s(&fleet) + 25 > unix_now_ns() / NS_PER_S).then(|| back.elapsed())
    });
    println!("back-off and draining took {drained:?}");
    drained.expect("everything was delivered");
    let (_, good) = fleet.agent("berlin").terminate(Duration::from_secs(5));
    assert!(good, "the agent stops cleanly");
    fleet.collector.as_mut().expect("runs").terminate(Duration::from_secs(5));

    let reports = reports(&records(&fleet.store()));
    let lag = merged(&reports, "start_lag");
    let p99_ns = lag.value_at_rank_ns(lag.count().div_ceil(100) * 99).expect("has samples");
    println!(
        "{attempts} attempts in {OUTAGE:?}: {:.0} us of processor time each; start_lag p99 {:.2} ms; starts per 100 ms: \
         peak {peak}, mean {mean:.1}; RSS {} MiB, most {} MiB",
        cpu.as_secs_f64() * 1e6 / attempts as f64,
        p99_ns as f64 / 1e6,
        rss_before / MIB,
        rss_most / MIB,
    );
    check_counts(&reports, &target);
    assert!(p99_ns <= 10_000_000, "start_lag p99 is {p99_ns} ns");
    assert!(peak as f64 <= 2.0 * mean, "starts per 100 ms: peak {peak}, mean {mean}");
    assert!(rss_most <= rss_before + 8 * MIB, "RSS grew from {rss_before} to {rss_most}");
}

/// Nothing missed before the stop, nothing lost in the outage.
fn check_counts(reports: &[(String, v1::Report)], target: &Target) {
    let cells = cells(reports);
    let windows: std::collections::BTreeSet<u64> =
        cells.keys().map(|(.., start_s)| *start_s).collect();
    let (first, last) = (*windows.first().expect("windows"), *windows.last().expect("windows"));
    let expected: Vec<u64> = (first..=last).step_by(10).collect();
    assert_eq!(windows.iter().copied().collect::<Vec<_>>(), expected, "no window is lost");
    let mut sum = Counts::default();
    for ((_, probe, start_s), cell) in &cells {
        assert_eq!((cell.records, cell.scheduled), (1, 10), "{probe} {start_s}");
        sum.ok += cell.ok;
        sum.failed += cell.failed;
        sum.invalid += cell.invalid;
        // The stop cuts the last window.
        sum.missed += if *start_s == last { 0 } else { cell.missed };
    }
    assert_eq!((sum.failed, sum.missed), (0, 0), "{sum:?}");
    assert!(
        (sum.ok..=sum.ok + sum.invalid).contains(&target.count()),
        "{} asked, {sum:?}",
        target.count()
    );
    assert!(sum.invalid <= PROBES, "only what was in flight at the stop: {sum:?}");
}
