//! Down time and outages as promises of their own.

use super::{Desk, Evidence, agreement};
use serde_json::json;

const APRIL: &str = "2026-04-01T00:00:00+02:00";

/// Three outages of 17, 12 and 3 minutes in a month that is otherwise Up.
fn month() -> Evidence {
    Evidence::new().timeline("berlin-1", APRIL, "U1000 D17 U500 D12 U500 D3 U41168")
}

fn judged(keys: &str, evidence: &Evidence, words: &str) -> serde_json::Value {
    Desk::new(&agreement("", &[("a", keys)]), evidence).first(&format!("--period 2026-04 {words}"))
}

/// ICANN's name servers may be unreachable for 432 minutes a month; here it is half an hour.
#[test]
fn down_time_is_promised_in_minutes() {
    let credit = "credit: {bands: [{above: 30m, rate: 10%}, {above: 2h, rate: 50%}]}";
    let found = judged(&format!("measure: downtime, target: \"<= 30m\", {credit}"), &month(), "");
    for (key, expected) in [
        ("status", json!("breached")),
        ("value", json!("1920s")),
        ("band", json!(["1920s", "1920s"])),
        ("coverage", json!("100.000000%")),
        (
            "seconds",
            json!({"eligible": 2_592_000, "up": 2_590_080, "down": 1_920, "unknown": 0, "excluded": 0}),
        ),
        ("uncertainty", json!({"downtime_s": [1_740, 2_100], "confidence": "95%"})),
        ("budget_left_s", json!(-120)),
        ("credit", json!({"rate": "10%", "base": "12000.00", "amount": "1200.00"})),
    ] {
        assert_eq!(found[key], expected, "{key}");
    }
    assert_eq!(found["outages"].as_array().map(Vec::len), Some(3));
    assert_eq!(found.get("exact"), None, "nothing was divided");
}

#[test]
fn outages_are_counted_and_measured() {
    for (keys, value, status, left) in [
        ("measure: outages, target: \"<= 3\"", "3", "met", ("budget_left_outages", 0)),
        ("measure: outages, target: \"< 3\"", "3", "breached", ("budget_left_outages", -1)),
        ("measure: longest_outage, target: \"<= 17m\"", "1020s", "met", ("budget_left_s", 0)),
        (
            "measure: longest_outage, target: \"<= 15m\"",
            "1020s",
            "breached",
            ("budget_left_s", -120),
        ),
    ] {
        let found = judged(keys, &month(), "");
        assert_eq!(
            (found["value"].as_str(), found["status"].as_str()),
            (Some(value), Some(status))
        );
        assert_eq!(found[left.0], left.1, "{keys}");
        assert_eq!(found.get("band"), None, "{keys}");
    }
}

/// While a month is open: what more than is allowed is certain, and how far the next band is away.
#[test]
fn down_time_is_certain_before_the_month_is_over() {
    let as_of = "--as-of 2026-04-02T00:00:00+02:00";
    let credit = "credit: {bands: [{above: 10m, rate: 10%}, {at_least: 1h, rate: 50%}]}";
    for (measure, minutes, status, next) in [
        ("downtime", 7, "on_track", json!({"rate": "10%", "threshold": "> 600s", "away_s": 181})),
        ("downtime", 8, "at_risk", json!({"rate": "10%", "threshold": "> 600s", "away_s": 121})),
        (
            "downtime",
            11,
            "breach_certain",
            json!({"rate": "50%", "threshold": ">= 3600s", "away_s": 2_940}),
        ),
        (
            "longest_outage",
            7,
            "on_track",
            json!({"rate": "10%", "threshold": "> 600s", "away": "181s"}),
        ),
        (
            "longest_outage",
            11,
            "breach_certain",
            json!({"rate": "50%", "threshold": ">= 3600s", "away": "2940s"}),
        ),
    ] {
        let evidence =
            Evidence::new().timeline("a", APRIL, &format!("U100 D{minutes} U{}", 1_340 - minutes));
        let keys = format!("measure: {measure}, target: \"<= 10m\", {credit}");
        let found = judged(&keys, &evidence, as_of);
        assert_eq!(
            (&found["status"], &found["next_band"]),
            (&status.into(), &next),
            "{keys} {minutes}"
        );
    }
}
