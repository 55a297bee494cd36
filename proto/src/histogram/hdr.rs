//! To and from HdrHistogram V2, the encoding that other tools read (uncompressed, three significant digits, from 1).
//!
//! Header, 40 bytes big-endian: cookie, payload length, normalising offset (0), significant digits (3), lowest value
//! (1), highest value, ratio (1.0); then zig-zag LEB128 counts from bucket 0, a negative number being a run of zeros.

use super::varint::write_varint;
use super::{COUNT_MAX, Histogram, INDEX_MAX};
use smallvec::SmallVec;

const COOKIE_V2: u32 = 0x1c84_9313;
const HEADER_BYTES: usize = 40;
const SIGNIFICANT_DIGITS: u32 = 3;
const LOWEST_NS: u64 = 1;
/// One hour, the highest value that every bucket of ours can hold.
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Longest input: every bucket occupied by the longest count.
const INPUT_MAX_BYTES: usize = HEADER_BYTES + (INDEX_MAX as usize + 1) * 9;

/// Bytes that are no histogram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HdrError {
    /// Not V2.
    #[error("not an uncompressed HdrHistogram V2")]
    Cookie,
    /// Another precision, unit or offset.
    #[error("not of three significant digits from 1, which are the only buckets kept here")]
    Layout,
    /// Header and length disagree, or the bytes end inside a count.
    #[error("HdrHistogram is cut off or has bytes behind its end")]
    Length,
    /// A bucket beyond the last.
    #[error("HdrHistogram has a bucket beyond one hour")]
    Index,
    /// More samples than [`COUNT_MAX`].
    #[error("HdrHistogram holds more than 2^32 samples")]
    Count,
}

impl Histogram {
    /// The histogram as HdrHistogram V2 in ns.
    #[must_use]
    pub fn to_hdr_v2(&self) -> Vec<u8> {
        let mut counts = Vec::new();
        let mut next = 0_u64;
        for (index, count) in self.buckets() {
            let zeros = u64::from(*index) - next;
            match zeros {
                0 => {}
                1 => write_varint(&mut counts, 0),
                // ZigZag of −zeros.
                zeros => write_varint(&mut counts, zeros * 2 - 1),
            }
            write_varint(&mut counts, count * 2);
            next = u64::from(*index) + 1;
        }
        let length = u32::try_from(counts.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(HEADER_BYTES + counts.len());
        for word in [COOKIE_V2, length, 0, SIGNIFICANT_DIGITS] {
            out.extend(word.to_be_bytes());
        }
        out.extend(LOWEST_NS.to_be_bytes());
        out.extend(HIGHEST_NS.to_be_bytes());
        out.extend(1_f64.to_be_bytes());
        out.extend(counts);
        out
    }

    /// Reads HdrHistogram V2 of three digits from 1, whatever its highest value.
    ///
    /// # Errors
    /// [`HdrError`] for anything else, in time and memory proportional to the bytes.
    pub fn from_hdr_v2(bytes: &[u8]) -> Result<Self, HdrError> {
        if bytes.len() > INPUT_MAX_BYTES {
            return Err(HdrError::Length);
        }
        let (header, counts) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(HdrError::Length)?;
        let word = |at: usize| {
            header[at..at + 4].iter().fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte))
        };
        if word(0) != COOKIE_V2 {
            return Err(HdrError::Cookie);
        }
        if usize::try_from(word(4)) != Ok(counts.len()) {
            return Err(HdrError::Length);
        }
        if word(8) != 0
            || word(12) != SIGNIFICANT_DIGITS
            || header[16..24] != LOWEST_NS.to_be_bytes()
        {
            return Err(HdrError::Layout);
        }
        read_counts(counts)
    }
}

fn read_counts(mut rest: &[u8]) -> Result<Histogram, HdrError> {
    let most = rest.len().min(usize::from(INDEX_MAX) + 1);
    let mut histogram = Histogram { buckets: SmallVec::with_capacity(most) };
    let (mut index, mut total) = (0_u64, 0_u64);
    while !rest.is_empty() {
        let word = read_hdr_varint(&mut rest)?;
        if word % 2 == 1 {
            // ZigZag: odd is negative, −(word + 1) / 2; never overflows because word is odd.
            index = index.checked_add(word / 2 + 1).ok_or(HdrError::Index)?;
            continue;
        }
        let count = word / 2;
        if count > 0 {
            let small = u16::try_from(index)
                .ok()
                .filter(|index| *index <= INDEX_MAX)
                .ok_or(HdrError::Index)?;
            total = total
                .checked_add(count)
                .filter(|total| *total <= COUNT_MAX)
                .ok_or(HdrError::Count)?;
            histogram.buckets.push((small, count));
        }
        index += 1;
    }
    Ok(histogram)
}

/// HdrHistogram's own LEB128: the ninth byte carries eight bits.
fn read_hdr_varint(rest: &mut &[u8]) -> Result<u64, HdrError> {
    let mut number = 0_u64;
    for position in 0..9 {
        let (byte, tail) = rest.split_first().ok_or(HdrError::Length)?;
        *rest = tail;
        if position == 8 {
            return Ok(number | u64::from(*byte) << 56);
        }
        number |= u64::from(byte & 0x7f) << (position * 7);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Ok(number)
}
