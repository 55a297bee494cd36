//! Many seeds of the simulation, each twice; and by name those that once failed.

use crate::outer;
use crate::simulation::{Fired, run};
use std::time::Instant;

/// Seeds of a run of all tests; `--bin simulate` runs more. Unoptimised, each takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 2_000 };
/// Likewise with `--soak`.
const SOAK: u64 = 100_000;

/// Seeds of the outer simulation, and with `--soak`.
const OUTER_SOAK: u64 = 2_000;
const OUTER: u64 = if cfg!(debug_assertions) { 2 } else { 20 };

#[test]
fn every_seed_ends_with_everything_accounted_for_and_twice_in_the_same_way() {
    let began = Instant::now();
    let soak = std::env::var_os("PROBEFLEET_SOAK").is_some();
    let seeds = if soak { SOAK } else { SEEDS };
    let (mut fired, mut failed, mut windows, mut simulated_s) =
        (Fired::default(), Vec::new(), 0, 0);
    let (mut agents, mut events) = (0, 0);
    for seed in 0..seeds {
        let (first, second) = (run(seed, false), run(seed, false));
        assert_eq!(first.trace, second.trace, "seed {seed} has two traces");
        failed.extend(first.failure.map(|why| format!("seed {seed}: {why}")));
        fired.merge(&first.fired);
        agents += first.agents;
        events += first.events;
        windows += first.windows;
        simulated_s += first.simulated_s;
    }
    let took_s = began.elapsed().as_secs_f64();
    println!(
        "{fired}{seeds} seeds twice: {agents} agents, {windows} windows, {events} events, {simulated_s} s simulated in {took_s:.1} s"
    );
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds fail:\n  {}",
        failed.len(),
        failed.join("\n  ")
    );
    assert!(fired.missing().is_empty(), "never happened: {:?}", fired.missing());
}

/// A seed that once failed.
fn holds(seed: u64) {
    let failure = run(seed, false).failure;
    assert!(failure.is_none(), "seed {seed}: {failure:?}");
}

#[test]
fn a_segment_that_a_failed_write_left_behind_does_not_stop_the_spool() {
    holds(479);
    holds(106);
}

#[test]
fn a_spool_that_could_not_be_left_is_left_at_the_next_try() {
    holds(1_647);
}

#[test]
fn the_real_transport_loses_nothing_either() {
    let (mut windows, mut fired) = (0, std::collections::BTreeMap::new());
    let soak = std::env::var_os("PROBEFLEET_SOAK").is_some();
    let seeds = if soak { OUTER_SOAK } else { OUTER };
    for seed in 0..seeds {
        let (first, second) = (outer::run(seed), outer::run(seed));
        assert_eq!(first, second, "seed {seed} comes to two stores");
        let run = first.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        windows += run.windows;
        run.fired.into_iter().for_each(|fault| *fired.entry(fault).or_insert(0) += 1);
    }
    println!("{seeds} seeds twice with the real transport: {windows} windows, {fired:?}");
    assert_eq!(fired.len(), outer::Fault::ALL.len(), "one never happened: {fired:?}");
}
