//! The uplink: what the spool holds goes to the collector, plans come back.

mod offset;
mod session;

use crate::spool::SpoolHandle;
use probefleet_proto::clock::Clock;
use probefleet_proto::v1;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// PEM files of mutual TLS; read again at each connect, so that they can be renewed.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Roots that the collector's certificate must chain to.
    pub ca_file: PathBuf,
    /// This agent's certificate, and what lies between it and the root.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Where the collector is, and who we are.
#[derive(Clone, Debug)]
pub struct UplinkConfig {
    /// `https://HOST:PORT`, or `http://HOST:PORT` of this machine.
    pub collector: String,
    /// Left out = plaintext, to loopback only.
    pub tls: Option<TlsFiles>,
    /// The agent; with TLS what its certificate says.
    pub agent_id: Uuid,
    /// 16 random bytes, made at process start.
    pub boot_id: [u8; 16],
    /// Name that is proposed to a collector that sees this agent first.
    pub name: String,
    /// Labels that are proposed with it.
    pub labels: BTreeMap<String, String>,
    /// Version of the program.
    pub version: String,
}

/// The ends of the runner's channels that the uplink holds.
#[derive(Debug)]
pub struct Links {
    /// Plans from the collector; only the newest matters, so capacity 1 is enough.
    pub plans: mpsc::Sender<v1::Plan>,
    /// What became of them.
    pub applied: mpsc::Receiver<v1::PlanApplied>,
    /// Hash of the plan in force; empty = none.
    pub plan_hash: watch::Receiver<Vec<u8>>,
    /// What is happening now; backlog and oldest unsent window are filled in by the uplink.
    pub status: watch::Receiver<v1::Status>,
    /// The clock that windows are cut by, as it is re-anchored.
    pub clock: watch::Receiver<Clock>,
}

/// How far our clock is from the collector's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Agent's clock minus collector's, ns.
    pub offset_ns: i64,
    /// Bound on the error, ns; at least 1.
    pub error_ns: u64,
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Trying to reach the collector, or waiting to try again; the text says why.
    Down(String),
    /// Welcomed.
    Up,
    /// The collector refuses this agent, its version or a record: a person must act.
    Refused(String),
}

/// What the uplink knows, as it changes.
#[derive(Clone, Debug)]
pub struct Views {
    /// The clock's offset; none before the first exchange.
    pub offset: watch::Receiver<Option<ClockOffset>>,
    /// The connection.
    pub link: watch::Receiver<LinkState>,
}

/// Why an uplink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// Not a URL of a collector.
    #[error("x")]
    X,
}

/// The connection to the collector, kept up for ever.
#[derive(Debug)]
pub struct Uplink;

impl Uplink {
    /// Checks the configuration; nothing is contacted yet.
    ///
    /// # Errors
    /// [`UplinkError`] naming what is wrong.
    pub fn new(_config: UplinkConfig) -> Result<(Self, Views), UplinkError> {
        todo!()
    }

    /// Keeps a session with the collector until `shutdown`; then delivers what it can for two seconds at most.
    pub async fn run(
        self,
        _spool: SpoolHandle,
        _links: Links,
        _shutdown: impl Future<Output = ()>,
    ) {
        todo!()
    }
}
