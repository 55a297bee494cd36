//! Periods: the stretches of an agreement's local calendar that are judged.

mod instant;

pub use instant::{end_of_date_at, instant_s, instant_text, local_text, start_of_date};

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

#[cfg(test)]
mod tests;
