//! From stored records to the evidence of an agreement.

use crate::sla::{Counts, EvidenceError, Observed, Phases, Windows, Within};
use crate::store::{KnownAgent, StoredRecord};
use probefleet_proto::record::Kind;
use probefleet_proto::report::{self, Cell, OtherKind, Report};
use sha2::{Digest as _, Sha256};

/// Adds the cells of a record. Gaps and events carry none; a payload that cannot be decoded was refused before it was
/// stored, so one here is damage: it counts as not there, which makes its window Unknown.
///
/// # Errors
/// [`EvidenceError`] when there is no room.
pub fn add_record(
    windows: &mut [&mut Windows],
    agent: &KnownAgent,
    record: &StoredRecord,
) -> Result<(), EvidenceError> {
    if record.kind != Kind::Report {
        return Ok(());
    }
    let report = match Report::decode(&record.payload) {
        Ok(report) => report,
        Err(error) => {
            tracing::error!(agent = %agent.name, seq = record.seq, %error, "a stored record is damaged");
            return Ok(());
        }
    };
    for cell in &report.cells {
        add_cell(windows, agent, &report.head, cell)?;
    }
    Ok(())
}

fn add_cell(
    windows: &mut [&mut Windows],
    agent: &KnownAgent,
    head: &report::Head,
    cell: &Cell,
) -> Result<(), EvidenceError> {
    let (Ok(start_s), Some(labels)) =
        (i64::try_from(head.window_start_s), agent.labels_at(head.window_start_s))
    else {
        return Ok(());
    };
    let observed = Observed {
        agent: agent.name.as_str(),
        labels,
        probe: &cell.probe,
        spec: cell.spec,
        start_s,
        width_s: head.window_s,
        interval_s: cell.interval_s,
        counts: counts(cell),
        flagged: false,
        content: content(head, cell),
        phases: &Latencies(cell),
    };
    for windows in windows {
        windows.add(&observed)?;
    }
    Ok(())
}

fn counts(cell: &Cell) -> Counts {
    // The decoder has checked that they add up to `scheduled`, which is 32 bits wide.
    let count = |kind| u32::try_from(cell.count(kind)).unwrap_or(u32::MAX);
    Counts {
        ok: cell.ok,
        failed: count(OtherKind::Failed),
        invalid: count(OtherKind::Invalid),
        missed: count(OtherKind::Missed),
    }
}

/// Digest of all that a cell says: of its canonical encoding, alone in a report without anything else.
fn content(head: &report::Head, cell: &Cell) -> [u8; 16] {
    let bare = report::Head {
        window_start_s: head.window_start_s,
        window_s: head.window_s,
        ..report::Head::default()
    };
    let mut digest = Sha256::new();
    for payload in report::encode(&bare, std::slice::from_ref(cell)) {
        digest.update(payload);
    }
    let digest: [u8; 32] = digest.finalize().into();
    let mut content = [0; 16];
    content.copy_from_slice(&digest[..16]);
    content
}

/// The latencies of a cell: from the exact counter of a threshold, else from the histogram.
struct Latencies<'a>(&'a Cell);

impl Phases for Latencies<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let series = self.0.series.iter().find(|series| series.phase == phase)?;
        let counted = series.at_most.iter().find(|(limit_ns, _)| *limit_ns == threshold_ns);
        if let Some((_, count)) = counted {
            return Some(Within::exactly(*count));
        }
        let (certain, possible) = series.histogram.count_at_most(threshold_ns);
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Within { certain: number(certain), possible: number(possible) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::report::Series;

    #[test]
    fn exact_counters_win_over_histograms() {
        let mut series = Series::new("total", &[1_000_000]);
        for ns in [999_999, 1_000_000, 1_000_001] {
            series.record(ns);
        }
        let cell = Cell {
            probe: "p".to_owned(),
            spec: [0; 16],
            interval_s: 10,
            scheduled: 3,
            ok: 3,
            others: vec![],
            series: vec![series],
        };
        let latencies = Latencies(&cell);
        assert_eq!(latencies.at_most("total", 1_000_000), Some(Within::exactly(2)));
        let cut = latencies.at_most("total", 1_000_100).expect("has the phase");
        assert_eq!((cut.certain, cut.possible), (0, 3), "one bucket holds all three");
        assert_eq!(latencies.at_most("connect", 1), None);
    }

    #[test]
    fn the_content_is_that_of_the_cell_alone() {
        let cell = Cell {
            probe: "p".to_owned(),
            spec: [0; 16],
            interval_s: 10,
            scheduled: 1,
            ok: 1,
            others: vec![],
            series: vec![],
        };
        let head = report::Head { window_start_s: 60, window_s: 60, ..report::Head::default() };
        let straggler =
            report::Head { stragglers_follow: true, plan_hash: vec![1], ..head.clone() };
        assert_eq!(content(&head, &cell), content(&straggler, &cell));
        let other = Cell { ok: 0, scheduled: 0, ..cell.clone() };
        assert_ne!(content(&head, &cell), content(&head, &other));
    }
}
