//! SIP probes over UDP: `options` asks once, `call` makes a whole call and ends it.
//!
//! What an attempt does is a machine without clock or socket (`scenario.rs`, `options.rs`, `call.rs` on `message.rs`,
//! `transaction.rs`, `sdp.rs`); here it is given both. Delays are those of RFC 6076 and overlap: `PROBES.md` has where
//! each begins and ends. Every address passes the policy before it is asked, also one that a dialog names.

mod account;
mod call;
mod caller;
mod conversation;
pub(crate) mod digest;
pub(crate) mod guard;
pub(crate) mod identity;
mod inquiry;
pub(crate) mod locate;
pub(crate) mod message;
mod options;
#[cfg_attr(not(test), expect(dead_code, reason = "made by `mode: register`"))]
mod register;
mod scenario;
pub(crate) mod sdp;
mod sockets;
mod spec;
pub(crate) mod timers;
mod transaction;
pub(crate) mod transport;
pub(crate) mod uri;

pub(crate) use sockets::bind_media;

use super::environment::CallSlot;
use super::failure::{Failure, denied, from_io_at_once};
use super::progress::{Progress, RESOLVE};
use super::{Attempt, Environment, Sample};
use crate::policy::Kind;
use call::{Call, CallKind, CallPlan, TEARDOWN};
use caller::{AskPlan, Caller};
use conversation::{Conversation, Parts, Route};
use identity::{Identifiers, SEED_BYTES};
use options::Options;
use probefleet_proto::clock::saturating_ns;
use probefleet_proto::name::{FailureClass, InvalidReason};
use probefleet_proto::units::duration_text;
use probefleet_proto::yaml::{Node, Problems};
use scenario::{Conclusion, Scenario, Targets};
use sdp::MediaPlace;
use serde_json::{Value, json};
use sockets::Sockets;
use spec::{Mode, Spec, Target};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use transport::Transport;
use uri::Hop;

/// The phase in which an INVITE is not answered yet.
const INVITE: &str = "invite";
/// The phase in which an OPTIONS is not answered yet.
const OPTIONS: &str = "options";

/// One SIP request or call, checked and ready to run.
#[derive(Clone, Debug)]
pub struct SipProbe {
    spec: Arc<Spec>,
}

impl SipProbe {
    /// Reads the block under `sip`. `None` means that problems were reported.
    pub fn build(block: &Node, problems: &mut Problems) -> Option<Self> {
        Spec::decode(block, problems).map(|spec| Self { spec: Arc::new(spec) })
    }

    /// An OPTIONS to that URI. `None` means that problems were reported.
    pub fn from_url(url: &str, problems: &mut Problems) -> Option<Self> {
        Self::build(&Node::from_json(&json!({"uri": url})), problems)
    }

    /// Whether a timeout leaves room for the call and its end. `None` means that a problem was reported.
    pub fn check_timeout(&self, timeout: Duration, problems: &mut Problems) -> Option<()> {
        let Mode::Call { hold, hold_at, .. } = self.spec.mode else { return Some(()) };
        if hold.saturating_add(TEARDOWN) < timeout {
            return Some(());
        }
        let text = |duration| duration_text(saturating_ns(duration));
        let message = format!(
            "a call held for {} does not fit into a timeout of {}",
            text(hold),
            text(timeout)
        );
        let cure = format!("leave more than {} beside the hold", text(TEARDOWN));
        problems.report(hold_at, "bad-value", message, cure)
    }

    /// What is probed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        let method = match self.spec.mode {
            Mode::Options => "OPTIONS",
            Mode::Register => "REGISTER",
            Mode::Ring | Mode::Call { .. } => "INVITE",
        };
        format!("{method} {}", self.spec.uri)
    }

    /// The block with all defaults filled in.
    #[must_use]
    pub fn canonical_block(&self) -> Value {
        self.spec.canonical()
    }

    /// Runs one attempt.
    pub async fn attempt(&self, environment: &Environment, attempt: Attempt) -> Sample {
        let mut run = Run {
            spec: &self.spec,
            environment,
            progress: Progress::new(attempt),
            deadline: attempt.deadline,
        };
        match Box::pin(run.converse()).await {
            Ok(conclusion) => {
                for (phase, delay) in conclusion.phases {
                    run.progress.measured(phase, delay);
                }
                let result = conclusion.result.map(|status| Some(format!("sip:{status}").into()));
                run.progress.finish(conclusion.at, result)
            }
            Err(failure) => run.progress.finish(Instant::now(), Err(failure)),
        }
    }
}

/// An attempt under way.
struct Run<'a> {
    spec: &'a Spec,
    environment: &'a Environment,
    progress: Progress,
    deadline: Instant,
}

