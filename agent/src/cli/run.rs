//! `run`: the service, from its arguments to its end.

use super::{EXIT_BAD_INPUT, EXIT_ENVIRONMENT, block_on, complain};
use crate::config::Config;
use crate::service::{self, ServiceError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  probefleet-agent run --config agent.yaml --check   say what is wrong with the files, run nothing
  probefleet-agent run --config agent.yaml           run until SIGTERM or Ctrl-C

What it measures comes from the collector; the last plan is kept and runs at once after a start, collector or not.
Where it may go stands in its policy file. RUST_LOG=debug shows more.";

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check configuration and policy, then stop
    #[arg(long)]
    check: bool,
}

/// Asks for as many open files as the system lets this process have: the usual soft limit of 1,024 is for programs that
/// cannot count any higher (`select`), and attempts need a file each.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "as many open files as before");
    }
}

/// Runs the command.
pub(super) fn main(args: &Args) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => return complain(&error.to_string(), EXIT_BAD_INPUT),
    };
    if args.check {
        return check(&config);
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    raise_open_files();
    block_on(async {
        let shutdown = match end_signal() {
            Ok(shutdown) => shutdown,
            Err(error) => {
                return complain(&format!("cannot listen for signals: {error}"), EXIT_ENVIRONMENT);
            }
        };
        match service::run(config, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&format!("probefleet-agent: {error}"), exit_code(&error)),
        }
    })
}

fn check(config: &Config) -> ExitCode {
    match crate::policy::Policy::load(&config.policy_file) {
        Ok(_) => complain("configuration and policy are good", 0),
        Err(error) => complain(&error.to_string(), EXIT_BAD_INPUT),
    }
}

fn exit_code(error: &ServiceError) -> u8 {
    match error {
        ServiceError::Policy(_)
        | ServiceError::Certificate { .. }
        | ServiceError::NotOfAnAgent { .. }
        | ServiceError::Uplink(_) => EXIT_BAD_INPUT,
        _ => EXIT_ENVIRONMENT,
    }
}

/// Resolves at SIGTERM or Ctrl-C.
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
