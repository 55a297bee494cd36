//! From stored records to the evidence of an agreement.

use crate::sla::evidence::Merged;
use crate::sla::{Added, Counts, EvidenceError, Observed, Phases, Total, Windows, Within};
use crate::store::{KnownAgent, StoredRecord};
use crate::windows::{Content, Samples};
use probefleet_proto::extras::ValueUnit;
use probefleet_proto::health;
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{self, Cell, OtherKind, Report};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What takes the cells of records.
pub trait Docket {
    /// Takes a cell; `observed` is what verdicts need of it.
    ///
    /// # Errors
    /// [`EvidenceError`] when there is no room.
    fn take(&mut self, observed: &Observed<'_>, cell: &Cell) -> Result<Added, EvidenceError>;

    /// Takes over what cells come to together that it took just now; whoever has no use for that, does not.
    fn take_over(&mut self, _merged: &Merged<'_>) {}
}

impl Docket for Windows {
    fn take(&mut self, observed: &Observed<'_>, _cell: &Cell) -> Result<Added, EvidenceError> {
        self.add(observed)
    }

    fn take_over(&mut self, merged: &Merged<'_>) {
        Self::take_over(self, merged);
    }
}

/// Adds the cells of a record. Gaps and events carry none; a payload that cannot be decoded was refused before it was
/// stored, so one here is damage: it counts as not there, which makes its window Unknown.
///
/// # Errors
/// [`EvidenceError`] when there is no room.
pub fn add_record(
    dockets: &mut [impl Docket],
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
        add_cell(dockets, agent, &report.head, cell)?;
    }
    Ok(())
}

fn add_cell(
    dockets: &mut [impl Docket],
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
        flagged: health::is_suspect(head.health.flags),
        content: content(head, labels, cell),
        phases: &Latencies(cell),
    };
    for docket in dockets {
        docket.take(&observed, cell)?;
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

/// Digest of all that a cell says, as that of a line with the same figures: outcomes by name, codes by themselves.
fn content(head: &report::Head, labels: &Labels, cell: &Cell) -> [u8; 16] {
    let mut outcomes = [const { BTreeMap::<String, u32>::new() }; 3];
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let [failed, invalid, missed] = &mut outcomes;
    for other in &cell.others {
        let counts = match other.kind {
            OtherKind::Failed => &mut *failed,
            OtherKind::Invalid => &mut *invalid,
            OtherKind::Missed => &mut *missed,
        };
        let count = counts.entry(other.name.clone()).or_default();
        *count = count.saturating_add(other.count);
        if !other.code.is_empty() {
            *codes.entry(other.code.clone()).or_default() += u64::from(other.count);
        }
    }
    let [failed, invalid, missed] = &outcomes;
    let counters = cell.counters.iter().map(|(name, count)| (name.to_string(), *count)).collect();
    let content = Content {
        labels,
        width_s: head.window_s,
        interval_s: cell.interval_s,
        ok: cell.ok,
        outcomes: [failed, invalid, missed],
        tallies: [&codes, &counters],
        flags: &health::words(head.health.flags),
        phases: samples(&cell.series),
        values: samples(&cell.values),
    };
    content.digest()
}

/// Samples by name, as they are hashed.
fn samples(all: &[report::Series]) -> BTreeMap<&str, Samples<'_>> {
    all.iter()
        .map(|series| {
            let (sum, at_most) = (series.sum_ns.into(), series.at_most.clone());
            (series.phase.as_ref(), Samples::Counted(&series.histogram, sum, at_most))
        })
        .collect()
}

/// The latencies and values of a cell: from the exact counter of a threshold, else from the histogram.
struct Latencies<'a>(&'a Cell);

impl Phases for Latencies<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        let series = self.series(phase)?;
        let counted = series.at_most.iter().find(|(limit_ns, _)| *limit_ns == threshold_ns);
        if let Some((_, count)) = counted {
            return Some(Within::exactly(*count));
        }
        let (certain, possible) = series.histogram.count_at_most(threshold_ns);
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Within { certain: number(certain), possible: number(possible) })
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        Some(Cow::Borrowed(&self.series(phase)?.histogram))
    }

    fn total(&self, phase: &str) -> Option<Total> {
        let series = self.series(phase)?;
        Some(Total { samples: series.histogram.count(), sum_ns: series.sum_ns.into() })
    }

    fn counter(&self, name: &str) -> u64 {
        self.0.counter(name)
    }
}

impl Latencies<'_> {
    fn series(&self, phase: &str) -> Option<&report::Series> {
        let all = match ValueUnit::of_name(phase) {
            None => &self.0.series,
            Some(_) => &self.0.values,
        };
        all.iter().find(|series| series.phase == phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::exclusions::Exclusions;
    use crate::contract::{Agreement, PeriodLabel};
    use crate::sla::{Question, judge};
    use crate::windows;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use probefleet_proto::name::Name;
    use probefleet_proto::report::{Other, Series};

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
            counters: Vec::new(),
            values: Vec::new(),
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
            counters: Vec::new(),
            values: Vec::new(),
        };
        let head = report::Head { window_start_s: 60, window_s: 60, ..report::Head::default() };
        let straggler =
            report::Head { stragglers_follow: true, plan_hash: vec![1], ..head.clone() };
        let labels = Labels::new();
        let content = |head: &report::Head, cell: &Cell| content(head, &labels, cell);
        assert_eq!(content(&head, &cell), content(&straggler, &cell));
        let other = Cell { ok: 0, scheduled: 0, ..cell.clone() };
        assert_ne!(content(&head, &cell), content(&head, &other));
    }

    /// Cells of the store, written down as lines, give a verdict with the same fingerprint.
    #[test]
    fn a_record_and_a_line_say_the_same() {
        for text in [
            include_str!("../../tests/fixtures/evaluate/agreement.yaml"),
            include_str!("../../tests/fixtures/evaluate/response.yaml"),
            VOICE,
        ] {
            let agreement = Agreement::load(&[("a.yaml", text)]).expect("valid").agreement;
            for (flags, words) in [
                (0, &[][..]),
                (health::LAG, &["agent_suspect"]),
                (health::CLOCK | health::SUSPENDED, &["clock", "agent_suspect"]),
            ] {
                say_the_same(&agreement, flags, words);
            }
        }
    }

    const VOICE: &str = r#"
