//! The sockets of one attempt: each connected to one address, so that the network's refusals reach the attempt, and no
//! datagram of anybody else does.

use super::transport::Transport;
use super::uri::Hop;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::future::Future as _;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::task::Poll;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Most addresses of one attempt: the first hop, and one that a dialog names in its place. Further ones are a fork's.
const SOCKETS_MAX: usize = 4;
/// How often an even port is looked for: audio is expected on one (RFC 3550 §11).
const EVEN_PORT_TRIES: usize = 16;

/// What a socket is listened to for: ICMP errors come as errors alone, with nothing to read.
const HEARD: Interest = Interest::READABLE.add(Interest::ERROR);

/// Sockets that share one local address and port.
#[derive(Debug)]
pub(super) struct Sockets {
    all: Vec<Peer>,
    local: SocketAddr,
    /// Where the last datagram came in.
    last: usize,
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    /// The address, as messages have it.
    source: Hop,
    /// Names that lead there.
    names: Vec<Hop>,
    socket: UdpSocket,
}

/// A datagram that was read into a buffer.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) length: usize,
    pub(super) source: &'a Hop,
}

impl Sockets {
    /// A socket to the first hop, which has that name, on a port of its own.
    pub(super) fn connect(address: SocketAddr, name: Hop) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.connect(&address.into())?;
        // Only now, when nobody else can have been given the same port: sockets to further hops will share it.
        socket.set_reuse_address(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { all: vec![Peer::new(address, name, socket)], local, last: 0 })
    }

    /// Where this side is.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// The socket to a hop, if there is one.
    pub(super) fn known(&self, hop: &Hop) -> Option<usize> {
        self.all.iter().position(|peer| peer.source == *hop || peer.names.contains(hop))
    }

    /// The socket to the address of a hop; a new one if there is none yet.
    pub(super) fn to(&mut self, address: SocketAddr, name: &Hop) -> io::Result<usize> {
        if let Some(index) = self.all.iter().position(|peer| peer.address == address) {
            self.all[index].names.push(name.clone());
            return Ok(index);
        }
        if self.all.len() == SOCKETS_MAX {
            return Err(io::Error::other("more next hops than one call has"));
        }
        // From the same port where that is possible; where it is not, the other side answers where it was asked from
        // (RFC 3581).
        let socket = another(address, Some(self.local)).or_else(|_| another(address, None))?;
        self.all.push(Peer::new(address, name.clone(), socket));
        Ok(self.all.len() - 1)
    }

    /// Sends at once: asks the system itself, not whether the runtime has heard that the socket is writable.
    pub(super) fn send(&self, index: usize, bytes: &[u8]) -> io::Result<()> {
        SockRef::from(&self.all[index].socket).send(bytes).map(drop)
    }

    /// The socket that the last datagram came in by.
    pub(super) fn last(&self) -> usize {
        self.last
    }

    /// Waits until there is something to read, or an error to be told.
    pub(super) async fn readable(&self) {
        let mut waits: Vec<_> =
            self.all.iter().map(|peer| Box::pin(peer.socket.ready(HEARD))).collect();
        std::future::poll_fn(|context| {
            // All of them are asked, so that each can wake this task.
            match waits
                .iter_mut()
                .filter_map(|wait| wait.as_mut().poll(context).is_ready().then_some(()))
                .count()
            {
                0 => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Reads a datagram that is there; `None` when none is. The sockets take turns.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Option<io::Result<Received<'_>>> {
        let count = self.all.len();
        for index in (0..count).map(|offset| (self.last + 1 + offset) % count) {
            match read(&self.all[index].socket, buffer) {
                Ok(length) => {
                    self.last = index;
                    return Some(Ok(Received { length, source: &self.all[index].source }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// Reads what is there. The runtime forgets that there was something only where it is asked for each kind by itself.
fn read(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = |interest| socket.try_io(interest, || (&*SockRef::from(socket)).read(buffer));
    match read(Interest::READABLE) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => read(Interest::ERROR),
        result => result,
    }
}

impl Peer {
    fn new(address: SocketAddr, name: Hop, socket: UdpSocket) -> Self {
        let source =
            Hop { host: address.ip().to_string(), port: address.port(), transport: Transport::Udp };
        Self { address, source, names: vec![name], socket }
    }
}

fn another(address: SocketAddr, local: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        socket.set_reuse_address(true)?;
        socket.bind(&SockAddr::from(local))?;
    }
    socket.connect(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket for audio beside that address, on an even port where one is free. It is never read: what comes is dropped
/// when the system's buffer is full.
pub(crate) fn bind_media(beside: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let mut socket = std::net::UdpSocket::bind((beside.ip(), 0))?;
    for _ in 0..EVEN_PORT_TRIES {
        if socket.local_addr()?.port() % 2 == 0 {
            break;
        }
        socket = std::net::UdpSocket::bind((beside.ip(), 0))?;
    }
    Ok(socket)
}
