//! Means over intervals and good days, against figures that were worked out by hand.

use super::*;
use crate::sla::verdict::Distance;

const MS: u64 = 1_000_000;

/// So many ok and failed attempts in one window.
fn attempts(ok: u32, failed: u32) -> Counts {
    Counts { ok, failed, ..Counts::default() }
}

// === intervals ===

/// A quarter of an hour of each day.
const QUARTER: &str = "calendars: {quarter: {weekly: {mon-sun: \"00:00-00:15\"}}}";

fn mean_success(keys: &str) -> String {
    format!(
        r#"measure: {{mean_success: 5m}}, target: ">= 96%", hours: quarter, period: day, unknown: {{as: up}}, {keys}"#
    )
}

/// T17: 10 of 100 failed, 0 of 900, and nothing at all.
fn t17(keys: &str) -> Bench {
    let mut bench = Bench::new(agreement(&[("errors", &mean_success(keys))], QUARTER));
    for (minute, ok, failed) in [(0, 40, 0), (4, 50, 10), (5, 900, 0)] {
        bench.cell("berlin-1", april() + minute * 60, attempts(ok, failed), MS);
    }
    bench
}

fn day(bench: &Bench, as_of: Option<&str>) -> ObjectiveVerdict {
    bench.ask("2026-04-01", as_of).objectives.remove(0)
}

#[test]
fn the_mean_of_intervals_is_not_the_share_of_all() {
    let verdict = day(&t17(""), None);
    assert_eq!(
        (value(&verdict).as_str(), exact(&verdict).as_str(), verdict.status),
        ("96.666667%", "29/30 of 3, 1 empty", Status::Met)
    );
    assert_eq!((verdict.budget_left, verdict.band), (None, None));
    // Pooled it were 99 %.
    let pooled = mean_success("").replace("{mean_success: 5m}", "success");
    let mut bench = Bench::new(agreement(&[("errors", &pooled)], QUARTER));
    for (minute, ok, failed) in [(0, 40, 0), (4, 50, 10), (5, 900, 0)] {
        bench.cell("berlin-1", april() + minute * 60, attempts(ok, failed), MS);
    }
    assert_eq!(exact(&day(&bench, None)), "990/1000");
}

/// All agents and probes of an interval are one share.
#[test]
fn an_interval_is_of_all_agents() {
    let mut bench = t17("");
    bench.cell("oslo-1", april() + 60, attempts(100, 0), MS);
    // 190 of 200, 900 of 900, nothing.
    assert_eq!(exact(&day(&bench, None)), "59/60 of 3, 1 empty");
}

#[test]
fn nothing_at_all_is_no_mean() {
    let bench = Bench::new(agreement(&[("errors", &mean_success(""))], QUARTER));
    let verdict = day(&bench, None);
    assert_eq!((verdict.status, verdict.value), (Status::Inconclusive, None));
    let few = day(&t17("min_attempts: 1001"), None);
    assert_eq!((few.status, few.reason), (Status::Inconclusive, Some(Reason::Attempts)));
}

/// Hours that begin inside an interval: it counts once, from the period's start on.
#[test]
fn intervals_begin_with_the_period() {
    let hours = "calendars: {quarter: {weekly: {mon-sun: [\"00:03-00:06\", \"00:07-00:08\", \"00:12-00:13\"]}}}";
    let mut bench = Bench::new(agreement(&[("errors", &mean_success(""))], hours));
    for (minute, ok, failed) in [(2, 0, 9), (3, 1, 0), (5, 0, 1), (7, 1, 0), (12, 1, 3)] {
        bench.cell("berlin-1", april() + minute * 60, attempts(ok, failed), MS);
    }
    // 1 of 1, 1 of 2, 1 of 4: the failures of minute 2 were not in hours.
    assert_eq!(exact(&day(&bench, None)), "7/12 of 3, 0 empty");
}

