//! Values as `::text` writes them: from PostgreSQL's binary format to its text, with `DateStyle` ISO and `TimeZone` UTC.
//!
//! Types that are not here are cast in the query itself: the server knows best.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ToSpan as _};
use std::fmt::Write as _;
use tokio_postgres::types::{FromSql, Type};

/// Days and microseconds count from here.
const EPOCH: Date = Date::constant(2000, 1, 1);
/// Decimal digits in a digit of `numeric`.
const NUMERIC_DIGITS: u16 = 4;

/// The text of a value; `None` for a type, or a date, that is not written here.
pub(super) fn text(kind: &Type, raw: &[u8]) -> Option<String> {
    match *kind {
        Type::BOOL => read::<bool>(kind, raw).map(|value| value.to_string()),
        Type::INT2 => read::<i16>(kind, raw).map(|value| value.to_string()),
        Type::INT4 => read::<i32>(kind, raw).map(|value| value.to_string()),
        Type::INT8 => read::<i64>(kind, raw).map(|value| value.to_string()),
        Type::OID => read::<u32>(kind, raw).map(|value| value.to_string()),
        Type::FLOAT4 => read::<f32>(kind, raw).map(|value| float(&format!("{value:e}"), 6)),
        Type::FLOAT8 => read::<f64>(kind, raw).map(|value| float(&format!("{value:e}"), 15)),
        Type::NUMERIC => numeric(raw),
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN | Type::JSON | Type::XML => {
            std::str::from_utf8(raw).ok().map(str::to_owned)
        }
        // The blanks that fill a `char(n)` are no part of its text.
        Type::BPCHAR => {
            std::str::from_utf8(raw).ok().map(|text| text.trim_end_matches(' ').to_owned())
        }
        Type::JSONB => match raw.split_first()? {
            (1, text) => std::str::from_utf8(text).ok().map(str::to_owned),
            _ => None,
        },
        Type::UUID => uuid::Uuid::from_slice(raw).ok().map(|value| value.to_string()),
        Type::BYTEA => Some(bytea(raw)),
        Type::DATE => date(i32::from_be_bytes(raw.try_into().ok()?)),
        Type::TIME => time(i64::from_be_bytes(raw.try_into().ok()?)),
        Type::TIMESTAMP => timestamp(i64::from_be_bytes(raw.try_into().ok()?), ""),
        Type::TIMESTAMPTZ => timestamp(i64::from_be_bytes(raw.try_into().ok()?), "+00"),
        _ => None,
    }
}

fn read<'a, T: FromSql<'a>>(kind: &Type, raw: &'a [u8]) -> Option<T> {
    T::from_sql(kind, raw).ok()
}

