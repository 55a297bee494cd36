//! What comes of the other side's audio, counted: loss, jitter, order (RFC 3550 A.1, A.3, A.8; RFC 4737). Pure.
//!
//! One source is listened to. Another takes its place once it has sent two packets in a row (A.1, probation), for a call
//! may be handed on. Those two count, as A.1 permits: they are known to be in order.

use super::TICK_NS;
use super::rtcp::{Block, SenderInfo};
use super::rtp::{Header, Packet};
use super::sequence::{Place, Sequence};
use probefleet_proto::clock::saturating_ns;
use std::time::Duration;
use tokio::time::Instant;

/// How long audio waits before it is played, so that what comes a little late is played too. Telephones and gateways
/// have 40 to 100 ms. What comes later is lost to the listener, and so to the E-model.
pub(crate) const JITTER_BUFFER: Duration = Duration::from_millis(60);

/// What came, from all sources that were listened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reception {
    /// When the first packet came.
    pub(crate) first_at: Option<Instant>,
    /// Packets that should have come, from the first to the last that did (A.3).
    pub(crate) expected: u64,
    /// Of these, those that came; each is counted once.
    pub(crate) received: u64,
    /// Of these, those that came later than [`JITTER_BUFFER`] after their time.
    pub(crate) late: u64,
    /// Runs of packets that were lost or late, in the order in which they were sent.
    pub(crate) loss_runs: u64,
    /// Packets that had come before.
    pub(crate) duplicates: u64,
    /// Packets that came after one that was sent later (RFC 4737 §3.3).
    pub(crate) reordered: u64,
    /// Packets too far out of order to be believed, or of a source that did not prove itself.
    pub(crate) astray: u64,
    /// Packets that were not of the codec that was agreed; in no jitter.
    pub(crate) other_payload: u64,
    /// How often another source, or another beginning of the same, took over.
    pub(crate) source_changes: u64,
    /// Interarrival jitter of the last source (A.8), ns, rounded down.
    pub(crate) jitter_ns: u64,
    /// Longest time between two packets.
    pub(crate) gap_max_ns: u64,
}

/// Counts what comes.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    payload_type: u8,
    source: Option<Source>,
    /// A packet of a source that has not proved itself.
    candidate: Option<(Header, Instant)>,
    /// All but what `source` still counts.
    past: Reception,
    last_at: Option<Instant>,
    /// The last sender report: whose, its middle, when it came.
    report: Option<(u32, u32, Instant)>,
}

/// A source that has proved itself.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    sequence: Sequence,
    /// Arrival and timestamp of the packet before.
    before: (Instant, u32),
    /// The same of the packet that the times of all others are taken from.
    anchor: (Instant, u32),
    /// In 16ths of a nanosecond, as A.8 keeps it.
    jitter_16: u64,
    late: u64,
    /// `expected` and `arrived` at the last report.
    reported: (u64, u64),
}

impl Receiver {
    /// Nothing has come yet; packets of `payload_type` are expected.
    pub(crate) fn new(payload_type: u8) -> Self {
        let past = Reception::default();
        Self { payload_type, source: None, candidate: None, past, last_at: None, report: None }
    }

    /// A packet has come. Whether it is one of the source that is listened to.
    pub(crate) fn receive(&mut self, packet: &Packet<'_>, at: Instant) -> bool {
        let header = packet.header;
        match &mut self.source {
            Some(source) if source.ssrc == header.ssrc => {
                let expected = header.payload_type == self.payload_type;
                let place = source.receive(&header, at, expected);
                self.count(place, &header, at)
            }
            _ => self.probe(&header, at),
        }
    }

    fn count(&mut self, place: Place, header: &Header, at: Instant) -> bool {
        match place {
            Place::Astray => {
                self.past.astray += 1;
                return false;
            }
            Place::Restart => {
                // The one before was the first of the new beginning, though it was not believed.
                self.settle();
                self.past.source_changes += 1;
                self.source = Some(Source::new(header, at));
            }
            Place::Again => self.past.duplicates += 1,
            Place::Reordered | Place::Before => self.past.reordered += 1,
            Place::Ahead => {}
        }
        self.past.other_payload += u64::from(header.payload_type != self.payload_type);
        self.heard(at);
        true
    }

    /// A packet of a source that is not listened to.
    fn probe(&mut self, header: &Header, at: Instant) -> bool {
        let proved = self.candidate.take_if(|(first, _)| {
            first.ssrc == header.ssrc && header.sequence == first.sequence.wrapping_add(1)
        });
        let Some((first, first_at)) = proved else {
            self.past.astray += u64::from(self.candidate.is_some());
            self.candidate = Some((*header, at));
            return false;
        };
        self.past.source_changes += u64::from(self.source.is_some());
        self.settle();
        self.past.other_payload += u64::from(first.payload_type != self.payload_type);
        self.source = Some(Source::new(&first, first_at));
        self.heard(first_at);
        self.receive(&Packet { header: *header, payload: &[] }, at)
    }

