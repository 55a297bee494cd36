//! Who the agents are, how they are, and what each should run.
//!
//! What stands here is known, not evidence: the last that each agent said. It can be lost and is rebuilt as agents
//! report; only names and labels are kept, by the store.

use crate::ingest::session::Greeting;
use crate::store::{KnownAgent, Opened};
use crate::text::{bounded, is_seen};
use probefleet_proto::codec::FAULTS_MAX;
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::health::FaultName;
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::plan::{AgentPlan, Plan, THRESHOLDS_MAX, Thresholds};
use probefleet_proto::report;
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Most probes of a status that are kept of an agent: what a board can show.
const PROBES_NOW_MAX: usize = 1_000;

/// Most evidence keys of an agent that are shown: one in the life of its machine, and then somebody asks why.
const KEYS_MAX: usize = 16;

/// Stands for every fault whose name is not known here.
const OTHER_FAULT: &str = "other";

/// What the fleet should measure.
#[derive(Clone, Debug, Default)]
pub struct Assignment {
    /// The operator's plan.
    pub plan: Plan,
    /// Width of the fleet's windows, s.
    pub window_s: u32,
    /// By probe and phase, what agents must count exactly because an agreement turns on it.
    pub thresholds: BTreeMap<String, Thresholds>,
}

/// An agent as it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentNow {
    /// Its identity.
    pub agent: Uuid,
    /// Its name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Number of the session that stands, if one does.
    pub session: Option<u64>,
    /// Version of its program; empty = not heard of since the collector started.
    pub version: String,
    /// When it last said anything, Unix seconds.
    pub last_seen_s: Option<u64>,
    /// End of the window of its newest report, Unix seconds.
    pub last_report_end_s: Option<u64>,
    /// Its clock minus ours, ns, and the bound on the error (0 = never compared).
    pub clock: Option<(i64, u64)>,
    /// How it was itself, by its newest report.
    pub health: Option<v1::Health>,
    /// Reports that it did not trust itself, since the collector started.
    pub suspect_reports: u64,
    /// Payload bytes that it has not delivered yet.
    pub backlog_bytes: Option<u64>,
    /// Names of the probes that it should run.
    pub probes: Vec<String>,
    /// The latest attempt of each of its probes.
    pub latest: Vec<v1::ProbeNow>,
    /// What it says is wrong with itself.
    pub faults: Vec<v1::Fault>,
    /// What became of its plan.
    pub plan: PlanState,
    /// The different keys that it signed with, oldest first.
    pub evidence_keys: Vec<PublicKey>,
}

/// What became of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// Nothing is known yet.
    Unknown,
    /// It was handed out, no answer yet.
    Handed,
    /// It is in force.
    Applied,
    /// The agent does not take it, and says why.
    Refused(String),
}

/// The agents of this collector.
#[derive(Debug)]
pub struct Fleet {
    assignment: Assignment,
    agents: Mutex<BTreeMap<Uuid, AgentNow>>,
    revision: AtomicU64,
}

impl Fleet {
    /// The fleet as the store knows it.
    #[must_use]
    pub fn new(assignment: Assignment, known: Vec<KnownAgent>) -> Self {
        let agents = known.into_iter().map(|known| {
            let labels = known.labels.last().map(|(_, labels)| labels.clone()).unwrap_or_default();
            let mut agent = AgentNow::new(known.agent, known.name, labels);
            agent.last_report_end_s = known.last_report_end_s;
            agent.evidence_keys = known.evidence_keys;
            (agent.agent, agent)
        });
        Self { assignment, agents: Mutex::new(agents.collect()), revision: AtomicU64::new(0) }
    }

    /// What the fleet should measure.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// An agent has opened a session. Returns its plan unless it has it already.
    pub fn introduce(
        &self,
        agent: Uuid,
        opened: &Opened,
        greeting: &Greeting,
        now_s: u64,
    ) -> Option<v1::Plan> {
        let plan = self.plan_for(&opened.name, &opened.labels);
        let canonical_json = plan.to_canonical_json();
        let hash = AgentPlan::hash(&canonical_json);
        let in_force = greeting.plan_hash == hash;
        self.revision.fetch_add(1, Ordering::Relaxed);
        let mut agents = self.lock();
        let now = agents
            .entry(agent)
            .or_insert_with(|| AgentNow::new(agent, opened.name.clone(), opened.labels.clone()));
        now.session = Some(opened.head.session);
        now.version.clone_from(&greeting.version);
        now.last_seen_s = Some(now_s);
        now.probes = plan.probes.iter().map(|probe| probe.schedule.name.to_string()).collect();
        if let Some(evidence) = opened.evidence
            && !now.evidence_keys.contains(&evidence.key)
            && now.evidence_keys.len() < KEYS_MAX
        {
            now.evidence_keys.push(evidence.key);
        }
        now.plan = if in_force { PlanState::Applied } else { PlanState::Handed };
        (!in_force).then(|| v1::Plan { hash: hash.to_vec(), canonical_json, from_window_s: 0 })
    }

