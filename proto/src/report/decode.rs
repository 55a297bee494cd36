//! From a payload to cells that can be trusted to be consistent.

use super::columns::Columns;
use super::{
    CODES_MAX, Cell, EXTRAS_VERSION, Head, LABEL_MAX_BYTES, Other, OtherKind, Report, ReportError,
    SERIES_MAX, Series,
};
use crate::extras::{COUNTERS_MAX, VALUES_MAX, is_name, is_value_name};
use crate::histogram::{Histogram, INDEX_MAX, bucket_bounds_ns, bucket_of};
use crate::name::Name;
use crate::plan::{SpecHash, THRESHOLDS_MAX};
use crate::v1;
use crate::window::WIDTHS_S;
use prost::Message as _;
use std::collections::HashSet;

/// Most ways not to be ok in a cell: the codes, and every class and reason without one.
const OTHERS_MAX: usize = CODES_MAX + 32;

impl Report {
    /// Reads a payload and checks every number of it.
    ///
    /// # Errors
    /// [`ReportError`] when anything is malformed or contradicts itself.
    pub fn decode(payload: &[u8]) -> Result<Self, ReportError> {
        let wire = v1::Report::decode(payload)
            .map_err(|error| ReportError::Protobuf(error.to_string()))?;
        let (start_s, width_s) = (wire.window_start_s, wire.window_s);
        if !WIDTHS_S.contains(&width_s) || start_s % u64::from(width_s) != 0 {
            return Err(ReportError::Window { start_s, width_s });
        }
        let names = wire.names;
        let mut cells = cells(&wire.cells.unwrap_or_default(), &names)?;
        samples(&mut cells, &wire.series.unwrap_or_default().into(), &names, Place::Series)?;
        if let Some(extras) = wire.extras {
            if extras.version != EXTRAS_VERSION {
                return Err(ReportError::Version(extras.version));
            }
            add_counters(&mut cells, &extras.counters.unwrap_or_default(), &names)?;
            samples(&mut cells, &extras.values.unwrap_or_default().into(), &names, Place::Values)?;
        }
        check_cells(&cells)?;
        let head = Head {
            window_start_s: start_s,
            window_s: width_s,
            plan_hash: wire.plan_hash,
            health: wire.health.unwrap_or_default(),
            stragglers_follow: wire.stragglers_follow,
        };
        Ok(Self { head, cells })
    }
}

fn cells(columns: &v1::Cells, names: &[String]) -> Result<Vec<Cell>, ReportError> {
    let number = columns.probe.len();
    same_length("interval_s", columns.interval_s.len(), number)?;
    same_length("scheduled", columns.scheduled.len(), number)?;
    same_length("ok", columns.ok.len(), number)?;
    let (specs, rest) = columns.spec_hash.as_chunks::<{ size_of::<SpecHash>() }>();
    same_length("spec_hash", specs.len(), number)?;
    same_length("spec_hash", rest.len(), 0)?;
    let mut cells = Vec::with_capacity(number);
    for (index, spec) in specs.iter().enumerate() {
        let probe = name(names, columns.probe[index], "probe")?;
        Name::new(probe).map_err(|_| ReportError::Name("probe"))?;
        cells.push(Cell {
            probe: probe.to_owned(),
            spec: *spec,
            interval_s: columns.interval_s[index],
            scheduled: columns.scheduled[index],
            ok: columns.ok[index],
            others: Vec::new(),
            series: Vec::new(),
            counters: Vec::new(),
            values: Vec::new(),
        });
    }
    add_others(&mut cells, columns, names)?;
    Ok(cells)
}

