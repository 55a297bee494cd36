//! Every row of the outcome table for HTTP, produced for real over loopback.

mod dns;
mod hostile;
mod journey;
mod outcomes;
mod private;
mod server;

use crate::policy::Permission;
use crate::probe::{Attempt, Environment, Outcome, Probe, Sample};
use probefleet_proto::name::FailureClass;
use probefleet_proto::yaml::{Document, Problems};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts in tests are this long, unless they are about time.
const TIMEOUT: Duration = Duration::from_secs(5);
/// By so much everything may be late here, where many tests run at once. That an attempt misses its deadline by 50 ms at
/// most is asserted where nothing else runs: `tests/e2e/outcomes.rs`.
const BUSY_SLACK: Duration = Duration::from_secs(1);

fn build(block: &str) -> Result<Probe, Problems> {
    let document = Document::parse("plan.yaml", block)?;
    let mut problems = Problems::new("plan.yaml");
    let probe = Probe::build("http", &document.root, &mut problems);
    problems.into_result(probe)
}

fn anywhere() -> Environment {
    Environment::new(Permission::Anywhere)
}

/// Runs a block anywhere and checks what every sample must be.
async fn run(block: &str) -> Sample {
    run_in(&anywhere(), block, TIMEOUT).await
}

async fn run_in(environment: &Environment, block: &str, timeout: Duration) -> Sample {
    let probe = build(block).expect(block);
    let started = Instant::now();
    let attempt = Attempt { started, deadline: started + timeout, detailed: true };
    let sample = probe.attempt(environment, attempt).await;
    let took = started.elapsed();
    assert!(took < timeout + BUSY_SLACK, "{block}: took {took:?}");
    assert_eq!(sample.phases_ns.last().expect("total").0, "total");
    let names: std::collections::HashSet<_> =
        sample.phases_ns.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), sample.phases_ns.len(), "each phase once: {sample:?}");
    sample
}

/// Runs a block whose attempt must end by its deadline, not before.
async fn run_to_deadline(block: &str, timeout: Duration) -> Sample {
    let sample = run_in(&anywhere(), block, timeout).await;
    assert!(total(&sample) >= timeout, "{block}: ended early: {sample:?}");
    sample
}

fn total(sample: &Sample) -> Duration {
    Duration::from_nanos(sample.phases_ns.last().expect("total").1)
}

fn parts(sample: &Sample) -> Duration {
    let parts = &sample.phases_ns[..sample.phases_ns.len() - 1];
    Duration::from_nanos(parts.iter().map(|(_, ns)| ns).sum())
}

fn phases(sample: &Sample) -> Vec<&str> {
    sample.phases_ns.iter().map(|(name, _)| name.as_ref()).collect()
}

#[track_caller]
fn assert_failed(sample: &Sample, class: FailureClass, code: &str) {
    let expected = (Outcome::Failed(class), Some(code));
    assert_eq!((sample.outcome, sample.code.as_deref()), expected, "{sample:?}");
    assert!(sample.detail.contains_key("error"), "says why: {sample:?}");
}

#[track_caller]
fn assert_ok(sample: &Sample) {
    assert_eq!(sample.outcome, Outcome::Ok, "{sample:?}");
    let gap = total(sample).checked_sub(parts(sample)).expect("parts within total");
    assert!(
        gap < Duration::from_millis(20),
        "phases add up to total: {gap:?} missing in {sample:?}"
    );
}
