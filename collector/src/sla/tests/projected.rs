//! What is certain of response times while a period is open, what it will cost, and how far the next band is away.

use super::live::up_but;
use super::*;
use crate::sla::verdict::{Budget, Distance};

const MS: u64 = 1_000_000;
const BANDS: &str = "credit: {bands: [{below: 99.95%, rate: 10%}, {below: 99.8%, rate: 25%}, {below: 99%, rate: 50%}]}";

/// A month as of a minute: the verdict of the last objective.
fn ask(bench: &Bench, minute: i64) -> Verdict {
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: Some(april() + minute * 60), signed: true };
    judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question).expect("judged")
}

fn last(bench: &Bench, minute: i64) -> ObjectiveVerdict {
    ask(bench, minute).objectives.pop().expect("has objectives")
}

/// The first of April as of a minute: the verdict of the first objective that is of the day.
fn day(bench: &Bench, minute: usize) -> ObjectiveVerdict {
    let label = PeriodLabel::parse("2026-04-01").expect("a label");
    let as_of_s = april() + i64::try_from(minute).expect("small") * 60;
    let question = Question { label, as_of_s: Some(as_of_s), signed: true };
    judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question)
        .expect("judged")
        .objectives
        .remove(0)
}

/// What is projected and the next band: `10% -> 25% < 99.8% 3888s`, `-` for none.
fn costs(verdict: &ObjectiveVerdict) -> String {
    let rate = verdict.credit.as_ref().map(|line| worth(&line.worth));
    let next = verdict.next_band.as_ref().map(|next| {
        let away = match &next.away {
            Distance::Seconds(seconds) => format!("{seconds}s"),
            Distance::Attempts(attempts) => attempts.to_string(),
            Distance::Value(away) => verdict.measure.unit().text(away),
        };
        let threshold = crate::verdict::threshold_text(verdict.measure.unit(), &next.threshold);
        format!("{} {threshold} {away}", worth(&next.worth))
    });
    let text = |text: Option<String>| text.unwrap_or("-".to_owned());
    format!("{} -> {}", text(rate), text(next))
}

// === certainty ===

/// 1 440 attempts in the day, of which 72 may be slower than 1 ms or fail; every one so far took 1 ms.
#[test]
fn a_percentile_is_certain_by_what_is_still_scheduled() {
    let keys = r#"measure: {percentile: 95%, phase: total}, target: "<= 1ms", period: day"#;
    for (bad, minutes, status) in [
        (0, 1_300, Status::OnTrack),
        (53, 1_300, Status::OnTrack),
        (54, 1_300, Status::AtRisk),
        (72, 200, Status::AtRisk),
        (73, 200, Status::BreachCertain),
        (0, 1_368, Status::MetCertain),
        (0, 1_367, Status::OnTrack),
        (7, 1_375, Status::MetCertain),
        (8, 1_375, Status::OnTrack),
        (72, 1_440, Status::Met),
        (73, 1_440, Status::Breached),
    ] {
        let mut bench = Bench::of(&[("fast", keys)]);
        bench.timeline("berlin-1", april(), &up_but(bad, minutes));
        let verdict = day(&bench, minutes);
        assert_eq!(verdict.status, status, "{bad} of {minutes}");
        let left = 72 - i64::try_from(bad).expect("small");
        assert_eq!(verdict.budget_left, Some(Budget::Attempts(left)));
    }
}

/// 24 attempts a day, of which ⌈95 % of 24⌉ = 23 must be fast, be they there yet or not.
#[test]
fn ranks_count_the_attempts_to_come() {
    let keys = r#"measure: {percentile: 95%, phase: total}, target: "< 2ms", period: day"#;
    for (timeline, status) in [
        ("", Status::Pending),
        ("M", Status::Pending),
        ("D", Status::AtRisk),
        ("DD", Status::BreachCertain),
        ("DUUUUUUUUUUUUUUUUUUUUUU", Status::AtRisk),
        ("UUUUUUUUUUUUUUUUUUUUUUU", Status::MetCertain),
        ("UUUUUUUUUUUUUUUUUUUUUU", Status::OnTrack),
        // One that is lost is one fewer: ⌈95 % of 23⌉ = 22.
        ("DMUUUUUUUUUUUUUUUUUUUUU", Status::AtRisk),
    ] {
        let mut bench = Bench::of(&[("fast", keys)]);
        (bench.width_s, bench.interval_s) = (60, 3_600);
        for (hour, state) in (0_i64..).zip(timeline.chars()) {
            bench.timeline("berlin-1", april() + hour * 3_600, &state.to_string());
        }
        assert_eq!(day(&bench, timeline.len() * 60).status, status, "{timeline}");
    }
}

