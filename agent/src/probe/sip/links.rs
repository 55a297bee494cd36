//! The ways that one attempt has: to the servers that its URI leads to, and to the hops that a dialog names.

use super::endpoint::{Event, Line, events, hop};
use super::scenario::{Outgoing, Way};
use super::transport::Transport;
use super::uri::Hop;
use crate::probe::Environment;
use crate::probe::failure::Failure;
use probefleet_proto::name::{FailureClass, InvalidReason};
use std::io;
use std::net::SocketAddr;
use tokio::sync::mpsc;

/// Most ways of one attempt: the servers of its name, a hop that a dialog names in their place, and a fork's.
const LINKS_MAX: usize = 16;

/// Who can be asked.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Where.
    pub(super) address: SocketAddr,
    /// The name that led there, and what carries messages to it.
    pub(super) name: Hop,
}

/// The ways of an attempt.
#[derive(Debug)]
pub(super) struct Links {
    /// The servers of the URI, in their order.
    servers: Vec<Server>,
    all: Vec<Link>,
    /// Parts of shared sockets; most attempts have one.
    lines: Vec<Line>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    /// Who sent the last message, and by which line it came.
    last: Option<(usize, SocketAddr)>,
}

#[derive(Debug)]
struct Link {
    server: Server,
    line: usize,
}

/// A message has been handed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// As a datagram of that number; when it leaves is told.
    Datagram(u64),
}

impl Links {
    /// To these servers.
    pub(super) fn new(servers: Vec<Server>) -> Self {
        let (sender, events) = events();
        Self { servers, all: Vec::new(), lines: Vec::new(), sender, events, last: None }
    }

    /// Opens the way to the first of them. Returns where this side is, as its messages say.
    pub(super) fn open_first(&mut self, environment: &Environment) -> Result<SocketAddr, Failure> {
        let nobody = || super::agent_error("nobody to ask");
        let first = self.servers.first().cloned().ok_or_else(nobody)?;
        self.open(first, environment)?;
        self.lines.first().map(Line::local).ok_or_else(nobody)
    }

    /// The way that a message goes, where that is open already.
    pub(super) fn known(&self, outgoing: &Outgoing) -> Option<usize> {
        let carries = |link: &Link| link.server.name.transport == outgoing.transport;
        match &outgoing.way {
            Way::Back => None,
            Way::Target(index) => {
                let address = self.servers.get(*index)?.address;
                self.all.iter().position(|link| link.server.address == address && carries(link))
            }
            // Of several servers of one name the one that was asked last.
            Way::Hop(wanted) | Way::Aside(wanted) => {
                self.all.iter().rposition(|link| link.leads_to(wanted) && carries(link))
            }
        }
    }

    /// The server of the URI that a message is for.
    pub(super) fn server(&self, index: usize) -> Option<&Server> {
        self.servers.get(index)
    }

    /// Opens a way. Returns which it is.
    pub(super) fn open(
        &mut self,
        server: Server,
        environment: &Environment,
    ) -> Result<usize, Failure> {
        if self.all.len() == LINKS_MAX {
            let why = format!("more than {LINKS_MAX} hops in one call");
            return Err(Failure::failed(FailureClass::Protocol, "hops", why));
        }
        if server.name.transport != Transport::Udp {
            let why = format!("{} is not in this version", server.name.transport.via());
            return Err(Failure::invalid(InvalidReason::AgentError, "transport", why));
        }
        let line = self.line_to(server.address, environment)?;
        self.all.push(Link { server, line });
        Ok(self.all.len() - 1)
    }

    fn line_to(&mut self, peer: SocketAddr, environment: &Environment) -> Result<usize, Failure> {
        if let Some(line) = self.lines.iter().position(|line| line.reaches(peer)) {
            return Ok(line);
        }
        self.lines.push(environment.endpoints().towards(peer, self.sender.clone())?);
        Ok(self.lines.len() - 1)
    }

    /// Sends a message.
    pub(super) fn send(&mut self, index: usize, outgoing: &Outgoing) -> io::Result<Sent> {
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        let link = self.all.get(index).ok_or_else(closed)?;
        let line = self.lines.get_mut(link.line).ok_or_else(closed)?;
        let stamped = outgoing.stamp.is_some();
        line.send(&outgoing.bytes, link.server.address, stamped).map(Sent::Datagram)
    }

    /// Answers whoever has sent the last message.
    pub(super) fn answer(&self, bytes: &[u8]) -> io::Result<()> {
        let line = self.last.and_then(|(line, to)| Some((self.lines.get(line)?, to)));
        let (line, to) = line.ok_or(io::ErrorKind::NotConnected)?;
        line.answer(bytes, to)
    }

    /// The next thing that happens.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next thing that has happened.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// A datagram came from there, at that address of ours: answers go back. Returns the sender, as messages have it.
    pub(super) fn heard_from(&mut self, source: SocketAddr, local: SocketAddr) -> Hop {
        let line = self.lines.iter().position(|line| line.local() == local);
        self.last = line.map(|line| (line, source));
        hop(source)
    }

    /// How many datagrams the kernel has dropped that may have been ours.
    pub(super) fn dropped(&self) -> u64 {
        self.lines.iter().map(Line::dropped).sum()
    }

    /// How much came that was of no use.
    pub(super) fn discarded(&self) -> u64 {
        self.lines.iter().map(Line::discarded).sum()
    }
}

impl Link {
    fn leads_to(&self, wanted: &Hop) -> bool {
        let Server { address, name } = &self.server;
        let named =
            |host: &str, port| wanted.host.eq_ignore_ascii_case(host) && wanted.port == port;
        named(&name.host, name.port) || named(&address.ip().to_string(), address.port())
    }
}
