//! Lengths, names and neighbours of periods.

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("in the zone database")
}

fn hours(label: &str, name: &str) -> u64 {
    PeriodLabel::parse(label).expect("a label").span(&zone(name)).expect("in range").seconds()
        / 3_600
}

/// T2.
#[test]
fn months_have_their_real_length() {
    for (label, name, expected) in [
        ("2026-03", "America/New_York", 743),
        ("2026-11", "America/New_York", 721),
        ("2026-03", "Europe/Berlin", 743),
        ("2026-10", "Europe/Berlin", 745),
        ("2026-10", "Asia/Tokyo", 744),
        ("2026-10", "Asia/Kathmandu", 744),
        ("2026-02", "Europe/Berlin", 672),
        ("2026-03-29", "Europe/Berlin", 23),
        ("2026-10-25", "Europe/Berlin", 25),
        ("2026-W13", "Europe/Berlin", 167),
        ("2026-Q1", "Europe/Berlin", 90 * 24 - 1),
        ("2026", "Europe/Berlin", 8_760),
    ] {
        assert_eq!(hours(label, name), expected, "{label} {name}");
    }
}

#[test]
fn labels_are_read_and_written() {
    let good = [
        "2026-04",
        "2026-04-17",
        "2028-02-29",
        "2026-W16",
        "2026-W53",
        "2026-Q2",
        "2026-Q4",
        "2026-H1",
        "2026-H2",
        "2026",
    ];
    for text in good {
        assert_eq!(PeriodLabel::parse(text).expect("a label").to_string(), text);
    }
    for text in [
        "",
        "2026-13",
        "2026-02-30",
        "26-04",
        "2026-4",
        "2026-04-",
        "april",
        "2026-00",
        "2025-W53",
        "2026-W00",
        "2026-Q0",
        "2026-Q5",
        "2026-H3",
        "2026-w16",
        "2026-W1",
        "02026",
    ] {
        assert!(matches!(PeriodLabel::parse(text), Err(LabelError::Unknown(_))), "{text}");
    }
}

#[test]
fn an_instant_has_its_period() {
    let berlin = zone("Europe/Berlin");
    let label = |kind, instant: &str| {
        let at: Timestamp = instant.parse().expect("an instant");
        PeriodLabel::at(kind, &berlin, at.as_second()).expect("in range").to_string()
    };
    assert_eq!(label(PeriodKind::Month, "2026-03-31T22:00:00Z"), "2026-04");
    assert_eq!(label(PeriodKind::Month, "2026-03-31T21:59:59Z"), "2026-03");
    assert_eq!(label(PeriodKind::Day, "2026-10-25T22:59:59Z"), "2026-10-25");
    for (kind, expected, before, after, dates) in [
        (PeriodKind::Day, "2026-04-19", "2026-04-18", "2026-04-20", 1),
        (PeriodKind::Week, "2026-W16", "2026-W15", "2026-W17", 7),
        (PeriodKind::Month, "2026-04", "2026-03", "2026-05", 30),
        (PeriodKind::Quarter, "2026-Q2", "2026-Q1", "2026-Q3", 91),
        (PeriodKind::HalfYear, "2026-H1", "2025-H2", "2026-H2", 181),
        (PeriodKind::Year, "2026", "2025", "2027", 365),
    ] {
        assert_eq!(label(kind, "2026-04-19T21:59:59Z"), expected);
        let period = PeriodLabel::parse(expected).expect("a label");
        assert_eq!(period.previous().map(|label| label.to_string()).as_deref(), Some(before));
        assert_eq!(period.next().map(|label| label.to_string()).as_deref(), Some(after));
        assert_eq!((period.kind(), period.dates(&berlin).count()), (kind, dates));
        assert!(dates as u64 >= kind.days_min());
    }
    assert_eq!(label(PeriodKind::Week, "2027-01-03T12:00:00Z"), "2026-W53");
}

/// On a day that a month lacks, its last is meant, and the month after has the day again.
#[test]
fn billing_months_begin_on_their_day() {
    let berlin = zone("Europe/Berlin");
    let at = |day, date: &str| {
        let noon: Timestamp = format!("{date}T10:00:00Z").parse().expect("an instant");
        PeriodLabel::at(PeriodKind::Billing(day), &berlin, noon.as_second()).expect("in range")
    };
    for (day, date, expected, first) in [
        (15, "2026-04-14", "2026-03", "2026-03-15"),
        (15, "2026-04-15", "2026-04", "2026-04-15"),
        (31, "2026-02-27", "2026-01", "2026-01-31"),
        (31, "2026-02-28", "2026-02", "2026-02-28"),
        (31, "2026-03-30", "2026-02", "2026-02-28"),
        (29, "2028-02-29", "2028-02", "2028-02-29"),
        (1, "2026-12-31", "2026-12", "2026-12-01"),
    ] {
        let label = at(day, date);
        assert_eq!(
            (label.to_string().as_str(), label.first.to_string().as_str()),
            (expected, first),
            "{day} {date}"
        );
        assert_eq!(PeriodLabel::parse(expected).expect("a label").billed(day), label);
        assert_eq!(label.next().and_then(PeriodLabel::previous), Some(label));
    }
    let seconds = |label: &str| {
        PeriodLabel::parse(label)
            .expect("a label")
            .billed(31)
            .span(&berlin)
            .expect("in range")
            .seconds()
    };
    assert_eq!((seconds("2026-01"), seconds("2026-02")), (28 * 86_400, 31 * 86_400 - 3_600));
    let day = PeriodLabel::parse("2026-04-15").expect("a label");
    assert_eq!(day.billed(3), day, "only a month begins on a billing day");
}

/// At a minute past the midnight with which 1 November 2009 began, the clocks of Newfoundland went back to 23:01: the hour
/// that shows October once more is November's.
#[test]
fn a_date_that_clocks_show_again_is_over() {
    let zone = zone("America/St_Johns");
    let begins_s = instant_s("2009-11-01T02:30:00Z").expect("an instant");
    for (kind, before, after) in [
        (PeriodKind::Month, "2009-10", "2009-11"),
        (PeriodKind::Day, "2009-10-31", "2009-11-01"),
        (PeriodKind::Billing(1), "2009-10", "2009-11"),
    ] {
        let at = |instant_s| PeriodLabel::at(kind, &zone, instant_s).expect("in range").to_string();
        assert_eq!(at(begins_s - 1), before);
        for instant_s in [0, 59, 60, 1_800, 3_599, 3_600].map(|later_s| begins_s + later_s) {
            assert_eq!(at(instant_s), after, "{}", local_text(instant_s, &zone));
        }
    }
    assert_eq!(end_of_date_at(begins_s, &zone), Some(begins_s));
    assert_eq!(end_of_date_at(begins_s + 1_800, &zone), Some(begins_s + 25 * 3_600));
}

/// Cuba's midnight of 8 March 2026 does not exist.
#[test]
fn a_date_without_midnight_begins_after_the_gap() {
    assert_eq!(hours("2026-03-08", "America/Havana"), 23);
}
