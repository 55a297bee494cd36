//! What is said into one line comes back: audio packet for packet, and a report for a report (RFC 3550). Pure.
//!
//! Only a caller is answered, only while its call is up, only where it was heard from, and never with more than it sent:
//! nobody can use an echo to send anything to somebody else that this one has not sent himself.

use super::counts::Counts;

use crate::probe::sip::media::TICK_NS;
use crate::probe::sip::media::machine::low_32;
use crate::probe::sip::media::receiver::Receiver;
use crate::probe::sip::media::rtcp::{Compound, Outgoing, SenderInfo, ntp};
use crate::probe::sip::media::rtp::{Packet, readdress};
use crate::probe::sip::rate::Rate;
use core::net::{IpAddr, SocketAddr};
use probefleet_proto::clock::saturating_ns;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Packets a second that come back to one caller: G.711 in packets of 10 ms has as many.
const PACKETS_PER_S: u32 = 100;
/// Shortest time between two reports to one caller: RFC 3550 §6.2 has 5 s between two of its own, 1 s at least with its
/// randomisation and a fast first one.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Who may be heard in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Party {
    /// Where its description has its audio.
    pub(super) place: Option<SocketAddr>,
    /// Where its requests came from.
    pub(super) signalling: Option<IpAddr>,
    /// Whether it wants to hear anything.
    pub(super) listens: bool,
    /// Of the numbers that it sees of this side.
    pub(super) seed: u64,
}

/// All calls of one line.
#[derive(Debug)]
pub(super) struct Echo {
    legs: Vec<Leg>,
    counts: Arc<Counts>,
}

/// One call.
#[derive(Debug)]
struct Leg {
    call: u64,
    party: Party,
    /// Where the caller's audio comes from; the first that may be it is believed.
    source: Option<SocketAddr>,
    rate: Rate,
    heard: Option<Heard>,
}

/// What has been heard, and sent back.
#[derive(Debug)]
struct Heard {
    receiver: Receiver,
    since: Instant,
    packets: u64,
    octets: u64,
    /// Timestamp of the last packet, and when it came.
    last: (u32, Instant),
    /// `packets` at the last report, and when that was.
    reported: Option<(u64, Instant)>,
}

impl Echo {
    /// Nobody has called.
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self { legs: Vec::new(), counts }
    }

    /// A call is up.
    pub(super) fn open(&mut self, call: u64, party: Party, now: Instant) {
        let (source, heard) = (None, None);
        self.legs.push(Leg { call, party, source, rate: Rate::new(PACKETS_PER_S, now), heard });
    }

    /// A call is over.
    pub(super) fn close(&mut self, call: u64) {
        self.legs.retain(|leg| leg.call != call);
    }

    /// Audio has come. Whether it is to be sent back to where it came from, as it now is.
    pub(super) fn data(&mut self, bytes: &mut [u8], source: SocketAddr, at: Instant) -> bool {
        let leg = Packet::read(bytes).ok().and_then(|packet| {
            let leg = find(&mut self.legs, source)?;
            leg.hear(&packet, source, at).then_some(leg)
        });
        match leg {
            Some(leg) => {
                readdress(bytes, low_32(leg.party.seed));
                self.counts.echoed.add();
                true
            }
            None => {
                self.counts.unheard.add();
                false
            }
        }
    }

    /// Control has come: the report that is to be sent back to where it came from.
    pub(super) fn control(
        &mut self,
        bytes: &[u8],
        source: SocketAddr,
        at: Instant,
    ) -> Option<Vec<u8>> {
        let compound = Compound::read(bytes).ok()?;
        let leg = self.legs.iter_mut().find(|leg| leg.reports_itself(&compound, source))?;
        let report = leg.report(&compound, at)?;
        self.counts.reports.add();
        Some(report)
    }
}

/// The call that a source belongs to: the one it was heard in; else the one whose description names it; else one that has
/// its address alone, for the port may have been translated on the way.
fn find(legs: &mut [Leg], source: SocketAddr) -> Option<&mut Leg> {
    let known = legs.iter().position(|leg| leg.source == Some(source));
    let mut free = legs.iter().enumerate().filter(|(_, leg)| leg.source.is_none());
    let named = |leg: &Leg| leg.party.place == Some(source);
    let near = |leg: &Leg| {
        let addresses = [leg.party.place.map(|place| place.ip()), leg.party.signalling];
        addresses.contains(&Some(source.ip()))
    };
    let index = known
        .or_else(|| free.clone().find(|(_, leg)| named(leg)).map(|(index, _)| index))
        .or_else(|| free.find(|(_, leg)| near(leg)).map(|(index, _)| index))?;
    legs.get_mut(index)
}

impl Leg {
    /// Whether the packet comes back.
    fn hear(&mut self, packet: &Packet<'_>, source: SocketAddr, at: Instant) -> bool {
        if !self.rate.admits(at) {
            return false;
        }
        self.source = Some(source);
        let heard = self.heard.get_or_insert_with(|| Heard {
            receiver: Receiver::new(packet.header.payload_type),
            since: at,
            packets: 0,
            octets: 0,
            last: (packet.header.timestamp, at),
            reported: None,
        });
        heard.receiver.receive(packet, at);
        if self.party.listens {
            heard.packets += 1;
            heard.octets += packet.payload.len() as u64;
            heard.last = (packet.header.timestamp, at);
        }
        self.party.listens
    }

    /// Whether it is the caller who reports: its address, and the SSRC that it speaks with.
    fn reports_itself(&self, compound: &Compound, source: SocketAddr) -> bool {
        let ssrc = self.heard.as_ref().and_then(|heard| heard.receiver.ssrc());
        self.source.is_some_and(|heard| heard.ip() == source.ip()) && ssrc == Some(compound.ssrc)
    }

    fn report(&mut self, compound: &Compound, at: Instant) -> Option<Vec<u8>> {
        let heard = self.heard.as_mut()?;
        if let Some(info) = &compound.sender {
            heard.receiver.reported(compound.ssrc, info, at);
        }
        let early = |(packets, told_at): (u64, Instant)| {
            packets == heard.packets || at.saturating_duration_since(told_at) < REPORT_EVERY
        };
        if compound.goodbye || heard.reported.is_some_and(early) {
            return None;
        }
        heard.reported = Some((heard.packets, at));
        let (ssrc, cname) = (low_32(self.party.seed), format!("{:016x}", self.party.seed));
        let sender = (heard.packets > 0).then(|| heard.sender_info(self.party.seed, at));
        let block = heard.receiver.block(at);
        Some(Outgoing { ssrc, sender, block, cname: &cname, goodbye: false }.write())
    }
}

impl Heard {
    fn sender_info(&self, seed: u64, at: Instant) -> SenderInfo {
        let (timestamp, last_at) = self.last;
        let since_ns = saturating_ns(at.saturating_duration_since(last_at));
        SenderInfo {
            // Not the time of day, which §6.4.1 does not ask for.
            ntp: (seed >> 1).wrapping_add(ntp(at.saturating_duration_since(self.since))),
            timestamp: timestamp.wrapping_add(low_32(since_ns / TICK_NS.unsigned_abs())),
            packets: low_32(self.packets),
            octets: low_32(self.octets),
        }
    }
}

#[cfg(test)]
mod tests;
