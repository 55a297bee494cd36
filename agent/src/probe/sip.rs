//! SIP probes: `options` asks once, `register` registers and takes it back, `ring` rings and cancels, `call` makes a whole
//! call and ends it.
//!
//! What an attempt does is a machine without clock or socket (`scenario.rs`, `options.rs`, `register.rs`, `call.rs` on
//! `message.rs`, `transaction.rs`, `digest.rs`, `sdp.rs`); `run.rs` and `conversation.rs` give it both. Delays are those of
//! RFC 6076 and overlap: `PROBES.md` has where each begins and ends. Every address passes the policy before it is asked,
//! also one that a dialog names.

mod account;
mod audio;
mod call;
mod caller;
mod conversation;
pub(crate) mod deaf;
mod dial;
pub(crate) mod digest;
pub(crate) mod endpoint;
mod flow;
pub(crate) mod framing;
pub(crate) mod fuzz;
pub(crate) mod guard;
pub(crate) mod identity;
mod inquiry;
mod links;
pub(crate) mod locate;
pub(crate) mod media;
pub(crate) mod message;
mod options;
pub(crate) mod rate;
mod register;
mod run;
mod scenario;
pub(crate) mod sdp;
mod spec;
mod stamps;
pub(crate) mod timers;
mod transaction;
pub(crate) mod transport;
pub(crate) mod uri;

use super::failure::Failure;
use super::tls::Wanted;
use super::{Attempt, Environment, Sample};
use call::TEARDOWN;
use probefleet_proto::clock::saturating_ns;
use probefleet_proto::name::InvalidReason;
use probefleet_proto::units::duration_text;
use probefleet_proto::yaml::{Node, Problems};
use serde_json::{Value, json};
use spec::{Mode, Spec};
use std::sync::Arc;
use std::time::Duration;
use transport::Transport;

/// The phase in which an INVITE is not answered yet.
const INVITE: &str = "invite";
/// The phase in which an OPTIONS is not answered yet.
const OPTIONS: &str = "options";
/// The phase in which a REGISTER is not answered yet.
const REGISTER: &str = "register";

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
        run::run(&self.spec, environment, attempt).await
    }
}

fn agent_error(why: &str) -> Failure {
    Failure::invalid(InvalidReason::AgentError, "sip", why)
}

#[cfg(test)]
mod tests;
