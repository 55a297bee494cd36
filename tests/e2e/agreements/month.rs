//! A whole month of the sample agreement.

use super::{Desk, Evidence, instant, seconds};
use serde_json::json;
use std::fmt::Write as _;

/// A hosted switchboard: availability by three agents, call set-up, a predefined query in office hours, latency.
const AGREEMENT: &str = r#"
agreement: acme-voice
version: 1
kind: sla
level: service
title: Hosted voice for ACME
overview: Calls from ACME's three sites through the hosted PBX.
not_included: [Handsets, In-house cabling]
parties:
  provider: {name: Voxtel GmbH, contact: sla@voxtel.example}
  customer: {name: ACME AG, contact: it@acme.example}
  auditors: [{name: Neutral Audits, contact: audit@neutral.example}]
responsibilities:
  - {party: customer, text: Keeps UDP 5060 open towards the SBC.}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: month
services:
  voice: {title: Hosted voice, monthly_charge: "12000.00"}
calendars:
  office:
    weekly: {mon-fri: "08:00-18:00"}
    holidays: [2026-04-03, 2026-04-06]
maintenance: {notice: 48h, at_most: 8h, approval: automatic}
objectives:
  availability:
    service: voice
    probe: voice-call
    agents: {site: berlin}
    measure: availability
    target: ">= 99.95%"
    vantages: {quorum: 51%, at_least: 3}
    outage: {after: 2, until: 1, bridge: 2}
    exclusions: removed
    unknown: {as: removed, coverage: 95%}
    credit:
      bands: [{below: 99.95%, rate: 10%}, {below: 99.8%, rate: 25%}, {below: 99%, rate: 50%}]
  call-setup:
    service: voice
    probe: voice-call
    measure: {percentile: 95%, phase: session_request_delay}
    target: "<= 3s"
    credit: {flat: 5%}
  month-end-query:
    service: voice
    probe: month-end-query
    hours: office
    measure: {percentile: 90%, phase: query}
    target: "<= 4s"
    credit: {flat: 5%}
  latency:
    {service: voice, probe: voice-rtt, measure: {mean: total}, target: "<= 45ms", credit: {days: 1}}
credits: {combine: sum, cap: 30%, sole_remedy: true, claim: automatic}
termination:
  - {breached: 3, of_last: 6}
close: {grace: 72h, dispute: 30d}
"#;

