//! The uplink: what the spool holds goes to the collector, plans come back.
//!
//! [`session`] decides, [`drive`] carries one session over one connection, [`connect`] makes the connection, [`reconnect`]
//! decides what follows its end, and this file keeps all that going. [`simulation`] is the same without socket and thread.

mod connect;
mod dial;
mod drive;
mod offset;
mod reconnect;
mod session;
pub(crate) mod simulation;

use self::connect::Target;
use self::dial::Tcp;
pub use self::dial::{Dial, DialError};
use self::drive::{Outcome, Shared};
use self::offset::Estimate;
use self::reconnect::{Next, Reconnect};
use self::session::End;
use crate::spool::{Retire, SpoolHandle, SpoolState};
use probefleet_proto::clock::Clock;
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::v1;
use prost::Message as _;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Metadata that carries the agent's id where no certificate does, as UUID text.
pub const AGENT_ID_METADATA: &str = "probefleet-agent-id";

/// Protocol version of Hello.
const PROTOCOL: u32 = 1;

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
    /// `https://HOST:PORT`, or `http://HOST:PORT` of this machine. Without a port: 7400.
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
    /// What the spool's records are signed with.
    pub evidence_key: PublicKey,
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
    /// What is happening now, sent every few seconds; backlog and oldest unsent window are filled in here.
    pub status: watch::Receiver<v1::Status>,
    /// The clock that windows are cut by, as it is re-anchored.
    pub clock: watch::Receiver<Clock>,
}

/// How far our clock is from the collector's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Agent's clock minus collector's, ns.
    pub offset_ns: i64,
    /// Bound on the error when it was measured, ns; at least 1.
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
    /// Sessions that the collector has welcomed.
    pub sessions: watch::Receiver<u64>,
}

/// Why an uplink cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// Not a URL of a collector, or not one that may be used with these TLS files.
    #[error(
        "the collector's URL {url} cannot be used: {why}; write https://HOST:PORT with tls files, or http://127.0.0.1:PORT without"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Whether a collector may be reached by that URL, with or without TLS; said before anything is contacted.
///
/// # Errors
/// What is wrong with the URL.
pub fn check_url(url: &str, tls: bool) -> Result<(), &'static str> {
    connect::Place::of(url, tls).map(drop)
}

/// The connection to the collector, kept up for ever.
#[derive(Debug)]
pub struct Uplink<D = Tcp> {
    config: UplinkConfig,
    target: Target<D>,
    reconnect: Reconnect,
    estimate: Estimate,
    link: watch::Sender<LinkState>,
    sessions: watch::Sender<u64>,
    offset: watch::Sender<Option<ClockOffset>>,
}

impl Uplink {
    /// Checks the configuration; nothing is contacted yet.
    ///
    /// # Errors
    /// [`UplinkError`] naming what is wrong.
    pub fn new(config: UplinkConfig) -> Result<(Self, Views), UplinkError> {
        let is_secure = config.tls.is_some();
        Self::dialling(config, |host, port| Tcp::to(host, port, is_secure))
    }
}

impl<D: Dial> Uplink<D> {
    /// Likewise, over what somebody else dials.
    ///
    /// # Errors
    /// [`UplinkError`] naming what is wrong.
    pub fn dialling(
        config: UplinkConfig,
        dial: impl FnOnce(String, u16) -> D,
    ) -> Result<(Self, Views), UplinkError> {
        let target = Target::of(&config, dial)?;
        let (offset, offset_view) = watch::channel(None);
        let (link, link_view) = watch::channel(LinkState::Down("not yet connected".to_owned()));
        let (sessions, sessions_view) = watch::channel(0);
        let reconnect = Reconnect::new(seed(&config));
        let estimate = Estimate::default();
        let uplink = Self { config, target, reconnect, estimate, link, sessions, offset };
        Ok((uplink, Views { offset: offset_view, link: link_view, sessions: sessions_view }))
    }

