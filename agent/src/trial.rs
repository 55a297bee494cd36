//! `try`: runs probes now, and shows where the time went.
//!
//! With `--format json` one object a line is written and flushed as each attempt ends (`architecture.md` §5).

mod figure;
mod json;
mod load;
mod summary;
mod text;

use crate::cli::{EXIT_BAD_INPUT, EXIT_ENVIRONMENT, EXIT_NO, block_on, complain};
use crate::policy::{Permission, Policy};
use crate::probe::{Attempt, Environment, Outcome, Sample};
use clap::ValueEnum;
use load::Target;
use probefleet_proto::clock::Clock;
use probefleet_proto::units::parse_duration_ns;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most attempts at once: `try` is for looking, not for load.
const IN_FLIGHT_MAX: usize = 64;
/// Most attempts of a probe: the summary keeps all their figures.
const COUNT_MAX: u64 = 100_000;
/// Results that may wait to be written.
const WAITING_MAX: usize = 64;

const EXAMPLES: &str = "\
Examples:
  One request, no file needed:
    probefleet-agent try http://127.0.0.1:8080/
  Twenty of them, and a summary:
    probefleet-agent try http://127.0.0.1:8080/ --count 20 --every 100ms
  A SIP server, asked once; calls are made by a plan with `mode: call`:
    probefleet-agent try sip:echo@127.0.0.1:5060
  A database, with the password from PGPASSWORD or ~/.pgpass:
    probefleet-agent try postgres://probe@127.0.0.1:5432/erp
  Every probe of a plan, once:
    probefleet-agent try plan.yaml
  One probe of it, one JSON object a line:
    probefleet-agent try plan.yaml --probe home --format json
  As an agent with that policy would:
    probefleet-agent try plan.yaml --policy policy.yaml
  Every mistake in a plan, sending nothing:
    probefleet-agent try --check plan.yaml

Something to try it on:
    probefleet-agent respond --http 8080 --sip 5060

A line of `--format json` has probe, scheduled, outcome, class, reason, code, phases_ns and detail,
and before detail, where a probe has some, counters (counts that are no outcomes, such as
retransmissions) and values (what is no duration, its unit in the name: loss_ppm, mos_centi).

Exit codes: 0 all ok · 1 an attempt failed · 2 the input is wrong · 3 nothing failed, but attempts
are invalid: they were spoiled on this side and say nothing about the target.";

/// What `try` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A plan file, or a URL to probe without any file
    #[arg(value_name = "PLAN|URL")]
    what: String,
    /// Only that probe of the plan
    #[arg(long, value_name = "NAME")]
    probe: Option<String>,
    /// How many attempts of each probe
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
    /// Time between attempts, such as 500ms; 0s is back to back
    #[arg(long, value_name = "D", default_value = "1s", value_parser = parse_every)]
    every: Duration,
    /// Text for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Go only where this policy permits; without it, anywhere
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Only check the plan
    #[arg(long)]
    check: bool,
}

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Longest time between attempts: a day, as in a plan.
const EVERY_MAX: Duration = Duration::from_secs(86_400);

fn parse_every(text: &str) -> Result<Duration, String> {
    let every = Duration::from_nanos(parse_duration_ns(text).map_err(|error| error.to_string())?);
    if every <= EVERY_MAX { Ok(every) } else { Err("at most 24h".to_owned()) }
}

/// One attempt that has ended.
#[derive(Debug)]
struct Ended {
    /// Index of the target.
    target: usize,
    /// Which attempt of it, from 1.
    number: u64,
    /// When it was due, Unix ns.
    scheduled_ns: u64,
    sample: Sample,
}

/// Runs the command.
pub fn main(args: &Args) -> ExitCode {
    let targets = match load::targets(&args.what, args.probe.as_deref()) {
        Ok(targets) => targets,
        Err(problems) => return complain(&problems, EXIT_BAD_INPUT),
    };
    let permission = match args.policy.as_deref().map(Policy::load).transpose() {
        Ok(policy) => policy.map_or(Permission::Anywhere, Permission::Policy),
        Err(error) => return complain(&error.to_string(), EXIT_BAD_INPUT),
    };
    if args.check {
        let probes = if targets.len() == 1 { "probe" } else { "probes" };
        let message = format!("{}: {} {probes}, all good", args.what, targets.len());
        return written(text::line(&message), ExitCode::SUCCESS);
    }
    block_on(run(args, targets, permission))
}

