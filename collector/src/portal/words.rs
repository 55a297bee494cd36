//! Figures as people read them.

use crate::contract::period::{Span, instant_text};
use crate::sla::Status;
use crate::sla::verdict::{Attempts, Seconds};
use crate::verdict::words::span_text;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A text with the class of its colour: `good`, `warn`, `bad` or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) text: String,
    pub(super) class: &'static str,
}

impl Marked {
    pub(super) fn new(text: impl Into<String>, class: &'static str) -> Self {
        Self { text: text.into(), class }
    }
}

/// The order in which statuses ask for attention, the first the most.
pub(super) const BY_URGENCY: [Status; 9] = [
    Status::Breached,
    Status::BreachCertain,
    Status::AtRisk,
    Status::Inconclusive,
    Status::Pending,
    Status::OnTrack,
    Status::MetCertain,
    Status::Met,
    Status::NotApplicable,
];

/// The most urgent of some statuses.
pub(super) fn most_urgent(statuses: impl IntoIterator<Item = Status>) -> Option<Status> {
    let urgency = |status: &Status| BY_URGENCY.iter().position(|known| known == status);
    statuses.into_iter().min_by_key(urgency)
}

pub(super) fn status(status: Status) -> Marked {
    match status {
        Status::Met => Marked::new("Met", "good"),
        Status::MetCertain => Marked::new("Met for certain", "good"),
        Status::OnTrack => Marked::new("On track", "good"),
        Status::AtRisk => Marked::new("At risk", "warn"),
        Status::Inconclusive => Marked::new("Inconclusive", "warn"),
        Status::Breached => Marked::new("Breached", "bad"),
        Status::BreachCertain => Marked::new("Breach certain", "bad"),
        Status::Pending => Marked::new("No data yet", "none"),
        Status::NotApplicable => Marked::new("Not applicable", "none"),
    }
}

/// How long ago something was: `12 s`, `3 min`, `2 h 5 min`, `3 days`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Bytes as people read them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

/// Milliseconds with as many places as matter.
pub(super) fn milliseconds(ns: u64) -> String {
    match ns {
        0..10_000_000 => format!("{}.{:02} ms", ns / 1_000_000, ns / 10_000 % 100),
        10_000_000..10_000_000_000 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

/// A local time with its zone's abbreviation: `2026-04-03 10:00:00 CEST`.
pub(super) fn local_time(instant_s: i64, zone: &TimeZone) -> String {
    strftime(instant_s, zone, "%Y-%m-%d %H:%M:%S %Z")
}

/// The time of day from one instant to another: `10:00:00 to 10:00:10`.
pub(super) fn stretch(span: Span, zone: &TimeZone) -> String {
    let time = |instant_s| strftime(instant_s, zone, "%H:%M:%S");
    format!("{} to {}", time(span.from_s), time(span.until_s))
}

/// Day and time of day from one instant to another: `3 Apr 10:00 to 3 Apr 10:08`.
pub(super) fn long_stretch(span: Span, zone: &TimeZone) -> String {
    let time = |instant_s| strftime(instant_s, zone, "%-d %b %H:%M");
    format!("{} to {}", time(span.from_s), time(span.until_s))
}

fn strftime(instant_s: i64, zone: &TimeZone, format: &str) -> String {
    Timestamp::from_second(instant_s).map_or_else(
        |_| instant_text(instant_s),
        |at| at.to_zoned(zone.clone()).strftime(format).to_string(),
    )
}

pub(super) fn attempts(attempts: &Attempts) -> String {
    let Attempts { scheduled, ok, failed, invalid, missed } = attempts;
    let mut text = format!("{scheduled} due: {ok} ok, {failed} failed");
    if invalid + missed > 0 {
        text.push_str(&format!(", not counted: {invalid} invalid, {missed} missed"));
    }
    text
}

/// The stretches of a period by state.
pub(super) fn time(seconds: &Seconds) -> String {
    let stretches = [
        (seconds.up, "up"),
        (seconds.down, "down"),
        (seconds.unknown, "unknown"),
        (seconds.excluded, "excluded"),
        (seconds.remaining.unwrap_or_default(), "to come"),
    ];
    let told = stretches.iter().filter(|(length, _)| *length > 0);
    let told: Vec<String> =
        told.map(|(length, name)| format!("{} {name}", span_text(*length))).collect();
    if told.is_empty() { "–".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_sizes_and_times() {
        for (seconds, text) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_500, "2 h 5 min"), (259_200, "3 days")]
        {
            assert_eq!(age(seconds), text);
        }
        assert_eq!(size(2_097_152), "2 MiB");
        assert_eq!(milliseconds(1_234_567), "1.23 ms");
        assert_eq!(milliseconds(123_456_789), "123 ms");
        let berlin = TimeZone::get("Europe/Berlin").expect("in the zone database");
        assert_eq!(local_time(1_775_001_600, &berlin), "2026-04-01 02:00:00 CEST");
    }

    #[test]
    fn every_status_has_its_urgency() {
        assert_eq!(most_urgent([Status::Met, Status::AtRisk]), Some(Status::AtRisk));
        for known in BY_URGENCY {
            assert_eq!(most_urgent([known]), Some(known));
        }
    }
}
