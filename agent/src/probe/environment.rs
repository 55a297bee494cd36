//! What attempts share: name resolution, the policy, root certificates, kept sessions, the sockets and the calls of SIP, and
//! what is still owed when an attempt has ended.

use super::failure::Failure;
use super::resolver::Resolver;
use super::sip::deaf::DeafPorts;
use super::sip::endpoint::Endpoints;
use super::sip::guard::{Guard, Refused};
use super::sql::Sessions;
use super::tail::Tails;
use super::tls::{Trust, Wanted};
use crate::policy::{CallLimits, Permission};
use probefleet_proto::name::InvalidReason;
use rustls::ClientConfig;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Most large bodies that are searched at once: an expression that takes minutes must not take every processor.
const SEARCHES_MAX: usize = 2;
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
    sessions: Sessions,
    endpoints: Endpoints,
    calls: Mutex<Guard>,
    tails: Tails,
    deaf_ports: DeafPorts,
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
        let shared = Shared {
            permission,
            resolver,
            trust: Trust::default(),
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            sessions: Sessions::default(),
            endpoints: Endpoints::default(),
            calls: Mutex::default(),
            tails: Tails::default(),
            deaf_ports: DeafPorts::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where attempts may go.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.shared.permission
    }

    /// Waits, a second at most, until attempts that have ended owe nobody anything: before the program ends, so that no
    /// call stays up and no query goes on.
    pub async fn settle(&self) {
        self.shared.tails.settle().await;
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.shared.tails
    }

    pub(crate) fn deaf_ports(&self) -> &DeafPorts {
        &self.shared.deaf_ports
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
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

    /// The TLS configuration that is wanted; loads its roots aside, so that no other attempt waits.
    pub(crate) async fn tls_client(&self, wanted: Wanted) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.trust().kept(&wanted) {
            return Ok(config);
        }
        let environment = self.clone();
        let load = move || environment.trust().client(&wanted);
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| {
            Err(Failure::invalid(InvalidReason::AgentError, "tls_setup", error.to_string()))
        })
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.shared.trust
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.shared.endpoints
    }

    /// Counts a call of an entry of the policy, if its limits permit it.
    pub(crate) fn admit_call(
        &self,
        entry: usize,
        limits: &CallLimits,
        (user, hold): (&str, Duration),
    ) -> Result<CallSlot, Refused> {
        if !limits.permits(user) {
            return Err(Refused::User);
        }
        self.calls().admit(entry, limits, hold, Instant::now())?;
        Ok(CallSlot { environment: self.clone(), entry })
    }

    fn calls(&self) -> MutexGuard<'_, Guard> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner)
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
