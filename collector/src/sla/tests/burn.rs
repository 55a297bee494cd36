//! How fast a budget is being used while a period is open.

use super::*;
use crate::sla::burn::{Burn, Rate, length_text};

/// A pair as text: its windows and factor, both rates, and what it does.
fn pair(burn: &Burn) -> String {
    let rate = |of: &Rate| of.rate.as_ref().map_or("none".to_owned(), number::short);
    let state = match (burn.is_frozen(), burn.is_firing()) {
        (true, _) => "frozen",
        (false, true) => "fires",
        (false, false) => "quiet",
    };
    let (long, short) = (length_text(burn.long.window_s), length_text(burn.short.window_s));
    let factor = number::short(&burn.factor);
    format!("{long}/{short} {factor}: {} {} {state}", rate(&burn.long), rate(&burn.short))
}

fn pairs(verdict: &ObjectiveVerdict) -> Vec<String> {
    verdict.burn.iter().map(pair).collect()
}

/// The pairs of April at a minute of it.
fn at_minute(bench: &Bench, minute: i64) -> ObjectiveVerdict {
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: Some(april() + minute * 60), signed: true };
    judge(&bench.agreement, &bench.windows, &bench.exclusions, &question)
        .expect("judged")
        .objectives
        .remove(0)
}

/// What is seen of an objective with so many attempts a minute for so many minutes, of which `bad` tells how many fail.
fn attempts(
    keys: &str,
    (a_minute, minutes): (u32, i64),
    bad: impl Fn(i64) -> u32,
) -> ObjectiveVerdict {
    let mut bench = Bench::of(&[("a", keys)]);
    for minute in 0..minutes {
        let failed = bad(minute);
        let counts = Counts { ok: a_minute - failed, failed, ..Counts::default() };
        bench.cell("berlin-1", april() + minute * 60, counts, 1_000_000);
    }
    at_minute(&bench, minutes)
}

const SUCCESS: &str = r#"measure: success, target: ">= 99.9%""#;

/// T31: 18 of 1,250 are 1.44 %, which is 14.4 times the 0.1 % that may fail.
#[test]
fn a_pair_fires_from_its_factor_on() {
    let hour = |minute: i64| if minute >= 60 { 18 } else { 0 };
    let found = attempts(SUCCESS, (1_250, 120), hour);
    assert_eq!(
        pairs(&found),
        ["1h/5m 14.4: 14.4 14.4 fires", "6h/30m 6: 7.2 14.4 frozen", "3d/6h 1: 7.2 7.2 frozen",]
    );
    let just_below = |bad_minute| move |minute| hour(minute) - u32::from(minute == bad_minute);
    // One attempt less, in the last five minutes and before.
    let found = attempts(SUCCESS, (1_250, 120), just_below(119));
    assert_eq!(pairs(&found)[0], "1h/5m 14.4: 14.386667 14.24 quiet");
    let found = attempts(SUCCESS, (1_250, 120), just_below(60));
    assert_eq!(pairs(&found)[0], "1h/5m 14.4: 14.386667 14.4 quiet");
    // It was bad enough, but is over.
    let over = |minute: i64| if (60..115).contains(&minute) { 30 } else { 0 };
    assert_eq!(pairs(&attempts(SUCCESS, (1_250, 120), over))[0], "1h/5m 14.4: 22 0 quiet");
}

/// 0.6 % over 6 h and 30 min; 0.1 % over 3 d and 6 h.
#[test]
fn slower_pairs_look_back_longer() {
    let found = attempts(SUCCESS, (1_000, 360), |_| 6);
    assert_eq!(pairs(&found)[..2], ["1h/5m 14.4: 6 6 quiet", "6h/30m 6: 6 6 fires"]);
    let found = attempts(SUCCESS, (1_000, 4_320), |_| 1);
    assert_eq!(pairs(&found)[1..], ["6h/30m 6: 1 1 quiet", "3d/6h 1: 1 1 fires"]);
    let found = attempts(SUCCESS, (1_000, 4_320), |minute| u32::from(minute > 0));
    assert_eq!(pairs(&found)[2], "3d/6h 1: 0.999769 1 quiet");
}

/// 54 minutes of an hour Down are 90 %, 14.4 times the 6.25 % that may be.
#[test]
fn time_burns_by_the_second() {
    let keys = r#"measure: availability, target: ">= 93.75%", window: {width: 10s}"#;
    let of = |timeline: &str| {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.width_s = 10;
        bench.interval_s = 10;
        bench.timeline("berlin-1", april(), timeline);
        at_minute(&bench, 60)
    };
    let last = format!("{}{}", "U".repeat(3), "D".repeat(27));
    let hour = format!("{}{}{last}", "U".repeat(33), "D".repeat(297));
    assert_eq!(pairs(&of(&hour))[0], "1h/5m 14.4: 14.4 14.4 fires");
    assert_eq!(pairs(&of(&hour.replacen("UD", "UU", 1)))[0], "1h/5m 14.4: 14.355556 14.4 quiet");
}

