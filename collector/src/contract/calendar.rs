//! Service hours: the parts of each week in which an objective holds, and the dates on which it does not.
//!
//! Hours are expanded date by date in the agreement's zone, never by adding weeks of seconds, so that 08:00 stays 08:00
//! when clocks change. A clock time that does not exist moves forward by the gap, and one that exists twice is the earlier
//! (RFC 5545 §3.3.5; `compatible` of the TC39 Temporal proposal).

use super::period::Span;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use probefleet_proto::name::Name;
use std::collections::BTreeSet;

/// Minutes of a date.
pub const DAY_MINUTES: u16 = 24 * 60;
/// How many dates before a stretch are looked at: hours cross one midnight, and a zone may skip a whole date.
const DATES_BEFORE: i64 = 2;

/// Service hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Its name.
    pub name: Name,
    /// The hours of a week, in no order; they may overlap.
    pub weekly: Vec<Hours>,
    /// Dates on which no hours begin.
    pub holidays: BTreeSet<Date>,
}

/// Hours of one day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The day on which they begin.
    pub weekday: Weekday,
    /// Minutes after its midnight, by the clock.
    pub from: u16,
    /// Likewise; more than [`DAY_MINUTES`] where they end on the next date.
    pub until: u16,
}

impl Calendar {
    /// The hours that touch a stretch, sorted by beginning; they may overlap, and reach beyond it.
    #[must_use]
    pub fn hours_in(&self, stretch: Span, zone: &TimeZone) -> Vec<Span> {
        let date = |instant_s: i64| zone.to_datetime(clamped(instant_s)).date();
        let first = date(stretch.from_s).checked_sub(DATES_BEFORE.days()).unwrap_or(Date::MIN);
        // Clocks that go back just after midnight may still show the date before.
        let last = date(stretch.until_s).tomorrow().unwrap_or(Date::MAX);
        let dates = first.series(1.day()).take_while(|date| *date <= last);
        let open = dates.filter(|date| !self.holidays.contains(date));
        let hours = open.flat_map(|date| {
            let today = self.weekly.iter().filter(move |hours| hours.weekday == date.weekday());
            today.filter_map(move |hours| hours.on(date, zone))
        });
        let mut spans: Vec<Span> = hours.filter(|span| span.meet(stretch).seconds() > 0).collect();
        spans.sort();
        spans
    }

    /// Seconds of an ordinary week, overlaps counted once.
    #[must_use]
    pub fn week_s(&self) -> u64 {
        let minutes: BTreeSet<u16> = self.week_minutes().collect();
        u64::try_from(minutes.len()).unwrap_or(u64::MAX) * 60
    }

    /// Seconds of the shortest day of an ordinary week that has any.
    #[must_use]
    pub fn shortest_day_s(&self) -> u64 {
        let minutes: BTreeSet<u16> = self.week_minutes().collect();
        let mut days = [0_u64; 7];
        for minute in minutes {
            if let Some(day) = days.get_mut(usize::from(minute / DAY_MINUTES)) {
                *day += 60;
            }
        }
        days.into_iter().filter(|day_s| *day_s > 0).min().unwrap_or(0)
    }

    /// The minutes of the week, from Monday.
    fn week_minutes(&self) -> impl Iterator<Item = u16> {
        const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;
        self.weekly.iter().flat_map(|hours| {
            let midnight =
                u16::from(hours.weekday.to_monday_zero_offset().unsigned_abs()) * DAY_MINUTES;
            (midnight + hours.from..midnight + hours.until).map(|minute| minute % WEEK_MINUTES)
        })
    }
}

impl Hours {
    /// Their stretch of absolute time when they begin on that date; `None` when the clocks leave nothing of it.
    fn on(self, date: Date, zone: &TimeZone) -> Option<Span> {
        let at = |minutes: u16| {
            let midnight = date.checked_add(i64::from(minutes / DAY_MINUTES).days()).ok()?;
            let (hour, minute) = (minutes % DAY_MINUTES / 60, minutes % 60);
            let time =
                Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
            let at = DateTime::from_parts(midnight, time).to_zoned(zone.clone()).ok()?;
            Some(at.timestamp().as_second())
        };
        let span = Span { from_s: at(self.from)?, until_s: at(self.until)? };
        (span.seconds() > 0).then_some(span)
    }
}

