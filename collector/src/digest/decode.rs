//! From a digest back to cells, which take the way of those of records.

use super::{BODY_MAX_BYTES, CHECK_BYTES, FAILED, FLAGGED, Figures, Keys, Shape, VERSION, check};
use crate::evaluator::Docket;
use crate::sla::evidence::{Merged, WINDOW_MAX_S, pass_buckets};
use crate::sla::{Counts, EvidenceError, Observed, Phases, Total, Within};
use crate::store::KnownAgent;
use probefleet_proto::histogram::varint::read_varint;
use probefleet_proto::histogram::{COUNT_MAX, Histogram, HistogramError};
use probefleet_proto::report::{Cell, Other, OtherKind};
use std::borrow::Cow;

/// Why a digest was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It is not what was written.
    #[error("a digest is damaged: {0}")]
    Damaged(&'static str),
    /// There is none, because it would be too long.
    #[error("a digest would be longer than 1 MiB")]
    TooLong,
    /// There is no room for its cells.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Hands the cells of a digest to those who ask; those that begin before an instant are left out.
///
/// # Errors
/// [`DigestError`]. Cells that were handed on before a damage was met are true all the same: the records say them again.
pub fn read(
    body: &[u8],
    (agent, hour_s, from_s): (&KnownAgent, u64, u64),
    dockets: &mut [impl Docket],
) -> Result<(), DigestError> {
    if body.is_empty() {
        return Err(DigestError::TooLong);
    }
    if body.len() > BODY_MAX_BYTES {
        return Err(DigestError::Damaged("it is too long"));
    }
    let Some((said, own)) = body.split_last_chunk::<CHECK_BYTES>() else {
        return Err(DigestError::Damaged("it is cut off"));
    };
    if check(said) != *own {
        return Err(DigestError::Damaged("its check does not hold"));
    }
    let mut reader = Reader(said);
    if reader.number()? != VERSION {
        return Err(DigestError::Damaged("it is of another version"));
    }
    for _ in 0..reader.number()? {
        series(&mut reader, (agent, hour_s, from_s), dockets)?;
    }
    if reader.0.is_empty() { Ok(()) } else { Err(DigestError::Damaged("bytes follow it")) }
}

fn series(
    reader: &mut Reader<'_>,
    place: (&KnownAgent, u64, u64),
    dockets: &mut [impl Docket],
) -> Result<(), DigestError> {
    let probe = reader.text()?.to_owned();
    let spec = reader.bytes()?;
    let keys = reader.keys()?;
    let mut before_s = i64::try_from(place.1).unwrap_or(i64::MAX);
    let mut cell = Cell {
        probe,
        spec,
        interval_s: 0,
        scheduled: 0,
        ok: 0,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    for _ in 0..reader.number()? {
        before_s = stretch(reader, place, (&keys, &mut cell, before_s), dockets)?;
    }
    Ok(())
}

/// Hands on the cells of a stretch behind a cell with that start, and what they come to; returns the start of the last one.
fn stretch(
    reader: &mut Reader<'_>,
    (agent, _, from_s): (&KnownAgent, u64, u64),
    (keys, cell, before_s): (&Keys, &mut Cell, i64),
    dockets: &mut [impl Docket],
) -> Result<i64, DigestError> {
    let (number, flags, gap_s) = (reader.number()?, reader.number()?, reader.number()?);
    let too_late = DigestError::Damaged("a start is too late");
    let mut start_s = before_s.checked_add_unsigned(gap_s).ok_or(too_late)?;
    let first_s = start_s;
    let Shape { width_s, interval_s, counts } = reader.shape()?;
    (cell.interval_s, cell.ok) = (interval_s, counts.ok);
    let mut known = Known::new(keys);
    let (mut said, mut own) = (Sums::none(keys), Sums::none(keys));
    if number > 1 {
        reader.figures(&mut known, &mut said, Of::Stretch)?;
    }
    let merged = known.clone();
    for place in 0..number {
        let next_s = start_s.checked_add(width_s.into()).ok_or(too_late)?;
        start_s = if place == 0 { start_s } else { next_s };
        let content = reader.bytes()?;
        reader.figures(&mut known, &mut own, Of::Cell)?;
        cell.others.clear();
        if flags & FAILED != 0 {
            reader.failed(&mut cell.others)?;
        }
        let labels = u64::try_from(start_s).ok().filter(|start_s| *start_s >= from_s);
        let Some(labels) = labels.and_then(|start_s| agent.labels_at(start_s)) else { continue };
        let observed = Observed {
            agent: agent.name.as_str(),
            labels,
            probe: &cell.probe,
            spec: cell.spec,
            start_s,
            width_s,
            interval_s,
            counts,
            flagged: flags & FLAGGED != 0,
            content,
            phases: &known,
        };
        for docket in &mut *dockets {
            docket.take(&observed, cell)?;
        }
    }
    if number > 1 {
        if said != own {
            return Err(DigestError::Damaged("a sum is not that of its windows"));
        }
        let (probe, spec) = (cell.probe.as_str(), cell.spec);
        let cells = usize::try_from(number).unwrap_or(usize::MAX);
        let (agent, samples) = (agent.name.as_str(), &merged);
        let merged = Merged { agent, probe, spec, start_s: first_s, cells, samples };
        dockets.iter_mut().for_each(|docket| docket.take_over(&merged));
    }
    Ok(start_s)
}

/// What a digest knows of samples: what was asked, and nothing else.
#[derive(Clone)]
struct Known<'a> {
    keys: &'a Keys,
    figures: Figures<&'a [u8]>,
}

impl<'a> Known<'a> {
    fn new(keys: &'a Keys) -> Self {
        Self { keys, figures: Figures::default() }
    }

    fn buckets(&self, phase: &str) -> Option<&'a [u8]> {
        let place = self.keys.buckets.iter().position(|known| known == phase)?;
        *self.figures.buckets.get(place)?
    }
}

