//! A record that the collector never accepts is set aside, and the disk fails or the power goes at each operation of that.

use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{config, key_of, report};
use probefleet_agent::simulation::{Agent, Refused, limits};
use probefleet_proto::record::{Kind, Record};
use std::path::Path;
use tokio::time::Instant;
use uuid::Uuid;

const DIR: &str = "/spool";
const SEGMENT_BYTES: u64 = 1 << 10;
const WINDOWS: u64 = 7;
/// How often it is tried again: each session does so once.
const TRIES: u32 = 4;

fn open(disk: &MemoryDisk) -> Agent<MemoryDisk> {
    let config = config(Uuid::from_u128(1), 1);
    let (limits, key) = (limits(16 * SEGMENT_BYTES, SEGMENT_BYTES), key_of(config.agent_id));
    let opened = Agent::open(config, disk.clone(), Path::new(DIR), (limits, &key));
    opened.expect("a disk without trouble").0
}

fn everything(agent: &mut Agent<MemoryDisk>) -> Vec<Record> {
    let (mut seq, mut found) = (1, Vec::new());
    while seq < agent.state().next_seq {
        let records = agent.read_from(seq, 1 << 20).expect("readable");
        seq = records.last().expect("at least one").seq_to + 1;
        found.extend(records);
    }
    found
}

/// A spool of a few windows on a disk that was written through.
fn spool() -> (MemoryDisk, Vec<Record>) {
    let disk = MemoryDisk::new(1, Path::new(DIR));
    let mut agent = open(&disk);
    for window in 1..=WINDOWS {
        let records = [(Kind::Report, report(window, 200))];
        agent.append(&records, Instant::now()).expect("a disk without trouble");
    }
    let records = everything(&mut agent);
    (disk, records)
}

/// The record is there, or its gap is and its bytes are kept; nothing else has changed. True: the gap is.
fn check(disk: &MemoryDisk, before: &[Record], seq: u64, place: &str) -> bool {
    let mut agent = open(disk);
    let id = agent.state().spool_id;
    let after = everything(&mut agent);
    assert_eq!(after.len(), before.len(), "{place}");
    let mut is_gap = false;
    for (record, was) in after.iter().zip(before) {
        assert_eq!(record.hash(&id).ok(), was.hash(&id).ok(), "{place}: record {}", was.seq);
        if record != was {
            assert_eq!((record.seq, record.kind), (seq, Kind::Gap), "{place}");
            is_gap = true;
        }
    }
    let dir = Path::new(DIR).join(probefleet_proto::hex::hex(&id));
    let file = dir.join(format!("{seq:010}.refused.quarantine"));
    let kept = probefleet_agent::simulation::Disk::read(disk, &file, 1 << 20).unwrap_or_default();
    let payload = &before[usize::try_from(seq).expect("small") - 1].payload;
    let is_kept = kept.windows(payload.len()).any(|bytes| bytes == payload);
    assert!(!is_gap || is_kept, "{place}: a gap stands for a record that nobody has");
    // And it goes on.
    let records = [(Kind::Report, report(WINDOWS + 1, 200))];
    agent.append(&records, Instant::now()).unwrap_or_else(|error| panic!("{place}: {error}"));
    is_gap
}

#[test]
fn whichever_operation_fails_the_record_is_there_or_is_kept_behind_a_gap() {
    // In the first segment, and in the last, which is open for appending.
    for seq in [2, WINDOWS] {
        let mut runs = 0;
        for fails_in in 0.. {
            let place = format!("record {seq}, operation {fails_in}");
            let (disk, before) = spool();
            let mut agent = open(&disk);
            disk.set_trouble(Trouble {
                fails_in: Some(fails_in),
                failures: 1,
                ..Trouble::default()
            });
            let refused = agent.refuse(seq);
            let failed = disk.happened().failed > 0;
            disk.set_trouble(Trouble::default());
            for (cut, keeps) in [("nothing more", 0), ("half", 2), ("everything", 1)] {
                let copy = disk.copy();
                copy.power_cut(|pending| pending.checked_div(keeps).unwrap_or(0));
                let is_gap = check(&copy, &before, seq, &format!("{place}, the cut left {cut}"));
                assert!(is_gap || failed || refused.is_err(), "{place}: it was durable");
            }
            let done =
                (0..TRIES).any(|_| !matches!(agent.refuse(seq), Err(_) | Ok(Refused::TooMany)));
            assert!(done, "{place}: it succeeds once the disk works");
            assert!(check(&disk, &before, seq, &place), "{place}");
            runs += 1;
            if !failed {
                break;
            }
        }
        assert!(runs > 8, "every operation, not {runs}");
    }
}
