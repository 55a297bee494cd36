//! Identifiers that nobody can guess: branches, tags, Call-IDs. Pure: the seed is passed in.

use probefleet_proto::hex::hex;
use sha2::{Digest as _, Sha256};

/// Bytes of a seed.
pub(crate) const SEED_BYTES: usize = 32;
/// Bytes of an identifier: 128 bits, and RFC 3261 §19.3 asks for 32 at least.
const IDENTIFIER_BYTES: usize = 16;
/// How a branch of RFC 3261 begins (§8.1.1.7).
pub(crate) const BRANCH_BEGIN: &str = "z9hG4bK";

/// Gives identifiers: the SHA-256 of the seed and a counter. Who has not the seed can guess neither the next nor the last.
#[derive(Clone)]
pub(crate) struct Identifiers {
    seed: [u8; SEED_BYTES],
    given: u64,
}

// What is still to be given stays unknown.
impl std::fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identifiers").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Identifiers {
    /// All identifiers that follow depend on the seed alone.
    pub(crate) const fn new(seed: [u8; SEED_BYTES]) -> Self {
        Self { seed, given: 0 }
    }

    /// The next one, in hexadecimal.
    pub(crate) fn next(&mut self) -> String {
        let number = self.given.to_be_bytes();
        self.given = self.given.wrapping_add(1);
        self.of(&[b"next", &number])
    }

    /// The next one, as a number that any peer can read (RFC 8866 §5.2: at most 2^63, as many read it).
    pub(crate) fn number(&mut self) -> u64 {
        self.next().bytes().take(15).fold(0, |number, digit| {
            number << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or_default())
        })
    }

    /// The next one, as a branch.
    pub(crate) fn branch(&mut self) -> String {
        [BRANCH_BEGIN, &self.next()].concat()
    }

    /// The one that always belongs to these parts: whoever sees them again gives the same.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.seed);
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hex(&hash.finalize()[..IDENTIFIER_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_and_depend_on_the_seed_alone() {
        let draw = |seed| {
            let mut identifiers = Identifiers::new([seed; SEED_BYTES]);
            (0..1_000).map(|_| identifiers.next()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(draw(1).len(), 1_000);
        assert_eq!(draw(1), draw(1));
        assert!(draw(1).is_disjoint(&draw(2)));
        let identifiers = Identifiers::new([7; SEED_BYTES]);
        assert_eq!(identifiers.of(&[b"a", b"b"]), identifiers.of(&[b"a", b"b"]));
        assert_ne!(identifiers.of(&[b"a", b"b"]), identifiers.of(&[b"ab", b""]));
        assert!(!format!("{identifiers:?}").contains('7'));
    }
}