    /// The part of the plan for an agent: its name is a label too.
    #[must_use]
    pub fn plan_for(&self, name: &Name, labels: &Labels) -> AgentPlan {
        let Assignment { plan, window_s, thresholds } = &self.assignment;
        let mut labels = labels.clone();
        labels.insert("agent".to_owned(), name.to_string());
        AgentPlan::hand_out(plan, *window_s, &labels, thresholds)
    }

    /// Records of an agent were committed; `newest` is of the newest report among them, and so many it does not trust.
    pub fn reported(
        &self,
        agent: Uuid,
        (newest, suspects): (Option<&report::Head>, u64),
        now_s: u64,
    ) {
        self.update(agent, |now| {
            now.last_seen_s = Some(now_s);
            now.suspect_reports = now.suspect_reports.saturating_add(suspects);
            let Some(head) = newest else { return };
            let end_s = head.window_start_s.saturating_add(u64::from(head.window_s));
            now.last_report_end_s = now.last_report_end_s.max(Some(end_s));
            now.clock = Some((head.health.clock_offset_ns, head.health.clock_error_ns));
            now.health = Some(head.health);
        });
    }

    /// An agent says how it is.
    pub fn status(&self, agent: Uuid, status: v1::Status, now_s: u64) {
        let sound = |probe: &v1::ProbeNow| {
            let short =
                |text: &str| text.len() <= report::LABEL_MAX_BYTES && text.chars().all(is_seen);
            Name::new(&probe.probe).is_ok() && short(&probe.outcome) && short(&probe.code)
        };
        self.update(agent, |now| {
            now.last_seen_s = Some(now_s);
            now.backlog_bytes = Some(status.backlog_bytes);
            now.faults = status.faults.into_iter().map(fault).take(FAULTS_MAX).collect();
            now.latest = status.probes.into_iter().filter(sound).take(PROBES_NOW_MAX).collect();
        });
    }

    /// An agent says what became of its plan.
    pub fn plan_applied(&self, agent: Uuid, applied: v1::PlanApplied, now_s: u64) {
        self.update(agent, |now| {
            now.last_seen_s = Some(now_s);
            now.plan = match applied.error {
                error if error.is_empty() => PlanState::Applied,
                error => PlanState::Refused(bounded(&error)),
            };
        });
    }

    /// A session has ended; a newer one of the same agent stays.
    pub fn left(&self, agent: Uuid, session: u64) {
        self.update(agent, |now| {
            if now.session == Some(session) {
                now.session = None;
                // It can no longer say that they are over.
                now.faults.clear();
            }
        });
    }

    /// All agents, by name.
    #[must_use]
    pub fn board(&self) -> Vec<AgentNow> {
        let mut board: Vec<AgentNow> = self.lock().values().cloned().collect();
        board.sort_by(|a, b| a.name.cmp(&b.name));
        board
    }

    /// How many agents are known, whether they are there or not.
    #[must_use]
    pub fn size(&self) -> usize {
        self.lock().len()
    }

