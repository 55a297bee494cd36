//! Addresses that nobody means when they say "any": the machine itself, its neighbours, cloud metadata, groups, and
//! every IPv6 form that carries such an IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Services of cloud providers that hand credentials to whoever asks, outside the link-local range.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254), // AWS
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254), // Google
];

/// What kind of address it is, when it is denied unless listed.
pub(super) fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => {
            forbidden_v6(address).or_else(|| embedded_v4(address).find_map(forbidden_v4))
        }
    }
}

/// Whether who dials an address reaches a listener of this machine. One that listens everywhere is reached by every address
/// that the machine has: those are what a socket can be bound to.
pub(super) fn leads_to(dialled: SocketAddr, listener: SocketAddr) -> bool {
    let (ip, own) = (dialled.ip().to_canonical(), listener.ip().to_canonical());
    dialled.port() == listener.port()
        && (ip == own
            || ip.is_unspecified()
            || (own.is_unspecified() && UdpSocket::bind((ip, 0)).is_ok()))
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("this network (0.0.0.0/8)"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local (cloud metadata)"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("broadcast or reserved (240.0.0.0/4)"),
        _ if METADATA_V4.contains(&address) => Some("cloud metadata"),
        _ => None,
    }
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ if METADATA_V6.contains(&address) => Some("cloud metadata"),
        _ => None,
    }
}

/// The IPv4 addresses that an IPv6 address may lead to.
fn embedded_v4(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    let found: [Option<Ipv4Addr>; 2] = match s {
        // Mapped ::ffff:a.b.c.d, translated ::ffff:0:a.b.c.d, and the old compatible ::a.b.c.d.
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0, high, low]
        // NAT64: the well-known prefix, and RFC 8215's with its longest form.
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        // 6to4.
        | [0x2002, high, low, ..]
        // ISATAP.
        | [_, _, _, _, 0 | 0x0200, 0x5efe, high, low] => [Some(v4(high, low)), None],
        // Teredo: the server as it is, the client inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [Some(v4(high, low)), Some(v4(!client_high, !client_low))]
        }
        _ => [None, None],
    };
    found.into_iter().flatten()
}
