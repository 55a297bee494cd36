//! Latency histograms: the buckets of HdrHistogram with three significant digits, sparse (`formats.md` §4).
//!
//! Values are nanoseconds. Bucket of `v`: `v < 2048`: `v`; else with `e = ⌊log2 v⌋`:
//! `(e − 9)·1024 + (v >> (e − 10)) − 1024`. So every bucket is at most 1/1024 of its value wide. The last bucket,
//! [`INDEX_MAX`], also holds everything larger; who needs the exact maximum or sum keeps it beside the histogram
//! ([`crate::report::Series`]).
//!
//! Encoding, one for equal content: varint number of buckets; for each, ascending,
//! `varint(gap·2 + (count > 1 ? 1 : 0))`, then `varint(count − 2)` if `count > 1`; `gap = index − previous − 1`, with
//! previous = −1 at first. Varints are LEB128 and minimal.

mod hdr;
pub mod varint;

pub use hdr::HdrError;

use smallvec::SmallVec;
use varint::{read_varint, write_varint};

/// Index of the last bucket, which holds 1 h and everything above.
pub const INDEX_MAX: u16 = 33_420;
/// Most samples a decoded histogram may hold.
pub const COUNT_MAX: u64 = 1 << 32;

/// Most bytes that decoding allocates, whatever it is given: a million hostile histograms cost no more than one.
pub const DECODED_MAX_BYTES: usize = 1 << 20;
const _: () = assert!((INDEX_MAX as usize + 1) * size_of::<(u16, u64)>() <= DECODED_MAX_BYTES);

/// Values below this have a bucket of their own.
const EXACT_BELOW: u64 = 2_048;
/// Buckets in each further power of two.
const BUCKETS_PER_OCTAVE: u64 = 1_024;

/// Bucket of a value in ns, and whether it was above the last bucket.
#[must_use]
pub fn bucket_of(ns: u64) -> (u16, bool) {
    if ns < EXACT_BELOW {
        return (u16::try_from(ns).unwrap_or(INDEX_MAX), false);
    }
    let exponent = u64::from(ns.ilog2());
    let index = (exponent - 9) * BUCKETS_PER_OCTAVE + (ns >> (exponent - 10)) - BUCKETS_PER_OCTAVE;
    match u16::try_from(index) {
        Ok(index) if index <= INDEX_MAX => (index, false),
        _ => (INDEX_MAX, true),
    }
}

/// Lowest and highest ns of a bucket; indexes above [`INDEX_MAX`] count as it.
#[must_use]
pub fn bucket_bounds_ns(index: u16) -> (u64, u64) {
    let index = u64::from(index.min(INDEX_MAX));
    if index < EXACT_BELOW {
        return (index, index);
    }
    let shift = index / BUCKETS_PER_OCTAVE - 1;
    let mantissa = index % BUCKETS_PER_OCTAVE + BUCKETS_PER_OCTAVE;
    (mantissa << shift, ((mantissa + 1) << shift) - 1)
}

/// Counts by bucket, sparse and ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Index and count (≥ 1), strictly ascending by index. Typical windows hold a handful, so a sorted vector beats
    /// any map in size and speed; and in those of thousands of probes most hold one.
    buckets: SmallVec<[(u16, u64); 1]>,
}

/// Bytes that are no histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// The bytes end inside the histogram.
    #[error("histogram is cut off")]
    Truncated,
    /// A number is longer than needed or than 64 bits.
    #[error("histogram has a varint that is not minimal")]
    Varint,
    /// A bucket beyond [`INDEX_MAX`].
    #[error("histogram has a bucket beyond {INDEX_MAX}")]
    Index,
    /// More than [`COUNT_MAX`] samples.
    #[error("histogram holds more than 2^32 samples")]
    Count,
    /// More buckets announced than bytes follow, or than exist.
    #[error("histogram announces more buckets than it can have")]
    Buckets,
    /// Bytes after the end.
    #[error("bytes after the histogram")]
    Trailing,
}

