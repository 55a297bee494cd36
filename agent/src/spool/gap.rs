//! Gap records: what is said of records that will never come. Pure.

use probefleet_proto::name::Name;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId};
use probefleet_proto::v1;
use probefleet_proto::window::WIDTHS_S;
use prost::Message as _;
use std::collections::BTreeMap;

/// The spool was full.
pub(super) const SPOOL_FULL: &str = "spool_full";
/// Bytes on the agent's disk could not be read back.
pub(super) const SPOOL_DAMAGE: &str = "spool_damage";
/// The collector lost what the agent no longer holds.
pub(super) const COLLECTOR_ROLLBACK: &str = "collector_rollback";
/// The collector can never accept the record; the agent keeps it in a file.
pub(crate) const RECORD_REFUSED: &str = "record_refused";

/// Nothing could be written for so long that no more might wait in memory.
pub(super) const SPOOL_UNWRITABLE: &str = "spool_unwritable";

/// Most probes that a gap counts by name; the rest is summed under an empty name. With names of 63 bytes the payload
/// stays below 100 KiB.
const PROBES_MAX: usize = 1000;

/// What dropped records held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    windows: Option<(u64, u64)>,
    probes: BTreeMap<String, Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    scheduled: u64,
    ok: u64,
    failed: u64,
}

impl Totals {
    /// Totals of nothing but a stretch of time.
    pub(super) fn of_windows(windows: Option<(u64, u64)>) -> Self {
        Self { windows, probes: BTreeMap::new() }
    }

    /// What a record held that the collector refuses, as far as it can be believed; `around` are the windows of the reports
    /// beside it, which it lay between if it is a report.
    pub(super) fn of_refused(kind: Kind, payload: &[u8], around: Option<(u64, u64)>) -> Self {
        let mut totals = Self::default();
        totals.add(kind, payload);
        if kind == Kind::Report {
            totals.windows = totals.windows.or(around);
        }
        totals
    }

    /// Adds what a record held. A payload that is no message counts nothing: there is nothing to be said of it.
    pub(super) fn add(&mut self, kind: Kind, payload: &[u8]) {
        match kind {
            Kind::Report => {
                if let Ok(report) = v1::Report::decode(payload) {
                    self.add_report(&report);
                }
            }
            Kind::Gap => {
                if let Ok(gap) = v1::Gap::decode(payload) {
                    self.add_gap(gap);
                }
            }
            Kind::Event => {}
        }
    }

    fn add_report(&mut self, report: &v1::Report) {
        if is_of_grid(report) {
            self.widen(window_of(report));
        }
        let Some(cells) = &report.cells else { return };
        let mut by_cell = vec![Counts::default(); cells.probe.len()];
        for (counts, (scheduled, ok)) in
            by_cell.iter_mut().zip(cells.scheduled.iter().zip(&cells.ok))
        {
            (counts.scheduled, counts.ok) = (u64::from(*scheduled), u64::from(*ok));
        }
        let others = cells.other_cell.iter().zip(&cells.other_kind).zip(&cells.other_count);
        for ((cell, kind), count) in others {
            let counts = usize::try_from(*cell).ok().and_then(|cell| by_cell.get_mut(cell));
            if let Some(counts) = counts.filter(|_| *kind == OTHER_FAILED) {
                counts.failed = counts.failed.saturating_add(u64::from(*count));
            }
        }
        for (probe, counts) in cells.probe.iter().zip(by_cell) {
            let name = usize::try_from(*probe).ok().and_then(|probe| report.names.get(probe));
            self.count(name.map_or("", String::as_str), counts);
        }
    }

    fn add_gap(&mut self, gap: v1::Gap) {
        if gap.until_s > 0 {
            self.widen((gap.from_s, gap.until_s));
        }
        for probe in gap.probes {
            let (scheduled, ok, failed) = (probe.scheduled, probe.ok, probe.failed);
            self.count(&probe.probe, Counts { scheduled, ok, failed });
        }
    }

    fn widen(&mut self, (from_s, until_s): (u64, u64)) {
        let (from, until) = self.windows.unwrap_or((from_s, until_s));
        self.windows = Some((from.min(from_s), until.max(until_s)));
    }

    fn count(&mut self, probe: &str, counts: Counts) {
        let has_room = self.probes.len() < PROBES_MAX || self.probes.contains_key(probe);
        // What no probe can be called comes of a report that is not as it should be, and may be of any length.
        let named = has_room && Name::new(probe).is_ok();
        let sum = self.probes.entry(if named { probe } else { "" }.to_owned()).or_default();
        sum.scheduled = sum.scheduled.saturating_add(counts.scheduled);
        sum.ok = sum.ok.saturating_add(counts.ok);
        sum.failed = sum.failed.saturating_add(counts.failed);
    }

    /// The record that stands for `[seq, seq_to]`, still to be signed.
    pub(super) fn into_record(self, place: Place, reason: &str) -> Record {
        let (from_s, until_s) = self.windows.unwrap_or_default();
        let probes = self.probes.into_iter().map(|(probe, counts)| v1::GapProbe {
            probe,
            scheduled: counts.scheduled,
            ok: counts.ok,
            failed: counts.failed,
        });
        let gap = v1::Gap {
            to_hash: place.to_hash.to_vec(),
            reason: reason.to_owned(),
            from_s,
            until_s,
            probes: probes.collect(),
        };
        Record {
            seq: place.seq,
            seq_to: place.seq_to,
            kind: Kind::Gap,
            prev_hash: place.prev_hash,
            payload: gap.encode_to_vec(),
            signature: Vec::new(),
        }
    }
}

