//! Windows of two agents, and the records that they come in.

use super::super::HOUR_S;
use super::APRIL_S;
use crate::store::{KnownAgent, StoredRecord, StreamId};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{self, Cell, OtherKind, Series};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A window of one agent's probe.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) agent: usize,
    pub(super) minute: i64,
    pub(super) probe: &'static str,
    pub(super) spec: u8,
    pub(super) ok: u32,
    pub(super) failed: u32,
    pub(super) ns: u64,
}

/// Windows of eight hours round the beginning of the day, many of them in rows that are alike; the same one often comes
/// again, the same or another.
pub(super) fn lines() -> impl Strategy<Value = Vec<Line>> {
    let row = (line(), prop_oneof![2 => Just(1), 1 => 2..100_i64]);
    prop::collection::vec(row, 0..60).prop_map(|rows| {
        let lines = rows.into_iter().flat_map(|(line, length)| {
            let later = move |more: i64| Line {
                minute: line.minute + more,
                ns: line.ns + more.unsigned_abs() * 10_007 % 400_000,
                ..line
            };
            (0..length).map(later)
        });
        lines.take(700).collect()
    })
}

fn line() -> impl Strategy<Value = Line> {
    let line = (
        0..2_usize,
        prop_oneof![3 => -120..360_i64, 1 => 0..6_i64],
        prop_oneof![3 => Just("front"), 1 => Just("call"), 1 => Just("other")],
        0..2_u8,
        (0..3_u32, 0..3_u32),
        prop_oneof![Just(20_000_000), Just(25_000_000), 1_000_000..60_000_000_u64],
    );
    line.prop_map(|(agent, minute, probe, spec, (ok, failed), ns)| Line {
        agent,
        minute,
        probe,
        spec,
        ok,
        failed,
        ns,
    })
}

/// Two agents; the first one moved in the middle of an hour.
pub(super) fn agents() -> [KnownAgent; 2] {
    let site = |site: &str| Labels::from([("site".to_owned(), site.to_owned())]);
    let known = |number: u128, labels| KnownAgent {
        agent: uuid::Uuid::from_u128(number),
        name: Name::new(&format!("agent-{number}")).expect("a name"),
        first_seen_s: 0,
        labels,
        last_report_end_s: None,
        evidence_keys: Vec::new(),
    };
    [
        known(1, vec![(0, site("berlin")), (APRIL_S + 1_830, site("bonn"))]),
        known(2, vec![(0, site("berlin"))]),
    ]
}

impl Line {
    pub(super) fn start_s(&self) -> u64 {
        APRIL_S.saturating_add_signed(self.minute * 60)
    }

    pub(super) fn cell(&self) -> Cell {
        let mut cell = Cell {
            probe: self.probe.to_owned(),
            spec: [self.spec; 16],
            interval_s: 30,
            scheduled: self.ok,
            ok: self.ok,
            others: vec![],
            series: vec![],
            counters: Vec::new(),
            values: Vec::new(),
        };
        let mut total = Series::new("total", &[25_000_000]);
        (0..self.ok).for_each(|number| total.record(self.ns + u64::from(number) * 5_000_000));
        if self.ok > 0 {
            cell.series.push(total);
        }
        if self.failed > 0 {
            cell.scheduled += self.failed;
            cell.add_other(OtherKind::Failed, "status", "503", self.failed);
        }
        if self.probe == "call" && self.ok + self.failed > 0 {
            cell.add_counter("call_attempts", u64::from(self.ok + self.failed));
            cell.add_counter("established", self.ok.into());
            for number in 0..self.ok {
                cell.record_value("mos_centi", 399 + u64::from(number), &[399]);
                cell.record_value("loss_ppm", self.ns / 1_000, &[]);
            }
        }
        cell
    }

    pub(super) fn record(&self, seq: u64) -> StoredRecord {
        let window_start_s = self.start_s();
        let head = report::Head { window_start_s, window_s: 60, ..report::Head::default() };
        StoredRecord {
            stream: StreamId(1),
            agent: uuid::Uuid::from_u128(1),
            seq,
            seq_to: seq,
            kind: Kind::Report,
            window_start_s,
            received_s: window_start_s + 61,
            payload: report::encode(&head, &[self.cell()]).remove(0),
        }
    }
}

/// The records of each agent and hour, in the order in which they came.
pub(super) fn by_hour(lines: &[Line]) -> BTreeMap<(usize, u64), Vec<StoredRecord>> {
    let mut hours: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (seq, line) in (1..).zip(lines) {
        let hour_s = line.start_s() / HOUR_S * HOUR_S;
        hours.entry((line.agent, hour_s)).or_default().push(line.record(seq));
    }
    hours
}

/// A row of windows that are alike, but for their samples.
pub(super) fn row(minutes: std::ops::Range<i64>) -> Vec<StoredRecord> {
    let line = |minute: i64| Line {
        agent: 1,
        minute,
        probe: "front",
        spec: 3,
        ok: 2,
        failed: 0,
        ns: 20_000_000 + minute.unsigned_abs() * 90_001,
    };
    minutes.map(|minute| line(minute).record(minute.unsigned_abs() + 1)).collect()
}
