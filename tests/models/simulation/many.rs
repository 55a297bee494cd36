//! Many seeds, on all cores: a seed has nothing to do with another.

use super::{Fired, run};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often somebody who waits hears how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What became of them.
#[derive(Debug, Default)]
pub struct Tally {
    pub fired: Fired,
    /// The seeds that failed, and why.
    pub failed: Vec<(u64, String)>,
    pub agents: usize,
    pub windows: u64,
    pub events: u64,
    pub simulated_s: u64,
    done: u64,
}

/// Runs seeds; each twice if wanted, because it must have one trace only. How far it is goes to standard error.
pub fn many(seeds: Range<u64>, twice: bool) -> Tally {
    let (next, tally) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    let (count, told) = (seeds.end - seeds.start, Mutex::new(Instant::now()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let first = run(seed, false);
                    let other = twice.then(|| run(seed, false).trace);
                    let mut tally = tally.lock().expect("no panic");
                    if other.is_some_and(|trace| trace != first.trace) {
                        tally.failed.push((seed, "it has two traces".to_owned()));
                    }
                    tally.failed.extend(first.failure.map(|why| (seed, why)));
                    tally.fired.merge(&first.fired);
                    tally.agents += first.agents;
                    tally.windows += first.windows;
                    tally.events += first.events;
                    tally.simulated_s += first.simulated_s;
                    tally.done += 1;
                    tell(&tally, count, &told);
                }
            });
        }
    });
    let mut tally = tally.into_inner().expect("no panic");
    tally.failed.sort();
    tally
}

fn tell(tally: &Tally, count: u64, told: &Mutex<Instant>) {
    let mut told = told.lock().expect("no panic");
    if told.elapsed() >= TOLD_EVERY {
        *told = Instant::now();
        eprintln!("{} of {count} seeds, {} failed", tally.done, tally.failed.len());
    }
}