impl Run<'_> {
    /// Finds the address, and asks.
    async fn converse(&mut self) -> Result<Conclusion, Failure> {
        let address = self.resolve().await?;
        self.progress.detail.insert("address".to_owned(), address.to_string().into());
        let slot = self.admit(address)?;
        let parts = self.begin(address, slot)?;
        let route = Dialled { spec: self.spec, environment: self.environment };
        let mut conversation = Conversation::new(self.environment, parts);
        let conclusion = conversation.run(&route, self.deadline).await;
        for (key, value) in conversation.notes() {
            self.progress.detail.insert(key.to_owned(), value);
        }
        conclusion.ok_or_else(|| agent_error("the conversation was over before it began"))
    }

    /// The one address that is asked, if the policy permits it.
    async fn resolve(&mut self) -> Result<SocketAddr, Failure> {
        let Target { host, port, address } = &self.spec.target;
        self.progress.enter(RESOLVE);
        let route = Dialled { spec: self.spec, environment: self.environment };
        let found = timeout_at(self.deadline, route.find(host, *port)).await;
        let found = found.unwrap_or_else(|_| Err(self.progress.deadline_passed()))?;
        if address.is_none() {
            self.progress.done();
        }
        Ok(found)
    }

    /// The right to make the call: calls cost money.
    fn admit(&self, address: SocketAddr) -> Result<Option<CallSlot>, Failure> {
        let Mode::Call { hold, .. } = self.spec.mode else { return Ok(None) };
        let host = &self.spec.target.host;
        let Some((entry, limits)) = self.environment.permission().call_limits(host, address) else {
            return Ok(None);
        };
        self.environment.admit_call(entry, &limits, hold).map(Some).map_err(|refused| {
            Failure::invalid(InvalidReason::PolicyDenied, refused.code(), refused.to_string())
        })
    }

    /// Opens the sockets and writes the first request.
    fn begin(&self, address: SocketAddr, slot: Option<CallSlot>) -> Result<Parts, Failure> {
        let name = Hop {
            host: self.spec.target.host.clone(),
            port: self.spec.target.port,
            transport: Transport::Udp,
        };
        let at_once = |error| from_io_at_once(&error);
        let sockets = Sockets::connect(address, name).map_err(at_once)?;
        let local = sockets.local();
        let identifiers = Identifiers::new(seed()?);
        let caller = Caller::new(self.spec.uri.clone(), local.to_string(), identifiers);
        let now = Instant::now();
        let ask = AskPlan {
            expected: self.spec.expected.clone(),
            credentials: None,
            from: None,
            proxy: None,
            targets: Targets { transports: vec![Transport::Udp], failover: false },
        };
        let scenario: Box<dyn Scenario>;
        let (mut media, mut phase) = (None, OPTIONS);
        match self.spec.mode {
            Mode::Register | Mode::Ring => return Err(agent_error("is not in this version")),
            Mode::Options => scenario = Box::new(Options::new(caller, ask, now)),
            Mode::Call { hold, .. } => {
                let socket = bind_media(local).map_err(at_once)?;
                let place = socket.local_addr().map_err(at_once)?;
                let place = MediaPlace { address: place.ip().to_string(), port: place.port() };
                let (kind, deadline) = (CallKind::Answer, self.deadline);
                let plan = CallPlan { ask, kind, hold, deadline, media: place };
                scenario = Box::new(Call::new(caller, plan, now));
                (media, phase) = (Some(socket), INVITE);
            }
        }
        Ok(Parts { scenario, sockets, media, slot, phase })
    }
}

/// Hosts as this probe may ask them.
struct Dialled<'a> {
    spec: &'a Spec,
    environment: &'a Environment,
}

impl Route for Dialled<'_> {
    async fn find(&self, host: &str, port: u16) -> Result<SocketAddr, Failure> {
        let target = spec::target(host, port).ok_or_else(|| {
            let why = format!("`{host}` is no host that can be asked");
            Failure::failed(FailureClass::Resolve, "nxdomain", why)
        })?;
        let permission = self.environment.permission();
        permission.check_host(Kind::Sip, &target.host, port).map_err(denied)?;
        let address = match target.address {
            Some(address) => address,
            None => self.environment.resolver().resolve(&target.host, self.spec.family).await?,
        };
        // A v4-mapped address is asked as what it is, so that the policy sees what the network will.
        let address = SocketAddr::new(address.to_canonical(), port);
        permission.check(Kind::Sip, &target.host, address).map_err(denied)?;
        Ok(address)
    }
}

/// Bytes that nobody can guess.
fn seed() -> Result<[u8; SEED_BYTES], Failure> {
    let mut seed = [0; SEED_BYTES];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| agent_error("the system gives no random numbers"))?;
    Ok(seed)
}

fn agent_error(why: &str) -> Failure {
    Failure::invalid(InvalidReason::AgentError, "sip", why)
}

#[cfg(test)]
mod tests;
