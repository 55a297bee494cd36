use super::*;
use crate::sla::span::Spans;
use crate::sla::verdict::Attempts;

/// 2027-01-15 08:00:00 UTC.
const MORNING_S: i64 = 1_800_000_000;

fn point(start_s: i64, took_ms: Option<u64>, failed: u64) -> Point {
    let latency = took_ms.map(|ms| {
        let ns = ms * 1_000_000;
        Latency { samples: 3, p50_ns: ns, p95_ns: ns * 2, p99_ns: ns * 3 }
    });
    let failures = if failed > 0 { vec![("timeout (wait)".to_owned(), failed)] } else { vec![] };
    let ok = latency.map_or(0, |latency| latency.samples);
    let attempts = Attempts { scheduled: ok + failed, ok, failed, ..Attempts::default() };
    Point { start_s, attempts, latency, failures }
}

/// Four windows, the third without an ok attempt, and one that nobody reported between it and the last.
fn course() -> Course {
    let points = vec![
        point(MORNING_S, Some(100), 0),
        point(MORNING_S + 10, Some(50), 1),
        point(MORNING_S + 20, None, 4),
        point(MORNING_S + 40, Some(200), 0),
    ];
    Course {
        phase: "wait".to_owned(),
        threshold_ns: Some(250_000_000),
        width_s: 10,
        span: Span { from_s: MORNING_S, until_s: MORNING_S + 300 },
        points,
    }
}

fn spans(pairs: &[(i64, i64)]) -> Spans {
    Spans::from_sorted(
        pairs.iter().map(|(from_s, until_s)| Span {
            from_s: MORNING_S + from_s,
            until_s: MORNING_S + until_s,
        }),
    )
}

#[test]
fn a_gap_is_a_gap_and_every_window_has_its_mark() {
    let plot = Plot::new(&course(), &TimeZone::UTC);
    let p50 = &plot.lines[0];
    // 600 ms are the largest: the axis ends there.
    assert_eq!(p50.path, "M16.7 833.3h0L50.0 916.7M150.0 666.7h0");
    assert_eq!((p50.name, p50.latest.as_str()), ("p50", "200 ms"));
    assert_eq!(plot.windows.len(), 4);
    assert_eq!(plot.windows.iter().filter(|window| window.failed).count(), 2);
    assert_eq!(plot.windows.iter().filter(|window| window.point.is_some()).count(), 3);
    assert_eq!(
        plot.windows[1].title,
        "08:00:10 to 08:00:20: 3 ok, 1 failed: timeout (wait) ×1, p50 50 ms, p95 100 ms, p99 150 ms"
    );
    assert_eq!(plot.windows[2].title, "08:00:20 to 08:00:30: 0 ok, 4 failed: timeout (wait) ×4");
    assert_eq!(plot.threshold.expect("was promised").text, "at most 250ms");
    assert_eq!(
        plot.desc,
        "Percentiles of the phase wait in 4 windows of 10s; p95 from 100 ms to 400 ms, in the latest window 400 ms; \
         p95 above 250ms in 1 window; attempts failed in 2 windows; 1 window without an ok attempt."
    );
}

#[test]
fn an_empty_plot_has_axes_and_no_values() {
    let course = Course {
        threshold_ns: None,
        points: vec![],
        span: Span { from_s: MORNING_S, until_s: MORNING_S },
        ..course()
    };
    let plot = Plot::new(&course, &TimeZone::UTC);
    assert!(plot.lines.iter().all(|line| line.path.is_empty() && line.latest == "–"));
    assert!(plot.desc.contains("no attempt was ok yet"), "{}", plot.desc);
    assert!(!plot.times.is_empty() && !plot.durations.is_empty());
    assert!(Strip::of_windows(&course, &[], &TimeZone::UTC).cells.is_empty());
}

#[test]
fn a_strip_has_a_cell_a_window_whichever_period_it_lies_in() {
    let before = States {
        excluded: Spans::EMPTY,
        eligible: spans(&[(0, 100)]),
        known: spans(&[(0, 100)]),
        down: spans(&[(50, 60)]),
    };
    let open = States {
        excluded: Spans::EMPTY,
        eligible: spans(&[(100, 300)]),
        known: spans(&[(100, 200)]),
        down: Spans::EMPTY,
    };
    let strip = Strip::of_windows(&course(), &[&open, &before], &TimeZone::UTC);
    let classes = |class: &str| strip.cells.iter().filter(|cell| cell.class == class).count();
    assert_eq!((classes("up"), classes("down"), classes("unknown")), (19, 1, 10));
    assert_eq!(strip.cells[5].title, "08:00:50 to 08:01:00: down");
    assert_eq!(strip.desc, "The latest windows: 3m 10s up, 10s down, 1m 40s unknown.");
}

#[test]
fn a_period_is_never_more_than_so_many_stretches_and_hides_no_outage() {
    let day = Span { from_s: MORNING_S, until_s: MORNING_S + 86_400 };
    let states = States {
        excluded: Spans::EMPTY,
        eligible: spans(&[(0, 43_200)]),
        known: spans(&[(0, 43_200)]),
        down: spans(&[(7_000, 7_010)]),
    };
    let strip = Strip::of_period(day, 10, &states, &TimeZone::UTC);
    let classes: Vec<&str> = strip.cells.iter().map(|cell| cell.class).collect();
    assert_eq!(classes, ["up", "down"], "what is to come is left free");
    assert_eq!(strip.cells[0].title, "15 Jan 08:00 to 15 Jan 20:00: 11h 59m 50s up, 10s down");
    assert_eq!(strip.cells[1].title, "15 Jan 09:56 to 15 Jan 09:56: 10s down");
    assert_eq!((strip.cells[1].x.as_str(), strip.cells[1].width.as_str()), ("8.10", "0.30"));
    assert_eq!(strip.times.len(), 4);
    let flapping = States {
        excluded: Spans::EMPTY,
        down: Spans::from_sorted((0..2_160).map(|n| Span {
            from_s: MORNING_S + n * 20,
            until_s: MORNING_S + n * 20 + i64::from(n % 97 == 0) * 10,
        })),
        ..states
    };
    assert!(Strip::of_period(day, 10, &flapping, &TimeZone::UTC).cells.len() <= 360);
}
