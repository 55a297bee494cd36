//! Every operation of the disk fails, one after the other: the first write, the second, … each sync, rename and unlink.
//!
//! A script appends, is full, lets go, is closed and opened again. It is run with the N-th operation failing, for every N
//! that it has, once and several times in a row, and then the power is cut; what was called durable is there, or a gap
//! stands for it, and the spool takes new records.

use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{config, key_of, report};
use probefleet_agent::simulation::{Agent, limits};
use probefleet_proto::record::{Hash, Kind, Record};
use std::collections::BTreeMap;
use std::path::Path;
use tokio::time::Instant;
use uuid::Uuid;

const DIR: &str = "/spool";
/// A spool of twelve segments of three records: the script fills it.
const SEGMENT_BYTES: u64 = 1 << 10;
const TOTAL_BYTES: u64 = 12 * SEGMENT_BYTES;
/// Windows of the script.
const WINDOWS: u64 = 60;
/// After so many of them the collector has acknowledged the first eight.
const RELEASED_AFTER: u64 = 20;
const RELEASED: u64 = 8;
/// After so many the process is killed and started again.
const RESTARTED_AFTER: u64 = 40;
/// How often whatever failed is tried again: the agent does so every second, for ever.
const TRIES: u32 = 12;
/// Failures in a row: one, the new segment's too, and a disk that is gone for a while.
const FAILURES: [u32; 4] = [1, 2, 3, 9];

/// What was promised: by number, the hash.
type Promised = BTreeMap<u64, Hash>;

fn open(disk: &MemoryDisk) -> Agent<MemoryDisk> {
    let config = config(Uuid::from_u128(1), 1);
    let (limits, key) = (limits(TOTAL_BYTES, SEGMENT_BYTES), key_of(config.agent_id));
    for _ in 0..TRIES {
        let opened = Agent::open(config.clone(), disk.clone(), Path::new(DIR), (limits, &key));
        if let Ok((agent, _)) = opened {
            return agent;
        }
    }
    panic!("the spool cannot be opened any more")
}

/// Appends a window until it is on disk.
fn append(agent: &mut Agent<MemoryDisk>, window: u64, promised: &mut Promised) {
    let records = [(Kind::Report, report(window, 200))];
    for _ in 0..TRIES {
        let Ok(sealed) = agent.append(&records, Instant::now()) else { continue };
        for (seq, hash) in sealed {
            assert_eq!(promised.insert(seq, hash), None, "{seq} is given twice");
        }
        return;
    }
    panic!("window {window} is never taken")
}

/// What happens; returns what was promised.
fn script(disk: &MemoryDisk) -> Promised {
    let mut promised = Promised::new();
    let mut agent = open(disk);
    for window in 1..=WINDOWS {
        append(&mut agent, window, &mut promised);
        if window == RELEASED_AFTER {
            // What could not be let go of goes with the next acknowledgement.
            drop(agent.release(RELEASED));
        }
        if window == RESTARTED_AFTER {
            agent = open(disk);
        }
    }
    promised
}

/// What is there now, and whether it is all that was promised.
fn check(disk: &MemoryDisk, promised: &mut Promised, place: &str) {
    let mut agent = open(disk);
    let id = agent.state().spool_id;
    let (mut seq, mut found) = (agent.state().oldest_seq.max(1), Vec::<Record>::new());
    assert!(seq <= RELEASED + 1, "{place}: nothing is gone that was not acknowledged");
    while seq < agent.state().next_seq {
        let records =
            agent.read_from(seq, 1 << 20).unwrap_or_else(|error| panic!("{place}: {error}"));
        seq = records.last().expect("at least one").seq_to + 1;
        found.extend(records);
    }
    for pair in found.windows(2) {
        assert_eq!(pair[0].seq_to + 1, pair[1].seq, "{place}: without a hole");
        assert_eq!(pair[0].hash(&id).ok(), Some(pair[1].prev_hash), "{place}: chained");
    }
    let oldest = found.first().map_or(1, |first| first.seq);
    for (seq, hash) in promised.range(oldest..) {
        let held = found.iter().find(|held| (held.seq..=held.seq_to).contains(seq));
        let held = held.unwrap_or_else(|| panic!("{place}: {seq} was promised and is gone"));
        let is_it = held.kind == Kind::Gap || held.hash(&id).ok() == Some(*hash);
        assert!(is_it, "{place}: {seq} is another record");
    }
    append(&mut agent, WINDOWS + 1, promised);
}

#[test]
fn whichever_operation_fails_nothing_that_was_promised_is_lost() {
    let began = std::time::Instant::now();
    let mut runs = 0;
    // Unoptimised, each run takes ten times as long.
    let rows = if cfg!(debug_assertions) { &FAILURES[..1] } else { &FAILURES };
    for failures in rows.iter().copied() {
        for fails_in in 0.. {
            let place = format!("operation {fails_in} and {failures} in all");
            let disk = MemoryDisk::new(1, Path::new(DIR));
            let fails_in = Some(fails_in);
            disk.set_trouble(Trouble { fails_in, failures, ..Trouble::default() });
            let promised = script(&disk);
            let happened = disk.happened();
            disk.set_trouble(Trouble::default());
            for (cut, keeps) in [("nothing more", 0), ("half", 2), ("everything", 1)] {
                let (disk, mut promised) = (disk.copy(), promised.clone());
                disk.power_cut(|pending| pending.checked_div(keeps).unwrap_or(0));
                check(&disk, &mut promised, &format!("{place}, the cut left {cut}"));
            }
            check(&disk, &mut promised.clone(), &place);
            runs += 1;
            if happened.failed < u64::from(failures) {
                break; // the script was over before
            }
        }
    }
    println!("{runs} runs in {:.1} s", began.elapsed().as_secs_f64());
    assert!(runs > 50 * rows.len(), "every operation of the script, not {runs}");
}

#[test]
fn a_disk_that_can_be_written_and_not_read_takes_each_record_once() {
    let disk = MemoryDisk::new(1, Path::new(DIR));
    let (mut agent, mut promised) = (open(&disk), Promised::new());
    append(&mut agent, 1, &mut promised);
    agent.release(1).expect("everything is acknowledged");
    disk.set_trouble(Trouble { is_unreadable: true, ..Trouble::default() });
    for window in 2..=4 {
        let records = [(Kind::Report, report(window, 200))];
        let taken = agent.append(&records, Instant::now());
        assert!(taken.is_ok(), "what is on disk is not refused, or it comes again: {taken:?}");
    }
    disk.set_trouble(Trouble::default());
    assert_eq!(agent.state().next_seq, 5, "each is there once");
    for seq in 2..=4 {
        let read = agent.read_from(seq, 1 << 20).expect("readable again");
        assert_eq!(read[0].seq, seq);
    }
}
