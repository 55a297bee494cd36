//! From the cells of an hour's reports to its digest.

use super::{
    BODY_MAX_BYTES, DigestCell, FAILED, FLAGGED, Keys, Needs, SAME_SHAPE, Shape, VERSION, check,
};
use crate::evaluator::Docket;
use crate::sla::{Added, EvidenceError, Observed, Phases, Within};
use probefleet_proto::histogram::varint::write_varint;
use probefleet_proto::report::{Cell, OtherKind};
use std::collections::BTreeMap;

/// The digest of a stream's hour, while its records are read.
#[derive(Debug)]
pub struct Draft<'a> {
    needs: &'a Needs,
    hour_s: i64,
    /// By probe and spec, then by start: the cell that came first, and of those that contradict it the one with the
    /// smallest content. Whoever reads both finds the same conflict, and the same cell that stands for all of them.
    series: BTreeMap<(String, [u8; 16]), BTreeMap<i64, Vec<DigestCell>>>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// Nothing yet, of an hour that begins then.
    #[must_use]
    pub fn new(needs: &'a Needs, hour_s: u64) -> Self {
        let hour_s = i64::try_from(hour_s).unwrap_or(i64::MAX);
        Self { needs, hour_s, series: BTreeMap::new() }
    }

    /// The digest; no bytes where it would be too long.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        number(&mut bytes, VERSION);
        number(&mut bytes, self.series.len() as u64);
        for ((probe, spec), cells) in &self.series {
            let Some(keys) = self.needs.probes.get(probe) else { continue };
            text(&mut bytes, probe);
            bytes.extend(spec);
            keys.encode(&mut bytes);
            let cells: Vec<&DigestCell> = cells.values().flatten().collect();
            number(&mut bytes, cells.len() as u64);
            let (mut start_s, mut shape) = (self.hour_s, None);
            for cell in cells {
                cell.encode(&mut bytes, start_s, shape);
                (start_s, shape) = (cell.start_s, Some(cell.shape));
            }
            if bytes.len() > BODY_MAX_BYTES {
                return Vec::new();
            }
        }
        let check = check(&bytes);
        bytes.extend(check);
        if bytes.len() <= BODY_MAX_BYTES { bytes } else { Vec::new() }
    }
}

impl Docket for Draft<'_> {
    fn take(&mut self, observed: &Observed<'_>, cell: &Cell) -> Result<Added, EvidenceError> {
        let Some(keys) = self.needs.probes.get(observed.probe) else { return Ok(Added::NotAsked) };
        let series = self.series.entry((observed.probe.to_owned(), observed.spec)).or_default();
        let known = series.entry(observed.start_s).or_default();
        if known.iter().any(|known| known.content == observed.content) {
            return Ok(Added::Duplicate);
        }
        let cell = DigestCell::new(observed, cell, keys);
        match known.as_mut_slice() {
            [] | [_] => known.push(cell),
            [_, least, ..] if cell.content < least.content => *least = cell,
            _ => {}
        }
        Ok(if known.len() == 1 { Added::New } else { Added::Conflict })
    }
}

// === impl Keys ===

impl Keys {
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        number(bytes, self.thresholds.len() as u64);
        for (phase, threshold) in &self.thresholds {
            text(bytes, phase);
            number(bytes, *threshold);
        }
        for names in [&self.buckets, &self.totals, &self.counters] {
            number(bytes, names.len() as u64);
            names.iter().for_each(|name| text(bytes, name));
        }
    }
}

// === impl DigestCell ===

impl DigestCell {
    fn new(observed: &Observed<'_>, cell: &Cell, keys: &Keys) -> Self {
        let phases: &dyn Phases = observed.phases;
        let at_most = |(phase, threshold): &(String, u64)| -> Within {
            phases.at_most(phase, *threshold).unwrap_or_default()
        };
        let histogram = |phase: &String| phases.histogram(phase).map(std::borrow::Cow::into_owned);
        let failed = cell.others.iter().filter(|other| other.kind == OtherKind::Failed);
        Self {
            start_s: observed.start_s,
            shape: Shape {
                width_s: observed.width_s,
                interval_s: observed.interval_s,
                counts: observed.counts,
            },
            flagged: observed.flagged,
            content: observed.content,
            thresholds: keys.thresholds.iter().map(at_most).collect(),
            buckets: keys.buckets.iter().map(histogram).collect(),
            totals: keys.totals.iter().map(|phase| phases.total(phase)).collect(),
            counters: keys.counters.iter().map(|name| phases.counter(name)).collect(),
            failed: failed.cloned().collect(),
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>, before_s: i64, before: Option<Shape>) {
        let same = before == Some(self.shape);
        let flag = |flag: u64, set: bool| if set { flag } else { 0 };
        let flags = flag(SAME_SHAPE, same)
            | flag(FLAGGED, self.flagged)
            | flag(FAILED, !self.failed.is_empty());
        number(bytes, flags);
        number(bytes, self.start_s.abs_diff(before_s));
        if !same {
            let Shape { width_s, interval_s, counts } = self.shape;
            let counts = [counts.ok, counts.failed, counts.invalid, counts.missed];
            [width_s, interval_s].iter().chain(&counts).for_each(|n| number(bytes, (*n).into()));
        }
        bytes.extend(self.content);
        for within in &self.thresholds {
            number(bytes, within.certain.into());
            number(bytes, within.possible.saturating_sub(within.certain).into());
        }
        for histogram in &self.buckets {
            number(bytes, u64::from(histogram.is_some()));
            histogram.iter().for_each(|histogram| histogram.encode(bytes));
        }
        for total in &self.totals {
            number(bytes, u64::from(total.is_some()));
            if let Some(total) = total {
                let (low, high) = (total.sum_ns & u128::from(u64::MAX), total.sum_ns >> 64);
                number(bytes, total.samples);
                for half in [low, high] {
                    number(bytes, u64::try_from(half).unwrap_or(u64::MAX));
                }
            }
        }
        self.counters.iter().for_each(|count| number(bytes, *count));
        if !self.failed.is_empty() {
            number(bytes, self.failed.len() as u64);
            for other in &self.failed {
                text(bytes, &other.name);
                text(bytes, &other.code);
                number(bytes, other.count.into());
            }
        }
    }
}

pub(super) fn number(bytes: &mut Vec<u8>, number: u64) {
    write_varint(bytes, number);
}

pub(super) fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}
