//! Percentages that are rounded before they are compared, because some contracts say so.
//!
//! A comparison with a rounded value is one with the value itself, half a unit of the last place away. So what is certain,
//! what is left and what costs more is counted in whole seconds and attempts with rounding as without.

use super::{Operator, Unit};
use crate::contract::number::{self, Exact, power_of_ten};

/// Most places: those of a displayed percentage.
pub const PLACES_MAX: u32 = 6;

/// Places of a percentage beyond those of the share that it is.
const PERCENT_PLACES: u32 = 2;

/// To how many places a percentage is rounded, half away from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Of the percentage; at most [`PLACES_MAX`].
    pub places: u32,
}

impl Round {
    /// A value in a unit, rounded.
    #[must_use]
    pub fn of(self, value: &Exact, unit: Unit) -> Exact {
        let step = self.step(unit);
        (value / &step).round() * step
    }

    /// The comparison of a value, which is not below zero, that holds exactly where the given one holds of the rounded
    /// value.
    #[must_use]
    pub fn before(self, (operator, limit): (Operator, &Exact), unit: Unit) -> (Operator, Exact) {
        let step = self.step(unit);
        let steps = limit / &step;
        // The first multiple that is at least, or above, the limit: reached from half a step below it on.
        let first = match operator {
            Operator::AtLeast | Operator::Below => steps.ceil(),
            Operator::Above | Operator::AtMost => steps.floor() + number::whole(1),
        };
        let operator = match operator {
            Operator::AtLeast | Operator::Above => Operator::AtLeast,
            Operator::Below | Operator::AtMost => Operator::Below,
        };
        (operator, (first - Exact::new(1.into(), 2.into())) * step)
    }

    /// One unit of the last place.
    fn step(self, unit: Unit) -> Exact {
        number::whole(unit.in_one()) / number::whole(power_of_ten(self.places + PERCENT_PLACES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPERATORS: [Operator; 4] =
        [Operator::AtLeast, Operator::Above, Operator::AtMost, Operator::Below];

    fn share(text: &str) -> Exact {
        number::percentage(text).expect("valid")
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (value, places, rounded) in [
            ("99.945%", 2, "99.95%"),
            ("99.944999%", 2, "99.94%"),
            ("99.5%", 0, "100%"),
            ("0.0000005%", 6, "0.000001%"),
            ("0.0000004%", 6, "0%"),
            ("100%", 2, "100%"),
        ] {
            assert_eq!(Round { places }.of(&share(value), Unit::Share), share(rounded), "{value}");
        }
        // 833 parts per million are 0.0833 %.
        let ppm = Round { places: 2 }.of(&number::whole(833), Unit::Ppm);
        assert_eq!(ppm, number::whole(800));
    }

    proptest! {
        #[test]
        fn comparing_before_is_comparing_after(
            value in 0_u32..=20_000, limit in 0_u32..=20_000, places in 0_u32..=2, of in 0_usize..4,
        ) {
            // Two thousandths of a per cent apart, so that halves and limits between two multiples occur.
            let of_ten = |number: u32| number::whole(number) / number::whole(20_000);
            let (value, limit, round) = (of_ten(value), of_ten(limit), Round { places });
            let after = OPERATORS[of].holds(&round.of(&value, Unit::Share), &limit);
            let (operator, limit) = round.before((OPERATORS[of], &limit), Unit::Share);
            prop_assert_eq!(operator.holds(&value, &limit), after);
        }
    }
}