/// The shortest digits that mean the number, laid out as `float8out` does: with an exponent from `10^digits` on and
/// below `10^-4`.
fn float(scientific: &str, digits: i32) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return match scientific {
            "inf" => "Infinity",
            "-inf" => "-Infinity",
            _ => "NaN",
        }
        .to_owned();
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..digits).contains(&exponent) {
        return fixed(mantissa, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// `d.ddd × 10^exponent` without an exponent.
fn fixed(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = usize::try_from(exponent + 1);
    match point {
        Ok(point) if point > 0 && point < digits.len() => {
            format!("{sign}{}.{}", &digits[..point], &digits[point..])
        }
        Ok(point) if point > 0 => format!("{sign}{digits:0<point$}"),
        _ => format!("{sign}0.{}{digits}", "0".repeat(exponent.unsigned_abs() as usize - 1)),
    }
}

/// `numeric_send`: number of digits, weight of the first, sign, decimal places, and digits of base 10,000.
fn numeric(raw: &[u8]) -> Option<String> {
    let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (_, weight, sign, places) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let weight = i16::from_be_bytes(weight.to_be_bytes());
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        0xc000 => return Some("NaN".to_owned()),
        0xd000 => return Some("Infinity".to_owned()),
        0xf000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let digits: Vec<u16> = words.collect();
    // The digit that stands for 10,000^power.
    let digit = |power: i32| {
        let index = usize::try_from(i32::from(weight) - power).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let mut text = sign.to_owned();
    match i32::from(weight) {
        first @ 0.. => {
            write!(text, "{}", digit(first)).ok()?;
            (0..first).rev().try_for_each(|power| write!(text, "{:04}", digit(power))).ok()?;
        }
        _ => text.push('0'),
    }
    if places > 0 {
        let groups = i32::from(places.div_ceil(NUMERIC_DIGITS));
        let mut fraction = String::new();
        (1..=groups).try_for_each(|power| write!(fraction, "{:04}", digit(-power))).ok()?;
        fraction.truncate(usize::from(places));
        text.push('.');
        text.push_str(&fraction);
    }
    Some(text)
}

/// `bytea_output` = hex.
fn bytea(raw: &[u8]) -> String {
    let mut text = String::from("\\x");
    for byte in raw {
        text.extend(
            [byte >> 4, byte & 15].map(|half| char::from(b"0123456789abcdef"[usize::from(half)])),
        );
    }
    text
}

fn date(days: i32) -> Option<String> {
    match days {
        i32::MAX => Some("infinity".to_owned()),
        i32::MIN => Some("-infinity".to_owned()),
        days => after_epoch(days.days()).filter(is_written).map(|at| at.date().to_string()),
    }
}

fn timestamp(us: i64, zone: &str) -> Option<String> {
    match us {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        us => {
            let at = after_epoch(Span::new().try_microseconds(us).ok()?).filter(is_written)?;
            Some(format!("{} {}{zone}", at.date(), at.time()))
        }
    }
}

fn time(us: i64) -> Option<String> {
    // 24:00:00 is a time to PostgreSQL alone.
    let at = Time::midnight().checked_add(Span::new().try_microseconds(us).ok()?).ok()?;
    Some(at.to_string())
}

fn after_epoch(span: Span) -> Option<DateTime> {
    EPOCH.at(0, 0, 0, 0).checked_add(span).ok()
}

/// Years before the first are written with `BC`, those after 9999 with five digits: cast them.
fn is_written(at: &DateTime) -> bool {
    (1..=9_999).contains(&at.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use tokio_postgres::types::ToSql;

    fn sent<T: ToSql>(kind: &Type, value: T) -> Option<String> {
        let mut raw = BytesMut::new();
        value.to_sql(kind, &mut raw).expect("can be sent");
        text(kind, &raw)
    }

    // `tests/e2e/sql` compares each type with what a server writes.
    #[test]
    fn floats_are_laid_out_as_the_server_does() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.0001, "0.0001"),
            (0.000_012_3, "1.23e-05"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (100.25, "100.25"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(sent(&Type::FLOAT8, value).as_deref(), Some(expected));
        }
        assert_eq!(sent(&Type::FLOAT4, 1e6_f32).as_deref(), Some("1e+06"));
        assert_eq!(sent(&Type::FLOAT4, 0.1_f32).as_deref(), Some("0.1"));
    }

    #[test]
    fn numerics_keep_their_places() {
        let raw = |weight: i16, sign: u16, places: u16, digits: &[u16]| {
            let head =
                [u16::try_from(digits.len()).expect("few"), weight.cast_unsigned(), sign, places];
            let words = head.iter().chain(digits);
            words.flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()
        };
        for (raw, expected) in [
            (raw(0, 0, 0, &[]), Some("0")),
            (raw(0, 0, 2, &[]), Some("0.00")),
            (raw(1, 0, 0, &[1, 2_345]), Some("12345")),
            (raw(2, 0, 0, &[1]), Some("100000000")),
            (raw(0, 0x4000, 3, &[12, 3_400]), Some("-12.340")),
            (raw(-1, 0, 2, &[500]), Some("0.05")),
            (raw(-2, 0, 6, &[1_200]), Some("0.000012")),
            (raw(0, 0xc000, 0, &[]), Some("NaN")),
            (raw(0, 0x1234, 0, &[]), None),
            (vec![0, 1], None),
        ] {
            assert_eq!(text(&Type::NUMERIC, &raw).as_deref(), expected);
        }
    }

    #[test]
    fn dates_and_times_are_iso() {
        for (kind, value, expected) in [
            (Type::TIMESTAMP, 0, Some("2000-01-01 00:00:00")),
            (Type::TIMESTAMP, 86_400_500_000, Some("2000-01-02 00:00:00.5")),
            (Type::TIMESTAMPTZ, -1, Some("1999-12-31 23:59:59.999999+00")),
            (Type::TIMESTAMPTZ, i64::MAX, Some("infinity")),
            (Type::TIMESTAMPTZ, i64::MAX - 1, None),
            (Type::TIME, 3_661_000_001, Some("01:01:01.000001")),
        ] {
            let raw = i64::to_be_bytes(value);
            assert_eq!(text(&kind, &raw).as_deref(), expected, "{kind} {value}");
        }
        for (days, expected) in [
            (0, Some("2000-01-01")),
            (-730_119, Some("0001-01-01")),
            (-730_120, None),
            (i32::MIN, Some("-infinity")),
        ] {
            assert_eq!(text(&Type::DATE, &i32::to_be_bytes(days)).as_deref(), expected, "{days}");
        }
    }

    #[test]
    fn other_types() {
        for (kind, raw, expected) in [
            (Type::BOOL, &b"\x01"[..], Some("true")),
            (Type::BPCHAR, b"a   ", Some("a")),
            (Type::INT8, &[0xff; 8], Some("-1")),
            (Type::INT4, b"\0", None),
            (Type::OID, &[0xff; 4], Some("4294967295")),
            (Type::TEXT, "grün".as_bytes(), Some("grün")),
            (Type::TEXT, b"\xff", None),
            (Type::JSONB, b"\x01{\"a\": 1}", Some("{\"a\": 1}")),
            (Type::BYTEA, b"\x00\xab", Some("\\x00ab")),
            (Type::UUID, &[0x11; 16], Some("11111111-1111-1111-1111-111111111111")),
            (Type::INTERVAL, &[0; 16], None),
        ] {
            assert_eq!(text(&kind, raw).as_deref(), expected, "{kind}");
        }
    }
}
