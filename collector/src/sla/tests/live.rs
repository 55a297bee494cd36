//! What is certain while a period is open.

use super::*;
use crate::sla::verdict::Budget;

const AVAILABLE: &str = r#"measure: availability, target: ">= 99.95%""#;

fn live(keys: &str, timeline: &str, as_of_minute: i64) -> ObjectiveVerdict {
    let mut bench = Bench::of(&[("a", keys)]);
    bench.timeline("berlin-1", april(), timeline);
    let label = PeriodLabel::parse("2026-04").expect("a label");
    let question = Question { label, as_of_s: Some(april() + as_of_minute * 60), signed: true };
    judge(&bench.agreement, &bench.windows, &Exclusions::default(), &question)
        .expect("judged")
        .objectives
        .remove(0)
}

pub(super) fn up_but(downs: usize, minutes: usize) -> String {
    format!("{}{}", "D".repeat(downs), "U".repeat(minutes - downs))
}

/// T32: the budget is 21.6 minutes.
#[test]
fn a_breach_is_certain_as_soon_as_the_budget_is_overdrawn() {
    for (downs, status, left) in [
        (0, Status::OnTrack, 1_296),
        (1, Status::OnTrack, 1_236),
        (2, Status::OnTrack, 1_176),
        (3, Status::AtRisk, 1_116),
        (21, Status::AtRisk, 36),
        (22, Status::BreachCertain, -24),
    ] {
        let verdict = live(AVAILABLE, &up_but(downs, 4_320), 4_320);
        assert_eq!(
            (verdict.status, verdict.budget_left),
            (status, Some(Budget::Seconds(left))),
            "{downs}"
        );
        assert_eq!(verdict.seconds.remaining, Some((43_200 - 4_320) * 60));
        assert_eq!(verdict.credit, None);
    }
    assert_eq!(value(&live(AVAILABLE, &up_but(22, 4_320), 4_320)), "99.490741%");
}

#[test]
fn three_quarters_of_the_budget_are_at_risk() {
    // 43 200 × 1 % = 432 minutes, three quarters are 324; late in the month the value itself is still good.
    let keys = r#"measure: availability, target: ">= 99%""#;
    assert_eq!(live(keys, &up_but(323, 40_000), 40_000).status, Status::OnTrack);
    assert_eq!(live(keys, &up_but(324, 40_000), 40_000).status, Status::AtRisk);
}

#[test]
fn what_is_unknown_may_still_have_been_up() {
    let timeline = format!("{}{}", "D".repeat(21), "-".repeat(4_299));
    assert_eq!(live(AVAILABLE, &timeline, 4_320).status, Status::AtRisk);
}

#[test]
fn a_kept_promise_is_certain_when_the_rest_may_be_down() {
    // 432 minutes may be Down.
    let keys = r#"measure: availability, target: ">= 99%""#;
    for (downs, minutes, status) in [
        (0, 42_768, Status::MetCertain),
        (0, 42_767, Status::OnTrack),
        (32, 42_800, Status::MetCertain),
        (33, 42_800, Status::OnTrack),
    ] {
        let verdict = live(keys, &up_but(downs, minutes), minutes as i64);
        assert_eq!(verdict.status, status, "{downs} of {minutes}");
    }
    // A streak at the end may still become an outage.
    let keys = r#"measure: availability, target: ">= 99%", outage: {after: 5}"#;
    let timeline = format!("{}DD", "U".repeat(42_766));
    assert_eq!(live(keys, &timeline, 42_768).status, Status::OnTrack);
}

