//! Ports that an offer names where no audio is wanted: bound, as a telephone's is, so that nobody is told that nobody is
//! there, and never read: what comes is dropped when the system's buffer is full.
//!
//! Nothing tells one call's audio from another's there, so all calls of an address share one port, and ten thousand calls
//! need no ten thousand files.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// How often an even port is looked for: audio is expected on one (RFC 3550 §11).
const EVEN_PORT_TRIES: usize = 16;

/// The ports of all calls.
#[derive(Debug, Default)]
pub(crate) struct DeafPorts {
    /// By address; a port is closed with the last call that names it.
    ports: Mutex<HashMap<IpAddr, Weak<UdpSocket>>>,
}

impl DeafPorts {
    /// The port of that address.
    pub(super) fn at(&self, address: IpAddr) -> io::Result<Arc<UdpSocket>> {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = ports.get(&address).and_then(Weak::upgrade) {
            return Ok(port);
        }
        ports.retain(|_, port| port.strong_count() > 0);
        let port = Arc::new(bind(address)?);
        ports.insert(address, Arc::downgrade(&port));
        Ok(port)
    }
}

fn bind(address: IpAddr) -> io::Result<UdpSocket> {
    let mut socket = UdpSocket::bind((address, 0))?;
    for _ in 0..EVEN_PORT_TRIES {
        if socket.local_addr()?.port().is_multiple_of(2) {
            break;
        }
        socket = UdpSocket::bind((address, 0))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_share_a_port_as_long_as_there_are_any() {
        let ports = DeafPorts::default();
        let (here, there) = ("127.0.0.1".parse(), "127.0.0.2".parse());
        let (here, there) = (here.expect("an address"), there.expect("an address"));
        let one = ports.at(here).expect("a port");
        let two = ports.at(here).expect("a port");
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(one.local_addr().expect("bound").port() % 2, 0);
        assert!(!Arc::ptr_eq(&one, &ports.at(there).expect("a port")));
        drop((one, two));
        let _other = ports.at(there).expect("a port");
        assert_eq!(ports.ports.lock().expect("sound").len(), 1, "what nobody uses is closed");
    }
}
