//! Periods: the stretches of an agreement's local calendar that are judged.

use jiff::civil::Date;
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeriodKind {
    /// A local date.
    Day,
    /// A calendar month.
    Month,
}

impl PeriodKind {
    /// The word in an agreement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// The name of one period, such as `2026-04` or `2026-04-17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeriodLabel {
    first: Date,
    kind: Kind,
}

/// [`PeriodKind`] with an order, for labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Day,
    Month,
}

/// The text is no label of a period that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A label of a kind of period that is not supported yet.
    #[error(
        "`{0}`: weeks, quarters, half years and years cannot be judged yet; name a month or a day"
    )]
    NotSupportedYet(String),
    /// No label.
    #[error("`{0}` is no period; write a month such as 2026-04, or a day such as 2026-04-17")]
    Unknown(String),
    /// The period ends outside the calendar.
    #[error("`{0}` lies outside the calendar")]
    OutOfRange(String),
}

impl PeriodLabel {
    /// Reads a label; its form names the kind of period.
    ///
    /// # Errors
    /// [`LabelError`] when it names no day and no month.
    pub fn parse(text: &str) -> Result<Self, LabelError> {
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let unknown = || LabelError::Unknown(text.to_owned());
        match shape.as_str() {
            "0000-00-00" => {
                let first = text.parse().map_err(|_| unknown())?;
                Ok(Self { first, kind: Kind::Day })
            }
            "0000-00" => {
                let first = format!("{text}-01").parse().map_err(|_| unknown())?;
                Ok(Self { first, kind: Kind::Month })
            }
            "0000" | "0000-W00" | "0000-Q0" | "0000-H0" => {
                Err(LabelError::NotSupportedYet(text.to_owned()))
            }
            _ => Err(unknown()),
        }
    }

    /// The period of that kind in which an instant lies. `None` outside jiff's calendar (years -9999 to 9999).
    #[must_use]
    pub fn at(kind: PeriodKind, zone: &TimeZone, instant_s: i64) -> Option<Self> {
        let date = zone.to_datetime(Timestamp::from_second(instant_s).ok()?).date();
        Some(match kind {
            PeriodKind::Day => Self { first: date, kind: Kind::Day },
            PeriodKind::Month => Self { first: date.first_of_month(), kind: Kind::Month },
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(self) -> PeriodKind {
        match self.kind {
            Kind::Day => PeriodKind::Day,
            Kind::Month => PeriodKind::Month,
        }
    }

    /// The period of the same kind that follows. `None` at the calendar's end.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Some(Self { first: self.end_date()?, kind: self.kind })
    }

    /// The period of the same kind before. `None` at the calendar's beginning.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        let step = match self.kind {
            Kind::Day => 1.day(),
            Kind::Month => 1.month(),
        };
        Some(Self { first: self.first.checked_sub(step).ok()?, kind: self.kind })
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
        match self.kind {
            Kind::Day => self.first.tomorrow().ok(),
            Kind::Month => self.first.checked_add(1.month()).ok(),
        }
    }
}

impl fmt::Display for PeriodLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Day => write!(f, "{}", self.first),
            Kind::Month => write!(f, "{:04}-{:02}", self.first.year(), self.first.month()),
        }
    }
}

/// The first instant of a date: midnight, or where midnight does not exist the end of the gap.
#[must_use]
pub fn start_of_date(date: Date, zone: &TimeZone) -> Option<i64> {
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second())
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
        ] {
            assert_eq!(hours(label, name), expected, "{label} {name}");
        }
    }

    #[test]
    fn labels_are_read_and_written() {
        for text in ["2026-04", "2026-04-17", "2028-02-29"] {
            assert_eq!(PeriodLabel::parse(text).expect("a label").to_string(), text);
        }
        for text in ["2026", "2026-W16", "2026-Q2", "2026-H1"] {
            assert!(
                matches!(PeriodLabel::parse(text), Err(LabelError::NotSupportedYet(_))),
                "{text}"
            );
        }
        for text in ["", "2026-13", "2026-02-30", "26-04", "2026-4", "2026-04-", "april", "2026-00"]
        {
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
        let april = PeriodLabel::parse("2026-04").expect("a label");
        assert_eq!(april.next().expect("in range").to_string(), "2026-05");
        assert_eq!(april.previous().expect("in range").to_string(), "2026-03");
        assert_eq!(april.dates(&berlin).count(), 30);
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

    /// Cuba's midnight of 8 March 2026 does not exist.
    #[test]
    fn a_date_without_midnight_begins_after_the_gap() {
        assert_eq!(hours("2026-03-08", "America/Havana"), 23);
    }
}