fn add_others(
    cells: &mut [Cell],
    columns: &v1::Cells,
    names: &[String],
) -> Result<(), ReportError> {
    let number = columns.other_cell.len();
    same_length("other_kind", columns.other_kind.len(), number)?;
    same_length("other_name", columns.other_name.len(), number)?;
    same_length("other_code", columns.other_code.len(), number)?;
    same_length("other_count", columns.other_count.len(), number)?;
    for (index, cell) in columns.other_cell.iter().enumerate() {
        let cell = at(cells, *cell, "other_cell")?;
        let kind = OtherKind::from_number(columns.other_kind[index])
            .ok_or(ReportError::Index("other_kind"))?;
        let label = name(names, columns.other_name[index], "other_name")?;
        let code = name(names, columns.other_code[index], "other_code")?;
        let count = columns.other_count[index];
        if count == 0 || label.is_empty() || cell.others.len() >= OTHERS_MAX {
            return Err(ReportError::Column("other_count"));
        }
        if cell.others.iter().any(|o| o.kind == kind && o.name == label && o.code == code) {
            return Err(ReportError::Twice(label.to_owned()));
        }
        cell.others.push(Other { kind, name: label.to_owned(), code: code.to_owned(), count });
    }
    Ok(())
}

/// Counters ascend within a cell, which has started attempts that were not spoiled.
fn add_counters(
    cells: &mut [Cell],
    columns: &v1::Counters,
    names: &[String],
) -> Result<(), ReportError> {
    let number = columns.cell.len();
    same_length("counters.name", columns.name.len(), number)?;
    same_length("counters.count", columns.count.len(), number)?;
    for (index, cell) in columns.cell.iter().enumerate() {
        let cell = at(cells, *cell, "counters.cell")?;
        let counter = name(names, columns.name[index], "counters.name")?;
        let judged = u64::from(cell.ok) + cell.count(OtherKind::Failed);
        let why = match (columns.count[index], cell.counters.last()) {
            _ if !is_name(counter) => Some("is no name of a counter"),
            (0, _) => Some("counts nothing"),
            _ if judged == 0 => Some("counts where no attempt was ok or failed"),
            (_, Some((before, _))) if before.as_ref() >= counter => {
                Some("stands twice or out of order")
            }
            _ if cell.counters.len() >= COUNTERS_MAX => Some("is one too many"),
            (count, _) => {
                cell.counters.push((counter.to_owned().into(), count));
                None
            }
        };
        if let Some(why) = why {
            let (probe, counter) = (cell.probe.clone(), counter.to_owned());
            return Err(ReportError::Counter { probe, counter, why });
        }
    }
    Ok(())
}

/// Where samples belong.
#[derive(Clone, Copy)]
enum Place {
    Series,
    Values,
}

impl Place {
    /// What a cell has of them, how many there may be, and of how many attempts.
    fn of(self, cell: &mut Cell) -> (&mut Vec<Series>, usize, u32) {
        match self {
            Self::Series => (&mut cell.series, SERIES_MAX, cell.scheduled),
            Self::Values => (&mut cell.values, VALUES_MAX, cell.ok),
        }
    }
}

fn samples(
    cells: &mut [Cell],
    columns: &Columns,
    names: &[String],
    place: Place,
) -> Result<(), ReportError> {
    let number = columns.cell.len();
    same_length("phase", columns.name.len(), number)?;
    same_length("sum_ns", columns.sum.len(), number)?;
    same_length("max_ns", columns.max.len(), number)?;
    same_length("clamped", columns.clamped.len(), number)?;
    let thresholds = thresholds(columns, number)?;
    let mut rest = columns.histograms.as_slice();
    for (index, at_most) in thresholds.into_iter().enumerate() {
        let cell = at(cells, columns.cell[index], "cell")?;
        let phase = name(names, columns.name[index], "phase")?;
        if matches!(place, Place::Values) && !is_value_name(phase) {
            return Err(ReportError::Name("values.name"));
        }
        let contradiction = |probe: &str, why: String| ReportError::Series {
            probe: probe.to_owned(),
            phase: phase.to_owned(),
            why,
        };
        let histogram = Histogram::decode_first(&mut rest)
            .map_err(|error| contradiction(&cell.probe, error.to_string()))?;
        let series = Series {
            phase: phase.to_owned().into(),
            sum_ns: columns.sum[index],
            max_ns: columns.max[index],
            clamped: columns.clamped[index],
            histogram,
            at_most,
        };
        let (known, most, attempts) = place.of(cell);
        if known.len() >= most || known.iter().any(|series| series.phase == phase) {
            return Err(ReportError::Twice(phase.to_owned()));
        }
        match check_series(&series, attempts) {
            Ok(()) => known.push(series),
            Err(why) => return Err(contradiction(&cell.probe, why.to_owned())),
        }
    }
    same_length("histograms", rest.len(), 0)
}

