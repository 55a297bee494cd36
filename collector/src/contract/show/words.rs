//! Words for quantities, dates and lists. What is written here is exact: a number that is rounded would be another contract.

use crate::contract::model::{Operator, Unit};
use crate::contract::money::{Currency, Money};
use crate::contract::number::{self, Exact, power_of_ten, scaled_text};
use crate::contract::period::PeriodKind;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use num_bigint::BigInt;
use probefleet_proto::units::NS_PER_S;

/// Most decimals of an exact number: what is written has up to thirty digits, and a few of them are multiplied.
const PLACES_MAX: u32 = 200;
/// From so many days on a duration is said in days; notice of 48 hours is said in hours.
const DAYS_LEAST: u64 = 4;

/// A number as a decimal with all its places; as a fraction where it has no end.
pub(super) fn exact(value: &Exact) -> String {
    let places = (0..=PLACES_MAX)
        .find(|places| (value * Exact::from_integer(power_of_ten(*places))).is_integer());
    match places {
        Some(places) => {
            let scaled = value * Exact::from_integer(power_of_ten(places));
            scaled_text(&scaled.to_integer(), places)
        }
        None => value.to_string(),
    }
}

/// A share as a percentage with all its places.
pub(super) fn percent(share: &Exact) -> String {
    format!("{}%", exact(&(share * number::whole(100))))
}

/// A figure in the unit of its measure.
pub(super) fn figure(unit: Unit, figure: &Exact) -> String {
    match unit {
        Unit::Share => percent(figure),
        Unit::Duration => nanoseconds(figure),
        Unit::Ppm => percent(&(figure / number::whole(unit.in_one()))),
        Unit::Centi => exact(&(figure / number::whole(unit.in_one()))),
        Unit::Count => exact(figure),
    }
}

/// A duration of whole seconds.
pub(super) fn seconds(seconds: u64) -> String {
    let units = [(86_400, DAYS_LEAST, "day"), (3_600, 1, "hour"), (60, 1, "minute")];
    let fits = |(unit_s, least, _): &(u64, u64, &str)| {
        seconds >= unit_s * least && seconds.is_multiple_of(*unit_s)
    };
    let (unit_s, _, unit) = units.into_iter().find(fits).unwrap_or((1, 1, "second"));
    count(seconds / unit_s, unit)
}

/// A duration, in ns.
pub(super) fn nanoseconds(ns: &Exact) -> String {
    let in_seconds = ns / number::whole(NS_PER_S);
    if in_seconds.is_integer()
        && let Ok(whole) = u64::try_from(in_seconds.to_integer())
    {
        return seconds(whole);
    }
    let units = [(NS_PER_S, "second"), (1_000_000, "millisecond"), (1_000, "microsecond")];
    let fits = |(unit_ns, _): &(u64, &str)| *ns >= number::whole(*unit_ns);
    let (unit_ns, unit) = units.into_iter().find(fits).unwrap_or((1, "nanosecond"));
    amount(&(ns / number::whole(unit_ns)), unit)
}

/// `1 window`, `2 windows`.
pub(super) fn count(number: impl Into<BigInt>, noun: &str) -> String {
    amount(&number::whole(number), noun)
}

/// `1 day`, `0.5 days`.
pub(super) fn amount(number: &Exact, noun: &str) -> String {
    let plural = if *number == number::whole(1) { "" } else { "s" };
    format!("{} {noun}{plural}", exact(number))
}

/// `12000.00 EUR`.
pub(super) fn money(money: &Money, currency: &Currency) -> String {
    format!("{} {}", currency.text(money), currency.code())
}

/// `at least 99.9%`.
pub(super) fn compared(operator: Operator, value: &str) -> String {
    let words = match operator {
        Operator::AtLeast => "at least",
        Operator::Above => "more than",
        Operator::AtMost => "at most",
        Operator::Below => "less than",
    };
    format!("{words} {value}")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn all_of<T: AsRef<str>>(texts: &[T]) -> String {
    joined(texts, "and")
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn one_of<T: AsRef<str>>(texts: &[T]) -> String {
    joined(texts, "or")
}

fn joined<T: AsRef<str>>(texts: &[T], last_word: &str) -> String {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    match texts.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} {last_word} {last}", first.join(", ")),
    }
}

/// What people have written, on one line and without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() && !c.is_whitespace() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text that ends like a sentence.
pub(super) fn sentence(text: &str) -> String {
    let text = plain(text);
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

/// `3 April 2026`.
pub(super) fn date(date: Date) -> String {
    date.strftime("%-d %B %Y").to_string()
}

/// `1 January 2026 at 00:00 (UTC+01:00)`: a clock time that exists twice is told apart.
pub(super) fn instant(instant_s: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_second(instant_s) else {
        return format!("{instant_s} seconds after 1970");
    };
    let at = at.to_zoned(zone.clone());
    let clock = if at.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    at.strftime(&format!("%-d %B %Y at {clock} (UTC%:z)")).to_string()
}

/// The period of an objective, as the beginning or the middle of a sentence.
pub(super) fn each_period(kind: PeriodKind) -> String {
    let words = match kind {
        PeriodKind::Day => "each day",
        PeriodKind::Week => "each week from Monday on",
        PeriodKind::Month => "each calendar month",
        PeriodKind::Billing(day) => {
            return format!(
                "each month that begins on day {day} of a calendar month (on its last day, where it has none such)"
            );
        }
        PeriodKind::Quarter => "each quarter of the calendar year",
        PeriodKind::HalfYear => "each half of the calendar year",
        PeriodKind::Year => "each calendar year",
    };
    words.to_owned()
}
