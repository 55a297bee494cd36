//! The cells of one agent, probe and spec, sorted by start in chunks, so that a cell may come at any time cheaply.

use super::samples::Column;
use super::{Counts, Observed};
use crate::contract::period::Span;
use std::collections::BTreeMap;

/// Cells a chunk: an insertion moves at most half of that, some 15 KiB.
const CHUNK_CELLS: usize = 512;

/// How many samples of a phase are on one side of a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Within {
    /// Certainly.
    pub certain: u32,
    /// Possibly: as many more lie in the histogram bucket that the threshold cuts.
    pub possible: u32,
}

impl Within {
    /// A number that was counted exactly.
    #[must_use]
    pub fn exactly(count: u32) -> Self {
        Self { certain: count, possible: count }
    }
}

/// What became of a cell that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// It was there, and says the same.
    Duplicate,
    /// It was there, and says something else: the window is Unknown from now on.
    Conflict,
    /// No objective uses its probe.
    NotAsked,
}

/// One (agent, probe, spec, window), as far as verdicts need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The window's start, in s since 1970.
    pub start_s: i64,
    /// Digest of all the cell said.
    pub content: [u8; 16],
    /// Attempts by outcome.
    pub counts: Counts,
    /// The window's width, in s.
    pub width_s: u32,
    /// The probe's interval, in s.
    pub interval_s: u32,
    /// The agent's labels, as the number of a set.
    pub(in crate::sla) labels: u32,
    /// The agent was not to be trusted.
    pub flagged: bool,
    /// There were several contents.
    pub conflicting: bool,
}

/// The cells of one agent, probe and spec.
#[derive(Clone, Debug)]
pub(in crate::sla) struct Series {
    pub(in crate::sla) agent: u32,
    pub(in crate::sla) probe: u32,
    pub(in crate::sla) spec: [u8; 16],
    /// Chunks by their first start; none is empty.
    chunks: BTreeMap<i64, Chunk>,
}

/// Cells by start, with the same number of threshold counts and columns of samples for each.
#[derive(Clone, Debug, Default)]
struct Chunk {
    cells: Vec<Cell>,
    within: Vec<Within>,
    columns: Vec<Column>,
}

/// What is known of a cell's samples when it is added: threshold counts, and the bytes for each column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) within: &'a [Within],
    pub(super) samples: &'a [Vec<u8>],
}

/// A cell of a series with what is known of its samples.
#[derive(Clone, Copy, Debug)]
pub(in crate::sla) struct Held<'a> {
    pub(in crate::sla) cell: &'a Cell,
    pub(in crate::sla) within: &'a [Within],
    columns: &'a [Column],
    index: usize,
}

// === impl Cell ===

impl Cell {
    pub(super) fn new(observed: &Observed<'_>, labels: u32) -> Self {
        Self {
            start_s: observed.start_s,
            content: observed.content,
            counts: observed.counts,
            width_s: observed.width_s,
            interval_s: observed.interval_s,
            labels,
            flagged: observed.flagged,
            conflicting: false,
        }
    }

    /// The first second after the window.
    #[must_use]
    pub fn end_s(&self) -> i64 {
        self.start_s.saturating_add(i64::from(self.width_s))
    }
}

// === impl Held ===

impl<'a> Held<'a> {
    /// The bytes of one column.
    pub(in crate::sla) fn samples(&self, column: usize) -> &'a [u8] {
        self.columns.get(column).map_or(&[], |column| column.get(self.index))
    }
}

// === impl Series ===

impl Series {
    pub(super) fn new(agent: u32, probe: u32, spec: [u8; 16]) -> Self {
        Self { agent, probe, spec, chunks: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.chunks.values().map(|chunk| chunk.cells.len()).sum()
    }

    pub(super) fn last(&self) -> Option<&Cell> {
        self.chunks.values().next_back()?.cells.last()
    }

    /// The cells by start.
    pub(in crate::sla) fn cells(&self) -> impl Iterator<Item = Held<'_>> {
        self.chunks.values().flat_map(Chunk::iter)
    }

