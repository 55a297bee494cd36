//! Exact numbers: what people write as decimals and percentages, compared as rationals and rounded only for display.

use num_bigint::BigInt;
use num_rational::BigRational;

/// An exact rational. Every share, target, rate and amount that decides something is one.
pub type Exact = BigRational;

/// Most digits of a written number: more than any contract needs, few enough to stay cheap.
pub const DIGITS_MAX: usize = 30;

/// Decimal places of a displayed percentage, and of any other number, at most.
const PERCENT_PLACES: u32 = 6;

/// The text is not an exact number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not a decimal.
    #[error("not a decimal number; write digits, such as 3 or 0.5")]
    Decimal,
    /// Not a percentage.
    #[error("not a percentage; write a decimal number and %, such as 99.95%")]
    Percentage,
    /// More than [`DIGITS_MAX`] digits.
    #[error("too many digits; at most {DIGITS_MAX} are read")]
    TooLong,
}

/// A whole number.
#[must_use]
pub fn whole(number: impl Into<BigInt>) -> Exact {
    Exact::from_integer(number.into())
}

/// `numerator / denominator`; `None` when the denominator is zero.
#[must_use]
pub fn ratio(numerator: impl Into<BigInt>, denominator: impl Into<BigInt>) -> Option<Exact> {
    let denominator = denominator.into();
    (denominator != BigInt::ZERO).then(|| Exact::new(numerator.into(), denominator))
}

/// Reads an unsigned decimal such as `99.95`.
///
/// # Errors
/// [`NumberError`] when it is not digits with at most one point between them.
pub fn decimal(text: &str) -> Result<Exact, NumberError> {
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return Err(NumberError::Decimal),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Decimal);
    }
    if digits.len() > DIGITS_MAX {
        return Err(NumberError::TooLong);
    }
    let places = u32::try_from(fraction.len()).map_err(|_| NumberError::TooLong)?;
    let numerator: BigInt = digits.parse().map_err(|_| NumberError::Decimal)?;
    Ok(Exact::new(numerator, power_of_ten(places)))
}

/// Reads a percentage such as `99.95%`, as the share it is (0.9995).
///
/// # Errors
/// [`NumberError`] when it is not a decimal followed by `%`.
pub fn percentage(text: &str) -> Result<Exact, NumberError> {
    let number = text.strip_suffix('%').ok_or(NumberError::Percentage)?;
    match decimal(number) {
        Ok(value) => Ok(value / whole(100)),
        Err(NumberError::TooLong) => Err(NumberError::TooLong),
        Err(_) => Err(NumberError::Percentage),
    }
}

/// A share as a percentage with six places, half away from zero: `99.932621%`.
#[must_use]
pub fn percent_text(share: &Exact) -> String {
    format!("{}%", fixed(&(share * whole(100)), PERCENT_PLACES))
}

/// A number as the shortest decimal of at most six places: `1`, `0.5`.
#[must_use]
pub fn short(value: &Exact) -> String {
    let text = fixed(value, PERCENT_PLACES);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A share as the shortest percentage of at most six places: `10%`, `0.5%`.
#[must_use]
pub fn percent_short(share: &Exact) -> String {
    format!("{}%", short(&(share * whole(100))))
}

/// A number with exactly `places` decimals, rounded half away from zero.
#[must_use]
pub fn fixed(value: &Exact, places: u32) -> String {
    let scaled = (value * Exact::from_integer(power_of_ten(places))).round().to_integer();
    scaled_text(&scaled, places)
}

/// `units × 10^-places` as text with all its places: `(120000, 2)` is `1200.00`.
#[must_use]
pub fn scaled_text(units: &BigInt, places: u32) -> String {
    let sign = if *units < BigInt::ZERO { "-" } else { "" };
    let width = usize::try_from(places).unwrap_or(0);
    let digits = format!("{:0>least$}", units.magnitude(), least = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// 10 to the power of `places`.
#[must_use]
pub fn power_of_ten(places: u32) -> BigInt {
    BigInt::from(10).pow(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact_shares() {
        assert_eq!(percentage("99.95%"), Ok(Exact::new(9_995.into(), 10_000.into())));
        assert_eq!(percentage("100%"), Ok(whole(1)));
        for bad in ["", "%", "99.95", "-1%", "1e2%", "9.%", ".5%", " 5%", "1.2.3%", "9 %"] {
            assert_eq!(percentage(bad), Err(NumberError::Percentage), "{bad}");
        }
        assert_eq!(decimal(&"1".repeat(31)), Err(NumberError::TooLong));
    }

    #[test]
    fn display_rounds_half_away_from_zero() {
        let share = |n: i64, d: i64| ratio(n, d).expect("not zero");
        assert_eq!(percent_text(&share(2_580_660, 2_582_400)), "99.932621%");
        assert_eq!(percent_text(&share(5, 1_000_000_000)), "0.000001%");
        assert_eq!(percent_text(&share(4, 1_000_000_000)), "0.000000%");
        assert_eq!(percent_text(&share(-5, 1_000_000_000)), "-0.000001%");
        assert_eq!(percent_text(&whole(1)), "100.000000%");
        assert_eq!(percent_short(&share(1, 10)), "10%");
        assert_eq!(percent_short(&share(1, 200)), "0.5%");
        assert_eq!(percent_short(&whole(0)), "0%");
        assert_eq!(percent_short(&whole(1)), "100%");
    }

    #[test]
    fn scaled_numbers_keep_their_places() {
        for (units, places, text) in
            [(120_000, 2, "1200.00"), (5, 2, "0.05"), (-5, 3, "-0.005"), (7, 0, "7")]
        {
            assert_eq!(scaled_text(&BigInt::from(units), places), text);
        }
    }

    /// T12: the naive `99.9 / 100.0 * 1000` is 999.0000000000001, whose ceiling is the maximum.
    #[test]
    fn ranks_have_no_float_in_them() {
        let rank = |q: &str, n: i64| (percentage(q).expect("valid") * whole(n)).ceil().to_integer();
        for (q, n, expected) in [
            ("95%", 100, 95),
            ("95%", 60, 57),
            ("95%", 20, 19),
            ("95%", 1, 1),
            ("99%", 368, 365),
            ("99.9%", 1_000, 999),
            ("99.9%", 2_000, 1_998),
            ("7%", 100, 7),
            ("55%", 100, 55),
        ] {
            assert_eq!(rank(q, n), BigInt::from(expected), "{q} of {n}");
        }
    }
}
