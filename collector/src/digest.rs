//! Digests: what the reports of one stream and one hour come to, as far as verdicts and pages need it.
//!
//! A collector that starts reads them instead of the records, and so does `report`: they are a fraction as long, and nothing
//! of them must be unpacked, checked and hashed again. They are derived, never evidence. Whoever reads one gets cells that say
//! of what was asked just what the records say, so that a verdict has the same bytes from both; the page's latest windows,
//! their histograms and whatever no agreement asks for are read from the records.
//!
//! A digest holds for what its `basis` was made from: this form, what all agreements ask, and the labels of the agent in
//! that hour. The store lets go of a digest when a record of its hour comes ([`crate::store::Store::keep_digests`]); one
//! that is not of the present basis or is damaged is not used, and made anew from the records. All can be thrown away at
//! any time: `UPDATE digest SET basis = NULL, body = NULL`. The rows stay, because they say which hours have reports.
//!
//! # What windows come to together, and each of them
//! Nearly all windows of an hour follow each other and are alike but for their samples. Of each such stretch a digest says
//! what its windows come to together: merged histograms, sums, counts at thresholds, counters. The evidence takes that over
//! ([`crate::sla::Windows::take_over`]), so that the first verdict after a start merges nothing. A window that nobody believes,
//! because it is flagged or comes with two contents, counts for nothing and stands alone.
//!
//! Beside that it says the same figures of each window, because an hour may be cut: by the edge of a period, by service
//! hours, by excluded time that is only known when it is judged. Such an hour is then summed from its windows in memory, so
//! that a verdict never reads the store and stays a pure function of what it is given.
//!
//! Nothing rests on the merged part alone. It lies under the check of the whole digest, and whoever reads one adds its windows
//! up again, the histograms by a fingerprint of their buckets: a part that is not what its windows come to is damage, and the
//! records are read instead.
//!
//! # Form, version 2
//! Numbers are LEB128 varints unless it says otherwise, texts a length and UTF-8.
//!
//! - the version; the number of series; each, ascending by probe and spec: the probe; the spec (16 bytes); what is known
//!   of each cell, four lists of a length and: phase and threshold; phases with buckets; phases with a sum; counters; then
//!   the number of stretches; each, ascending by start (a cell that came with two contents is two stretches):
//!   - the number of its cells, each of which begins where the one before it ends
//!   - flags: 1 = not to be trusted, 2 = something failed
//!   - seconds from the start of the last cell before it; of the first, from the hour's
//!   - of all its cells: width and interval in s, ok, failed, invalid, missed
//!   - if there are several, their figures together; then of each cell: the digest of its content (16 bytes), its figures,
//!     and, where something failed, the number of kinds; each: class, wire code, attempts
//!   - figures are: for each threshold, samples certainly at most that, and how many more possibly; for each phase with
//!     buckets: 0, or 1 and the histogram; with a sum: 0, or 1, the number of samples, the sum's low and its high 64 bits;
//!     each counter
//! - the first 16 bytes of the SHA-256 of all that stands before them.
//!
//! An hour that would come to more than [`BODY_MAX_BYTES`] has no bytes. Version 1 had no figures of several cells together;
//! its digests are of another basis, and are made anew.

mod decode;
mod encode;

pub use decode::{DigestError, read};
pub use encode::Draft;

use crate::sla::evidence::Asked;
use crate::sla::{Counts, Total};
use crate::store::{HOUR_S, KnownAgent};
use probefleet_proto::report::Other;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of the form, and of what the cells say: a change of [`crate::windows::Content`] is another one, too.
const VERSION: u64 = 2;
/// Most bytes of a digest; an hour that comes to more is read from its records. An hour of 60 s windows of a probe comes
/// to some two KiB.
pub const BODY_MAX_BYTES: usize = 1 << 20;
/// Bytes of the check at its end.
const CHECK_BYTES: usize = 16;

/// The agent was not to be trusted.
const FLAGGED: u64 = 1;
/// Kinds of failure follow.
const FAILED: u64 = 2;

/// What digests are made of: what agreements ask, by probe.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    probes: BTreeMap<String, Keys>,
}

