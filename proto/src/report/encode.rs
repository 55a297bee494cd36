//! From cells to payloads.

use super::columns::Columns;
use super::{Cell, EXTRAS_VERSION, Head, Series};
use crate::record::PAYLOAD_MAX_BYTES;
use crate::v1;
use prost::Message as _;
use std::collections::HashMap;

/// Room for the head, whatever it holds: two dozen numbers and a hash.
const HEAD_MAX_BYTES: usize = 1 << 10;
/// Upper bound of a number in any column: a 64-bit varint with its share of the column's own tag.
const NUMBER_MAX_BYTES: usize = 11;

/// The payloads that carry these cells: at least one, even without cells, each at most 128 KiB.
/// `stragglers_follow` of the head stands in the last one only; the others are followed by it anyway.
#[must_use]
pub fn encode(head: &Head, cells: &[Cell]) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    let mut rest = cells;
    loop {
        let (now, later) = rest.split_at(number_that_fits(rest));
        let head =
            Head { stragglers_follow: head.stragglers_follow && later.is_empty(), ..head.clone() };
        payloads.push(to_wire(head, now).encode_to_vec());
        rest = later;
        if rest.is_empty() {
            return payloads;
        }
    }
}

/// How many of the first cells surely fit into one payload; at least one.
fn number_that_fits(cells: &[Cell]) -> usize {
    let mut bytes = HEAD_MAX_BYTES;
    let fitting = cells.iter().take_while(|cell| {
        bytes += size_bound(cell);
        bytes <= PAYLOAD_MAX_BYTES
    });
    fitting.count().max(1).min(cells.len())
}

/// Upper bound of what a cell adds to a payload, in bytes.
fn size_bound(cell: &Cell) -> usize {
    let others: usize =
        cell.others.iter().map(|o| 7 * NUMBER_MAX_BYTES + o.name.len() + o.code.len()).sum();
    let series: usize = cell.series.iter().map(series_bound).sum();
    let values: usize = cell.values.iter().map(series_bound).sum();
    let counters: usize =
        cell.counters.iter().map(|(name, _)| 4 * NUMBER_MAX_BYTES + name.len()).sum();
    let own = 5 * NUMBER_MAX_BYTES + cell.probe.len() + cell.spec.len();
    own + others + series + values + counters
}

fn series_bound(series: &Series) -> usize {
    // A bucket is at most three bytes of gap and five of count, because its histogram holds at most 2^32 samples.
    8 * NUMBER_MAX_BYTES
        + series.phase.len()
        + series.histogram.buckets().len() * 8
        + series.at_most.len() * 3 * NUMBER_MAX_BYTES
}

fn to_wire(head: Head, cells: &[Cell]) -> v1::Report {
    let mut names = Names::default();
    let (mut columns, mut series) = (v1::Cells::default(), Columns::default());
    let (mut counters, mut values) = (v1::Counters::default(), Columns::default());
    for (index, cell) in (0_u32..).zip(cells) {
        columns.probe.push(names.index(&cell.probe));
        columns.spec_hash.extend(cell.spec);
        columns.interval_s.push(cell.interval_s);
        columns.scheduled.push(cell.scheduled);
        columns.ok.push(cell.ok);
        for other in &cell.others {
            columns.other_cell.push(index);
            columns.other_kind.push(other.kind.number());
            columns.other_name.push(names.index(&other.name));
            columns.other_code.push(names.index(&other.code));
            columns.other_count.push(other.count);
        }
        for (all, of_cell) in [(&mut series, &cell.series), (&mut values, &cell.values)] {
            of_cell.iter().for_each(|one| all.push(index, names.index(&one.phase), one));
        }
        for (name, count) in &cell.counters {
            counters.cell.push(index);
            counters.name.push(names.index(name));
            counters.count.push(*count);
        }
    }
    let any = !(counters.cell.is_empty() && values.cell.is_empty());
    let extras = any.then(|| v1::Extras {
        version: EXTRAS_VERSION,
        counters: Some(counters),
        values: Some(values.into()),
    });
    v1::Report {
        window_start_s: head.window_start_s,
        window_s: head.window_s,
        plan_hash: head.plan_hash,
        health: Some(head.health),
        names: names.list,
        cells: Some(columns),
        series: Some(series.into()),
        stragglers_follow: head.stragglers_follow,
        extras,
    }
}

/// The string table of a report.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    index: HashMap<String, u32>,
}

impl Names {
    fn index(&mut self, name: &str) -> u32 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let index = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(name.to_owned());
        self.index.insert(name.to_owned(), index);
        index
    }
}
