//! The part of a plan that one agent is handed, as canonical JSON.
//!
//! ```json
//! {"probes":[{"at_most_ns":{"total":[2000000000]},"every":"30s","http":{…},"name":"portal-login","timeout":"10s"}],
//!  "version":1,"window_s":60}
//! ```
//! `at_most_ns` lists, by phase, the thresholds that agreements use: the agent counts them exactly, because a histogram
//! bucket may straddle one. By the name of a value ([`crate::extras`]) they are in the value's own unit.

use super::{Plan, Schedule, canonical_json, check_probes, kind_block};
use crate::label::Labels;
use crate::units::duration_text;
use crate::window::WIDTHS_S;
use crate::yaml::{Map, Node, Problems, list, scalar};
use serde_json::{Map as JsonMap, Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of the format.
const VERSION: u64 = 1;
/// Most thresholds a phase of a probe may have: each is a counter in every window.
pub const THRESHOLDS_MAX: usize = 64;

/// Thresholds by phase, in ns, and by value, in its own unit; ascending.
pub type Thresholds = BTreeMap<String, Vec<u64>>;

/// What one agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentPlan {
    /// Width of the fleet's windows, s.
    pub window_s: u32,
    /// The agent's probes.
    pub probes: Vec<HandedProbe>,
}

/// A probe as an agent is handed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedProbe {
    /// When it runs.
    pub schedule: Schedule,
    /// Kind, such as `http`.
    pub kind: String,
    /// The block under the kind.
    pub block: Node,
    /// What to count exactly.
    pub at_most_ns: Thresholds,
}

/// The bytes are no plan for an agent.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Not JSON.
    #[error("the plan is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not canonical: its hash would not be its identity.
    #[error("the plan is not canonical JSON")]
    NotCanonical,
    /// Wrong content.
    #[error("{0}")]
    Content(#[from] Problems),
}

impl AgentPlan {
    /// The part of `plan` for an agent with these labels; `thresholds` are by probe.
    #[must_use]
    pub fn hand_out(
        plan: &Plan,
        window_s: u32,
        labels: &Labels,
        thresholds: &BTreeMap<String, Thresholds>,
    ) -> Self {
        let chosen = plan.probes.iter().filter(|probe| probe.agents.matches(labels));
        let probes = chosen
            .map(|probe| HandedProbe {
                schedule: probe.schedule.clone(),
                kind: probe.kind.clone(),
                block: probe.block.clone(),
                at_most_ns: thresholds
                    .get(probe.schedule.name.as_str())
                    .cloned()
                    .unwrap_or_default(),
            })
            .collect();
        Self { window_s, probes }
    }

    /// The plan as it travels and is kept.
    #[must_use]
    pub fn to_canonical_json(&self) -> Vec<u8> {
        let probes: Vec<Json> = self.probes.iter().map(HandedProbe::to_json).collect();
        canonical_json(&json!({"version": VERSION, "window_s": self.window_s, "probes": probes}))
    }

    /// Identity of a plan: SHA-256 of its canonical JSON.
    #[must_use]
    pub fn hash(canonical_json: &[u8]) -> [u8; 32] {
        Sha256::digest(canonical_json).into()
    }

    /// Reads what [`AgentPlan::to_canonical_json`] wrote.
    ///
    /// # Errors
    /// [`PlanError`] when the bytes are anything else.
    pub fn from_canonical_json(bytes: &[u8]) -> Result<Self, PlanError> {
        let value: Json = serde_json::from_slice(bytes)?;
        if canonical_json(&value) != bytes {
            return Err(PlanError::NotCanonical);
        }
        let mut problems = Problems::new("plan");
        let plan = Self::decode(&Node::from_json(&value), &mut problems);
        Ok(problems.into_result(plan)?)
    }

    fn decode(root: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(root, "a plan", problems)?;
        let version = map.required("version", problems, Node::whole);
        let window_s = map.required("window_s", problems, window_s);
        let probes = map.required("probes", problems, |node, problems| {
            list(node, problems, HandedProbe::decode)
        });
        map.finish(problems);
        if version? != VERSION {
            return problems.report(
                root.at,
                "bad-value",
                "another version of the plan format",
                "upgrade the agent",
            );
        }
        let probes = probes?;
        check_probes(
            probes.iter().map(|probe| (&probe.schedule.name, probe.block.at)),
            root.at,
            problems,
        )?;
        Some(Self { window_s: window_s?, probes })
    }
}

/// A window's width in s.
fn window_s(node: &Node, problems: &mut Problems) -> Option<u32> {
    let width = node.whole(problems)?;
    let known = u32::try_from(width).ok().filter(|width| WIDTHS_S.contains(width));
    known.or_else(|| {
        problems.report(node.at, "bad-value", node.describe(), format!("one of {WIDTHS_S:?}"))
    })
}

impl HandedProbe {
    fn to_json(&self) -> Json {
        let mut object = JsonMap::new();
        object.insert("name".to_owned(), json!(self.schedule.name.as_str()));
        let every_ns = self.schedule.every_s.saturating_mul(crate::units::NS_PER_S);
        object.insert("every".to_owned(), json!(duration_text(every_ns)));
        object.insert("timeout".to_owned(), json!(duration_text(self.schedule.timeout_ns)));
        object.insert("at_most_ns".to_owned(), json!(self.at_most_ns));
        object.insert(self.kind.clone(), self.block.to_json());
        Json::Object(object)
    }

    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(node, "a probe", problems)?;
        let schedule = Schedule::decode(&mut map, problems);
        let at_most_ns = map.required("at_most_ns", problems, thresholds);
        let kind = kind_block(node, &["name", "every", "timeout", "at_most_ns"], problems);
        let (schedule, at_most_ns, (kind, block)) = (schedule?, at_most_ns?, kind?);
        Some(Self { schedule, kind, block, at_most_ns })
    }
}

fn thresholds(node: &Node, problems: &mut Problems) -> Option<Thresholds> {
    let mut by_phase = Thresholds::new();
    for (phase, at, value) in Map::open(node, "at_most_ns", problems)?.entries() {
        let whole = |text: &str| text.parse::<u64>().map_err(|_| "whole ns");
        let mut limits =
            list(value, problems, |node, problems| scalar(node, problems, "bad-value", whole))?;
        limits.sort_unstable();
        limits.dedup();
        if limits.len() > THRESHOLDS_MAX {
            return problems.report(
                at,
                "bad-value",
                "too many thresholds",
                format!("at most {THRESHOLDS_MAX}"),
            );
        }
        by_phase.insert(phase.to_owned(), limits);
    }
    Some(by_phase)
}