/// The exit code, unless the output could not be written.
fn written(result: io::Result<()>, code: ExitCode) -> ExitCode {
    match result {
        Ok(()) => code,
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => complain(&format!("cannot write: {error}"), EXIT_ENVIRONMENT),
    }
}

async fn run(args: &Args, targets: Vec<Target>, permission: Permission) -> ExitCode {
    let environment = Environment::new(permission);
    for target in &targets {
        target.probe.prepare(&environment);
    }
    let targets: Arc<[Target]> = targets.into();
    let mut verdict = Verdict::default();
    let result = watch(args, &targets, &environment, &mut verdict).await;
    environment.settle().await;
    written(result, verdict.exit_code())
}

/// Runs all attempts and shows them as they end, until all have or the program is told to stop.
async fn watch(
    args: &Args,
    targets: &Arc<[Target]>,
    environment: &Environment,
    verdict: &mut Verdict,
) -> io::Result<()> {
    let (sender, results) = mpsc::channel(WAITING_MAX);
    let mut attempts = start(args, targets, environment, &sender);
    drop(sender);
    let shown = show(args, targets, results, verdict).await;
    // Every attempt under way ends here.
    attempts.shutdown().await;
    shown
}

async fn show(
    args: &Args,
    targets: &[Target],
    mut results: mpsc::Receiver<Ended>,
    verdict: &mut Verdict,
) -> io::Result<()> {
    let mut shown = text::Text::new(targets, args.count);
    // Either way calls are ended before the program is.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        let ended = tokio::select! {
            ended = results.recv() => ended,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let Some(ended) = ended else { break };
        verdict.add(ended.sample.outcome);
        match args.format {
            Format::Json => json::write(&targets[ended.target].name, &ended)?,
            Format::Text => shown.write(&ended)?,
        }
    }
    if args.format == Format::Text { shown.write_summary() } else { Ok(()) }
}

/// Starts a task for each probe.
fn start(
    args: &Args,
    targets: &Arc<[Target]>,
    environment: &Environment,
    results: &mpsc::Sender<Ended>,
) -> JoinSet<()> {
    let (clock, began) = (Clock::start(), Instant::now());
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut tasks = JoinSet::new();
    for index in 0..targets.len() {
        let series = Series {
            targets: Arc::clone(targets),
            index,
            environment: environment.clone(),
            slots: Arc::clone(&slots),
            clock,
            every: args.every,
        };
        tasks.spawn(series.run(began, args.count, results.clone()));
    }
    tasks
}

/// The attempts of one probe, one after the other.
struct Series {
    targets: Arc<[Target]>,
    index: usize,
    environment: Environment,
    slots: Arc<Semaphore>,
    clock: Clock,
    every: Duration,
}

impl Series {
    async fn run(self, began: Instant, count: u64, results: mpsc::Sender<Ended>) {
        let mut due = began;
        for number in 1..=count {
            tokio::time::sleep_until(due).await;
            let Ok(slot) = self.slots.acquire().await else { return };
            // An attempt that cannot start when it is due is due when it can: nobody waits for it as in a service.
            let scheduled = due.max(if self.every.is_zero() { Instant::now() } else { due });
            let sample = self.attempt().await;
            drop(slot);
            let scheduled_ns = self.clock.to_unix_ns(scheduled);
            let ended = Ended { target: self.index, number, scheduled_ns, sample };
            if results.send(ended).await.is_err() {
                return;
            }
            due = (due + self.every).max(Instant::now());
        }
    }

    async fn attempt(&self) -> Sample {
        let target = &self.targets[self.index];
        let started = Instant::now();
        let attempt = Attempt { started, deadline: started + target.timeout, detailed: true };
        target.probe.attempt(&self.environment, attempt).await
    }
}

/// What the exit code says.
#[derive(Debug, Default)]
struct Verdict {
    failed: bool,
    invalid: bool,
    any: bool,
}

impl Verdict {
    fn add(&mut self, outcome: Outcome) {
        self.any = true;
        match outcome {
            Outcome::Ok => {}
            Outcome::Failed(_) => self.failed = true,
            Outcome::Invalid(_) => self.invalid = true,
        }
    }

    /// Nothing seen at all, as after an early Ctrl-C, says nothing about the target.
    fn exit_code(&self) -> ExitCode {
        match self {
            Self { failed: true, .. } => ExitCode::from(EXIT_NO),
            Self { invalid: true, .. } | Self { any: false, .. } => {
                ExitCode::from(EXIT_ENVIRONMENT)
            }
            _ => ExitCode::SUCCESS,
        }
    }
}
