//! The command line of the collector.

pub mod contract;
pub mod evaluate;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit code: the answer is "no".
pub const EXIT_NO: u8 = 1;
/// Exit code: the input is wrong.
pub const EXIT_BAD_INPUT: u8 = 2;
/// Exit code: the environment failed.
pub const EXIT_ENVIRONMENT: u8 = 3;

/// Collects what agents measured, and judges agreements by it.
#[derive(Debug, Parser)]
#[command(name = "probefleet-collector", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks and begins agreements.
    #[command(subcommand)]
    Contract(contract::Command),
    /// Judges an agreement over a period, from files alone.
    Evaluate(evaluate::Args),
}

impl Cli {
    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Contract(command) => contract::run(command),
            Command::Evaluate(args) => evaluate::run(&args),
        }
    }
}
