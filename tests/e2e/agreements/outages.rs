//! From windows to states and outages.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::json;

const DAY: &str = "period: day";
/// A Tuesday in summer time.
const MIDNIGHT: &str = "2026-04-14T00:00:00+02:00";

fn judged(keys: &str, evidence: &Evidence) -> serde_json::Value {
    let keys = format!("measure: availability, target: \">= 99%\", unknown: {{as: up}}, {keys}");
    Desk::new(&agreement(DAY, &[("a", &keys)]), evidence).first("--period 2026-04-14")
}

/// T5: of so many agents that said something, so many said Down, every ten minutes another case.
#[test]
fn a_quorum_is_counted_exactly() {
    let cases = [(1, 2), (2, 3), (2, 4), (3, 4), (2, 5), (3, 5), (10, 20), (11, 20)];
    let mut evidence = Evidence::new();
    for (number, (down, agents)) in (0..).zip(cases) {
        for agent in 0..agents {
            let says =
                if agent < down { json!({"failed": {"timeout": 1}}) } else { json!({"ok": 1}) };
            evidence.cell(&format!("agent-{agent}"), seconds(MIDNIGHT) + number * 600, &says);
        }
    }
    let found = judged("vantages: {quorum: 51%}", &evidence);
    let starts: Vec<&str> = found["outages"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|outage| outage["start"].as_str())
        .collect();
    let expected = [
        "2026-04-13T22:10:00Z",
        "2026-04-13T22:30:00Z",
        "2026-04-13T22:50:00Z",
        "2026-04-13T23:10:00Z",
    ];
    assert_eq!(starts, expected, "2 of 3, 3 of 4, 3 of 5, 11 of 20");
    assert_eq!((&found["seconds"]["down"], &found["seconds"]["up"]), (&240.into(), &240.into()));
    // Two of two are too few voices where three are asked for.
    let found = judged("vantages: {quorum: 51%, at_least: 3}", &evidence);
    assert_eq!((&found["seconds"]["down"], &found["seconds"]["up"]), (&240.into(), &180.into()));
}

/// T6: five in a row make an outage, in retrospect from the first; two Unknown windows are bridged, three are not.
#[test]
fn windows_become_outages() {
    for (rule, timeline, minutes) in [
        ("after: 5, bridge: 2", "U D4 U", 0),
        ("after: 5, bridge: 2", "U D7 U", 7),
        ("after: 5, bridge: 2", "U D2 . D3 U", 6),
        ("after: 5, bridge: 2", "U D2 .2 D3 U", 7),
        ("after: 5, bridge: 2", "U D2 .3 D3 U", 0),
        ("after: 5, bridge: 2", "U D5 .3 D3 U", 5),
        ("after: 2, until: 2", "U D2 U D U2 D U", 4),
        ("after: 2, until: 1", "U D2 U D U2 D U", 2),
    ] {
        let evidence = Evidence::new().timeline("a", MIDNIGHT, timeline);
        let found = judged(&format!("outage: {{{rule}}}"), &evidence);
        assert_eq!(found["seconds"]["down"], minutes * 60, "{rule}: {timeline}");
    }
}

/// Where a probe calls every five minutes, its outcome holds until the next call, and no longer.
#[test]
fn an_outcome_holds_until_the_next_attempt() {
    let at = |minute: i64| seconds(MIDNIGHT) + minute * 60;
    let failed = json!({"failed": {"timeout": 1}});
    for (later, down) in [
        (vec![(5, json!({"ok": 1}))], 5),
        (vec![(3, json!({"ok": 1}))], 3),
        (vec![(3, json!({"invalid": {"clock": 1}}))], 3),
        (vec![(5, json!({"missed": {"agent_down": 1}}))], 5),
        (vec![], 5),
        (vec![(5, failed.clone()), (10, json!({"ok": 1}))], 10),
        (vec![(5, failed.clone())], 10),
    ] {
        let mut evidence = Evidence::new();
        evidence.interval_s = 300;
        evidence.cell("a", at(0), &failed);
        for (minute, says) in &later {
            evidence.cell("a", at(*minute), says);
        }
        assert_eq!(judged("", &evidence)["seconds"]["down"], down * 60, "{later:?}");
    }
}

/// Each agent alone: the worst one decides, and is named.
#[test]
fn agents_can_be_judged_one_by_one() {
    let evidence = Evidence::new()
        .timeline("berlin-1", MIDNIGHT, "U5 D U")
        .timeline("oslo-1", MIDNIGHT, "D3 U")
        .timeline("oslo-2", MIDNIGHT, "U");
    let found = judged("vantages: {each: all}", &evidence);
    assert_eq!((&found["agent"], &found["seconds"]["down"]), (&"oslo-1".into(), &180.into()));
    let found = judged("vantages: {each: [berlin-1, oslo-2]}", &evidence);
    assert_eq!((&found["agent"], &found["seconds"]["down"]), (&"berlin-1".into(), &60.into()));
}

/// Three minutes before midnight and two after it are five in a row, and each day has its part.
#[test]
fn streaks_run_over_the_end_of_a_period() {
    let keys = "measure: availability, target: \">= 99%\", unknown: {as: up}, outage: {after: 5}";
    let evidence = Evidence::new().timeline("a", "2026-04-13T23:57:00+02:00", "D5 U");
    let desk = Desk::new(&agreement(DAY, &[("a", keys)]), &evidence);
    for (label, down) in [("2026-04-13", 180), ("2026-04-14", 120)] {
        assert_eq!(desk.first(&format!("--period {label}"))["seconds"]["down"], down, "{label}");
    }
}

/// T9: twelve and three bad samples a minute apart are 13 to 17 minutes, wherever the target lies.
#[test]
fn sampling_leaves_a_bracket() {
    let evidence = Evidence::new().timeline("a", "2026-04-08T10:00:00+02:00", "D12 U").timeline(
        "a",
        "2026-04-15T10:00:00+02:00",
        "D3 U",
    );
    for (target, status) in [("99.96%", "met"), ("99.97%", "breached"), ("99.965%", "met")] {
        let keys = format!("measure: availability, target: \">= {target}\", unknown: {{as: up}}");
        let found = Desk::new(&agreement("", &[("a", &keys)]), &evidence).first("--period 2026-04");
        assert_eq!(found["uncertainty"], json!({"downtime_s": [780, 1_020], "confidence": "95%"}));
        assert_eq!(
            (&found["status"], &found["seconds"]["down"]),
            (&status.into(), &900.into()),
            "{target}"
        );
    }
}

/// T32: 22 minutes are more than the 21.6 of the whole month, on its third day.
#[test]
fn a_breach_is_certain_before_the_month_is_over() {
    let keys = "measure: availability, target: \">= 99.95%\"";
    for (minutes, status) in [(21, "at_risk"), (22, "breach_certain")] {
        let timeline = format!("U1000 D{minutes} U{}", 4_320 - 1_000 - minutes);
        let evidence = Evidence::new().timeline("a", "2026-04-01T00:00:00+02:00", &timeline);
        let desk = Desk::new(&agreement("", &[("a", keys)]), &evidence);
        let found = desk.first("--period 2026-04 --as-of 2026-04-04T00:00:00+02:00");
        assert_eq!(found["status"], status, "{minutes}");
        if minutes == 22 {
            assert_eq!(found["value"], "99.490741%");
        }
    }
}
