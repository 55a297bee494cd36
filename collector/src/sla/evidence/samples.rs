//! What a cell keeps of its samples beside threshold counts: the buckets for a percentile's value, the exact sum for a
//! mean, the calls of a ratio. As bytes, one column for each, because most windows hold a handful of samples.

use super::Observed;
use crate::contract::model::Ratio;
use probefleet_proto::histogram::{Histogram, bucket_bounds_ns};

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

/// The bytes of many cells, in the order of the cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Where each cell's bytes end.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

// === impl Keep ===

impl Keep {
    /// What a cell has of a phase or ratio, as bytes; empty without samples.
    pub(super) fn encode(self, observed: &Observed<'_>, phase: &str) -> Vec<u8> {
        let (mut bytes, phases) = (Vec::new(), observed.phases);
        match self {
            Self::Buckets => {
                if let Some(histogram) = phases.histogram(phase) {
                    histogram.encode(&mut bytes);
                }
            }
            Self::Total => {
                if let Some(total) = phases.total(phase) {
                    bytes.extend(total.samples.to_le_bytes());
                    let sum = total.sum_ns.to_le_bytes();
                    let used = sum.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    bytes.extend(&sum[..used]);
                }
            }
            Self::Ratio(ratio) => {
                let attempts = observed.counts.ok.saturating_add(observed.counts.failed);
                let (good, all) = ratio.good_of_all(attempts, |name| phases.counter(name));
                if all > 0 {
                    bytes.extend([good, all].map(u32::to_le_bytes).as_flattened());
                }
            }
        }
        bytes
    }
}

// === impl Pool ===

impl Pool {
    /// Adds what [`Keep::encode`] has written.
    pub(in crate::sla) fn add(&mut self, keep: Keep, bytes: &[u8]) {
        match keep {
            Keep::Buckets if bytes.is_empty() => {}
            Keep::Buckets => {
                let decoded = Histogram::decode(bytes).unwrap_or_default();
                for (index, count) in decoded.buckets() {
                    self.count(usize::from(*index), *count);
                }
            }
            Keep::Total => {
                let Some((samples, sum)) = bytes.split_first_chunk::<COUNT_BYTES>() else { return };
                let mut sum_ns = [0; SUM_BYTES];
                sum_ns.iter_mut().zip(sum).for_each(|(byte, written)| *byte = *written);
                self.total.samples += u64::from_le_bytes(*samples);
                self.total.sum_ns += u128::from_le_bytes(sum_ns);
            }
            Keep::Ratio(_) => {
                let (counts, _) = bytes.as_chunks();
                let [good, all] = counts else { return };
                self.good += u64::from(u32::from_le_bytes(*good));
                self.all += u64::from(u32::from_le_bytes(*all));
            }
        }
    }
}

impl Pool {
    fn count(&mut self, index: usize, count: u64) {
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

// === impl Column ===

impl Column {
    /// The bytes of a cell.
    pub(super) fn get(&self, cell: usize) -> &[u8] {
        let end = self.ends.get(cell).copied().unwrap_or_default();
        self.bytes.get(self.start(cell)..end).unwrap_or_default()
    }

    /// Makes room for one more cell, before the one that stands there now.
    pub(super) fn insert(&mut self, cell: usize, bytes: &[u8]) {
        let start = self.start(cell);
        self.ends.insert(cell, start);
        self.replace(cell, bytes);
    }

    pub(super) fn replace(&mut self, cell: usize, bytes: &[u8]) {
        let (start, length) = (self.start(cell), self.get(cell).len());
        self.bytes.splice(start..start + length, bytes.iter().copied());
        for end in &mut self.ends[cell..] {
            *end = *end + bytes.len() - length;
        }
    }

    /// Cuts off the cells from that one on.
    pub(super) fn split_off(&mut self, cell: usize) -> Self {
        let start = self.start(cell);
        let mut ends = self.ends.split_off(cell);
        ends.iter_mut().for_each(|end| *end -= start);
        Self { ends, bytes: self.bytes.split_off(start) }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn start(&self, cell: usize) -> usize {
        let before = cell.checked_sub(1).and_then(|before| self.ends.get(before));
        before.copied().unwrap_or_default()
    }
}
