//! The cells of one agent, probe and spec, sorted by start in blocks of time, so that a cell may come at any time cheaply.
//!
//! Nearly all windows look alike. A block keeps where a stretch of equal cells begins, so that whoever judges takes it at
//! once with what its samples come to, and the digest of what it holds, so that only what is new is hashed again. All of
//! that is derived from the cells when the next block begins or somebody asks, and made anew when one is added.

#[cfg(test)]
use super::block::Held;
use super::block::{Block, Stretch};
use super::column::Column;
use super::samples::Keep;
use super::{Counts, Merged, Observed};
use crate::contract::period::Span;
use std::collections::BTreeMap;

/// The time of a block, s: of windows of a minute 480 cells, of which an insertion moves half at most, some 15 KiB.
const BLOCK_S: i64 = 8 * 3_600;

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
    /// By their beginning, a multiple of [`BLOCK_S`]; none is empty.
    blocks: BTreeMap<i64, Block>,
}

/// What is known of a cell's samples when it is added: threshold counts, and the bytes for each column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept<'a> {
    pub(super) within: &'a [Within],
    pub(super) samples: &'a [Vec<u8>],
    /// What the columns are.
    pub(super) columns: &'a [(String, Keep)],
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

impl Cell {
    /// True when `next` is the same a window later. What was spoiled stands alone.
    pub(super) fn continues_in(&self, next: &Self) -> bool {
        let alike = |cell: &Self| (cell.counts, cell.width_s, cell.interval_s, cell.labels);
        let spoiled = |cell: &Self| cell.flagged || cell.conflicting;
        next.start_s == self.end_s()
            && alike(self) == alike(next)
            && !spoiled(self)
            && !spoiled(next)
    }
}

// === impl Series ===

impl Series {
    pub(super) fn new(agent: u32, probe: u32, spec: [u8; 16]) -> Self {
        Self { agent, probe, spec, blocks: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.values().map(|block| block.cells.len()).sum()
    }

    pub(super) fn last(&self) -> Option<&Cell> {
        self.blocks.values().next_back()?.cells.last()
    }

    /// The cells by start.
    #[cfg(test)]
    pub(in crate::sla) fn cells(&self) -> impl Iterator<Item = Held<'_>> {
        self.stretches().flat_map(|stretch| stretch.held())
    }

    /// The first cell.
    pub(in crate::sla) fn first(&self) -> Option<&Cell> {
        self.blocks.values().next()?.cells.first()
    }

    /// The stretches of equal cells by start.
    pub(in crate::sla) fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.blocks.values().flat_map(Block::stretches)
    }

    /// The blocks with their beginnings.
    pub(in crate::sla) fn blocks(&self) -> impl Iterator<Item = (i64, &Block)> {
        self.blocks.iter().map(|(from_s, block)| (*from_s, block))
    }

    /// The cells that begin at an instant or later, by start.
    pub(in crate::sla) fn cells_from(&self, instant_s: i64) -> impl Iterator<Item = &Cell> {
        let blocks = self.blocks.range(block_of(instant_s)..);
        let cells = blocks.flat_map(|(_, block)| &block.cells);
        cells.skip_while(move |cell| cell.start_s < instant_s)
    }

    /// Bytes of all samples.
    pub(super) fn sample_bytes(&self) -> usize {
        self.blocks.values().flat_map(|block| &block.columns).map(Column::bytes).sum()
    }

    pub(super) fn forget_before(&mut self, instant_s: i64) {
        self.blocks = self.blocks.split_off(&block_of(instant_s));
        let Some(mut first) = self.blocks.first_entry() else { return };
        first.get_mut().forget_before(instant_s);
        if first.get().cells.is_empty() {
            first.remove();
        }
    }

    /// A copy of the cells that begin in a stretch.
    pub(super) fn within(&self, stretch: Span) -> Self {
        let mut part = Self::new(self.agent, self.probe, self.spec);
        let first_s = block_of(stretch.from_s);
        for (from_s, block) in self.blocks.range(first_s..stretch.until_s.max(first_s)) {
            let mut block = block.clone();
            block.forget_from(stretch.until_s);
            block.forget_before(stretch.from_s);
            if !block.cells.is_empty() {
                part.blocks.insert(*from_s, block);
            }
        }
        part
    }

    pub(super) fn add(&mut self, cell: Cell, kept: Kept<'_>) -> Added {
        let from_s = block_of(cell.start_s);
        if let Some(block) = self.blocks.get_mut(&from_s) {
            return block.add(cell, kept);
        }
        // Evidence mostly comes in order: nothing more is expected in the block before.
        if let Some((_, before)) = self.blocks.range_mut(..from_s).next_back() {
            before.settle(kept.columns);
        }
        let block = Block::with_columns(kept.samples.len());
        self.blocks.entry(from_s).or_insert(block).add(cell, kept)
    }

    /// Takes over what cells in a row come to together: they are in one block, as an hour is.
    pub(super) fn take_over(&mut self, merged: &Merged<'_>, samples: Vec<Option<Vec<u8>>>) {
        if let Some(block) = self.blocks.get_mut(&block_of(merged.start_s)) {
            block.take_over(merged, samples);
        }
    }
}

fn block_of(instant_s: i64) -> i64 {
    instant_s.div_euclid(BLOCK_S) * BLOCK_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_begin_where_they_are_asked_for_in_any_block() {
        let mut series = Series::new(0, 0, [0; 16]);
        let starts: Vec<i64> = (0..2_000).map(|number| number * 60).collect();
        // Out of order, as late records are.
        for start_s in starts.iter().rev().step_by(2).chain(starts.iter().step_by(2)) {
            let cell = Cell {
                start_s: *start_s,
                content: [0; 16],
                counts: Counts::default(),
                width_s: 60,
                interval_s: 60,
                labels: 0,
                flagged: false,
                conflicting: false,
            };
            let kept = Kept { within: &[], samples: &[], columns: &[] };
            assert_eq!(series.add(cell, kept), Added::New);
        }
        assert!(series.blocks.len() > 2);
        assert_eq!(series.stretches().count(), series.blocks.len(), "as equal as they are");
        for from_s in [-1, 0, 5, 28_799, 28_800, 60_006, 119_940, 119_941] {
            let found: Vec<i64> = series.cells_from(from_s).map(|cell| cell.start_s).collect();
            let expected: Vec<i64> =
                starts.iter().copied().filter(|start_s| *start_s >= from_s).collect();
            assert_eq!(found, expected, "from {from_s}");
        }
        let ends = [-1, 0, 60, 28_799, 28_800, 28_801, 60_006, 119_940, 180_000];
        for (from_s, until_s) in ends.iter().flat_map(|from| ends.map(|until| (*from, until))) {
            let part = series.within(Span { from_s, until_s: until_s.max(from_s) });
            let found: Vec<i64> = part.cells().map(|held| held.cell.start_s).collect();
            let inside = |start_s: &i64| (from_s..until_s).contains(start_s);
            let expected: Vec<i64> = starts.iter().copied().filter(inside).collect();
            assert_eq!(found, expected, "{from_s} to {until_s}");
        }
    }
}
