//! The runner: one task that owns schedule, attempts in flight and open windows.
//!
//! Each turn of its loop starts what is due, seals what has ended and then waits for the next of: an attempt that
//! lands, a plan, the clock, the end. A plan takes effect at a window's edge; until then it only waits, written down.

mod flights;
mod health;
mod logbook;
mod recovery;
mod sealer;

pub use recovery::{Era, Recovery, STRAGGLERS_S, SealedBefore};
pub use sealer::{Desk, Seal, WAITING_MAX_BYTES, Waiting, run as run_sealer};

use crate::applied::{Applied, AppliedPlans};
use crate::journal::{Journal, Notice};
use crate::probe::{Environment, Outcome, Sample};
use crate::schedule::{Due, Schedule};
use crate::task::{self, Task};
use crate::window::Windows;
use flights::{Flights, Landed};
use logbook::Logbook;
use probefleet_proto::clock::{Clock, saturating_ns};
use probefleet_proto::health::{CLOCK, CLOCK_STEP_NS, FaultName, LAG};
use probefleet_proto::name::{InvalidReason, MissedReason};
use probefleet_proto::plan::AgentPlan;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use probefleet_proto::window::{AGENT_DOWN_MAX_S, START_LAG_MAX_NS, edge_at_or_after_s, start_s};
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// Most attempts in flight: every probe of the largest plan may be in a call at once. Calls share their sockets; other
/// attempts hold a file each, as many as the service may have open.
const SLOTS_MAX: usize = 16_384;
/// How far back attempts are accounted for that nobody started because the machine slept or its clock was set, as after a
/// restart: beyond that an event says since when, and memory does not grow with how far the clock has jumped.
const PASSED_MAX_NS: u64 = AGENT_DOWN_MAX_S * NS_PER_S;
/// How often the snapshot of what is happening is refreshed.
const STATUS_EVERY_NS: u64 = NS_PER_S;
/// The same: no turn waits for longer, though the wall clock be set.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Most probes in that snapshot: 2,000 of them stay below the largest message.
const STATUS_PROBES_MAX: usize = 2_000;
/// Most attempts that land in one turn: some microseconds each.
const LANDINGS_MAX: usize = 32;
/// Wait before sealing is tried again when the spool does not keep up.
const SEAL_RETRY: Duration = Duration::from_millis(100);
/// How often the runner looks at the clock while attempts are in flight: what holds them up for longer than this and
/// [`START_LAG_MAX_NS`] together is always seen, even where nothing is due meanwhile.
const WATCH: Duration = Duration::from_millis(100);

/// What the runner is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who this agent is.
    pub agent_id: [u8; 16],
    /// What attempts share.
    pub environment: Environment,
    /// The clock that windows are cut by.
    pub clock: Clock,
    /// The plans that were kept.
    pub applied: AppliedPlans,
    /// The same plans, built, ascending.
    pub eras: Vec<Era>,
    /// What is kept of windows until they are sealed.
    pub journal: Journal,
}

/// The runner's ends of its channels.
#[derive(Debug)]
pub struct Ports {
    /// Plans from the collector.
    pub plans: mpsc::Receiver<v1::Plan>,
    /// What became of them.
    pub applied: mpsc::Sender<v1::PlanApplied>,
    /// Hash of the plan in force; empty = none.
    pub plan_hash: watch::Sender<Vec<u8>>,
    /// What is happening now.
    pub status: watch::Sender<v1::Status>,
    /// The clock, as it is re-anchored.
    pub clock: watch::Sender<Clock>,
    /// Closed windows and events, to the spool.
    pub seals: mpsc::Sender<Seal>,
    /// How many of those windows are durable.
    pub kept: watch::Receiver<u64>,
}

/// Runs the tasks of the plan in force.
#[derive(Debug)]
pub struct Runner {
    agent_id: [u8; 16],
    environment: Environment,
    clock: Clock,
    applied: AppliedPlans,
    ports: Ports,
    running: Option<Running>,
    next: Option<Era>,
    building: Option<JoinHandle<Built>>,
    windows: Windows,
    logbook: Logbook,
    flights: Flights,
    latest: HashMap<String, v1::ProbeNow>,
    status_ns: u64,
    /// When the next turn was to begin at the latest.
    planned: Option<Instant>,
    /// Why the newest plan of the collector's is not the one in force.
    plan_fault: Option<v1::Fault>,
}

