//! Service hours: what of the time counts, and that what is outside neither breaks nor feeds a streak.

use super::*;

const OFFICE: &str = "calendars:
  office: {weekly: {mon-fri: \"08:00-18:00\"}, holidays: [2026-04-03, 2026-04-06]}
  odd: {weekly: {mon-sun: \"08:02-18:00\"}}
  small: {weekly: {sun: \"01:00-04:00\"}}
  night: {weekly: {mon-sun: \"22:00-06:00\"}}";

fn bench(keys: &str) -> Bench {
    let keys = format!("measure: availability, target: \">= 99.9%\", unknown: {{as: up}}, {keys}");
    Bench::new(agreement(&[("a", &keys)], OFFICE))
}

/// T4: of 75 minutes Down on Thursday from 17:30, thirty lie in office hours.
#[test]
fn only_service_hours_count() {
    let mut bench = bench("hours: office");
    bench.timeline("berlin-1", at("2026-04-02T17:30:00+02:00"), &"D".repeat(75));
    let seconds = bench.april().seconds;
    assert_eq!((seconds.eligible, seconds.down), (12_000 * 60, 30 * 60));
    assert_eq!(
        (exact(&bench.april()), value(&bench.april())),
        ("718200/720000".to_owned(), "99.750000%".to_owned())
    );
}

/// T4: from Thursday 17:58 over Good Friday, the weekend and Easter Monday to Tuesday 08:03 are five service minutes.
#[test]
fn a_streak_runs_over_nights_and_holidays() {
    for (after, outages) in [(5, 1), (6, 0)] {
        let mut bench = bench(&format!("hours: office, outage: {{after: {after}}}"));
        bench.timeline("berlin-1", at("2026-04-02T17:57:00+02:00"), "UDD");
        // What is measured at night and on holidays is in no state.
        bench.timeline("berlin-1", at("2026-04-02T18:00:00+02:00"), "UUUUUU");
        bench.timeline("berlin-1", at("2026-04-03T12:00:00+02:00"), "UUUUUU");
        bench.timeline("berlin-1", at("2026-04-07T08:00:00+02:00"), "DDDU");
        let verdict = bench.april();
        let found = verdict.outages.expect("is of time");
        assert_eq!(
            (found.len(), verdict.seconds.down),
            (outages, 300 * outages as u64),
            "after {after}"
        );
        if let [outage] = found.as_slice() {
            let span = Span {
                from_s: at("2026-04-02T17:58:00+02:00"),
                until_s: at("2026-04-07T08:03:00+02:00"),
            };
            assert_eq!((outage.span, outage.seconds), (span, 300));
        }
    }
}

/// The window from 08:00 has three minutes in hours that begin at 08:02: its state counts there, its attempt nowhere.
#[test]
fn a_window_that_is_cut_has_its_state_in_what_remains() {
    let mut bench = bench("hours: odd, window: {width: 5m}, period: day");
    (bench.width_s, bench.interval_s) = (300, 300);
    bench.timeline("berlin-1", at("2026-04-07T07:55:00+02:00"), "DDU");
    let verdict = bench.ask("2026-04-07", None).objectives.remove(0);
    assert_eq!((verdict.seconds.eligible, verdict.seconds.down), ((9 * 60 + 58) * 60, 180));
    assert_eq!((verdict.attempts.ok, verdict.attempts.failed), (1, 0));
}

/// Sunday 29 March lacks the hour from 02:00, and 25 October has it twice.
#[test]
fn hours_have_their_real_length_when_clocks_change() {
    for (label, eligible) in
        [("2026-03-29", 2), ("2026-10-25", 4), ("2026-10-18", 3), ("2026-10-17", 0)]
    {
        let verdict = bench("hours: small, period: day").ask(label, None).objectives.remove(0);
        assert_eq!(verdict.seconds.eligible, eligible * 3_600, "{label}");
        let status = if eligible > 0 { Status::Met } else { Status::NotApplicable };
        let expected = if eligible > 0 { Status::Inconclusive } else { status };
        assert_eq!(verdict.status, expected, "{label}: nothing was measured");
    }
}

/// A night belongs to two dates, and to the period of each what lies in it.
#[test]
fn a_night_is_cut_where_a_period_ends() {
    let mut bench = bench("hours: night, period: day, outage: {after: 3}");
    bench.timeline("berlin-1", at("2026-04-09T23:58:00+02:00"), "DDDU");
    let of = |label| bench.ask(label, None).objectives.remove(0).seconds;
    assert_eq!((of("2026-04-09").eligible, of("2026-04-09").down), (8 * 3_600, 120));
    assert_eq!((of("2026-04-10").eligible, of("2026-04-10").down), (8 * 3_600, 60));
    // Open at midnight: eight hours and no more are still to come.
    let open = bench.ask("2026-04-10", Some("2026-04-10T00:00:00+02:00")).objectives.remove(0);
    assert_eq!((open.seconds.eligible, open.seconds.remaining), (0, Some(8 * 3_600)));
}
