//! Periods: the stretches of an agreement's local calendar that are judged.

use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::fmt;

/// A half-open stretch of absolute time, in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First second.
    pub from_s: i64,
    /// First second after it.
    pub until_s: i64,
}

impl Span {
    /// All of time.
    pub const ALWAYS: Self = Self { from_s: i64::MIN / 4, until_s: i64::MAX / 4 };

    /// What both have; empty (and with equal ends) when they do not meet.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        let from_s = self.from_s.max(other.from_s);
        Self { from_s, until_s: self.until_s.min(other.until_s).max(from_s) }
    }

    /// Its seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        u64::try_from(self.until_s.saturating_sub(self.from_s)).unwrap_or(0)
    }

    /// True when every second of `other` is one of its own.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.from_s <= other.from_s && other.until_s <= self.until_s
    }
}

/// How the calendar is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeriodKind {
    /// A local date.
    Day,
    /// A week of ISO 8601, from Monday.
    Week,
    /// A calendar month.
    Month,
    /// A month from that day of the calendar month on; where there is no such day, from its last.
    Billing(i8),
    /// Three months, from January.
    Quarter,
    /// Six months, from January.
    HalfYear,
    /// A calendar year.
    Year,
}

impl PeriodKind {
    /// Every kind with its word in an agreement.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("day", Self::Day),
        ("week", Self::Week),
        ("month", Self::Month),
        ("quarter", Self::Quarter),
        ("half_year", Self::HalfYear),
        ("year", Self::Year),
    ];

    /// The word in an agreement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let word = Self::WORDS.iter().find(|(_, kind)| *kind == self).map(|(word, _)| *word);
        word.unwrap_or("billing month")
    }

    /// Whole months in it; `None` for days and weeks.
    #[must_use]
    pub fn months(self) -> Option<i8> {
        match self {
            Self::Day | Self::Week => None,
            Self::Month | Self::Billing(_) => Some(1),
            Self::Quarter => Some(3),
            Self::HalfYear => Some(6),
            Self::Year => Some(12),
        }
    }

    /// Its least number of dates.
    #[must_use]
    pub fn days_min(self) -> u64 {
        match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month | Self::Billing(_) => 28,
            Self::Quarter => 90,
            Self::HalfYear => 181,
            Self::Year => 365,
        }
    }

    /// The first date of the period in which a date lies.
    fn first(self, date: Date) -> Option<Date> {
        if let Self::Billing(day) = self {
            let first = billed_from(date, day);
            let before = || date.first_of_month().yesterday().ok();
            return if first <= date { Some(first) } else { Some(billed_from(before()?, day)) };
        }
        let Some(months) = self.months() else {
            let back = if self == Self::Week { date.weekday().to_monday_zero_offset() } else { 0 };
            return date.checked_sub(i64::from(back).days()).ok();
        };
        let month = (date.month() - 1) / months * months + 1;
        Date::new(date.year(), month, 1).ok()
    }

    /// The first date of the period that many months or days away from one that begins at a date.
    fn away(self, first: Date, periods: i64) -> Option<Date> {
        let Self::Billing(day) = self else {
            return first.checked_add(self.length().checked_mul(periods).ok()?).ok();
        };
        let month = first.first_of_month().checked_add(periods.months()).ok()?;
        Some(billed_from(month, day))
    }

    /// The length of the period that begins at its first date.
    fn length(self) -> jiff::Span {
        match (self, self.months()) {
            (_, Some(months)) => i64::from(months).months(),
            (Self::Week, None) => 7.days(),
            (_, None) => 1.day(),
        }
    }
}

/// The name of one period, such as `2026-04`, `2026-04-17`, `2026-W16`, `2026-Q2`, `2026-H1` or `2026`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodLabel {
    first: Date,
    kind: PeriodKind,
}

/// The text is no label of a period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No label.
    #[error("`{0}` is no period; write 2026-04-17, 2026-W16, 2026-04, 2026-Q2, 2026-H1 or 2026")]
    Unknown(String),
    /// The period ends outside the calendar.
    #[error("`{0}` lies outside the calendar")]
    OutOfRange(String),
}

