//! What attempts share: name resolution, the policy, and root certificates.

use super::resolver::Resolver;
use super::tls::Trust;
use crate::policy::Permission;
use std::sync::Arc;

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
        Self { shared: Arc::new(Shared { permission, resolver, trust: Trust::default() }) }
    }

    /// Where attempts may go.
    #[must_use]
    pub fn permission(&self) -> &Permission {
        &self.shared.permission
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.shared.resolver
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.shared.trust
    }
}
