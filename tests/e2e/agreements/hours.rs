//! Service hours: nights, holidays, and clocks that change.

use super::{Desk, Evidence, agreement};

const OFFICE: &str =
    "calendars: {office: {weekly: {mon-fri: \"08:00-18:00\"}, holidays: [2026-04-03, 2026-04-06]}}";

/// T4: 20 working days of April; of an outage from Thursday 17:30 to 18:45 thirty minutes count.
#[test]
fn only_office_hours_count() {
    let keys = "measure: availability, target: \">= 99.9%\", hours: office, unknown: {as: up}";
    let evidence = Evidence::new().timeline("berlin-1", "2026-04-02T17:30:00+02:00", "D75");
    let verdict =
        Desk::new(&agreement(OFFICE, &[("available", keys)]), &evidence).first("--period 2026-04");
    assert_eq!(
        (&verdict["seconds"]["eligible"], &verdict["seconds"]["down"]),
        (&720_000.into(), &1_800.into())
    );
    assert_eq!(
        (&verdict["exact"], &verdict["value"], &verdict["status"]),
        (&"718200/720000".into(), &"99.750000%".into(), &"breached".into())
    );
}

/// T4: from Thursday 17:58 over Good Friday, the weekend and Easter Monday to Tuesday 08:03 is one outage of five minutes;
/// were it the clock that counts, two and three would be none.
#[test]
fn an_outage_goes_on_after_the_holidays() {
    let keys = "measure: availability, target: \">= 99.95%\", hours: office, unknown: {as: up}, outage: {after: 5}";
    let evidence = Evidence::new()
        .timeline("berlin-1", "2026-04-02T17:57:00+02:00", "U D2 U60")
        .timeline("berlin-1", "2026-04-07T07:50:00+02:00", "U10 D3 U");
    let desk = Desk::new(&agreement(OFFICE, &[("available", keys)]), &evidence);
    let verdict = desk.first("--period 2026-04");
    let outage = serde_json::json!([{"start": "2026-04-02T15:58:00Z", "end": "2026-04-07T06:03:00Z", "seconds": 300}]);
    assert_eq!(verdict["outages"], outage);
    assert_eq!((&verdict["value"], &verdict["status"]), (&"99.958333%".into(), &"met".into()));
}

/// T2, and hours that the change of the clocks cuts: 29 March 2026 in Berlin has no 02:30.
#[test]
fn months_and_hours_have_their_real_length() {
    let keys = "measure: availability, target: \">= 99.9%\"";
    for (zone, label, hours) in [
        ("America/New_York", "2026-03", 743),
        ("America/New_York", "2026-11", 721),
        ("Europe/Berlin", "2026-03", 743),
        ("Europe/Berlin", "2026-10", 745),
        ("Asia/Kathmandu", "2026-10", 744),
    ] {
        let text = agreement(&format!("time_zone: {zone}"), &[("available", keys)]);
        let verdict = Desk::new(&text, &Evidence::new()).first(&format!("--period {label}"));
        assert_eq!(verdict["seconds"]["eligible"], hours * 3_600, "{zone} {label}");
    }
    let calendar = "period: day\ncalendars: {early: {weekly: {sun: \"02:30-05:00\"}}}";
    let text = agreement(calendar, &[("available", &format!("{keys}, hours: early"))]);
    let desk = Desk::new(&text, &Evidence::new());
    for (label, minutes) in [("2026-03-22", 150), ("2026-03-29", 90), ("2026-10-25", 210)] {
        let verdict = desk.first(&format!("--period {label}"));
        assert_eq!(verdict["seconds"]["eligible"], minutes * 60, "{label}");
    }
}

/// The month from 15 March on has 31 days less the hour that Berlin skips; a day that February lacks is its last.
#[test]
fn a_month_may_begin_on_a_billing_day() {
    let keys = "measure: success, target: \">= 99%\", unknown: {as: up}, credit: {flat: 10%}";
    for (day, label, start, seconds) in [
        (15, "2026-03", "2026-03-14T23:00:00Z", 31 * 86_400 - 3_600),
        (15, "2026-04", "2026-04-14T22:00:00Z", 30 * 86_400),
        (31, "2026-02", "2026-02-27T23:00:00Z", 31 * 86_400 - 3_600),
    ] {
        let text = agreement(&format!("period: {{billing_day: {day}}}"), &[("calls", keys)]);
        let mut evidence = Evidence::new();
        evidence.cell("a", super::seconds(start), &serde_json::json!({"failed": {"timeout": 1}}));
        evidence.cell("a", super::seconds(start) - 60, &serde_json::json!({"ok": 1_000}));
        let verdict = Desk::new(&text, &evidence).judge(&format!("--period {label}"));
        assert_eq!(
            (&verdict["period"]["label"], &verdict["period"]["start"]),
            (&label.into(), &start.into())
        );
        assert_eq!(verdict["objectives"][0]["seconds"]["eligible"], seconds, "{day} {label}");
        assert_eq!(verdict["credits"]["payable"], "1200.00", "a whole month's charge");
    }
}
