//! The command line: one subcommand a job.

mod run;
mod spool;

use crate::{respond, trial};
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

/// Exit code: the answer is "no".
pub const EXIT_NO: u8 = 1;
/// Exit code: the input is wrong.
pub const EXIT_BAD_INPUT: u8 = 2;
/// Exit code: the environment failed.
pub const EXIT_ENVIRONMENT: u8 = 3;

/// Measures services where their users are.
#[derive(Debug, Parser)]
#[command(name = "probefleet-agent", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service: probe by the collector's plan and deliver what was measured
    Run(run::Args),
    /// Run probes now and show where the time went
    Try(trial::Args),
    /// Show what is on disk and waits to be delivered
    Spool(spool::Args),
    /// Be the other side: answer requests
    Respond(respond::Args),
}

/// Runs the program with its arguments, the first being its name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(cli) => match cli.command {
            Command::Run(args) => run::main(&args),
            Command::Try(args) => trial::main(&args),
            Command::Spool(args) => spool::main(&args),
            Command::Respond(args) => respond::main(&args),
        },
        Err(error) => {
            let wrong = error.use_stderr();
            // Where the message cannot be written, the exit code still says it.
            drop(error.print());
            if wrong { ExitCode::from(EXIT_BAD_INPUT) } else { ExitCode::SUCCESS }
        }
    }
}

/// Runs a job to its end on a runtime of its own. What is still hanging then is abandoned, not waited for.
pub(crate) fn block_on(job: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(job);
            runtime.shutdown_background();
            code
        }
        Err(error) => complain(&format!("cannot start: {error}"), EXIT_ENVIRONMENT),
    }
}

/// Says on standard error what went wrong.
pub(crate) fn complain(message: &str, code: u8) -> ExitCode {
    // Where standard error is closed, the exit code still says it.
    drop(writeln!(anstream::stderr(), "{message}"));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
