//! Payloads as they were sealed once: whoever holds evidence must be able to read it for as long as it matters, and its
//! hashes are over these very bytes.

use super::{Cell, Head, OtherKind, Report, Series, encode};
use crate::v1;
use std::path::PathBuf;

fn head() -> Head {
    Head {
        window_start_s: 1_800_000_000,
        window_s: 60,
        plan_hash: vec![7; 32],
        health: v1::Health {
            clock_offset_ns: -1_500,
            clock_error_ns: 2_000_000,
            start_lag_max_ns: 90_000,
            spool_bytes: 4_096,
            ..v1::Health::default()
        },
        stragglers_follow: true,
    }
}

fn series(phase: &str, samples_ns: &[u64], thresholds_ns: &[u64]) -> Series {
    let mut series = Series::new(phase.to_owned(), thresholds_ns);
    samples_ns.iter().for_each(|ns| series.record(*ns));
    series
}

/// A cell without calls, with everything else that a cell can have.
fn plain() -> Vec<Cell> {
    let mut login = Cell {
        probe: "login".to_owned(),
        spec: [0xab; 16],
        interval_s: 10,
        scheduled: 6,
        ok: 3,
        others: Vec::new(),
        series: vec![
            series("start_lag", &[1, 2, 3, 4, 5], &[]),
            series(
                "total",
                &[30_000_000, 30_000_001, 7_200_000_000_000],
                &[30_000_000, 45_000_000],
            ),
        ],
        counters: Vec::new(),
        values: Vec::new(),
    };
    login.add_other(OtherKind::Failed, "status", "503", 1);
    login.add_other(OtherKind::Invalid, "local_network", "enetunreach", 1);
    login.add_other(OtherKind::Missed, "overrun", "", 1);
    vec![login]
}

/// The same with a cell of calls, which has counters and values.
fn with_extras() -> Vec<Cell> {
    let mut call = Cell {
        probe: "voice-call".to_owned(),
        spec: [0xcd; 16],
        interval_s: 20,
        scheduled: 3,
        ok: 2,
        others: Vec::new(),
        series: vec![series("jitter", &[210_000, 350_000], &[])],
        counters: Vec::new(),
        values: Vec::new(),
    };
    call.add_other(OtherKind::Failed, "status", "sip:503", 1);
    for (name, count) in [("call_attempts", 3), ("established", 2), ("retransmissions", 7)] {
        call.add_counter(name, count);
    }
    for (loss_ppm, mos_centi) in [(1_000, 438), (25_000, 399)] {
        call.record_value("loss_ppm", loss_ppm, &[10_000]);
        call.record_value("mos_centi", mos_centi, &[349, 399]);
    }
    [plain(), vec![call]].concat()
}

/// Compares with a file that is kept; `KEEP=1` writes one that is not there yet, and never another.
fn assert_kept(name: &str, cells: &[Cell]) {
    assert_kept_of(name, &head(), cells);
}

fn assert_kept_of(name: &str, head: &Head, cells: &[Cell]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/report/golden").join(name);
    let payloads = encode(head, cells);
    if std::env::var_os("KEEP").is_some() && !path.exists() {
        std::fs::write(&path, &payloads[0]).expect("writes");
    }
    let kept = std::fs::read(&path).expect("is kept");
    let report = Report::decode(&kept).expect("is still read");
    assert_eq!((report.head, report.cells.as_slice()), (head.clone(), cells), "{name}");
    assert_eq!(payloads, [kept], "{name}: the same content has the same bytes");
}

#[test]
fn a_report_of_the_first_version_is_read() {
    assert_kept("report-1.bin", &plain());
}

#[test]
fn a_report_of_an_agent_that_does_not_trust_itself_is_read() {
    let health = v1::Health {
        flags: 7,
        spool_max_bytes: 1 << 30,
        datagrams_dropped: 12,
        sockets_refused: 3,
        stall_max_ns: 5_000_000_000,
        ..head().health
    };
    assert_kept_of("report-1-health-1.bin", &Head { health, ..head() }, &plain());
}

#[test]
fn a_report_with_counters_and_values_is_read() {
    assert_kept("report-1-extras-1.bin", &with_extras());
}
