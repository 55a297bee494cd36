//! What the evaluator says of the store in the end, and what it says of the truth.

use super::world::World;
use crate::stage::{PROBE, report, window_of};
use probefleet_collector::contract::Agreement;
use probefleet_collector::contract::exclusions::Exclusions;
use probefleet_collector::contract::period::PeriodLabel;
use probefleet_collector::evaluator::add_record;
use probefleet_collector::simulation::stream;
use probefleet_collector::sla::{Question, Windows, judge};
use probefleet_collector::store::{KnownAgent, StoredRecord};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::Kind;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Larger fleets are not judged: their windows would reach over many years.
const AGENTS_MAX: usize = 10;
/// The years in which the windows of so many agents lie.
const YEARS: [&str; 2] = ["1970", "1971"];

const AGREEMENT: &str = r#"
agreement: truth
version: 1
kind: sla
level: service
title: What happened
parties: {provider: {name: P}, customer: {name: C}}
time_zone: UTC
currency: EUR
term: {from: 1970-01-01, until: 1973-01-01}
period: year
services: {web: {title: Web, monthly_charge: "100.00"}}
objectives:
  availability: {service: web, probe: PROBE, measure: availability, target: ">= 99.9%", outage: {after: 1}, credit: {flat: 5%}}
  success: {service: web, probe: PROBE, measure: success, target: ">= 99%", credit: {flat: 5%}}
"#;

/// An agent as the collector knows it.
fn known(agent: Uuid) -> KnownAgent {
    let name = format!("agent-{}", agent.as_u128() & 0xffff);
    KnownAgent {
        agent,
        name: Name::new(&name).expect("a name"),
        first_seen_s: 0,
        labels: vec![(0, Labels::new())],
        last_report_end_s: None,
        evidence_keys: Vec::new(),
    }
}

/// Takes the report of a window.
fn take(windows: &mut Windows, agent: Uuid, seq: u64, payload: Vec<u8>) {
    let record = StoredRecord {
        stream: stream(1),
        agent,
        seq,
        seq_to: seq,
        kind: Kind::Report,
        window_start_s: 0,
        received_s: 0,
        payload,
    };
    add_record(std::slice::from_mut(windows), &known(agent), &record).expect("there is room");
}

impl World {
    /// The verdicts on the store are those on the windows that were measured and of which it is not said that they are
    /// lost.
    ///
    /// # Errors
    /// Where they differ.
    pub fn check_verdicts(&self, lost: &BTreeSet<u64>) -> Result<(), String> {
        if self.nodes.len() > AGENTS_MAX {
            return Ok(());
        }
        let text = AGREEMENT.replace("PROBE", PROBE);
        let agreement = Agreement::load(&[("truth.yaml", &text)]).expect("is sound").agreement;
        let (mut stored, mut measured) =
            (Windows::for_agreement(&agreement), Windows::for_agreement(&agreement));
        let mut kept = BTreeSet::new();
        for (_, stream) in self.collector.store.streams() {
            for row in stream.rows.iter().filter(|row| row.kind == Kind::Report) {
                kept.extend(window_of(&row.payload));
                take(&mut stored, stream.agent, row.held.seq, row.payload.clone());
            }
        }
        for node in &self.nodes {
            let durable = node.promises.iter().map(|promise| promise.window);
            // What became durable while the process died was never promised, but measured all the same.
            let unsaid = kept.iter().copied().filter(|window| node.measured(*window));
            let all: BTreeSet<u64> = durable.chain(unsaid).collect();
            for window in all.difference(lost) {
                take(&mut measured, node.id, *window, report(*window, 0));
            }
        }
        for year in YEARS {
            let label = PeriodLabel::parse(year).expect("a year");
            let question = Question { label, as_of_s: None, signed: true };
            let verdict = |windows| {
                let verdict = judge(&agreement, windows, &Exclusions::default(), &question);
                verdict.expect("can be judged").to_json().to_string()
            };
            let (stored, measured) = (verdict(&stored), verdict(&measured));
            if stored != measured {
                return Err(format!("of {year} the store says {stored}, and {measured} is true"));
            }
        }
        Ok(())
    }
}
