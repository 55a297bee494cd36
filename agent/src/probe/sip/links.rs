//! The ways that one attempt has: to the servers that its URI leads to, and to the hops that a dialog names.

use super::dial::{Dialler, Limit};
use super::endpoint::{Event, Line, events, hop};
use super::flow::{Flow, Heard};
use super::scenario::{Outgoing, Way};
use super::transport::Transport;
use super::uri::Hop;
use crate::probe::Environment;
use crate::probe::failure::{Failure, from_io, from_io_at_once};
use crate::probe::udp::Stamper;
use futures_channel::mpsc;
use probefleet_proto::name::FailureClass;
use serde_json::{Map, Value};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;
use tokio_stream::Stream as _;

/// Most ways of one attempt: the servers of its name, a hop that a dialog names in their place, and a fork's.
const LINKS_MAX: usize = 16;

/// Who can be asked.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Where.
    pub(super) address: SocketAddr,
    /// Its own name, and what carries messages to it.
    pub(super) name: Hop,
    /// The domain that was asked and led there: whose certificate it must show (RFC 5922 §4).
    pub(super) domain: String,
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
    /// Where the last message came from.
    last: Option<Last>,
    /// The phases of the connection that was opened before anything was sent.
    opened: Vec<(&'static str, Duration)>,
    has_sent: bool,
    /// Who was asked last, outside a call.
    asked: Option<SocketAddr>,
    /// What `try` shows of connections.
    pub(super) notes: Map<String, Value>,
}

#[derive(Debug)]
struct Link {
    server: Server,
    carrier: Carrier,
}

#[derive(Debug)]
enum Carrier {
    /// Datagrams, by a part of a shared socket.
    Line(usize),
    /// A connection.
    Flow(Box<Flow>),
}

#[derive(Clone, Copy, Debug)]
enum Last {
    /// By a shared socket, from there.
    Line(usize, SocketAddr),
    /// By a connection.
    Flow(usize),
}

/// A message has been handed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// As a datagram of that number; when it leaves is told.
    Datagram(u64),
    /// To a connection.
    Stream,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Happened {
    /// A message has come, or what might be one.
    Came { bytes: Box<[u8]>, source: Hop, at: Instant, by: Stamper },
    /// A datagram has left.
    Left { number: u64, at: Instant },
    /// Something of ours cannot be delivered, or nothing more can come.
    Lost(Failure),
}

impl Links {
    /// To these servers.
    pub(super) fn new(servers: Vec<Server>) -> Self {
        let (sender, events) = events();
        Self {
            servers,
            all: Vec::new(),
            lines: Vec::new(),
            sender,
            events,
            last: None,
            opened: Vec::new(),
            has_sent: false,
            asked: None,
            notes: Map::new(),
        }
    }

    /// Opens the way to the first of them. Returns where this side is, as its messages say.
    pub(super) async fn open_first(
        &mut self,
        dialler: Dialler<'_>,
        limit: Limit,
    ) -> Result<SocketAddr, Failure> {
        let first = self.server(0)?;
        let link = self.open(first, dialler, limit).await?;
        self.local(link)
    }

    fn local(&self, link: usize) -> Result<SocketAddr, Failure> {
        match &self.all.get(link).ok_or_else(nobody)?.carrier {
            Carrier::Line(line) => self.lines.get(*line).map(Line::local).ok_or_else(nobody),
            Carrier::Flow(flow) => Ok(flow.local()),
        }
    }

    /// Whether anything was sent to that machine: then the policy permits it.
    pub(super) fn has_asked(&self, ip: IpAddr) -> bool {
        self.all.iter().any(|link| link.server.address.ip() == ip)
    }

    /// That server is about to be asked.
    pub(super) fn ask(&mut self, server: SocketAddr) {
        self.asked = Some(server);
    }

    /// Who was asked last, outside a call.
    pub(super) fn asked(&self) -> Option<SocketAddr> {
        self.asked
    }

    /// The servers of the URI, in their order.
    pub(super) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The way that a message goes, where that is open already.
    pub(super) fn known(&self, outgoing: &Outgoing) -> Option<usize> {
        let carries = |link: &Link| {
            let open = match &link.carrier {
                Carrier::Line(_) => true,
                Carrier::Flow(flow) => flow.is_open(),
            };
            open && link.server.name.transport == outgoing.transport
        };
        match &outgoing.way {
            Way::Back => None,
            Way::Target(index) => {
                let address = self.servers.get(*index)?.address;
                self.all.iter().position(|link| link.server.address == address && carries(link))
            }
            // Of several servers of one name the one that was asked last.
            Way::Hop(wanted) | Way::Aside(wanted) | Way::Onward(wanted) => {
                self.all.iter().rposition(|link| link.leads_to(wanted) && carries(link))
            }
        }
    }

    /// A server of the URI.
    pub(super) fn server(&self, index: usize) -> Result<Server, Failure> {
        self.servers.get(index).cloned().ok_or_else(nobody)
    }

