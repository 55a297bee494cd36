//! The fleet: shown while it runs, ended in the opposite order of its start.

use crate::children::Part;
use crate::drill::{Drill, Service};
use crate::files::{Data, SITES};
use crate::start::{program, start};
use crate::status::Status;
use jiff::Zoned;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// When whatever is left is ended the hard way, counted from Ctrl-C.
const END_WITHIN: Duration = Duration::from_millis(1_800);
/// How much of that the agents may use to deliver their last windows, while the collector still runs.
const DELIVER_WITHIN: Duration = Duration::from_millis(1_100);
/// How often the figures are shown anew.
const SHOW_EVERY: Duration = Duration::from_secs(2);

/// Runs the fleet until Ctrl-C; one of its services breaks in between, if that is wanted.
pub(crate) async fn run(data: &Data, breaks: Option<Service>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut parts = Vec::new();
    let ran = tokio::select! {
        ran = start_and_watch(data, &mut parts, breaks) => ran,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let next = if breaks.is_some() { "begins anew" } else { "goes on from here" };
    anstream::println!("\nEnding the fleet; the next start {next}.");
    end(parts).await;
    ran
}

async fn start_and_watch(
    data: &Data,
    parts: &mut Vec<Part>,
    breaks: Option<Service>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let portal = start(data, parts, breaks).await?;
    let agreement = data.path("agreement.yaml");
    anstream::println!(
        "\nReady in {:.1} s. Look at the portal:  http://{portal}/\n\
         The same on the command line:      {program} collector report --config {config} --agreement quickstart-shop --period {day}\n\
         What was promised:                 {agreement}\n\
         Metrics for Prometheus:            http://{portal}/metrics\n\
         Ctrl-C ends the fleet.\n",
        started.elapsed().as_secs_f64(),
        program = program(),
        config = data.path("collector.yaml").display(),
        day = Zoned::now().date(),
        agreement = agreement.display(),
    );
    let mut drill = Drill::new(breaks, Instant::now());
    let mut status = Status::new(portal);
    let mut tick = tokio::time::interval(SHOW_EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => status.show().await,
            act = drill.next() => {
                if let Some(said) = drill.perform(act, parts).await? {
                    status.say(&said);
                }
            }
            (name, ended, log) = first_end(parts) => {
                anyhow::bail!("{name} has ended ({ended}):\n{}", crate::children::last_lines(&log));
            }
        }
    }
}

async fn first_end(parts: &mut [Part]) -> (String, String, std::path::PathBuf) {
    let waits = parts.iter_mut().map(|part| {
        Box::pin(async move {
            let ended = part
                .ended()
                .await
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            (part.name.clone(), ended, part.log.clone())
        })
    });
    let mut waits: Vec<_> = waits.collect();
    std::future::poll_fn(|context| {
        for wait in &mut waits {
            if let std::task::Poll::Ready(ended) = wait.as_mut().poll(context) {
                return std::task::Poll::Ready(ended);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Agents first, so that their last windows still reach the collector.
async fn end(mut parts: Vec<Part>) {
    let now = Instant::now();
    let (agents, others): (Vec<_>, Vec<_>) =
        parts.iter_mut().partition(|part| SITES.contains(&part.name.as_str()));
    agents.iter().for_each(|part| part.ask_to_end());
    for part in agents {
        part.end_by(now + DELIVER_WITHIN).await;
    }
    others.iter().for_each(|part| part.ask_to_end());
    for part in others {
        part.end_by(now + END_WITHIN).await;
    }
}
