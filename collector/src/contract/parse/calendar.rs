//! Calendars: service hours by day of the week, and holidays.

use super::terms::NAME_CURE;
use crate::contract::calendar::{Calendar, DAY_MINUTES, Hours};
use jiff::civil::{Date, Weekday};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Map, Node, Problems, list, one_or_many, scalar};
use std::sync::Arc;

/// The days as they are written, from Monday.
pub(in crate::contract) const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Reads the calendars of an agreement.
pub(super) fn calendars(node: &Node, problems: &mut Problems) -> Option<Vec<Arc<Calendar>>> {
    let map = Map::open(node, "the calendars", problems)?;
    let (mut read, mut total) = (Vec::new(), 0);
    for (key, at, node) in map.entries() {
        total += 1;
        match Name::new(key) {
            Ok(name) => read.extend(calendar(name, node, problems).map(Arc::new)),
            Err(_) => {
                problems.report::<()>(at, "bad-name", format!("`{key}`"), NAME_CURE);
            }
        }
    }
    (read.len() == total).then_some(read)
}

fn calendar(name: Name, node: &Node, problems: &mut Problems) -> Option<Calendar> {
    let mut map = Map::open(node, "a calendar", problems)?;
    let weekly = map.required("weekly", problems, weekly);
    let holidays = map.optional("holidays", Vec::new(), problems, |node, p| list(node, p, date));
    map.finish(problems);
    Some(Calendar { name, weekly: weekly?, holidays: holidays?.into_iter().collect() })
}

fn weekly(node: &Node, problems: &mut Problems) -> Option<Vec<Hours>> {
    let map = Map::open(node, "the week", problems)?;
    let (mut read, mut good) = (Vec::new(), true);
    for (key, at, node) in map.entries() {
        let days = days(key);
        if days.is_empty() {
            let cure = "write a day or a range of days, such as mon, sat or mon-fri";
            problems.report::<()>(at, "bad-value", format!("`{key}`"), cure);
        }
        let stretches = one_or_many(node, problems, clock_stretch);
        good &= !days.is_empty() && stretches.is_some();
        for (from, until) in stretches.unwrap_or_default() {
            read.extend(days.iter().map(|&weekday| Hours { weekday, from, until }));
        }
    }
    if good && read.is_empty() {
        let cure = "write hours of at least one day, such as `mon-fri: \"08:00-18:00\"`";
        return problems.report(node.at, "missing-key", "no hours at all", cure);
    }
    good.then_some(read)
}

/// `mon` or `mon-fri`; a range may go on over Sunday. Empty when it is neither.
fn days(text: &str) -> Vec<Weekday> {
    let place = |word: &str| DAYS.iter().position(|(name, _)| *name == word);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let Some((first, last)) = place(first).zip(place(last)) else { return Vec::new() };
    let length = (last + DAYS.len() - first) % DAYS.len() + 1;
    DAYS.iter().cycle().skip(first).take(length).map(|(_, day)| *day).collect()
}

/// `08:00-18:00`, or over midnight `22:00-06:00`; in minutes after the first midnight.
fn clock_stretch(node: &Node, problems: &mut Problems) -> Option<(u16, u16)> {
    scalar(node, problems, "bad-value", |text| {
        let cure = "write two clock times in quotes, such as \"08:00-18:00\"; 24:00 is an end";
        let (from, until) = text.split_once('-').ok_or(cure)?;
        let (from, until) = clock(from).zip(clock(until)).ok_or(cure)?;
        match (from, until) {
            (DAY_MINUTES, _) => Err(cure),
            _ if from == until => Err("no time lies in it: write \"00:00-24:00\" for a whole day"),
            _ if from < until => Ok((from, until)),
            _ => Ok((from, until + DAY_MINUTES)),
        }
    })
}

/// `08:00` in minutes after midnight, up to `24:00`.
fn clock(text: &str) -> Option<u16> {
    let digits = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = digits(hour).zip(digits(minute))?;
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY_MINUTES).then_some(minutes)
}

/// `2026-04-03`.
pub(super) fn date(node: &Node, problems: &mut Problems) -> Option<Date> {
    scalar(node, problems, "bad-date", |text| {
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let date = (shape == "0000-00-00").then(|| text.parse().ok()).flatten();
        date.ok_or("write a date such as 2026-04-03")
    })
}
