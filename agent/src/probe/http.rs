//! HTTP probes.

use super::{Attempt, Environment, Outcome, Sample};
use probefleet_proto::clock::saturating_ns;
use probefleet_proto::name::InvalidReason;
use probefleet_proto::yaml::{Map, Node, Problems};
use serde_json::{Map as JsonMap, Value, json};
use tokio::time::Instant;

/// One HTTP request, checked and ready to run.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    url: String,
}

impl HttpProbe {
    /// Reads the block under `http`.
    pub fn build(block: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(block, "an http block", problems)?;
        let url = map.required("url", problems, Node::text);
        map.finish(problems);
        Some(Self { url: url? })
    }

    /// What is probed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        self.url.clone()
    }

    /// The block with its defaults, without secrets.
    #[must_use]
    pub fn canonical_block(&self) -> Value {
        json!({"url": self.url})
    }

    /// Loads root certificates.
    pub fn prepare(&self, _environment: &Environment) {}

    /// Runs one attempt.
    #[expect(clippy::unused_async, reason = "first version of the interface")]
    pub async fn attempt(&self, _environment: &Environment, attempt: Attempt) -> Sample {
        let total = saturating_ns(Instant::now().duration_since(attempt.started));
        Sample {
            outcome: Outcome::Invalid(InvalidReason::AgentError),
            code: None,
            phases_ns: vec![("total".into(), total)],
            detail: JsonMap::new(),
        }
    }
}