/// The plan in force.
#[derive(Debug)]
struct Running {
    era: Era,
    schedule: Schedule,
}

/// A plan that was read and built off the runner's thread.
type Built = (v1::Plan, Result<(AgentPlan, Vec<Arc<Task>>), String>);

impl Runner {
    /// Takes up where the kept plans and the recovery say.
    #[must_use]
    pub fn new(parts: Parts, recovery: &mut Recovery, ports: Ports) -> Self {
        let Parts { agent_id, environment, clock, applied, mut eras, journal } = parts;
        let now_s = clock.now_ns() / NS_PER_S;
        let next = eras.pop_if(|era| era.from_s > now_s);
        let running = eras.pop().map(|era| Running::new(era, recovery.resume_ns()));
        let (opened_s, mut windows) = recovery.open_window();
        if let Some(Running { era, .. }) = &running {
            windows.set_plan(era.window_s, era.plan_hash.clone());
        }
        let logbook = Logbook::new(journal, ports.kept.clone(), opened_s);
        let runner = Self {
            agent_id,
            environment,
            clock,
            applied,
            ports,
            running,
            next,
            building: None,
            windows,
            logbook,
            flights: Flights::default(),
            latest: HashMap::new(),
            status_ns: 0,
            planned: None,
            plan_fault: None,
        };
        runner.announce_plan();
        runner
    }