/// An instant of the calendar, whose ends stand for all that lies beyond them.
fn clamped(instant_s: i64) -> Timestamp {
    let least = Timestamp::MIN.as_second();
    Timestamp::from_second(instant_s.max(least)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::period::PeriodLabel;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("in the zone database")
    }

    fn calendar(hours: &[(Weekday, &str, &str)], holidays: &[&str]) -> Calendar {
        let minutes = |text: &str| {
            let (hour, minute) = text.split_once(':').expect("a clock time");
            hour.parse::<u16>().expect("hours") * 60 + minute.parse::<u16>().expect("minutes")
        };
        let weekly = hours.iter().map(|&(weekday, from, until)| Hours {
            weekday,
            from: minutes(from),
            until: minutes(until),
        });
        Calendar {
            name: Name::new("c").expect("a name"),
            weekly: weekly.collect(),
            holidays: holidays.iter().map(|date| date.parse().expect("a date")).collect(),
        }
    }

    /// Each stretch in local time, with its seconds.
    fn listed(calendar: &Calendar, label: &str, zone_name: &str) -> Vec<String> {
        let zone = zone(zone_name);
        let span = PeriodLabel::parse(label).expect("a label").span(&zone).expect("in range");
        let local = |instant_s| {
            let at = Timestamp::from_second(instant_s).expect("in range").to_zoned(zone.clone());
            at.strftime("%d %H:%M %:z").to_string()
        };
        let hours = calendar.hours_in(span, &zone);
        hours
            .iter()
            .map(|h| format!("{} to {}, {}", local(h.from_s), local(h.until_s), h.seconds()))
            .collect()
    }

    /// Sunday 29 March 2026: at 02:00 the clocks of Berlin go to 03:00.
    #[test]
    fn a_time_that_does_not_exist_moves_forward() {
        for (from, until, expected) in [
            ("02:30", "05:00", "29 03:30 +02:00 to 29 05:00 +02:00, 5400"),
            ("01:00", "02:30", "29 01:00 +01:00 to 29 03:30 +02:00, 5400"),
            ("01:00", "04:00", "29 01:00 +01:00 to 29 04:00 +02:00, 7200"),
            ("02:00", "03:00", ""),
            ("02:15", "03:15", ""),
        ] {
            let calendar = calendar(&[(Weekday::Sunday, from, until)], &[]);
            let found = listed(&calendar, "2026-03-29", "Europe/Berlin").join("; ");
            assert_eq!(found, expected, "{from}-{until}");
        }
    }

    /// Sunday 25 October 2026: at 03:00 summer time the clocks of Berlin go back to 02:00.
    #[test]
    fn a_time_that_exists_twice_is_the_earlier() {
        for (from, until, expected) in [
            ("02:30", "03:00", "25 02:30 +02:00 to 25 03:00 +01:00, 5400"),
            ("02:00", "02:30", "25 02:00 +02:00 to 25 02:30 +02:00, 1800"),
            ("01:00", "04:00", "25 01:00 +02:00 to 25 04:00 +01:00, 14400"),
        ] {
            let calendar = calendar(&[(Weekday::Sunday, from, until)], &[]);
            assert_eq!(
                listed(&calendar, "2026-10-25", "Europe/Berlin"),
                [expected],
                "{from}-{until}"
            );
        }
    }

    /// The night of Saturday belongs to Saturday, and is seen from Sunday; a holiday takes away the whole of it.
    #[test]
    fn hours_belong_to_the_date_on_which_they_begin() {
        let night = [(Weekday::Saturday, "22:00", "30:00")];
        let expected = ["25 22:00 +02:00 to 26 06:00 +02:00, 28800"];
        assert_eq!(listed(&calendar(&night, &[]), "2026-04-26", "Europe/Berlin"), expected);
        assert_eq!(
            listed(&calendar(&night, &["2026-04-26"]), "2026-04-26", "Europe/Berlin"),
            expected
        );
        assert_eq!(
            listed(&calendar(&night, &["2026-04-25"]), "2026-04-26", "Europe/Berlin"),
            [""; 0]
        );
        // The night in which the clocks change has an hour less.
        let found = listed(&calendar(&night, &[]), "2026-03-29", "Europe/Berlin");
        assert_eq!(found, ["28 22:00 +01:00 to 29 06:00 +02:00, 25200"]);
    }

    /// Cuba's midnight of 8 March 2026 does not exist; its clocks go from 24:00 to 01:00.
    #[test]
    fn a_day_may_end_in_a_gap() {
        let days = calendar(
            &[(Weekday::Saturday, "00:00", "24:00"), (Weekday::Sunday, "00:00", "24:00")],
            &[],
        );
        let found = listed(&days, "2026-03-08", "America/Havana");
        assert_eq!(found, ["08 01:00 -04:00 to 09 00:00 -04:00, 82800"]);
        let found = listed(&days, "2026-03-07", "America/Havana");
        assert_eq!(found, ["07 00:00 -05:00 to 08 01:00 -04:00, 86400"]);
    }

    /// T4: 22 working days of April less Good Friday and Easter Monday.
    #[test]
    fn a_month_of_office_hours() {
        use Weekday::{Friday, Monday, Thursday, Tuesday, Wednesday};
        let week =
            [Monday, Tuesday, Wednesday, Thursday, Friday].map(|day| (day, "08:00", "18:00"));
        let office = calendar(&week, &["2026-04-03", "2026-04-06"]);
        let zone = zone("Europe/Berlin");
        let april = PeriodLabel::parse("2026-04").expect("a label").span(&zone).expect("in range");
        let hours = office.hours_in(april, &zone);
        assert_eq!(
            (hours.len(), hours.iter().map(|h| h.seconds()).sum::<u64>()),
            (20, 12_000 * 60)
        );
        assert_eq!((office.week_s(), office.shortest_day_s()), (50 * 3_600, 10 * 3_600));
        let overlapping = calendar(
            &[
                (Monday, "08:00", "12:00"),
                (Monday, "11:00", "13:00"),
                (Weekday::Sunday, "23:00", "26:00"),
            ],
            &[],
        );
        assert_eq!((overlapping.week_s(), overlapping.shortest_day_s()), (8 * 3_600, 3_600));
    }

    /// Whatever the stretch, and in a zone that has skipped a whole date (Samoa, 30 December 2011).
    #[test]
    fn no_stretch_is_too_far_away() {
        let days = calendar(&[(Weekday::Friday, "08:00", "18:00")], &[]);
        for stretch in [
            Span { from_s: i64::MIN / 4, until_s: i64::MIN / 4 + 1 },
            Span { from_s: i64::MAX / 4 - 1, until_s: i64::MAX / 4 },
        ] {
            assert_eq!(days.hours_in(stretch, &zone("Europe/Berlin")), []);
        }
        let found = listed(&days, "2011-12-31", "Pacific/Apia");
        assert_eq!(found, ["31 08:00 +14:00 to 31 18:00 +14:00, 36000"]);
    }
}
