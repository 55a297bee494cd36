//! Money: whole minor units of an ISO 4217 currency, rounded once a line.

use super::number::{self, Exact, NumberError};
use num_bigint::BigInt;

/// Currencies of ISO 4217 without minor units.
const WITHOUT_DECIMALS: &str =
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
/// Currencies of ISO 4217 with thousandths.
const WITH_THREE_DECIMALS: &str = "BHD IQD JOD KWD LYD OMR TND";
/// Currencies of ISO 4217 with hundredths.
const WITH_TWO_DECIMALS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD \
    CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF \
    IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR \
    MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN \
    SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG";

/// A currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Currency {
    code: String,
    places: u32,
}

impl Currency {
    /// The currency of that ISO 4217 code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        let listed = |list: &str| list.split_whitespace().any(|known| known == code);
        let tables = [(WITH_TWO_DECIMALS, 2), (WITHOUT_DECIMALS, 0), (WITH_THREE_DECIMALS, 3)];
        let (_, places) = tables.into_iter().find(|(list, _)| listed(list))?;
        Some(Self { code: code.to_owned(), places })
    }

    /// The codes of all of them, sorted.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        let lists = [WITH_TWO_DECIMALS, WITHOUT_DECIMALS, WITH_THREE_DECIMALS];
        let mut codes: Vec<&str> = lists.iter().flat_map(|list| list.split_whitespace()).collect();
        codes.sort_unstable();
        codes.into_iter()
    }

    /// The code, such as `EUR`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Decimals of an amount.
    #[must_use]
    pub fn places(&self) -> u32 {
        self.places
    }

    /// Reads an amount such as `12000.00`.
    ///
    /// # Errors
    /// A sentence when it is no decimal or finer than the currency's minor unit.
    pub fn amount(&self, text: &str) -> Result<Money, String> {
        let exact = number::decimal(text).map_err(|error| match error {
            NumberError::TooLong => error.to_string(),
            _ => "write an amount in quotes, such as \"12000.00\"".to_owned(),
        })?;
        let minor = exact * Exact::from_integer(number::power_of_ten(self.places));
        if minor.is_integer() {
            return Ok(Money { minor: minor.to_integer() });
        }
        Err(format!("{} has {} decimals", self.code, self.places))
    }

    /// The amount as text with all decimals of the currency.
    #[must_use]
    pub fn text(&self, money: &Money) -> String {
        number::scaled_text(&money.minor, self.places)
    }

    /// By how much an amount is more than another one, with a minus where it is less.
    #[must_use]
    pub fn difference_text(&self, amount: &Money, other: &Money) -> String {
        number::scaled_text(&(&amount.minor - &other.minor), self.places)
    }
}

/// An amount in minor units of the agreement's currency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money {
    minor: BigInt,
}

impl Money {
    /// Nothing.
    #[must_use]
    pub fn zero() -> Self {
        Self { minor: BigInt::ZERO }
    }

    /// The amount in minor units, exactly.
    #[must_use]
    pub fn exact(&self) -> Exact {
        Exact::from_integer(self.minor.clone())
    }

    /// An exact number of minor units, rounded to a whole one.
    #[must_use]
    pub fn rounded(minor: &Exact, rounding: Rounding) -> Self {
        let minor = match rounding {
            Rounding::HalfAwayFromZero => minor.round().to_integer(),
            Rounding::HalfEven => half_even(minor),
            Rounding::Down => minor.trunc().to_integer(),
        };
        Self { minor }
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self { minor: &self.minor + &other.minor }
    }

    /// What is left, never below nothing.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        Self { minor: (&self.minor - &other.minor).max(BigInt::ZERO) }
    }
}

/// How an exact amount becomes whole minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest, ties away from zero.
    HalfAwayFromZero,
    /// To the nearest, ties to the even neighbour.
    HalfEven,
    /// Cut.
    Down,
}

fn half_even(value: &Exact) -> BigInt {
    let floor = value.floor();
    let rest = value - &floor;
    let half = Exact::new(1.into(), 2.into());
    let floor = floor.to_integer();
    let odd = &floor % BigInt::from(2) != BigInt::ZERO;
    if rest > half || (rest == half && odd) { floor + 1 } else { floor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_currencys_decimals() {
        let euro = Currency::parse("EUR").expect("listed");
        let amount = euro.amount("12000.5").expect("fits");
        assert_eq!(euro.text(&amount), "12000.50");
        let [more, less] = ["120.00", "0.05"].map(|text| euro.amount(text).expect("fits"));
        assert_eq!(euro.difference_text(&less, &more), "-119.95");
        assert_eq!(euro.difference_text(&more, &less), "119.95");
        assert_eq!(euro.difference_text(&less, &less), "0.00");
        assert!(euro.amount("1.005").is_err());
        assert!(euro.amount("-1").is_err());
        let yen = Currency::parse("JPY").expect("listed");
        assert_eq!(yen.text(&yen.amount("350").expect("fits")), "350");
        assert!(yen.amount("1.5").is_err());
        assert_eq!(Currency::parse("EURO"), None);
        assert_eq!(Currency::parse("ABC"), None);
    }

    #[test]
    fn rounding_is_to_the_minor_unit() {
        let half = |n: i64| Exact::new(n.into(), 2.into());
        let text = |n, rounding| Money::rounded(&half(n), rounding).minor.to_string();
        assert_eq!(text(1, Rounding::HalfAwayFromZero), "1");
        assert_eq!(text(1, Rounding::HalfEven), "0");
        assert_eq!(text(3, Rounding::HalfEven), "2");
        assert_eq!(text(5, Rounding::HalfAwayFromZero), "3");
        assert_eq!(text(5, Rounding::HalfEven), "2");
        assert_eq!(text(3, Rounding::Down), "1");
    }
}
