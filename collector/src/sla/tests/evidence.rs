//! Evidence in any order, twice, or contradicting itself.

use super::*;
use crate::sla::verdict::Verdict;
use proptest::prelude::*;

const OBJECTIVES: [(&str, &str); 3] = [
    (
        "a",
        r#"measure: availability, target: ">= 90%", period: day, outage: {after: 2}, window: {width: 60s}"#,
    ),
    ("s", r#"measure: success, target: ">= 90%", period: day"#),
    ("w", r#"measure: {within: 1ms, phase: total}, target: ">= 90%", period: day"#),
];

/// A cell: agent, minute, ok, failed, duration.
type Line = (u8, i64, u32, u32, u64);

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line =
        (0..3_u8, -20..20_i64, 0..3_u32, 0..3_u32, prop_oneof![Just(1_000_000), Just(1_000_001)]);
    prop::collection::vec(line, 0..80)
}

fn verdict_of(lines: &[Line]) -> Verdict {
    let mut bench = Bench::of(&OBJECTIVES);
    for line in lines {
        add(&mut bench, *line);
    }
    bench.ask("2026-04-01", None)
}

fn add(bench: &mut Bench, (agent, minute, ok, failed, ns): Line) {
    let counts = Counts { ok, failed, ..Counts::default() };
    bench.cell(&format!("berlin-{agent}"), april() + minute * 60, counts, ns);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_does_not_matter(lines in lines(), seed in any::<u64>()) {
        let mut shuffled = lines.clone();
        let mut state = seed | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        prop_assert_eq!(verdict_of(&lines), verdict_of(&shuffled));
    }

    #[test]
    fn repetition_does_not_matter(lines in lines()) {
        let twice: Vec<Line> = lines.iter().chain(&lines).copied().collect();
        prop_assert_eq!(verdict_of(&lines), verdict_of(&twice));
    }

    #[test]
    fn judging_in_between_does_not_matter(lines in lines(), cut in 0_usize..80) {
        let mut bench = Bench::of(&OBJECTIVES);
        let (first, second) = lines.split_at(cut.min(lines.len()));
        for line in first {
            add(&mut bench, *line);
        }
        let early = bench.ask("2026-04-01", None);
        prop_assert_eq!(early, bench.ask("2026-04-01", None));
        for line in second {
            add(&mut bench, *line);
        }
        prop_assert_eq!(bench.ask("2026-04-01", None), verdict_of(&lines));
    }

    #[test]
    fn every_eligible_second_is_accounted_for(lines in lines(), as_of in 0_i64..1_500) {
        let mut bench = Bench::of(&OBJECTIVES);
        for line in lines {
            add(&mut bench, line);
        }
        let label = PeriodLabel::parse("2026-04-01").unwrap();
        let question = Question { label, as_of_s: Some(april() + as_of * 60), signed: true };
        for objective in judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question).unwrap().objectives {
            let seconds = objective.seconds;
            prop_assert_eq!(seconds.eligible, seconds.up + seconds.down + seconds.unknown);
            prop_assert_eq!(seconds.eligible + seconds.remaining.unwrap_or(0), 86_400);
            let down: u64 = objective.outages.iter().flatten().map(|outage| outage.seconds).sum();
            prop_assert_eq!(down, if objective.outages.is_some() { seconds.down } else { 0 });
            let attempts = objective.attempts;
            prop_assert_eq!(attempts.scheduled, attempts.ok + attempts.failed + attempts.invalid + attempts.missed);
        }
    }
}

#[test]
fn a_conflict_makes_the_window_unknown() {
    let mut bench = Bench::of(&OBJECTIVES);
    let ok = Counts { ok: 1, ..Counts::default() };
    let failed = Counts { failed: 1, ..Counts::default() };
    assert_eq!(bench.cell("berlin-1", april(), ok, 1), Added::New);
    assert_eq!(bench.cell("berlin-1", april(), ok, 1), Added::Duplicate);
    assert_eq!(bench.ask("2026-04-01", None).objectives[0].conflicts, 0);
    assert_eq!(bench.cell("berlin-1", april(), failed, 1), Added::Conflict);
    let verdict = bench.ask("2026-04-01", None);
    for objective in &verdict.objectives {
        assert_eq!((objective.conflicts, objective.seconds.unknown), (1, 86_400));
        assert_eq!((objective.attempts.scheduled, objective.value.clone()), (0, None));
    }
}

#[test]
fn the_digest_tells_inputs_apart() {
    let digest = |lines: &[Line]| verdict_of(lines).inputs_digest;
    let one = digest(&[(0, 0, 1, 0, 1)]);
    assert_eq!(one, digest(&[(0, 0, 1, 0, 1)]));
    assert_eq!(one.len(), "sha256:".len() + 64);
    for other in [
        vec![],
        vec![(0, 1, 1, 0, 1)],
        vec![(1, 0, 1, 0, 1)],
        vec![(0, 0, 1, 0, 2)],
        vec![(0, 0, 0, 1, 1)],
    ] {
        assert_ne!(one, digest(&other), "{other:?}");
    }
    let bench = Bench::of(&OBJECTIVES);
    let label = PeriodLabel::parse("2026-04-01").expect("a label");
    let signed = |signed, as_of_s| {
        judge(
            &bench.agreement,
            &bench.windows,
            &bench.exclusions,
            &Question { label, as_of_s, signed },
        )
        .expect("judged")
        .inputs_digest
    };
    assert_ne!(signed(true, None), signed(false, None));
    assert_ne!(signed(true, None), signed(true, Some(0)));
}

#[test]
fn what_no_objective_uses_is_not_kept() {
    let mut bench = Bench::of(&OBJECTIVES);
    bench.probe = "other";
    assert_eq!(bench.cell("berlin-1", april(), Counts::default(), 1), Added::NotAsked);
    assert!(bench.windows.is_empty());
}

#[test]
fn evidence_can_be_let_go() {
    let mut bench = Bench::of(&OBJECTIVES);
    bench.timeline("berlin-1", april(), &"U".repeat(2_000));
    bench.windows.forget_before(april() + 1_500 * 60);
    assert_eq!(bench.windows.len(), 500);
    assert_eq!(bench.windows.latest_end_s(), Some(april() + 2_000 * 60));
    bench.windows.forget_before(april() + 9_000 * 60);
    assert!(bench.windows.is_empty());
}

#[test]
fn two_specs_in_one_period_are_told() {
    let mut bench = Bench::of(&OBJECTIVES);
    let labels = Labels::new();
    for spec in [1_u8, 2] {
        let observed = Observed {
            agent: "berlin-1",
            labels: &labels,
            probe: "call",
            spec: [spec; 16],
            start_s: april() + i64::from(spec) * 60,
            width_s: 60,
            interval_s: 60,
            counts: Counts { ok: 1, ..Counts::default() },
            flagged: false,
            content: [0; 16],
            phases: &Samples { ns: 1, count: 1 },
        };
        assert_eq!(bench.windows.add(&observed), Ok(Added::New));
    }
    let verdict = bench.ask("2026-04-01", None);
    assert_eq!((verdict.objectives[0].specs, verdict.objectives[0].attempts.ok), (2, 2));
}
