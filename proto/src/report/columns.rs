//! The columns of samples by cell and name: latencies and values travel alike, in messages of their own.

use super::Series;
use crate::v1;

/// A column each; entry i of each list belongs together.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) cell: Vec<u32>,
    pub(super) name: Vec<u32>,
    pub(super) sum: Vec<u64>,
    pub(super) max: Vec<u64>,
    pub(super) clamped: Vec<u32>,
    pub(super) histograms: Vec<u8>,
    pub(super) threshold_of: Vec<u32>,
    pub(super) threshold: Vec<u64>,
    pub(super) at_most: Vec<u32>,
}

impl Columns {
    pub(super) fn push(&mut self, cell: u32, name: u32, series: &Series) {
        let index = u32::try_from(self.cell.len()).unwrap_or(u32::MAX);
        self.cell.push(cell);
        self.name.push(name);
        self.sum.push(series.sum_ns);
        self.max.push(series.max_ns);
        self.clamped.push(series.clamped);
        series.histogram.encode(&mut self.histograms);
        for (threshold, at_most) in &series.at_most {
            self.threshold_of.push(index);
            self.threshold.push(*threshold);
            self.at_most.push(*at_most);
        }
    }
}

impl From<v1::Series> for Columns {
    fn from(wire: v1::Series) -> Self {
        Self {
            cell: wire.cell,
            name: wire.phase,
            sum: wire.sum_ns,
            max: wire.max_ns,
            clamped: wire.clamped,
            histograms: wire.histograms,
            threshold_of: wire.threshold_series,
            threshold: wire.threshold_ns,
            at_most: wire.at_most,
        }
    }
}

impl From<Columns> for v1::Series {
    fn from(columns: Columns) -> Self {
        Self {
            cell: columns.cell,
            phase: columns.name,
            sum_ns: columns.sum,
            max_ns: columns.max,
            clamped: columns.clamped,
            histograms: columns.histograms,
            threshold_series: columns.threshold_of,
            threshold_ns: columns.threshold,
            at_most: columns.at_most,
        }
    }
}

impl From<v1::Values> for Columns {
    fn from(wire: v1::Values) -> Self {
        Self {
            cell: wire.cell,
            name: wire.name,
            sum: wire.sum,
            max: wire.max,
            clamped: wire.clamped,
            histograms: wire.histograms,
            threshold_of: wire.threshold_value,
            threshold: wire.threshold,
            at_most: wire.at_most,
        }
    }
}

impl From<Columns> for v1::Values {
    fn from(columns: Columns) -> Self {
        Self {
            cell: columns.cell,
            name: columns.name,
            sum: columns.sum,
            max: columns.max,
            clamped: columns.clamped,
            histograms: columns.histograms,
            threshold_value: columns.threshold_of,
            threshold: columns.threshold,
            at_most: columns.at_most,
        }
    }
}
