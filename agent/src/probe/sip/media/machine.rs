//! One side of a call's audio: packets out at their times, packets in as they come, and a report at the end. Pure: time
//! and the seed are passed in.
//!
//! Fifty packets a second are sent, on a grid that begins once and never drifts. A packet whose time has passed is left
//! out, not made up for: nobody gets more than was agreed.

use super::quality::{Heard, Rating};
use super::receiver::{Receiver, Reception};
use super::rtcp::{Block, Compound, Outgoing, SenderInfo, VoipMetrics, middle, ntp};
use super::rtp::{Header, Packet};
use super::tone::Codec;
use super::{PACKET_NS, PACKET_SAMPLES, TICK_NS};
use crate::probe::sip::sdp::Direction;
use fastrand::Rng;
use probefleet_proto::clock::saturating_ns;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time that audio is sent, whatever is asked: as long as the responder holds a call.
const SENDS_MAX: Duration = Duration::from_secs(3_600);
/// Time between reports, before it is randomised: Tmin of RFC 3550 §6.2. Of two parties with G.711, 5 % of the bandwidth
/// would permit more.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The same before the first: §6.2 lets two parties begin at once. Randomised it is below 2.5 s, so that a short call has
/// a round trip too.
const REPORT_FIRST: Duration = Duration::from_secs(2);
/// Own reports that an answer may still speak of.
const REPORTS_KEPT: usize = 8;

/// What a call's audio is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaPlan {
    pub(crate) codec: Codec,
    /// When the 200 came.
    pub(crate) answered_at: Instant,
    /// When nothing more is sent.
    pub(crate) ends_at: Instant,
    /// Who may speak, as the other side says.
    pub(crate) direction: Direction,
    /// Of SSRC, first numbers and the times of reports.
    pub(crate) seed: u64,
}

/// Which of the two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Data.
    Rtp,
    /// Control.
    Rtcp,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaReport {
    /// From the 200 to the first packet that came.
    pub(crate) media_setup_ns: Option<u64>,
    /// Nothing came of a side that said it would speak.
    pub(crate) no_audio: bool,
    /// What came.
    pub(crate) reception: Reception,
    /// Of what should have come, that did not, in millionths.
    pub(crate) loss_ppm: u64,
    /// How that sounds.
    pub(crate) rating: Option<Rating>,
    /// Mean of the round trips that the other side's reports gave (§6.4.1).
    pub(crate) rtt_ns: Option<u64>,
    /// Packets sent.
    pub(crate) sent: u64,
    /// Packets that were not sent because their time had passed: the agent was late.
    pub(crate) skipped: u64,
    /// Of what was sent, that the other side says it has not got, in millionths.
    pub(crate) remote_loss_ppm: Option<u64>,
    /// The other side's jitter.
    pub(crate) remote_jitter_ns: Option<u64>,
    /// The other side's own rating (RFC 3611 §4.7).
    pub(crate) remote_rating: Option<VoipMetrics>,
}

impl MediaReport {
    /// Packets that did not come.
    pub(crate) fn lost(&self) -> u64 {
        self.reception.expected - self.reception.received
    }
}

/// One side of the audio.
#[derive(Debug)]
pub(crate) struct MediaMachine {
    plan: MediaPlan,
    rng: Rng,
    start: Instant,
    /// Nothing more is sent.
    over: bool,
    ssrc: u32,
    first_number: u16,
    first_timestamp: u32,
    /// What NTP timestamps count from: not the time of day, which §6.4.1 does not ask for.
    first_ntp: u64,
    cname: String,
    tone: [u8; PACKET_SAMPLES],
    /// The next packet's place on the grid.
    slot: u64,
    sent: u64,
    skipped: u64,
    report_at: Instant,
    reports: VecDeque<(u32, Instant)>,
    outgoing: VecDeque<(Channel, Vec<u8>)>,
    receiver: Receiver,
    left_at: Option<Instant>,
    rtts_ns: (u64, u64),
    remote: Option<Block>,
    remote_rating: Option<VoipMetrics>,
}

