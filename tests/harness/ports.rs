//! Ports of the loopback for peers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// The lowest port handed out: services that machines know by their number lie below.
const LOWEST: u32 = 10_000;
/// Where the system's own choice begins (connections, port 0), if it does not say.
const USUAL_OWN: u32 = 32_768;
/// So many in a row are handed out together: SIPp controls itself by the next port, baresip has TLS there, SIPp's audio
/// takes the one after.
const TOGETHER: u32 = 4;

/// How many were handed out.
static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// A port of the loopback that nobody has right now, nor the three after it: nobody else in this process is told of
/// them, and no connection gets them, for they lie below those that the system chooses from.
pub fn free_port() -> u16 {
    let rows = (own_choice().max(LOWEST + TOGETHER) - LOWEST) / TOGETHER;
    // Two processes at once begin at different places.
    let first = std::process::id().wrapping_mul(61);
    let free = (0..rows).find_map(|_| {
        let row = first.wrapping_add(HANDED_OUT.fetch_add(1, Ordering::Relaxed)) % rows;
        let port = u16::try_from(LOWEST + row * TOGETHER).ok()?;
        (0..TOGETHER as u16).all(|next| is_free(port + next)).then_some(port)
    });
    free.expect("a free port")
}

/// Where the range begins that the system chooses from (`ip_local_port_range`).
fn own_choice() -> u32 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.ok();
    let lowest = range.as_deref().and_then(|range| range.split_whitespace().next()?.parse().ok());
    // A machine that chooses from nearly all has none below; then any will do.
    lowest.filter(|lowest| *lowest > LOWEST + 1_000).unwrap_or(USUAL_OWN)
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}