/// An attempt in a bucket that straddles the target may be good or bad: neither end is certain before it must not matter.
#[test]
fn what_lies_in_a_cut_bucket_is_undecided() {
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
    let keys = r#"measure: {percentile: 95%, phase: total}, target: "<= 1ms", period: day"#;
    // One more attempt by a second agent, and one that it may still start: 72 of 1 442 may be bad.
    let status = |bad, minutes, cut| {
        let mut bench = Bench::of(&[("fast", keys)]);
        bench.timeline("berlin-1", april(), &up_but(bad, minutes));
        let labels = Labels::new();
        let observed = Observed {
            agent: "berlin-2",
            labels: &labels,
            probe: "call",
            spec: [0; 16],
            start_s: april(),
            width_s: 60,
            interval_s: 86_400,
            counts: Counts { ok: 1, ..Counts::default() },
            flagged: false,
            content: [0; 16],
            phases: &cut,
        };
        assert_eq!(bench.windows.add(&observed), Ok(Added::New));
        day(&bench, minutes).status
    };
    assert_eq!(status(0, 1_369, Cut(1, 1)), Status::MetCertain);
    assert_eq!(status(0, 1_369, Cut(0, 1)), Status::OnTrack);
    assert_eq!(status(0, 1_370, Cut(0, 1)), Status::MetCertain);
    assert_eq!(status(72, 200, Cut(0, 0)), Status::BreachCertain);
    assert_eq!(status(72, 200, Cut(0, 1)), Status::AtRisk);
    assert_eq!(status(73, 200, Cut(0, 1)), Status::BreachCertain);
}

/// Four failures on the way to an outage of five will not count once it is one: neither end is certain before.
#[test]
fn attempts_that_an_outage_may_swallow_make_nothing_certain() {
    let available = r#"measure: availability, target: ">= 50%", outage: {after: 5}"#;
    let fast = r#"measure: {percentile: 99.999%, phase: total}, target: "<= 1ms""#;
    let status = |during: &str, end: &str| {
        let fast = format!("{fast}{during}");
        let mut bench = Bench::of(&[("available", available), ("fast", &fast)]);
        bench.timeline("berlin-1", april(), &format!("{}{end}", "U".repeat(1_000)));
        last(&bench, 1_000 + i64::try_from(end.len()).expect("short")).status
    };
    assert_eq!(status("", "DDDD"), Status::AtRisk, "a fifth would make it an outage");
    assert_eq!(status("", "DDDDU"), Status::BreachCertain, "it is none");
    assert_eq!(status("", "DDDDD"), Status::OnTrack, "it was one");
    assert_eq!(status(", during: always", "DDDD"), Status::BreachCertain);
    // The other end: an outage that goes on swallows the two good attempts in it, and slow ones may follow.
    let fast = r#"measure: {percentile: 50%, phase: total}, target: "<= 1ms", period: day"#;
    for (until, status) in [(2, Status::MetCertain), (3, Status::OnTrack)] {
        let available = format!(
            r#"measure: availability, target: ">= 50%", outage: {{after: 2, until: {until}}}"#
        );
        let mut bench = Bench::of(&[("available", &available), ("fast", fast)]);
        let timeline = format!("{}DDUU", "U".repeat(717));
        bench.timeline("berlin-1", april(), &timeline);
        assert_eq!(day(&bench, 721).status, status, "until {until}");
    }
}

