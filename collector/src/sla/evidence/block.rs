//! The cells of a stretch of time, and what is derived from them: where stretches of equal cells begin, what each of those
//! comes to, and the digest of all of them.

use super::column::Column;
use super::samples::{Keep, Pool};
use super::series::{Added, Cell, Kept, Within};
use super::{Merged, WINDOW_MAX_S};
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;

/// Cells by start, with the same number of threshold counts and columns of samples for each.
#[derive(Clone, Debug, Default)]
pub(in crate::sla) struct Block {
    pub(super) cells: Vec<Cell>,
    within: Vec<Within>,
    pub(super) columns: Vec<Column>,
    /// Where stretches of equal cells begin.
    stretches: Vec<u32>,
    /// The threshold counts of each stretch, once somebody has asked.
    reach: OnceLock<Box<[Reach]>>,
    digest: OnceLock<[u8; 32]>,
}

/// How many attempts are on the good side of a threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sla) struct Reach {
    pub(in crate::sla) certain: u64,
    /// As many more lie in a histogram bucket that the threshold cuts.
    pub(in crate::sla) possible: u64,
}

/// Cells that follow each other without a gap and differ in their start and their samples only.
#[derive(Clone, Copy, Debug)]
pub(in crate::sla) struct Stretch<'a> {
    block: &'a Block,
    /// Which of the block's it is a part of.
    number: usize,
    first: usize,
    len: usize,
}

/// A cell of a series with what is known of its samples.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(in crate::sla) struct Held<'a> {
    pub(in crate::sla) cell: &'a Cell,
    pub(in crate::sla) within: &'a [Within],
    columns: &'a [Column],
    index: usize,
}

// === impl Reach ===

impl Reach {
    pub(in crate::sla) fn add(&mut self, more: Self) {
        self.certain += more.certain;
        self.possible += more.possible;
    }
}

impl From<Within> for Reach {
    fn from(within: Within) -> Self {
        Self { certain: within.certain.into(), possible: within.possible.into() }
    }
}

// === impl Held ===

#[cfg(test)]
impl<'a> Held<'a> {
    /// The bytes of one column.
    pub(in crate::sla) fn samples(&self, column: usize) -> &'a [u8] {
        self.columns.get(column).map_or(&[], |column| column.get(self.index))
    }
}

// === impl Stretch ===

impl<'a> Stretch<'a> {
    /// How many cells it has.
    pub(in crate::sla) fn len(&self) -> usize {
        self.len
    }

    /// Its first cell.
    pub(in crate::sla) fn cell(&self) -> Option<&'a Cell> {
        self.block.cells.get(self.first).filter(|_| self.len > 0)
    }

    /// Its cells.
    #[cfg(test)]
    pub(in crate::sla) fn held(&self) -> impl Iterator<Item = Held<'a>> + use<'a> {
        let Self { block, first, len, .. } = *self;
        let stride = block.stride();
        let cells = block.cells.iter().enumerate().skip(first).take(len);
        cells.map(move |(index, cell)| Held {
            cell,
            within: block.within.get(index * stride..(index + 1) * stride).unwrap_or_default(),
            columns: &block.columns,
            index,
        })
    }

    /// What is left of it after so many cells.
    pub(in crate::sla) fn skip(self, cells: usize) -> Self {
        let cells = cells.min(self.len);
        Self { first: self.first + cells, len: self.len - cells, ..self }
    }

    /// Its first so many cells.
    pub(in crate::sla) fn take(self, cells: usize) -> Self {
        Self { len: cells.min(self.len), ..self }
    }

    /// How many attempts of all its cells are on the good side of the threshold at a place.
    pub(in crate::sla) fn reach(&self, place: usize) -> Reach {
        let (block, stride) = (self.block, self.block.stride());
        if place >= stride {
            return Reach::default();
        }
        if self.is_whole() {
            let known = block.reach().get(self.number * stride + place);
            return known.copied().unwrap_or_default();
        }
        block.sum(self.first, self.len, place)
    }

    /// Adds the samples of all its cells to a pool.
    pub(in crate::sla) fn pool(&self, into: &mut Pool, (keep, column): (Keep, usize)) {
        let Some(column) = self.block.columns.get(column) else { return };
        if self.is_whole() {
            let stretches = self.block.extents().map(|(_, first, len)| (first, len));
            into.add(keep, column.merged(keep, stretches).get(self.number));
            return;
        }
        (self.first..self.first + self.len).for_each(|cell| into.add(keep, column.get(cell)));
    }

    /// It is a whole one of the block's, so that what it comes to is kept.
    fn is_whole(&self) -> bool {
        self.block.extent(self.number) == (self.first, self.len)
    }
}

// === impl Block ===

impl Block {
    /// No cells yet.
    pub(super) fn with_columns(number: usize) -> Self {
        Self { columns: vec![Column::default(); number], ..Self::default() }
    }

    /// Threshold counts a cell.
    fn stride(&self) -> usize {
        self.within.len().checked_div(self.cells.len()).unwrap_or(0)
    }

