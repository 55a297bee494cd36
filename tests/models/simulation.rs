//! A fleet and its collector by seed: virtual clock, own network, disks in memory, one thread.
//!
//! Real are the spool with its files and recovery, the uplink session, the back-off and what follows the end of a session, and
//! the ingest session with all it does to a store. Not real: sockets and gRPC ([`crate::outer`] and `tests/e2e` have those), the spool's thread, the
//! probes (a window is sealed each minute), SQLite (`super::store`, which `super::tests` compares with it).
//!
//! A seed draws the size of the fleet, which faults there are and how often, and then each of them. After the faults come
//! quiet minutes in which everything must be delivered; then the oracles look at the store.
//!
//! # What counts as failure
//! * A window that the spool called durable is neither in the store, nor in a gap there, nor in a spool that was left for
//!   another, which the store has the event of.
//! * A window is in the store twice.
//! * A gap of a full spool counts other attempts than those of the windows that it stands for.
//! * A fork is reported where nothing was copied.
//! * After the quiet an agent holds something that is not acknowledged, or takes no new window: nobody may be stuck.
//! * The evaluator says another thing of the store than of the windows that were measured, less those that are said to be lost.
//! * A spool is larger than its budget and one segment.
//! * A panic, or more events than a fleet of that size can cause: somebody runs in circles.
//! * The same seed has two traces.
//!
//! # What does not
//! * A window of which the collector never accepts the report: a gap of its own stands for it. It counts as lost, and what
//!   comes behind it does not.
//! * Windows that were in memory when the process died: they were never called durable, and the next process accounts for
//!   them as `agent_down`.
//! * Windows behind a fork that was reported: they are kept on disk, for people.
//! * A gap after bit rot, after a restore of the collector from a backup that is older than what the spool retains, or from
//!   a full spool: it is loss that is said.
//! * Windows of a spool that was left, where a gap stands for the first record of its successor, which said so: the collector
//!   lost it in a restore, and the spool had let it go.
//! * Duplicates and lost messages on the wire.
//! * A fork after bit rot: where what was sent and not acknowledged can no longer be read, an agent cannot show that its
//!   history is the collector's.
//! * Windows of a spool that was set aside at a start, because so many of its bits had rotted that its chain cannot be known
//!   (rule 6 of the spool): they are kept on disk for people, and the process says so when it starts.
//! * A window of a copied disk whose number a record of the other copy has in the store, if the collector was restored from a
//!   backup as well: the agent no longer holds what the two could be compared by, and goes on behind a gap.
//! * A window twice, if the disk was copied while it held a record that the spool had said it could not write.
//! * How long things take while there are faults.
//!
//! # Known sources of nondeterminism
//! * `Instant::now` is read once for a run, as the origin of its time; only differences are ever used.
//! * `HashMap` in `Hello.proposed_labels`: there are no labels here. No other map with random order is in the cores' way
//!   (`Disk::list` gives names in order; the spool does not rely on that).
//! * Randomness is drawn from one generator in the order of events, and from each agent's back-off, which is seeded.
//! * Threads, the machine's clock, its disk and network, memory addresses: none is used.
//!
//! # Not covered
//! Certificates (signatures are made and checked; who has none is in [`crate::exhaustive`]), `Status` and plans: none of
//! them decides what is delivered. Several collectors at once: a
//! conversation shares nothing with others but the store, so that an agent whose broken connection the collector has not
//! noticed (`Reset`) has two at once, as it would with two collectors; what a store does with that, its conformance suite shows.

mod faults;
mod many;
mod network;
mod oracle;
mod verdict;
mod world;

pub use faults::{Fault, Fired};
pub use many::many;

use std::hash::{DefaultHasher, Hash, Hasher};

/// What became of a seed.
#[derive(Debug)]
pub struct Run {
    /// What failed.
    pub failure: Option<String>,
    /// Hash of the trace.
    pub trace: u64,
    /// Events that happened.
    pub events: u64,
    /// Agents there were.
    pub agents: usize,
    /// Windows that were called durable.
    pub windows: u64,
    /// Seconds of simulated time.
    pub simulated_s: u64,
    pub fired: Fired,
}

/// What happened, in order: hashed, and printed for whoever looks at one seed.
#[derive(Debug, Default)]
pub struct Trace {
    hasher: DefaultHasher,
    events: u64,
    is_printed: bool,
}

impl Trace {
    fn note(&mut self, at_ms: u64, what: std::fmt::Arguments<'_>) {
        let line = format!("{:>9}.{:03} {what}", at_ms / 1_000, at_ms % 1_000);
        line.hash(&mut self.hasher);
        self.events += 1;
        if self.is_printed {
            println!("{line}");
        }
    }
}

/// Runs a seed, and prints its trace if wanted.
pub fn run(seed: u64, is_printed: bool) -> Run {
    let trace = Trace { is_printed, ..Trace::default() };
    let mut world = world::World::new(seed, trace);
    let failure = world.live().err();
    Run {
        failure,
        trace: world.trace.hasher.finish(),
        events: world.trace.events,
        agents: world.nodes.len(),
        windows: world.promised(),
        simulated_s: world.now_ms / 1_000,
        fired: world.fired.clone(),
    }
}
