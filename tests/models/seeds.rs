//! Many seeds of the simulation, each twice; and by name those that once failed.

use crate::outer;
use crate::simulation::{many, run};
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
    let tally = many(0..seeds, true);
    let took_s = began.elapsed().as_secs_f64();
    println!(
        "{}{seeds} seeds twice: {} agents, {} windows, {} events, {} s simulated in {took_s:.1} s",
        tally.fired, tally.agents, tally.windows, tally.events, tally.simulated_s
    );
    let failed: Vec<_> =
        tally.failed.iter().map(|(seed, why)| format!("seed {seed}: {why}")).collect();
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds fail:\n  {}",
        failed.len(),
        failed.join("\n  ")
    );
    assert!(tally.fired.missing().is_empty(), "never happened: {:?}", tally.fired.missing());
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
    holds(15_740); // for another reason than at the first
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
