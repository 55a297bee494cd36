//! Where a SIP URI leads: from a name to the servers that are tried, in their order (RFC 3263 §4). Pure: names are looked
//! up by whoever passes a [`Lookup`], chance is passed in.
//!
//! A port, an address or a name of `/etc/hosts` leads straight to a host. Any other name is first asked for rules
//! (NAPTR), then for servers of a service (SRV), and last for its own addresses. The transport of the first service that
//! has servers is that of all: a server that answers by another is another service.

use super::spec;
use super::transport::Transport;
use super::uri::Uri;
use crate::probe::failure::Failure;
use crate::probe::resolver::{Family, Lookup, Naptr, NoRecords, Srv};
use core::net::{IpAddr, SocketAddr};
use fastrand::Rng;
use probefleet_proto::name::FailureClass;

/// Most servers that a name leads to; an attempt has hardly time to try more.
pub(crate) const LOCATED_MAX: usize = 8;
/// Most hosts of a service whose addresses are looked up: some of them may have none.
const HOSTS_MAX: usize = 16;
/// Most services of a domain that are asked for servers; three are known.
const SERVICES_MAX: usize = 8;

/// A server, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its own name, or its address as it is usually written.
    pub(crate) host: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What carries requests to it.
    pub(crate) transport: Transport,
}

/// Which servers are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// With addresses of that family.
    pub(crate) family: Family,
    /// No more than so many, up to [`LOCATED_MAX`]: who tries but one need not look up the others.
    pub(crate) most: usize,
}

/// A way on which a domain may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    /// Whose SRV records say where.
    name: String,
    transport: Transport,
}

/// The servers that a URI leads to, the one to be tried first in front; at least one. Whether they may be asked is for
/// the caller to check.
pub(crate) async fn locate(
    uri: &Uri,
    wanted: Wanted,
    lookup: &impl Lookup,
    random: &mut Rng,
) -> Result<Vec<Located>, Failure> {
    let hop = uri.hop();
    let target = spec::target(&hop.host).ok_or_else(|| {
        nowhere("nxdomain", format!("`{}` is no host that can be asked", hop.host))
    })?;
    let host = target.host;
    let mut found = Found { wanted, servers: Vec::new() };
    if let Some(address) = target.address {
        found.add(&host, &[address], hop.port, hop.transport);
        return Ok(found.servers);
    }
    if uri.port.is_some() || !may_have_services(&host, lookup) {
        found.look_up(&host, (hop.port, hop.transport), lookup).await?;
        return Ok(found.servers);
    }
    let (services, is_told) = services(uri, &host, lookup).await?;
    let mut is_denied = false;
    for service in services.iter().take(SERVICES_MAX) {
        let records = match lookup.srv(&service.name).await {
            Ok(records) => in_order(records, random),
            Err(NoRecords::Absent(_)) => continue,
            // A guess that a server chokes on is a guess less; what the domain itself has told is not there.
            Err(NoRecords::Broken(_)) if !is_told => continue,
            Err(none) => return Err(none.into_failure()),
        };
        // The root as a target: there is decidedly no such service (RFC 2782).
        if records.is_empty() {
            is_denied = true;
            continue;
        }
        found.look_up_all(&records, service.transport, lookup).await?;
        return Ok(found.servers);
    }
    if is_denied {
        let why = format!("`{host}` says that it has no SIP service of a kind that is known here");
        return Err(nowhere("nodata", why));
    }
    let transport = services.first().map_or(hop.transport, |service| service.transport);
    found.look_up(&host, (transport.port(), transport), lookup).await?;
    Ok(found.servers)
}

fn nowhere(code: &'static str, why: String) -> Failure {
    Failure::failed(FailureClass::Resolve, code, why)
}

/// Whether a name may be that of a domain. One without a dot is a host's, which the search list completes; and one that
/// this machine knows by itself says all there is.
fn may_have_services(host: &str, lookup: &impl Lookup) -> bool {
    host.trim_end_matches('.').contains('.') && !lookup.is_own(host)
}

