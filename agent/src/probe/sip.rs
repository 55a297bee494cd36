//! SIP probes: `options` asks once, `call` makes a whole call and ends it.
//!
//! What an attempt does is a machine without clock or socket (`scenario.rs`, `options.rs`, `call.rs` on `message.rs`,
//! `transaction.rs`, `sdp.rs`); here it is given both. Delays are those of RFC 6076 and overlap: `PROBES.md` has where
//! each begins and ends. Every address passes the policy before it is asked, also one that a dialog names.

mod account;
mod call;
mod caller;
mod conversation;
mod dial;
pub(crate) mod digest;
pub(crate) mod endpoint;
mod flow;
pub(crate) mod framing;
pub(crate) mod guard;
pub(crate) mod identity;
mod inquiry;
mod links;
pub(crate) mod locate;
#[cfg_attr(not(test), expect(dead_code, reason = "no mode of the probe sends audio yet"))]
pub(crate) mod media;
pub(crate) mod message;
mod options;
pub(crate) mod rate;
#[cfg_attr(not(test), expect(dead_code, reason = "made by `mode: register`"))]
mod register;
mod scenario;
pub(crate) mod sdp;
mod sockets;
mod spec;
mod stamps;
pub(crate) mod timers;
mod transaction;
pub(crate) mod transport;
pub(crate) mod uri;

pub(crate) use sockets::bind_media;

use super::environment::CallSlot;
use super::failure::{Failure, from_io_at_once};
use super::progress::{Progress, RESOLVE};
use super::tls::Wanted;
use super::{Attempt, Environment, Sample};
use call::{Call, CallKind, CallPlan, TEARDOWN};
use caller::{AskPlan, Caller};
use conversation::{Conversation, Parts};
use dial::{Dialler, Limit};
use identity::{Identifiers, SEED_BYTES};
use links::{Links, Server};
use options::Options;
use probefleet_proto::clock::saturating_ns;
use probefleet_proto::name::InvalidReason;
use probefleet_proto::units::duration_text;
use probefleet_proto::yaml::{Node, Problems};
use scenario::{Conclusion, Scenario, Targets};
use sdp::MediaPlace;
use serde_json::{Value, json};
use spec::{Mode, Spec, Target};
use stamps::Stamps;
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

    /// Has the kernel begin to stamp, and loads the root certificates, if the probe needs them. A file that cannot be read
    /// shows in the attempts.
    pub fn prepare(&self, environment: &Environment) {
        environment.endpoints().prepare();
        if self.spec.uri.transport() == Transport::Tls {
            drop(environment.trust().client(&Wanted::sip(self.spec.ca_file.as_deref())));
        }
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
    /// Finds out who can be asked, and asks.
    async fn converse(&mut self) -> Result<Conclusion, Failure> {
        let servers = self.servers().await?;
        let first = servers.first().ok_or_else(|| agent_error("nobody to ask"))?;
        self.progress.detail.insert("address".to_owned(), first.address.to_string().into());
        let slot = self.admit(first)?;
        let parts = self.begin(servers, slot).await?;
        let mut conversation = Conversation::new(self.environment.tails(), parts);
        let conclusion = conversation.run(self.dialler(), self.deadline).await;
        self.progress.detail.extend(conversation.notes());
        conclusion.ok_or_else(|| agent_error("the conversation was over before it began"))
    }

    fn dialler(&self) -> Dialler<'_> {
        Dialler { spec: self.spec, environment: self.environment }
    }

    /// Those who can be asked, in that order, as far as the policy permits them.
    async fn servers(&mut self) -> Result<Vec<Server>, Failure> {
        let Target { host, port, address } = &self.spec.target;
        self.progress.enter(RESOLVE);
        let transport = self.spec.uri.transport();
        let name = Hop { host: host.clone(), port: *port, transport };
        let found = timeout_at(self.deadline, self.dialler().find(name)).await;
        let found = found.unwrap_or_else(|_| Err(self.progress.deadline_passed()))?;
        if address.is_none() {
            self.progress.done();
        }
        Ok(vec![found])
    }

    /// The right to make the call: calls cost money.
    fn admit(&self, server: &Server) -> Result<Option<CallSlot>, Failure> {
        let Mode::Call { hold, .. } = self.spec.mode else { return Ok(None) };
        let permission = self.environment.permission();
        let Some((entry, limits)) = permission.call_limits(&self.spec.target.host, server.address)
        else {
            return Ok(None);
        };
        self.environment.admit_call(entry, &limits, hold).map(Some).map_err(|refused| {
            Failure::invalid(InvalidReason::PolicyDenied, refused.code(), refused.to_string())
        })
    }

    /// Opens the first way and writes the first request.
    async fn begin(&self, servers: Vec<Server>, slot: Option<CallSlot>) -> Result<Parts, Failure> {
        let at_once = |error| from_io_at_once(&error);
        let phase = if matches!(self.spec.mode, Mode::Options) { OPTIONS } else { INVITE };
        let transports = servers.iter().map(|server| server.name.transport).collect();
        let targets = Targets { transports, failover: self.spec.failover };
        let mut links = Links::new(servers);
        let limit = Limit { deadline: self.deadline, phase };
        let local = links.open_first(self.dialler(), limit).await?;
        let identifiers = Identifiers::new(seed()?);
        let caller = Caller::new(self.spec.uri.clone(), local.to_string(), identifiers);
        let now = Instant::now();
        let ask = AskPlan {
            expected: self.spec.expected.clone(),
            credentials: None,
            from: None,
            proxy: None,
            targets,
        };
        let scenario: Box<dyn Scenario>;
        let mut media = None;
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
                media = Some(socket);
            }
        }
        Ok(Parts { scenario, links, stamps: Stamps::default(), media, slot, phase })
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