/// What is known of each cell of a series, in an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Keys {
    thresholds: Vec<(String, u64)>,
    buckets: Vec<String>,
    totals: Vec<String>,
    counters: Vec<String>,
}

/// One cell of a series.
#[derive(Clone, Debug, Default)]
struct DigestCell {
    start_s: i64,
    shape: Shape,
    flagged: bool,
    content: [u8; 16],
    figures: Figures<Vec<u8>>,
    failed: Vec<Other>,
}

/// What all cells of a stretch have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    width_s: u32,
    interval_s: u32,
    counts: Counts,
}

/// What is known of the samples and counters of a cell, or of several together; histograms as bytes, some of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figures<B> {
    /// Certainly at most a threshold, and how many more possibly.
    thresholds: Vec<[u64; 2]>,
    buckets: Vec<Option<B>>,
    totals: Vec<Option<Total>>,
    counters: Vec<u64>,
}

// === impl Needs ===

impl Needs {
    /// What several agreements ask together.
    #[must_use]
    pub fn of<'a>(asked: impl IntoIterator<Item = &'a BTreeMap<String, Asked>>) -> Self {
        let mut together: BTreeMap<String, Asked> = BTreeMap::new();
        for (probe, asked) in asked.into_iter().flatten() {
            let of_probe = together.entry(probe.clone()).or_default();
            of_probe.thresholds.extend(asked.thresholds.iter().cloned());
            of_probe.buckets.extend(asked.buckets.iter().cloned());
            of_probe.totals.extend(asked.totals.iter().cloned());
            of_probe.counters.extend(asked.counters.iter().cloned());
        }
        let keys = |asked: Asked| Keys {
            thresholds: asked.thresholds.into_iter().collect(),
            buckets: asked.buckets.into_iter().collect(),
            totals: asked.totals.into_iter().collect(),
            counters: asked.counters.into_iter().collect(),
        };
        Self { probes: together.into_iter().map(|(probe, asked)| (probe, keys(asked))).collect() }
    }

    /// What the digests of an agent's hour are made from, as a fingerprint.
    #[must_use]
    pub fn basis(&self, agent: &KnownAgent, hour_s: u64) -> [u8; 16] {
        let mut bytes = b"probefleet digest basis\0".to_vec();
        encode::number(&mut bytes, VERSION);
        encode::number(&mut bytes, self.probes.len() as u64);
        for (probe, keys) in &self.probes {
            encode::text(&mut bytes, probe);
            keys.encode(&mut bytes);
        }
        // Those at its beginning, and each change in it.
        let changes = agent.labels.iter().map(|(from_s, _)| *from_s);
        let inside = changes.filter(|from_s| (hour_s + 1..hour_s + HOUR_S).contains(from_s));
        for from_s in std::iter::once(hour_s).chain(inside) {
            let labels = agent.labels_at(from_s);
            encode::number(&mut bytes, from_s);
            encode::number(&mut bytes, labels.map_or(0, |labels| labels.len() as u64));
            for (key, value) in labels.into_iter().flatten() {
                encode::text(&mut bytes, key);
                encode::text(&mut bytes, value);
            }
        }
        check(&bytes)
    }
}

// === impl Figures ===

impl<B> Figures<B> {
    /// Adds all but the histograms.
    fn add<C>(&mut self, more: &Figures<C>) {
        for (sum, more) in self.thresholds.iter_mut().zip(&more.thresholds) {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        }
        for (sum, more) in self.totals.iter_mut().zip(&more.totals) {
            let (Total { samples, sum_ns }, Some(more)) = (sum.unwrap_or_default(), more) else {
                continue;
            };
            *sum = Some(Total {
                samples: samples.saturating_add(more.samples),
                sum_ns: sum_ns.saturating_add(more.sum_ns),
            });
        }
        for (sum, more) in self.counters.iter_mut().zip(&more.counters) {
            *sum = sum.saturating_add(*more);
        }
    }
}

impl<B> Default for Figures<B> {
    fn default() -> Self {
        let (thresholds, buckets) = (Vec::new(), Vec::new());
        Self { thresholds, buckets, totals: Vec::new(), counters: Vec::new() }
    }
}

/// The first bytes of a SHA-256.
fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    std::array::from_fn(|index| digest[index])
}

#[cfg(test)]
mod tests;
