//! What attempts share: name resolution, the policy, root certificates, kept sessions, and what is still owed.

use super::failure::Failure;
use super::resolver::Resolver;
use super::sql::Sessions;
use super::tail::Tails;
use super::tls::{Trust, Wanted};
use crate::policy::Permission;
use probefleet_proto::name::InvalidReason;
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    tails: Tails,
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
        let searches = Arc::new(Semaphore::new(SEARCHES_MAX));
        Self {
            shared: Arc::new(Shared {
                permission,
                resolver,
                trust: Trust::default(),
                searches,
                sessions: Sessions::default(),
                tails: Tails::default(),
            }),
        }
    }

    /// Where attempts may go.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.shared.permission
    }

    /// Waits, a second at most, until attempts that have ended owe nobody anything: for whoever ends the program.
    pub async fn settled(&self) {
        self.shared.tails.settled().await;
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.shared.tails
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
}
