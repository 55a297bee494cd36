use super::*;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::PeriodLabel;
use crate::sla::{Counts, Phases, Question, Total, Within, judge};
use probefleet_proto::label::Labels;
use probefleet_proto::report::Series;
use std::borrow::Cow;

/// 2027-01-15 08:00:00 UTC.
const MORNING_S: i64 = 1_800_000_000;

const AGREEMENT: &str = r#"
agreement: acme
version: 1
kind: sla
level: service
title: ACME
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Etc/UTC
currency: EUR
term: {from: 2027-01-01, until: 2028-01-01}
period: day
services: {web: {title: Web}}
objectives:
  availability: {service: web, probe: web, measure: availability, target: ">= 99%", window: {width: 10s},
                 vantages: {quorum: 51%, at_least: 1}, outage: {after: 1, until: 1, bridge: 0}}
  fast: {service: web, probe: [web, api], agents: {site: berlin}, measure: {within: 150ms, phase: wait}, target: ">= 95%",
         window: {width: 20s}, vantages: {quorum: 51%, at_least: 1}, outage: {after: 1, until: 1, bridge: 0}}
"#;

struct NoPhases;

impl Phases for NoPhases {
    fn at_most(&self, _phase: &str, _threshold_ns: u64) -> Option<Within> {
        None
    }

    fn histogram(&self, _phase: &str) -> Option<Cow<'_, Histogram>> {
        None
    }

    fn total(&self, _phase: &str) -> Option<Total> {
        None
    }

    fn counter(&self, _: &str) -> u64 {
        0
    }
}

struct Fixture {
    agreement: Agreement,
    timeline: Timeline,
    windows: Windows,
    now_s: i64,
}

impl Fixture {
    fn new() -> Self {
        let agreement = Agreement::load(&[("a.yaml", AGREEMENT)]).expect("valid").agreement;
        let (timeline, windows) =
            (Timeline::for_agreement(&agreement), Windows::for_agreement(&agreement));
        Self { agreement, timeline, windows, now_s: MORNING_S + 2_000 }
    }

    /// A window of an agent: how long its ok attempts took, and how its other attempts failed.
    fn add(&mut self, agent: &str, start_s: i64, took_ms: &[u64], failed: &[(&str, &str)]) {
        let mut cell = Cell {
            probe: "web".to_owned(),
            spec: [1; 16],
            interval_s: 10,
            scheduled: 0,
            ok: u32::try_from(took_ms.len()).expect("few"),
            others: vec![],
            series: ["total", "wait"].map(|phase| Series::new(phase, &[])).into(),
            counters: Vec::new(),
            values: Vec::new(),
        };
        for (series, share) in cell.series.iter_mut().zip([1, 2]) {
            took_ms.iter().for_each(|ms| series.record(ms * 1_000_000 / share));
        }
        failed.iter().for_each(|(class, code)| cell.add_other(OtherKind::Failed, class, code, 1));
        let counts = Counts {
            ok: cell.ok,
            failed: u32::try_from(failed.len()).expect("few"),
            ..Counts::default()
        };
        let observed = Observed {
            agent,
            labels: &Labels::from([("site".to_owned(), agent.to_owned())]),
            probe: "web",
            spec: [1; 16],
            start_s,
            width_s: 10,
            interval_s: 10,
            counts,
            flagged: false,
            content: [0; 16],
            phases: &NoPhases,
        };
        self.windows.add(&observed).expect("fits");
        self.timeline.add(&observed, &cell, self.now_s);
    }

    /// The picture of an objective in the day of the fixture.
    fn picture(&mut self, number: usize, as_of_s: i64) -> Picture {
        let label = PeriodLabel::parse("2027-01-15").expect("a label");
        let question = Question { label, as_of_s: Some(as_of_s), signed: true };
        let verdict = judge(&self.agreement, &self.windows, &Exclusions::default(), &question)
            .expect("judged");
        let objective = &self.agreement.objectives()[number];
        let judged = &verdict.objectives[number];
        self.timeline.picture((number, objective), &self.windows, judged, Some(as_of_s))
    }

    fn course(&mut self, number: usize) -> Course {
        self.picture(number, self.now_s).course.expect("the period is open")
    }
}

const fn ms(ms: u64) -> u64 {
    ms * 1_000_000
}

/// Histograms round up by a thousandth at most.
fn about(ns: u64, expected_ns: u64) -> bool {
    (expected_ns..=expected_ns + expected_ns / 1_000).contains(&ns)
}