/// Neither a streak that Unknown windows keep apart nor Up windows too few to end an outage are certain to stay Up.
#[test]
fn what_counts_as_up_today_may_become_down() {
    for (until, end, minutes, status) in [
        // One Up window that does not end the outage yet: 3 + 430 minutes would be Down.
        (2, "DDU", 42_770, Status::OnTrack),
        (2, "DDU", 42_771, Status::MetCertain),
        (1, "DDU", 42_769, Status::OnTrack),
        (1, "DDU", 42_770, Status::MetCertain),
        // The five Unknown minutes may have been Down, and the single ones beside them with them.
        (1, "D-----DU", 42_774, Status::OnTrack),
        (1, "D-----DU", 42_775, Status::MetCertain),
    ] {
        let keys = format!(
            r#"measure: availability, target: ">= 99%", outage: {{after: 2, until: {until}}}"#
        );
        let timeline = format!("{}{end}", "U".repeat(minutes - end.len()));
        let status_of = live(&keys, &timeline, minutes as i64).status;
        assert_eq!(status_of, status, "until {until}, {end}, {minutes}");
    }
}

/// The streak and the Unknown windows inside it are not the same seconds twice.
#[test]
fn a_streak_over_unknown_windows_is_judged() {
    let keys = r#"measure: availability, target: ">= 99%", outage: {after: 3, bridge: 2}"#;
    let verdict = live(keys, "D--D", 4);
    assert_eq!((verdict.status, verdict.seconds.up), (Status::OnTrack, 120));
}

#[test]
fn nothing_known_is_pending() {
    assert_eq!(live(AVAILABLE, "", 100).status, Status::Pending);
    assert_eq!(live(AVAILABLE, "UUU", 0).status, Status::Pending, "not yet");
    assert_eq!(live(AVAILABLE, "UUU", -5).status, Status::Pending, "before the period");
    assert_eq!(live(AVAILABLE, "MMM", 3).status, Status::Pending);
}

#[test]
fn from_the_periods_end_on_it_is_closed() {
    let timeline = up_but(0, MINUTES_OF_APRIL);
    let verdict = live(AVAILABLE, &timeline, 43_200);
    assert_eq!((verdict.status, verdict.seconds.remaining), (Status::Met, None));
    assert_ne!(live(AVAILABLE, &timeline, 43_199).seconds.remaining, None);
}

#[test]
fn later_windows_do_not_exist() {
    let verdict = live(AVAILABLE, &up_but(0, 1_000), 100);
    assert_eq!((verdict.attempts.scheduled, verdict.seconds.up), (100, 6_000));
    // The window in progress is not there either: its time is Unknown.
    let mut bench = Bench::of(&[("a", AVAILABLE)]);
    bench.timeline("berlin-1", april(), "UUU");
    let verdict = bench.ask("2026-04", Some("2026-04-01T00:02:30+02:00")).objectives.remove(0);
    assert_eq!((verdict.seconds.up, verdict.seconds.unknown), (120, 30));
    assert_eq!(verdict.attempts.scheduled, 2);
}

/// 43 200 attempts in the month: 432 may be bad.
#[test]
fn attempts_are_certain_by_what_is_still_scheduled() {
    let keys = r#"measure: success, target: ">= 99%""#;
    for (bad, minutes, status) in [
        (0, 40_000, Status::OnTrack),
        (324, 40_000, Status::AtRisk),
        (432, 4_000, Status::AtRisk),
        (433, 4_000, Status::BreachCertain),
        (0, 42_768, Status::MetCertain),
        (0, 42_767, Status::OnTrack),
        (432, 43_200, Status::Met),
    ] {
        let verdict = live(keys, &up_but(bad, minutes), minutes as i64);
        assert_eq!(verdict.status, status, "{bad} of {minutes}");
        let left = 432 - i64::try_from(bad).expect("small");
        assert_eq!(verdict.budget_left, Some(Budget::Attempts(left)));
    }
}

#[test]
fn a_strict_target_allows_less() {
    let keys = r#"measure: success, target: "> 99%""#;
    assert_eq!(live(keys, &up_but(431, 4_000), 4_000).status, Status::AtRisk);
    let verdict = live(keys, &up_but(432, 4_000), 4_000);
    assert_eq!(
        (verdict.status, verdict.budget_left),
        (Status::BreachCertain, Some(Budget::Attempts(-1)))
    );
}
