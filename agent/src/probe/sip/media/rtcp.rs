//! Control packets (RFC 3550 §6): reports that come, and one report to send. Pure.
//!
//! Compound packets are read whole or not at all, as appendix A.2 has it. What is not known is skipped by its length.

mod write;

pub(crate) use write::Outgoing;

use std::time::Duration;

/// Report of one who sends.
const SENDER_REPORT: u8 = 200;
/// Report of one who only receives.
const RECEIVER_REPORT: u8 = 201;
/// Who an SSRC is.
const SOURCE_DESCRIPTION: u8 = 202;
/// The end of a source.
const GOODBYE: u8 = 203;
/// Extended reports (RFC 3611).
const EXTENDED_REPORT: u8 = 207;
/// The block of an extended report that rates a call (RFC 3611 §4.7), and its length in words.
const VOIP_METRICS: (u8, usize) = (7, 8);
/// Bytes of a report block (§6.4.1).
const BLOCK_BYTES: usize = 24;
/// Largest datagram that is read as control: a compound packet stays below the usual MTU.
pub(crate) const COMPOUND_MAX_BYTES: usize = 1_500;

/// When a sender's timestamps were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// Seconds in the upper half, their 2^32nd parts in the lower.
    pub(crate) ntp: u64,
    /// The same instant on the RTP clock.
    pub(crate) timestamp: u32,
    /// Packets sent so far.
    pub(crate) packets: u32,
    /// Bytes of payload sent so far.
    pub(crate) octets: u32,
}

/// What one side says of what it got from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Block {
    /// Of whom it speaks.
    pub(crate) ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Lost since the beginning: negative with duplicates; within 24 bits.
    pub(crate) cumulative_lost: i32,
    /// Extended highest sequence number.
    pub(crate) highest: u32,
    /// Interarrival jitter, ticks.
    pub(crate) jitter: u32,
    /// The middle of `ntp` in the last sender report; 0 if none came.
    pub(crate) last_report: u32,
    /// How long ago that came, in 65536ths of a second.
    pub(crate) delay: u32,
}

/// What the other side's own measurement says (RFC 3611 §4.7); 127 stands for unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoipMetrics {
    /// Of whom it speaks.
    pub(crate) ssrc: u32,
    /// R factor of the call.
    pub(crate) r: Option<u8>,
    /// Conversational MOS, tenths.
    pub(crate) mos_cq_tenths: Option<u8>,
}

/// A compound packet that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compound {
    /// Who reports.
    pub(crate) ssrc: u32,
    /// Of one who sends.
    pub(crate) sender: Option<SenderInfo>,
    /// As many as the datagram has room for.
    pub(crate) blocks: Vec<Block>,
    /// Of an extended report, if it has one.
    pub(crate) voip: Option<VoipMetrics>,
    /// Whether the reporter leaves.
    pub(crate) goodbye: bool,
}

/// Why a datagram is no compound packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRtcp {
    /// The lengths do not add up, or there is too much.
    #[error("lengths that do not add up")]
    Length,
    /// Not version 2.
    #[error("not RTP version 2")]
    Version,
    /// It does not begin with a report (§6.1).
    #[error("no report at its beginning")]
    NoReport,
}