    pub(super) fn stretches(&self) -> impl Iterator<Item = Stretch<'_>> {
        self.extents().map(|(number, first, len)| Stretch { block: self, number, first, len })
    }

    /// Of each stretch its number, its first cell and its number of cells.
    fn extents(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.stretches.len()).map(|number| {
            let (first, len) = self.extent(number);
            (number, first, len)
        })
    }

    /// First cell and number of cells of a stretch.
    fn extent(&self, number: usize) -> (usize, usize) {
        let begin = |number: usize| {
            let place = self.stretches.get(number).map(|place| usize::try_from(*place));
            place.map_or(self.cells.len(), |place| place.unwrap_or(usize::MAX))
        };
        let first = begin(number);
        (first, begin(number + 1).saturating_sub(first))
    }

    /// The threshold counts of each stretch.
    fn reach(&self) -> &[Reach] {
        self.reach.get_or_init(|| {
            let places = 0..self.stride();
            let extents = self.extents();
            let of_stretch =
                |(_, first, len)| places.clone().map(move |place| self.sum(first, len, place));
            extents.flat_map(of_stretch).collect()
        })
    }

    /// The threshold counts of some cells.
    fn sum(&self, first: usize, len: usize, place: usize) -> Reach {
        let (mut sum, stride) = (Reach::default(), self.stride());
        let cells = self.within.iter().skip(first * stride + place).step_by(stride.max(1));
        cells.take(len).for_each(|within| sum.add((*within).into()));
        sum
    }

    /// Digest of the cells that end by an instant; that of all of them is remembered.
    pub(in crate::sla) fn digest(&self, until_s: Option<i64>) -> [u8; 32] {
        let exists = |cell: &Cell| until_s.is_none_or(|until_s| cell.end_s() <= until_s);
        // None ends later than the widest window after the last one's start.
        let latest_s = self.cells.last().map_or(0, |last| last.start_s + i64::from(WINDOW_MAX_S));
        if until_s.is_none_or(|until_s| latest_s <= until_s) || self.cells.iter().all(exists) {
            return *self.digest.get_or_init(|| hashed(self.cells.iter()));
        }
        hashed(self.cells.iter().filter(|cell| exists(cell)))
    }

    pub(super) fn add(&mut self, cell: Cell, kept: Kept<'_>) -> Added {
        let within = kept.within;
        let columns = self.columns.iter_mut().zip(kept.samples);
        let stride = within.len();
        let position = self.cells.binary_search_by_key(&cell.start_s, |known| known.start_s);
        let index = match position {
            Err(index) => {
                self.cells.insert(index, cell);
                self.within.splice(index * stride..index * stride, within.iter().copied());
                columns.for_each(|(column, bytes)| column.insert(index, bytes));
                self.changed(index);
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
        self.changed(index);
        Added::Conflict
    }

    /// Takes over what cells in a row come to together: so many from that start on, each beginning where the one before it
    /// ends. Where they are not all there, or one is not believed, nothing is taken.
    pub(super) fn take_over(&mut self, merged: &Merged<'_>, samples: Vec<Option<Vec<u8>>>) {
        let found = self.cells.binary_search_by_key(&merged.start_s, |known| known.start_s);
        let Ok(first) = found else { return };
        let len = merged.cells;
        let Some(cells) = self.cells.get(first..first.saturating_add(len)) else { return };
        let in_a_row = cells.windows(2).all(|pair| match pair {
            [cell, next] => next.start_s == cell.end_s(),
            _ => true,
        });
        if in_a_row && cells.iter().all(|cell| !cell.flagged && !cell.conflicting) {
            for (column, bytes) in self.columns.iter_mut().zip(samples) {
                bytes.into_iter().for_each(|bytes| column.take_over((first, len), bytes));
            }
        }
    }

    /// Makes what verdicts derive from the cells, so that the first one is as quick as the others.
    pub(super) fn settle(&mut self, keeps: &[(String, Keep)]) {
        self.shrink();
        self.reach();
        self.digest(None);
        let stretches: Vec<_> = self.extents().map(|(_, first, len)| (first, len)).collect();
        for (column, (_, keep)) in self.columns.iter_mut().zip(keeps) {
            column.settle(*keep, stretches.iter().copied());
        }
    }

    /// Makes anew what is derived from the cells after one of them came or changed.
    fn changed(&mut self, index: usize) {
        self.digest = OnceLock::new();
        self.reach = OnceLock::new();
        self.columns.iter_mut().for_each(|column| column.forget_merged(index));
        if index + 1 < self.cells.len() {
            self.stretches.clear();
        }
        let known = self.stretches.last().map_or(0, |_| index);
        for at in known..self.cells.len() {
            let before = at.checked_sub(1).and_then(|before| self.cells.get(before));
            let continues = before
                .zip(self.cells.get(at))
                .is_some_and(|(before, cell)| before.continues_in(cell));
            let begins = self.stretches.last().is_some_and(|last| usize::try_from(*last) == Ok(at));
            if !continues && !begins {
                self.stretches.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
    }

    pub(super) fn forget_from(&mut self, instant_s: i64) {
        let (kept, stride) =
            (self.cells.partition_point(|cell| cell.start_s < instant_s), self.stride());
        if kept == self.cells.len() {
            return;
        }
        self.cells.truncate(kept);
        self.within.truncate(kept * stride);
        for column in &mut self.columns {
            drop(column.split_off(kept));
        }
        self.derive();
    }

    pub(super) fn forget_before(&mut self, instant_s: i64) {
        let (gone, stride) =
            (self.cells.partition_point(|cell| cell.start_s < instant_s), self.stride());
        if gone == 0 {
            return;
        }
        self.within.drain(..gone * stride);
        self.cells.drain(..gone);
        for column in &mut self.columns {
            *column = column.split_off(gone);
        }
        self.derive();
    }

    /// Makes anew all that is derived from the cells.
    fn derive(&mut self) {
        self.stretches.clear();
        self.changed(0);
    }

    fn shrink(&mut self) {
        self.cells.shrink_to_fit();
        self.within.shrink_to_fit();
        self.stretches.shrink_to_fit();
    }
}

/// All that cells say is in their contents' digests.
fn hashed<'a>(cells: impl Iterator<Item = &'a Cell>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for cell in cells {
        hash.update(cell.start_s.to_be_bytes());
        hash.update(cell.content);
        hash.update([u8::from(cell.conflicting)]);
    }
    hash.finalize().into()
}
