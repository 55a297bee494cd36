//! Name resolution as part of what is measured: as the system is configured, asked anew by every attempt.
//!
//! Order, timeouts and search domains are those of `resolv.conf` and `hosts` (both read again when they change), as
//! glibc has them: one server after the other, `attempts` rounds. Nothing is cached and nothing is shared between
//! attempts, so that each `resolve` is a measurement of its own. Nothing blocks.

mod files;
mod transport;

use super::failure::{Failure, local_trouble};
use files::{Hosts, Settings, Watched};
use hickory_resolver::Resolver as Hickory;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use probefleet_proto::name::FailureClass;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use transport::Transport;

/// Which addresses of a name are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4, or IPv6 where a name has no IPv4 address.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

impl Family {
    /// Whether an address belongs to it.
    #[must_use]
    pub const fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
        }
    }

    /// The addresses to look for, in order.
    const fn in_order(self) -> &'static [RecordType] {
        match self {
            Self::Any => &[RecordType::A, RecordType::AAAA],
            Self::V4 => &[RecordType::A],
            Self::V6 => &[RecordType::AAAA],
        }
    }
}

/// Resolves names to the one address that is dialled.
#[derive(Debug)]
pub struct Resolver {
    settings: Source,
    hosts: Mutex<Watched<Hosts>>,
}

/// Where the servers come from.
#[derive(Debug)]
enum Source {
    System(Mutex<Watched<Settings>>),
    Fixed(Arc<Settings>),
}

/// What one query about one name found out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Address(IpAddr),
    NoData,
    NxDomain,
    ServFail(String),
    /// Nobody answered: asking about other names would only repeat it.
    Silence(Failure),
}

impl Resolver {
    /// As the machine is configured: `/etc/resolv.conf` and `/etc/hosts`.
    #[must_use]
    pub fn system() -> Self {
        let settings = Watched::new("/etc/resolv.conf", Settings::parse);
        Self { settings: Source::System(Mutex::new(settings)), hosts: system_hosts() }
    }

    /// Asks these servers instead of the system's, without search domains; `/etc/hosts` still comes first.
    #[must_use]
    pub fn with_servers(servers: Vec<SocketAddr>) -> Self {
        let settings = Settings { servers, ..Settings::default() };
        Self { settings: Source::Fixed(Arc::new(settings)), hosts: system_hosts() }
    }

    /// The first address of a name that fits. Never longer than the servers' timeouts allow; the caller has a deadline.
    pub(crate) async fn resolve(&self, host: &str, family: Family) -> Result<IpAddr, Failure> {
        let host = host.to_ascii_lowercase();
        if let Some(address) = lock(&self.hosts).current().find(&host, family) {
            return Ok(address);
        }
        let settings = match &self.settings {
            Source::System(watched) => lock(watched).current(),
            Source::Fixed(settings) => Arc::clone(settings),
        };
        let names = settings.names(&host).map_err(|why| {
            Failure::failed(FailureClass::Resolve, "nxdomain", format!("`{host}`: {why}"))
        })?;
        let mut worst = None;
        for name in names {
            match find(&settings, &name, family).await {
                Answer::Address(address) => return Ok(address),
                Answer::Silence(failure) => return Err(failure),
                answer => worst = Some(worse(worst, answer)),
            }
        }
        Err(failure(&host, worst))
    }
}

fn system_hosts() -> Mutex<Watched<Hosts>> {
    Mutex::new(Watched::new(Path::new("/etc/hosts"), Hosts::parse))
}

/// A panic elsewhere leaves these values whole: they are replaced, never edited.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of two negative answers about names of the search list is told: as glibc, "no address" before "server failed"
/// before "no such name".
fn worse(before: Option<Answer>, now: Answer) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::NoData => 3,
        Answer::ServFail(_) => 2,
        _ => 1,
    };
    match before {
        Some(before) if rank(&before) >= rank(&now) => before,
        _ => now,
    }
}

