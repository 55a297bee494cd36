//! The plans that were applied last, kept in `STATE/plan.json`: what to run at once after a start, collector or not,
//! and what was due while the agent was down.
//!
//! ```json
//! {"version":1,"plans":[{"from_window_s":1700000040,"plan":"{…canonical JSON…}"}]}
//! ```
//! Ascending by `from_window_s`. The newest entry may lie in the future: a plan takes effect at a window's edge, and is
//! written down before that.

use probefleet_proto::plan::{AgentPlan, PlanError};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE: &str = "plan.json";
const VERSION: u64 = 1;
/// How many plans are kept: who changes plans more often than this within a day loses only the account of a downtime
/// that began before.
const KEPT_MAX: usize = 16;

/// A plan with the instant from which it holds.
#[derive(Clone, Debug)]
pub struct Applied {
    /// First window, Unix s.
    pub from_s: u64,
    /// The plan as it came. As a tree of thousands of probes it would take twenty times the memory, for nothing but the
    /// next start.
    pub canonical_json: Arc<str>,
}

/// The kept plans.
#[derive(Debug)]
pub struct AppliedPlans {
    path: PathBuf,
    list: Vec<Applied>,
}

/// The kept plans cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AppliedError {
    /// The disk.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The content.
    #[error("{path} is damaged ({why}); move it away: the collector will send the plan again")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Applied {
    /// SHA-256 of the canonical JSON.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        AgentPlan::hash(self.canonical_json.as_bytes())
    }

    /// Reads the plan.
    ///
    /// # Errors
    /// [`PlanError`] when the text is no plan.
    pub fn plan(&self) -> Result<AgentPlan, PlanError> {
        AgentPlan::from_canonical_json(self.canonical_json.as_bytes())
    }
}

impl AppliedPlans {
    /// Reads what is kept in a state directory; nothing there is no plan.
    ///
    /// # Errors
    /// [`AppliedError`] naming the file.
    pub fn load(state_dir: &Path) -> Result<Self, AppliedError> {
        let path = state_dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, list: Vec::new() });
            }
            Err(source) => return Err(AppliedError::Io { doing: "read", path, source }),
        };
        match read(&bytes) {
            Ok(list) => Ok(Self { path, list }),
            Err(why) => Err(AppliedError::Damaged { path, why }),
        }
    }

    /// No plan, in a state directory whose file cannot be used; keeping a plan replaces it.
    #[must_use]
    pub fn none(state_dir: &Path) -> Self {
        Self { path: state_dir.join(FILE), list: Vec::new() }
    }

    /// The plans, ascending by the window from which they hold.
    #[must_use]
    pub fn list(&self) -> &[Applied] {
        &self.list
    }

    /// Keeps a plan that holds from a window on, in place of any that has not begun by `now_s` (Unix s).
    ///
    /// # Errors
    /// [`AppliedError::Io`]; then the file is as it was.
    pub fn keep(&mut self, applied: Applied, now_s: u64) -> Result<(), AppliedError> {
        let begun = |kept: &&Applied| kept.from_s <= now_s && kept.from_s < applied.from_s;
        let mut list: Vec<Applied> = self.list.iter().filter(begun).cloned().collect();
        list.push(applied);
        let from = list.len().saturating_sub(KEPT_MAX);
        list.drain(..from);
        write(&self.path, &list).map_err(|source| AppliedError::Io {
            doing: "write",
            path: self.path.clone(),
            source,
        })?;
        self.list = list;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Applied>, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if value["version"] != json!(VERSION) {
        return Err(format!("version {}, not {VERSION}", value["version"]));
    }
    let entries = value["plans"].as_array().ok_or("no list `plans`")?;
    let entry = |entry: &Value| {
        let from_s = entry["from_window_s"].as_u64().ok_or("no `from_window_s`")?;
        let plan = entry["plan"].as_str().ok_or("no `plan`")?;
        Ok(Applied { from_s, canonical_json: plan.into() })
    };
    entries.iter().map(entry).collect()
}

/// Replaces the file whole: a crash leaves the old one or the new one.
fn write(path: &Path, list: &[Applied]) -> std::io::Result<()> {
    let plans: Vec<Value> = list
        .iter()
        .map(|applied| json!({"from_window_s": applied.from_s, "plan": &*applied.canonical_json}))
        .collect();
    let fresh = path.with_extension("json.new");
    let mut file = std::fs::File::create(&fresh)?;
    file.write_all(json!({"version": VERSION, "plans": plans}).to_string().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(from_s: u64, name: &str) -> Applied {
        let plan = String::from_utf8(plan(name)).expect("JSON is UTF-8");
        Applied { from_s, canonical_json: plan.into() }
    }

    fn plan(name: &str) -> Vec<u8> {
        let probes = json!([{"at_most_ns": {}, "every": "5s", "http": {"url": "http://x/"}, "name": name, "timeout": "1s"}]);
        probefleet_proto::plan::canonical_json(
            &json!({"probes": probes, "version": 1, "window_s": 10}),
        )
    }

    fn kept(plans: &AppliedPlans) -> Vec<(u64, String)> {
        let name = |kept: &Applied| {
            kept.plan().expect("a plan").probes[0].schedule.name.as_str().to_owned()
        };
        plans.list().iter().map(|kept| (kept.from_s, name(kept))).collect()
    }

    fn named(expected: [(u64, &str); 2]) -> [(u64, String); 2] {
        expected.map(|(from_s, name)| (from_s, name.to_owned()))
    }

    #[test]
    fn a_plan_survives_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut plans = AppliedPlans::load(dir.path()).expect("nothing kept");
        assert!(plans.list().is_empty());
        plans.keep(applied(10, "a"), 5).expect("writes");
        plans.keep(applied(20, "b"), 15).expect("writes");
        let again = AppliedPlans::load(dir.path()).expect("reads");
        assert_eq!(kept(&again), named([(10, "a"), (20, "b")]));
        assert_eq!(again.list()[1].hash(), AgentPlan::hash(&plan("b")));
    }

    #[test]
    fn a_plan_that_has_not_begun_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut plans = AppliedPlans::load(dir.path()).expect("nothing kept");
        for (from_s, name, now_s) in [(10, "a", 5), (30, "b", 15), (30, "c", 16), (20, "d", 17)] {
            plans.keep(applied(from_s, name), now_s).expect("writes");
        }
        assert_eq!(kept(&plans), named([(10, "a"), (20, "d")]));
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(FILE), "{").expect("writes");
        let error = AppliedPlans::load(dir.path()).expect_err("damaged").to_string();
        assert!(error.contains("plan.json is damaged"), "{error}");
    }
}