/// Records that were given up before they had numbers: nothing could be written, and no more might wait in memory.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    totals: Totals,
    reports: u64,
    /// The last of them.
    last: Option<(Kind, Vec<u8>)>,
}

impl Lost {
    /// One more.
    pub fn add(&mut self, kind: Kind, payload: Vec<u8>) {
        self.totals.add(kind, &payload);
        self.reports += u64::from(kind == Kind::Report);
        self.last = Some((kind, payload));
    }

    /// How many reports are among them.
    #[must_use]
    pub const fn reports(&self) -> u64 {
        self.reports
    }

    /// The gap that stands for all of them under the next number, and the hash that it ends with: that of the last one, if
    /// that had been given the number.
    pub(super) fn to_record(
        &self,
        seq: u64,
        prev_hash: Hash,
        spool_id: &SpoolId,
    ) -> (Record, Hash) {
        let (kind, payload) = self.last.clone().unwrap_or((Kind::Event, Vec::new()));
        let last = Record { seq, seq_to: seq, kind, prev_hash, payload, signature: Vec::new() };
        let to_hash = last.content_hash(spool_id);
        let place = Place { seq, seq_to: seq, prev_hash, to_hash };
        (self.totals.clone().into_record(place, SPOOL_UNWRITABLE), to_hash)
    }
}

/// `Cells.other_kind` of a failed attempt.
const OTHER_FAILED: u32 = 1;

/// The window of a report: start and end, Unix seconds.
pub(super) fn window_of(report: &v1::Report) -> (u64, u64) {
    let width_s = u64::from(report.window_s);
    (report.window_start_s, report.window_start_s.saturating_add(width_s))
}

/// Whether there is such a window. A gap that claims another would be refused, and nothing can take the place of a gap.
fn is_of_grid(report: &v1::Report) -> bool {
    let (from_s, until_s) = window_of(report);
    let has_width = WIDTHS_S.contains(&report.window_s);
    has_width && from_s % u64::from(report.window_s) == 0 && i64::try_from(until_s).is_ok()
}

/// Where in the chain a gap stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The first sequence that it stands for.
    pub(super) seq: u64,
    /// The last one.
    pub(super) seq_to: u64,
    /// Hash of record `seq - 1`.
    pub(super) prev_hash: Hash,
    /// Hash of record `seq_to`.
    pub(super) to_hash: Hash,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(window_start_s: u64, probes: &[&str]) -> Vec<u8> {
        let cells = v1::Cells {
            probe: (0..).take(probes.len()).collect(),
            scheduled: vec![10; probes.len()],
            ok: vec![6; probes.len()],
            other_cell: vec![0, 0, 0, 99],
            other_kind: vec![1, 2, 1, 1],
            other_count: vec![2, 1, 1, 50],
            ..v1::Cells::default()
        };
        let names = probes.iter().map(|name| (*name).to_owned()).collect();
        let report = v1::Report {
            window_start_s,
            window_s: 60,
            names,
            cells: Some(cells),
            ..v1::Report::default()
        };
        report.encode_to_vec()
    }

    fn place() -> Place {
        Place { seq: 3, seq_to: 9, prev_hash: [1; 32], to_hash: [2; 32] }
    }

    #[test]
    fn a_gap_keeps_what_was_scheduled_ok_and_failed() {
        let mut totals = Totals::default();
        totals.add(Kind::Report, &report(120, &["web", "sql"]));
        totals.add(Kind::Event, b"\xff");
        totals.add(Kind::Report, b"\xff");
        let first = totals.into_record(place(), SPOOL_FULL);
        let mut totals = Totals::default();
        totals.add(Kind::Gap, &first.payload);
        totals.add(Kind::Report, &report(60, &["web"]));
        let gap = totals.into_record(place(), SPOOL_FULL);
        let gap = v1::Gap::decode(gap.payload.as_slice()).expect("a gap");
        assert_eq!((gap.from_s, gap.until_s, gap.reason.as_str()), (60, 180, SPOOL_FULL));
        assert_eq!(gap.to_hash, [2; 32]);
        let web = v1::GapProbe { probe: "web".to_owned(), scheduled: 20, ok: 12, failed: 6 };
        let sql = v1::GapProbe { probe: "sql".to_owned(), scheduled: 10, ok: 6, failed: 0 };
        assert_eq!(gap.probes, [sql, web]);
    }

    #[test]
    fn a_gap_fits_a_record_whatever_it_counts() {
        let mut totals = Totals::default();
        let names: Vec<_> = (0..3000).map(|n| format!("{n:063}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        for _ in 0..2 {
            totals.add(Kind::Report, &report(0, &names));
        }
        let record = totals.into_record(place(), SPOOL_FULL);
        assert!(record.payload.len() < 100 << 10, "{}", record.payload.len());
        let gap = v1::Gap::decode(record.payload.as_slice()).expect("a gap");
        let scheduled: u64 = gap.probes.iter().map(|probe| probe.scheduled).sum();
        assert_eq!(scheduled, 60_000, "nothing is lost in the rest");
    }
}