/// The first maintenance was announced five days before, the second twenty hours.
const RECORDS: &str = "exclusions:
  - from: 2026-04-12T01:00:00+02:00
    until: 2026-04-12T03:00:00+02:00
    reason: maintenance
    announced: 2026-04-07T09:00:00+02:00
    objectives: [\"*\"]
  - from: 2026-04-19T04:00:00+02:00
    until: 2026-04-19T06:00:00+02:00
    reason: maintenance
    announced: 2026-04-18T08:00:00+02:00
";

const APRIL: &str = "2026-04-01T00:00:00+02:00";
const MINUTES: i64 = 43_200;

/// The minute of April at a local date and time.
fn minute(day: i64, hour: i64, minute: i64) -> i64 {
    ((day - 1) * 24 + hour) * 60 + minute
}

/// One call of each of three agents in every minute, but for what went wrong.
fn calls(lines: &mut String) {
    let start_s = seconds(APRIL);
    let failures = [
        (minute(3, 10, 0), 17),  // Good Friday, 10:00
        (minute(5, 12, 0), 1),   // alone: no outage
        (minute(12, 1, 10), 90), // in announced maintenance
        (minute(19, 4, 0), 12),  // in what was announced too late
    ];
    let (late, silent) = ((minute(20, 0, 0), 2_100), (minute(6, 12, 0), 40));
    let within = |at: i64, (from, length): (i64, i64)| (from..from + length).contains(&at);
    for at in 0..MINUTES {
        let start = instant(start_s + at * 60);
        for agent in 1..=3 {
            if agent == 3 && within(at, silent) {
                continue;
            }
            let delay_ns = if within(at, late) { 4_000_000_000_u64 } else { 1_830_000_000 };
            let outcome = if failures.iter().any(|stretch| within(at, *stretch)) {
                r#""ok":0,"failed":{"timeout":1}"#.to_owned()
            } else {
                format!(r#""ok":1,"phases":{{"session_request_delay":{{"ns":[{delay_ns}]}}}}"#)
            };
            writeln!(
                lines,
                r#"{{"agent":"berlin-{agent}","labels":{{"site":"berlin"}},"probe":"voice-call","start":"{start}","width_s":60,"interval_s":60,{outcome}}}"#
            )
            .expect("a String");
        }
    }
}

/// A probe of one agent that takes so long every five minutes.
fn every_five_minutes(lines: &mut String, probe: &str, phase: &str, took_ns: impl Fn(i64) -> u64) {
    let start_s = seconds(APRIL);
    for at in (0..MINUTES).step_by(5) {
        let (start, ns) = (instant(start_s + at * 60), took_ns(at));
        writeln!(
            lines,
            r#"{{"agent":"berlin-1","labels":{{"site":"berlin"}},"probe":"{probe}","start":"{start}","width_s":60,"interval_s":300,"ok":1,"phases":{{"{phase}":{{"ns":[{ns}]}}}}}}"#
        )
        .expect("a String");
    }
}

/// T39: a whole month of the sample agreement, to the cent.
#[test]
fn a_month_comes_out_to_the_cent() {
    let mut evidence = Evidence::new();
    calls(&mut evidence.lines);
    // Two working days and ten queries of the next morning are late: 250 of 2,400.
    let late = |at: i64| (minute(7, 0, 0)..minute(9, 8, 50)).contains(&at);
    every_five_minutes(&mut evidence.lines, "month-end-query", "query", |at| {
        if late(at) { 4_000_000_001 } else { 2_000_000_000 }
    });
    every_five_minutes(&mut evidence.lines, "voice-rtt", "total", |_| 46_200_000);
    let desk = Desk::new(AGREEMENT, &evidence);
    desk.write("x.yaml", RECORDS);
    let verdict = desk.judge("--exclusions x.yaml --period 2026-04");
    let objective = |index: usize| verdict["objectives"][index].clone();

    let available = objective(0);
    for (key, expected) in [
        ("status", json!("breached")),
        ("value", json!("99.932621%")),
        ("exact", json!("2580660/2582400")),
        ("band", json!(["99.839833%", "99.932683%"])),
        ("coverage", json!("99.907149%")),
        (
            "seconds",
            json!({"eligible": 2_584_800, "up": 2_580_660, "down": 1_740, "unknown": 2_400, "excluded": 7_200}),
        ),
        (
            "outages",
            json!([
                {"start": "2026-04-03T08:00:00Z", "end": "2026-04-03T08:17:00Z", "seconds": 1_020},
                {"start": "2026-04-19T02:00:00Z", "end": "2026-04-19T02:12:00Z", "seconds": 720},
            ]),
        ),
        ("uncertainty", json!({"downtime_s": [1_620, 1_860], "confidence": "95%"})),
        ("credit", json!({"rate": "10%", "base": "12000.00", "amount": "1200.00"})),
    ] {
        assert_eq!(available[key], expected, "{key}");
    }
    // Three calls in each of 43,011 minutes and two in each of 40; three failed alone, and 2,100 minutes were late.
    let setup = objective(1);
    assert_eq!(
        (&setup["status"], &setup["exact"], &setup["needed"]),
        (&"met".into(), &"122810/129113".into(), &122_658.into())
    );
    assert_eq!(setup.get("credit"), None);
    let query = objective(2);
    assert_eq!(
        (&query["status"], &query["exact"], &query["needed"]),
        (&"breached".into(), &"2150/2400".into(), &2_160.into())
    );
    assert_eq!(query["credit"], json!({"rate": "5%", "base": "12000.00", "amount": "600.00"}));
    let latency = objective(3);
    assert_eq!((&latency["status"], &latency["value"]), (&"breached".into(), &"46.2ms".into()));
    assert_eq!(latency["credit"], json!({"days": "1", "base": "12000.00", "amount": "400.00"}));
    assert_eq!(
        verdict["credits"],
        json!({"sum": "2200.00", "payable": "2200.00", "currency": "EUR"})
    );
    assert_eq!(verdict["termination_right"], false, "one month is breached, not three");
}
