//! Quantities as people write them, read exactly: never through a float.
//!
//! | kind | written | meaning |
//! |---|---|---|
//! | duration | `45ms`, `1.5s`, `5m`, `48h`, `30d` | one decimal number and one of `ns us ms s m h d` (a day is 24 h), in ns |
//! | size | `512`, `64KiB`, `1MiB`, `1GiB` | bytes |

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

/// Units of duration with their length in ns, longest first.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("d", 86_400 * NS_PER_S),
    ("h", 3_600 * NS_PER_S),
    ("m", 60 * NS_PER_S),
    ("s", NS_PER_S),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of size with their number of bytes.
const SIZE_UNITS: [(&str, u64); 5] =
    [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// The text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "not a duration; write one number and one unit of ns us ms s m h d, such as 500ms or 30s"
    )]
    Duration,
    /// A bare number.
    #[error("a duration needs its unit: {0}s, {0}ms …")]
    MissingUnit(String),
    /// Not a size.
    #[error("not a size; write a whole number of bytes, or one with KiB, MiB or GiB, such as 1MiB")]
    Size,
    /// Finer than the unit can be divided.
    #[error("finer than a nanosecond")]
    TooFine,
    /// Does not fit.
    #[error("too large")]
    TooLarge,
}

/// Reads a duration such as `1.5s`, in ns.
///
/// # Errors
/// [`UnitError`] when it is not one number and one unit, or no whole number of ns.
pub fn parse_duration_ns(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_unit(text);
    if number.is_empty() {
        return Err(UnitError::Duration);
    }
    if unit.is_empty() {
        return Err(UnitError::MissingUnit(number.to_owned()));
    }
    let (_, unit_ns) =
        DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Duration)?;
    scale(number, *unit_ns)
        .map_err(|error| if error == UnitError::Size { UnitError::Duration } else { error })
}

/// Reads a size such as `1MiB`, in bytes.
///
/// # Errors
/// [`UnitError`] when it is not a whole number of bytes.
pub fn parse_size_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_unit(text);
    let (_, unit_bytes) =
        SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::Size)?;
    scale(number, *unit_bytes)
        .map_err(|error| if error == UnitError::TooFine { UnitError::Size } else { error })
}

/// A duration as exact text, in the largest of `ns us ms s` in which it is at least 1: `46.2ms`, `0s`.
#[must_use]
pub fn duration_text(ns: u64) -> String {
    if ns == 0 {
        return "0s".to_owned();
    }
    let (name, unit_ns) = DURATION_UNITS[3..]
        .iter()
        .copied()
        .find(|(_, unit_ns)| ns >= *unit_ns)
        .unwrap_or(("ns", 1));
    let (whole, part) = (ns / unit_ns, ns % unit_ns);
    if part == 0 {
        return format!("{whole}{name}");
    }
    let digits = unit_ns.ilog10() as usize;
    let fraction = format!("{part:0digits$}");
    format!("{whole}.{}{name}", fraction.trim_end_matches('0'))
}

/// A whole number of seconds as people write it: `90s`, `5m`, `24h`.
#[must_use]
pub fn seconds_text(s: u64) -> String {
    match s {
        0 => "0s".to_owned(),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// Splits `1.5s` into `1.5` and `s`.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// `number × unit`, exactly.
fn scale(number: &str, unit: u64) -> Result<u64, UnitError> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(UnitError::Size),
        None => (number, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(UnitError::Size);
    }
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| UnitError::TooLarge)?;
    let places = u32::try_from(fraction.len()).map_err(|_| UnitError::TooFine)?;
    let divisor = 10_u128.checked_pow(places).ok_or(UnitError::TooFine)?;
    let scaled = digits.checked_mul(u128::from(unit)).ok_or(UnitError::TooLarge)?;
    if scaled % divisor != 0 {
        return Err(UnitError::TooFine);
    }
    u64::try_from(scaled / divisor).map_err(|_| UnitError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        for (text, ns) in [
            ("0s", 0),
            ("1ns", 1),
            ("45ms", 45_000_000),
            ("1.5s", 1_500_000_000),
            ("0.000000001s", 1),
            ("5m", 300 * NS_PER_S),
            ("30d", 2_592_000 * NS_PER_S),
        ] {
            assert_eq!(parse_duration_ns(text), Ok(ns), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_why() {
        assert_eq!(parse_duration_ns("30"), Err(UnitError::MissingUnit("30".to_owned())));
        assert_eq!(parse_duration_ns("0.5ns"), Err(UnitError::TooFine));
        assert_eq!(parse_duration_ns("99999999999999999999d"), Err(UnitError::TooLarge));
        for text in ["", "s", "1 s", "1.s", ".5s", "-1s", "1e3s", "1w", "1.2.3s"] {
            assert_eq!(parse_duration_ns(text), Err(UnitError::Duration), "{text}");
        }
    }

    #[test]
    fn durations_print_in_the_largest_fitting_unit() {
        for (ns, text) in [
            (0, "0s"),
            (999, "999ns"),
            (46_200_000, "46.2ms"),
            (2_871_001_087, "2.871001087s"),
            (90 * NS_PER_S, "90s"),
        ] {
            assert_eq!(duration_text(ns), text);
            assert_eq!(parse_duration_ns(text), Ok(ns));
        }
    }

    #[test]
    fn sizes_are_bytes() {
        assert_eq!(parse_size_bytes("1MiB"), Ok(1_048_576));
        assert_eq!(parse_size_bytes("512"), Ok(512));
        assert_eq!(parse_size_bytes("0.5KiB"), Ok(512));
        for text in ["", "1MB", "MiB", "-1", "1.5B"] {
            assert_eq!(parse_size_bytes(text), Err(UnitError::Size), "{text}");
        }
    }
}
