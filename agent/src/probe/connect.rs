//! TCP connections: one address, one try, errors told apart by whether a packet had left.

use super::failure::{Failure, from_io, from_io_at_once};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Connects to exactly that address.
///
/// The connection is begun by hand, because only the call that begins it can tell "no route from here" from what the
/// network answers.
pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = begin(address).map_err(|error| from_io_at_once(&error))?;
    stream.writable().await.map_err(|error| from_io(&error, super::progress::CONNECT))?;
    match stream.take_error() {
        Ok(None) => Ok(stream),
        Ok(Some(error)) | Err(error) => Err(from_io(&error, super::progress::CONNECT)),
    }
}

fn begin(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // The request leaves as soon as it is written: waiting for more to send would be measured as the provider's time.
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    TcpStream::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Outcome;
    use probefleet_proto::name::{FailureClass, InvalidReason};

    #[tokio::test]
    async fn a_closed_port_refuses() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let failure = connect(address).await.expect_err("closed");
        assert_eq!(failure.outcome, Outcome::Failed(FailureClass::Refused));
        assert_eq!(failure.code.as_deref(), Some("econnrefused"));
    }

    #[tokio::test]
    async fn what_the_machine_forbids_is_local() {
        // Broadcast is refused by connect(2) itself.
        let failure =
            connect("255.255.255.255:9".parse().expect("an address")).await.expect_err("forbidden");
        assert_eq!(failure.outcome, Outcome::Invalid(InvalidReason::LocalNetwork), "{failure:?}");
    }
}