    /// Runs until `shutdown`, then ends attempts, accounts for the rest of the open window and seals it.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        loop {
            let wake = self.turn();
            // It may have passed: the clock was set, or this turn took long. Neither is a turn that begins late.
            self.planned = Some(wake.max(Instant::now()));
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(landed) = self.flights.next() => self.land_all(landed),
                built = join(&mut self.building) => self.take_on(built).await,
                Some(plan) = self.ports.plans.recv(), if self.building.is_none() => self.build(plan),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.stop().await;
    }

    /// Does what the clock asks for. Returns when it will ask next.
    fn turn(&mut self) -> Instant {
        let now_ns = self.clock.now_ns();
        self.note_stall(now_ns);
        self.change_plan(now_ns);
        self.start_due(now_ns);
        self.logbook.flush();
        if self.running.is_some() {
            self.windows.open(now_ns);
        }
        let kept_up = self.seal(now_ns);
        self.logbook.tend();
        self.tell_of_journal(now_ns);
        self.publish_status(now_ns);
        let schedule_ns = self.running.as_ref().and_then(|running| running.schedule.next_ns());
        let edge_ns = self.next.as_ref().map(|era| era.from_s.saturating_mul(NS_PER_S));
        let seal_ns = self.windows.next_seal_ns().filter(|_| kept_up);
        let earliest_ns = [schedule_ns, edge_ns, seal_ns, Some(now_ns + STATUS_EVERY_NS)]
            .into_iter()
            .flatten()
            .min();
        let wake = self.clock.to_instant(earliest_ns.unwrap_or(now_ns));
        let wake = self.logbook.next().map_or(wake, |next| next.min(wake));
        let longest = if !kept_up {
            SEAL_RETRY
        } else if self.flights.len() > 0 {
            WATCH
        } else {
            STATUS_EVERY
        };
        wake.min(Instant::now() + longest)
    }

    /// Whoever held up this turn held up the attempts in flight as well: what they measured is not the provider's alone.
    fn note_stall(&mut self, now_ns: u64) {
        let Some(planned) = self.planned.take() else { return };
        let late_ns = saturating_ns(Instant::now().saturating_duration_since(planned));
        if late_ns > START_LAG_MAX_NS {
            debug!(late_ns, "this machine held the agent up");
            self.suspect(now_ns.saturating_sub(late_ns), LAG, late_ns);
        }
    }

    fn suspect(&mut self, since_ns: u64, flags: u32, stall_ns: u64) {
        for suspect in self.windows.suspect(since_ns, flags, stall_ns) {
            self.logbook.suspect(&suspect);
        }
    }

    /// Puts the next plan in force when its edge has come.
    fn change_plan(&mut self, now_ns: u64) {
        let Some(era) = self.next.take_if(|era| era.from_s.saturating_mul(NS_PER_S) <= now_ns)
        else {
            return;
        };
        let edge_ns = era.from_s.saturating_mul(NS_PER_S);
        self.start_due(edge_ns.saturating_sub(1));
        info!(probes = era.tasks.len(), window_s = era.window_s, "a plan has taken effect");
        self.windows.set_plan(era.window_s, era.plan_hash.clone());
        let names: HashSet<&str> =
            era.tasks.iter().map(|task| task.series.probe.as_str()).collect();
        self.latest.retain(|name, _| names.contains(name.as_str()));
        self.running = Some(Running::new(era, edge_ns));
        self.announce_plan();
    }

    fn announce_plan(&self) {
        if let Some(running) = &self.running {
            self.ports.plan_hash.send_replace(running.era.plan_hash.clone());
        }
    }

    fn start_due(&mut self, until_ns: u64) {
        self.leave_out_before(until_ns.saturating_sub(PASSED_MAX_NS));
        while let Some(running) = &mut self.running {
            let Some(due) = running.schedule.pop_due(until_ns) else { break };
            let (Due::Start { probe, scheduled_ns } | Due::PassedOver { probe, scheduled_ns }) =
                due;
            let task = Arc::clone(&running.era.tasks[probe]);
            match due {
                Due::PassedOver { .. } => {
                    self.miss(&task, scheduled_ns, MissedReason::Suspended);
                }
                Due::Start { .. } => self.start(&task, scheduled_ns),
            }
        }
    }

    fn leave_out_before(&mut self, from_ns: u64) {
        let Some(running) = &mut self.running else { return };
        let Some(since_ns) = running.schedule.skip_before(from_ns) else { return };
        let detail = format!(
            "nothing is on record of the time from {} to {} (Unix seconds): the machine slept, or its clock was set",
            since_ns / NS_PER_S,
            from_ns / NS_PER_S
        );
        warn!("{detail}");
        let event = Seal::Event { what: "agent_down", wall_time_ns: self.clock.now_ns(), detail };
        if self.ports.seals.try_send(event).is_err() {
            warn!("the spool does not keep up: this is not on record");
        }
    }

    fn start(&mut self, task: &Arc<Task>, scheduled_ns: u64) {
        if self.flights.holds(&task.series.probe) {
            self.miss(task, scheduled_ns, MissedReason::Overrun);
        } else if self.flights.len() >= SLOTS_MAX {
            self.miss(task, scheduled_ns, MissedReason::NoSlot);
        } else {
            let window_start_s = self.windows.started(&task.series, scheduled_ns);
            let due = self.clock.to_instant(scheduled_ns);
            self.flights.start(
                Arc::clone(task),
                self.environment.clone(),
                due,
                (window_start_s, scheduled_ns),
            );
        }
    }

    fn miss(&mut self, task: &Task, scheduled_ns: u64, reason: MissedReason) {
        let window_start_s = self.windows.missed(&task.series, scheduled_ns, reason);
        self.logbook.missed(&task.series, (window_start_s, scheduled_ns), reason);
    }

    /// What has ended by now. A turn of the loop asks a dozen things, so they share one; up to a bound, for what is due
    /// must start in time.
    fn land_all(&mut self, first: Landed) {
        self.land(first);
        for _ in 1..LANDINGS_MAX {
            let Some(landed) = self.flights.try_next() else { break };
            self.land(landed);
        }
        self.logbook.flush();
    }

    fn land(&mut self, landed: Landed) {
        let Landed { flight, lag_ns, sample } = landed;
        let place = (flight.window_start_s, flight.scheduled_ns);
        self.logbook.ended(&flight.task.series, place, lag_ns, &sample);
        self.windows.ended(&flight.task.series, flight.window_start_s, lag_ns, &sample);
        let total_ns =
            sample.phases_ns.iter().find(|(phase, _)| phase == "total").map_or(0, |(_, ns)| *ns);
        let outcome = match sample.outcome {
            Outcome::Ok => "ok",
            Outcome::Failed(class) => class.as_str(),
            Outcome::Invalid(reason) => reason.as_str(),
        };
        let probe = &flight.task.series.probe;
        let now = v1::ProbeNow {
            probe: probe.clone(),
            scheduled_ns: flight.scheduled_ns,
            outcome: outcome.to_owned(),
            code: sample.code.unwrap_or_default().into_owned(),
            total_ns,
        };
        match self.latest.get_mut(probe) {
            Some(latest) => *latest = now,
            None => drop(self.latest.insert(probe.clone(), now)),
        }
    }

    /// Hands closed windows to the spool. False when the spool does not take them right now: they wait here, counted.
    fn seal(&mut self, now_ns: u64) -> bool {
        let mut sealed_one = false;
        if self.windows.next_seal_ns().is_some_and(|seal_ns| seal_ns <= now_ns) {
            self.note_clock_step();
        }
        let kept_up = loop {
            let Ok(permit) = self.ports.seals.try_reserve() else { break false };
            let Some(sealed) = self.windows.seal(now_ns) else { break true };
            self.logbook.handed_over(&sealed);
            permit.send(Seal::Window(sealed));
            sealed_one = true;
        };
        if sealed_one {
            self.follow_wall_clock();
        }
        kept_up
    }

    /// What was measured since the clock was last followed may stand at the wrong time.
    fn note_clock_step(&mut self) {
        if self.clock.step_ns().unsigned_abs() > CLOCK_STEP_NS {
            self.suspect(self.clock.anchored_ns(), CLOCK, 0);
        }
    }

    /// Between windows only: within one, instants never jump.
    fn follow_wall_clock(&mut self) {
        let step_ns = self.clock.reanchor();
        self.ports.clock.send_replace(self.clock);
        if step_ns.unsigned_abs() > CLOCK_STEP_NS {
            warn!(step_ns, "the wall clock was set");
            let detail = format!("{step_ns} ns");
            let event =
                Seal::Event { what: "clock_step", wall_time_ns: self.clock.now_ns(), detail };
            if self.ports.seals.try_send(event).is_err() {
                warn!("the spool does not keep up: the step of the clock is not on record");
            }
        }
    }

    fn tell_of_journal(&mut self, now_ns: u64) {
        let Ok(permit) = self.ports.seals.try_reserve() else { return };
        if let Some(Notice { what, detail }) = self.logbook.take_notice() {
            permit.send(Seal::Event { what, wall_time_ns: now_ns, detail });
        }
    }

    fn publish_status(&mut self, now_ns: u64) {
        if now_ns < self.status_ns {
            return;
        }
        self.status_ns = now_ns + STATUS_EVERY_NS;
        let tasks = self.running.iter().flat_map(|running| &running.era.tasks);
        let probes = tasks.filter_map(|task| self.latest.get(&task.series.probe));
        let probes = probes.take(STATUS_PROBES_MAX).cloned().collect();
        let faults = self.plan_fault.iter().cloned().collect();
        self.ports.status.send_replace(v1::Status { probes, faults, ..v1::Status::default() });
    }
}

