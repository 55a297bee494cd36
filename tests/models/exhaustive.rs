//! Everything that can happen within small bounds: a breadth-first search over all orders of deliveries, losses, crashes,
//! copies and restores, stepping the real spool, uplink session and ingest session.
//!
//! A state is what both sides know, what their disks hold, and what is under way between them. From each state that is
//! reached the faults stop, everything is delivered, and the oracles of [`World::verdict`] look at the store. States with
//! equal futures are visited once (by a hash of 64 bits), so the search ends by itself. A counterexample is one of the
//! shortest.

mod impostor;
mod world;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;
use world::World;
pub use world::{Bounds, Minus};

/// States after which a search is too large to be exhaustive.
const STATES_MAX: usize = 2_000_000;

/// Two windows and two connections; faults are added to that.
pub const SMALL: Bounds = Bounds {
    windows: 2,
    connects: 2,
    crashes: 0,
    clones: 0,
    restores: 0,
    restarts: 0,
    doubts: 0,
    duplicates: 0,
    is_tight: false,
    impostor: false,
};

/// Worlds in which nothing may ever break.
pub const SOUND: [(&str, Bounds); 7] = [
    ("crash, duplicate", Bounds { crashes: 1, duplicates: 1, ..SMALL }),
    ("full spool, crash", Bounds { windows: 4, connects: 1, crashes: 1, is_tight: true, ..SMALL }),
    ("clone", Bounds { clones: 1, ..SMALL }),
    ("impostor, crash", Bounds { impostor: true, crashes: 1, ..SMALL }),
    ("restore", Bounds { restores: 1, connects: 3, ..SMALL }),
    ("full spool, restore", Bounds { windows: 4, restores: 1, is_tight: true, ..SMALL }),
    ("doubt, restart, duplicate", Bounds { doubts: 1, restarts: 1, duplicates: 1, ..SMALL }),
];

/// Mechanisms, and a world that breaks without each.
pub const NEEDED: [(Minus, Bounds); 8] = [
    (Minus::PersistBeforeSend, Bounds { crashes: 1, ..SMALL }),
    (Minus::HashChain, Bounds { clones: 1, ..SMALL }),
    (Minus::Signatures, Bounds { impostor: true, ..SMALL }),
    (Minus::HighWater, SMALL),
    (Minus::Contiguity, SMALL),
    (Minus::Gaps, Bounds { windows: 4, is_tight: true, ..SMALL }),
    (Minus::Retention, Bounds { restores: 1, ..SMALL }),
    (Minus::Pinning, Bounds { windows: 5, is_tight: true, ..SMALL }),
];

/// The fence is not needed for the accounts: chain and compare-and-set keep them. It tells people that an agent runs twice.
pub const SPARE: (Minus, Bounds) = (Minus::Fence, Bounds { crashes: 1, duplicates: 1, ..SMALL });

/// What a search came to.
#[derive(Debug)]
enum Search {
    /// Nothing is wrong with any of so many states.
    Sound(usize),
    /// What is wrong, and the shortest way there.
    Broken { why: String, path: Vec<String>, states: usize },
}

/// Searches, and prints what it came to. Whether it is what was expected.
pub fn check(name: &str, bounds: Bounds, minus: Option<Minus>, is_sound: bool) -> bool {
    let began = Instant::now();
    let found = search(bounds, minus);
    let took_s = began.elapsed().as_secs_f64();
    match found {
        Search::Sound(states) => {
            println!("{name}: sound, {states} states in {took_s:.1} s");
            is_sound
        }
        Search::Broken { why, path, states } => {
            println!(
                "{name}: {why}; {states} states in {took_s:.1} s\n    {}",
                path.join("\n    ")
            );
            !is_sound
        }
    }
}

/// Searches all states within the bounds.
fn search(bounds: Bounds, minus: Option<Minus>) -> Search {
    let start = World::new(bounds, minus);
    let mut seen: HashMap<u64, Option<(u64, String)>> = HashMap::from([(start.digest(), None)]);
    let mut queue = VecDeque::from([start]);
    let mut states = 0;
    while let Some(world) = queue.pop_front() {
        states += 1;
        assert!(states <= STATES_MAX, "more than {STATES_MAX} states: the bounds are too wide");
        let here = world.digest();
        if let Some(why) = world.verdict() {
            return Search::Broken { why, path: path(&seen, here), states };
        }
        for (label, next) in world.steps() {
            let digest = next.digest();
            if let Entry::Vacant(entry) = seen.entry(digest) {
                entry.insert(Some((here, label)));
                queue.push_back(next);
            }
        }
    }
    Search::Sound(states)
}

fn path(seen: &HashMap<u64, Option<(u64, String)>>, mut at: u64) -> Vec<String> {
    let mut path = Vec::new();
    while let Some(Some((before, label))) = seen.get(&at) {
        path.push(label.clone());
        at = *before;
    }
    path.reverse();
    path
}