    fn heard(&mut self, at: Instant) {
        self.past.first_at = self.past.first_at.or(Some(at));
        self.past.gap_max_ns = self.past.gap_max_ns.max(self.silent_ns(at));
        self.last_at = self.last_at.max(Some(at));
    }

    fn silent_ns(&self, at: Instant) -> u64 {
        self.last_at.map_or(0, |last| saturating_ns(at.saturating_duration_since(last)))
    }

    /// Nothing more is expected of the source.
    fn settle(&mut self) {
        self.past = self.with_source();
        self.source = None;
    }

    fn with_source(&self) -> Reception {
        let mut all = self.past;
        if let Some(source) = &self.source {
            all.expected += source.sequence.expected();
            all.received += source.sequence.came();
            all.late += source.late;
            all.loss_runs += source.sequence.runs().runs;
            all.jitter_ns = source.jitter_16 >> 4;
        }
        all
    }

    /// All that came until now.
    pub(crate) fn reception(&self, now: Instant) -> Reception {
        let mut all = self.with_source();
        all.gap_max_ns = all.gap_max_ns.max(self.silent_ns(now));
        all.astray += u64::from(self.candidate.is_some());
        all
    }

    /// The source that is listened to.
    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.source.map(|source| source.ssrc)
    }

    /// Its sender report has come.
    pub(crate) fn reported(&mut self, ssrc: u32, info: &SenderInfo, at: Instant) {
        self.report = Some((ssrc, info.middle(), at));
    }

    /// What is reported to it now (§6.4.1). The fraction is of the time since the last such report.
    pub(crate) fn block(&mut self, now: Instant) -> Option<Block> {
        let source = self.source.as_mut()?;
        let (expected, arrived) = (source.sequence.expected(), source.sequence.arrived());
        let of_interval = expected - source.reported.0;
        let lost = of_interval.saturating_sub(arrived - source.reported.1);
        source.reported = (expected, arrived);
        let fraction = (lost << 8).checked_div(of_interval).unwrap_or(0);
        let report = self.report.filter(|(ssrc, ..)| *ssrc == source.ssrc);
        let delay = report.map_or(0, |(.., at)| in_65536ths(now.saturating_duration_since(at)));
        let behind = i128::from(expected) - i128::from(arrived);
        Some(Block {
            ssrc: source.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(behind).unwrap_or(i32::MAX),
            highest: source.sequence.extended(),
            jitter: u32::try_from((source.jitter_16 >> 4) / TICK_NS.unsigned_abs())
                .unwrap_or(u32::MAX),
            last_report: report.map_or(0, |(_, middle, _)| middle),
            delay,
        })
    }
}

impl Source {
    fn new(first: &Header, at: Instant) -> Self {
        let here = (at, first.timestamp);
        let sequence = Sequence::new(first.sequence);
        let (ssrc, reported) = (first.ssrc, (0, 0));
        Self { ssrc, sequence, before: here, anchor: here, jitter_16: 0, late: 0, reported }
    }

    fn receive(&mut self, header: &Header, at: Instant, expected: bool) -> Place {
        let here = (at, header.timestamp);
        // Audio that begins again may be played from another beginning (RFC 3551 §4.1).
        if header.marker && expected && self.sequence.is_ahead(header.sequence) {
            self.anchor = here;
        }
        // Of what has timestamps of its own (events, comfort noise), no lateness is known.
        let buffer_ns = i64::try_from(JITTER_BUFFER.as_nanos()).unwrap_or(i64::MAX);
        let in_time = !expected || transit_change_ns(self.anchor, here) <= buffer_ns;
        let place = self.sequence.receive(header.sequence, in_time);
        self.late += u64::from(!in_time && matches!(place, Place::Ahead | Place::Reordered));
        if expected && !matches!(place, Place::Astray | Place::Restart) {
            let change_ns = transit_change_ns(self.before, here).unsigned_abs();
            self.jitter_16 = self.jitter_16 + change_ns - ((self.jitter_16 + 8) >> 4);
            self.before = here;
        }
        place
    }
}

/// By how much longer the second packet was on its way than the first: D of §6.4.1, ns.
fn transit_change_ns(first: (Instant, u32), second: (Instant, u32)) -> i64 {
    let since = |to: Instant, from: Instant| {
        i64::try_from(saturating_ns(to.saturating_duration_since(from))).unwrap_or(i64::MAX)
    };
    let arrival_ns = since(second.0, first.0).saturating_sub(since(first.0, second.0));
    let sent = i64::from(second.1.wrapping_sub(first.1).cast_signed());
    arrival_ns.saturating_sub(sent * TICK_NS)
}

/// A time as DLSR has it (§6.4.1), rounded down.
pub(crate) fn in_65536ths(time: Duration) -> u32 {
    let ticks = (u128::from(saturating_ns(time)) << 16) / 1_000_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
