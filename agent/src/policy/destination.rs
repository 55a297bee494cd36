//! `host:port`, `host`, CIDR, `any`: what an entry of the policy covers.

use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, SocketAddr};
use url::Host;

/// What an entry covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// Everything but the built-in deny list.
    Any,
    /// Every address of that name.
    Host {
        /// In lower case, without a final dot.
        name: String,
        /// That port only.
        port: Option<u16>,
    },
    /// Those addresses, IPv4 in its own form.
    Net {
        /// The addresses.
        net: IpNet,
        /// That port only.
        port: Option<u16>,
    },
}

impl Destination {
    /// Whether it names that host, by name.
    pub(super) fn is_host(&self, host: &str, wanted: u16) -> bool {
        match self {
            Self::Host { name, port } => {
                port.is_none_or(|port| port == wanted)
                    && host.trim_end_matches('.').eq_ignore_ascii_case(name)
            }
            Self::Any | Self::Net { .. } => false,
        }
    }

    /// Whether it names that address, by number.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        match self {
            Self::Net { net, port } => {
                port.is_none_or(|port| port == address.port())
                    && net.contains(&address.ip().to_canonical())
            }
            Self::Any | Self::Host { .. } => false,
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// What to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self::Any);
        }
        // An IPv6 address has colons of its own, so it is tried before a port is looked for.
        if let Some(net) = parse_net(text)? {
            return Ok(Self::Net { net, port: None });
        }
        let (rest, port) = match text.rsplit_once(':') {
            Some((rest, port)) => (rest, Some(parse_port(port)?)),
            None => (text, None),
        };
        let unbracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match parse_net(unbracketed.unwrap_or(rest))? {
            Some(net) => Ok(Self::Net { net, port }),
            None => parse_host(rest, port),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let port = text.parse().ok().filter(|port| *port > 0 && digits);
    port.ok_or_else(|| "a port is 1 to 65535; write `host:443`".to_owned())
}

/// Reads an address or a CIDR; `None` when it is neither.
fn parse_net(text: &str) -> Result<Option<IpNet>, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Some(IpNet::from(address.to_canonical())));
    }
    let Ok(net) = text.parse::<IpNet>() else { return Ok(None) };
    if net.prefix_len() == 0 {
        return Err(
            "covers every address; write `any`, which keeps the built-in deny list".to_owned()
        );
    }
    if net != net.trunc() {
        return Err(format!("has bits behind the prefix; write {}", net.trunc()));
    }
    Ok(Some(unmapped(net)))
}

/// The IPv4 network that a v4-mapped one stands for; mapped addresses are compared as IPv4.
fn unmapped(net: IpNet) -> IpNet {
    match (net.network().to_canonical(), net.prefix_len().checked_sub(96)) {
        (IpAddr::V4(network), Some(length)) if matches!(net, IpNet::V6(_)) => {
            Ipv4Net::new(network, length).map_or(net, IpNet::V4)
        }
        _ => net,
    }
}

fn parse_host(text: &str, port: Option<u16>) -> Result<Destination, String> {
    let advice = if text.contains('/') {
        "not a CIDR; write one such as 10.1.0.0/16 or 2001:db8::/32"
    } else {
        "write a host, host:port, a CIDR or any"
    };
    match Host::parse(text) {
        // The same spellings that a URL may have, such as 0x7f.1, mean the same here.
        Ok(Host::Ipv4(address)) => {
            Ok(Destination::Net { net: IpNet::from(IpAddr::V4(address)), port })
        }
        Ok(Host::Domain(name)) if !name.trim_end_matches('.').is_empty() && !name.contains('*') => {
            Ok(Destination::Host { name: name.trim_end_matches('.').to_owned(), port })
        }
        Ok(Host::Domain(_) | Host::Ipv6(_)) | Err(_) => Err(advice.to_owned()),
    }
}
