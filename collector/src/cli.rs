//! The command line of the collector.

pub mod contract;
pub mod evaluate;
pub mod report;
pub mod run;
pub mod verify;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Exit code: the answer is "no".
pub const EXIT_NO: u8 = 1;
/// Exit code: the input is wrong.
pub const EXIT_BAD_INPUT: u8 = 2;
/// Exit code: the environment failed.
pub const EXIT_ENVIRONMENT: u8 = 3;

/// Why a command that reads the store has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The question is wrong.
    #[error("{0}")]
    Input(String),
    /// The store cannot be read.
    #[error("{0}")]
    Environment(String),
}

impl Failure {
    /// Says it, and gives the exit code.
    fn told(&self) -> ExitCode {
        anstream::eprintln!("{self}");
        ExitCode::from(match self {
            Self::Input(_) => EXIT_BAD_INPUT,
            Self::Environment(_) => EXIT_ENVIRONMENT,
        })
    }
}

/// The variable that says what is logged, such as `debug` or `probefleet_collector::ingest=trace`.
const LOG_VARIABLE: &str = "PROBEFLEET_LOG";

/// Collects what agents measured, and judges agreements by it.
#[derive(Debug, Parser)]
#[command(
    name = "probefleet-collector",
    version,
    after_help = "\
A first agreement:
  probefleet-collector contract init --plan plan.yaml --out agreement.yaml
  probefleet-collector contract check agreement.yaml --plan plan.yaml
  probefleet-collector run --config collector.yaml        # then open http://127.0.0.1:7480/
  probefleet-collector report --agreement ID --period 2026-04

Exit codes: 0 done, 1 the answer is \"no\", 2 the input is wrong, 3 the environment failed."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service: takes records from agents, judges, shows.
    Run(run::Args),
    /// Judges an agreement over a period, from the store.
    Report(report::Args),
    /// Checks, shows and begins agreements.
    #[command(subcommand)]
    Contract(contract::Command),
    /// Judges an agreement over a period, from files alone.
    Evaluate(evaluate::Args),
    /// Checks that the store still holds what the agents sealed and signed.
    Verify(verify::Args),
}

/// The program: what the arguments, its name first, say.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            drop(error.print());
            if error.use_stderr() { ExitCode::from(EXIT_BAD_INPUT) } else { ExitCode::SUCCESS }
        }
    }
}

impl Cli {
    /// Does what the command line says.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Report(args) => report::run(&args),
            Command::Contract(command) => contract::run(command),
            Command::Evaluate(args) => evaluate::run(&args),
            Command::Verify(args) => verify::run(&args),
        }
    }
}

/// Prints a text, and says with the exit code whether it could be. Whoever closes the other end early, as `head` does, has
/// read what it wanted.
fn print(what: &str, text: &str) -> ExitCode {
    match anstream::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{what} cannot be written: {error}");
            ExitCode::from(EXIT_ENVIRONMENT)
        }
    }
}

/// Logs to stderr what [`LOG_VARIABLE`] asks for; `info` without it.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env(LOG_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Somebody who links this program may have set up a log of its own already.
    drop(log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init());
}
