//! Excluded time: what a record must have to count, and what it then takes away.

use super::*;
use crate::contract::exclusions::{Exclusion, Exclusions, Reason};
use probefleet_proto::name::Name;

const RULE: &str = "maintenance: {notice: 48h, at_most: 90m, approval: automatic}";
const HOURS: &str = "calendars: {day: {weekly: {mon-sun: \"08:00-20:00\"}}}";
const KEYS: &str = "measure: availability, target: \">= 99.9%\"";

fn bench(extra: &str, keys: &str) -> Bench {
    Bench::new(agreement(&[("a", &format!("{KEYS}, unknown: {{as: up}}{keys}"))], extra))
}

/// A record of maintenance, announced days before and approved.
fn record(from: &str, until: &str) -> Exclusion {
    let span = Span { from_s: at(from), until_s: at(until) };
    Exclusion {
        span,
        reason: Reason::Maintenance,
        announced_s: Some(span.from_s - 10 * 86_400),
        objectives: Vec::new(),
        approved: true,
    }
}

/// One hour of maintenance on 12 April.
fn an_hour() -> Exclusion {
    record("2026-04-12T12:00:00+02:00", "2026-04-12T13:00:00+02:00")
}

fn excluded(bench: &mut Bench, records: &[Exclusion]) -> u64 {
    excluded_in(bench, records, "2026-04")
}

fn excluded_in(bench: &mut Bench, records: &[Exclusion], label: &str) -> u64 {
    bench.exclusions = Exclusions::of(records.to_vec());
    let seconds = bench.ask(label, None).objectives.remove(0).seconds;
    let all = seconds.up + seconds.down + seconds.unknown;
    assert_eq!(all, seconds.eligible);
    seconds.excluded
}

#[test]
fn notice_is_counted_to_the_second() {
    let mut bench = bench(RULE, "");
    let begin_s = an_hour().span.from_s;
    for (announced_s, expected) in [
        (Some(begin_s - 48 * 3_600), 3_600),
        (Some(begin_s - 48 * 3_600 + 1), 0),
        (Some(begin_s + 1), 0),
        (None, 0),
    ] {
        for approved in [true, false] {
            let record = Exclusion { announced_s, approved, ..an_hour() };
            assert_eq!(excluded(&mut bench, &[record]), expected, "{announced_s:?} {approved}");
        }
    }
}

#[test]
fn who_must_approve_what() {
    let by_customer = RULE.replace("automatic", "customer");
    for (extra, reason, approved, expected) in [
        (RULE, Reason::Maintenance, false, 3_600),
        (&*by_customer, Reason::Maintenance, false, 0),
        (&*by_customer, Reason::Maintenance, true, 3_600),
        ("", Reason::Maintenance, true, 0),
        ("", Reason::EmergencyMaintenance, true, 3_600),
        (RULE, Reason::EmergencyMaintenance, false, 0),
        ("", Reason::Customer, true, 3_600),
        (RULE, Reason::ForceMajeure, false, 0),
        (RULE, Reason::ForceMajeure, true, 3_600),
    ] {
        let record = Exclusion { reason, approved, ..an_hour() };
        let found = excluded(&mut bench(extra, ""), &[record]);
        assert_eq!(found, expected, "{extra} {reason:?} {approved}");
    }
    let unannounced = Exclusion { reason: Reason::Customer, announced_s: None, ..an_hour() };
    assert_eq!(excluded(&mut bench("", ""), &[unannounced]), 3_600);
}

/// Ninety minutes a month, in the order of time; April's are not May's.
#[test]
fn the_allowance_of_a_period_is_used_up_in_the_order_of_time() {
    let mut bench = bench(RULE, "");
    let at_the_edge = record("2026-04-30T23:00:00+02:00", "2026-05-01T01:00:00+02:00");
    let all = [at_the_edge.clone(), an_hour()];
    assert_eq!(excluded(&mut bench, &all), 5_400, "60 and 30 minutes of April");
    assert_eq!(excluded_in(&mut bench, &all, "2026-05"), 3_600, "60 of May");
    bench.timeline("berlin-1", at("2026-04-30T23:00:00+02:00"), &"D".repeat(60));
    assert_eq!(bench.april().seconds.down, 1_800, "the last half of the hour is not excluded");
    // Of another reason, an hour uses nothing up.
    let other = Exclusion { reason: Reason::Customer, ..an_hour() };
    let moved = record("2026-04-12T12:30:00+02:00", "2026-04-12T14:00:00+02:00");
    assert_eq!(excluded(&mut bench, &[other, moved]), 7_200);
    // What overlaps is claimed once.
    let twice =
        [an_hour(), an_hour(), record("2026-04-12T12:30:00+02:00", "2026-04-12T13:30:00+02:00")];
    assert_eq!(excluded(&mut bench, &twice), 5_400);
}