impl MediaMachine {
    /// Begins now.
    pub(crate) fn new(plan: MediaPlan, now: Instant) -> Self {
        let mut rng = Rng::with_seed(plan.seed);
        let ends_at = plan.ends_at.min(now + SENDS_MAX);
        Self {
            start: now,
            over: false,
            ssrc: rng.u32(..),
            first_number: rng.u16(..),
            first_timestamp: rng.u32(..),
            first_ntp: rng.u64(..) >> 1,
            // RFC 7022 §4.2: 96 bits for one session alone.
            cname: format!("{:016x}{:08x}", rng.u64(..), rng.u32(..)),
            tone: plan.codec.tone(),
            slot: 0,
            sent: 0,
            skipped: 0,
            report_at: now + randomised(REPORT_FIRST, &mut rng),
            reports: VecDeque::with_capacity(REPORTS_KEPT),
            outgoing: VecDeque::new(),
            receiver: Receiver::new(plan.codec.payload_type()),
            left_at: None,
            rtts_ns: (0, 0),
            remote: None,
            remote_rating: None,
            plan: MediaPlan { ends_at, ..plan },
            rng,
        }
    }

    /// The next packet to be sent.
    pub(crate) fn pop(&mut self) -> Option<(Channel, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// When the next packet is due; `None` after the end.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let packet_at = self.start + Duration::from_nanos(PACKET_NS.saturating_mul(self.slot));
        let next = if self.plan.direction.listens() {
            packet_at.min(self.report_at)
        } else {
            self.report_at
        };
        (!self.over && next < self.plan.ends_at).then_some(next)
    }

    /// Queues what is due.
    pub(crate) fn fire(&mut self, now: Instant) {
        self.over |= now >= self.plan.ends_at;
        if self.over {
            return;
        }
        let slot = saturating_ns(now.saturating_duration_since(self.start)) / PACKET_NS;
        if self.plan.direction.listens() && slot >= self.slot {
            self.speak(slot);
        }
        if now >= self.report_at {
            self.report_at = now + randomised(REPORT_EVERY, &mut self.rng);
            self.tell(now, false);
        }
    }

    /// The last word: a report, and that this side leaves (§6.6).
    pub(crate) fn finish(&mut self, now: Instant) {
        if self.sent > 0 || self.receiver.ssrc().is_some() {
            self.tell(now, true);
        }
        self.over = true;
    }

    fn speak(&mut self, slot: u64) {
        let skipped = slot - self.slot;
        let header = Header {
            // Also after a packet that was left out: what follows it begins anew (RFC 3551 §4.1).
            marker: self.sent == 0 || skipped > 0,
            payload_type: self.plan.codec.payload_type(),
            sequence: self.first_number.wrapping_add(low_16(self.sent)),
            timestamp: self.timestamp(slot),
            ssrc: self.ssrc,
        };
        self.outgoing.push_back((Channel::Rtp, Packet { header, payload: &self.tone }.write()));
        self.slot = slot + 1;
        self.sent += 1;
        self.skipped += skipped;
    }

    fn timestamp(&self, slot: u64) -> u32 {
        self.first_timestamp.wrapping_add(low_32(slot.wrapping_mul(PACKET_SAMPLES as u64)))
    }

    fn tell(&mut self, now: Instant, goodbye: bool) {
        let sender = (self.sent > 0).then(|| self.sender_info(now));
        if let Some(info) = &sender {
            if self.reports.len() == REPORTS_KEPT {
                self.reports.pop_front();
            }
            self.reports.push_back((info.middle(), now));
        }
        let block = self.receiver.block(now);
        let report = Outgoing { ssrc: self.ssrc, sender, block, cname: &self.cname, goodbye };
        self.outgoing.push_back((Channel::Rtcp, report.write()));
    }

    fn sender_info(&self, now: Instant) -> SenderInfo {
        let elapsed = now.saturating_duration_since(self.start);
        let ticks = saturating_ns(elapsed) / TICK_NS.unsigned_abs();
        SenderInfo {
            ntp: self.first_ntp.wrapping_add(ntp(elapsed)),
            timestamp: self.first_timestamp.wrapping_add(low_32(ticks)),
            packets: low_32(self.sent),
            octets: low_32(self.sent.wrapping_mul(PACKET_SAMPLES as u64)),
        }
    }
}

// === what comes ===

