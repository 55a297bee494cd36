//! The collector's program.

use clap::Parser as _;
use probefleet_collector::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    Cli::parse().run()
}
