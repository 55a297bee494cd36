//! An attempt on its sockets: hands the scenario what happens, sends what it says, and sees that no call stays up.
//!
//! When the attempt ends, or is dropped in the middle of a call, whatever is still up is ended in the background, within
//! [`TAIL_MAX`]: the CANCEL or BYE leaves at once, and answers to it are acknowledged.

use super::scenario::{Conclusion, Datagram, Outgoing, Scenario, Way};
use super::sockets::{Received, Sockets};
use crate::probe::Environment;
use crate::probe::environment::CallSlot;
use crate::probe::failure::{Failure, from_io, from_io_at_once};
use crate::probe::tail::TAIL_MAX;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use tokio::time::{Instant, sleep_until};

/// Most datagrams that are read before timers and other attempts get their turn.
const BURST_MAX: usize = 32;
/// Room for the largest datagram.
const BUFFER_BYTES: usize = 1 << 16;

/// What a conversation is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) scenario: Box<dyn Scenario>,
    pub(super) sockets: Sockets,
    /// Where audio may come, as long as the call may be up.
    pub(super) media: Option<UdpSocket>,
    /// The right to one call.
    pub(super) slot: Option<CallSlot>,
    /// The phase in which nothing was answered yet.
    pub(super) phase: &'static str,
}

/// A conversation under way.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    environment: &'a Environment,
    parts: Option<Parts>,
}

/// Finds the address of a hop that a dialog names.
pub(super) trait Route {
    /// The address, if it is one that may be dialled.
    async fn find(&self, host: &str, port: u16) -> Result<SocketAddr, Failure>;
}

impl<'a> Conversation<'a> {
    pub(super) fn new(environment: &'a Environment, parts: Parts) -> Self {
        Self { environment, parts: Some(parts) }
    }

    /// Converses until the outcome is certain, at the deadline at the latest. The scenario knows how the attempt ends
    /// there.
    pub(super) async fn run(
        &mut self,
        route: &impl Route,
        deadline: Instant,
    ) -> Option<Conclusion> {
        let parts = self.parts.as_mut()?;
        loop {
            if let Err(failure) = parts.send_all(route, deadline).await {
                return Some(Conclusion {
                    result: Err(failure),
                    at: Instant::now(),
                    phases: Vec::new(),
                    counters: Vec::new(),
                });
            }
            if let Some(conclusion) = parts.scenario.conclusion() {
                return Some(conclusion.clone());
            }
            if !parts.step(deadline).await {
                parts.scenario.hang_up(Instant::now());
            }
        }
    }

    /// What was counted and noted on the way.
    pub(super) fn notes(&mut self) -> Vec<(&'static str, serde_json::Value)> {
        let Some(parts) = &mut self.parts else { return Vec::new() };
        let outbox = parts.scenario.outbox();
        let mut notes = std::mem::take(&mut outbox.notes);
        notes.push(("retransmits", outbox.retransmits.into()));
        if outbox.discarded > 0 {
            notes.push(("discarded", outbox.discarded.into()));
        }
        notes
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let now = Instant::now();
        parts.scenario.hang_up(now);
        parts.send_all_at_once();
        if !parts.scenario.may_be_up() {
            parts.slot = None;
            parts.media = None;
        }
        if parts.scenario.is_over() {
            return;
        }
        // Without a runtime, or among too many others, it was at least told that it is over.
        self.environment.tails().run(parts.end(now + TAIL_MAX));
    }
}

impl Parts {
    /// Waits for the next thing that happens and hands it over. False when the deadline has come.
    async fn step(&mut self, deadline: Instant) -> bool {
        // A flood is always readable, and would never let the runtime go on to others, nor to its own timers.
        tokio::task::consume_budget().await;
        let wake = self.scenario.next_timer().map_or(deadline, |timer| timer.min(deadline));
        tokio::select! {
            biased;
            // Time goes first.
            () = sleep_until(wake) => {
                let now = Instant::now();
                if now >= deadline {
                    return false;
                }
                self.scenario.fire(now);
            }
            () = self.sockets.readable() => self.receive(),
        }
        true
    }

    /// Reads what is there, up to something that must be answered.
    fn receive(&mut self) {
        let mut buffer = [0; BUFFER_BYTES];
        for _ in 0..BURST_MAX {
            let Some(received) = self.sockets.receive(&mut buffer) else { return };
            let at = Instant::now();
            match received {
                Ok(Received { length, source }) => {
                    self.scenario.receive(&Datagram { bytes: &buffer[..length], at, source });
                }
                Err(error) => self.scenario.unreachable(from_io(&error, self.phase), at),
            }
            if self.scenario.conclusion().is_some() || !self.scenario.outbox().is_empty() {
                return;
            }
        }
    }

    /// Sends everything. The failure is that of a hop that a dialog names and that cannot be asked: then what was to go
    /// there goes the way that the call was made, so that the call can end.
    async fn send_all(&mut self, route: &impl Route, deadline: Instant) -> Result<(), Failure> {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            let found = match self.known(&outgoing.way) {
                Some(index) => Ok(index),
                None => self.find(&outgoing.way, route, deadline).await,
            };
            self.send(*found.as_ref().unwrap_or(&0), &outgoing);
            found?;
        }
        Ok(())
    }

    /// Sends everything without waiting for anything.
    fn send_all_at_once(&mut self) {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            let index = self.known(&outgoing.way).unwrap_or_default();
            self.send(index, &outgoing);
        }
    }

    fn known(&self, way: &Way) -> Option<usize> {
        match way {
            Way::Target(_) => Some(0),
            Way::Back => Some(self.sockets.last()),
            Way::Hop(hop) | Way::Aside(hop) => self.sockets.known(hop),
        }
    }

    async fn find(
        &mut self,
        way: &Way,
        route: &impl Route,
        deadline: Instant,
    ) -> Result<usize, Failure> {
        let (Way::Hop(hop) | Way::Aside(hop)) = way else { return Ok(0) };
        let found = tokio::time::timeout_at(deadline, route.find(&hop.host, hop.port)).await;
        let found = found.unwrap_or_else(|_| Err(Failure::resolve_timeout())).and_then(|address| {
            self.sockets.to(address, hop).map_err(|error| from_io_at_once(&error))
        });
        match way {
            Way::Aside(_) => Ok(found.unwrap_or_default()),
            _ => found,
        }
    }

    fn send(&mut self, index: usize, outgoing: &Outgoing) {
        // Taken before: whatever the system does with the message is part of its way.
        let at = Instant::now();
        match self.sockets.send(index, &outgoing.bytes) {
            Ok(()) => {
                if let Some(stamp) = outgoing.stamp {
                    self.scenario.sent(stamp, at);
                }
            }
            Err(error) => {
                let failure = self.failure(&error, outgoing);
                self.scenario.unreachable(failure, at);
            }
        }
    }

    /// A first transmission has not left this machine; an error of any later one may be what the network said of those
    /// before.
    fn failure(&self, error: &io::Error, outgoing: &Outgoing) -> Failure {
        match outgoing.stamp {
            Some(_) => from_io_at_once(error),
            None => from_io(error, self.phase),
        }
    }

    /// Ends what is still up, or gives up.
    async fn end(mut self, until: Instant) {
        while !self.scenario.is_over() && self.step(until).await {
            self.send_all_at_once();
        }
    }
}