    /// Keeps a session with the collector until `shutdown`; then delivers what the spool holds, for two seconds at most.
    /// So the runner first appends its last records, then ends this, then closes the spool.
    pub async fn run(self, spool: SpoolHandle, links: Links, shutdown: impl Future<Output = ()>) {
        let (stopper, stop) = watch::channel(false);
        let stopped = async move {
            shutdown.await;
            stopper.send_replace(true);
            stopper.closed().await; // a sender that is gone would look like a change
        };
        tokio::join!(self.keep_up(spool, links, stop), stopped);
    }

    async fn keep_up(
        mut self,
        spool: SpoolHandle,
        mut links: Links,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            let Some(outcome) = self.attempt(&spool, &mut links, &mut stop).await else { return };
            if *stop.borrow() {
                return;
            }
            let Some(wait) = self.after(outcome, &spool, &links).await.wait() else {
                drop(stop.wait_for(|stop| *stop).await);
                return;
            };
            tokio::select! {
                () = sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Connects and speaks until that ends; none when the agent stops before there is a connection.
    async fn attempt(
        &mut self,
        spool: &SpoolHandle,
        links: &mut Links,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Outcome> {
        let connected = tokio::select! {
            connected = self.target.connect() => connected,
            _ = stop.wait_for(|stop| *stop) => return None,
        };
        let channel = match connected {
            Ok(channel) => channel,
            Err(error) => {
                let end = End::Retry { why: error.to_string(), after: None };
                return Some(Outcome { end, welcomed: None });
            }
        };
        let lifetime = self.reconnect.lifetime();
        let shared = Shared {
            config: &self.config,
            spool,
            links,
            link: &self.link,
            sessions: &self.sessions,
            offset: &self.offset,
            estimate: &mut self.estimate,
            stop,
        };
        Some(drive::run(channel, lifetime, shared).await)
    }

    async fn after(&mut self, outcome: Outcome, spool: &SpoolHandle, links: &Links) -> Next {
        let now = Instant::now();
        let state = spool.state().borrow().clone();
        let next = self.reconnect.after(outcome.end, outcome.welcomed, &state, now);
        match &next {
            Next::Wait { why, wait } => {
                tracing::info!(%why, wait_ms = wait.as_millis(), "not connected to the collector");
                self.link.send_replace(LinkState::Down(why.clone()));
            }
            Next::Retire { reason, why, .. } => {
                tracing::error!(%why, "the collector knows another history of this spool");
                self.link.send_replace(LinkState::Down(why.clone()));
                let event = retirement(*reason, why, links.clock.borrow().to_unix_ns(now));
                if let Err(error) = spool.retire(*reason, event.encode_to_vec()).await {
                    tracing::error!(%error, "a new spool cannot be made");
                    self.reconnect.stayed();
                }
            }
            Next::Refused { why, .. } => {
                tracing::error!(%why, "the collector refuses this agent");
                self.link.send_replace(LinkState::Refused(why.clone()));
            }
            Next::Never { why } => {
                tracing::error!(%why, "nothing more is sent to the collector until the agent is started again");
                self.link.send_replace(LinkState::Refused(why.clone()));
            }
        }
        next
    }
}

/// The first message of a session.
fn hello(
    config: &UplinkConfig,
    spool: &SpoolState,
    plan_hash: Vec<u8>,
    wall_time_ns: u64,
) -> v1::Hello {
    v1::Hello {
        protocol: PROTOCOL,
        spool_id: spool.spool_id.to_vec(),
        boot_id: config.boot_id.to_vec(),
        oldest_seq: spool.oldest_seq,
        next_seq: spool.next_seq,
        head_hash: spool.head_hash.to_vec(),
        plan_hash,
        version: config.version.clone(),
        proposed_name: config.name.clone(),
        proposed_labels: config.labels.clone().into_iter().collect(),
        wall_time_ns,
        evidence_key: config.evidence_key.as_bytes().to_vec(),
    }
}

/// The seed of an agent's jitter.
fn seed(config: &UplinkConfig) -> u64 {
    config.boot_id.iter().fold(0, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte))
}

/// The event that begins the spool which follows one that was left.
fn retirement(reason: Retire, why: &str, wall_time_ns: u64) -> v1::Event {
    v1::Event { what: reason.event().to_owned(), wall_time_ns, detail: why.to_owned() }
}

#[cfg(test)]
mod tests;
