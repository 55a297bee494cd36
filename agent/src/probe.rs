//! Probes: what an attempt is, what comes out of it, and THE list of kinds.
//!
//! One more kind = one more file (or folder) under `probe/` and one more arm in [`Probe`]. A probe is immutable: all
//! state of an attempt lives and dies with the attempt.

use probefleet_proto::name::{FailureClass, InvalidReason};
use serde_json::{Map, Value};
use std::borrow::Cow;
use tokio::time::Instant;

/// What became of an attempt that started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As expected.
    Ok,
    /// The provider's failure.
    Failed(FailureClass),
    /// Spoiled by us: says nothing about the provider.
    Invalid(InvalidReason),
}

/// Name of a phase, such as `connect`.
pub type Phase = Cow<'static, str>;

/// Everything one attempt measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// Wire code such as `503` or `tls:expired`; bounded by [`CODE_MAX_BYTES`].
    pub code: Option<Cow<'static, str>>,
    /// Duration of each phase that happened, ns, in the order in which they happened.
    pub phases_ns: Vec<(Phase, u64)>,
    /// What `try` shows beside the figures; never evidence.
    pub detail: Map<String, Value>,
}

/// Longest wire code: it is a label, not a message.
pub const CODE_MAX_BYTES: usize = 64;

/// When an attempt starts and must have ended.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// When it starts; `total` counts from here.
    pub started: Instant,
    /// When it must have ended.
    pub deadline: Instant,
}
