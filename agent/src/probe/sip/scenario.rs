//! What an attempt does, as a machine without clock or socket: time, datagrams and seeds are passed in, messages and the
//! conclusion are taken out. Pure.

use super::message::{Message, NotSip, StartLine, Via};
use super::sdp::Audio;
use super::transport::Transport;
use super::uri::Hop;
use crate::probe::failure::Failure;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// One attempt under way.
///
/// Whoever drives it hands over what happens, then sends everything in the [`Outbox`], then looks for a conclusion, and
/// comes back at the next timer at the latest.
pub(crate) trait Scenario: Send + std::fmt::Debug {
    /// A datagram has come.
    fn receive(&mut self, datagram: &Datagram<'_>);
    /// A message left the machine for the first time, at the instant just before it was handed over.
    fn sent(&mut self, stamp: Stamp, at: Instant);
    /// The network, or the other machine's, says that nobody is there.
    fn unreachable(&mut self, failure: Failure, at: Instant);
    /// Fires the timers that are due.
    fn fire(&mut self, now: Instant);
    /// When the next timer fires.
    fn next_timer(&self) -> Option<Instant>;
    /// No more time: concludes at once, and ends what may still be up.
    fn hang_up(&mut self, now: Instant);
    /// What is to be sent.
    fn outbox(&mut self) -> &mut Outbox;
    /// What came of it, as soon as that is certain.
    fn conclusion(&self) -> Option<&Conclusion>;
    /// Whether something may still come that must be answered.
    fn is_over(&self) -> bool;
    /// Whether the other side may take a call for established.
    fn may_be_up(&self) -> bool;
    /// The call that is up, from its answer until somebody hangs up.
    fn media(&self) -> Option<&Established> {
        None
    }
}

/// A call that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Established {
    /// When its answer was there.
    pub(crate) answered_at: Instant,
    /// Where the other side expects audio, and how; `None` where it said nothing that is understood.
    pub(crate) audio: Option<Audio>,
}

/// A datagram, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// Its bytes.
    pub(crate) bytes: &'a [u8],
    /// When its last byte was there.
    pub(crate) at: Instant,
    /// Who sent it.
    pub(crate) source: &'a Hop,
}

/// First transmissions from which a delay is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// The request that the attempt begins with.
    Request,
    /// The BYE of the call.
    Bye,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To one of the servers that the name of who is asked leads to, by its place among them (RFC 3263 §4.3).
    Target(usize),
    /// To that host, as a redirection says, or by a stream because of a request's size. If it cannot be asked, the scenario
    /// is told, and nobody is asked in its place.
    Onward(Hop),
    /// To that host, as the dialog's route or remote target says.
    Hop(Hop),
    /// Likewise for a further call of a fork, which says nothing about the first: if that host cannot be asked, where
    /// the first request went.
    Aside(Hop),
    /// Back to whoever sent the datagram at hand.
    Back,
}

/// Where requests go, and what carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Where to.
    pub(crate) way: Way,
    /// What their `Via` says.
    pub(crate) transport: Transport,
}

/// The servers that the name of who is asked leads to, best first (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Targets {
    /// What carries a request to each.
    pub(crate) transports: Vec<Transport>,
    /// Whether the next is asked when one cannot be had (RFC 3263 §4.3).
    pub(crate) failover: bool,
}

impl Targets {
    /// The way to one of them.
    pub(crate) fn path(&self, index: usize) -> Path {
        let transport = self.transports.get(index).copied().unwrap_or(Transport::Udp);
        Path { way: Way::Target(index), transport }
    }

    /// The way to the one behind it, if that may be asked.
    pub(crate) fn next(&self, path: &Path) -> Option<Path> {
        let Way::Target(index) = path.way else { return None };
        let next = index + 1;
        (self.failover && next < self.transports.len()).then(|| self.path(next))
    }
}

/// A message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// Where to.
    pub(crate) way: Way,
    /// What carries it: what its `Via` says, whatever the hop does by default.
    pub(crate) transport: Transport,
    /// The whole of it.
    pub(crate) bytes: Vec<u8>,
    /// To be told when it left.
    pub(crate) stamp: Option<Stamp>,
}

impl Outgoing {
    /// Whether it asks a server that the URI or a redirection leads to. An ACK asks nothing: a refusal that comes again is
    /// acknowledged to whoever was asked before.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.way, Way::Target(_) | Way::Onward(_)) && !self.bytes.starts_with(b"ACK ")
    }
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conclusion {
    /// The expected status, or why not.
    pub(crate) result: Result<u16, Failure>,
    /// When that was certain.
    pub(crate) at: Instant,
    /// Each delay that was measured.
    pub(crate) phases: Vec<(&'static str, Duration)>,
    /// What was counted for the ratios of RFC 6076.
    pub(crate) counters: Vec<(&'static str, u64)>,
}

/// The counter of requests that were sent again.
pub(crate) const RETRANSMISSIONS: &str = "retransmissions";

/// Messages to be sent, and what was counted on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Outgoing>,
    /// Requests that were sent again because nothing was heard (timers A and E).
    pub(crate) retransmits: u32,
    /// Datagrams that were no message of this attempt.
    pub(crate) discarded: u32,
    /// What `try` shows beside the figures.
    pub(crate) notes: Vec<(&'static str, Value)>,
}

impl Outbox {
    /// Sends a message.
    pub(crate) fn push(&mut self, path: &Path, bytes: Vec<u8>, stamp: Option<Stamp>) {
        let Path { way, transport } = path.clone();
        self.queue.push_back(Outgoing { way, transport, bytes, stamp });
    }

    /// Sends nothing of those bytes that has not left yet.
    pub(crate) fn withdraw(&mut self, bytes: &[u8]) {
        self.queue.retain(|outgoing| outgoing.bytes != bytes);
    }

    /// Sends a request again.
    pub(crate) fn push_again(&mut self, path: &Path, bytes: Vec<u8>) {
        self.retransmits = self.retransmits.saturating_add(1);
        self.push(path, bytes, None);
    }

    /// Answers a request, by what carried it.
    pub(crate) fn push_back(&mut self, request: &Message<'_>, response: Vec<u8>) {
        let via = request.values("Via").next().and_then(Via::parse);
        let named = via.and_then(|via| Transport::parse(std::str::from_utf8(via.transport).ok()?));
        let path = Path { way: Way::Back, transport: named.unwrap_or(Transport::Udp) };
        self.push(&path, response, None);
    }

    /// Whether nothing is to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next message to be sent.
    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        self.queue.pop_front()
    }

    /// A datagram was no message of this attempt.
    pub(crate) fn discard(&mut self) {
        self.discarded = self.discarded.saturating_add(1);
    }

    /// Shows something beside the figures.
    pub(crate) fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.notes.push((key, value.into()));
    }

    /// The message in a datagram. What is none is dropped and counted; a keep-alive is only dropped.
    pub(crate) fn read<'a>(&mut self, datagram: &Datagram<'a>) -> Option<Message<'a>> {
        match Message::parse(datagram.bytes) {
            Ok(message) => Some(message),
            Err(NotSip::Empty) => None,
            Err(_) => {
                self.discard();
                None
            }
        }
    }
}

/// The words of a response, for people.
pub(crate) fn words(response: &Message<'_>) -> String {
    match response.start {
        StartLine::Response { status, reason } => {
            format!("{status} {}", String::from_utf8_lossy(reason))
        }
        StartLine::Request { .. } => String::new(),
    }
}