/// The exact counters of each series, ascending by threshold.
fn thresholds(columns: &Columns, series: usize) -> Result<Vec<Vec<(u64, u32)>>, ReportError> {
    let number = columns.threshold_of.len();
    same_length("threshold_ns", columns.threshold.len(), number)?;
    same_length("at_most", columns.at_most.len(), number)?;
    let mut by_series = vec![Vec::new(); series];
    for (index, of) in columns.threshold_of.iter().enumerate() {
        let list: &mut Vec<(u64, u32)> = at(&mut by_series, *of, "threshold_series")?;
        let threshold = columns.threshold[index];
        if list.last().is_some_and(|(before, _)| *before >= threshold)
            || list.len() >= THRESHOLDS_MAX
        {
            return Err(ReportError::Column("threshold_ns"));
        }
        list.push((threshold, columns.at_most[index]));
    }
    Ok(by_series)
}

/// What a series says of itself must be possible.
fn check_series(series: &Series, attempts: u32) -> Result<(), &'static str> {
    let count = series.histogram.count();
    let Some((last, last_count)) = series.histogram.buckets().last() else {
        return Err("has no sample");
    };
    if count > u64::from(attempts) {
        return Err("has more samples than there were attempts");
    }
    let (last_bucket, max_clamped) = bucket_of(series.max_ns);
    if last_bucket != *last || max_clamped != (series.clamped > 0) {
        return Err("has its maximum in another bucket");
    }
    if u64::from(series.clamped) > *last_count || (series.clamped > 0 && *last != INDEX_MAX) {
        return Err("has more clamped samples than its last bucket holds");
    }
    let sum = |bound: fn((u64, u64)) -> u64| -> u128 {
        let of = |(index, count): &(u16, u64)| {
            u128::from(bound(bucket_bounds_ns(*index))) * u128::from(*count)
        };
        series.histogram.buckets().iter().map(of).sum()
    };
    let highest =
        sum(|(_, highest)| highest) + u128::from(series.clamped) * u128::from(series.max_ns);
    if !(sum(|(lowest, _)| lowest)..=highest).contains(&u128::from(series.sum_ns)) {
        return Err("has a sum that its histogram cannot have");
    }
    for (threshold_ns, at_most) in &series.at_most {
        let (certain, possible) = series.histogram.count_at_most(*threshold_ns);
        if !(certain..=possible).contains(&u64::from(*at_most)) {
            return Err("has a counter that its histogram cannot have");
        }
    }
    Ok(())
}

fn check_cells(cells: &[Cell]) -> Result<(), ReportError> {
    let mut seen = HashSet::with_capacity(cells.len());
    for cell in cells {
        let others: u64 = cell.others.iter().map(|other| u64::from(other.count)).sum();
        if cell.scheduled == 0 || u64::from(cell.scheduled) != u64::from(cell.ok) + others {
            return Err(ReportError::Accounting(cell.probe.clone()));
        }
        if cell.interval_s == 0 {
            return Err(ReportError::Column("interval_s"));
        }
        if !seen.insert((&cell.probe, cell.spec)) {
            return Err(ReportError::Twice(cell.probe.clone()));
        }
    }
    Ok(())
}

fn same_length(column: &'static str, length: usize, expected: usize) -> Result<(), ReportError> {
    if length == expected { Ok(()) } else { Err(ReportError::Column(column)) }
}

fn at<'a, T>(list: &'a mut [T], index: u32, what: &'static str) -> Result<&'a mut T, ReportError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| list.get_mut(index))
        .ok_or(ReportError::Index(what))
}

/// A label out of the string table: printable ASCII, bounded.
fn name<'a>(names: &'a [String], index: u32, what: &'static str) -> Result<&'a str, ReportError> {
    let name = usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .ok_or(ReportError::Index(what))?;
    let printable = name.len() <= LABEL_MAX_BYTES && name.bytes().all(|b| b.is_ascii_graphic());
    if printable { Ok(name) } else { Err(ReportError::Name(what)) }
}
