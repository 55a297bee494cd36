//! What a cell keeps of its samples beside threshold counts: the buckets for a percentile's value, the exact sum for a
//! mean, the calls of a ratio. As bytes, because most windows hold a handful of samples. What many cells come to together
//! is written in the same form.

use super::Observed;
use crate::contract::model::Ratio;
use probefleet_proto::histogram::varint::{read_varint, write_varint};
use probefleet_proto::histogram::{HistogramError, INDEX_MAX, bucket_bounds_ns};

/// Bytes of a sum, at most.
const SUM_BYTES: usize = size_of::<u128>();
/// Bytes of a number of samples.
const COUNT_BYTES: usize = size_of::<u64>();

/// What is kept of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sla) enum Keep {
    /// Samples by histogram bucket.
    Buckets,
    /// Number and sum of the samples.
    Total,
    /// The good ones, and all, of a ratio.
    Ratio(Ratio),
}

/// The exact sum of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub samples: u64,
    /// Their sum, in ns; of a value, in its own unit.
    pub sum_ns: u128,
}

/// Samples of many cells together.
#[derive(Clone, Debug, Default)]
pub(in crate::sla) struct Pool {
    /// By index, as far as there are any: the samples of a million cells fall into a few hundred buckets.
    buckets: Vec<u64>,
    pub(in crate::sla) total: Total,
    /// Of a ratio: the good ones.
    pub(in crate::sla) good: u64,
    /// Of a ratio: all.
    pub(in crate::sla) all: u64,
}

// === impl Keep ===

impl Keep {
    /// What a cell has of a phase or ratio, as bytes; empty without samples.
    pub(super) fn encode(self, observed: &Observed<'_>, phase: &str) -> Vec<u8> {
        let (mut bytes, phases) = (Vec::new(), observed.phases);
        match self {
            Self::Buckets => phases.write_buckets(phase, &mut bytes),
            Self::Total => {
                if let Some(total) = phases.total(phase) {
                    total.write(&mut bytes);
                }
            }
            Self::Ratio(ratio) => {
                let attempts = observed.counts.ok.saturating_add(observed.counts.failed);
                let (good, all) = ratio.good_of_all(attempts, |name| phases.counter(name));
                if all > 0 {
                    write_ratio(&mut bytes, good.into(), all.into());
                }
            }
        }
        bytes
    }

    /// What the bytes of some cells, or of what some of them come to, come to together.
    pub(super) fn merge<'a>(self, cells: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut merged = Vec::new();
        match self {
            Self::Buckets => {
                let mut buckets: Vec<(u64, u64)> = Vec::new();
                for cell in cells {
                    // The bytes are our own: nothing of them is lost.
                    let _whole = each_bucket(cell, |index, count| buckets.push((index, count)));
                }
                if buckets.is_empty() {
                    return merged;
                }
                // Stable, because that is quick with what is sorted in parts: each histogram is.
                buckets.sort_by_key(|(index, _)| *index);
                buckets.dedup_by(|(later, more), (index, count)| {
                    let same = later == index;
                    *count = if same { count.saturating_add(*more) } else { *count };
                    same
                });
                write_buckets(&mut merged, &buckets);
            }
            Self::Total | Self::Ratio(_) => {
                let mut pool = Pool::default();
                cells.for_each(|cell| pool.add(self, cell));
                if pool.total != Total::default() {
                    pool.total.write(&mut merged);
                }
                if pool.all > 0 {
                    write_ratio(&mut merged, pool.good, pool.all);
                }
            }
        }
        merged
    }
}

/// Writes the good ones and all.
fn write_ratio(bytes: &mut Vec<u8>, good: u64, all: u64) {
    write_varint(bytes, good);
    write_varint(bytes, all);
}

/// Writes buckets, ascending, as [`probefleet_proto::histogram::Histogram::encode`] does, but without its bound on samples:
/// many cells have more.
fn write_buckets(bytes: &mut Vec<u8>, buckets: &[(u64, u64)]) {
    write_varint(bytes, buckets.len() as u64);
    let mut next = 0;
    for (index, count) in buckets {
        write_varint(bytes, (index - next) * 2 + u64::from(*count > 1));
        if *count > 1 {
            write_varint(bytes, count - 2);
        }
        next = index + 1;
    }
}

/// What histograms come to together, in their own form; nothing of none. More samples are no error: many cells have more
/// than one may.
#[must_use]
pub fn merged_buckets<'a>(histograms: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    Keep::Buckets.merge(histograms.filter(|bytes| !bytes.is_empty()))
}

