//! A whole fleet on this machine, in one command: collector, three agents, and three services to measure.
//!
//! The program starts itself again, once for each part, as `probefleet-quickstart agent …` and `… collector …`, which
//! are the very programs `probefleet-agent` and `probefleet-collector`: real processes that talk over real mTLS.

mod certificates;
mod children;
mod drill;
mod files;
mod fleet;
mod ports;
mod postgres;
mod start;
mod status;

use anyhow::{Context as _, ensure};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where the data is kept when nothing else is said, and where that of drills.
const FOLDER: &str = "probefleet-quickstart";
const DRILL_FOLDER: &str = "probefleet-quickstart-drill";

/// A whole Probefleet on this machine: a collector with its portal, three agents (berlin, london, tokyo) that every 5 s
/// fetch a page, make a call and, where PostgreSQL is installed, run a query, and an agreement over each day.
///
/// It prints the portal's address and the command lines it runs. Ctrl-C ends everything; a second start goes on where
/// the first stopped.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  probefleet-quickstart                  run, and look at the address it prints
  probefleet-quickstart --reset          forget everything measured before, and run
  probefleet-quickstart --data /tmp/pf   keep the data elsewhere
  probefleet-quickstart --break sip      see it break: the hotline becomes slow, then it is gone"
)]
struct Args {
    /// Where everything is kept [default: $XDG_STATE_HOME/probefleet-quickstart or ~/.local/state/…]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Remove what an earlier run measured, and its certificates, first
    #[arg(long)]
    reset: bool,
    /// See a promise break: after 30 s that service becomes slow, then it is gone. Begins anew each time, in a folder of
    /// its own [default: …/probefleet-quickstart-drill], with an agreement over the next 15 minutes
    #[arg(long = "break", value_name = "SERVICE")]
    breaks: Option<drill::Service>,
}

fn main() -> ExitCode {
    let args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    match args.get(1).and_then(|role| role.to_str()) {
        Some("agent") => children::run_as_child(|| {
            probefleet_agent::cli::main(role_args("probefleet-agent", &args))
        }),
        Some("collector") => children::run_as_child(|| {
            probefleet_collector::cli::main(role_args("probefleet-collector", &args))
        }),
        Some("postgres") => children::run_as_child(|| {
            postgres::main(role_args("probefleet-quickstart postgres", &args))
        }),
        _ => run_fleet(Args::parse_from(args)),
    }
}

/// `quickstart agent run …` as the agent's own program would see it.
fn role_args(program: &str, args: &[std::ffi::OsString]) -> Vec<std::ffi::OsString> {
    std::iter::once(program.into()).chain(args.iter().skip(2).cloned()).collect()
}

fn run_fleet(args: Args) -> ExitCode {
    // A drill in a folder of its own forgets nothing but drills.
    let reset = args.reset || (args.breaks.is_some() && args.data.is_none());
    let name = if args.breaks.is_some() { DRILL_FOLDER } else { FOLDER };
    let open = |dir: PathBuf| {
        let data = files::Data::open(&dir, reset)?;
        let is_new = !data.path("plan.yaml").exists();
        ensure!(
            args.breaks.is_none() || is_new,
            "a drill begins anew; choose an empty folder with --data, or add --reset"
        );
        Ok(data)
    };
    let data = match data_dir(args.data, name).and_then(open) {
        Ok(data) => data,
        Err(error) => return complain(&error, 2),
    };
    // On this thread alone: a child dies with the thread that started it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(fleet::run(&data, args.breaks)));
    ran.map_or_else(|error| complain(&error, 3), |()| ExitCode::SUCCESS)
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    anstream::eprintln!("probefleet-quickstart: {error:#}");
    ExitCode::from(code)
}

fn data_dir(given: Option<PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(dir) = given {
        return std::path::absolute(&dir).with_context(|| format!("cannot use {}", dir.display()));
    }
    let from_env =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = from_env("XDG_STATE_HOME")
        .or_else(|| from_env("HOME").map(|home| home.join(".local/state")));
    let state = state.context(
        "neither HOME nor XDG_STATE_HOME is set; say where to keep the data: --data DIR",
    )?;
    Ok(state.join(name))
}
