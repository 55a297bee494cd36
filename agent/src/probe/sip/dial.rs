//! Hosts as a probe may ask them: those of its URI, and those that a dialog names.

use super::links::Server;
use super::spec::{self, Spec};
use super::uri::Hop;
use crate::policy::Kind;
use crate::probe::Environment;
use crate::probe::failure::{Failure, denied};
use probefleet_proto::name::FailureClass;
use std::net::SocketAddr;

/// Finds who may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialler<'a> {
    pub(super) spec: &'a Spec,
    pub(super) environment: &'a Environment,
}

impl Dialler<'_> {
    /// The address of a hop, if it is one that may be asked.
    pub(super) async fn find(&self, name: Hop) -> Result<Server, Failure> {
        let target = spec::target(&name.host, name.port).ok_or_else(|| {
            let why = format!("`{}` is no host that can be asked", name.host);
            Failure::failed(FailureClass::Resolve, "nxdomain", why)
        })?;
        let permission = self.environment.permission();
        permission.check_host(Kind::Sip, &target.host, name.port).map_err(denied)?;
        let address = match target.address {
            Some(address) => address,
            None => self.environment.resolver().resolve(&target.host, self.spec.family).await?,
        };
        // A v4-mapped address is asked as what it is, so that the policy sees what the network will.
        let address = SocketAddr::new(address.to_canonical(), name.port);
        permission.check(Kind::Sip, &target.host, address).map_err(denied)?;
        Ok(Server { address, name: Hop { host: target.host, ..name } })
    }
}