/// Reads a histogram off the front, without building it: hands on each bucket and its count, and returns its bytes. Unlike
/// [`probefleet_proto::histogram::Histogram::decode_first`] it does not bound the number of samples.
///
/// # Errors
/// [`HistogramError`] where there is none.
pub fn pass_buckets<'a>(
    rest: &mut &'a [u8],
    mut each: impl FnMut(u64, u64),
) -> Result<&'a [u8], HistogramError> {
    let whole = *rest;
    let (number, mut next) = (read_varint(rest)?, 0_u64);
    for _ in 0..number {
        let word = read_varint(rest)?;
        let index = next.checked_add(word / 2).filter(|index| *index <= INDEX_MAX.into());
        let index = index.ok_or(HistogramError::Index)?;
        let count = match word % 2 {
            0 => Some(1),
            _ => read_varint(rest)?.checked_add(2),
        };
        each(index, count.ok_or(HistogramError::Count)?);
        next = index + 1;
    }
    Ok(whole.get(..whole.len() - rest.len()).unwrap_or_default())
}

/// Hands on each bucket and its count, without a histogram in between.
fn each_bucket(mut rest: &[u8], mut each: impl FnMut(u64, u64)) -> Result<(), HistogramError> {
    let (number, mut next) = (read_varint(&mut rest)?, 0_u64);
    for _ in 0..number {
        let word = read_varint(&mut rest)?;
        let index = next.saturating_add(word / 2);
        let count = if word % 2 == 1 { read_varint(&mut rest)?.saturating_add(2) } else { 1 };
        each(index, count);
        next = index + 1;
    }
    Ok(())
}

// === impl Total ===

impl Total {
    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.samples.to_le_bytes());
        let sum = self.sum_ns.to_le_bytes();
        let used = sum.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.extend(&sum[..used]);
    }
}

// === impl Pool ===

impl Pool {
    /// Adds what [`Keep::encode`] or [`Keep::merge`] has written.
    pub(super) fn add(&mut self, keep: Keep, bytes: &[u8]) {
        match keep {
            Keep::Buckets if bytes.is_empty() => {}
            Keep::Buckets => {
                // The bytes are our own: nothing of them is lost.
                let _whole = each_bucket(bytes, |index, count| self.count(index, count));
            }
            Keep::Total => {
                let Some((samples, sum)) = bytes.split_first_chunk::<COUNT_BYTES>() else { return };
                let mut sum_ns = [0; SUM_BYTES];
                sum_ns.iter_mut().zip(sum).for_each(|(byte, written)| *byte = *written);
                self.total.samples += u64::from_le_bytes(*samples);
                self.total.sum_ns += u128::from_le_bytes(sum_ns);
            }
            Keep::Ratio(_) => {
                let mut rest = bytes;
                if let (Ok(good), Ok(all)) = (read_varint(&mut rest), read_varint(&mut rest)) {
                    self.good += good;
                    self.all += all;
                }
            }
        }
    }

    fn count(&mut self, index: u64, count: u64) {
        // The bound of a bucket's number.
        let Ok(index) = u16::try_from(index).map(usize::from) else { return };
        if self.buckets.len() <= index {
            self.buckets.resize(index + 1, 0);
        }
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket = bucket.saturating_add(count);
        }
    }

    /// How many samples are in buckets.
    pub(in crate::sla) fn samples(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Lowest and highest value of the bucket of the sample of that rank from below, from 1.
    pub(in crate::sla) fn at_rank(&self, rank: u64) -> Option<(u64, u64)> {
        let (mut below, rank) = (0_u64, rank.max(1));
        let index = self.buckets.iter().position(|count| {
            below = below.saturating_add(*count);
            below >= rank
        })?;
        u16::try_from(index).ok().map(bucket_bounds_ns)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use probefleet_proto::histogram::Histogram;
    use proptest::prelude::*;

    pub(in crate::sla::evidence) fn histogram(samples: &[u64]) -> Vec<u8> {
        let (mut histogram, mut bytes) = (Histogram::new(), Vec::new());
        samples.iter().for_each(|ns| assert!(!histogram.record(*ns), "is not clamped"));
        if !samples.is_empty() {
            histogram.encode(&mut bytes);
        }
        bytes
    }

    proptest! {
        /// A histogram is passed over as it is decoded, and nothing else is.
        #[test]
        fn passing_over_is_decoding(bytes in prop::collection::vec(any::<u8>(), 0..24), good in prop::collection::vec(1_u64..3_600_000_000_000, 0..9)) {
            let mut own = histogram(&good);
            own.extend(&bytes);
            for bytes in [bytes, own] {
                let (mut passed, mut decoded) = (bytes.as_slice(), bytes.as_slice());
                let mut samples = 0_u64;
                let pass = pass_buckets(&mut passed, |_, count| samples = samples.saturating_add(count)).map(<[u8]>::to_vec);
                match Histogram::decode_first(&mut decoded) {
                    Ok(histogram) => {
                        prop_assert_eq!(pass.map(|bytes| bytes.len()), Ok(bytes.len() - decoded.len()));
                        prop_assert_eq!(samples, histogram.count());
                    }
                    Err(error) => prop_assert!(pass.is_err() || error == HistogramError::Count || error == HistogramError::Buckets, "{error}"),
                }
            }
        }
    }
}
