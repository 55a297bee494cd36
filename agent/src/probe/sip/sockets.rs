//! Sockets for audio, which belong to one call.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// How often an even port is looked for: audio is expected on one (RFC 3550 §11).
const EVEN_PORT_TRIES: usize = 16;

/// A socket for audio beside that address, on an even port where one is free. It is never read: what comes is dropped
/// when the system's buffer is full.
pub(crate) fn bind_media(beside: SocketAddr) -> io::Result<UdpSocket> {
    let mut socket = UdpSocket::bind((beside.ip(), 0))?;
    for _ in 0..EVEN_PORT_TRIES {
        if socket.local_addr()?.port() % 2 == 0 {
            break;
        }
        socket = UdpSocket::bind((beside.ip(), 0))?;
    }
    Ok(socket)
}
