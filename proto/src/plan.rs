//! The plan: what is measured. [`Plan`] is the operator's file (`formats.md` §10), [`AgentPlan`] the part of it that an
//! agent is handed.
//!
//! The block under a probe's kind belongs to that kind: here it is carried, not understood, so that one more kind
//! changes nothing on the way. A probe has exactly one key besides the common ones, and that key is its kind.

mod handed;

pub use handed::{AgentPlan, HandedProbe, PlanError, THRESHOLDS_MAX, Thresholds};

use crate::label::Selector;
use crate::name::Name;
use crate::units::{duration_text, seconds_text};
use crate::window::{EVERY_MAX_S, EVERY_MIN_S, TIMEOUT_DEFAULT_NS, timeout_limit_ns};
use crate::yaml::{Document, Map, Node, Position, Problems, Value, list};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

/// Most probes of a plan: about as many as an agent has under way at once. A thousand calls a second, each ten seconds
/// long, are 13,000 of them.
pub const PROBES_MAX: usize = 16_000;

/// Identity of what a probe measures: a changed spec is another series.
pub type SpecHash = [u8; 16];

/// The operator's plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The probes in the order of the file.
    pub probes: Vec<PlannedProbe>,
}

/// A probe of the operator's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedProbe {
    /// What every kind has.
    pub schedule: Schedule,
    /// Which agents run it.
    pub agents: Selector,
    /// Kind, such as `http`.
    pub kind: String,
    /// The block under the kind.
    pub block: Node,
}

/// When a probe runs, and how long an attempt may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Name of the probe.
    pub name: Name,
    /// Interval, s.
    pub every_s: u64,
    /// Longest duration of an attempt, ns.
    pub timeout_ns: u64,
}

impl Plan {
    /// Reads a plan file.
    ///
    /// # Errors
    /// All problems of the file, but for those inside the kinds' blocks.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let mut problems = Problems::new(file);
        let plan = Self::decode(&document.root, &mut problems);
        problems.into_result(plan)
    }

    fn decode(root: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(root, "a plan", problems)?;
        let probes = map.required("probes", problems, |node, problems| {
            list(node, problems, PlannedProbe::decode)
        });
        map.finish(problems);
        let probes = probes?;
        check_probes(
            probes.iter().map(|probe| (&probe.schedule.name, probe.block.at)),
            root.at,
            problems,
        )?;
        Some(Self { probes })
    }
}

/// What holds for the probes of every plan, the operator's and the handed one: not too many, each with its own name.
fn check_probes<'a>(
    probes: impl ExactSizeIterator<Item = (&'a Name, Position)>,
    plan_at: Position,
    problems: &mut Problems,
) -> Option<()> {
    if probes.len() > PROBES_MAX {
        let cure = format!("at most {PROBES_MAX}");
        return problems.report(plan_at, "bad-value", "too many probes", cure);
    }
    let mut seen = HashMap::new();
    let mut unique = Some(());
    for (name, at) in probes {
        if let Some(first) = seen.insert(name, at) {
            let cure = format!(
                "another probe of that name stands before line {}; names differ",
                first.line
            );
            unique = problems.report(at, "duplicate-name", format!("probe `{name}`"), cure);
        }
    }
    unique
}

impl PlannedProbe {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(node, "a probe", problems)?;
        let schedule = Schedule::decode(&mut map, problems);
        let agents = map.optional("agents", Selector::default(), problems, Selector::decode);
        let kind = kind_block(node, &["name", "every", "timeout", "agents"], problems);
        let (schedule, agents, (kind, block)) = (schedule?, agents?, kind?);
        Some(Self { schedule, agents, kind, block })
    }
}

impl Schedule {
    /// Reads `name`, `every` and `timeout` of an open probe.
    fn decode(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let name = map.required("name", problems, Node::name);
        let every_s = map.required("every", problems, every_s);
        let timeout = map.optional("timeout", None, problems, |node, problems| {
            node.duration_ns(problems).map(|ns| Some((ns, node.at)))
        });
        let (name, every_s, timeout) = (name?, every_s?, timeout?);
        let limit_ns = timeout_limit_ns(every_s);
        match timeout {
            None => Some(Self { name, every_s, timeout_ns: TIMEOUT_DEFAULT_NS.min(limit_ns) }),
            Some((timeout_ns, _)) if (1..=limit_ns).contains(&timeout_ns) => {
                Some(Self { name, every_s, timeout_ns })
            }
            Some((timeout_ns, at)) => {
                let (every, limit) = (seconds_text(every_s), duration_text(limit_ns));
                let message =
                    format!("timeout `{}` for a probe every {every}", duration_text(timeout_ns));
                let cure = format!("at most 9/10 of `every` and 120s: up to {limit} here");
                problems.report(at, "bad-value", message, cure)
            }
        }
    }
}

fn every_s(node: &Node, problems: &mut Problems) -> Option<u64> {
    let every_s = node.duration_s(problems)?;
    if (EVERY_MIN_S..=EVERY_MAX_S).contains(&every_s) {
        return Some(every_s);
    }
    problems.report(node.at, "bad-value", node.describe(), "between 1s and 24h")
}

/// The one key that is not common: its name is the kind. Other unknown keys are reported as such.
fn kind_block(node: &Node, common: &[&str], problems: &mut Problems) -> Option<(String, Node)> {
    let Value::Mapping(entries) = &node.value else { return None };
    let unknown = || entries.iter().filter(|(key, _)| !common.contains(&key.text.as_str()));
    let blocks: Vec<_> =
        unknown().filter(|(_, value)| matches!(value.value, Value::Mapping(_))).collect();
    for (key, _) in unknown().filter(|(_, value)| !matches!(value.value, Value::Mapping(_))) {
        let cure =
            format!("known here: {}, and one block such as `http: {{…}}`", common.join(", "));
        problems.report::<()>(
            key.at,
            "unknown-key",
            format!("`{}` is not known here", key.text),
            cure,
        );
    }
    match blocks.as_slice() {
        [(key, block)] => Some((key.text.clone(), block.clone())),
        [] => {
            let cure = "add one block such as `http: {url: https://…}`";
            problems.report(node.at, "missing-key", "the probe does not say what it measures", cure)
        }
        [_, (second, _), ..] => problems.report(
            second.at,
            "two-kinds",
            format!("`{}` is a second block", second.text),
            "one kind a probe",
        ),
    }
}

/// Identity of a spec: the first 16 bytes of SHA-256 of the canonical JSON of `{every, timeout, KIND: {…}}`, where
/// `block` has its defaults filled in (`formats.md` §2).
#[must_use]
pub fn spec_hash(schedule: &Schedule, kind: &str, block: &Json) -> SpecHash {
    let every = duration_text(schedule.every_s.saturating_mul(crate::units::NS_PER_S));
    let spec = json!({"every": every, "timeout": duration_text(schedule.timeout_ns), kind: block});
    let digest: [u8; 32] = Sha256::digest(canonical_json(&spec)).into();
    let mut hash = SpecHash::default();
    hash.copy_from_slice(&digest[..16]);
    hash
}

/// RFC 8785 canonical JSON of a value without floats.
///
/// # Panics
/// Never: the only values that cannot be written are floats that are not finite, and a JSON value holds none.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a JSON value without floats always serialises; ours come from text and integers"
)]
pub fn canonical_json(value: &Json) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("JSON without floats")
}

#[cfg(test)]
mod tests;
