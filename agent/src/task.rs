//! Tasks: the probes of a plan, built and ready to run on this agent.

use crate::probe::{Environment, Probe};
use crate::window::SeriesSpec;
use probefleet_proto::plan::{AgentPlan, HandedProbe, spec_hash};
use probefleet_proto::window::Grid;
use probefleet_proto::yaml::Problems;
use std::sync::Arc;
use std::time::Duration;

/// A probe of the plan on this agent. Immutable: attempts share it.
#[derive(Debug)]
pub struct Task {
    /// What its cells are about.
    pub series: Arc<SeriesSpec>,
    /// Its scheduled instants.
    pub grid: Grid,
    /// Longest duration of an attempt.
    pub timeout: Duration,
    /// What an attempt does.
    pub probe: Probe,
}

/// Builds every probe of a plan.
///
/// # Errors
/// All problems of the kinds' blocks.
pub fn build(plan: &AgentPlan, agent_id: &[u8; 16]) -> Result<Vec<Arc<Task>>, Problems> {
    let mut problems = Problems::new("plan");
    let tasks: Vec<Option<Arc<Task>>> =
        plan.probes.iter().map(|probe| build_one(probe, agent_id, &mut problems)).collect();
    problems.into_result(tasks.into_iter().collect())
}

/// Loads what first attempts would otherwise spend their time on. Reads files.
pub fn prepare(tasks: &[Arc<Task>], environment: &Environment) {
    tasks.iter().for_each(|task| task.probe.prepare(environment));
}

fn build_one(
    handed: &HandedProbe,
    agent_id: &[u8; 16],
    problems: &mut Problems,
) -> Option<Arc<Task>> {
    let schedule = &handed.schedule;
    let probe = Probe::build_handed(&handed.kind, &handed.block, problems)?;
    let timeout = Duration::from_nanos(schedule.timeout_ns);
    probe.check_timeout(timeout, problems)?;
    let series = SeriesSpec {
        probe: schedule.name.to_string(),
        spec: spec_hash(schedule, &handed.kind, &probe.canonical_block()),
        interval_s: u32::try_from(schedule.every_s).unwrap_or(u32::MAX),
        at_most_ns: handed.at_most_ns.clone(),
    };
    Some(Arc::new(Task {
        series: Arc::new(series),
        grid: Grid::new(agent_id, schedule.name.as_str(), schedule.every_s),
        timeout,
        probe,
    }))
}