/// Only the intervals of which a second has passed count while the day is open, and nothing is certain.
#[test]
fn intervals_to_come_do_not_count() {
    let bench = t17("credit: {bands: [{below: 96%, rate: 10%}, {below: 90%, rate: 25%}]}");
    for (as_of, expected, status, next) in [
        ("2026-04-01T00:00:00+02:00", "none", Status::Pending, None),
        ("2026-04-01T00:01:00+02:00", "1 of 1, 0 empty", Status::OnTrack, Some(("10%", "4%"))),
        ("2026-04-01T00:05:00+02:00", "9/10 of 1, 0 empty", Status::AtRisk, Some(("25%", "0%"))),
        ("2026-04-01T00:05:01+02:00", "19/20 of 2, 1 empty", Status::AtRisk, Some(("25%", "5%"))),
        ("2026-04-01T00:06:00+02:00", "19/20 of 2, 0 empty", Status::AtRisk, Some(("25%", "5%"))),
        (
            "2026-04-01T00:11:00+02:00",
            "29/30 of 3, 1 empty",
            Status::OnTrack,
            Some(("10%", "0.666667%")),
        ),
    ] {
        let verdict = day(&bench, Some(as_of));
        assert_eq!((exact(&verdict).as_str(), verdict.status), (expected, status), "{as_of}");
        let found = verdict.next_band.as_ref().map(|next| {
            let Distance::Value(away) = &next.away else { panic!("{next:?}") };
            (worth(&next.worth), verdict.measure.unit().text(away))
        });
        let found = found.as_ref().map(|(worth, away)| (worth.as_str(), away.as_str()));
        assert_eq!(found, next, "{as_of}");
        let projected = verdict.credit.map(|line| worth(&line.worth));
        let due = (status == Status::AtRisk).then(|| "10%".to_owned());
        assert_eq!(projected, due, "{as_of}");
    }
}

/// The shares of two days have a mean, and one of all their intervals together.
#[test]
fn intervals_of_several_periods_are_averaged() {
    let rule = |combine: &str| {
        format!(
            "{QUARTER}\ntermination: [{{objective: errors, mean_below: 95%, over: 2, combine: {combine}}}]"
        )
    };
    for (failed, combine, right) in [
        // 29/30 and 28/30 are 95 % together.
        (20, "mean_of_periods", false),
        (21, "mean_of_periods", true),
        (20, "pooled", false),
        (21, "pooled", true),
    ] {
        let keys = mean_success("").replace("96%", "10%");
        let mut bench = Bench::new(agreement(&[("errors", &keys)], &rule(combine)));
        for (day, bad) in [(0, 10), (1, failed)] {
            let start_s = april() + day * 86_400;
            bench.cell("berlin-1", start_s, attempts(100 - bad, bad), MS);
            bench.cell("berlin-1", start_s + 300, attempts(900, 0), MS);
        }
        assert_eq!(bench.ask("2026-04-02", None).termination_right, right, "{failed} {combine}");
    }
}

// === good days ===

/// A quarter of 92 days with three attempts each, of which on some days so many are slow or fail.
fn quarter(keys: &str, bad_days: &[(i64, u32, u32)]) -> Bench {
    let keys = format!(
        r#"measure: {{good_days: {{within: 2s, phase: total, at: 60%}}}}, target: ">= 97%", period: quarter, {keys}"#
    );
    let mut bench = Bench::of(&[("days", &keys)]);
    bench.interval_s = 86_400;
    let noon = at("2026-07-01T12:00:00+02:00");
    for day in 0..92 {
        let (_, slow, failed) =
            bad_days.iter().copied().find(|(bad, ..)| *bad == day).unwrap_or_default();
        let begin_s = noon + day * 86_400;
        bench.cell("berlin-1", begin_s, attempts(3 - slow - failed, 0), 2_000 * MS);
        bench.cell("berlin-1", begin_s + 60, attempts(slow, failed), 2_001 * MS);
    }
    bench
}

fn of_quarter(bench: &Bench) -> ObjectiveVerdict {
    bench.ask("2026-Q3", None).objectives.remove(0)
}

/// T35: three bad ones of 92 are 96.739130 %, in the band below 97 %.
#[test]
fn a_quarter_has_its_good_days() {
    let bands = "credit: {bands: [{below: 97%, rate: 5%}, {below: 94%, rate: 10%}]}";
    // Two of three are enough, one is not; a failed attempt is as bad as a slow one.
    for (bad, expected, status, credit) in [
        (&[][..], "92/92", Status::Met, None),
        (&[(3, 1, 0), (4, 0, 1)], "92/92", Status::Met, None),
        (&[(3, 2, 0), (50, 0, 3)], "90/92", Status::Met, None),
        (&[(3, 2, 0), (50, 0, 3), (91, 1, 1)], "89/92", Status::Breached, Some("5%")),
    ] {
        let verdict = of_quarter(&quarter(bands, bad));
        assert_eq!((exact(&verdict).as_str(), verdict.status), (expected, status), "{bad:?}");
        let line = verdict.credit.as_ref().map(|line| worth(&line.worth));
        assert_eq!(line.as_deref(), credit, "{bad:?}");
        if status == Status::Breached {
            assert_eq!(value(&verdict), "96.739130%");
        }
    }
}