    /// Opens a way. Returns which it is.
    pub(super) async fn open(
        &mut self,
        server: Server,
        dialler: Dialler<'_>,
        limit: Limit,
    ) -> Result<usize, Failure> {
        if self.all.len() == LINKS_MAX {
            let why = format!("more than {LINKS_MAX} hops in one call");
            return Err(Failure::failed(FailureClass::Protocol, "hops", why));
        }
        let carrier = match server.name.transport {
            Transport::Udp => Carrier::Line(self.line_to(server.address, dialler.environment)?),
            Transport::Tcp | Transport::Tls => {
                // The future is large, and most attempts have no connection.
                let dialled = Box::pin(dialler.connect(&server, limit)).await?;
                if !self.has_sent {
                    self.opened = dialled.phases;
                }
                self.notes.extend(dialled.notes);
                Carrier::Flow(Box::new(dialled.flow))
            }
        };
        self.all.reserve_exact(1);
        self.all.push(Link { server, carrier });
        Ok(self.all.len() - 1)
    }

    fn line_to(&mut self, peer: SocketAddr, environment: &Environment) -> Result<usize, Failure> {
        if let Some(line) = self.lines.iter().position(|line| line.reaches(peer)) {
            return Ok(line);
        }
        let line = environment.endpoints().towards(peer, self.sender.clone())?;
        self.lines.reserve_exact(1);
        self.lines.push(line);
        Ok(self.lines.len() - 1)
    }

    /// Sends a message, in that phase.
    pub(super) fn send(
        &mut self,
        index: usize,
        outgoing: &Outgoing,
        phase: &'static str,
    ) -> Result<Sent, Failure> {
        let link = self.all.get_mut(index).ok_or_else(nobody)?;
        if outgoing.asks() {
            self.asked = Some(link.server.address);
        }
        let sent = match &mut link.carrier {
            Carrier::Flow(flow) => flow.send(&outgoing.bytes).map(|()| Sent::Stream),
            Carrier::Line(line) => {
                let line = self.lines.get_mut(*line).ok_or_else(nobody)?;
                let stamped = outgoing.stamp.is_some();
                let sent = line.send(&outgoing.bytes, link.server.address, stamped);
                sent.map(Sent::Datagram).map_err(|error| match stamped {
                    // A first transmission has not left this machine.
                    true => from_io_at_once(&error),
                    false => from_io(&error, phase),
                })
            }
        };
        self.has_sent |= sent.is_ok();
        sent
    }

    /// Answers whoever has sent the last message. An answer that does not leave is one that got lost: it is asked again.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        match self.last {
            Some(Last::Line(line, to)) => {
                if let Some(line) = self.lines.get(line) {
                    drop(line.answer(bytes, to));
                }
            }
            Some(Last::Flow(link)) => {
                if let Some(Link { carrier: Carrier::Flow(flow), .. }) = self.all.get_mut(link) {
                    drop(flow.send(bytes));
                }
            }
            None => {}
        }
    }

    /// The next thing that happens, in that phase.
    pub(super) async fn next(&mut self, phase: &'static str) -> Happened {
        poll_fn(|context| self.poll_next(context, phase)).await
    }

    /// The next thing that has happened.
    pub(super) fn try_next(&mut self, phase: &'static str) -> Option<Happened> {
        match self.poll_next(&mut Context::from_waker(Waker::noop()), phase) {
            Poll::Ready(happened) => Some(happened),
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>, phase: &'static str) -> Poll<Happened> {
        // It never ends: this side holds a sender too.
        if let Poll::Ready(Some(event)) = Pin::new(&mut self.events).poll_next(context) {
            return Poll::Ready(self.at_line(event, phase));
        }
        for (index, link) in self.all.iter_mut().enumerate() {
            let Carrier::Flow(flow) = &mut link.carrier else { continue };
            match flow.poll_next(context) {
                Poll::Pending => {}
                Poll::Ready(Heard::Closed(failure)) => return Poll::Ready(Happened::Lost(failure)),
                Poll::Ready(Heard::Message { bytes, at }) => {
                    self.last = Some(Last::Flow(index));
                    let transport = link.server.name.transport;
                    let source = Hop { transport, ..hop(link.server.address) };
                    let (bytes, by) = (bytes.into(), Stamper::User);
                    return Poll::Ready(Happened::Came { bytes, source, at, by });
                }
            }
        }
        Poll::Pending
    }

    fn at_line(&mut self, event: Event, phase: &'static str) -> Happened {
        match event {
            Event::Left { number, at } => Happened::Left { number, at },
            Event::Undelivered { errno } => {
                Happened::Lost(from_io(&io::Error::from_raw_os_error(errno), phase))
            }
            Event::Datagram { bytes, source, local, at, by } => {
                let line = self.lines.iter().position(|line| line.local() == local);
                self.last = line.map(|line| Last::Line(line, source));
                Happened::Came { bytes, source: hop(source), at, by }
            }
        }
    }

    /// The phases of the connection that was opened before anything was sent.
    pub(super) fn opened(&self) -> &[(&'static str, Duration)] {
        &self.opened
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

fn nobody() -> Failure {
    super::agent_error("nobody to ask")
}

impl Link {
    fn leads_to(&self, wanted: &Hop) -> bool {
        let Server { address, name, .. } = &self.server;
        let by_name = wanted.port == name.port && wanted.host.eq_ignore_ascii_case(&name.host);
        let by_address =
            || wanted.port == address.port() && wanted.host.parse() == Ok(address.ip());
        by_name || by_address()
    }
}

#[cfg(test)]
mod tests;
