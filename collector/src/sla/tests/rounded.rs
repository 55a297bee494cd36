//! Percentages that are rounded before they are compared, against figures that were worked out by hand.

use super::live::up_but;
use super::*;
use crate::sla::verdict::Budget;

const AVAILABLE: &str = r#"measure: availability, target: ">= 99.95%", round: {places: 2}"#;

fn available(keys: &str, timeline: &str) -> ObjectiveVerdict {
    let mut bench = Bench::of(&[("a", &format!("{AVAILABLE}, {keys}"))]);
    bench.timeline("berlin-1", april(), timeline);
    bench.april()
}

/// 99.945 % and more are 99.95 %: 1,425 of 2,592,000 s may be Down, not 1,296.
#[test]
fn a_rounded_value_is_the_value() {
    for (minutes, expected, status, left) in [
        (21, "99.950000%", Status::Met, 165),
        (22, "99.950000%", Status::Met, 105),
        (23, "99.950000%", Status::Met, 45),
        (24, "99.940000%", Status::Breached, -15),
    ] {
        let verdict = available("", &month_with(500, &"D".repeat(minutes)));
        assert_eq!((value(&verdict).as_str(), verdict.status), (expected, status), "{minutes}");
        assert_eq!(verdict.budget_left, Some(Budget::Seconds(left)), "{minutes}");
        let up = (MINUTES_OF_APRIL - minutes) * 60;
        assert_eq!(exact(&verdict), format!("{up}/2592000"), "exact stays unrounded");
    }
}

/// It is the rounded value that is in a band, and that points are missed by.
#[test]
fn bands_and_points_are_of_the_rounded_value() {
    // 24 minutes: 99.944444 %, which is 99.94 %; 28: 99.935185 %, which is 99.94 % too; 29: 99.932870 %.
    for (minutes, credit, expected) in [
        (24, "bands: [{below: 99.95%, rate: 10%}, {at_most: 99.94%, rate: 25%}]", Some("25%")),
        (28, "bands: [{below: 99.95%, rate: 10%}, {below: 99.94%, rate: 25%}]", Some("10%")),
        (29, "bands: [{below: 99.95%, rate: 10%}, {below: 99.94%, rate: 25%}]", Some("25%")),
        (23, "bands: [{below: 99.95%, rate: 10%}]", None),
        (28, "linear: 1", Some("0.01%")),
        (29, "linear: 1", Some("0.02%")),
        (24, "by: excess, bands: [{at_least: 0.01%, rate: 7%}]", Some("7%")),
    ] {
        let keys = format!("credit: {{{credit}}}");
        let verdict = available(&keys, &month_with(500, &"D".repeat(minutes)));
        let line = verdict.credit.map(|line| worth(&line.worth));
        assert_eq!(line.as_deref(), expected, "{minutes}: {credit}");
    }
}

/// What lies beyond the budget is not rounded: 1,440 of 1,296 s that the target itself allows.
#[test]
fn excess_down_time_is_that_of_the_target() {
    let keys = "credit: {per: {every: 1s, of: excess_downtime, rate: 0.1%}}";
    let line = available(keys, &month_with(500, &"D".repeat(24))).credit.expect("is due");
    assert_eq!(number::short(&line.units.expect("by the unit")), "144");
}

#[test]
fn a_rounded_breach_is_certain_later() {
    for (downs, status) in [
        (17, Status::OnTrack),
        (18, Status::AtRisk),
        (23, Status::AtRisk),
        (24, Status::BreachCertain),
    ] {
        let mut bench = Bench::of(&[("a", AVAILABLE)]);
        // Late in the month, where the value itself is good.
        bench.timeline("berlin-1", april(), &up_but(downs, 43_000));
        let as_of = "2026-04-30T20:40:00+02:00";
        let verdict = bench.ask("2026-04", Some(as_of)).objectives.remove(0);
        assert_eq!(verdict.status, status, "{downs}");
    }
}

/// What may be either way is decided where both ends round to the same side.
#[test]
fn the_ends_of_the_band_are_rounded_too() {
    for (unknown, status) in [(23, Status::Met), (24, Status::Inconclusive)] {
        let verdict =
            available("unknown: {coverage: 100%}", &month_with(500, &"-".repeat(unknown)));
        assert_eq!(verdict.status, status, "{unknown}");
    }
}

/// 98.5 % are 99 %, and 98.4 % are 98 %.
#[test]
fn other_percentages_are_rounded() {
    for (measure, target, bad, expected, status) in [
        ("success", ">= 99%", 15, "99.000000%", Status::Met),
        ("success", ">= 99%", 16, "98.000000%", Status::Breached),
        ("success", "> 98%", 15, "99.000000%", Status::Met),
        ("{within: 2s, phase: total}", ">= 99%", 15, "99.000000%", Status::Met),
        ("{mean_success: 5m}", ">= 99%", 15, "99.000000%", Status::Met),
        ("{mean_success: 5m}", ">= 99%", 16, "98.000000%", Status::Breached),
    ] {
        let keys = format!(
            r#"measure: {measure}, target: "{target}", round: {{places: 0}}, period: day, unknown: {{as: up}}, hours: minutes"#
        );
        let hours = "calendars: {minutes: {weekly: {mon-sun: \"00:00-00:05\"}}}";
        let mut bench = Bench::new(agreement(&[("a", &keys)], hours));
        let counts = Counts { ok: 1_000 - bad, failed: bad, ..Counts::default() };
        bench.cell("berlin-1", april(), counts, 1_000_000);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        assert_eq!((value(&verdict).as_str(), verdict.status), (expected, status), "{keys}");
    }
}

/// The mean of periods is that of their rounded values: 99.945 % and 99.935 % are 99.95 % and 99.94 %.
#[test]
fn periods_are_averaged_by_what_was_compared() {
    // 100,000 attempts a day.
    for (combine, below, right) in [
        ("mean_of_periods", "99.945%", false),
        ("mean_of_periods", "99.9451%", true),
        ("pooled", "99.94%", false),
        ("pooled", "99.9401%", true),
    ] {
        let rule = format!(
            "termination: [{{objective: a, mean_below: {below}, over: 2, combine: {combine}}}]"
        );
        let keys = r#"measure: success, target: ">= 10%", round: {places: 2}, period: day, unknown: {as: up}"#;
        let mut bench = Bench::new(agreement(&[("a", keys)], &rule));
        for (day, failed) in [(0, 55), (1, 65)] {
            let counts = Counts { ok: 100_000 - failed, failed, ..Counts::default() };
            bench.cell("berlin-1", april() + day * 86_400, counts, 1_000_000);
        }
        assert_eq!(bench.ask("2026-04-02", None).termination_right, right, "{combine} {below}");
    }
}
