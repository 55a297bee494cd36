//! `run`: the service.

use super::{EXIT_BAD_INPUT, EXIT_ENVIRONMENT};
use crate::config::Config;
use crate::service::{Collector, ServiceError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long tasks may take to end after the collector has stopped.
const EXIT_DEADLINE: Duration = Duration::from_millis(200);

/// What `run` is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The configuration, least first (see deploy/collector.yaml for all of it):
  state_dir: /var/lib/probefleet        # the store is in it
  plan: plan.yaml                       # what agents measure
  agreements:
    - {file: acme.yaml, countersigned: true}

Without `tls` agents and browsers reach it on this machine only: http://127.0.0.1:7480/
Stop it with Ctrl-C or SIGTERM. PROBEFLEET_LOG=debug says more.
Exit codes: 0 stopped as told, 2 the configuration is wrong, 3 the machine does not let it run.")]
pub struct Args {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "collector.yaml")]
    config: PathBuf,
}

/// Asks for as many open files as the system lets this process have: connections that wait and handshakes alone take more
/// than the usual soft limit of 1,024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "as many open files as before");
    }
}

/// Runs the service until SIGTERM or Ctrl-C.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    super::log_to_stderr();
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            anstream::eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_INPUT);
        }
    };
    raise_open_files();
    for warnings in &config.warnings {
        for warning in warnings.to_string().lines() {
            tracing::warn!("{warning}");
        }
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string(), EXIT_ENVIRONMENT),
    };
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(EXIT_DEADLINE);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServiceError::Tls(_)) => failed(&error.to_string(), EXIT_BAD_INPUT),
        Err(error) => failed(&error.to_string(), EXIT_ENVIRONMENT),
    }
}

async fn serve(config: Config) -> Result<(), ServiceError> {
    let signals = |source| ServiceError::Io { what: "cannot wait for signals".to_owned(), source };
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let collector = Collector::build(config).await?;
    let end = async {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    };
    collector.run(end).await
}

fn failed(why: &str, code: u8) -> ExitCode {
    anstream::eprintln!("{why}");
    ExitCode::from(code)
}