impl MediaMachine {
    /// A datagram has come at the port of the data.
    pub(crate) fn data(&mut self, bytes: &[u8], at: Instant) {
        if let Ok(packet) = Packet::read(bytes) {
            self.receiver.receive(&packet, at);
        }
    }

    /// A datagram has come at the port of control.
    pub(crate) fn control(&mut self, bytes: &[u8], at: Instant) {
        let Ok(compound) = Compound::read(bytes) else { return };
        if let Some(info) = &compound.sender {
            self.receiver.reported(compound.ssrc, info, at);
        }
        let ours = self.ssrc;
        for block in compound.blocks.iter().filter(|block| block.ssrc == ours) {
            self.answered(block, at);
        }
        self.remote_rating =
            compound.voip.filter(|voip| voip.ssrc == self.ssrc).or(self.remote_rating);
        if compound.goodbye && self.receiver.ssrc() == Some(compound.ssrc) {
            self.left_at = self.left_at.or(Some(at));
        }
    }

    /// The other side has told what it got.
    fn answered(&mut self, block: &Block, at: Instant) {
        // Of packets that were never sent, nothing is believed.
        if !(1..=self.sent).contains(&u64::from(self.told_of(block))) {
            return;
        }
        self.remote = Some(*block);
        let report = self.reports.iter().find(|(middle, _)| *middle == block.last_report);
        let Some((_, sent_at)) = report else { return };
        let delay_ns = (u64::from(block.delay) * 1_000_000_000) >> 16;
        let passed_ns = saturating_ns(at.saturating_duration_since(*sent_at));
        if let Some(rtt_ns) = passed_ns.checked_sub(delay_ns) {
            self.rtts_ns = (self.rtts_ns.0.saturating_add(rtt_ns), self.rtts_ns.1 + 1);
        }
    }

    /// Packets from the first to the highest that the other side has got.
    fn told_of(&self, block: &Block) -> u32 {
        block.highest.wrapping_sub(u32::from(self.first_number)).wrapping_add(1)
    }

    /// What was measured until now.
    pub(crate) fn report(&self, now: Instant) -> MediaReport {
        let reception = self.receiver.reception(self.left_at.map_or(now, |left| left.min(now)));
        let since = |at: Instant| at.saturating_duration_since(self.plan.answered_at);
        let rtt_ns = self.rtts_ns.0.checked_div(self.rtts_ns.1);
        let remote_lost = |block: &Block| u64::try_from(block.cumulative_lost).unwrap_or(0);
        let remote_loss = |block: &Block| ppm(remote_lost(block), u64::from(self.told_of(block)));
        MediaReport {
            media_setup_ns: reception.first_at.map(since).map(saturating_ns),
            no_audio: reception.first_at.is_none() && self.plan.direction.speaks(),
            reception,
            loss_ppm: ppm(reception.expected - reception.received, reception.expected),
            rating: Heard::of(&reception, rtt_ns).map(|heard| heard.rating()),
            rtt_ns,
            sent: self.sent,
            skipped: self.skipped,
            remote_loss_ppm: self.remote.as_ref().map(remote_loss),
            remote_jitter_ns: self
                .remote
                .map(|block| u64::from(block.jitter) * TICK_NS.unsigned_abs()),
            remote_rating: self.remote_rating,
        }
    }
}

/// §6.3.1: between half and one and a half times as long, and divided by e − 3/2, so that many do not report at once.
fn randomised(time: Duration, rng: &mut Rng) -> Duration {
    const MILLIONTHS: u64 = 1_000_000;
    const COMPENSATION: u64 = 1_218_282;
    let times = MILLIONTHS / 2 + rng.u64(..MILLIONTHS);
    Duration::from_nanos(saturating_ns(time).saturating_mul(times) / COMPENSATION)
}

/// A share in millionths, rounded down; never more than the whole.
fn ppm(part: u64, whole: u64) -> u64 {
    part.min(whole).saturating_mul(1_000_000).checked_div(whole).unwrap_or(0)
}

/// What 16 bits hold of a number that runs over.
fn low_16(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// What 32 bits hold of a number that runs over.
pub(crate) fn low_32(number: u64) -> u32 {
    middle(number << 16)
}

#[cfg(test)]
mod tests;
