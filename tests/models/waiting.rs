//! A disk that takes nothing for hours: what waits in memory for it is bounded, and what had no room stands in a gap.

use crate::disk::{MemoryDisk, Trouble};
use crate::stage::evidence_key;
use probefleet_agent::runner::{
    Desk, Recovery, Seal, SealedBefore, WAITING_MAX_BYTES, Waiting, run_sealer,
};
use probefleet_agent::simulation::{limits, open_spool};
use probefleet_agent::window::{Own, Sealed};
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::report::{Cell, Report, Series};
use probefleet_proto::v1;
use prost::Message as _;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

const DIR: &str = "/spool";
const MIB: u64 = 1 << 20;
const WINDOW_S: u64 = 10;
/// Probes of the plan; with [`SAMPLES`] each, a window takes a few records.
const PROBES: usize = 50;
const SAMPLES: u64 = 1_200;
/// Windows while the disk is full: several times what may wait.
const FULL: u64 = 300;

fn window(number: u64) -> Seal {
    let cell = |probe: usize| {
        let mut series = Series::new("total", &[]);
        (0..SAMPLES).for_each(|sample| series.record(sample * 9_999_991 + number));
        let count = u32::try_from(SAMPLES).expect("small");
        Cell {
            probe: format!("probe-{probe:02}"),
            spec: [1; 16],
            interval_s: 1,
            scheduled: count,
            ok: count,
            others: Vec::new(),
            series: vec![series],
            counters: Vec::new(),
            values: Vec::new(),
        }
    };
    Seal::Window(Sealed {
        window_start_s: number * WINDOW_S,
        window_s: u32::try_from(WINDOW_S).expect("small"),
        plan_hash: Vec::new(),
        cells: (0..PROBES).map(cell).collect(),
        stragglers_follow: false,
        own: Own::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_full_disk_is_bounded_and_what_gave_way_is_counted() {
    let disk = MemoryDisk::new(1, Path::new(DIR));
    let limits = limits(64 * MIB, MIB);
    let opened = open_spool(disk.clone(), Path::new(DIR), limits, evidence_key(1));
    let (spool, serving) = opened.expect("a disk without trouble");
    let (seals, inbox) = mpsc::channel(64);
    let (kept, kept_view) = watch::channel(0);
    let (waiting, waiting_view) = watch::channel(Waiting::default());
    let (_offset, offset) = watch::channel(None);
    let desk = Desk { seals: inbox, kept, waiting, offset, spool_max_bytes: 64 * MIB };
    let recovery = Recovery::new(Vec::new(), SealedBefore::default(), 0);
    let handle = spool.clone();
    let scene = async move {
        for number in 1..=3 {
            seals.send(window(number)).await.expect("runs");
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!((*kept_view.borrow(), *waiting_view.borrow()), (3, Waiting::default()));

        disk.set_trouble(Trouble { is_full: true, ..Trouble::default() });
        let mut most = 0;
        for number in 4..4 + FULL {
            seals.send(window(number)).await.expect("runs");
            sleep(Duration::from_secs(WINDOW_S)).await;
            most = most.max(waiting_view.borrow().bytes);
        }
        assert!(most > WAITING_MAX_BYTES / 2 && most <= WAITING_MAX_BYTES, "{most}");
        let lost = waiting_view.borrow().lost_reports;
        assert!(lost > FULL / 2, "{lost}");
        assert_eq!(*kept_view.borrow(), 3, "nothing is said to be durable");
        assert!(handle.health().borrow().append.is_some());

        disk.set_trouble(Trouble::default());
        seals.send(window(4 + FULL)).await.expect("runs");
        drop(seals);
        let mut kept_view = kept_view;
        kept_view.wait_for(|kept| *kept == 4 + FULL).await.expect("all is kept");
        assert_eq!(*waiting_view.borrow(), Waiting::default());
        let mut records: Vec<Record> = Vec::new();
        let next_seq = handle.state().borrow().next_seq;
        while records.len() + 1 < usize::try_from(next_seq).expect("small") {
            let seq = records.last().map_or(1, |last| last.seq_to + 1);
            records.extend(handle.read_from(seq, 1 << 20).await.expect("readable"));
        }
        handle.close().await.expect("closes");
        records
    };
    let (all_kept, (), records) =
        tokio::join!(run_sealer(spool.clone(), recovery, desk), serving, scene);
    assert!(all_kept);
    check(&records, &spool.state().borrow().spool_id);
}

/// Dense and chained; every attempt is in a report or in the gap, and none in both.
fn check(records: &[Record], id: &[u8; 16]) {
    for pair in records.windows(2) {
        assert_eq!(pair[0].seq + 1, pair[1].seq);
        assert_eq!(pair[0].hash(id).ok(), Some(pair[1].prev_hash));
    }
    let mut scheduled: BTreeMap<String, u64> = BTreeMap::new();
    let (mut gaps, mut starts_s) = (Vec::new(), Vec::new());
    for record in records {
        if record.kind == Kind::Gap {
            gaps.push(v1::Gap::decode(record.payload.as_slice()).expect("a gap"));
            continue;
        }
        let report = Report::decode(&record.payload).expect("a report");
        starts_s.push(report.head.window_start_s);
        for cell in report.cells {
            *scheduled.entry(cell.probe).or_default() += u64::from(cell.scheduled);
        }
    }
    assert!(starts_s.is_sorted() && starts_s.last() == Some(&((4 + FULL) * WINDOW_S)));
    let [gap] = gaps.as_slice() else { panic!("{} gaps", gaps.len()) };
    assert_eq!(gap.reason, "spool_unwritable");
    // The first record of the fourth was under way when the disk was full.
    assert!((4 * WINDOW_S..=5 * WINDOW_S).contains(&gap.from_s), "{gap:?}");
    for probe in &gap.probes {
        *scheduled.entry(probe.probe.clone()).or_default() += probe.scheduled;
    }
    assert_eq!(scheduled.len(), PROBES);
    assert!(scheduled.values().all(|sum| *sum == (4 + FULL) * SAMPLES), "{scheduled:?}");
}
