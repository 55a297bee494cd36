//! An attempt on its sockets: hands the scenario what happens, sends what it says, and sees that no call stays up.
//!
//! When the attempt ends, or is dropped in the middle of a call, whatever is still up is ended in the background, within
//! [`TAIL_MAX`]: the CANCEL or BYE leaves at once, and answers to it are acknowledged.

use super::audio::Audio;
use super::dial::{Dialler, Limit};
use super::links::{Happened, Links, Sent, Server};
use super::scenario::{Conclusion, Datagram, Outgoing, Scenario, Way};
use super::stamps::Stamps;
use super::uri::Hop;
use crate::probe::Outcome;
use crate::probe::environment::CallSlot;
use crate::probe::failure::Failure;
use crate::probe::tail::{TAIL_MAX, Tails};
use crate::probe::udp::Stamper;
use probefleet_proto::name::{FailureClass, InvalidReason};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

/// Most events that are handed over before timers and other attempts get their turn.
const BURST_MAX: usize = 32;
/// The code of an attempt that waited for something that this machine may have dropped.
const RX_OVERFLOW: &str = "rx_overflow";

/// From how many datagrams on that are of no use, from those who were asked, it is their doing that the kernel drops some:
/// stray answers of calls long over are a handful.
const FLOOD_MIN: u64 = 100;

/// What a conversation is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) scenario: Box<dyn Scenario>,
    pub(super) links: Links,
    pub(super) stamps: Stamps,
    /// Where audio may come, as long as the call may be up.
    pub(super) audio: Audio,
    /// The right to one call.
    pub(super) slot: Option<CallSlot>,
    /// The phase in which nothing was answered yet.
    pub(super) phase: &'static str,
}