    /// The cells that begin at an instant or later, by start.
    pub(in crate::sla) fn cells_from(&self, instant_s: i64) -> impl Iterator<Item = &Cell> {
        let straddling = self.chunks.range(..instant_s).next_back();
        let chunks = straddling.into_iter().chain(self.chunks.range(instant_s..));
        let cells = chunks.flat_map(|(_, chunk)| &chunk.cells);
        cells.skip_while(move |cell| cell.start_s < instant_s)
    }

    /// Bytes of all samples.
    pub(super) fn sample_bytes(&self) -> usize {
        self.chunks.values().flat_map(|chunk| &chunk.columns).map(Column::bytes).sum()
    }

    pub(super) fn forget_before(&mut self, instant_s: i64) {
        let kept = self.chunks.split_off(&instant_s);
        let straddling = std::mem::replace(&mut self.chunks, kept).pop_last();
        let Some((_, mut chunk)) = straddling else { return };
        chunk.forget_before(instant_s);
        self.put(chunk);
    }

    /// A copy of the cells that begin in a stretch.
    pub(super) fn within(&self, stretch: Span) -> Self {
        let straddling = self.chunks.range(..stretch.from_s).next_back();
        let chunks =
            straddling.into_iter().chain(self.chunks.range(stretch.from_s..stretch.until_s));
        let mut part = Self::new(self.agent, self.probe, self.spec);
        for (_, chunk) in chunks {
            let mut chunk = chunk.clone();
            chunk.forget_before(stretch.from_s);
            chunk.forget_from(stretch.until_s);
            part.put(chunk);
        }
        part
    }

    pub(super) fn add(&mut self, cell: Cell, kept: Kept<'_>) -> Added {
        // Evidence mostly comes in order: a full last chunk is left full instead of being split.
        let last = self.chunks.last_key_value();
        if last.is_none_or(|(_, last)| last.ends_full_before(cell.start_s)) {
            return self.begin_chunk(cell, kept);
        }
        if let Some((_, chunk)) = self.chunks.range_mut(..=cell.start_s).next_back() {
            let added = chunk.add(cell, kept);
            if chunk.cells.len() > CHUNK_CELLS {
                let upper = chunk.split();
                self.put(upper);
            }
            return added;
        }
        // Earlier than everything: the first chunk begins with it from now on, unless it is full.
        let roomy = |chunk: &Chunk| chunk.cells.len() < CHUNK_CELLS;
        if !self.chunks.first_key_value().is_some_and(|(_, chunk)| roomy(chunk)) {
            return self.begin_chunk(cell, kept);
        }
        let (_, mut chunk) = self.chunks.pop_first().unwrap_or_default();
        let added = chunk.add(cell, kept);
        self.put(chunk);
        added
    }

    fn begin_chunk(&mut self, cell: Cell, kept: Kept<'_>) -> Added {
        let columns = vec![Column::default(); kept.samples.len()];
        let mut chunk = Chunk { columns, ..Chunk::default() };
        let added = chunk.add(cell, kept);
        self.put(chunk);
        added
    }

    fn put(&mut self, chunk: Chunk) {
        if let Some(first) = chunk.cells.first() {
            self.chunks.insert(first.start_s, chunk);
        }
    }
}

// === impl Chunk ===

impl Chunk {
    /// Threshold counts a cell.
    fn stride(&self) -> usize {
        self.within.len().checked_div(self.cells.len()).unwrap_or(0)
    }