// === taking on a plan ===

impl Runner {
    /// Reads and builds a plan on another thread: root certificates and patterns take longer than an attempt may wait.
    fn build(&mut self, plan: v1::Plan) {
        let (agent_id, environment) = (self.agent_id, self.environment.clone());
        self.building = Some(tokio::task::spawn_blocking(move || {
            let built = read_plan(&plan, &agent_id);
            if let Ok((_, tasks)) = &built {
                task::prepare(tasks, &environment);
            }
            (plan, built)
        }));
    }

    /// Writes a built plan down, to take effect at the next edge, and tells the collector what became of it.
    async fn take_on(&mut self, (plan, built): Built) {
        let outcome = match built {
            Ok((agent_plan, tasks)) => self.schedule_plan(&plan, &agent_plan, tasks),
            Err(error) => Err(error),
        };
        let error = outcome.err().unwrap_or_default();
        self.plan_fault = (!error.is_empty()).then(|| v1::Fault {
            what: FaultName::Plan.to_string(),
            since_s: self.clock.now_ns() / NS_PER_S,
            text: error.clone(),
        });
        if !error.is_empty() {
            error!(error, "the plan that the collector sent is not applied; the last one goes on");
        }
        if self.ports.applied.send(v1::PlanApplied { hash: plan.hash, error }).await.is_err() {
            warn!("the uplink has ended: the collector will not hear about its plan");
        }
    }

