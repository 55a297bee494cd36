//! From several agents to one state, and from attempts to states.

use super::*;

/// Judges one window of a day: `voices` are the agents' states.
fn state(voices: &str, vantages: &str) -> char {
    let keys =
        format!(r#"measure: availability, target: ">= 50%", period: day, vantages: {vantages}"#);
    let mut bench = Bench::of(&[("a", &keys)]);
    for (index, voice) in voices.chars().enumerate() {
        bench.timeline(&format!("berlin-{index}"), april(), &voice.to_string());
    }
    let seconds = bench.ask("2026-04-01", None).objectives[0].seconds;
    match (seconds.up, seconds.down) {
        (60, 0) => 'U',
        (0, 60) => 'D',
        (0, 0) => 'X',
        other => panic!("{other:?}"),
    }
}

/// T5.
#[test]
fn the_quorum_table() {
    let majority = "{quorum: 51%, at_least: 1}";
    for (downs, voices, expected) in [
        (1, 2, 'U'),
        (2, 3, 'D'),
        (2, 4, 'U'),
        (3, 4, 'D'),
        (2, 5, 'U'),
        (3, 5, 'D'),
        (10, 20, 'U'),
        (11, 20, 'D'),
        (0, 3, 'U'),
        (0, 0, 'X'),
    ] {
        let text = format!("{}{}", "D".repeat(downs), "U".repeat(voices - downs));
        assert_eq!(state(&text, majority), expected, "{downs} of {voices}");
    }
    assert_eq!(state("DD", "{quorum: 51%, at_least: 3}"), 'X');
    assert_eq!(state("DDU", "{quorum: 51%, at_least: 3}"), 'D');
    assert_eq!(
        state("DDIM", "{quorum: 51%, at_least: 3}"),
        'X',
        "invalid and missed are no voices"
    );
    assert_eq!(state("DDF", "{quorum: 51%, at_least: 3}"), 'X', "a flag is no voice");
    assert_eq!(state("DU", "{quorum: 50%}"), 'D');
    assert_eq!(state("DUU", "{quorum: 100%}"), 'U');
}

/// A failure that its agent does not trust is nobody's: what the others say decides, as if it were not there.
#[test]
fn a_flagged_failure_never_makes_down_time_alone_and_never_hides_it() {
    for (voices, at_least, expected, why) in [
        ("F", 1, 'X', "alone"),
        ("FF", 1, 'X', "in company of its like"),
        ("FU", 1, 'U', "against one who says Up"),
        ("FD", 1, 'D', "the other says so himself"),
        ("FD", 2, 'X', "one voice is not two"),
        ("FDD", 2, 'D', "two others agree"),
        ("FDU", 1, 'U', "1 of 2 is less than 51%: with the flagged one it would be 2 of 3"),
        ("FFFDD", 1, 'D', "2 of 2"),
    ] {
        let vantages = format!("{{quorum: 51%, at_least: {at_least}}}");
        assert_eq!(state(voices, &vantages), expected, "{voices}, {at_least}: {why}");
    }
}

fn each(vantages: &str) -> Bench {
    Bench::of(&[(
        "a",
        &format!(r#"measure: availability, target: ">= 99%", period: day, vantages: {vantages}"#),
    )])
}

#[test]
fn each_agent_alone_and_the_worst_one_decides() {
    let mut bench = each("{each: all}");
    for (agent, downs) in [("berlin-1", 5), ("oslo-1", 20), ("paris-1", 20)] {
        bench.timeline(
            agent,
            april(),
            &format!("{}{}", "D".repeat(downs), "U".repeat(1_440 - downs)),
        );
    }
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((verdict.agent.as_deref(), verdict.status), (Some("oslo-1"), Status::Breached));
    assert_eq!(verdict.seconds.down, 1_200);
    assert_eq!(verdict.agents, 1);
}

#[test]
fn a_named_agent_without_windows_is_inconclusive() {
    let mut bench = each("{each: [berlin-1, oslo-1]}");
    bench.timeline("berlin-1", april(), &"U".repeat(1_440));
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((verdict.agent.as_deref(), verdict.status), (Some("oslo-1"), Status::Inconclusive));
    assert_eq!(verdict.reason, Some(Reason::NoWindows));
    // A breach is worse than that.
    bench.timeline("berlin-1", april() + 86_400, &"D".repeat(1_440));
    let verdict = bench.ask("2026-04-02", None).objectives.remove(0);
    assert_eq!((verdict.agent.as_deref(), verdict.status), (Some("berlin-1"), Status::Breached));
}

#[test]
fn selectors_choose_agents() {
    let keys = r#"measure: success, target: ">= 99%", period: day, agents: {site: [osl]}"#;
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), &"D".repeat(1_440)).timeline(
        "oslo-1",
        april(),
        &"U".repeat(1_440),
    );
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((exact(&verdict).as_str(), verdict.status), ("1440/1440", Status::Met));
    let by_name = r#"measure: success, target: ">= 99%", period: day, agents: {agent: berlin-1}"#;
    let mut bench = Bench::of(&[("a", by_name)]);
    bench.timeline("berlin-1", april(), "D").timeline("oslo-1", april(), "U");
    assert_eq!(exact(&bench.ask("2026-04-01", None).objectives[0]), "0/1");
}