impl Phases for Known<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let asked = |(known, at_most): &(String, u64)| known == phase && *at_most == threshold_ns;
        let place = self.keys.thresholds.iter().position(asked)?;
        let [certain, more] = *self.figures.thresholds.get(place)?;
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Within { certain: number(certain), possible: number(certain.saturating_add(more)) })
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        Histogram::decode(self.buckets(phase)?).ok().map(Cow::Owned)
    }

    fn total(&self, phase: &str) -> Option<Total> {
        let place = self.keys.totals.iter().position(|known| known == phase)?;
        *self.figures.totals.get(place)?
    }

    fn counter(&self, name: &str) -> u64 {
        let place = self.keys.counters.iter().position(|known| known == name);
        place.and_then(|place| self.figures.counters.get(place)).copied().unwrap_or_default()
    }

    fn write_buckets(&self, phase: &str, into: &mut Vec<u8>) {
        into.extend(self.buckets(phase).unwrap_or_default());
    }
}

/// A histogram's fingerprint: that of a sum is the sum of the fingerprints, and what has another bucket or count has another
/// one, but for one accident in 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Print {
    samples: u64,
    print: u64,
}

/// What windows come to, or are said to.
type Sums = Figures<Print>;

impl Print {
    fn add(&mut self, index: u64, count: u64) {
        // The finisher of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): each index has a factor that looks like chance.
        let mut factor = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        factor = (factor ^ factor >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        factor = (factor ^ factor >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.samples = self.samples.wrapping_add(count);
        self.print = self.print.wrapping_add((factor ^ factor >> 31).wrapping_mul(count));
    }
}

impl Sums {
    /// Of no window.
    fn none(keys: &Keys) -> Self {
        Self {
            thresholds: vec![[0, 0]; keys.thresholds.len()],
            buckets: vec![Some(Print::default()); keys.buckets.len()],
            totals: vec![None; keys.totals.len()],
            counters: vec![0; keys.counters.len()],
        }
    }
}

/// Whose figures they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Cell,
    /// Several cells: more than one may have.
    Stretch,
}

/// What is left of a digest. It never allocates more than what it has read takes.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, DigestError> {
        Ok(read_varint(&mut self.0)?)
    }

    /// Whether something follows: 0 or 1.
    fn is_there(&mut self) -> Result<bool, DigestError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DigestError::Damaged("a number is neither 0 nor 1")),
        }
    }

    fn small(&mut self) -> Result<u32, DigestError> {
        u32::try_from(self.number()?).map_err(|_| DigestError::Damaged("a number is too large"))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DigestError> {
        let cut = self.0.split_first_chunk::<N>();
        let (bytes, rest) = cut.ok_or(DigestError::Damaged("it is cut off"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn text(&mut self) -> Result<&'a str, DigestError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let cut = self.0.split_at_checked(length);
        let (text, rest) = cut.ok_or(DigestError::Damaged("it is cut off"))?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| DigestError::Damaged("a text is none"))
    }

    fn names(&mut self) -> Result<Vec<String>, DigestError> {
        let mut names = Vec::new();
        for _ in 0..self.number()? {
            names.push(self.text()?.to_owned());
        }
        Ok(names)
    }

    fn keys(&mut self) -> Result<Keys, DigestError> {
        let mut thresholds = Vec::new();
        for _ in 0..self.number()? {
            thresholds.push((self.text()?.to_owned(), self.number()?));
        }
        let (buckets, totals) = (self.names()?, self.names()?);
        Ok(Keys { thresholds, buckets, totals, counters: self.names()? })
    }

    /// Reads figures in the place of those before them, and adds them up.
    fn figures<'k>(
        &mut self,
        known: &mut Known<'k>,
        sums: &mut Sums,
        of: Of,
    ) -> Result<(), DigestError>
    where
        'a: 'k,
    {
        let Known { keys, figures } = known;
        figures.thresholds.clear();
        for _ in &keys.thresholds {
            let counts = match of {
                Of::Cell => [self.small()?.into(), self.small()?.into()],
                Of::Stretch => [self.number()?, self.number()?],
            };
            figures.thresholds.push(counts);
        }
        figures.buckets.clear();
        for print in &mut sums.buckets {
            let has = self.is_there()?;
            let histogram =
                if has { Some(self.histogram(print.get_or_insert_default(), of)?) } else { None };
            figures.buckets.push(histogram);
        }
        figures.totals.clear();
        for _ in &keys.totals {
            let total = if self.is_there()? { Some(self.total()?) } else { None };
            figures.totals.push(total);
        }
        figures.counters.clear();
        for _ in &keys.counters {
            figures.counters.push(self.number()?);
        }
        sums.add(figures);
        Ok(())
    }

    fn histogram(&mut self, print: &mut Print, of: Of) -> Result<&'a [u8], DigestError> {
        let mut samples = 0_u64;
        let bytes = pass_buckets(&mut self.0, |index, count| {
            print.add(index, count);
            samples = samples.saturating_add(count);
        })?;
        match of {
            Of::Cell if samples > COUNT_MAX => {
                Err(DigestError::Damaged("no window has so many samples"))
            }
            Of::Cell | Of::Stretch => Ok(bytes),
        }
    }

    fn failed(&mut self, failed: &mut Vec<Other>) -> Result<(), DigestError> {
        for _ in 0..self.number()? {
            let (name, code) = (self.text()?.to_owned(), self.text()?.to_owned());
            let (kind, count) = (OtherKind::Failed, self.small()?);
            failed.push(Other { kind, name, code, count });
        }
        Ok(())
    }

    fn shape(&mut self) -> Result<Shape, DigestError> {
        let (width_s, interval_s) = (self.small()?, self.small()?);
        if [width_s, interval_s].iter().any(|length_s| !(1..=WINDOW_MAX_S).contains(length_s)) {
            return Err(DigestError::Damaged("no window is so long"));
        }
        let (ok, failed, invalid, missed) =
            (self.small()?, self.small()?, self.small()?, self.small()?);
        Ok(Shape { width_s, interval_s, counts: Counts { ok, failed, invalid, missed } })
    }

    fn total(&mut self) -> Result<Total, DigestError> {
        let samples = self.number()?;
        let (low, high) = (self.number()?, self.number()?);
        Ok(Total { samples, sum_ns: u128::from(high) << 64 | u128::from(low) })
    }
}

impl From<HistogramError> for DigestError {
    fn from(_: HistogramError) -> Self {
        Self::Damaged("a number or histogram is none")
    }
}
