//! What attempts share: name resolution, the policy, root certificates, and what they leave to be ended.

use super::failure::Failure;
use super::resolver::Resolver;
use super::sip::TAIL;
use super::sip::guard::{Guard, Refused};
use super::tls::Trust;
use crate::policy::{CallLimits, Permission};
use probefleet_proto::name::InvalidReason;
use rustls::ClientConfig;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most large bodies that are searched at once: an expression that takes minutes must not take every processor.
const SEARCHES_MAX: usize = 2;
/// Most calls that are being ended at once after their attempts: each holds a socket for a second at most.
const TAILS_MAX: u32 = 1_024;

/// Built once, cloned freely.
#[derive(Clone, Debug)]
pub struct Environment {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permission: Permission,
    resolver: Resolver,
    trust: Trust,
    searches: Arc<Semaphore>,
    calls: Mutex<Guard>,
    tails: Arc<Semaphore>,
}

impl Environment {
    /// The machine's own resolver and root certificates, with that permission.
    #[must_use]
    pub fn new(permission: Permission) -> Self {
        Self::with_resolver(permission, Resolver::system())
    }

    /// With another resolver than the machine's own.
    #[must_use]
    pub fn with_resolver(permission: Permission, resolver: Resolver) -> Self {
        let slots = |most| Arc::new(Semaphore::new(most));
        let shared = Shared {
            permission,
            resolver,
            trust: Trust::default(),
            searches: slots(SEARCHES_MAX),
            calls: Mutex::default(),
            tails: slots(usize::try_from(TAILS_MAX).unwrap_or(Semaphore::MAX_PERMITS)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where attempts may go.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.shared.permission
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.shared.resolver
    }

    /// Waits for the right to search a large body.
    pub(crate) async fn search_slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.shared.searches)
            .acquire_owned()
            .await
            .map_err(|error| Failure::invalid(InvalidReason::Shutdown, "judge", error.to_string()))
    }

    /// The TLS configuration for a file of extra roots and a protocol; loads it aside, so that no other attempt waits.
    pub(crate) async fn tls_client(
        &self,
        ca_file: Option<&Path>,
        protocol: Option<&'static [u8]>,
    ) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.trust().kept(ca_file, protocol) {
            return Ok(config);
        }
        let (environment, ca_file) = (self.clone(), ca_file.map(Path::to_owned));
        let load = move || environment.trust().client(ca_file.as_deref(), protocol);
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| {
            Err(Failure::invalid(InvalidReason::AgentError, "tls_setup", error.to_string()))
        })
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.shared.trust
    }

    /// Counts a call of an entry of the policy, if its limits permit it.
    pub(crate) fn admit_call(
        &self,
        entry: usize,
        limits: &CallLimits,
        hold: Duration,
    ) -> Result<CallSlot, Refused> {
        self.calls().admit(entry, limits, hold, Instant::now())?;
        Ok(CallSlot { environment: self.clone(), entry })
    }

    fn calls(&self) -> MutexGuard<'_, Guard> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to go on in the background after an attempt; `None` when too many do.
    pub(crate) fn tail(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.tails).try_acquire_owned().ok()
    }

    /// Waits until calls that outlast their attempts have ended, as long as they may take. Before the program ends, so
    /// that no call stays up for want of an answer.
    pub async fn settle(&self) {
        let all = self.shared.tails.acquire_many(TAILS_MAX);
        // Whatever has not ended by then has been told that it is over.
        drop(tokio::time::timeout(TAIL, all).await);
    }
}

/// The right to one call, until it is dropped.
#[derive(Debug)]
pub(crate) struct CallSlot {
    environment: Environment,
    entry: usize,
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.environment.calls().release(self.entry);
    }
}