    fn iter(&self) -> impl Iterator<Item = Held<'_>> {
        let stride = self.stride();
        self.cells.iter().enumerate().map(move |(index, cell)| Held {
            cell,
            within: self.within.get(index * stride..(index + 1) * stride).unwrap_or_default(),
            columns: &self.columns,
            index,
        })
    }

    fn ends_full_before(&self, start_s: i64) -> bool {
        self.cells.len() >= CHUNK_CELLS
            && self.cells.last().is_some_and(|last| last.start_s < start_s)
    }

    fn add(&mut self, cell: Cell, kept: Kept<'_>) -> Added {
        let within = kept.within;
        let columns = self.columns.iter_mut().zip(kept.samples);
        let stride = within.len();
        let position = self.cells.binary_search_by_key(&cell.start_s, |known| known.start_s);
        let index = match position {
            Err(index) => {
                self.cells.insert(index, cell);
                self.within.splice(index * stride..index * stride, within.iter().copied());
                columns.for_each(|(column, bytes)| column.insert(index, bytes));
                return Added::New;
            }
            Ok(index) => index,
        };
        let Some(known) = self.cells.get_mut(index) else { return Added::Duplicate };
        if known.content == cell.content {
            return Added::Duplicate;
        }
        // The smallest content stands for all of them, so that the order of arrival does not matter.
        if cell.content < known.content {
            *known = cell;
            self.within.splice(index * stride..(index + 1) * stride, within.iter().copied());
            columns.for_each(|(column, bytes)| column.replace(index, bytes));
        }
        if let Some(known) = self.cells.get_mut(index) {
            known.conflicting = true;
        }
        Added::Conflict
    }

    /// Cuts off the upper half.
    fn split(&mut self) -> Self {
        self.split_off(self.cells.len() / 2)
    }

    fn split_off(&mut self, at: usize) -> Self {
        let stride = self.stride();
        Self {
            cells: self.cells.split_off(at),
            within: self.within.split_off(at * stride),
            columns: self.columns.iter_mut().map(|column| column.split_off(at)).collect(),
        }
    }

    fn forget_from(&mut self, instant_s: i64) {
        let kept = self.cells.partition_point(|cell| cell.start_s < instant_s);
        drop(self.split_off(kept));
    }

    fn forget_before(&mut self, instant_s: i64) {
        let (gone, stride) =
            (self.cells.partition_point(|cell| cell.start_s < instant_s), self.stride());
        self.within.drain(..gone * stride);
        self.cells.drain(..gone);
        for column in &mut self.columns {
            *column = column.split_off(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_begins_where_it_is_asked_for_in_any_chunk() {
        let mut series = Series::new(0, 0, [0; 16]);
        let starts: Vec<i64> = (0..2_000).map(|number| number * 10).collect();
        // Out of order, so that chunks are split.
        for start_s in starts.iter().rev().step_by(2).chain(starts.iter().step_by(2)) {
            let cell = Cell {
                start_s: *start_s,
                content: [0; 16],
                counts: Counts::default(),
                width_s: 10,
                interval_s: 10,
                labels: 0,
                flagged: false,
                conflicting: false,
            };
            let kept = Kept { within: &[], samples: &[] };
            assert_eq!(series.add(cell, kept), Added::New);
        }
        assert!(series.chunks.len() > 2);
        for from_s in [-1, 0, 5, 5_119, 5_120, 10_001, 19_990, 19_991] {
            let found: Vec<i64> = series.cells_from(from_s).map(|cell| cell.start_s).collect();
            let expected: Vec<i64> =
                starts.iter().copied().filter(|start_s| *start_s >= from_s).collect();
            assert_eq!(found, expected, "from {from_s}");
        }
        for (from_s, until_s) in
            [(-1, 0), (0, 10), (5, 5_121), (5_120, 10_001), (19_990, 30_000), (20_000, 30_000)]
        {
            let part = series.within(Span { from_s, until_s });
            let found: Vec<i64> = part.cells().map(|held| held.cell.start_s).collect();
            let inside = |start_s: &i64| (from_s..until_s).contains(start_s);
            let expected: Vec<i64> = starts.iter().copied().filter(inside).collect();
            assert_eq!(found, expected, "{from_s} to {until_s}");
        }
    }
}
