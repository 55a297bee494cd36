//! One question, put to one server after the other.

use super::files::Settings;
use super::transport::Transport;
use crate::probe::failure::{Failure, local_trouble};
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

/// Most records of one answer that are looked at; nobody dials that many servers.
const RECORDS_MAX: usize = 64;

/// What one question about one name found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// At least one record of the type that was asked for, and no other.
    Records(Vec<RData>),
    /// The name exists, without such a record.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The server cannot or will not say.
    ServFail(String),
    /// Nobody answered: asking about other names would only repeat it.
    Silence(Failure),
}

/// Which of two negative answers about names of the search list is told: as glibc, "no address" before "server failed"
/// before "no such name".
pub(super) fn worse(before: Option<Answer>, now: Answer) -> Answer {
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

/// Asks one server after the other until one knows.
pub(super) async fn ask(settings: &Settings, name: &Name, record_type: RecordType) -> Answer {
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
            // Aliases stand in the answer too.
            let all = lookup.answers().iter().map(|record| &record.data);
            let of_type = all.filter(|data| data.record_type() == record_type);
            let records: Vec<RData> = of_type.take(RECORDS_MAX).cloned().collect();
            Ok(if records.is_empty() { Answer::NoData } else { Answer::Records(records) })
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