fn failure(host: &str, answer: Option<Answer>) -> Failure {
    let failed =
        |code: &'static str, why: String| Failure::failed(FailureClass::Resolve, code, why);
    match answer {
        Some(Answer::NoData) => failed("nodata", format!("`{host}` has no address of that family")),
        Some(Answer::ServFail(why)) => failed("servfail", format!("`{host}`: {why}")),
        _ => failed("nxdomain", format!("`{host}` does not exist")),
    }
}

/// Asks about one full name, one family after the other.
async fn find(settings: &Settings, name: &Name, family: Family) -> Answer {
    let mut last = Answer::NxDomain;
    for record_type in family.in_order() {
        last = ask(settings, name, *record_type).await;
        if last != Answer::NoData {
            return last;
        }
    }
    last
}

/// Asks one server after the other until one knows.
async fn ask(settings: &Settings, name: &Name, record_type: RecordType) -> Answer {
    let mut local = None;
    let mut silent = false;
    for _ in 0..settings.attempts {
        let mut refused = None;
        for server in &settings.servers {
            match ask_one(settings, *server, name, record_type).await {
                Ok(answer @ Answer::ServFail(_)) => refused = Some(answer),
                Ok(answer) => return answer,
                Err(Some(trouble)) => local = Some(trouble),
                Err(None) => silent = true,
            }
        }
        if let Some(refused) = refused {
            return refused;
        }
    }
    let why = format!("no answer from {}", settings.servers_text());
    let nobody = Failure::failed(FailureClass::Resolve, "dns_timeout", why);
    // It is this machine's doing only if no server at all could be asked.
    Answer::Silence(local.filter(|_| !silent).unwrap_or(nobody))
}

/// Asks one server once. `Err` means that it did not answer; with a failure when that was this machine's doing.
async fn ask_one(
    settings: &Settings,
    server: SocketAddr,
    name: &Name,
    record_type: RecordType,
) -> Result<Answer, Option<Failure>> {
    let resolver = client(settings, server).map_err(|_| local_trouble_with(server))?;
    let asked =
        tokio::time::timeout(settings.timeout, resolver.lookup(name.clone(), record_type)).await;
    match asked {
        Err(_) => Err(None),
        Ok(Ok(lookup)) => {
            let addresses = lookup.answers().iter().filter_map(|record| match &record.data {
                RData::A(address) if record_type == RecordType::A => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) if record_type == RecordType::AAAA => {
                    Some(IpAddr::V6(address.0))
                }
                _ => None,
            });
            Ok(addresses.into_iter().next().map_or(Answer::NoData, Answer::Address))
        }
        Ok(Err(NetError::Dns(error))) => Ok(negative(&error)),
        Ok(Err(NetError::Proto(error))) => Ok(Answer::ServFail(error.to_string())),
        Ok(Err(_)) => Err(local_trouble_with(server)),
    }
}

fn negative(error: &DnsError) -> Answer {
    match error {
        DnsError::NoRecordsFound(none) if none.response_code == ResponseCode::NXDomain => {
            Answer::NxDomain
        }
        DnsError::NoRecordsFound(_) => Answer::NoData,
        error => Answer::ServFail(error.to_string()),
    }
}

/// Why this machine cannot even ask that server, if it cannot. Hickory does not tell, so it is tried again: connecting a
/// datagram socket looks for a route and sends nothing.
fn local_trouble_with(server: SocketAddr) -> Option<Failure> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let tried = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(server));
    tried.err().and_then(|error| local_trouble(&error))
}

/// A client for one question to one server: nothing of it outlives the question.
fn client(settings: &Settings, server: SocketAddr) -> Result<Hickory<Transport>, NetError> {
    let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut name_server.connections {
        connection.port = server.port();
    }
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let mut builder = Hickory::builder_with_config(config, Transport::default());
    let options = builder.options_mut();
    *options = ResolverOpts::default();
    options.attempts = 0;
    options.cache_size = 0;
    options.edns0 = settings.edns0;
    options.ip_strategy = LookupIpStrategy::Ipv4Only;
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.timeout = settings.timeout;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

#[cfg(test)]
mod tests;
