//! What closed periods come to.

use super::*;

const AVAILABLE: &str = r#"measure: availability, target: ">= 99.95%""#;

fn available(keys: &str) -> (&'static str, String) {
    ("available", format!("{AVAILABLE}, {keys}"))
}

fn bench(keys: &str) -> Bench {
    let (name, keys) = available(keys);
    Bench::of(&[(name, &keys)])
}

/// T1, `remove`: 120 of 43 200 minutes are not eligible, 20 are Down.
#[test]
fn a_month_less_two_hours() {
    let services =
        "services: {voice: {monthly_charge: \"12000.00\", active_from: 2026-04-01T02:00:00+02:00}}";
    let mut bench = Bench::new(agreement(&[("available", AVAILABLE)], services));
    bench.timeline("berlin-1", april(), &month_with(60, &"D".repeat(30)));
    let before = bench.april();
    assert_eq!(
        (exact(&before).as_str(), before.seconds.down),
        ("2584800/2584800", 0),
        "Down before it began"
    );
    let mut bench = Bench::new(agreement(&[("available", AVAILABLE)], services));
    bench.timeline("berlin-1", april(), &month_with(20_000, &"D".repeat(20)));
    let verdict = bench.april();
    assert_eq!(
        (value(&verdict).as_str(), exact(&verdict).as_str()),
        ("99.953575%", "2583600/2584800")
    );
    assert_eq!(verdict.status, Status::Met);
    assert_eq!(verdict.budget_left, Some(verdict::Budget::Seconds(92)));
}

/// T1, `count`: nothing is excluded.
#[test]
fn all_of_a_month_counts() {
    let mut bench = bench("exclusions: none");
    bench.timeline("berlin-1", april(), &month_with(20_000, &"D".repeat(50)));
    let verdict = bench.april();
    assert_eq!((value(&verdict).as_str(), verdict.status), ("99.884259%", Status::Breached));
    assert_eq!(verdict.budget_left, Some(verdict::Budget::Seconds(1_296 - 3_000)));
}

/// Events A, B, D and E of the worked month T39, in a month without maintenance.
#[test]
fn the_worked_month() {
    let keys = "vantages: {quorum: 51%, at_least: 3}, outage: {after: 2, until: 1, bridge: 2}, unknown: {as: removed, coverage: 95%}";
    let mut bench = bench(keys);
    let day = 1_440;
    let mut timeline: Vec<u8> = month_with(0, "").into_bytes();
    timeline[2 * day + 600..2 * day + 617].fill(b'D');
    timeline[8 * day] = b'D';
    timeline[18 * day + 240..18 * day + 252].fill(b'D');
    let two = String::from_utf8(timeline.clone()).expect("ASCII");
    timeline[5 * day..5 * day + 40].fill(b'-');
    let third = String::from_utf8(timeline).expect("ASCII");
    bench.timeline("berlin-1", april(), &two).timeline("berlin-2", april(), &two);
    bench.timeline("berlin-3", april(), &third);
    let verdict = bench.april();
    assert_eq!(verdict.seconds.down, 29 * 60);
    assert_eq!(verdict.seconds.unknown, 40 * 60);
    assert_eq!(exact(&verdict), format!("{}/{}", 43_131 * 60, 43_160 * 60));
    assert_eq!(verdict.downtime_bracket_s, Some([1_620, 1_860]));
    let outages = verdict.outages.expect("of time");
    assert_eq!(
        outages[0].span,
        Span { from_s: at("2026-04-03T08:00:00Z"), until_s: at("2026-04-03T08:17:00Z") }
    );
    assert_eq!(
        outages[1].span,
        Span { from_s: at("2026-04-19T02:00:00Z"), until_s: at("2026-04-19T02:12:00Z") }
    );
    assert_eq!(verdict.attempts.scheduled, 3 * 43_200 - 40);
    assert_eq!(verdict.agents, 3);
}

/// T9.
#[test]
fn the_sampling_bracket() {
    let mut bench = bench("");
    let timeline = month_with(100, &format!("{}{}{}", "D".repeat(12), "U".repeat(50), "DDD"));
    bench.timeline("berlin-1", april(), &timeline);
    assert_eq!(bench.april().downtime_bracket_s, Some([13 * 60, 17 * 60]));
}