#[test]
fn agents_are_one_window_and_selectors_choose() {
    let mut fixture = Fixture::new();
    fixture.add("berlin", MORNING_S + 1_000, &[100, 110], &[]);
    fixture.add("tokyo", MORNING_S + 1_000, &[300], &[("status", "503")]);
    fixture.add("berlin", MORNING_S + 1_010, &[], &[("timeout", "wait")]);

    let all = fixture.course(0);
    assert_eq!((all.phase.as_str(), all.threshold_ns, all.width_s), ("total", None, 10));
    assert_eq!(all.span, Span { from_s: MORNING_S + 1_000, until_s: MORNING_S + 2_000 });
    let [first, second] = all.points.as_slice() else { panic!("{:?}", all.points) };
    let latency = first.latency.expect("ok attempts");
    assert_eq!((first.attempts.ok, first.attempts.failed, latency.samples), (3, 1, 3));
    assert!(about(latency.p50_ns, ms(110)) && about(latency.p99_ns, ms(300)), "{latency:?}");
    assert_eq!(first.failures, [("status (503)".to_owned(), 1)]);
    assert_eq!((second.latency, second.attempts.failed), (None, 1), "a gap, not a zero");

    // Two windows of 10 s are one of 20 s; only Berlin; another phase.
    let fast = fixture.course(1);
    assert_eq!((fast.phase.as_str(), fast.threshold_ns), ("wait", Some(ms(150))));
    let [only] = fast.points.as_slice() else { panic!("{:?}", fast.points) };
    assert_eq!((only.attempts.ok, only.attempts.failed), (2, 1));
    assert!(about(only.latency.expect("ok attempts").p99_ns, ms(55)), "{only:?}");
}

#[test]
fn a_late_window_changes_its_point_and_no_history_grows_it() {
    let mut fixture = Fixture::new();
    for step in 0..1_000 {
        fixture.now_s = MORNING_S + step * 10 + 10;
        fixture.add("berlin", MORNING_S + step * 10, &[10], &[]);
    }
    let course = fixture.course(0);
    assert_eq!(course.points.len(), usize::from(WINDOWS_SHOWN));
    assert_eq!(course.span.until_s, fixture.now_s);
    let last_s = fixture.now_s - 10;
    fixture.add("tokyo", last_s, &[500], &[]);
    let point = fixture.course(0).points.pop().expect("points");
    assert!(about(point.latency.expect("ok").p99_ns, ms(500)), "{point:?}");
    // Far too late for the plot; far too early: a wrong clock must not push the others out.
    fixture.add("tokyo", MORNING_S, &[7_000], &[]);
    fixture.add("tokyo", fixture.now_s + 86_400, &[7_000], &[]);
    assert_eq!(fixture.course(0).points.len(), usize::from(WINDOWS_SHOWN));
    assert!(fixture.timeline.tracks[0].windows.len() <= usize::from(WINDOWS_SHOWN) + 1);
}

#[test]
fn an_outage_says_what_each_agent_saw() {
    let mut fixture = Fixture::new();
    for step in 0..10 {
        let (start_s, down) = (MORNING_S + step * 10, (4..7).contains(&step));
        for agent in ["berlin", "london"] {
            let failed: &[_] = if down { &[("refused", "econnrefused")] } else { &[] };
            fixture.add(agent, start_s, if down { &[] } else { &[20] }, failed);
        }
        fixture.add("tokyo", start_s, &[90], &[]);
    }
    let picture = fixture.picture(0, MORNING_S + 100);
    let [seen] = picture.outages.as_slice() else { panic!("{:?}", picture.outages) };
    assert_eq!(seen.outage.seconds, 30);
    let told: Vec<String> = seen
        .agents
        .iter()
        .map(|saw| {
            let Attempts { ok, failed, .. } = saw.attempts;
            format!("{}: {ok} ok, {failed} failed {:?}", saw.agent, saw.failures)
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"berlin: 0 ok, 3 failed [("refused (econnrefused)", 3)]"#,
            r#"london: 0 ok, 3 failed [("refused (econnrefused)", 3)]"#,
            "tokyo: 3 ok, 0 failed []",
        ]
    );
    assert!(!seen.reasons_forgotten);
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let mut samples = Histogram::new();
    assert_eq!(Latency::of(&samples), None);
    (1..=100).for_each(|ns| {
        samples.record(ns);
    });
    let latency = Latency::of(&samples).expect("samples");
    assert_eq!((latency.p50_ns, latency.p95_ns, latency.p99_ns), (50, 95, 99));
}
