//! Attempts in flight: at most one of a probe, each accounted for even when it panics.

use crate::probe::{Attempt, Environment, Outcome, Sample};
use crate::task::Task;
use probefleet_proto::clock::saturating_ns;
use probefleet_proto::name::InvalidReason;
use probefleet_proto::window::START_LAG_MAX_NS;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

/// An attempt that has started.
#[derive(Debug)]
pub(super) struct Flight {
    /// Of which task.
    pub(super) task: Arc<Task>,
    /// Window it belongs to, Unix s.
    pub(super) window_start_s: u64,
    /// Scheduled instant, Unix ns.
    pub(super) scheduled_ns: u64,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Landed {
    /// Which.
    pub(super) flight: Flight,
    /// How late it started, ns.
    pub(super) lag_ns: u64,
    /// What came out of it.
    pub(super) sample: Sample,
}

/// All attempts in flight.
#[derive(Debug, Default)]
pub(super) struct Flights {
    running: JoinSet<(u64, Sample)>,
    flights: HashMap<Id, Flight>,
    probes: HashSet<String>,
}

impl Flights {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether one is of that probe.
    pub(super) fn holds(&self, probe: &str) -> bool {
        self.probes.contains(probe)
    }

    /// Starts an attempt of a task that was due at an instant; `place` is its window (Unix s) and instant (Unix ns).
    pub(super) fn start(
        &mut self,
        task: Arc<Task>,
        environment: Environment,
        due: Instant,
        place: (u64, u64),
    ) {
        let (window_start_s, scheduled_ns) = place;
        self.probes.insert(task.series.probe.clone());
        let attempt = attempt(Arc::clone(&task), environment, due);
        let id = self.running.spawn(attempt).id();
        self.flights.insert(id, Flight { task, window_start_s, scheduled_ns });
    }

    /// The next attempt that ends; `None` when none is in flight.
    pub(super) async fn next(&mut self) -> Option<Landed> {
        loop {
            let ended = self.running.join_next_with_id().await?;
            if let Some(landed) = self.land(ended) {
                return Some(landed);
            }
        }
    }

    /// One more that has ended already.
    pub(super) fn try_next(&mut self) -> Option<Landed> {
        loop {
            let ended = self.running.try_join_next_with_id()?;
            if let Some(landed) = self.land(ended) {
                return Some(landed);
            }
        }
    }

    fn land(&mut self, ended: Result<(Id, (u64, Sample)), JoinError>) -> Option<Landed> {
        let (id, (lag_ns, sample)) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "an attempt ended by a fault of this program");
            (error.id(), (0, spoiled(InvalidReason::AgentError)))
        });
        let flight = self.flights.remove(&id)?;
        self.probes.remove(&flight.task.series.probe);
        Some(Landed { flight, lag_ns, sample })
    }

    /// Stops all; their sockets close with them, and calls that are up are ended.
    pub(super) async fn abort(&mut self) -> Vec<Flight> {
        self.running.shutdown().await;
        self.probes.clear();
        self.flights.drain().map(|(_, flight)| flight).collect()
    }
}

/// How late it started, and what came out of it. One that starts too late says nothing about the provider, so it
/// leaves the provider alone.
async fn attempt(task: Arc<Task>, environment: Environment, due: Instant) -> (u64, Sample) {
    let started = Instant::now();
    let lag_ns = saturating_ns(started.saturating_duration_since(due));
    if lag_ns > START_LAG_MAX_NS {
        return (lag_ns, spoiled(InvalidReason::AgentOverload));
    }
    // Figures alone are counted: of thousands of calls a second nobody reads the details.
    let attempt = Attempt { started, deadline: started + task.timeout, detailed: false };
    (lag_ns, task.probe.attempt(&environment, attempt).await)
}

fn spoiled(reason: InvalidReason) -> Sample {
    Sample {
        outcome: Outcome::Invalid(reason),
        code: None,
        phases_ns: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
        detail: serde_json::Map::new(),
    }
}
