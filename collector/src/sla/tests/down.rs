//! Down time, the longest outage and the number of outages, against figures that were worked out by hand.

use super::*;
use crate::sla::verdict::{Budget, Distance};

/// The verdict on April, or on what of it has passed after so many minutes.
fn judged(keys: &str, timeline: &str, as_of_minute: Option<i64>) -> ObjectiveVerdict {
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), timeline);
    let as_of_s = as_of_minute.map(|minute| april() + minute * 60);
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s, signed: true };
    judge(&bench.agreement, &bench.windows, &bench.exclusions, &question)
        .expect("judged")
        .objectives
        .remove(0)
}

fn closed(keys: &str, timeline: &str) -> ObjectiveVerdict {
    judged(keys, timeline, None)
}

/// Three outages of 17, 12 and 1 minutes.
fn three() -> String {
    let up = "U".repeat(100);
    month_with(1_000, &format!("{}{up}{}{up}D", "D".repeat(17), "D".repeat(12)))
}

// === closed periods ===

/// ICANN's name servers: 432 minutes a month.
#[test]
fn down_time_is_kept_up_to_its_limit() {
    for (minutes, target, status, left) in [
        (432, "<= 432m", Status::Met, 0),
        (433, "<= 432m", Status::Breached, -60),
        (431, "< 432m", Status::Met, 59),
        (432, "< 432m", Status::Breached, -1),
        (0, "<= 0s", Status::Met, 0),
        (1, "<= 0s", Status::Breached, -60),
    ] {
        let keys = format!(r#"measure: downtime, target: "{target}""#);
        let verdict = closed(&keys, &month_with(500, &"D".repeat(minutes)));
        assert_eq!((verdict.status, verdict.budget_left), (status, Some(Budget::Seconds(left))));
        assert_eq!(value(&verdict), format!("{}s", minutes * 60), "{target}");
        assert_eq!(verdict.outages.map(|outages| outages.len()), Some(usize::from(minutes > 0)));
    }
}

#[test]
fn the_longest_outage_and_their_number() {
    for (measure, target, expected, status) in [
        ("longest_outage", "<= 17m", "1020s", Status::Met),
        ("longest_outage", "< 17m", "1020s", Status::Breached),
        ("outages", "<= 3", "3", Status::Met),
        ("outages", "< 3", "3", Status::Breached),
        ("downtime", "<= 30m", "1800s", Status::Met),
        ("downtime", "<= 29m", "1800s", Status::Breached),
    ] {
        let keys = format!(r#"measure: {measure}, target: "{target}""#);
        let verdict = closed(&keys, &three());
        assert_eq!((value(&verdict).as_str(), verdict.status), (expected, status), "{keys}");
    }
    // The single minute is no outage where two are asked for.
    let keys = r#"measure: outages, target: "<= 2", outage: {after: 2}"#;
    assert_eq!(value(&closed(keys, &three())), "2");
}

/// 100 minutes Down, 200 Unknown.
#[test]
fn unknown_time_is_down_only_where_that_is_agreed() {
    let timeline = month_with(1_000, &format!("{}U{}", "D".repeat(100), "-".repeat(200)));
    for (unknown, expected) in [("removed", "6000s"), ("up", "6000s"), ("down", "18000s")] {
        let keys = format!(r#"measure: downtime, target: "<= 1h", unknown: {{as: {unknown}}}"#);
        let verdict = closed(&keys, &timeline);
        assert_eq!(value(&verdict), expected, "{unknown}");
        let band = verdict.band.expect("of Down time").map(|end| verdict.measure.unit().text(&end));
        assert_eq!(band, ["6000s", "18000s"]);
        let keys =
            format!(r#"measure: longest_outage, target: "<= 1h", unknown: {{as: {unknown}}}"#);
        let verdict = closed(&keys, &timeline);
        assert_eq!((value(&verdict).as_str(), &verdict.band), ("6000s", &None), "{unknown}");
    }
}

/// Half of the month is Unknown: what is certain is said all the same of Down time, and of nothing else.
#[test]
fn too_little_coverage_decides_what_is_certain() {
    let timeline = format!("{}{}", "D".repeat(30), "U".repeat(20_000));
    for (keys, status) in [
        (r#"measure: downtime, target: "<= 29m""#, Status::Breached),
        (r#"measure: downtime, target: "<= 30m""#, Status::Inconclusive),
        (r#"measure: downtime, target: "<= 23200m""#, Status::Met),
        (r#"measure: downtime, target: "<= 30m", unknown: {as: up}"#, Status::Met),
        (r#"measure: longest_outage, target: "<= 29m""#, Status::Inconclusive),
        (r#"measure: outages, target: "<= 0""#, Status::Inconclusive),
    ] {
        assert_eq!(closed(keys, &timeline).status, status, "{keys}");
    }
    for measure in ["downtime", "longest_outage"] {
        let keys = format!(r#"measure: {measure}, target: "<= 1h""#);
        let verdict = closed(&keys, "");
        assert_eq!((verdict.status, verdict.value), (Status::Inconclusive, None), "{measure}");
    }
}

/// Of an outage over the end of a month, each has its part and counts it.
#[test]
fn an_outage_over_the_edge_counts_in_both_months() {
    for (measure, parts) in [
        ("outages", ["1", "1"]),
        ("longest_outage", ["300s", "120s"]),
        ("downtime", ["300s", "120s"]),
    ] {
        let target = if measure == "outages" { "<= 2" } else { "<= 1h" };
        let mut bench = Bench::of(&[("a", &format!(r#"measure: {measure}, target: "{target}""#))]);
        bench.timeline("berlin-1", april() - 600, &format!("UUUUU{}UU", "D".repeat(7)));
        for (label, part) in ["2026-03", "2026-04"].iter().zip(parts) {
            assert_eq!(value(&bench.ask(label, None).objectives[0]), part, "{measure} {label}");
        }
    }
}

// === credits ===

#[test]
fn breaches_of_down_time_cost_in_every_form() {
    for (measure, target, credit, expected) in [
        ("downtime", "<= 20m", "flat: 5%", Some("5%")),
        ("downtime", "<= 30m", "flat: 5%", None),
        ("downtime", "<= 20m", "days: 2", Some("2 days")),
        (
            "downtime",
            "<= 5m",
            "bands: [{above: 10m, rate: 10%}, {at_least: 30m, rate: 20%}]",
            Some("20%"),
        ),
        (
            "downtime",
            "<= 5m",
            "bands: [{above: 10m, rate: 10%}, {above: 30m, rate: 20%}]",
            Some("10%"),
        ),
        (
            "downtime",
            "<= 5m",
            "by: excess, bands: [{above: 0s, rate: 1%}, {at_least: 25m, rate: 3%}]",
            Some("3%"),
        ),
        ("downtime", "<= 5m", "by: excess_ratio, bands: [{at_least: 500%, rate: 7%}]", Some("7%")),
        (
            "longest_outage",
            "<= 5m",
            "bands: [{above: 17m, rate: 9%}, {at_least: 17m, rate: 8%}]",
            Some("8%"),
        ),
        ("outages", "<= 1", "bands: [{above: 1, rate: 5%}, {at_least: 3, rate: 15%}]", Some("15%")),
        (
            "outages",
            "<= 1",
            "by: excess, bands: [{above: 0, rate: 5%}, {above: 2, rate: 15%}]",
            Some("5%"),
        ),
        ("outages", "<= 1", "by: downtime, bands: [{at_least: 30m, rate: 12%}]", Some("12%")),
    ] {
        let keys = format!(r#"measure: {measure}, target: "{target}", credit: {{{credit}}}"#);
        let verdict = closed(&keys, &three());
        let line = verdict.credit.map(|line| worth(&line.worth));
        assert_eq!(line.as_deref(), expected, "{keys}");
    }
}

/// 30 minutes Down of which 5 are agreed: 25 more are begun three times ten.
#[test]
fn excess_down_time_is_what_lies_beyond_the_target() {
    for (target, count, units) in [
        ("<= 5m", "up", Some("3")),
        ("<= 5m", "prorata", Some("2.5")),
        ("<= 5m", "down", Some("2")),
        ("<= 30m", "up", None),
    ] {
        let keys = format!(
            r#"measure: downtime, target: "{target}", credit: {{per: {{every: 10m, of: excess_downtime, days: 1, count: {count}}}}}"#
        );
        let line = closed(&keys, &three()).credit;
        let found = line.map(|line| number::short(&line.units.expect("by the unit")));
        assert_eq!(found.as_deref(), units, "{target} {count}");
    }
}

/// A day fails by its own Down time: the 17 minutes of the first, not the 12 and the one.
#[test]
fn failed_days_are_those_with_too_much_down_time() {
    let day = 1_440;
    let mut timeline = month_with(0, "").into_bytes();
    for (begin, minutes) in [(100, 17), (day + 100, 12), (2 * day + 100, 1)] {
        timeline[begin..begin + minutes].fill(b'D');
    }
    let timeline = String::from_utf8(timeline).expect("ASCII");
    for (target, units) in [("<= 16m", "1"), ("<= 11m", "2"), ("<= 0s", "3")] {
        let keys = format!(
            r#"measure: downtime, target: "{target}", credit: {{per: {{of: failed_days, days: 1}}}}"#
        );
        let line = closed(&keys, &timeline).credit.expect("is due");
        assert_eq!(number::short(&line.units.expect("by the unit")), units, "{target}");
    }
}

// === live ===

#[test]
fn down_time_is_certain_by_what_is_still_to_come() {
    let keys = r#"measure: downtime, target: "<= 432m""#;
    for (downs, minutes, status) in [
        (0, 4_320, Status::OnTrack),
        (323, 4_320, Status::OnTrack),
        (324, 4_320, Status::AtRisk),
        (432, 4_320, Status::AtRisk),
        (433, 4_320, Status::BreachCertain),
        (0, 42_768, Status::MetCertain),
        (0, 42_767, Status::OnTrack),
        (32, 42_800, Status::MetCertain),
        (33, 42_800, Status::OnTrack),
    ] {
        let timeline = live::up_but(downs, minutes);
        let verdict = judged(keys, &timeline, Some(minutes as i64));
        let left = (432 - downs as i64) * 60;
        assert_eq!(
            (verdict.status, verdict.budget_left),
            (status, Some(Budget::Seconds(left))),
            "{downs} of {minutes}"
        );
    }
    assert_eq!(judged(keys, "", Some(100)).status, Status::Pending);
}

/// What the longest outage and their number may still become is never certain to be good.
#[test]
fn outages_are_certain_only_to_be_too_many_or_too_long() {
    let up = |minutes: usize| "U".repeat(minutes);
    for (keys, timeline, status, left) in [
        (r#"measure: outages, target: "<= 4""#, up(43_199), Status::OnTrack, Budget::Outages(4)),
        (
            r#"measure: outages, target: "<= 4""#,
            "DUDU".to_owned(),
            Status::OnTrack,
            Budget::Outages(2),
        ),
        (
            r#"measure: outages, target: "<= 4""#,
            "DUDUDU".to_owned(),
            Status::AtRisk,
            Budget::Outages(1),
        ),
        (
            r#"measure: outages, target: "<= 4""#,
            "DUDUDUD".to_owned(),
            Status::AtRisk,
            Budget::Outages(0),
        ),
        (
            r#"measure: outages, target: "<= 4""#,
            "DUDUDUDUD".to_owned(),
            Status::BreachCertain,
            Budget::Outages(-1),
        ),
        (r#"measure: outages, target: "<= 0""#, up(9), Status::OnTrack, Budget::Outages(0)),
        (
            r#"measure: longest_outage, target: "<= 4m""#,
            up(43_199),
            Status::OnTrack,
            Budget::Seconds(240),
        ),
        (
            r#"measure: longest_outage, target: "<= 4m""#,
            "DDUDD".to_owned(),
            Status::OnTrack,
            Budget::Seconds(120),
        ),
        (
            r#"measure: longest_outage, target: "<= 4m""#,
            "DDDU".to_owned(),
            Status::AtRisk,
            Budget::Seconds(60),
        ),
        (
            r#"measure: longest_outage, target: "<= 4m""#,
            "DDDDDU".to_owned(),
            Status::BreachCertain,
            Budget::Seconds(-60),
        ),
    ] {
        let verdict = judged(keys, &timeline, Some(timeline.len() as i64));
        assert_eq!((verdict.status, verdict.budget_left), (status, Some(left)), "{keys}");
    }
}

#[test]
fn the_next_band_of_outages_says_how_far_it_is() {
    let bands = "credit: {bands: [{above: 1, rate: 5%}, {at_least: 3, rate: 15%}]}";
    let outages = format!(r#"measure: outages, target: "<= 1", {bands}"#);
    let bands = "credit: {bands: [{above: 2m, rate: 5%}, {at_least: 10m, rate: 15%}]}";
    let longest = format!(r#"measure: longest_outage, target: "<= 2m", {bands}"#);
    let downtime = format!(r#"measure: downtime, target: "<= 2m", {bands}"#);
    for (keys, timeline, projected, next, away) in [
        (&outages, "DU", None, "5%", Distance::Value(number::whole(1))),
        (&outages, "DUDU", Some("5%"), "15%", Distance::Value(number::whole(1))),
        (&longest, "DDU", None, "5%", Distance::Value(measure::in_ns(1))),
        (&longest, "DDDU", Some("5%"), "15%", Distance::Value(measure::in_ns(420))),
        (&downtime, "DUDUDU", Some("5%"), "15%", Distance::Seconds(420)),
    ] {
        let verdict = judged(keys, timeline, Some(timeline.len() as i64));
        let line = verdict.credit.map(|line| worth(&line.worth));
        assert_eq!(line.as_deref(), projected, "{keys} {timeline}");
        let found = verdict.next_band.expect("costs more");
        assert_eq!((worth(&found.worth).as_str(), found.away), (next, away), "{keys} {timeline}");
    }
}

/// The same figures for spreadsheets, each in the column of its unit.
#[test]
fn spreadsheets_have_a_column_for_each_unit() {
    let mut bench = Bench::of(&[
        ("down", r#"measure: downtime, target: "<= 29m""#),
        ("number", r#"measure: outages, target: "<= 4""#),
    ]);
    bench.timeline("berlin-1", april(), &three());
    let text = crate::verdict::csv::render(&bench.ask("2026-04", None));
    let rows: Vec<Vec<&str>> =
        text.lines().map(|line| line.trim_end().split(',').collect()).collect();
    let field = |row: usize, column: &str| {
        let place = rows[0].iter().position(|name| *name == column).expect("a column");
        rows[row][place]
    };
    assert_eq!((field(1, "value_seconds"), field(1, "value_count")), ("1800.000000000", ""));
    assert_eq!((field(2, "value_seconds"), field(2, "value_count")), ("", "3"));
    assert_eq!((field(1, "budget_left"), field(2, "budget_left")), ("-60 s", "1 outages"));
}
