//! Probes: what an attempt is, what comes out of it, and THE list of kinds.
//!
//! One more kind = one more file (or folder) under `probe/` and one more arm in [`Probe`]. A probe is immutable: all
//! state of an attempt lives and dies with the attempt.

mod connect;
mod environment;
pub(crate) mod failure;
pub mod http;
mod progress;
pub(crate) mod resolver;
pub mod sip;
pub mod sql;
mod statuses;
mod stream;
mod tail;
mod tls;
mod udp;

pub use environment::Environment;
pub use resolver::{Family, Resolver};

use http::HttpProbe;
use probefleet_proto::name::{FailureClass, InvalidReason};
use probefleet_proto::yaml::{Node, Position, Problems};
use serde_json::{Map, Value};
use sip::SipProbe;
use sql::SqlProbe;
use std::borrow::Cow;
use std::time::Duration;
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

/// Wire code such as `503` or `tls:expired`; bounded by [`CODE_MAX_BYTES`].
pub type Code = Cow<'static, str>;

/// Everything one attempt measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What became of it.
    pub outcome: Outcome,
    /// What exactly, as it came over the wire.
    pub code: Option<Code>,
    /// Duration of each phase that happened, ns, in the order in which they happened; `total` is the last and is always
    /// there.
    pub phases_ns: Vec<(Phase, u64)>,
    /// Counts that are not outcomes, such as `retransmissions`, or what a ratio of an agreement is made of; those of a
    /// name are added up. They count whatever became of the attempt, unless we spoiled it.
    pub counters: Vec<(&'static str, u64)>,
    /// What was measured and is no duration, each name once with its unit in its ending: `loss_ppm`, `mos_centi`. Like
    /// phases, they are evidence only where the attempt was ok.
    pub values: Vec<(&'static str, u64)>,
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
    /// Somebody looks at what stands beside its figures.
    pub detailed: bool,
}

/// A probe of any kind, checked and ready to run.
#[derive(Clone, Debug)]
pub enum Probe {
    /// One HTTP request.
    Http(HttpProbe),
    /// One statement on a database.
    Sql(SqlProbe),
    /// One SIP request, or one call.
    Sip(SipProbe),
}

impl Probe {
    /// The kinds of this version, as plans name them.
    pub const KINDS: &'static [&'static str] = &["http", "sip", "sql"];

    /// Reads the block under a probe's kind. `None` means that problems were reported.
    pub fn build(kind: &str, block: &Node, problems: &mut Problems) -> Option<Self> {
        match kind {
            "http" => HttpProbe::build(block, problems).map(Self::Http),
            "sql" => SqlProbe::build(block, problems).map(Self::Sql),
            "sip" => SipProbe::build(block, problems).map(Self::Sip),
            _ => problems.report(
                block.at,
                "unknown-kind",
                format!("`{kind}` probes are not in this version"),
                format!("known kinds: {}", Self::KINDS.join(", ")),
            ),
        }
    }

    /// Reads the block of a plan that a collector handed out: it may not say which of this machine's files are read for
    /// credentials. `None` means that problems were reported.
    pub fn build_handed(kind: &str, block: &Node, problems: &mut Problems) -> Option<Self> {
        match Self::build(kind, block, problems)? {
            Self::Sql(probe) if probe.names_credentials_file() => problems.report(
                block.at,
                "not-handed",
                "`url_file` in a plan that a collector hands out",
                "write `source: NAME`; what it stands for is in the agent's policy, under `sql`",
            ),
            probe => Some(probe),
        }
    }

    /// A probe of a bare URL, with all defaults: its scheme says the kind. `None` means that problems were reported.
    pub fn from_url(url: &str, problems: &mut Problems) -> Option<Self> {
        let scheme = url.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match scheme.as_str() {
            "http" | "https" => HttpProbe::from_url(url, problems).map(Self::Http),
            "postgres" | "postgresql" => SqlProbe::from_url(url, problems).map(Self::Sql),
            "sip" | "sips" => SipProbe::from_url(url, problems).map(Self::Sip),
            _ => problems.report(
                Position::default(),
                "unknown-kind",
                format!("`{scheme}:` probes are not in this version"),
                "known schemes: http, https, postgres, postgresql, sip",
            ),
        }
    }

    /// Whether an attempt of this probe fits into a timeout. `None` means that a problem was reported.
    pub fn check_timeout(&self, timeout: Duration, problems: &mut Problems) -> Option<()> {
        match self {
            Self::Http(_) | Self::Sql(_) => Some(()),
            Self::Sip(probe) => probe.check_timeout(timeout, problems),
        }
    }

    /// Whether the phases of this kind follow one another; else they overlap.
    #[must_use]
    pub const fn phases_follow(&self) -> bool {
        match self {
            Self::Http(_) | Self::Sql(_) => true,
            Self::Sip(_) => false,
        }
    }

    /// The kind, as plans name it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Sql(_) => "sql",
            Self::Sip(_) => "sip",
        }
    }

    /// What is probed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        match self {
            Self::Http(probe) => probe.target(),
            Self::Sql(probe) => probe.target(),
            Self::Sip(probe) => probe.target(),
        }
    }

    /// The block with all defaults filled in and no secrets, for [`probefleet_proto::plan::spec_hash`].
    #[must_use]
    pub fn canonical_block(&self) -> Value {
        match self {
            Self::Http(probe) => probe.canonical_block(),
            Self::Sql(probe) => probe.canonical_block(),
            Self::Sip(probe) => probe.canonical_block(),
        }
    }

    /// Loads what the first attempt would otherwise spend its time on, such as the system's root certificates. Reads
    /// files; call it where a plan is taken on, not on an attempt's way.
    pub fn prepare(&self, environment: &Environment) {
        match self {
            Self::Http(probe) => probe.prepare(environment),
            Self::Sql(probe) => probe.prepare(environment),
            Self::Sip(probe) => probe.prepare(environment),
        }
    }

    /// Runs one attempt. It ends by its deadline, whatever the other side does, and leaves no socket behind, but for a
    /// call that must still be ended: see [`Environment::settle`].
    pub async fn attempt(&self, environment: &Environment, attempt: Attempt) -> Sample {
        match self {
            Self::Http(probe) => probe.attempt(environment, attempt).await,
            // Its future is large, and an attempt of another kind need not have room for it.
            Self::Sql(probe) => Box::pin(probe.attempt(environment, attempt)).await,
            Self::Sip(probe) => probe.attempt(environment, attempt).await,
        }
    }
}