#[test]
fn a_day_without_a_counted_attempt_is_no_day() {
    // All three failed on two days, and failures are left out.
    let verdict = of_quarter(&quarter("failures: exclude", &[(3, 0, 3), (50, 0, 3), (91, 2, 1)]));
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("89/90", Status::Met));
    let bench = Bench::of(&[(
        "days",
        r#"measure: {good_days: {within: 2s, phase: total, at: 60%}}, target: ">= 97%", period: quarter"#,
    )]);
    assert_eq!(of_quarter(&bench).value, None);
}

/// Attempts in Down time belong to the availability, and a day that has no others is no day.
#[test]
fn days_in_down_time_are_judged_once() {
    let days = r#"measure: {good_days: {within: 2s, phase: total, at: 95%}}, target: ">= 97%""#;
    let always = format!("{days}, during: always");
    let available = r#"measure: availability, target: ">= 90%", outage: {after: 2}"#;
    for (keys, expected) in [(days, "28/29"), (always.as_str(), "28/30")] {
        let mut bench = Bench::of(&[("available", available), ("days", keys)]);
        let mut timeline = month_with(0, "").into_bytes();
        // All of the second day is an outage; on the third every tenth minute is bad.
        timeline[1_440..2_880].fill(b'D');
        (2_880..4_320).step_by(10).for_each(|minute| timeline[minute + 5] = b'D');
        bench.timeline("berlin-1", april(), &String::from_utf8(timeline).expect("ASCII"));
        let verdict = bench.ask("2026-04", None).objectives.remove(1);
        assert_eq!(exact(&verdict), expected, "{keys}");
    }
}

/// The days on which clocks change are days like others: 30 of March's 31 are good.
#[test]
fn days_are_local_dates() {
    let keys = r#"measure: {good_days: {within: 2s, phase: total, at: 100%}}, target: ">= 99%""#;
    let mut bench = Bench::of(&[("days", keys)]);
    let march = at("2026-03-01T00:00:00+01:00");
    let hours = 31 * 24 - 1;
    // An attempt an hour. The last of 29 March, which has 23 hours, is slow; the next is of the 30th.
    for hour in 0..hours {
        let slow = hour == 28 * 24 + 22;
        let ns = if slow { 2_001 * MS } else { MS };
        bench.interval_s = 3_600;
        bench.cell("berlin-1", march + hour * 3_600, attempts(1, 0), ns);
    }
    let verdict = bench.ask("2026-03", None).objectives.remove(0);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("30/31", Status::Breached));
    // As of the second day only one is over and one has begun.
    let live = bench.ask("2026-03", Some("2026-03-02T06:00:00+01:00")).objectives.remove(0);
    assert_eq!((exact(&live).as_str(), live.status), ("2/2", Status::OnTrack));
}

/// A histogram bucket that straddles the threshold leaves a day open, and with it the verdict.
#[test]
fn a_cut_bucket_leaves_a_day_open() {
    struct Cut(u32, u32);
    impl Phases for Cut {
        fn at_most(&self, _: &str, _: u64) -> Option<Within> {
            Some(Within { certain: self.0, possible: self.1 })
        }
        fn histogram(&self, _: &str) -> Option<Cow<'_, Histogram>> {
            None
        }
        fn total(&self, _: &str) -> Option<Total> {
            None
        }
        fn counter(&self, _: &str) -> u64 {
            0
        }
    }
    let keys = r#"measure: {good_days: {within: 2s, phase: total, at: 50%}}, target: ">= 100%", period: day, credit: {flat: 5%}"#;
    for (certain, possible, status) in
        [(5, 5, Status::Met), (4, 5, Status::Inconclusive), (3, 4, Status::Breached)]
    {
        let mut bench = Bench::of(&[("days", keys)]);
        let labels = Labels::new();
        let observed = Observed {
            agent: "berlin-1",
            labels: &labels,
            probe: "call",
            spec: [0; 16],
            start_s: april(),
            width_s: 60,
            interval_s: 86_400,
            counts: attempts(10, 0),
            flagged: false,
            content: [0; 16],
            phases: &Cut(certain, possible),
        };
        bench.windows.add(&observed).expect("fits");
        let verdict = day(&bench, None);
        assert_eq!(verdict.status, status, "{certain} {possible}");
        assert_eq!(verdict.credit.is_some(), status == Status::Breached);
    }
}
