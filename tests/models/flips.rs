//! Every bit of a spool of 64 KiB, flipped one at a time: what is lost, and whether it is said.
//!
//! A flip costs at most the record that it lies in. One in a header costs nothing, one in a record leaves a gap of exactly
//! its number and a file that was set aside. Only in the very last record is it taken for a write that was never finished:
//! that is cut off and its number given again, as `agent/src/spool.rs` says of its recovery; if it had been sent, the
//! collector's chain shows it as a fork.

use crate::disk::MemoryDisk;
use crate::stage::{config, key_of, report};
use probefleet_agent::simulation::{Agent, limits};
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::v1;
use prost::Message as _;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokio::time::Instant;
use uuid::Uuid;

/// Bytes of the spool.
const SPOOL_BYTES: usize = 64 << 10;
/// Bytes of a segment: eight of them, so that there are a first, a last and some between.
const SEGMENT_BYTES: u64 = 8 << 10;
/// Padding of a report: some ten records a segment.
const PADDING: usize = 500;
/// Bytes of a segment's header, and of a record before what its length counts: as `agent/src/spool.rs` has them.
const HEADER_BYTES: usize = 72;
const RECORD_HEAD_BYTES: usize = 8;
const DIR: &str = "/spool";

/// What became of flips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub flips: u64,
    /// In headers: nothing was lost.
    pub headers: u64,
    /// In records: a gap stands for one.
    pub gaps: u64,
    /// In the last record: cut off as a write that was never finished.
    pub torn: u64,
}

/// A spool, and where everything in it lies.
struct Written {
    disk: MemoryDisk,
    records: Vec<Record>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

fn open(disk: MemoryDisk) -> (Agent<MemoryDisk>, probefleet_agent::simulation::Recovered) {
    let config = config(Uuid::from_u128(1), 1);
    let limits = limits(1 << 20, SEGMENT_BYTES);
    let key = key_of(config.agent_id);
    Agent::open(config, disk, Path::new(DIR), (limits, &key))
        .expect("a spool that was damaged opens")
}

fn everything(agent: &mut Agent<MemoryDisk>) -> Vec<Record> {
    let (mut seq, mut all) = (agent.state().oldest_seq.max(1), Vec::new());
    while seq < agent.state().next_seq {
        let records = agent.read_from(seq, 1 << 20).expect("what is held can be read");
        seq = records.last().expect("at least one").seq_to + 1;
        all.extend(records);
    }
    all
}

impl Written {
    fn new() -> Self {
        let disk = MemoryDisk::new(1, Path::new(DIR));
        let (mut agent, _) = open(disk.clone());
        let now = Instant::now();
        let mut window = 1;
        while usize::try_from(agent.state().bytes).expect("small") < SPOOL_BYTES {
            agent.append(&[(Kind::Report, report(window, PADDING))], now).expect("appended");
            window += 1;
        }
        let records = everything(&mut agent);
        let id =
            agent.state().spool_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let dir = Path::new(DIR).join(id);
        drop(agent);
        disk.flush();
        let files = disk.segments(&dir).into_iter().map(|name| {
            let path = dir.join(name);
            let bytes = probefleet_agent::simulation::Disk::read(&disk, &path, u64::MAX);
            (path, bytes.expect("is there"))
        });
        let files = files.collect();
        Self { disk, records, files }
    }

    /// Which record each byte of a file is of; none for its header.
    fn places(&self, file: usize, first: usize) -> Vec<(Range<usize>, usize)> {
        let bytes = &self.files[file].1;
        let (mut at, mut index, mut places) = (HEADER_BYTES, first, Vec::new());
        while at < bytes.len() {
            let length: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
            let end = at + RECORD_HEAD_BYTES + u32::from_le_bytes(length) as usize;
            places.push((at..end, index));
            (at, index) = (end, index + 1);
        }
        places
    }

    /// Flips a bit, opens what is left, and compares.
    fn check(&self, (file, at, bit): (usize, usize, usize), hit: Option<usize>) -> Tally {
        let place = format!("bit {bit} of byte {at} of {}", self.files[file].0.display());
        let disk = self.disk.copy();
        disk.rot(&self.files[file].0, |choices| if choices == 8 { bit } else { at });
        let (mut agent, recovered) = open(disk);
        let found = everything(&mut agent);
        let is_last = hit == Some(self.records.len() - 1);
        let end = if is_last { self.records.len() - 1 } else { self.records.len() };
        assert_eq!(agent.state().next_seq, self.records[end - 1].seq + 1, "{place}: the end");
        let by_seq: BTreeMap<u64, &Record> = found.iter().map(|found| (found.seq, found)).collect();
        assert_eq!(by_seq.len(), end, "{place}: each number once");
        let mut chained = self.records[0].prev_hash;
        for (index, written) in self.records[..end].iter().enumerate() {
            let held = by_seq[&written.seq];
            assert_eq!(held.prev_hash, chained, "{place}: the chain at {}", written.seq);
            chained = held.hash(&agent.state().spool_id).expect("a hash");
            if hit == Some(index) {
                let gap = v1::Gap::decode(held.payload.as_slice()).expect("a gap");
                let said = (held.kind, held.seq_to, gap.reason.as_str());
                assert_eq!(said, (Kind::Gap, written.seq, "spool_damage"), "{place}");
            } else {
                assert_eq!(held, written, "{place}: a neighbour suffers");
            }
        }
        assert_eq!(recovered.torn_bytes > 0, is_last, "{place}: cut off");
        assert_eq!(recovered.quarantined.len(), usize::from(!is_last), "{place}: is set aside");
        Tally {
            flips: 1,
            headers: hit.is_none().into(),
            gaps: (hit.is_some() && !is_last).into(),
            torn: is_last.into(),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.flips += other.flips;
        self.headers += other.headers;
        self.gaps += other.gaps;
        self.torn += other.torn;
    }
}

/// Flips one bit of each `every`, another of the eight from byte to byte.
pub fn run(every: usize) -> Tally {
    let written = Written::new();
    let (mut tally, mut first, mut number) = (Tally::default(), 0, 0);
    for file in 0..written.files.len() {
        let places = written.places(file, first);
        for at in 0..written.files[file].1.len() {
            let hit = places.iter().find(|(bytes, _)| bytes.contains(&at)).map(|(_, index)| *index);
            for bit in 0..8 {
                // A step that divides eight would meet the same bits for ever.
                if number % every == (number / 8 / every) % every {
                    tally.add(written.check((file, at, bit), hit));
                }
                number += 1;
            }
        }
        first += places.len();
    }
    tally
}

/// Of sixteen bits one: seconds. `--bin simulate -- --flips` flips them all.
#[cfg(test)]
#[test]
fn a_flipped_bit_costs_one_record_at_most_and_is_said() {
    let began = std::time::Instant::now();
    let every = if cfg!(debug_assertions) { 256 } else { 16 };
    let tally = run(every);
    println!("{tally:?} in {:.1} s", began.elapsed().as_secs_f64());
    assert!(tally.flips >= (8 * SPOOL_BYTES / every) as u64, "{tally:?}");
    assert!(tally.headers > 0 && tally.gaps > 0 && tally.torn > 0, "{tally:?}");
}