/// The services to be asked for, the preferred in front, and whether the domain itself has told them.
async fn services(
    uri: &Uri,
    host: &str,
    lookup: &impl Lookup,
) -> Result<(Vec<Service>, bool), Failure> {
    let named = uri.parameter("transport").and_then(Transport::parse);
    if named.is_none() {
        let rules = match lookup.naptr(&full(host)).await {
            Ok(rules) => told(rules, uri.secure),
            Err(NoRecords::Silent(failure)) => return Err(failure),
            Err(NoRecords::Absent(_) | NoRecords::Broken(_)) => Vec::new(),
        };
        if !rules.is_empty() {
            return Ok((rules, true));
        }
    }
    let guessed: &[Transport] = match named {
        _ if uri.secure => &[Transport::Tls],
        Some(Transport::Udp) => &[Transport::Udp],
        Some(Transport::Tcp) => &[Transport::Tcp],
        Some(Transport::Tls) => &[Transport::Tls],
        // UDP is what a URI means that names nothing (RFC 3263 §4.1).
        None => &[Transport::Udp, Transport::Tcp, Transport::Tls],
    };
    let service = |transport: &Transport| Service {
        name: format!("{}.{}", label(*transport), full(host)),
        transport: *transport,
    };
    Ok((guessed.iter().map(service).collect(), false))
}

/// A name with the dot that makes it full.
fn full(host: &str) -> String {
    format!("{}.", host.trim_end_matches('.'))
}

/// How the service of a transport is named (RFC 3263 §4.1, §4.2).
const fn label(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
    }
}

/// The services that a domain's rules name, as far as they are known here, in the order of the rules (RFC 3263 §4.1).
fn told(mut rules: Vec<Naptr>, secure: bool) -> Vec<Service> {
    rules.sort_by_key(|rule| (rule.order, rule.preference));
    let known: [(&[u8], Transport); 3] =
        [(b"SIPS+D2T", Transport::Tls), (b"SIP+D2T", Transport::Tcp), (b"SIP+D2U", Transport::Udp)];
    let service = |rule: Naptr| {
        let (_, transport) =
            known.iter().find(|(services, _)| rule.services.eq_ignore_ascii_case(services))?;
        let leads_on = rule.flags.eq_ignore_ascii_case(b"s") && rule.regexp.is_empty();
        let is_fit =
            leads_on && rule.replacement != "." && (!secure || *transport == Transport::Tls);
        is_fit.then_some(Service { name: rule.replacement, transport: *transport })
    };
    rules.into_iter().filter_map(service).collect()
}

/// The servers of a service in the order in which they are tried: by priority, and among equals by chance, each with the
/// share that its weight says (RFC 2782, "Usage rules").
fn in_order(mut records: Vec<Srv>, random: &mut Rng) -> Vec<Srv> {
    records.retain(|record| record.target != "." && record.port != 0);
    // Those without weight in front, so that chance reaches them at all.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let equals = records.iter().take_while(|record| record.priority == first.priority);
        let total: u64 = equals.map(|record| u64::from(record.weight)).sum();
        let drawn = random.u64(..=total);
        let mut sum = 0;
        let chosen = records.iter().position(|record| {
            sum += u64::from(record.weight);
            sum >= drawn
        });
        ordered.push(records.remove(chosen.unwrap_or_default()));
    }
    ordered
}

/// Servers as they are found.
struct Found {
    wanted: Wanted,
    servers: Vec<Located>,
}

impl Found {
    fn is_enough(&self) -> bool {
        self.servers.len() >= self.wanted.most.clamp(1, LOCATED_MAX)
    }

    fn add(&mut self, host: &str, addresses: &[IpAddr], port: u16, transport: Transport) {
        for address in addresses {
            // A v4-mapped address is asked as what it is, so that the policy sees what the network will.
            let address = SocketAddr::new(address.to_canonical(), port);
            let host = host.trim_end_matches('.').to_owned();
            let server = Located { host, address, transport };
            if !self.is_enough() && !self.servers.contains(&server) {
                self.servers.push(server);
            }
        }
    }

    /// Adds all addresses of a host.
    async fn look_up(
        &mut self,
        host: &str,
        (port, transport): (u16, Transport),
        lookup: &impl Lookup,
    ) -> Result<(), Failure> {
        let addresses = lookup.addresses(host, self.wanted.family).await;
        self.add(host, &addresses.map_err(NoRecords::into_failure)?, port, transport);
        Ok(())
    }

    /// Adds the addresses of servers. One that has none is passed over; why is told if no other has any.
    async fn look_up_all(
        &mut self,
        records: &[Srv],
        transport: Transport,
        lookup: &impl Lookup,
    ) -> Result<(), Failure> {
        let mut last = None;
        for record in records.iter().take(HOSTS_MAX) {
            if self.is_enough() {
                break;
            }
            match lookup.addresses(&record.target, self.wanted.family).await {
                Ok(addresses) => self.add(&record.target, &addresses, record.port, transport),
                // Who is silent about one name is silent about the next.
                Err(NoRecords::Silent(failure)) => {
                    last = Some(failure);
                    break;
                }
                Err(none) => last = Some(none.into_failure()),
            }
        }
        match last {
            Some(failure) if self.servers.is_empty() => Err(failure),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