#[test]
fn maintenance_outside_service_hours_uses_nothing_up() {
    let mut bench = bench(&format!("{RULE}\n{HOURS}"), ", hours: day");
    let night = record("2026-04-11T20:00:00+02:00", "2026-04-12T08:30:00+02:00");
    assert_eq!(excluded(&mut bench, &[night, an_hour()]), 5_400);
    assert_eq!(bench.april().seconds.eligible, 30 * 12 * 3_600 - 5_400);
}

#[test]
fn a_record_is_for_the_objectives_that_it_names() {
    let name = |text| vec![Name::new(text).expect("a name")];
    let mut none = bench(RULE, ", exclusions: none");
    assert_eq!(excluded(&mut none, &[an_hour()]), 0);
    let mut bench = bench(RULE, "");
    assert_eq!(excluded(&mut bench, &[Exclusion { objectives: name("b"), ..an_hour() }]), 0);
    assert_eq!(excluded(&mut bench, &[Exclusion { objectives: name("a"), ..an_hour() }]), 3_600);
}

/// Two minutes Down before, the whole hour, and two after it: one outage of four minutes.
#[test]
fn an_outage_is_interrupted_by_maintenance() {
    for (after, down) in [(4, 240), (5, 0)] {
        let mut bench = bench(RULE, &format!(", outage: {{after: {after}}}"));
        bench.exclusions = Exclusions::of(vec![an_hour()]);
        bench.timeline(
            "berlin-1",
            at("2026-04-12T11:58:00+02:00"),
            &format!("{}U", "D".repeat(64)),
        );
        let verdict = bench.april();
        assert_eq!(verdict.seconds.down, down);
        assert_eq!(verdict.outages.expect("of time").len(), usize::from(down > 0));
    }
}

/// A window that maintenance cuts has its state in what remains, and its attempt counts nowhere.
#[test]
fn attempts_in_excluded_time_do_not_count() {
    let mut bench = Bench::new(agreement(&[("a", "measure: success, target: \">= 99%\"")], RULE));
    let cut = record("2026-04-12T12:00:30+02:00", "2026-04-12T12:03:00+02:00");
    bench.exclusions = Exclusions::of(vec![cut]);
    bench.timeline("berlin-1", at("2026-04-12T12:00:00+02:00"), "DDDU");
    let verdict = bench.april();
    assert_eq!((verdict.attempts.failed, verdict.attempts.ok, verdict.seconds.down), (0, 1, 30));
}

/// Until it is announced a record does not exist; then what it claims is no longer to come.
#[test]
fn announced_maintenance_shortens_what_is_to_come() {
    let mut bench = bench(RULE, "");
    let announced = "2026-04-02T12:00:00+02:00";
    bench.exclusions = Exclusions::of(vec![an_hour()]);
    let ask = |as_of| {
        let seconds = bench.ask("2026-04", Some(as_of)).objectives.remove(0).seconds;
        (seconds.eligible + seconds.remaining.expect("is open"), seconds.excluded)
    };
    let month = 43_200 * 60;
    assert_eq!(ask("2026-04-02T11:59:59+02:00"), (month, 0));
    assert_eq!(ask(announced), (month - 3_600, 0));
    assert_eq!(ask("2026-04-12T12:30:00+02:00"), (month - 3_600, 1_800));
    let digest = |as_of| bench.ask("2026-04", Some(as_of)).inputs_digest;
    let unknown = digest("2026-04-02T11:59:59+02:00");
    assert_ne!(digest(announced), unknown);
    bench.exclusions = Exclusions::default();
    let question = |as_of| bench.ask("2026-04", Some(as_of)).inputs_digest;
    assert_eq!(
        question("2026-04-02T11:59:59+02:00"),
        unknown,
        "what does not exist is in no digest"
    );
}

/// 100 % is promised, and `as_up` adds the excluded hour to both sides of the fraction, passed or to come.
#[test]
fn excluded_time_may_count_as_up() {
    let mut bench = bench(RULE, ", exclusions: as_up");
    bench.exclusions = Exclusions::of(vec![an_hour()]);
    bench.timeline("berlin-1", april(), "DD");
    assert_eq!(exact(&bench.april()), format!("{}/{}", 43_198 * 60, 43_200 * 60));
    let open = bench.ask("2026-04", Some("2026-04-11T00:00:00+02:00")).objectives.remove(0);
    assert_eq!(exact(&open), format!("{}/{}", 14_398 * 60, 14_400 * 60));
    // A tenth of a percent of the whole month, the hour included: 43.2 minutes less two.
    assert_eq!(open.budget_left, Some(verdict::Budget::Seconds(2_592 - 120)));
    assert_eq!(
        open.band.expect("is of time").map(|end| percent_text(&end)),
        ["0.000000%", "99.986111%"]
    );
}