impl Histogram {
    /// An empty histogram.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: SmallVec::new_const() }
    }

    /// Counts a value in ns; true when it was above the last bucket.
    pub fn record(&mut self, ns: u64) -> bool {
        let (index, clamped) = bucket_of(ns);
        self.add(index, 1);
        clamped
    }

    /// Adds samples to a bucket.
    fn add(&mut self, index: u16, count: u64) {
        match self.buckets.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Adds all samples of another histogram.
    pub fn merge(&mut self, other: &Self) {
        if other.buckets.len() * 8 < self.buckets.len() {
            other.buckets.iter().for_each(|(index, count)| self.add(*index, *count));
            return;
        }
        let mut merged = SmallVec::with_capacity(self.buckets.len() + other.buckets.len());
        let (mut left, mut right) =
            (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        while let (Some(&&(l, l_count)), Some(&&(r, r_count))) = (left.peek(), right.peek()) {
            merged.push((
                l.min(r),
                if l == r {
                    l_count.saturating_add(r_count)
                } else if l < r {
                    l_count
                } else {
                    r_count
                },
            ));
            if l <= r {
                left.next();
            }
            if r <= l {
                right.next();
            }
        }
        merged.extend(left.copied());
        merged.extend(right.copied());
        self.buckets = merged;
    }

    /// Index and count of the buckets that hold samples, ascending.
    #[must_use]
    pub fn buckets(&self) -> &[(u16, u64)] {
        &self.buckets
    }

    /// Number of samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// True without any sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// How many samples are at most `limit_ns`: surely, and possibly. They differ by the bucket that the limit lies in;
    /// of the last bucket nothing is sure, because it also holds larger values.
    #[must_use]
    pub fn count_at_most(&self, limit_ns: u64) -> (u64, u64) {
        let (mut certain, mut possible) = (0_u64, 0_u64);
        for (index, count) in &self.buckets {
            let (lowest, highest) = bucket_bounds_ns(*index);
            if lowest > limit_ns {
                break;
            }
            possible = possible.saturating_add(*count);
            if highest <= limit_ns && *index < INDEX_MAX {
                certain = certain.saturating_add(*count);
            }
        }
        (certain, possible)
    }

    /// Highest ns equivalent to the sample of that rank, counted from 1 (nearest rank); `None` beyond the count.
    #[must_use]
    pub fn value_at_rank_ns(&self, rank: u64) -> Option<u64> {
        let mut seen = 0_u64;
        self.buckets
            .iter()
            .find(|(_, count)| {
                seen = seen.saturating_add(*count);
                seen >= rank.max(1)
            })
            .map(|(index, _)| bucket_bounds_ns(*index).1)
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        write_varint(out, self.buckets.len() as u64);
        let mut next = 0;
        for (index, count) in &self.buckets {
            let gap = u64::from(*index) - next;
            write_varint(out, gap * 2 + u64::from(*count > 1));
            if *count > 1 {
                write_varint(out, count - 2);
            }
            next = u64::from(*index) + 1;
        }
    }

    /// Reads bytes that are exactly one histogram.
    ///
    /// # Errors
    /// [`HistogramError`] for anything that [`Histogram::encode`] would not have written, in time and memory
    /// proportional to the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, HistogramError> {
        let mut rest = bytes;
        let histogram = Self::decode_first(&mut rest)?;
        if rest.is_empty() { Ok(histogram) } else { Err(HistogramError::Trailing) }
    }

    /// Reads the histogram that `rest` begins with, and moves `rest` behind it.
    ///
    /// # Errors
    /// As [`Histogram::decode`], but for [`HistogramError::Trailing`].
    pub fn decode_first(rest: &mut &[u8]) -> Result<Self, HistogramError> {
        let announced = read_varint(rest)?;
        // A bucket takes a byte at least, and there are no more than exist: `DECODED_MAX_BYTES` holds them.
        let most = rest.len().min(usize::from(INDEX_MAX) + 1);
        let number = usize::try_from(announced).ok().filter(|number| *number <= most);
        let mut buckets = SmallVec::with_capacity(number.ok_or(HistogramError::Buckets)?);
        let (mut next, mut total) = (0_u64, 0_u64);
        for _ in 0..announced {
            let word = read_varint(rest)?;
            let index = next.checked_add(word / 2).ok_or(HistogramError::Index)?;
            let small = u16::try_from(index)
                .ok()
                .filter(|index| *index <= INDEX_MAX)
                .ok_or(HistogramError::Index)?;
            let count = if word % 2 == 1 {
                read_varint(rest)?.checked_add(2).ok_or(HistogramError::Count)?
            } else {
                1
            };
            total = total
                .checked_add(count)
                .filter(|total| *total <= COUNT_MAX)
                .ok_or(HistogramError::Count)?;
            buckets.push((small, count));
            next = index + 1;
        }
        Ok(Self { buckets })
    }
}

#[cfg(test)]
mod tests;