    /// Another number whenever an agent has said something since.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    fn update(&self, agent: Uuid, change: impl FnOnce(&mut AgentNow)) {
        if let Some(now) = self.lock().get_mut(&agent) {
            change(now);
            self.revision.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere leaves at worst one agent's last words half written: nothing that is evidence.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Uuid, AgentNow>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentNow {
    fn new(agent: Uuid, name: Name, labels: Labels) -> Self {
        Self {
            agent,
            name,
            labels,
            session: None,
            version: String::new(),
            last_seen_s: None,
            last_report_end_s: None,
            clock: None,
            health: None,
            suspect_reports: 0,
            backlog_bytes: None,
            probes: Vec::new(),
            latest: Vec::new(),
            faults: Vec::new(),
            plan: PlanState::Unknown,
            evidence_keys: Vec::new(),
        }
    }

    /// Age of what its newest report tells, seconds: since the end of its window.
    #[must_use]
    pub fn report_age_s(&self, now_ns: u64) -> Option<u64> {
        Some((now_ns / NS_PER_S).saturating_sub(self.last_report_end_s?))
    }

    /// Age of the latest attempt that it told of, whether its report has come or not, seconds.
    #[must_use]
    pub fn attempt_age_s(&self, now_ns: u64) -> Option<u64> {
        let latest_ns = self.latest.iter().map(|probe| probe.scheduled_ns).max()?;
        Some(now_ns.saturating_sub(latest_ns) / NS_PER_S)
    }
}

/// A fault that an agent told. Its name becomes a label of a metric: one that is not known here, of a later version or of
/// nobody's, stands in its text.
fn fault(told: v1::Fault) -> v1::Fault {
    match FaultName::parse(&told.what) {
        Some(_) => v1::Fault { text: bounded(&told.text), ..told },
        None => {
            let text = bounded(&format!("{}: {}", bounded(&told.what), told.text));
            v1::Fault { what: OTHER_FAULT.to_owned(), text, ..told }
        }
    }
}

/// Adds what an agreement needs counted exactly. Beyond [`THRESHOLDS_MAX`] of a phase there is no room in a plan:
/// returns `false`.
#[must_use]
pub fn add_threshold(
    all: &mut BTreeMap<String, Thresholds>,
    probe: &str,
    phase: &str,
    at_most: u64,
) -> bool {
    let of_phase = all.entry(probe.to_owned()).or_default().entry(phase.to_owned()).or_default();
    if let Err(place) = of_phase.binary_search(&at_most) {
        if of_phase.len() >= THRESHOLDS_MAX {
            return false;
        }
        of_phase.insert(place, at_most);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(1);

    /// A fleet of one agent that says so of itself.
    fn told(status: v1::Status) -> AgentNow {
        let known = KnownAgent {
            agent: AGENT,
            name: Name::new("berlin").expect("a name"),
            first_seen_s: 1,
            labels: Vec::new(),
            last_report_end_s: None,
            evidence_keys: Vec::new(),
        };
        let fleet = Fleet::new(Assignment::default(), vec![known]);
        fleet.status(AGENT, status, 1_000);
        fleet.board().remove(0)
    }

    fn faults(names: &[&str]) -> Vec<(String, String)> {
        let fault = |what: &&str| v1::Fault {
            what: (*what).to_owned(),
            since_s: 1,
            text: "no\nspace".to_owned(),
        };
        let faults = names.iter().map(fault).collect();
        let now = told(v1::Status { faults, ..v1::Status::default() });
        now.faults.into_iter().map(|fault| (fault.what, fault.text)).collect()
    }

    #[test]
    fn a_fault_has_a_name_that_is_known_or_none() {
        for known in FaultName::ALL {
            let expected = (known.to_string(), "no space".to_owned());
            assert_eq!(faults(&[known.as_str()]), [expected]);
        }
        let long = "x".repeat(100_000);
        let invented = faults(&["quota", "", "Disk", "a\"}\n", &long]);
        assert!(invented.iter().all(|(what, _)| what == OTHER_FAULT), "{invented:?}");
        assert_eq!(invented[0].1, "quota: no space", "its name stands in its text");
        assert!(invented.iter().all(|(_, text)| text.len() <= 2_048 && text.chars().all(is_seen)));
        assert_eq!(faults(&["disk"; 100]).len(), FAULTS_MAX);
    }

    #[test]
    fn a_probe_that_nobody_could_read_is_not_shown() {
        let now = |probe: &str, outcome: &str, code: &str| v1::ProbeNow {
            probe: probe.to_owned(),
            outcome: outcome.to_owned(),
            code: code.to_owned(),
            ..v1::ProbeNow::default()
        };
        let probes = vec![
            now("web", "status", "503 Busy"),
            now("<b>", "ok", ""),
            now("web", "ok\n", ""),
            now("web", "status", &"9".repeat(65)),
            now("web", "status", "a\u{202e}b"),
        ];
        let shown = told(v1::Status { probes, ..v1::Status::default() }).latest;
        assert_eq!(shown, [now("web", "status", "503 Busy")]);
    }
}
