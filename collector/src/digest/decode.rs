//! From a digest back to cells, which take the way of those of records.

use super::{
    BODY_MAX_BYTES, CHECK_BYTES, DigestCell, FAILED, FLAGGED, Keys, SAME_SHAPE, Shape, VERSION,
    check,
};
use crate::evaluator::Docket;
use crate::sla::evidence::WINDOW_MAX_S;
use crate::sla::{Counts, EvidenceError, Observed, Phases, Total, Within};
use crate::store::KnownAgent;
use probefleet_proto::histogram::varint::read_varint;
use probefleet_proto::histogram::{Histogram, HistogramError};
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
    (agent, hour_s, from_s): (&KnownAgent, u64, u64),
    dockets: &mut [impl Docket],
) -> Result<(), DigestError> {
    let probe = reader.text()?.to_owned();
    let spec = reader.bytes()?;
    let keys = reader.keys()?;
    let mut start_s = i64::try_from(hour_s).unwrap_or(i64::MAX);
    let from_s = i64::try_from(from_s).unwrap_or(i64::MAX);
    let mut known = DigestCell { start_s, ..DigestCell::default() };
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
        reader.cell(&mut known, &keys)?;
        start_s = known.start_s;
        let labels = u64::try_from(start_s).ok().and_then(|start_s| agent.labels_at(start_s));
        let Some(labels) = labels.filter(|_| start_s >= from_s) else { continue };
        let Shape { width_s, interval_s, counts } = known.shape;
        (cell.interval_s, cell.ok) = (interval_s, counts.ok);
        std::mem::swap(&mut cell.others, &mut known.failed);
        let observed = Observed {
            agent: agent.name.as_str(),
            labels,
            probe: &cell.probe,
            spec,
            start_s,
            width_s,
            interval_s,
            counts,
            flagged: known.flagged,
            content: known.content,
            phases: &Figures { keys: &keys, cell: &known },
        };
        for docket in &mut *dockets {
            docket.take(&observed, &cell)?;
        }
    }
    Ok(())
}

/// What a digest knows of a cell's samples: what was asked, and nothing else.
struct Figures<'a> {
    keys: &'a Keys,
    cell: &'a DigestCell,
}

impl Phases for Figures<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let asked = |(known, at_most): &(String, u64)| known == phase && *at_most == threshold_ns;
        self.cell.thresholds.get(self.keys.thresholds.iter().position(asked)?).copied()
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        let place = self.keys.buckets.iter().position(|known| known == phase)?;
        self.cell.buckets.get(place)?.as_ref().map(Cow::Borrowed)
    }

    fn total(&self, phase: &str) -> Option<Total> {
        let place = self.keys.totals.iter().position(|known| known == phase)?;
        *self.cell.totals.get(place)?
    }

    fn counter(&self, name: &str) -> u64 {
        let place = self.keys.counters.iter().position(|known| known == name);
        place.and_then(|place| self.cell.counters.get(place)).copied().unwrap_or_default()
    }
}

/// What is left of a digest. It never allocates more than what it has read takes.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, DigestError> {
        Ok(read_varint(&mut self.0)?)
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

    /// Reads a cell in the place of the one before it.
    fn cell(&mut self, cell: &mut DigestCell, keys: &Keys) -> Result<(), DigestError> {
        let flags = self.number()?;
        let gap_s = self.number()?;
        cell.start_s = cell
            .start_s
            .checked_add_unsigned(gap_s)
            .ok_or(DigestError::Damaged("a start is too late"))?;
        cell.flagged = flags & FLAGGED != 0;
        if flags & SAME_SHAPE == 0 {
            cell.shape = self.shape()?;
        }
        cell.content = self.bytes()?;
        cell.thresholds.clear();
        for _ in &keys.thresholds {
            let certain = self.small()?;
            let possible = certain.saturating_add(self.small()?);
            cell.thresholds.push(Within { certain, possible });
        }
        cell.buckets.clear();
        for _ in &keys.buckets {
            let has = self.number()? != 0;
            let histogram = has.then(|| Histogram::decode_first(&mut self.0)).transpose()?;
            cell.buckets.push(histogram);
        }
        cell.totals.clear();
        for _ in &keys.totals {
            let total = if self.number()? == 0 { None } else { Some(self.total()?) };
            cell.totals.push(total);
        }
        cell.counters.clear();
        for _ in &keys.counters {
            cell.counters.push(self.number()?);
        }
        cell.failed.clear();
        if flags & FAILED != 0 {
            for _ in 0..self.number()? {
                let (name, code) = (self.text()?.to_owned(), self.text()?.to_owned());
                let (kind, count) = (OtherKind::Failed, self.small()?);
                cell.failed.push(Other { kind, name, code, count });
            }
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
