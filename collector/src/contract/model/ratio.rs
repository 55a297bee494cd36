//! The ratios of RFC 6076: how many calls, or registrations, of all of them ended in one way, by the counters of cells.

use super::Good;
use probefleet_proto::extras::{
    CALL_ATTEMPTS, COMPLETED, EFFECTIVE, ESTABLISHED, INEFFECTIVE, REDIRECTED, REGISTRATIONS,
    REGISTRATIONS_INEFFECTIVE,
};
use std::fmt;

/// A ratio of RFC 6076.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ratio {
    /// Session establishment ratio (§4.6): 2xx, of all calls that were not redirected.
    Ser,
    /// Session establishment effectiveness ratio (§4.7): somebody, or somebody's will, was reached, of the same.
    Seer,
    /// Ineffective session attempts (§4.8): a server failed, of all calls.
    Isa,
    /// Session completion ratio (§4.9): set up and ended in due form, of all calls.
    Scr,
    /// Ineffective registration attempts (§4.2), of all registrations.
    Ira,
}

impl Ratio {
    /// The words of the language.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("ser", Self::Ser),
        ("seer", Self::Seer),
        ("isa", Self::Isa),
        ("scr", Self::Scr),
        ("ira", Self::Ira),
    ];

    /// The word in an agreement.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ser => "ser",
            Self::Seer => "seer",
            Self::Isa => "isa",
            Self::Scr => "scr",
            Self::Ira => "ira",
        }
    }

    /// Which end of it is good.
    #[must_use]
    pub fn good(self) -> Good {
        match self {
            Self::Ser | Self::Seer | Self::Scr => Good::High,
            Self::Isa | Self::Ira => Good::Low,
        }
    }

    /// True of those that calls have; the other is of registrations.
    #[must_use]
    pub fn is_of_calls(self) -> bool {
        self != Self::Ira
    }

    /// What it is of, with what became of it: `calls established`.
    #[must_use]
    pub fn counted(self) -> &'static str {
        match self {
            Self::Ser => "calls established",
            Self::Seer => "calls effective",
            Self::Isa => "calls ineffective",
            Self::Scr => "calls completed",
            Self::Ira => "registrations ineffective",
        }
    }

    /// Where RFC 6076 defines it.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::Ser => "§4.6",
            Self::Seer => "§4.7",
            Self::Isa => "§4.8",
            Self::Scr => "§4.9",
            Self::Ira => "§4.2",
        }
    }

    /// How many good ones of how many, in a cell with so many ok and failed attempts. Every attempt is one call or one
    /// registration at most, so that a cell never counts for more than its attempts, whatever its counters claim.
    #[must_use]
    pub fn good_of_all(self, attempts: u32, counter: impl Fn(&str) -> u64) -> (u32, u32) {
        let count =
            |name, most: u32| u32::try_from(counter(name).min(u64::from(most))).unwrap_or(most);
        let (hits, of, without) = match self {
            Self::Ser => (ESTABLISHED, CALL_ATTEMPTS, Some(REDIRECTED)),
            Self::Seer => (EFFECTIVE, CALL_ATTEMPTS, Some(REDIRECTED)),
            Self::Isa => (INEFFECTIVE, CALL_ATTEMPTS, None),
            Self::Scr => (COMPLETED, CALL_ATTEMPTS, None),
            Self::Ira => (REGISTRATIONS_INEFFECTIVE, REGISTRATIONS, None),
        };
        let all = count(of, attempts);
        let all = all - without.map_or(0, |without| count(without, all));
        let hits = count(hits, all);
        match self.good() {
            Good::High => (hits, all),
            Good::Low => (all - hits, all),
        }
    }
}

impl fmt::Display for Ratio {
    /// What a target is of: `of calls established (SER, RFC 6076 §4.6)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.as_str().to_uppercase();
        write!(f, "of {} ({short}, RFC 6076 {})", self.counted(), self.section())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ten calls: six established, of which five ended in due form, one 302, one 486, one 503, one local timeout; and
    /// four registrations, of which one was ineffective.
    fn counter(name: &str) -> u64 {
        match name {
            CALL_ATTEMPTS => 10,
            ESTABLISHED => 6,
            REDIRECTED | REGISTRATIONS_INEFFECTIVE => 1,
            EFFECTIVE => 7,
            INEFFECTIVE => 2,
            COMPLETED => 5,
            REGISTRATIONS => 4,
            _ => 0,
        }
    }

    #[test]
    fn ratios_are_those_of_the_rfc() {
        for (ratio, good, all) in [
            (Ratio::Ser, 6, 9),
            (Ratio::Seer, 7, 9),
            (Ratio::Isa, 8, 10),
            (Ratio::Scr, 5, 10),
            (Ratio::Ira, 3, 4),
        ] {
            assert_eq!(ratio.good_of_all(14, counter), (good, all), "{ratio}");
            assert_eq!(ratio.good_of_all(14, |_| 0), (0, 0), "nothing was counted");
        }
        assert_eq!(Ratio::Seer.to_string(), "of calls effective (SEER, RFC 6076 §4.7)");
    }

    proptest! {
        #[test]
        fn no_claim_counts_for_more_than_its_attempts(
            attempts: u32, counts in proptest::collection::vec(0_u64.., 8),
        ) {
            let names = [
                CALL_ATTEMPTS, ESTABLISHED, REDIRECTED, EFFECTIVE, INEFFECTIVE, COMPLETED,
                REGISTRATIONS, REGISTRATIONS_INEFFECTIVE,
            ];
            let claimed = |name: &str| {
                names.iter().position(|known| *known == name).map_or(0, |place| counts[place])
            };
            for (_, ratio) in Ratio::WORDS {
                let (good, all) = ratio.good_of_all(attempts, claimed);
                prop_assert!(good <= all && all <= attempts);
            }
        }
    }
}
