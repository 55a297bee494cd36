//! Hosts as a probe may ask them: those of its URI, and those that a dialog names.

use super::flow::Flow;
use super::links::Server;
use super::spec::{self, Spec};
use super::transport::Transport;
use super::uri::Hop;
use crate::policy::Kind;
use crate::probe::Environment;
use crate::probe::connect::connect;
use crate::probe::failure::{Failure, denied, from_io};
use crate::probe::progress::{CONNECT, TLS};
use crate::probe::stream::Connection;
use crate::probe::tls::{Wanted, handshake, note_certificate};
use probefleet_proto::name::{FailureClass, InvalidReason};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Before a private connection, where root certificates are not loaded yet: no phase, because it is not the provider's.
const PREPARE: &str = "prepare";

/// Finds who may be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialler<'a> {
    pub(super) spec: &'a Spec,
    pub(super) environment: &'a Environment,
}

/// Until when, and for what, a connection is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) deadline: Instant,
    /// The phase in which it is used.
    pub(super) phase: &'static str,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) flow: Flow,
    /// How long it took.
    pub(super) phases: Vec<(&'static str, Duration)>,
    /// What `try` shows of it.
    pub(super) notes: Map<String, Value>,
}

impl Dialler<'_> {
    /// The address of a hop, if it is one that may be asked.
    pub(super) async fn find(&self, name: Hop) -> Result<Server, Failure> {
        let target = spec::target(&name.host).ok_or_else(|| {
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
        let domain = target.host.clone();
        Ok(Server { address, name: Hop { host: target.host, ..name }, domain })
    }

    /// Connects to a server; privately, if that is how it is asked. The certificate must be that of the domain that was
    /// asked, whatever host the domain has led to (RFC 5922 §4).
    pub(super) async fn connect(&self, server: &Server, limit: Limit) -> Result<Dialled, Failure> {
        let config = match server.name.transport {
            Transport::Tls => Some(self.tls_client(limit.deadline).await?),
            Transport::Udp | Transport::Tcp => None,
        };
        let began = Instant::now();
        let stream = timeout_at(limit.deadline, connect(server.address)).await;
        let stream = stream.unwrap_or_else(|_| Err(Failure::connect_timeout()))?;
        let connected = Instant::now();
        let local = stream.local_addr().map_err(|error| from_io(&error, CONNECT))?;
        let (mut phases, mut notes) = (vec![(CONNECT, connected - began)], Map::new());
        let connection = match config {
            None => Connection::Plain(stream),
            Some(config) => {
                let name = server_name(&server.domain)?;
                let private = timeout_at(limit.deadline, handshake(stream, name, config)).await;
                let private = private.unwrap_or_else(|_| Err(Failure::timeout(TLS)))?;
                phases.push((TLS, connected.elapsed()));
                note_certificate(&private, &mut notes);
                Connection::Tls(Box::new(private))
            }
        };
        Ok(Dialled { flow: Flow::new(connection, local, limit.phase), phases, notes })
    }

    async fn tls_client(&self, deadline: Instant) -> Result<Arc<ClientConfig>, Failure> {
        let wanted = Wanted::sip(self.spec.ca_file.as_deref());
        let loaded = timeout_at(deadline, self.environment.tls_client(wanted)).await;
        loaded.unwrap_or_else(|_| {
            let why = "the root certificates could not be loaded in time";
            Err(Failure::invalid(InvalidReason::AgentOverload, PREPARE, why))
        })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(host.trim_end_matches('.').to_owned()).map_err(|_| {
        let why = format!("no certificate can be for `{host}`");
        Failure::failed(FailureClass::Tls, "tls:name", why)
    })
}
