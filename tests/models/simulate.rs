//! `simulate`: runs many seeds of the simulation of delivery, or shows one.
//!
//! ```text
//! cargo run --release -p probefleet-tests --bin simulate -- --seeds 100000
//! cargo run --release -p probefleet-tests --bin simulate -- --seed 17
//! cargo run --release -p probefleet-tests --bin simulate -- --exhaustive
//! cargo run --release -p probefleet-tests --bin simulate -- --transport --seeds 1000
//! cargo run --release -p probefleet-tests --bin simulate -- --flips
//! ```

mod disk;
mod exhaustive;
mod flips;
mod outer;
mod simulation;
mod stage;
mod store;

use clap::Parser;
use exhaustive::{Bounds, NEEDED, SMALL, SOUND, SPARE, check};
use simulation::many;
use std::process::ExitCode;
use std::time::Instant;

/// Larger worlds than those of the test: minutes.
const WIDE: [(&str, Bounds); 5] = [
    ("clone, three connections", Bounds { clones: 1, connects: 3, ..SMALL }),
    ("clone, crash", Bounds { clones: 1, crashes: 1, ..SMALL }),
    ("crash, duplicate, three windows", Bounds { windows: 3, crashes: 1, duplicates: 1, ..SMALL }),
    ("restore, crash", Bounds { restores: 1, crashes: 1, connects: 3, ..SMALL }),
    (
        "full spool, crash, two connections",
        Bounds { windows: 4, crashes: 1, is_tight: true, ..SMALL },
    ),
];

/// Simulates fleets and their collector by seed, and says which seeds fail.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Prints what happens with this one, and runs no other.
    #[arg(long)]
    seed: Option<u64>,
    /// Searches all states of small worlds instead: those of the test, larger ones, and those that must break.
    #[arg(long)]
    exhaustive: bool,
    /// Has the real transport between real drivers, over a simulated network.
    #[arg(long, conflicts_with_all = ["seed", "exhaustive"])]
    transport: bool,
    /// Flips every bit of a spool of 64 KiB instead, one at a time: each may cost one record, and must be said.
    #[arg(long)]
    flips: bool,
}

/// Searches everything; whether all came to what it should.
fn exhaustive() -> bool {
    let mut good = true;
    for (name, bounds) in SOUND.into_iter().chain(WIDE) {
        good &= check(name, bounds, None, true);
    }
    for (minus, bounds) in NEEDED {
        good &= check(&format!("without {minus:?}"), bounds, Some(minus), false);
    }
    let (minus, bounds) = SPARE;
    good & check(&format!("without {minus:?}"), bounds, Some(minus), true)
}

/// Runs seeds with the real transport; whether all hold.
fn transport(seeds: std::ops::Range<u64>) -> bool {
    let (began, mut failed, mut windows) = (Instant::now(), 0, 0);
    let count = seeds.clone().count();
    for seed in seeds {
        match outer::run(seed) {
            Ok(run) => windows += run.windows,
            Err(why) => {
                failed += 1;
                println!("seed {seed}: {why}");
            }
        }
    }
    let took_s = began.elapsed().as_secs_f64();
    println!(
        "{count} seeds with the real transport, {failed} failed, {windows} windows in {took_s:.1} s"
    );
    failed == 0
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.transport {
        let good = transport(args.from..args.from + args.seeds);
        return if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.exhaustive {
        return if exhaustive() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if args.flips {
        let began = Instant::now();
        let tally = flips::run(1);
        println!("{tally:?} in {:.1} s", began.elapsed().as_secs_f64());
        return ExitCode::SUCCESS;
    }
    if let Some(seed) = args.seed {
        let run = simulation::run(seed, true);
        println!(
            "{:016x}  {} agents, {} windows, {} events\n{}",
            run.trace, run.agents, run.windows, run.events, run.fired
        );
        return match run.failure {
            None => ExitCode::SUCCESS,
            Some(why) => {
                println!("seed {seed}: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let began = Instant::now();
    let tally = many(args.from..args.from.saturating_add(args.seeds), false);
    for (seed, why) in &tally.failed {
        println!("seed {seed}: {why}");
    }
    let took_s = began.elapsed().as_secs_f64();
    println!(
        "{}{} seeds, {} failed, {} windows, {} s simulated in {took_s:.1} s",
        tally.fired,
        args.seeds,
        tally.failed.len(),
        tally.windows,
        tally.simulated_s
    );
    let missing = tally.fired.missing();
    if !missing.is_empty() {
        println!("never happened: {missing:?}");
    }
    if !tally.failed.is_empty() || !missing.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