/// A conversation under way.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    tails: &'a Tails,
    parts: Option<Parts>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(tails: &'a Tails, parts: Parts) -> Self {
        Self { tails, parts: Some(parts) }
    }

    /// Converses until the outcome is certain, at the deadline at the latest. The scenario knows how the attempt ends
    /// there.
    pub(super) async fn run(
        &mut self,
        dialler: Dialler<'_>,
        deadline: Instant,
    ) -> Option<Conclusion> {
        let parts = self.parts.as_mut()?;
        loop {
            let sent = parts.send_all(dialler, deadline).await;
            let stopped = sent.err();
            if stopped.is_some() {
                parts.scenario.hang_up(Instant::now());
            }
            parts.audio.follow(parts.scenario.media(), &parts.links, dialler.environment);
            if let Some(conclusion) = parts.scenario.conclusion() {
                let mut conclusion = conclusion.clone();
                if let Some(failure) = stopped {
                    conclusion.result = Err(failure);
                }
                conclusion.phases.splice(0..0, parts.links.opened().iter().copied());
                return Some(parts.unless_deaf(conclusion));
            }
            if !parts.step(deadline).await {
                parts.scenario.hang_up(Instant::now());
            }
        }
    }

    /// What the audio of the call was like, and what that makes of its outcome.
    pub(super) fn judge(
        &mut self,
        conclusion: &mut Conclusion,
        notes: &mut Map<String, Value>,
    ) -> Vec<(&'static str, u64)> {
        self.parts.as_mut().map_or_else(Vec::new, |parts| parts.audio.judge(conclusion, notes))
    }

    /// What was counted and noted on the way.
    pub(super) fn notes(&mut self) -> Map<String, Value> {
        let Some(parts) = &mut self.parts else { return Map::new() };
        let outbox = parts.scenario.outbox();
        let mut notes = std::mem::take(&mut parts.links.notes);
        let mut note = |key: &str, value| drop(notes.insert(key.to_owned(), value));
        std::mem::take(&mut outbox.notes).into_iter().for_each(|(key, value)| note(key, value));
        note("retransmits", outbox.retransmits.into());
        let discarded = u64::from(outbox.discarded).saturating_add(parts.links.discarded());
        if discarded > 0 {
            note("discarded", discarded.into());
        }
        if let Some(by) = parts.stamps.label() {
            note("timestamps", by.into());
        }
        if let Some(asked) = parts.links.asked() {
            note("address", asked.to_string().into());
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
        let may_be_up = parts.scenario.may_be_up();
        parts.audio.end(may_be_up);
        if !may_be_up {
            parts.slot = None;
        }
        if parts.scenario.is_over() {
            return;
        }
        // Without a runtime, or among too many others, it was at least told that it is over.
        self.tails.run(parts.end(now + TAIL_MAX));
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
            happened = self.links.next(self.phase) => self.hear(happened),
            // Ends no earlier than that.
            () = self.audio.run(wake) => {}
        }
        true
    }

    /// Hands over what has happened, up to something that must be answered.
    fn hear(&mut self, first: Happened) {
        let mut next = Some(first);
        for _ in 0..BURST_MAX {
            let Some(happened) = next else { return };
            match happened {
                Happened::Left { number, at } => {
                    if let Some((stamp, at)) = self.stamps.left(number, at) {
                        self.scenario.sent(stamp, at);
                    }
                }
                Happened::Came { bytes, source, at, by } => {
                    while let Some((stamp, at)) = self.stamps.overdue(at) {
                        self.scenario.sent(stamp, at);
                    }
                    self.stamps.note(by);
                    self.scenario.receive(&Datagram { bytes: &bytes, at, source: &source });
                }
                Happened::Lost(failure) => self.scenario.unreachable(failure, Instant::now()),
            }
            if self.scenario.conclusion().is_some() || !self.scenario.outbox().is_empty() {
                return;
            }
            next = self.links.try_next(self.phase);
        }
    }

    /// Sends everything. The failure is that of a hop that a dialog names and that cannot be asked: then what was to go
    /// there goes the way that the call was made, so that the call can end.
    async fn send_all(&mut self, dialler: Dialler<'_>, deadline: Instant) -> Result<(), Failure> {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            if outgoing.way == Way::Back {
                self.links.answer(&outgoing.bytes);
                continue;
            }
            let found = match self.links.known(&outgoing) {
                Some(index) => Ok(index),
                None => self.open(&outgoing, dialler, deadline).await,
            };
            match (found, &outgoing.way) {
                (Ok(index), _) => self.send(index, &outgoing),
                // Whoever asks knows what else can be asked (RFC 3263 §4.3).
                (Err(failure), Way::Target(_) | Way::Onward(_)) => {
                    self.scenario.unreachable(failure, Instant::now());
                }
                (Err(_), Way::Aside(_)) => self.send(0, &outgoing),
                (Err(failure), _) => {
                    self.send(0, &outgoing);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    /// Sends everything without waiting for anything.
    fn send_all_at_once(&mut self) {
        while let Some(outgoing) = self.scenario.outbox().pop() {
            if outgoing.way == Way::Back {
                self.links.answer(&outgoing.bytes);
            } else {
                let index = self.links.known(&outgoing).unwrap_or_default();
                self.send(index, &outgoing);
            }
        }
    }

    async fn open(
        &mut self,
        outgoing: &Outgoing,
        dialler: Dialler<'_>,
        deadline: Instant,
    ) -> Result<usize, Failure> {
        let transport = outgoing.transport;
        let server = match &outgoing.way {
            Way::Target(index) => {
                let server = self.links.server(*index)?;
                Server { name: Hop { transport, ..server.name }, ..server }
            }
            Way::Hop(hop) | Way::Aside(hop) | Way::Onward(hop) => {
                let name = Hop { transport, ..hop.clone() };
                // The future is large, and most attempts stay with the server that they have begun with.
                let finding = Box::pin(dialler.find(name));
                let found = tokio::time::timeout_at(deadline, finding).await;
                found.unwrap_or_else(|_| Err(Failure::resolve_timeout()))?
            }
            Way::Back => return Err(super::agent_error("an answer has its way")),
        };
        if outgoing.asks() {
            self.links.ask(server.address);
        }
        self.links.open(server, dialler, Limit { deadline, phase: self.phase }).await
    }

    fn send(&mut self, index: usize, outgoing: &Outgoing) {
        // Taken before: whatever the system does with the message is part of its way.
        let at = Instant::now();
        match (self.links.send(index, outgoing, self.phase), outgoing.stamp) {
            (Ok(Sent::Datagram(number)), Some(stamp)) => self.stamps.expect(number, stamp, at),
            (Ok(Sent::Stream), Some(stamp)) => {
                self.stamps.note(Stamper::User);
                self.scenario.sent(stamp, at);
            }
            (Ok(_), None) => {}
            (Err(failure), _) => self.scenario.unreachable(failure, at),
        }
    }

    /// What came of an attempt, unless this machine may have dropped what was to be heard: then nobody knows.
    fn unless_deaf(&mut self, mut conclusion: Conclusion) -> Conclusion {
        let timed_out = matches!(
            &conclusion.result,
            Err(Failure { outcome: Outcome::Failed(FailureClass::Timeout), .. })
        );
        let missed = timed_out || self.scenario.outbox().retransmits > 0;
        let dropped = self.links.dropped();
        // Who floods this machine shall not have his silence forgiven.
        let flooded = self.links.discarded() > FLOOD_MIN;
        if missed && dropped > 0 && !flooded {
            let why = format!("this machine has dropped {dropped} datagrams meanwhile");
            let failure = Failure::invalid(InvalidReason::AgentOverload, RX_OVERFLOW, why);
            conclusion.result = Err(failure);
            conclusion.counters.clear();
        }
        conclusion
    }

    /// Ends what is still up, or gives up.
    async fn end(mut self, until: Instant) {
        while !self.scenario.is_over() && self.step(until).await {
            self.send_all_at_once();
        }
    }
}
