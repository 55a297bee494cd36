//! What many cells keep of one phase, one behind the other, and what stretches of them come to.

use super::samples::Keep;
use std::sync::OnceLock;

/// The bytes of many cells, in the order of the cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Where each cell's bytes end.
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// What the cells of each stretch come to together, once somebody has asked: no longer than what they have.
    merged: OnceLock<Box<Self>>,
    /// What some cells in a row come to, as a digest says: in order, none over another. They help to make `merged`, and are
    /// let go then.
    parts: Vec<Part>,
}

/// What some cells of a column come to together.
#[derive(Clone, Debug)]
struct Part {
    first: usize,
    len: usize,
    bytes: Box<[u8]>,
}

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
        self.forget_merged(cell);
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
        self.forget_merged(cell);
        Self { ends, bytes: self.bytes.split_off(start), ..Self::default() }
    }

    /// Lets go of what stretches come to, and of what a digest says of cells from that one on, because they have changed.
    pub(super) fn forget_merged(&mut self, cell: usize) {
        self.merged = OnceLock::new();
        while self.parts.pop_if(|last| last.first + last.len > cell).is_some() {}
    }

    /// Takes over what some cells come to together.
    pub(super) fn take_over(&mut self, (first, len): (usize, usize), bytes: Vec<u8>) {
        let behind = self.parts.last().is_none_or(|last| last.first + last.len <= first);
        if behind && self.merged.get().is_none() {
            self.parts.push(Part { first, len, bytes: bytes.into() });
        }
    }

    /// Makes what stretches come to, for whoever judges; nothing more is expected.
    pub(super) fn settle(&mut self, keep: Keep, stretches: impl Iterator<Item = (usize, usize)>) {
        self.merged(keep, stretches);
        self.parts = Vec::new();
    }

    /// The bytes of some cells: of several at once, where a digest has said what they come to.
    fn pieces(&self, first: usize, len: usize) -> impl Iterator<Item = &[u8]> {
        let (mut at, until) = (first, first + len);
        let ahead = self.parts.partition_point(|part| part.first < at);
        let mut parts = self.parts.iter().skip(ahead).peekable();
        std::iter::from_fn(move || {
            if at >= until {
                return None;
            }
            // One that reaches beyond is of no use: its cells are looked at one by one.
            while parts.next_if(|part| part.first < at).is_some() {}
            let whole = parts.next_if(|part| part.first == at && at + part.len <= until);
            let (len, bytes) = whole.map_or((1, self.get(at)), |part| (part.len, &*part.bytes));
            at += len;
            Some(bytes)
        })
    }

    /// What the cells of each stretch come to; `stretches` are the first cells and numbers of cells.
    pub(super) fn merged(
        &self,
        keep: Keep,
        stretches: impl Iterator<Item = (usize, usize)>,
    ) -> &Self {
        self.merged.get_or_init(|| {
            let mut merged = Self::default();
            for (first, len) in stretches {
                let pieces = self.pieces(first, len).filter(|bytes| !bytes.is_empty());
                merged.bytes.extend(keep.merge(pieces));
                merged.ends.push(merged.bytes.len());
            }
            merged.bytes.shrink_to_fit();
            Box::new(merged)
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn start(&self, cell: usize) -> usize {
        let before = cell.checked_sub(1).and_then(|before| self.ends.get(before));
        before.copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::tests::histogram;
    use super::super::{Pool, merged_buckets};
    use super::*;
    use proptest::prelude::*;

    fn column(cells: &[Vec<u8>]) -> Column {
        let mut column = Column::default();
        (0..).zip(cells).for_each(|(place, bytes)| column.insert(place, bytes));
        column
    }

    #[test]
    fn what_a_digest_says_is_used_until_a_cell_of_it_changes() {
        let cells: Vec<Vec<u8>> = (0..6).map(|ns| histogram(&[ns])).collect();
        // It says something else than the cells, so that one sees who spoke.
        let said = histogram(&[700]);
        let of = |column: &Column, stretch| {
            let mut pool = Pool::default();
            pool.add(
                Keep::Buckets,
                column.clone().merged(Keep::Buckets, [stretch].into_iter()).get(0),
            );
            (pool.samples(), pool.at_rank(u64::MAX >> 1).or(pool.at_rank(pool.samples())))
        };
        let mut column = column(&cells);
        column.take_over((1, 3), said.clone());
        column.take_over((2, 3), histogram(&[900]));
        assert_eq!(of(&column, (0, 6)), (4, Some((700, 700))), "the one over it is not taken");
        assert_eq!(of(&column, (1, 3)), (1, Some((700, 700))));
        assert_eq!(of(&column, (0, 3)), (3, Some((2, 2))), "it reaches beyond");
        assert_eq!(of(&column, (2, 4)), (4, Some((5, 5))), "it began before");
        let mut later = column.clone();
        later.insert(6, &histogram(&[6]));
        assert_eq!(of(&later, (0, 7)), (5, Some((700, 700))), "a cell behind it changes nothing");
        column.replace(3, &histogram(&[33]));
        assert_eq!(of(&column, (0, 6)), (6, Some((33, 33))));
    }

    proptest! {
        /// However many cells are added up before, they come to the same.
        #[test]
        fn parts_come_to_what_their_cells_do(
            cells in prop::collection::vec(prop::collection::vec(1_u64..5_000_000, 0..4), 1..60),
            cuts in prop::collection::vec(0..60_usize, 0..12), stretch in (0..60_usize, 0..60_usize),
        ) {
            let cells: Vec<Vec<u8>> = cells.iter().map(|samples| histogram(samples)).collect();
            let plain = column(&cells);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < cells.len()).collect();
            cuts.sort_unstable();
            let mut parted = plain.clone();
            for pair in cuts.chunks_exact(2) {
                let of_part = cells[pair[0]..pair[1]].iter().map(Vec::as_slice);
                parted.take_over((pair[0], pair[1] - pair[0]), merged_buckets(of_part));
            }
            let first = stretch.0.min(cells.len());
            let stretches = || [(0, cells.len()), (first, stretch.1.min(cells.len() - first))].into_iter();
            let bytes = |column: &Column| {
                let merged = column.merged(Keep::Buckets, stretches());
                [merged.get(0).to_vec(), merged.get(1).to_vec()]
            };
            prop_assert_eq!(bytes(&plain), bytes(&parted));
        }
    }
}
