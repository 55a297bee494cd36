//! Finds the records in a segment's bytes, damaged or not, and mends what is damaged. Pure.

use super::gap::{Place, SPOOL_DAMAGE, Totals, window_of};
use super::segment::{HEADER_BYTES, Header, Stored, encode_record};
use probefleet_proto::record::{Hash, Kind, Record, SpoolId};
use probefleet_proto::v1;
use prost::Message as _;
use std::ops::Range;

/// Where a record lies in a segment, and what of it is looked at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its bytes.
    pub(super) bytes: Range<usize>,
    /// Its first sequence.
    pub(super) seq: u64,
    /// Its last sequence.
    pub(super) seq_to: u64,
    /// Hash of the record before.
    pub(super) prev_hash: Hash,
    /// Bytes of its payload.
    pub(super) payload_bytes: u64,
}

/// The records of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Intact records, in order.
    pub(super) spans: Vec<Span>,
    /// Between or before intact records something cannot be read, or numbers are missing.
    pub(super) damaged: bool,
    /// Where the last intact record ends; what lies behind it is no record.
    pub(super) end: usize,
}

impl Scan {
    /// Looks for the records `[first_seq, until_seq)` in a segment's bytes. What lies behind record `until_seq - 1` is not
    /// looked at: a later segment has taken over from there.
    pub(super) fn of(bytes: &[u8], first_seq: u64, until_seq: u64) -> Self {
        let mut scan = Self { end: HEADER_BYTES.min(bytes.len()), ..Self::default() };
        let (mut offset, mut next_seq) = (scan.end, first_seq);
        while next_seq < until_seq {
            let found = (offset..bytes.len()).find_map(|at| {
                Some((at, Stored::decode_within(&bytes[at..], next_seq, until_seq)?))
            });
            let Some((at, stored)) = found else { break };
            scan.damaged |= at > offset || stored.seq > next_seq;
            let end = at + stored.stored_bytes();
            scan.spans.push(Span {
                bytes: at..end,
                seq: stored.seq,
                seq_to: stored.seq_to,
                prev_hash: stored.prev_hash,
                payload_bytes: u64::try_from(stored.payload.len()).unwrap_or(u64::MAX),
            });
            (offset, scan.end, next_seq) = (end, end, stored.seq_to.saturating_add(1));
        }
        scan
    }

    /// Sequence behind the last intact record.
    pub(super) fn next_seq(&self) -> Option<u64> {
        self.spans.last().map(|span| span.seq_to.saturating_add(1))
    }

    /// Hash of the last intact record; none for an empty segment, or for a gap that names no hash.
    pub(super) fn last_hash(&self, bytes: &[u8], spool_id: &SpoolId) -> Option<Hash> {
        hash_of(bytes, self.spans.last()?, spool_id)
    }

    /// Payload bytes of the intact records.
    pub(super) fn payload_bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.payload_bytes).sum()
    }

    /// The newest window that reports of this segment speak of: start and width in seconds.
    pub(super) fn newest_window(&self, bytes: &[u8]) -> Option<(u64, u32)> {
        let reports = self.spans.iter().filter_map(|span| report_of(bytes, span));
        reports.map(|report| (report.window_start_s, report.window_s)).max()
    }
}

/// The record at a span.
pub(super) fn stored_at<'a>(bytes: &'a [u8], span: &Span) -> Option<Stored<'a>> {
    Stored::decode(bytes.get(span.bytes.clone())?)
}

/// The report at a span, if it is one.
pub(super) fn report_of(bytes: &[u8], span: &Span) -> Option<v1::Report> {
    let stored = stored_at(bytes, span).filter(|stored| stored.kind == Kind::Report)?;
    v1::Report::decode(stored.payload).ok()
}

fn hash_of(bytes: &[u8], span: &Span, spool_id: &SpoolId) -> Option<Hash> {
    stored_at(bytes, span)?.to_record().hash(spool_id).ok()
}

/// What is known of the surroundings of a damaged segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// The spool.
    pub(super) spool_id: SpoolId,
    /// The first sequence, by the segment's name.
    pub(super) first_seq: u64,
    /// Hash of record `first_seq - 1`, where the segment before, or the header, says it.
    pub(super) prev_hash: Option<Hash>,
    /// First sequence of the segment behind, and the hash that it chains to; none for the last segment.
    pub(super) behind: Option<(u64, Hash)>,
}

/// A segment that says of a damaged one what can still be said: its intact records, and a gap for each hole. The gaps are
/// not signed: they are written before anybody knows that the key is the right one.
///
/// None where not even a gap can be placed, because no hash around the hole is known.
pub(super) fn mend(bytes: &[u8], scan: &Scan, frame: &Frame) -> Option<(Header, Vec<u8>)> {
    let intact = scan.spans.first();
    let header = match (frame.prev_hash, intact) {
        (Some(prev_hash), _) => {
            Header { spool_id: frame.spool_id, first_seq: frame.first_seq, prev_hash }
        }
        // The records before are lost, and so is what they chained to: the spool now begins here.
        (None, Some(span)) => {
            Header { spool_id: frame.spool_id, first_seq: span.seq, prev_hash: span.prev_hash }
        }
        (None, None) => return None,
    };
    let mut out = header.encode().to_vec();
    let (mut next_seq, mut prev_hash) = (header.first_seq, header.prev_hash);
    let mut before = None;
    for span in &scan.spans {
        let window = report_of(bytes, span).map(|report| window_of(&report));
        if span.seq > next_seq {
            let place =
                Place { seq: next_seq, seq_to: span.seq - 1, prev_hash, to_hash: span.prev_hash };
            encode_record(&hole(place, before, window), &mut out);
        }
        out.extend_from_slice(bytes.get(span.bytes.clone())?);
        (next_seq, prev_hash) = (span.seq_to + 1, hash_of(bytes, span, &frame.spool_id)?);
        before = window.or(before);
    }
    if let Some((behind_seq, to_hash)) = frame.behind.filter(|(seq, _)| *seq > next_seq) {
        let place = Place { seq: next_seq, seq_to: behind_seq - 1, prev_hash, to_hash };
        encode_record(&hole(place, before, None), &mut out);
    }
    Some((header, out))
}

/// A gap between two windows: what was lost lay at or between them. Where one side is not known, nothing is claimed.
fn hole(place: Place, before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Record {
    Totals::of_windows(between(before, after)).into_record(place, SPOOL_DAMAGE)
}

fn between(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Option<(u64, u64)> {
    before.zip(after).map(|(before, after)| (before.0.min(after.0), before.1.max(after.1)))
}

/// The windows that lie at or between the reports beside a record, where there is one on both sides.
pub(super) fn windows_around(bytes: &[u8], scan: &Scan, seq: u64) -> Option<(u64, u64)> {
    let window = |span: &Span| report_of(bytes, span).map(|report| window_of(&report));
    let before = scan.spans.iter().rev().filter(|span| span.seq < seq).find_map(window);
    let after = scan.spans.iter().filter(|span| span.seq > seq).find_map(window);
    between(before, after)
}

/// The records of an intact segment with a gap in place of the one that begins with the same sequence.
pub(super) fn with_gap(bytes: &[u8], scan: &Scan, gap: &Record) -> Vec<u8> {
    let mut out = bytes[..HEADER_BYTES.min(bytes.len())].to_vec();
    for span in &scan.spans {
        if span.seq == gap.seq {
            encode_record(gap, &mut out);
        } else {
            out.extend_from_slice(&bytes[span.bytes.clone()]);
        }
    }
    out
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
