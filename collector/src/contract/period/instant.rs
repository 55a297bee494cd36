//! Instants and dates: the first second of a date in a zone, and how instants are written.

use super::{PeriodKind, PeriodLabel};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

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
}