impl Compound {
    /// Reads a datagram.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, NotRtcp> {
        if bytes.len() > COMPOUND_MAX_BYTES {
            return Err(NotRtcp::Length);
        }
        let (first, mut rest) = Part::read(bytes)?;
        // A.2: only the last may be padded.
        if !matches!(first.kind, SENDER_REPORT | RECEIVER_REPORT) || first.padded {
            return Err(NotRtcp::NoReport);
        }
        let ssrc = word(first.body, 0).ok_or(NotRtcp::Length)?;
        let mut compound =
            Self { ssrc, sender: None, blocks: Vec::new(), voip: None, goodbye: false };
        compound.take(&first)?;
        while !rest.is_empty() {
            let part;
            (part, rest) = Part::read(rest)?;
            compound.take(&part)?;
        }
        Ok(compound)
    }

    fn take(&mut self, part: &Part<'_>) -> Result<(), NotRtcp> {
        match part.kind {
            SENDER_REPORT => {
                let info = part.body.get(4..24).ok_or(NotRtcp::Length)?;
                if word(part.body, 0) == Some(self.ssrc) {
                    self.sender = SenderInfo::read(info);
                }
                self.take_blocks(part, 24)
            }
            RECEIVER_REPORT => self.take_blocks(part, 4),
            GOODBYE => {
                let sources = part.body.chunks_exact(4).take(usize::from(part.count));
                self.goodbye |=
                    sources.into_iter().any(|source| word(source, 0) == Some(self.ssrc));
                Ok(())
            }
            EXTENDED_REPORT => {
                self.voip = self.voip.or_else(|| VoipMetrics::find(part.body.get(4..)?));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_blocks(&mut self, part: &Part<'_>, from: usize) -> Result<(), NotRtcp> {
        let until = from + usize::from(part.count) * BLOCK_BYTES;
        let blocks = part.body.get(from..until).ok_or(NotRtcp::Length)?;
        self.blocks.extend(blocks.chunks_exact(BLOCK_BYTES).filter_map(Block::read));
        Ok(())
    }
}

/// One packet of a compound.
struct Part<'a> {
    kind: u8,
    count: u8,
    padded: bool,
    body: &'a [u8],
}

impl<'a> Part<'a> {
    /// The first packet, and what follows.
    fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), NotRtcp> {
        let ([flags, kind, high, low], rest) = bytes.split_first_chunk().ok_or(NotRtcp::Length)?;
        if flags >> 6 != 2 {
            return Err(NotRtcp::Version);
        }
        let length = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let (body, rest) = rest.split_at_checked(length).ok_or(NotRtcp::Length)?;
        Ok((Self { kind: *kind, count: flags & 0x1f, padded: flags & 0x20 != 0, body }, rest))
    }
}

impl SenderInfo {
    fn read(bytes: &[u8]) -> Option<Self> {
        let ntp = u64::from_be_bytes(*bytes.first_chunk()?);
        let (timestamp, packets, octets) = (word(bytes, 2)?, word(bytes, 3)?, word(bytes, 4)?);
        Some(Self { ntp, timestamp, packets, octets })
    }

    /// What a report block repeats of it.
    pub(crate) fn middle(&self) -> u32 {
        middle(self.ntp)
    }
}

/// A time as NTP has it (§4): seconds in the upper half, their 2^32nd parts in the lower, rounded down.
pub(crate) fn ntp(time: Duration) -> u64 {
    let parts = (u64::from(time.subsec_nanos()) << 32) / 1_000_000_000;
    (time.as_secs() << 32).wrapping_add(parts)
}

/// The middle 32 bits of an NTP timestamp (§6.4.1, LSR).
pub(crate) fn middle(ntp: u64) -> u32 {
    let [_, _, a, b, c, d, _, _] = ntp.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl Block {
    fn read(bytes: &[u8]) -> Option<Self> {
        let lost = word(bytes, 1)?;
        let [fraction_lost, ..] = lost.to_be_bytes();
        Some(Self {
            ssrc: word(bytes, 0)?,
            fraction_lost,
            // Two's complement in 24 bits: shifted up and down again, the sign spreads.
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest: word(bytes, 2)?,
            jitter: word(bytes, 3)?,
            last_report: word(bytes, 4)?,
            delay: word(bytes, 5)?,
        })
    }
}

impl VoipMetrics {
    /// The first of them among the blocks of an extended report.
    fn find(mut blocks: &[u8]) -> Option<Self> {
        loop {
            let ([kind, _, high, low], rest) = blocks.split_first_chunk()?;
            let words = usize::from(u16::from_be_bytes([*high, *low]));
            let (body, after) = rest.split_at_checked(words * 4)?;
            if (*kind, words) == VOIP_METRICS {
                let known = |place: usize| body.get(place).copied().filter(|value| *value != 127);
                return Some(Self { ssrc: word(body, 0)?, r: known(20), mos_cq_tenths: known(23) });
            }
            blocks = after;
        }
    }
}

/// The n-th word, most significant byte first.
fn word(bytes: &[u8], number: usize) -> Option<u32> {
    let bytes = bytes.get(number * 4..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