impl PeriodLabel {
    /// Reads a label; its form names the kind of period.
    ///
    /// # Errors
    /// [`LabelError`] when it names no period.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let number = |from: usize| text.get(from..)?.parse::<i8>().ok();
        let year = || text.get(..4)?.parse::<i16>().ok();
        let month = |month: i8| Date::new(year()?, month, 1).ok();
        let label = match shape.as_str() {
            "0000-00-00" => text.parse().ok().map(|date| (date, PeriodKind::Day)),
            "0000-W00" => monday(year(), number(6)).map(|date| (date, PeriodKind::Week)),
            "0000-00" => number(5).and_then(month).map(|date| (date, PeriodKind::Month)),
            "0000-Q0" => number(6)
                .filter(|quarter| (1..=4).contains(quarter))
                .and_then(|quarter| month(quarter * 3 - 2))
                .map(|date| (date, PeriodKind::Quarter)),
            "0000-H0" => number(6)
                .filter(|half| (1..=2).contains(half))
                .and_then(|half| month(half * 6 - 5))
                .map(|date| (date, PeriodKind::HalfYear)),
            "0000" => month(1).map(|date| (date, PeriodKind::Year)),
            _ => None,
        };
        let (first, kind) = label.ok_or_else(|| LabelError::Unknown(text.to_owned()))?;
        Ok(Self { first, kind })
    }

    /// The period of that kind in which an instant lies. `None` outside jiff's calendar (years -9999 to 9999).
    #[must_use]
    pub fn at(kind: PeriodKind, zone: &TimeZone, instant_s: i64) -> Option<Self> {
        let date = zone.to_datetime(Timestamp::from_second(instant_s).ok()?).date();
        let label = Self { first: kind.first(date)?, kind };
        // Clocks that go back just after midnight show the date before once more, when its end has passed.
        let end_s = start_of_date(label.end_date()?, zone)?;
        if end_s <= instant_s { label.next() } else { Some(label) }
    }

    /// What it names where months begin on a billing day: the one that begins in that month.
    #[must_use]
    pub fn billed(self, day: i8) -> Self {
        match self.kind {
            PeriodKind::Month => {
                Self { first: billed_from(self.first, day), kind: PeriodKind::Billing(day) }
            }
            _ => self,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> PeriodKind {
        self.kind
    }

    /// The period of the same kind that follows. `None` at the calendar's end.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Some(Self { first: self.end_date()?, kind: self.kind })
    }

    /// The period of the same kind before. `None` at the calendar's beginning.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        Some(Self { first: self.kind.away(self.first, -1)?, kind: self.kind })
    }

    /// Its bounds in a zone: from the first instant of its first date to the first instant of the date after it, so
    /// that each date has its real length (23, 24 or 25 hours).
    ///
    /// # Errors
    /// [`LabelError::OutOfRange`] at the calendar's end.
    pub fn span(self, zone: &TimeZone) -> Result<Span, LabelError> {
        let out_of_range = || LabelError::OutOfRange(self.to_string());
        let from_s = start_of_date(self.first, zone).ok_or_else(out_of_range)?;
        let until_s =
            self.end_date().and_then(|date| start_of_date(date, zone)).ok_or_else(out_of_range)?;
        Ok(Span { from_s, until_s })
    }

    /// Its dates, each as its stretch of absolute time.
    pub fn dates(self, zone: &TimeZone) -> impl Iterator<Item = Span> {
        let end = self.end_date().unwrap_or(self.first);
        let dates = self.first.series(1.day()).take_while(move |date| *date < end);
        dates.filter_map(move |date| {
            let next = date.tomorrow().ok()?;
            Some(Span { from_s: start_of_date(date, zone)?, until_s: start_of_date(next, zone)? })
        })
    }

    fn end_date(self) -> Option<Date> {
        self.kind.away(self.first, 1)
    }
}

/// The billing day of a date's month, or its last where it has no such day.
fn billed_from(date: Date, day: i8) -> Date {
    let day = day.clamp(1, date.days_in_month());
    date.with().day(day).build().unwrap_or(date)
}

/// The Monday of a week of ISO 8601.
fn monday(year: Option<i16>, week: Option<i8>) -> Option<Date> {
    Some(ISOWeekDate::new(year?, week?, Weekday::Monday).ok()?.date())
}

impl fmt::Display for PeriodLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month) = (self.first.year(), self.first.month());
        match self.kind {
            PeriodKind::Day => write!(f, "{}", self.first),
            PeriodKind::Week => {
                let week = self.first.iso_week_date();
                write!(f, "{:04}-W{:02}", week.year(), week.week())
            }
            PeriodKind::Month | PeriodKind::Billing(_) => write!(f, "{year:04}-{month:02}"),
            PeriodKind::Quarter => write!(f, "{year:04}-Q{}", (month + 2) / 3),
            PeriodKind::HalfYear => write!(f, "{year:04}-H{}", (month + 5) / 6),
            PeriodKind::Year => write!(f, "{year:04}"),
        }
    }
}

/// The first instant of a date: midnight, or where midnight does not exist the end of the gap.
#[must_use]
pub fn start_of_date(date: Date, zone: &TimeZone) -> Option<i64> {
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second())
}

/// The first instant of a date that is not before another one: the end of its date, unless it begins one itself.
#[must_use]
pub fn end_of_date_at(instant_s: i64, zone: &TimeZone) -> Option<i64> {
    let day = PeriodLabel::at(PeriodKind::Day, zone, instant_s)?.span(zone).ok()?;
    Some(if day.from_s == instant_s { instant_s } else { day.until_s })
}

/// Reads an instant, RFC 3339 with offset and whole seconds, as seconds since 1970 UTC.
#[must_use]
pub fn instant_s(text: &str) -> Option<i64> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let offset = shape.strip_prefix("0000-00-00T00:00:00")?;
    if !matches!(offset, "Z" | "+00:00" | "-00:00") {
        return None;
    }
    Some(text.parse::<Timestamp>().ok()?.as_second())
}

/// An instant as RFC 3339 in UTC.
#[must_use]
pub fn instant_text(instant_s: i64) -> String {
    Timestamp::from_second(instant_s).map_or_else(|_| format!("@{instant_s}"), |at| at.to_string())
}

/// An instant as local time to the minute, or to the second where there are seconds.
#[must_use]
pub fn local_text(instant_s: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_second(instant_s) else { return instant_text(instant_s) };
    let format = if instant_s.rem_euclid(60) == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    at.to_zoned(zone.clone()).strftime(format).to_string()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn instants_are_whole_seconds_with_an_offset() {
        assert_eq!(instant_s("2026-04-01T00:00:00Z"), Some(1_775_001_600));
        assert_eq!(instant_s("2026-04-01T02:00:00+02:00"), Some(1_775_001_600));
        assert_eq!(instant_text(1_775_001_600), "2026-04-01T00:00:00Z");
        for bad in [
            "",
            "2026-04-01",
            "2026-04-01T00:00:00",
            "2026-04-01T00:00:00.5Z",
            "2026-04-01 00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-04-01T25:00:00Z",
            "20260401T000000Z",
        ] {
            assert_eq!(instant_s(bad), None, "{bad}");
        }
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
            let at =
                |instant_s| PeriodLabel::at(kind, &zone, instant_s).expect("in range").to_string();
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
}
