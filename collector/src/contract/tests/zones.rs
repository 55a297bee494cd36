//! Time of every zone from 1970 to 2100: each instant lies in exactly one period, and calendars can be expanded.

use super::super::calendar::{Calendar, Hours};
use super::*;
use crate::contract::period::PeriodKind;
use jiff::civil::Weekday;

/// Of how many zones one is tried: all of them where the tests are optimised.
const EVERY: usize = if cfg!(debug_assertions) { 40 } else { 1 };

fn zones() -> impl Iterator<Item = (String, TimeZone)> {
    let database = jiff::tz::db();
    let names: Vec<String> = database.available().map(|name| name.as_str().to_owned()).collect();
    assert!(names.len() > 300, "the machine has a zone database: {}", names.len());
    // Those with skipped dates, doubled midnights and changes of half an hour are always among them.
    let odd = [
        "Pacific/Apia",
        "America/Havana",
        "Australia/Lord_Howe",
        "Africa/Monrovia",
        "Asia/Kathmandu",
    ];
    let tried: std::collections::BTreeSet<String> =
        names.into_iter().step_by(EVERY).chain(odd.map(str::to_owned)).collect();
    tried.into_iter().filter_map(|name| TimeZone::get(&name).ok().map(|zone| (name, zone)))
}

fn instant(text: &str) -> i64 {
    period::instant_s(text).expect("an instant")
}

/// Looks at every zone, on all cores.
fn in_every_zone(look: impl Fn(&str, &TimeZone) + Sync) {
    let zones: Vec<_> = zones().collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for core in 0..cores {
            let (zones, look) = (&zones, &look);
            scope.spawn(move || {
                zones.iter().skip(core).step_by(cores).for_each(|(name, zone)| look(name, zone));
            });
        }
    });
}

const KINDS: [PeriodKind; 7] = [
    PeriodKind::Day,
    PeriodKind::Week,
    PeriodKind::Month,
    PeriodKind::Billing(31),
    PeriodKind::Quarter,
    PeriodKind::HalfYear,
    PeriodKind::Year,
];

/// Where one period ends the next begins, and its first and its last second are its own. A date that a zone skips has none.
#[test]
fn every_instant_is_in_one_period() {
    let (from_s, until_s) = (instant("1970-01-01T00:00:00Z"), instant("2100-01-01T00:00:00Z"));
    in_every_zone(|name, zone| {
        for kind in KINDS {
            let mut label = PeriodLabel::at(kind, zone, from_s).expect("in range");
            let mut span = label.span(zone).expect("in range");
            assert!(span.from_s <= from_s && from_s < span.until_s, "{name} {label}");
            while span.until_s < until_s {
                let (next, end_s) = (label.next().expect("in range"), span.until_s);
                (label, span) = (next, next.span(zone).expect("in range"));
                assert_eq!(span.from_s, end_s, "{name} {label}");
                if span.seconds() == 0 {
                    assert_eq!(kind, PeriodKind::Day, "{name} {label}");
                    continue;
                }
                assert_eq!(PeriodLabel::at(kind, zone, span.from_s), Some(label), "{name}");
                assert_eq!(PeriodLabel::at(kind, zone, span.until_s - 1), Some(label), "{name}");
            }
        }
    });
}

/// Around each change of the clocks, whichever way they go: the period of an instant is the one whose span has it.
#[test]
fn an_instant_beside_a_change_of_clocks_is_in_its_period() {
    const AROUND_S: i64 = 26 * 3_600;
    let (from, until) = (instant("1970-01-01T00:00:00Z"), instant("2100-01-01T00:00:00Z"));
    let from = jiff::Timestamp::from_second(from).expect("in range");
    in_every_zone(|name, zone| {
        let changes = zone.following(from).map(|change| change.timestamp().as_second());
        for change_s in changes.take_while(|change_s| *change_s < until) {
            let near = (-AROUND_S..=AROUND_S).step_by(1_800).chain([-1, 1, 59, 61]);
            for instant_s in near.map(|offset_s| change_s + offset_s) {
                for kind in KINDS {
                    let label = PeriodLabel::at(kind, zone, instant_s).expect("in range");
                    let span = label.span(zone).expect("in range");
                    let within = span.from_s <= instant_s && instant_s < span.until_s;
                    assert!(within, "{name} {label} {}", period::instant_text(instant_s));
                }
            }
        }
    });
}

/// Hours of every day and night, year by year: in order, and none longer than clocks can make it.
#[test]
fn calendars_are_expanded_in_every_zone() {
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let week = [Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday];
    let hours = |weekday| {
        [(0, 150), (120, 1_440), (1_320, 1_740)].map(|(from, until)| Hours { weekday, from, until })
    };
    let calendar = Calendar {
        name: Name::new("all").expect("a name"),
        weekly: week.into_iter().flat_map(hours).collect(),
        holidays: std::collections::BTreeSet::new(),
    };
    in_every_zone(|name, zone| {
        for year in 1970..2100 {
            let label = PeriodLabel::parse(&year.to_string()).expect("a label");
            let hours = calendar.hours_in(label.span(zone).expect("in range"), zone);
            assert!(hours.len() >= 3 * 364, "{name}: {}", hours.len());
            assert!(hours.is_sorted(), "{name}");
            let most_s = hours.iter().map(|span| span.seconds()).max().expect("some");
            // 22 hours, and at most a day that a zone has twice.
            assert!(most_s <= 46 * 3_600, "{name}: {most_s}");
        }
    });
}