/// At 72 times its budget of 43.2 minutes a month, 36 minutes of it are gone after half an hour: the rest lasts for 10.
#[test]
fn what_is_left_lasts_for_so_long() {
    let keys = r#"measure: availability, target: ">= 99.9%""#;
    let of = |downs: usize| {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.timeline("berlin-1", april(), &format!("{}{}", "U".repeat(60), "D".repeat(downs)));
        let minutes = i64::try_from(60 + downs).expect("small");
        let found = at_minute(&bench, minutes);
        (pairs(&found)[0].clone(), found.burn[0].gone_in_s)
    };
    // 2,592 s may be Down, of which 1,800 are; half of each second is.
    assert_eq!(of(30), ("1h/5m 14.4: 500 1000 fires".to_owned(), Some(1_584)));
    assert_eq!(of(44), ("1h/5m 14.4: 733.333333 1000 fires".to_owned(), Some(0)));
    assert_eq!(of(0), ("1h/5m 14.4: 0 0 quiet".to_owned(), None));
}

#[test]
fn every_budget_burns_in_its_own_way() {
    for (keys, expected) in [
        // 43.2 minutes of 30 days are 0.1 %.
        (r#"measure: downtime, target: "<= 2592s""#, "1h/5m 14.4: 250 1000 fires"),
        (
            r#"measure: {percentile: 90%, phase: total}, target: "<= 1s""#,
            "1h/5m 14.4: 2.5 10 quiet",
        ),
        (r#"measure: {within: 1s, phase: total}, target: ">= 99%""#, "1h/5m 14.4: 25 100 fires"),
        (r#"measure: success, target: "> 99%""#, "1h/5m 14.4: 25 100 fires"),
        // Rounded to a whole per cent, 98.5 % are enough.
        (
            r#"measure: availability, target: ">= 99%", round: {places: 0}"#,
            "1h/5m 14.4: 16.666667 66.666667 fires",
        ),
    ] {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.timeline("berlin-1", april(), &format!("{}{}", "U".repeat(45), "D".repeat(15)));
        assert_eq!(pairs(&at_minute(&bench, 60))[0], expected, "{keys}");
    }
    for keys in [
        r#"measure: availability, target: ">= 100%""#,
        r#"measure: downtime, target: "<= 0s""#,
        r#"measure: {mean: total}, target: "<= 1s""#,
        r#"measure: outages, target: "<= 3""#,
        r#"measure: longest_outage, target: "<= 1h""#,
        r#"measure: {mean_success: 1h}, target: ">= 99%""#,
    ] {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.timeline("berlin-1", april(), &"U".repeat(60));
        assert_eq!(pairs(&at_minute(&bench, 60)), [""; 0], "{keys}");
    }
}

/// Attempts that an availability judges as Down time burn its budget, not theirs.
#[test]
fn an_attempt_burns_one_budget() {
    let keys = r#"measure: {within: 1s, phase: total}, target: ">= 99%", during: available"#;
    let mut bench = Bench::of(&[("a", keys), ("b", r#"measure: availability, target: ">= 99%""#)]);
    bench.timeline("berlin-1", april(), &format!("{}{}", "U".repeat(45), "D".repeat(15)));
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: Some(april() + 3_600), signed: true };
    let verdict =
        judge(&bench.agreement, &bench.windows, &bench.exclusions, &question).expect("judged");
    let first: Vec<String> =
        verdict.objectives.iter().map(|judged| pairs(judged)[0].clone()).collect();
    assert_eq!(first, ["1h/5m 14.4: 0 none frozen", "1h/5m 14.4: 25 100 fires"]);
}

/// 57 of 60 minutes are 95 %.
#[test]
fn a_pair_of_which_too_little_is_known_is_frozen() {
    let keys = r#"measure: success, target: ">= 99%""#;
    for (gap, expected) in [
        (0, "1h/5m 14.4: 100 100 fires"),
        (3, "1h/5m 14.4: 100 100 fires"),
        (4, "1h/5m 14.4: 100 100 frozen"),
        (60, "1h/5m 14.4: none none frozen"),
    ] {
        let mut bench = Bench::of(&[("a", keys)]);
        let timeline = format!("{}{}", "-".repeat(gap), "D".repeat(60 - gap));
        bench.timeline("berlin-1", april(), &timeline);
        assert_eq!(pairs(&at_minute(&bench, 60))[0], expected, "{gap}");
    }
    // One minute of the last five is 20 %; one that an outage bridges would be known.
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), &format!("{}U-U", "D".repeat(57)));
    assert_eq!(pairs(&at_minute(&bench, 60))[0], "1h/5m 14.4: 96.610169 50 frozen");
}

/// The minute in progress is not a gap.
#[test]
fn a_window_ends_with_the_last_evaluation_window() {
    let mut bench = Bench::of(&[(
        "a",
        r#"measure: availability, target: ">= 99%", unknown: {coverage: 100%}"#,
    )]);
    bench.timeline("berlin-1", april(), &"U".repeat(61));
    let found = bench.ask("2026-04", Some("2026-04-01T01:00:59+02:00")).objectives.remove(0);
    assert_eq!(pairs(&found)[0], "1h/5m 14.4: 0 0 quiet");
}

/// What is Down at night is not looked at, nor maintenance: the hour before half past eight is half of the evening before.
#[test]
fn a_window_is_so_much_eligible_time() {
    let hours = "calendars:\n  day: {weekly: {mon-sun: \"08:00-18:00\"}}\nmaintenance: {notice: 0s, at_most: 8h, approval: automatic}";
    let keys = r#"hours: day, measure: availability, target: ">= 99%""#;
    let mut bench = Bench::new(agreement(&[("a", keys)], hours));
    let of = |from: &str, count: usize, state: &str, bench: &mut Bench| {
        bench.timeline("berlin-1", at(from), &state.repeat(count));
    };
    of("2026-04-01T08:00:00+02:00", 570, "U", &mut bench);
    of("2026-04-01T17:30:00+02:00", 30, "D", &mut bench);
    of("2026-04-01T18:00:00+02:00", 840, "D", &mut bench);
    of("2026-04-02T08:00:00+02:00", 30, "U", &mut bench);
    let first =
        |bench: &Bench, as_of| pairs(&bench.ask("2026-04", Some(as_of)).objectives[0])[0].clone();
    // 300 hours of service: 2 % of them are 6.
    assert_eq!(first(&bench, "2026-04-02T08:30:00+02:00"), "1h/5m 6: 50 0 quiet");
    // All night it stays as it was in the evening.
    assert_eq!(first(&bench, "2026-04-01T18:00:00+02:00"), "1h/5m 6: 50 100 fires");
    assert_eq!(first(&bench, "2026-04-02T07:00:00+02:00"), "1h/5m 6: 50 100 fires");
    let record = "exclusions:\n  - from: 2026-04-01T17:45:00+02:00\n    until: 2026-04-01T18:00:00+02:00\n    reason: maintenance\n    announced: 2026-03-01T00:00:00+01:00\n    objectives: [\"*\"]\n";
    bench.exclusions = Exclusions::parse("x.yaml", record, &bench.agreement).expect("read");
    assert_eq!(first(&bench, "2026-04-01T18:00:00+02:00"), "1h/5m 5.995: 25 100 fires");
}

#[test]
fn a_window_reaches_back_over_the_beginning_of_the_period() {
    for keys in
        [r#"measure: availability, target: ">= 99%""#, r#"measure: success, target: ">= 99%""#]
    {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.timeline(
            "berlin-1",
            april() - 3_600,
            &format!("{}{}", "D".repeat(60), "U".repeat(30)),
        );
        assert_eq!(pairs(&at_minute(&bench, 30))[0], "1h/5m 14.4: 50 0 quiet", "{keys}");
        // Before the period has begun nothing burns, and after its end neither.
        assert_eq!(pairs(&at_minute(&bench, -1)), [""; 0]);
        assert_eq!(pairs(&at_minute(&bench, 43_200)), [""; 0]);
    }
}

/// A window wider than the short one is taken whole.
#[test]
fn attempts_of_a_wide_window_are_not_cut() {
    let mut bench =
        Bench::of(&[("a", r#"measure: success, target: ">= 99%", window: {width: 15m}"#)]);
    bench.timeline("berlin-1", april(), &format!("{}{}", "U".repeat(48), "D".repeat(12)));
    assert_eq!(pairs(&at_minute(&bench, 60))[0], "1h/5m 14.4: 20 80 fires");
}

/// On the first of May the windows of three days lie in April.
#[test]
fn burn_rates_look_back_over_the_beginning() {
    let label = PeriodLabel::parse("2026-05").expect("a label");
    let span = |bench: &Bench| label.span(bench.agreement.zone()).expect("has bounds");
    let from_s = |bench: &Bench, as_of_s| {
        burn_from_s(&bench.agreement, &bench.exclusions, (label, as_of_s)).expect("has bounds")
    };
    let bench = Bench::of(&[("a", SUCCESS)]);
    let may_s = span(&bench).from_s;
    assert_eq!(from_s(&bench, may_s + 21_600), may_s + 21_600 - 259_200 - 60);
    assert_eq!(from_s(&bench, may_s + 20 * 86_400), may_s, "all of it lies in May");
    // A mean has no budget.
    let bench = Bench::of(&[("a", "measure: {mean: total}, target: \"<= 1s\"")]);
    assert_eq!(from_s(&bench, may_s + 21_600), may_s);
}