/// One window of a day, with so many attempts.
fn window(rule: &str, ok: u32, failed: u32) -> (u64, u64) {
    let keys = format!(r#"measure: availability, target: ">= 50%", period: day, window: {rule}"#);
    let mut bench = Bench::of(&[("a", &keys)]);
    bench.cell("berlin-1", april(), Counts { ok, failed, ..Counts::default() }, 1);
    let seconds = bench.ask("2026-04-01", None).objectives[0].seconds;
    (seconds.up, seconds.down)
}

#[test]
fn a_window_is_down_beyond_its_bad_share() {
    let (up, down, unknown) = ((60, 0), (0, 60), (0, 0));
    for (rule, ok, failed, expected) in [
        (r#"{bad: "> 50%"}"#, 1, 1, up),
        (r#"{bad: "> 50%"}"#, 1, 2, down),
        (r#"{bad: ">= 50%"}"#, 1, 1, down),
        (r#"{bad: "> 20%", attempts: 5}"#, 4, 1, up),
        (r#"{bad: "> 20%", attempts: 5}"#, 3, 2, down),
        (r#"{bad: "> 20%", attempts: 5}"#, 2, 2, unknown),
    ] {
        assert_eq!(window(rule, ok, failed), expected, "{rule} {ok} {failed}");
    }
}

#[test]
fn narrow_windows_are_added_up() {
    let keys = r#"measure: availability, target: ">= 50%", period: day, window: {width: 60s}"#;
    let mut bench = Bench::of(&[("a", keys)]);
    (bench.width_s, bench.interval_s) = (10, 10);
    bench.timeline(
        "berlin-1",
        april(),
        "DDDUUU DDDDUU -DDU-- ------ FUUUUU".replace(' ', "").as_str(),
    );
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((verdict.seconds.up, verdict.seconds.down), (60, 120), "the last one is flagged");
    assert_eq!(verdict.attempts.scheduled, 20);
    assert_eq!(verdict.flagged, 1);
}

#[test]
fn windows_that_do_not_divide_are_an_error() {
    for (width_s, start) in [(90, april() - april() % 90), (120, april())] {
        let mut bench = each("{each: all}");
        bench.width_s = width_s;
        bench.timeline("berlin-1", start, "U");
        let label = PeriodLabel::parse("2026-04-01").expect("a label");
        let question = Question { label, as_of_s: None, signed: false };
        let error = judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question)
            .expect_err("too wide");
        assert!(matches!(error, JudgeError::WindowWidth { .. }), "{error}");
    }
}

#[test]
fn probes_of_one_agent_are_one_vantage() {
    let keys = r#"probe: [call, ring], measure: availability, target: ">= 50%", period: day, vantages: {at_least: 2}"#;
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), "U");
    bench.probe = "ring";
    bench.timeline("berlin-1", april(), "D");
    assert_eq!(
        bench.ask("2026-04-01", None).objectives[0].seconds.unknown,
        86_400,
        "one voice of two"
    );
    bench.timeline("oslo-1", april(), "U");
    assert_eq!(bench.ask("2026-04-01", None).objectives[0].seconds.up, 60);
}

/// An attempt every five minutes speaks for five windows, or until the next attempt.
#[test]
fn outcomes_are_held_until_the_next_attempt_is_due() {
    for (timeline, up, down) in [
        ("U", 300, 0),
        ("D", 0, 300),
        ("U----D----", 300, 300),
        ("U-D", 120, 300),
        ("U-I", 120, 0),
        ("U-M", 300, 0),
        ("U-F", 120, 0),
        ("U----M", 300, 0),
    ] {
        let keys = r#"measure: availability, target: ">= 50%", period: day, outage: {bridge: 0}"#;
        let mut bench = Bench::of(&[("a", keys)]);
        bench.interval_s = 300;
        bench.timeline("berlin-1", april(), timeline);
        let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
        assert_eq!((verdict.seconds.up, verdict.seconds.down), (up, down), "{timeline}");
    }
}

#[test]
fn held_windows_count_for_outages_but_have_no_attempts() {
    let keys = r#"measure: availability, target: ">= 50%", period: day, outage: {after: 5}"#;
    let mut bench = Bench::of(&[("a", keys)]);
    bench.interval_s = 250;
    bench.timeline("berlin-1", april(), "D----U");
    let verdict = bench.ask("2026-04-01", None).objectives.remove(0);
    assert_eq!((verdict.seconds.down, verdict.attempts.scheduled), (300, 2));
}

/// What an agent reports of a minute: ok, failed, invalid attempts, and a flag.
type Report = Option<(u32, u32, u32, bool)>;

/// The language's sentences on windows, agents and held outcomes, looked up for one window at a time.
fn state_by_the_book(
    reports: &[Vec<Report>],
    minute: usize,
    held: usize,
    at_least: usize,
) -> Option<bool> {
    let mut voices = Vec::new();
    for reports in reports {
        let own = reports[minute];
        if own.is_some_and(|(.., flagged)| flagged) {
            continue;
        }
        let has_attempt = |report: &Report| {
            report.is_some_and(|(ok, failed, invalid, _)| ok + failed + invalid > 0)
        };
        let first = (minute + 1).saturating_sub(held);
        let latest = reports[first..=minute]
            .iter()
            .rev()
            .find(|report| has_attempt(report))
            .copied()
            .flatten();
        if let Some((ok, failed, _, false)) = latest.filter(|(ok, failed, ..)| ok + failed > 0) {
            voices.push(2 * failed > ok + failed);
        }
    }
    let downs = voices.iter().filter(|down| **down).count();
    (voices.len() >= at_least).then_some(100 * downs >= 51 * voices.len())
}

mod by_the_book {
    use super::*;
    use proptest::prelude::*;

    fn report() -> impl Strategy<Value = Report> {
        let counts = (0..2_u32, 0..2_u32, 0..2_u32, prop::bool::weighted(0.1));
        prop_oneof![2 => Just(None), 3 => counts.prop_map(Some)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_sweep_agrees(
            reports in prop::collection::vec(prop::collection::vec(report(), 30), 1..4),
            interval_s in prop_oneof![Just(20_u32), Just(60), Just(61), Just(150), Just(300)],
            at_least in 1_usize..3,
        ) {
            let keys = format!(
                r#"measure: availability, target: ">= 50%", period: day, outage: {{bridge: 0}}, vantages: {{at_least: {at_least}}}"#
            );
            let mut bench = Bench::of(&[("a", &keys)]);
            bench.interval_s = interval_s;
            for (agent, reports) in reports.iter().enumerate() {
                for (minute, report) in (0_i64..).zip(reports) {
                    let Some((ok, failed, invalid, flagged)) = *report else { continue };
                    bench.flagged = flagged;
                    let counts = Counts { ok, failed, invalid, missed: 0 };
                    bench.cell(&format!("berlin-{agent}"), april() + minute * 60, counts, 1);
                }
            }
            // Later windows are cut off: the book knows thirty.
            let seconds = bench.ask("2026-04-01", Some("2026-04-01T00:30:00+02:00")).objectives[0].seconds;
            let held = interval_s.div_ceil(60) as usize;
            let states: Vec<Option<bool>> =
                (0..30).map(|minute| state_by_the_book(&reports, minute, held, at_least)).collect();
            let count = |wanted| 60 * states.iter().filter(|state| **state == wanted).count() as u64;
            prop_assert_eq!((seconds.up, seconds.down, seconds.unknown), (count(Some(false)), count(Some(true)), count(None)));
        }
    }
}
