//! Ratios of RFC 6076, and objectives on loss and MOS: worked figures, and the definitions applied to raw samples.

use super::*;
use crate::sla::verdict::{Budget, Distance};
use probefleet_proto::extras::ValueUnit;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the calls of one cell told.
#[derive(Clone, Debug, Default)]
struct Calls {
    ok: u32,
    failed: u32,
    counters: BTreeMap<&'static str, u64>,
    /// Of the value that the objective is about, whatever its name.
    values: Vec<u64>,
}

impl Calls {
    fn counted(ok: u32, failed: u32, counters: &[(&'static str, u64)]) -> Self {
        Self { ok, failed, counters: counters.iter().copied().collect(), ..Self::default() }
    }

    fn measured(values: &[u64], without: u32, failed: u32) -> Self {
        let ok = u32::try_from(values.len()).expect("few") + without;
        Self { ok, failed, values: values.to_vec(), ..Self::default() }
    }
}

impl Phases for Calls {
    fn at_most(&self, name: &str, threshold: u64) -> Option<Within> {
        assert!(ValueUnit::of_name(name).is_some(), "{name}");
        let count = self.values.iter().filter(|value| **value <= threshold).count();
        Some(Within::exactly(u32::try_from(count).expect("few")))
    }

    fn histogram(&self, _: &str) -> Option<Cow<'_, Histogram>> {
        let mut histogram = Histogram::new();
        self.values.iter().for_each(|value| {
            histogram.record(*value);
        });
        Some(Cow::Owned(histogram))
    }

    fn total(&self, _: &str) -> Option<Total> {
        let sum_ns = self.values.iter().copied().map(u128::from).sum();
        Some(Total { samples: self.values.len() as u64, sum_ns })
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

impl Bench {
    fn calls(&mut self, minute: usize, calls: &Calls) {
        let labels = Labels::new();
        let observed = Observed {
            agent: "berlin-1",
            labels: &labels,
            probe: self.probe,
            spec: [0; 16],
            start_s: april() + i64::try_from(minute).expect("small") * 60,
            width_s: 60,
            interval_s: 60,
            counts: Counts { ok: calls.ok, failed: calls.failed, ..Counts::default() },
            flagged: self.flagged,
            content: [0; 16],
            phases: calls,
        };
        assert_eq!(self.windows.add(&observed), Ok(Added::New));
    }
}

/// A day on which nothing else is known, judged all the same.
fn day(keys: &str, cells: &[Calls]) -> ObjectiveVerdict {
    let keys = format!("{keys}, period: day, unknown: {{coverage: 0%}}");
    let mut bench = Bench::of(&[("calls", &keys)]);
    cells.iter().enumerate().for_each(|(minute, calls)| bench.calls(minute, calls));
    bench.ask("2026-04-01", None).objectives.remove(0)
}

// === ratios ===

/// 100 calls in two cells: 94 established, of which one was not ended in due form; 2 redirected, 1 busy, 3 of 503.
fn hundred() -> [Calls; 2] {
    let first = [
        ("call_attempts", 60),
        ("established", 58),
        ("redirected", 1),
        ("effective", 59),
        ("completed", 58),
        ("retransmissions", 1_000),
    ];
    let second = [
        ("call_attempts", 40),
        ("established", 36),
        ("redirected", 1),
        ("effective", 36),
        ("ineffective", 3),
        ("completed", 35),
    ];
    [Calls::counted(58, 2, &first), Calls::counted(36, 4, &second)]
}

#[test]
fn ratios_are_added_up_and_compared_exactly() {
    for (ratio, target, status, shown, fraction) in [
        ("ser", ">= 95.9%", Status::Met, "95.918367%", "94/98"),
        ("ser", ">= 96%", Status::Breached, "95.918367%", "94/98"),
        ("seer", "> 96.93%", Status::Met, "96.938776%", "95/98"),
        ("isa", "<= 3%", Status::Met, "3.000000%", "3/100"),
        ("isa", "< 3%", Status::Breached, "3.000000%", "3/100"),
        ("scr", ">= 93%", Status::Met, "93.000000%", "93/100"),
        ("scr", "> 93%", Status::Breached, "93.000000%", "93/100"),
    ] {
        let keys = format!(r#"measure: {{ratio: {ratio}}}, target: "{target}""#);
        let verdict = day(&keys, &hundred());
        assert_eq!(verdict.status, status, "{ratio} {target}");
        assert_eq!((value(&verdict).as_str(), exact(&verdict).as_str()), (shown, fraction));
    }
}

/// RFC 6076 §4.6: a ratio without anything that it is of is undefined.
#[test]
fn a_ratio_of_nothing_has_no_value() {
    for (ratio, target) in [("ira", "<= 5%"), ("ser", ">= 0%")] {
        let keys = format!(r#"measure: {{ratio: {ratio}}}, target: "{target}""#);
        let redirected = [("call_attempts", 2), ("redirected", 2)];
        let verdict = day(&keys, &[Calls::counted(0, 2, &redirected)]);
        assert_eq!((verdict.status, verdict.value), (Status::Inconclusive, None));
    }
}

#[test]
fn registrations_have_their_ratio() {
    let counters = [("registrations", 40), ("registrations_ineffective", 3)];
    let verdict =
        day(r#"measure: {ratio: ira}, target: "<= 7.5%""#, &[Calls::counted(36, 4, &counters)]);
    assert_eq!((verdict.status, exact(&verdict).as_str()), (Status::Met, "3/40"));
}

#[test]
fn attempts_of_a_ratio_are_what_it_is_of() {
    for (least, status) in [(98, Status::Met), (99, Status::Inconclusive)] {
        let keys = format!(r#"measure: {{ratio: ser}}, target: ">= 90%", min_attempts: {least}"#);
        let verdict = day(&keys, &hundred());
        assert_eq!(verdict.status, status, "98 were not redirected");
        let reason = (status == Status::Inconclusive).then_some(Reason::Attempts);
        assert_eq!(verdict.reason, reason);
    }
}

/// Spoiled cells are believed in nothing.
#[test]
fn a_flagged_cell_has_no_calls() {
    let keys = r#"measure: {ratio: isa}, target: "<= 50%", period: day, unknown: {coverage: 0%}"#;
    let mut bench = Bench::of(&[("calls", keys)]);
    let counters = [("call_attempts", 1), ("ineffective", 1)];
    bench.calls(0, &Calls::counted(0, 1, &[("call_attempts", 1)]));
    bench.flagged = true;
    bench.calls(1, &Calls::counted(0, 1, &counters));
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((exact(&verdict).as_str(), verdict.flagged), ("0/1", 1));
}

/// A call a minute, the first `bad` of which a server failed; the day as of a minute.
fn live(keys: &str, bad: usize, minutes: usize) -> ObjectiveVerdict {
    let mut bench = Bench::of(&[("calls", &format!("{keys}, period: day"))]);
    for minute in 0..minutes {
        let calls = if minute < bad {
            Calls::counted(0, 1, &[("call_attempts", 1), ("ineffective", 1)])
        } else {
            Calls::counted(1, 0, &[("call_attempts", 1), ("established", 1)])
        };
        bench.calls(minute, &calls);
    }
    let label = PeriodLabel::parse("2026-04-01").expect("a label");
    let as_of_s = april() + i64::try_from(minutes).expect("small") * 60;
    let question = Question { label, as_of_s: Some(as_of_s), signed: true };
    judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question)
        .expect("judged")
        .objectives
        .remove(0)
}

/// 1 440 calls in the day, of which 72 may be ineffective, or not established: the two say the same here.
#[test]
fn a_ratio_is_certain_by_what_is_still_scheduled_whichever_end_is_good() {
    for (bad, minutes, status) in [
        (0, 1_300, Status::OnTrack),
        (53, 1_300, Status::OnTrack),
        (54, 1_300, Status::AtRisk),
        (72, 200, Status::AtRisk),
        (73, 200, Status::BreachCertain),
        (0, 1_368, Status::MetCertain),
        (0, 1_367, Status::OnTrack),
        (72, 1_440, Status::Met),
        (73, 1_440, Status::Breached),
    ] {
        for keys in [
            r#"measure: {ratio: isa}, target: "<= 5%""#,
            r#"measure: {ratio: ser}, target: ">= 95%""#,
        ] {
            let verdict = live(keys, bad, minutes);
            assert_eq!(verdict.status, status, "{bad} of {minutes}: {keys}");
            let left = 72 - i64::try_from(bad).expect("small");
            assert_eq!(verdict.budget_left, Some(Budget::Attempts(left)));
        }
    }
    let strict = live(r#"measure: {ratio: isa}, target: "< 5%""#, 72, 200);
    assert_eq!(strict.status, Status::BreachCertain, "72 of 1440 are 5 %");
}

#[test]
fn bands_of_a_ratio_stand_at_its_bad_end() {
    let isa = r#"measure: {ratio: isa}, target: "<= 5%", credit: {bands: [{above: 5%, rate: 10%}, {at_least: 10%, rate: 25%}]}"#;
    let ser = r#"measure: {ratio: ser}, target: ">= 95%", credit: {bands: [{below: 95%, rate: 10%}, {at_most: 90%, rate: 25%}]}"#;
    for (bad, rate, next) in [
        (70, None, Some(("10%", 3))),
        (72, None, Some(("10%", 1))),
        (73, Some("10%"), Some(("25%", 71))),
        (143, Some("10%"), Some(("25%", 1))),
        (144, Some("25%"), None),
    ] {
        for keys in [isa, ser] {
            let verdict = live(keys, bad, 1_000);
            let due = verdict.credit.map(|line| worth(&line.worth));
            assert_eq!(due.as_deref(), rate, "{bad}: {keys}");
            let found = verdict.next_band.map(|next| match next.away {
                Distance::Attempts(away) => (worth(&next.worth), away),
                away => panic!("{away:?}"),
            });
            let found = found.as_ref().map(|(rate, away)| (rate.as_str(), *away));
            assert_eq!(found, next, "{bad}: {keys}");
        }
    }
}

// === values ===

#[test]
fn means_of_values_are_in_their_own_unit() {
    let losses = [Calls::measured(&[1_000, 600], 0, 3), Calls::measured(&[801], 1, 0)];
    let scores = [Calls::measured(&[438, 441], 0, 3), Calls::measured(&[436], 1, 0)];
    for (measure, target, cells, status, shown, fraction) in [
        ("loss_ppm", "<= 0.1%", &losses, Status::Met, "0.080033%", "2401/3"),
        ("loss_ppm", "< 0.08%", &losses, Status::Breached, "0.080033%", "2401/3"),
        ("mos_centi", ">= 4.38", &scores, Status::Met, "4.3833", "1315/3"),
        ("mos_centi", "> 4.38", &scores, Status::Met, "4.3833", "1315/3"),
        ("mos_centi", ">= 4.39", &scores, Status::Breached, "4.3833", "1315/3"),
    ] {
        let keys = format!(r#"measure: {{mean: {measure}}}, target: "{target}""#);
        let verdict = day(&keys, cells);
        assert_eq!(verdict.status, status, "{keys}");
        assert_eq!((value(&verdict).as_str(), exact(&verdict).as_str()), (shown, fraction));
    }
}

/// Ten ok calls, one of them without a MOS, and one that failed.
fn scores() -> [Calls; 1] {
    [Calls::measured(&[350, 399, 400, 400, 401, 410, 420, 430, 440], 1, 1)]
}

#[test]
fn within_counts_calls_at_least_as_good() {
    for (limit, good) in [("4.0", 7), ("3.99", 8), ("4.01", 5), ("3.5", 9), ("4.4", 1)] {
        let keys = format!(r#"measure: {{within: {limit}, phase: mos_centi}}, target: ">= 50%""#);
        assert_eq!(exact(&day(&keys, &scores())), format!("{good}/11"), "{limit}");
    }
    let losses = [Calls::measured(&[0, 10_000, 10_001], 1, 1)];
    for (keys, fraction) in [
        (r#"measure: {within: "1%", phase: loss_ppm}, target: ">= 50%""#, "2/5"),
        (r#"measure: {within: "1.0001%", phase: loss_ppm}, target: ">= 50%""#, "3/5"),
        (r#"measure: {within: "0%", phase: loss_ppm}, target: ">= 50%""#, "1/5"),
        (r#"measure: {within: "1%", phase: loss_ppm}, target: ">= 50%", failures: exclude"#, "2/4"),
    ] {
        assert_eq!(exact(&day(keys, &losses)), fraction, "{keys}");
    }
}

/// 60 % of 11 attempts are 6.6: seven must be at least as good as the target.
#[test]
fn a_percentile_of_scores_counts_from_the_good_end() {
    for (q, target, status, shown, counted) in [
        ("60%", ">= 4.0", Status::Met, "4.00", "7/11 of 7"),
        ("60%", "> 4.0", Status::Breached, "4.00", "5/11 of 7"),
        ("60%", ">= 4.01", Status::Breached, "4.00", "5/11 of 7"),
        ("60%", "> 3.99", Status::Met, "4.00", "7/11 of 7"),
        ("1%", ">= 4.4", Status::Met, "4.40", "1/11 of 1"),
        ("81%", ">= 3.5", Status::Met, "3.50", "9/11 of 9"),
        ("90%", ">= 0.01", Status::Breached, "failed", "9/11 of 10"),
    ] {
        let keys = format!(r#"measure: {{percentile: {q}, phase: mos_centi}}, target: "{target}""#);
        let verdict = day(&keys, &scores());
        assert_eq!(verdict.status, status, "{q} {target}");
        assert_eq!((value(&verdict).as_str(), exact(&verdict).as_str()), (shown, counted));
    }
    let losses = [Calls::measured(&[0, 0, 999, 10_000], 0, 0)];
    let keys = r#"measure: {percentile: 75%, phase: loss_ppm}, target: "< 0.1%""#;
    let verdict = day(keys, &losses);
    assert_eq!(
        (verdict.status, value(&verdict).as_str(), exact(&verdict).as_str()),
        (Status::Met, "0.0999%", "3/4 of 3")
    );
}

#[test]
fn bands_of_values_stand_at_their_bad_end() {
    for (keys, rate) in [
        (
            r#"measure: {mean: mos_centi}, target: ">= 4.2", credit: {bands: [{below: 4.1, rate: 5%}, {below: 4.0, rate: 20%}]}"#,
            "5%",
        ),
        (
            r#"measure: {mean: mos_centi}, target: ">= 4.2", credit: {bands: [{at_most: 4.06, rate: 5%}, {below: 4.0, rate: 20%}]}"#,
            "5%",
        ),
        // Of eleven, seven are at least 4.0, five at least 4.01, nine at least 3.5.
        (
            r#"measure: {percentile: 60%, phase: mos_centi}, target: ">= 4.2", credit: {bands: [{below: 4.01, rate: 5%}, {below: 4.0, rate: 20%}]}"#,
            "5%",
        ),
        (
            r#"measure: {percentile: 60%, phase: mos_centi}, target: ">= 4.2", credit: {bands: [{below: 4.01, rate: 5%}, {at_most: 4.0, rate: 20%}]}"#,
            "20%",
        ),
    ] {
        let keys = format!("{keys}, during: always, period: day, unknown: {{coverage: 0%}}");
        let mut bench = Bench::of(&[("calls", &keys)]);
        bench.calls(0, &scores()[0]);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        assert_eq!(verdict.status, Status::Breached, "{keys}: {}", value(&verdict));
        let due = verdict.credit.map(|line| worth(&line.worth));
        assert_eq!(due.as_deref(), Some(rate), "{keys}");
    }
}

/// A mean of scores gets worse downwards.
#[test]
fn the_next_band_of_a_mean_is_as_far_as_it_must_fall() {
    let keys = r#"measure: {mean: mos_centi}, target: ">= 4.2", period: day, credit: {bands: [{below: 4.2, rate: 5%}, {below: 4.0, rate: 20%}]}"#;
    let mut bench = Bench::of(&[("calls", keys)]);
    bench.calls(0, &Calls::measured(&[408, 412], 0, 0));
    let verdict = bench.ask("2026-04-01", Some("2026-04-01T01:00:00+02:00")).objectives.remove(0);
    assert_eq!(verdict.status, Status::AtRisk);
    let next = verdict.next_band.expect("is ahead");
    assert_eq!(next.away, Distance::Value(number::whole(10)), "from 4.10 to 4.00");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// At least ⌈q·n⌉ of n attempts are at least as good as the target, by sorting the raw samples.
    #[test]
    fn percentiles_of_scores_are_those_of_the_raw_samples(
        cells in prop::collection::vec(
            (prop::collection::vec(prop_oneof![398_u64..403, 100_u64..450], 0..8), 0_u32..2, 0_u32..3), 1..6,
        ),
        tenths in 1_usize..=1_000, strict in any::<bool>(), limit in prop_oneof![398_u64..403, 100_u64..450],
    ) {
        let cells: Vec<Calls> = cells
            .iter()
            .map(|(values, without, failed)| Calls::measured(values, *without, *failed))
            .collect();
        let mut best_first: Vec<Option<u64>> = Vec::new();
        for calls in &cells {
            best_first.extend(calls.values.iter().copied().map(Some));
            let worst = calls.ok + calls.failed - u32::try_from(calls.values.len()).expect("few");
            best_first.extend((0..worst).map(|_| None));
        }
        best_first.sort_by(|a, b| b.cmp(a));
        prop_assume!(!best_first.is_empty());
        let operator = if strict { ">" } else { ">=" };
        let keys = format!(
            r#"measure: {{percentile: {}.{}%, phase: mos_centi}}, target: "{operator} {}.{:02}""#,
            tenths / 10, tenths % 10, limit / 100, limit % 100,
        );
        let verdict = day(&keys, &cells);
        let rank = (tenths * best_first.len()).div_ceil(1_000).max(1);
        let expected = best_first[rank - 1];
        let kept = expected.is_some_and(|value| if strict { value > limit } else { value >= limit });
        prop_assert_eq!(verdict.status, if kept { Status::Met } else { Status::Breached }, "{}", keys);
        let Some(Measured::Percentile(it)) = verdict.value else { panic!("{verdict:?}") };
        prop_assert_eq!(it.value, expected, "hundredths have buckets of their own");
    }
}
