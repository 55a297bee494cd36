//! What attempts share: name resolution, the policy, and root certificates.

use super::failure::Failure;
use super::resolver::Resolver;
use super::tls::Trust;
use crate::policy::Permission;
use probefleet_proto::name::InvalidReason;
use rustls::ClientConfig;
use std::path::Path;
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
            shared: Arc::new(Shared { permission, resolver, trust: Trust::default(), searches }),
        }
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
}
