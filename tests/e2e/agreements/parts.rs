//! Means over intervals, good days, and values that are rounded.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::json;

/// T17: of intervals with 10 of 100 failed, 0 of 900 and none at all, the mean of error rates is that of three: the empty
/// one has none. Together it were 10 of 1,000.
#[test]
fn the_mean_of_intervals_is_not_that_of_attempts() {
    let keys = "period: day\ncalendars: {quarter: {weekly: {mon-fri: \"09:00-09:15\"}}}";
    let rest = "hours: quarter, unknown: {as: up}, credit: {bands: [{below: 99%, rate: 10%}, {below: 96%, rate: 50%}]}";
    let mut evidence = Evidence::new();
    let nine = seconds("2026-04-14T09:00:00+02:00");
    evidence.cell("a", nine + 60, &json!({"ok": 90, "failed": {"status": 10}}));
    evidence.cell("a", nine + 300, &json!({"ok": 900}));
    for (measure, value, exact, payable) in [
        ("{mean_success: 5m}", "96.666667%", "29/30", "40.00"),
        ("success", "99.000000%", "990/1000", "0.00"),
    ] {
        let objective = format!("measure: {measure}, target: \">= 99%\", {rest}");
        let found = Desk::new(&agreement(keys, &[("errors", &objective)]), &evidence)
            .judge("--period 2026-04-14");
        let errors = &found["objectives"][0];
        assert_eq!((&errors["value"], &errors["exact"]), (&value.into(), &exact.into()));
        assert_eq!(found["credits"]["payable"], payable, "{measure}");
        if measure != "success" {
            assert_eq!((&errors["intervals"], &errors["intervals_empty"]), (&3.into(), &1.into()));
        }
    }
}

/// T35: a page is fast on a day when two of its three attempts took two seconds at most. Three days of a quarter of 92 were
/// not: 96.739130 %, which costs the first band of three months' charge.
#[test]
fn three_bad_days_of_a_quarter() {
    let keys = "measure: {good_days: {within: 2s, phase: total, at: 60%}}, target: \">= 97%\", \
                credit: {bands: [{below: 97%, rate: 5%}, {below: 94%, rate: 10%}]}";
    let took =
        |ms: [u64; 3]| json!({"ok": 3, "phases": {"total": {"ns": ms.map(|ms| ms * 1_000_000)}}});
    let mut evidence = Evidence::new();
    evidence.interval_s = 86_400;
    let first = seconds("2026-07-01T00:00:00+02:00");
    for day in 0..92 {
        let says = match day {
            10 | 45 => took([2_001, 900, 3_000]),
            91 => {
                json!({"ok": 1, "failed": {"timeout": 2}, "phases": {"total": {"ns": [900_000_000]}}})
            }
            // One slow attempt of three does not matter.
            20..40 => took([2_000, 900, 2_001]),
            _ => took([2_000, 900, 900]),
        };
        evidence.cell("a", first + day * 86_400, &says);
    }
    let found = Desk::new(&agreement("period: quarter", &[("days", keys)]), &evidence)
        .judge("--period 2026-Q3");
    let days = &found["objectives"][0];
    for (key, expected) in [
        ("status", json!("breached")),
        ("value", json!("96.739130%")),
        ("exact", json!("89/92")),
        ("credit", json!({"rate": "5%", "base": "36000.00", "amount": "1800.00"})),
    ] {
        assert_eq!(days[key], expected, "{key}");
    }
}

/// "As calculated by rounding to the second decimal point": 23 minutes of a month are 99.946759 %, which is 99.95 %.
#[test]
fn a_value_is_rounded_where_that_is_agreed() {
    let rounded = "round: {places: 2}, ";
    for (round, minutes, value, status, payable) in [
        ("", 21, "99.951389%", "met", "0.00"),
        ("", 22, "99.949074%", "breached", "1200.00"),
        (rounded, 22, "99.950000%", "met", "0.00"),
        (rounded, 23, "99.950000%", "met", "0.00"),
        (rounded, 24, "99.940000%", "breached", "3000.00"),
    ] {
        let keys = format!(
            "measure: availability, target: \">= 99.95%\", {round}\
             credit: {{bands: [{{below: 99.95%, rate: 10%}}, {{at_most: 99.94%, rate: 25%}}]}}"
        );
        let april = "2026-04-01T00:00:00+02:00";
        let timeline = format!("U1000 D{minutes} U{}", 42_200 - minutes);
        let evidence = Evidence::new().timeline("a", april, &timeline);
        let found =
            Desk::new(&agreement("", &[("up", &keys)]), &evidence).judge("--period 2026-04");
        let up = &found["objectives"][0];
        assert_eq!((&up["value"], &up["status"]), (&value.into(), &status.into()), "{minutes}");
        assert_eq!(up["exact"], format!("{}/2592000", (43_200 - minutes) * 60));
        assert_eq!(found["credits"]["payable"], payable, "{round}{minutes}");
    }
}
