//! What attempts share: name resolution, the policy, and root certificates.

use super::failure::Failure;
use super::resolver::Resolver;
use super::tls::Trust;
use crate::policy::Permission;
use probefleet_proto::name::InvalidReason;
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

    pub(crate) fn trust(&self) -> &Trust {
        &self.shared.trust
    }
}
