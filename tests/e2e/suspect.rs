//! An agent that was stopped for a while, as a machine does that has no time for it: what it measured meanwhile blames
//! nobody.

use crate::page::noon;
use harness::command::{run, shell};
use harness::evidence::{records, reports};
use harness::fleet::{Fleet, get, start_responder};
use harness::process::eventually;
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// How long the agent stands still: its attempt in flight has a deadline of four seconds.
const STOPPED: Duration = Duration::from_secs(5);
/// Within that it notices that the deadline has passed.
const ENOUGH: Duration = Duration::from_millis(200);
/// How long it may take until a report is in.
const REPORTED: Duration = Duration::from_secs(60);
const SLOW: &str = "/delay/1500ms";

const AGREEMENT: &str = r#"
agreement: shop
version: 1
kind: sla
level: service
title: Web shop
parties: {provider: {name: P}, customer: {name: C}}
time_zone: NOON
currency: EUR
term: {from: 2020-01-01, until: 2090-01-01}
period: day
services: {shop: {monthly_charge: "3000.00"}}
objectives:
  availability:
    service: shop
    probe: slow
    measure: availability
    target: ">= 100%"
    window: {width: 10s, bad: "> 0%"}
    vantages: {quorum: 51%, at_least: 1}
    outage: {after: 1, until: 1}
    credit: {flat: 10%}
"#;

/// Requests for the slow page so far.
fn asked(target: &str) -> u64 {
    let (_, body) = get(target, "/requests");
    let json: Value = serde_json::from_str(&body).expect("is JSON");
    json["requests"][SLOW].as_u64().unwrap_or(0)
}

/// Windows with a flag (start in Unix s), and the failed attempts of all that have none, and of all that have.
fn flagged(fleet: &Fleet) -> (Vec<u64>, u64, u64) {
    let (mut windows, mut failed, mut failed_flagged) = (Vec::new(), 0, 0);
    for (_, report) in reports(&records(&fleet.store())) {
        let cells = report.cells.unwrap_or_default();
        let kinds = cells.other_kind.iter().zip(&cells.other_count);
        let count: u64 = kinds.filter(|(kind, _)| **kind == 1).map(|(_, n)| u64::from(*n)).sum();
        if report.health.unwrap_or_default().flags == 0 {
            failed += count;
        } else {
            windows.push(report.window_start_s);
            failed_flagged += count;
        }
    }
    (windows, failed, failed_flagged)
}

fn verdict(fleet: &Fleet) -> Value {
    let config = fleet.collector_config();
    let line = format!(
        "probefleet-collector report --agreement shop --format json --config {}",
        config.display()
    );
    let ran = run(&mut shell(fleet.dir(), &line), "", REPORTED);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

#[test]
fn what_an_agent_measured_while_it_stood_still_makes_no_credit() {
    let log = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let (responder, target) = start_responder(&log.keep().expect("a log"));
    let plan = format!(
        "probes:\n  - {{name: slow, every: 5s, timeout: 4s, http: {{url: 'http://{target}{SLOW}'}}}}\n"
    );
    let mut fleet = Fleet::new(&plan, &[("shop.yaml", &AGREEMENT.replace("NOON", &noon()))]);
    let collector = fleet.start_collector().agents;
    fleet.add_agent("berlin", "berlin", &collector, &target);
    fleet.start_agent("berlin");
    assert!(eventually(REPORTED, || (asked(&target) > 0).then_some(())).is_some(), "probes run");

    let before = asked(&target);
    let in_flight = || (asked(&target) > before).then_some(());
    assert!(eventually(REPORTED, in_flight).is_some(), "an attempt is in flight");
    // The target does not answer meanwhile; but who stood still himself cannot say how long it did not.
    responder.signal(Signal::STOP);
    fleet.agent("berlin").signal(Signal::STOP);
    std::thread::sleep(STOPPED);
    fleet.agent("berlin").signal(Signal::CONT);
    std::thread::sleep(ENOUGH);
    responder.signal(Signal::CONT);
    let seen = eventually(REPORTED, || {
        let (windows, _, failed) = flagged(&fleet);
        (failed > 0).then_some(windows)
    });
    let (windows, failed, _) = flagged(&fleet);
    assert!(seen.is_some(), "the attempt in flight failed and is flagged: {windows:?}");
    assert_eq!(failed, 0, "nothing else has failed");

    let judged = eventually(REPORTED, || {
        let judged = verdict(&fleet)["objectives"][0].clone();
        (judged["flagged"].as_u64() >= Some(1) && judged["seconds"]["up"].as_u64() > Some(0))
            .then_some(judged)
    });
    let judged = judged.unwrap_or_else(|| panic!("{}", verdict(&fleet)));
    assert_eq!(judged["seconds"]["down"], 0, "{judged}");
    assert_ne!(judged["status"], "breach_certain", "{judged}");
    let projected = judged["credit_projected"]["amount"].as_str().unwrap_or("0.00").to_owned();
    assert_eq!(projected, "0.00", "{judged}");

    let portal = fleet.addresses().expect("listens").portal;
    let (_, metrics) = get(&portal, "/metrics");
    let figure = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let line = line.unwrap_or_else(|| panic!("no {name}:\n{metrics}"));
        line.rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).expect("a number")
    };
    assert!(figure("probefleet_agent_suspect_reports_total") >= 1.0);
    assert!(figure("probefleet_agent_spool_bytes") > 0.0);
    assert!(figure("probefleet_agent_spool_limit_bytes") > 0.0);
    assert!(figure("probefleet_agent_clock_error_seconds") > 0.0);
}