agreement: voice
version: 1
kind: sla
level: service
title: Voice
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: day
services: {s: {}}
objectives:
  ser: {service: s, probe: login, measure: {ratio: ser}, target: ">= 50%", unknown: {coverage: 0%}, window: {width: 15m}}
  mos: {service: s, probe: login, measure: {within: 4.0, phase: mos_centi}, target: ">= 50%", unknown: {coverage: 0%}, window: {width: 15m}}
  loss: {service: s, probe: login, measure: {mean: loss_ppm}, target: "<= 1%", unknown: {coverage: 0%}, window: {width: 15m}}
"#;

    fn berlin() -> KnownAgent {
        KnownAgent {
            agent: uuid::Uuid::nil(),
            name: Name::new("berlin-1").expect("a name"),
            first_seen_s: 0,
            labels: vec![(0, Labels::from([("site".to_owned(), "berlin".to_owned())]))],
            last_report_end_s: None,
            evidence_keys: Vec::new(),
        }
    }

    fn say_the_same(agreement: &Agreement, flags: u32, words: &[&str]) {
        let mut series = Series::new("total", &[2_000_000_000]);
        series.record(1_500_000_000);
        series.record(2_000_000_001);
        let other = |kind, name: &str, code: &str| Other {
            kind,
            name: name.to_owned(),
            code: code.to_owned(),
            count: 1,
        };
        let histogram = STANDARD.encode(series.histogram.to_hdr_v2());
        let mut cell = Cell {
            probe: "login".to_owned(),
            spec: [0xab; 16],
            interval_s: 180,
            scheduled: 5,
            ok: 2,
            others: vec![
                other(OtherKind::Failed, "status", "500"),
                other(OtherKind::Failed, "status", "503"),
                other(OtherKind::Missed, "overrun", ""),
            ],
            series: vec![series],
            counters: Vec::new(),
            values: Vec::new(),
        };
        for (name, count) in [("call_attempts", 4), ("established", 2), ("retransmissions", 9)] {
            cell.add_counter(name, count);
        }
        for (mos_centi, loss_ppm) in [(438, 1_000), (399, 50_000)] {
            cell.record_value("mos_centi", mos_centi, &[399]);
            cell.record_value("loss_ppm", loss_ppm, &[]);
        }
        let encoded = |value: &Series| STANDARD.encode(value.histogram.to_hdr_v2());
        let values = serde_json::json!({
            "mos_centi": {"histogram": encoded(&cell.values[0]), "sum": 837, "at_most": {"399": 1}},
            "loss_ppm": {"histogram": encoded(&cell.values[1]), "sum": 51_000},
        });
        let start_s = 1_774_000_800;
        let mut head =
            report::Head { window_start_s: start_s, window_s: 900, ..report::Head::default() };
        head.health.flags = flags;
        let line = serde_json::json!({
            "agent": "berlin-1", "labels": {"site": "berlin", "agent": "berlin-1"},
            "probe": "login", "spec": "ab".repeat(16),
            "start": "2026-03-20T10:00:00Z", "width_s": 900, "interval_s": 180, "scheduled": 5,
            "ok": 2, "failed": {"status": 2}, "missed": {"overrun": 1},
            "codes": {"500": 1, "503": 1}, "values": values, "flags": words,
            "counters": {"retransmissions": 9, "established": 2, "call_attempts": 4},
            "phases": {"total": {"histogram": histogram, "sum_ns": 3_500_000_001_u64,
                "at_most_ns": {"2000000000": 1}}},
        });
        let mut stored = Windows::for_agreement(agreement);
        add_cell(std::slice::from_mut(&mut stored), &berlin(), &head, &cell).expect("fits");
        let mut read = Windows::for_agreement(agreement);
        windows::read(&mut read, "w.jsonl", line.to_string().as_bytes()).expect("a cell");
        let label = PeriodLabel::parse("2026-03-20").expect("a label");
        let question = Question { label, as_of_s: None, signed: true };
        let verdict = |windows: &Windows| {
            judge(agreement, windows, &Exclusions::default(), &question).expect("judged")
        };
        assert_eq!(verdict(&stored), verdict(&read));
        let not_trusted = verdict(&stored).objectives.iter().all(|judged| judged.flagged > 0);
        assert_eq!(not_trusted, !words.is_empty());
        // The same cell from both is one cell.
        windows::read(&mut stored, "w.jsonl", line.to_string().as_bytes()).expect("a cell");
        assert_eq!(verdict(&stored), verdict(&read));
    }
}