/// Of a mean nothing is ever certain: one attempt may take an hour.
#[test]
fn a_mean_is_never_certain() {
    for (target, minutes, status) in [
        ("<= 1ms", 0, Status::Pending),
        ("<= 1ms", 1_439, Status::OnTrack),
        ("< 1ms", 1_439, Status::AtRisk),
        ("< 1ms", 1, Status::AtRisk),
        ("<= 1ms", 1_440, Status::Met),
        ("< 1ms", 1_440, Status::Breached),
    ] {
        let keys = format!(r#"measure: {{mean: total}}, target: "{target}", period: day"#);
        let mut bench = Bench::of(&[("fast", &keys)]);
        bench.timeline("berlin-1", april(), &up_but(0, minutes));
        let verdict = day(&bench, minutes);
        assert_eq!((verdict.status, verdict.budget_left), (status, None), "{target} {minutes}");
    }
    // Known windows without a sample miss nothing yet.
    let mut bench = Bench::of(&[("fast", r#"measure: {mean: total}, target: "<= 1ms""#)]);
    bench.timeline("berlin-1", april(), "DD");
    assert_eq!(last(&bench, 2).status, Status::OnTrack);
}

// === what it will cost ===

/// 43 200 minutes: 99.95 % are broken beyond 1 296 s, 99.8 % beyond 5 184 s, 99 % beyond 25 920 s.
#[test]
fn a_projected_credit_comes_with_the_last_of_the_budget() {
    let keys = format!(r#"measure: availability, target: ">= 99.95%", {BANDS}"#);
    for (downs, expected) in [
        (0, "- -> 10% < 99.95% 1297s"),
        (21, "- -> 10% < 99.95% 37s"),
        (22, "10% -> 25% < 99.8% 3865s"),
        (86, "10% -> 25% < 99.8% 25s"),
        (87, "25% -> 50% < 99% 20701s"),
        (433, "50% -> -"),
    ] {
        let mut bench = Bench::of(&[("a", &keys)]);
        bench.timeline("berlin-1", april(), &up_but(downs, 4_320));
        let verdict = ask(&bench, 4_320);
        assert!(verdict.is_open());
        let objective = &verdict.objectives[0];
        assert_eq!(costs(objective), expected, "{downs}");
        assert_eq!(objective.credit.is_some(), objective.status == Status::BreachCertain);
        // At the period's end with nothing else gone wrong, the same is due.
        let rest = "U".repeat(MINUTES_OF_APRIL - 4_320);
        bench.timeline("berlin-1", april() + 4_320 * 60, &rest);
        let closed = bench.ask("2026-04", None);
        assert!(!closed.is_open());
        assert_eq!(closed.objectives[0].credit, objective.credit);
        assert_eq!(closed.objectives[0].next_band, None);
        assert_eq!(closed.credits, verdict.credits);
    }
}

/// A band that the rest of the period cannot reach is none.
#[test]
fn what_cannot_happen_any_more_is_no_next_band() {
    let keys = format!(r#"measure: availability, target: ">= 99.95%", {BANDS}"#);
    let costs_at = |minutes: usize| {
        let mut bench = Bench::of(&[("a", &keys)]);
        bench.timeline("berlin-1", april(), &up_but(0, minutes));
        costs(&last(&bench, i64::try_from(minutes).expect("small")))
    };
    assert_eq!(costs_at(43_200 - 22), "- -> 10% < 99.95% 1297s");
    assert_eq!(costs_at(43_200 - 21), "- -> -");
}

#[test]
fn a_flat_credit_begins_with_the_breach() {
    let keys = r#"measure: success, target: "> 99%", credit: {flat: 5%}"#;
    for (downs, expected) in
        [(0, "- -> 5% <= 99% 432"), (431, "- -> 5% <= 99% 1"), (432, "5% -> -")]
    {
        let mut bench = Bench::of(&[("a", keys)]);
        bench.timeline("berlin-1", april(), &up_but(downs, 4_320));
        assert_eq!(costs(&last(&bench, 4_320)), expected, "{downs}");
    }
}

/// 100 attempts a day of which five may be worse than the target, and five worse than each band.
#[test]
fn bands_of_a_percentile_are_attempts_away() {
    let bands = "credit: {bands: [{above: 3s, rate: 10%}, {above: 10s, rate: 20%}, {above: 20s, rate: 30%}]}";
    let keys = format!(
        r#"measure: {{percentile: 95%, phase: total}}, target: "<= 2s", period: day, {bands}"#
    );
    let s = 1_000 * MS;
    for (slow, expected) in [
        (vec![], "- -> 10% > 3s 6"),
        // Slower than the target, but not than the first band.
        (vec![2 * s + 1; 6], "- -> 10% > 3s 6"),
        (vec![3 * s + 1; 4], "- -> 10% > 3s 2"),
        (vec![3 * s + 1; 6], "10% -> 20% > 10s 6"),
        // One more beyond 3 s is enough, be all the others beyond 20 s.
        (vec![60 * s; 5], "- -> 10% > 3s 1"),
        (vec![60 * s; 6], "30% -> -"),
    ] {
        let mut bench = Bench::of(&[("fast", &keys)]);
        bench.interval_s = 864;
        for (index, ns) in (0_i64..).zip(&slow) {
            bench.cell(
                "berlin-1",
                april() + index * 60,
                Counts { ok: 1, ..Counts::default() },
                *ns,
            );
        }
        let left = u32::try_from(50 - slow.len()).expect("few");
        bench.cell("berlin-1", april() + 3_600, Counts { ok: left, ..Counts::default() }, MS);
        assert_eq!(costs(&day(&bench, 720)), expected, "{}", slow.len());
    }
}

/// A band that is milder than the target begins with the breach; of several such the most severe counts.
#[test]
fn the_next_band_is_never_before_the_breach() {
    let s = 1_000 * MS;
    let share = r#"measure: success, target: ">= 90%", credit: {bands: [{below: 99%, rate: 10%}, {at_most: 90%, rate: 15%}, {below: 80%, rate: 20%}]}"#;
    let percentile = r#"measure: {percentile: 90%, phase: total}, target: "< 2s", credit: {bands: [{above: 1s, rate: 10%}, {at_least: 2s, rate: 15%}, {above: 2s, rate: 20%}]}"#;
    for (keys, ns, failed, expected) in [
        (share, MS, 4, "- -> 15% < 90% 1"),
        (share, MS, 5, "15% -> 20% < 80% 4"),
        (percentile, 2 * s, 0, "15% -> 20% > 2s 3"),
        (percentile, MS, 0, "- -> 15% >= 2s 3"),
    ] {
        let mut bench = Bench::of(&[("a", &format!("{keys}, period: day"))]);
        // 40 attempts a day for shares, 20 for durations; half of them are there.
        bench.interval_s = if keys == share { 1_728 } else { 3_600 };
        let ok = if keys == share { 20 - failed } else { 10 };
        bench.cell("berlin-1", april(), Counts { ok, failed, ..Counts::default() }, ns);
        let minute = if keys == share { 864 } else { 840 };
        assert_eq!(costs(&day(&bench, minute)), expected, "{keys}");
    }
}

#[test]
fn a_mean_costs_what_it_costs_now() {
    let bands = "credit: {bands: [{above: 45ms, rate: 10%}, {at_least: 50ms, rate: 20%}]}";
    let keys = format!(r#"measure: {{mean: total}}, target: "<= 45ms", {bands}"#);
    for (ns, expected) in [
        (1_000_000, "- -> 10% > 45ms 44ms"),
        (45_000_000, "- -> 10% > 45ms 0s"),
        (46_200_000, "10% -> 20% >= 50ms 3.8ms"),
        (50_000_000, "20% -> -"),
    ] {
        let mut bench = Bench::of(&[("fast", &keys)]);
        bench.cell("berlin-1", april(), Counts { ok: 1, ..Counts::default() }, ns);
        assert_eq!(costs(&last(&bench, 10)), expected, "{ns}");
    }
    let bench = Bench::of(&[("fast", &keys)]);
    assert_eq!(costs(&last(&bench, 10)), "- -> -", "nothing is known");
}

/// Combination and cap are those of the period's end; what is not countersigned costs nothing, now or then.
#[test]
fn projected_credits_are_combined_and_capped() {
    let objectives = [
        ("first", r#"measure: availability, target: ">= 99.95%", credit: {flat: 10%}"#),
        ("second", r#"measure: success, target: ">= 99.95%", credit: {flat: 25%}"#),
    ];
    let mut bench = Bench::new(agreement(&objectives, "credits: {cap: 30%}"));
    bench.timeline("berlin-1", april(), &up_but(100, 4_320));
    let verdict = ask(&bench, 4_320);
    let currency = &verdict.credits.currency;
    let text = |money| currency.text(money);
    assert_eq!(text(&verdict.credits.sum), "4200.00");
    assert_eq!(text(&verdict.credits.payable), "3600.00");
    let json = verdict.to_json();
    let credits = r#"{"sum":"0.00","payable":"0.00","currency":"EUR","projected":"3600.00"}"#;
    assert_eq!(json["credits"].to_string(), credits);
    let second = &json["objectives"][1];
    assert_eq!(second["credit"], serde_json::Value::Null, "a credit exists only for a breach");
    assert_eq!(second["credit_projected"]["amount"], "2400.00");

    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: Some(april() + 4_320 * 60), signed: false };
    let unsigned =
        judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question).expect("judged");
    for objective in unsigned.objectives {
        assert_eq!((objective.credit, objective.next_band), (None, None));
    }
}