    fn schedule_plan(
        &mut self,
        plan: &v1::Plan,
        agent_plan: &AgentPlan,
        tasks: Vec<Arc<Task>>,
    ) -> Result<(), String> {
        let newest = self.next.as_ref().or(self.running.as_ref().map(|running| &running.era));
        if newest.is_some_and(|era| era.plan_hash == plan.hash) {
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        let before_s =
            self.running.as_ref().map_or(agent_plan.window_s, |running| running.era.window_s);
        let earliest_ns = now_ns.max(plan.from_window_s.saturating_mul(NS_PER_S));
        let from_s = edge_at_or_after_s(earliest_ns, lcm(before_s, agent_plan.window_s));
        let canonical_json =
            String::from_utf8(plan.canonical_json.clone()).map_err(|error| error.to_string())?;
        let applied = Applied { from_s, canonical_json: canonical_json.into() };
        self.applied.keep(applied, now_ns / NS_PER_S).map_err(|error| error.to_string())?;
        let (window_s, plan_hash) = (agent_plan.window_s, plan.hash.clone());
        self.next = Some(Era { from_s, window_s, plan_hash, tasks });
        Ok(())
    }
}

fn read_plan(plan: &v1::Plan, agent_id: &[u8; 16]) -> Result<(AgentPlan, Vec<Arc<Task>>), String> {
    if AgentPlan::hash(&plan.canonical_json).as_slice() != plan.hash {
        return Err("the plan's hash is not that of its content".to_owned());
    }
    let agent_plan =
        AgentPlan::from_canonical_json(&plan.canonical_json).map_err(|error| error.to_string())?;
    let tasks = task::build(&agent_plan, agent_id).map_err(|problems| problems.to_string())?;
    Ok((agent_plan, tasks))
}

/// The built plan, once there is one; never before.
async fn join(building: &mut Option<JoinHandle<Built>>) -> Built {
    let Some(handle) = building.as_mut() else { return std::future::pending().await };
    let built = handle.await.unwrap_or_else(|error| (v1::Plan::default(), Err(error.to_string())));
    *building = None;
    built
}

/// Least common multiple: an edge of both widths.
fn lcm(a_s: u32, b_s: u32) -> u32 {
    let (mut a, mut b) = (a_s, b_s);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a_s / a.max(1) * b_s
}

// === stopping ===

impl Runner {
    /// Leaves nothing unaccounted: attempts in flight are ours to spoil, and what is due in the rest of the open window
    /// will not run. A restarted agent goes on with the next window.
    async fn stop(mut self) {
        let now_ns = self.clock.now_ns();
        self.start_due_as_missed(now_ns);
        let spoiled = Sample {
            outcome: Outcome::Invalid(InvalidReason::Shutdown),
            code: None,
            phases_ns: Vec::new(),
            counters: Vec::new(),
            values: Vec::new(),
            detail: serde_json::Map::new(),
        };
        for flight in self.flights.abort().await {
            self.windows.ended(&flight.task.series, flight.window_start_s, 0, &spoiled);
        }
        while let Some(sealed) = self.windows.seal_oldest() {
            if self.ports.seals.send(Seal::Window(sealed)).await.is_err() {
                error!(
                    "the spool is closed: the open window is lost and will be accounted for after the next start"
                );
                return;
            }
        }
        let event = Seal::Event { what: "stop", wall_time_ns: now_ns, detail: String::new() };
        if self.ports.seals.send(event).await.is_err() {
            warn!("the spool is closed: the stop is not on record");
        }
    }

    fn start_due_as_missed(&mut self, now_ns: u64) {
        let Some(running) = &mut self.running else { return };
        let window_s = running.era.window_s;
        let end_ns =
            (start_s(now_ns / NS_PER_S, window_s) + u64::from(window_s)).saturating_mul(NS_PER_S);
        self.windows.open(now_ns);
        while let Some(due) = running.schedule.pop_due(end_ns - 1) {
            let (Due::Start { probe, scheduled_ns } | Due::PassedOver { probe, scheduled_ns }) =
                due;
            let series = &running.era.tasks[probe].series;
            self.windows.missed(series, scheduled_ns, MissedReason::AgentDown);
        }
    }
}

impl Running {
    fn new(era: Era, from_ns: u64) -> Self {
        let grids = era.tasks.iter().map(|task| task.grid).collect();
        Self { schedule: Schedule::new(grids, from_ns), era }
    }
}
