//! From the cells of an hour's reports to its digest.

use super::{
    BODY_MAX_BYTES, DigestCell, FAILED, FLAGGED, Figures, Keys, Needs, Shape, VERSION, check,
};
use crate::evaluator::Docket;
use crate::sla::evidence::merged_buckets;
use crate::sla::{Added, EvidenceError, Observed, Phases};
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
            let stretches = stretches(cells);
            number(&mut bytes, stretches.len() as u64);
            let mut before_s = self.hour_s;
            for stretch in stretches {
                before_s = encode_stretch(&mut bytes, before_s, &stretch);
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

/// Cells that follow each other and are alike, and those that stand alone.
fn stretches(cells: &BTreeMap<i64, Vec<DigestCell>>) -> Vec<Vec<&DigestCell>> {
    let mut stretches: Vec<Vec<&DigestCell>> = Vec::new();
    let mut goes_on = false;
    for known in cells.values() {
        let believed = known.len() == 1;
        for cell in known {
            let believed = believed && !cell.flagged;
            match stretches.last_mut() {
                Some(stretch)
                    if goes_on
                        && believed
                        && stretch.last().is_some_and(|last| last.continues_in(cell)) =>
                {
                    stretch.push(cell);
                }
                _ => stretches.push(vec![cell]),
            }
            goes_on = believed;
        }
    }
    stretches
}

/// Writes a stretch behind a cell with that start; returns that of its last cell.
fn encode_stretch(bytes: &mut Vec<u8>, before_s: i64, stretch: &[&DigestCell]) -> i64 {
    let Some((first, last)) = stretch.first().zip(stretch.last()) else { return before_s };
    number(bytes, stretch.len() as u64);
    let flag = |flag: u64, set: bool| if set { flag } else { 0 };
    let failed = stretch.iter().any(|cell| !cell.failed.is_empty());
    number(bytes, flag(FLAGGED, first.flagged) | flag(FAILED, failed));
    number(bytes, first.start_s.abs_diff(before_s));
    let Shape { width_s, interval_s, counts } = first.shape;
    let counts = [counts.ok, counts.failed, counts.invalid, counts.missed];
    [width_s, interval_s].iter().chain(&counts).for_each(|n| number(bytes, (*n).into()));
    if stretch.len() > 1 {
        Figures::together(stretch).encode(bytes);
    }
    for cell in stretch {
        bytes.extend(cell.content);
        cell.figures.encode(bytes);
        if failed {
            number(bytes, cell.failed.len() as u64);
            for other in &cell.failed {
                text(bytes, &other.name);
                text(bytes, &other.code);
                number(bytes, other.count.into());
            }
        }
    }
    last.start_s
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
            figures: Figures::of(observed.phases, keys),
            failed: failed.cloned().collect(),
        }
    }

    /// True when `next` begins where this one ends, and is of the same shape.
    fn continues_in(&self, next: &Self) -> bool {
        self.shape == next.shape
            && self.start_s.saturating_add(self.shape.width_s.into()) == next.start_s
    }
}

// === impl Figures ===

impl Figures<Vec<u8>> {
    fn of(phases: &dyn Phases, keys: &Keys) -> Self {
        let at_most = |(phase, threshold): &(String, u64)| {
            let within = phases.at_most(phase, *threshold).unwrap_or_default();
            [within.certain.into(), within.possible.saturating_sub(within.certain).into()]
        };
        let histogram = |phase: &String| {
            let mut bytes = Vec::new();
            phases.write_buckets(phase, &mut bytes);
            Some(bytes).filter(|bytes| !bytes.is_empty())
        };
        Self {
            thresholds: keys.thresholds.iter().map(at_most).collect(),
            buckets: keys.buckets.iter().map(histogram).collect(),
            totals: keys.totals.iter().map(|phase| phases.total(phase)).collect(),
            counters: keys.counters.iter().map(|name| phases.counter(name)).collect(),
        }
    }

    /// What cells come to together; there is one at least.
    fn together(cells: &[&DigestCell]) -> Self {
        let (mut together, mut others) = match cells {
            [] => return Self::default(),
            [first, others @ ..] => (first.figures.clone(), others.iter()),
        };
        others.by_ref().for_each(|cell| together.add(&cell.figures));
        for (place, merged) in together.buckets.iter_mut().enumerate() {
            let of_cells =
                cells.iter().filter_map(|cell| cell.figures.buckets.get(place)?.as_deref());
            *merged = Some(merged_buckets(of_cells)).filter(|bytes| !bytes.is_empty());
        }
        together
    }
}

impl<B: AsRef<[u8]>> Figures<B> {
    fn encode(&self, bytes: &mut Vec<u8>) {
        self.thresholds.iter().flatten().for_each(|count| number(bytes, *count));
        for histogram in &self.buckets {
            number(bytes, u64::from(histogram.is_some()));
            histogram.iter().for_each(|histogram| bytes.extend(histogram.as_ref()));
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
    }
}

pub(super) fn number(bytes: &mut Vec<u8>, number: u64) {
    write_varint(bytes, number);
}

pub(super) fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}