/// The same Down time is kept or broken by the real length of the month: 45 minutes at 99.9 %.
#[test]
fn months_with_a_changed_clock_have_their_real_length() {
    let of = |label: &str, minutes: usize| {
        let mut bench = Bench::of(&[("available", r#"measure: availability, target: ">= 99.9%""#)]);
        let start_s =
            PeriodLabel::parse(label).unwrap().span(bench.agreement.zone()).unwrap().from_s;
        let hours = if label == "2026-03" { 743 } else { 745 };
        let timeline = format!("{}{}", "D".repeat(minutes), "U".repeat(hours * 60 - minutes));
        bench.timeline("berlin-1", start_s, &timeline);
        let verdict = bench.ask(label, None).objectives.remove(0);
        assert_eq!(verdict.seconds.eligible, hours as u64 * 3_600);
        assert_eq!(verdict.coverage, Some(number::whole(1)));
        verdict.status
    };
    assert_eq!(of("2026-03", 44), Status::Met, "44.58 minutes are allowed");
    assert_eq!(of("2026-03", 45), Status::Breached);
    assert_eq!(of("2026-10", 44), Status::Met, "44.7 minutes are allowed");
    assert_eq!(of("2026-10", 45), Status::Breached);
}

#[test]
fn equality_keeps_a_promise_unless_it_is_strict() {
    for (target, status) in [(">= 90%", Status::Met), ("> 90%", Status::Breached)] {
        let mut bench = Bench::of(&[(
            "a",
            &format!(r#"measure: availability, target: "{target}", period: day"#),
        )]);
        bench.timeline("berlin-1", april(), &format!("{}{}", "D".repeat(144), "U".repeat(1_296)));
        assert_eq!(bench.ask("2026-04-01", None).objectives[0].status, status, "{target}");
    }
}

/// A streak that crosses the month's edge is one outage, and each month has its part.
#[test]
fn streaks_run_across_period_edges() {
    let mut bench = bench("outage: {after: 5}");
    bench.timeline("berlin-1", april() - 600, &format!("{}{}", "U".repeat(7), "D".repeat(3)));
    bench.timeline("berlin-1", april(), &format!("DDDD{}", "U".repeat(MINUTES_OF_APRIL - 4)));
    let verdict = bench.april();
    assert_eq!(verdict.seconds.down, 240);
    assert_eq!(verdict.outages.expect("of time")[0].span.from_s, april());
    let march = bench.ask("2026-03", None).objectives.remove(0);
    assert_eq!(march.seconds.down, 180);
    // Alone, four minutes are no outage under a rule of five.
    let mut alone = measures::bench("outage: {after: 5}");
    alone.timeline("berlin-1", april(), &format!("DDDD{}", "U".repeat(MINUTES_OF_APRIL - 4)));
    assert_eq!(alone.april().seconds.down, 0);
}

#[test]
fn unknown_time_counts_as_agreed() {
    // 100 minutes Down, 200 Unknown, the rest Up.
    let timeline = month_with(1_000, &format!("{}U{}", "D".repeat(100), "-".repeat(200)));
    for (keys, expected, status) in [
        ("unknown: {as: removed}", "2574000/2580000", Status::Breached),
        ("unknown: {as: up}", "2586000/2592000", Status::Breached),
        ("unknown: {as: down}", "2574000/2592000", Status::Breached),
    ] {
        let mut bench = bench(keys);
        bench.timeline("berlin-1", april(), &timeline);
        let verdict = bench.april();
        assert_eq!((exact(&verdict).as_str(), verdict.status), (expected, status), "{keys}");
        let band = verdict.band.expect("of time").map(|end| percent_text(&end));
        assert_eq!(band, ["99.305556%", "99.768519%"]);
    }
}

#[test]
fn too_little_coverage_decides_nothing_that_could_be_otherwise() {
    let half = "U".repeat(20_000);
    for (keys, timeline, status) in [
        ("", half.clone(), Status::Inconclusive),
        ("unknown: {coverage: 40%}", half.clone(), Status::Met),
        ("unknown: {as: up}", half.clone(), Status::Met),
        ("unknown: {as: down}", half.clone(), Status::Breached),
        // Breached even if all of the rest was Up.
        ("", format!("{}{}", "D".repeat(30), half), Status::Breached),
    ] {
        let mut bench = bench(keys);
        bench.timeline("berlin-1", april(), &timeline);
        let verdict = bench.april();
        assert_eq!(verdict.status, status, "{keys}");
        let reason = (status == Status::Inconclusive).then_some(Reason::Coverage);
        assert_eq!(verdict.reason, reason);
    }
}

#[test]
fn coverage_is_met_at_its_limit() {
    // 5 % of 43 200 minutes are 2 160.
    for (unknown, status) in [(2_160, Status::Met), (2_161, Status::Inconclusive)] {
        let mut bench = bench("");
        bench.timeline("berlin-1", april(), &month_with(1_000, &"-".repeat(unknown)));
        assert_eq!(bench.april().status, status, "{unknown}");
    }
}

#[test]
fn no_eligible_second_is_not_applicable() {
    let term = "term: {from: 2026-06-01, until: 2027-01-01}";
    let mut bench = Bench::new(agreement(&[("available", AVAILABLE)], term));
    bench.timeline("berlin-1", april(), &"U".repeat(100));
    let verdict = bench.april();
    assert_eq!(
        (verdict.status, verdict.value, verdict.coverage),
        (Status::NotApplicable, None, None)
    );
    assert_eq!(verdict.budget_left, None);
}

#[test]
fn no_window_is_inconclusive() {
    let verdict = bench("").april();
    assert_eq!((verdict.status, verdict.value.clone()), (Status::Inconclusive, None));
    assert_eq!(verdict.seconds.unknown, 2_592_000);
}

/// The term begins on 11 April: twenty of thirty dates are eligible.
#[test]
fn a_first_month_is_judged_on_its_part() {
    let term = "term: {from: 2026-04-11, until: 2027-01-01}";
    let mut bench = Bench::new(agreement(&[("available", AVAILABLE)], term));
    bench.timeline("berlin-1", april(), &month_with(100, &"D".repeat(50)));
    let verdict = bench.april();
    assert_eq!((verdict.seconds.eligible, verdict.seconds.down), (20 * 86_400, 0));
    assert_eq!(verdict.attempts.scheduled, 20 * 1_440);
}

#[test]
fn too_few_attempts_decide_nothing() {
    for (least, status) in [(43_200, Status::Breached), (43_201, Status::Inconclusive)] {
        let mut bench = bench(&format!("min_attempts: {least}"));
        bench.timeline("berlin-1", april(), &month_with(0, &"D".repeat(1_000)));
        assert_eq!(bench.april().status, status);
    }
}

#[test]
fn success_is_a_share_of_attempts() {
    let mut bench = Bench::of(&[("s", r#"measure: success, target: ">= 99%""#)]);
    bench.timeline("berlin-1", april(), &month_with(0, &format!("{}IIMM", "D".repeat(432))));
    let verdict = bench.april();
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("42764/43196", Status::Breached));
    assert_eq!(verdict.outages, None);
    assert_eq!(verdict.band, None);
    assert_eq!(verdict.attempts.invalid + verdict.attempts.missed, 4);
    assert_eq!(verdict.budget_left, Some(verdict::Budget::Attempts(-1)));
}

fn within(keys: &str) -> Bench {
    let fast =
        format!(r#"measure: {{within: 2s, phase: total}}, target: ">= 50%", period: day, {keys}"#);
    Bench::of(&[("fast", &fast)])
}

#[test]
fn the_threshold_itself_is_within() {
    let mut bench = within("");
    for (minute, ns) in [(0, 2_000_000_000), (1, 2_000_000_001), (2, 1), (3, u64::MAX)] {
        bench.cell("berlin-1", april() + minute * 60, Counts { ok: 1, ..Counts::default() }, ns);
    }
    bench.timeline("berlin-1", april() + 240, &"-".repeat(3));
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!(exact(&verdict), "2/4");
    assert_eq!(verdict.status, Status::Inconclusive, "four minutes of a day are known");
}

#[test]
fn failed_attempts_are_worse_than_any_threshold_or_left_out() {
    let timeline = format!("{}{}", "D".repeat(721), "U".repeat(719));
    for (keys, expected, status) in
        [("", "719/1440", Status::Breached), ("failures: exclude", "719/719", Status::Met)]
    {
        let mut bench = within(keys);
        bench.timeline("berlin-1", april(), &timeline);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        assert_eq!((exact(&verdict).as_str(), verdict.status), (expected, status));
    }
}

/// Attempts in Down time are judged once; failures outside of outages stay.
#[test]
fn down_time_is_not_punished_twice() {
    let timeline = format!("UUDUU{}{}", "D".repeat(100), "U".repeat(1_335));
    let available = r#"measure: availability, target: ">= 99%", outage: {after: 2}, period: day"#;
    let other = format!("{available}, service: data");
    let narrow = format!("{available}, agents: {{site: osl}}");
    let fast = r#"measure: {within: 2s, phase: total}, target: ">= 99%", period: day"#;
    let always = format!("{fast}, during: always");
    for (availability, fast, expected) in [
        (available, fast, "1339/1340"),
        (available, always.as_str(), "1339/1440"),
        (other.as_str(), fast, "1339/1440"),
        (narrow.as_str(), fast, "1339/1440"),
    ] {
        let mut bench = Bench::of(&[("available", availability), ("fast", fast)]);
        bench.timeline("berlin-1", april(), &timeline);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(1);
        assert_eq!(exact(&verdict), expected, "{availability} {fast}");
        assert_eq!(verdict.attempts.scheduled, 1_440);
    }
}

/// A bucket that straddles the threshold leaves a verdict open, unless it does not matter.
#[test]
fn an_uncounted_threshold_inside_a_bucket() {
    struct Straddling(u32, u32);
    impl Phases for Straddling {
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
    for (certain, possible, status) in
        [(720, 720, Status::Met), (719, 720, Status::Inconclusive), (700, 719, Status::Breached)]
    {
        let mut bench = within("");
        bench.timeline("berlin-1", april() + 60, &"-".repeat(5));
        let labels = Labels::new();
        for hour in 0..24 {
            let share = |number: u32| number / 24 + u32::from(hour < number % 24);
            let observed = Observed {
                agent: "berlin-1",
                labels: &labels,
                probe: "call",
                spec: [0; 16],
                start_s: april() + i64::from(hour) * 3_600,
                width_s: 60,
                interval_s: 3_600,
                counts: Counts { ok: 60, ..Counts::default() },
                flagged: false,
                content: [0; 16],
                phases: &Straddling(share(certain), share(possible)),
            };
            bench.windows.add(&observed).expect("fits");
        }
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        assert_eq!(verdict.status, status, "{certain} {possible}");
        let Some(Measured::Share(value)) = verdict.value else { panic!("{verdict:?}") };
        assert_eq!(value.numerator_most, u64::from(possible));
    }
}

#[test]
fn a_label_that_fits_no_objective_is_an_error() {
    let bench = bench("");
    let label = PeriodLabel::parse("2026-04-01").expect("a label");
    let question = Question { label, as_of_s: None, signed: false };
    let error = judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question)
        .expect_err("months only");
    assert!(matches!(error, JudgeError::LabelFitsNone { .. }), "{error}");
}

/// A cut window keeps its state in the seconds that remain; its attempts do not count.
#[test]
fn a_window_cut_by_the_term() {
    let term = "term: {from: 2026-04-11T00:00:30+02:00, until: 2027-01-01}";
    let mut bench = Bench::new(agreement(&[("a", AVAILABLE)], term));
    bench.timeline(
        "berlin-1",
        at("2026-04-11T00:00:00+02:00"),
        &format!("D{}", "U".repeat(28_799)),
    );
    let verdict = bench.april();
    assert_eq!((verdict.seconds.down, verdict.seconds.eligible), (30, 20 * 86_400 - 30));
    assert_eq!(verdict.attempts.failed, 0);
}
