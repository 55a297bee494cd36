//! Evidence keys, with which agents sign their records (Ed25519, RFC 8032 §5.1), as both parties name and compare them. Pure.
//!
//! People compare fingerprints: the first half of SHA-256 of the 32 bytes of the public key, which any other tool can compute
//! too. 128 bits are enough, because nobody gains anything by two keys of his own that look alike.

use crate::hex::hex;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 16;
/// Hexadecimal digits of a fingerprint between two hyphens.
const GROUP_DIGITS: usize = 4;

/// Points of small order, without the bit for the sign of x, and the two spellings beyond p: under such a key anybody can sign
/// (it is refused as in libsodium's `crypto_sign_verify`).
const WEAK: [[u8; PUBLIC_KEY_BYTES]; 7] = [
    [0; 32],
    little(1, 0, 0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    little(0xec, 0xff, 0x7f),
    little(0xed, 0xff, 0x7f),
    little(0xee, 0xff, 0x7f),
];

/// A number of 32 bytes, little-endian, by its first byte, its last, and what is between them.
const fn little(first: u8, between: u8, last: u8) -> [u8; PUBLIC_KEY_BYTES] {
    let mut bytes = [between; PUBLIC_KEY_BYTES];
    bytes[0] = first;
    bytes[PUBLIC_KEY_BYTES - 1] = last;
    bytes
}

/// The public half of an evidence key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

/// Under such a key a signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a point of small order is no evidence key: anybody can sign under it")]
pub struct WeakKey;

/// What people compare of a key: `3b6a-27bc-…`, 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; FINGERPRINT_BYTES]);

/// Not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's fingerprint has 32 hexadecimal digits, as the agent's log names it at its start")]
pub struct NotAFingerprint;

impl PublicKey {
    /// The key of these bytes. That they are a point of the curve shows with the first signature.
    ///
    /// # Errors
    /// [`WeakKey`] for a point of small order.
    pub fn new(bytes: [u8; PUBLIC_KEY_BYTES]) -> Result<Self, WeakKey> {
        let mut without_sign = bytes;
        without_sign[PUBLIC_KEY_BYTES - 1] &= 0x7f;
        if WEAK.contains(&without_sign) { Err(WeakKey) } else { Ok(Self(bytes)) }
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// What people compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut short = [0; FINGERPRINT_BYTES];
        short.copy_from_slice(&Sha256::digest(self.0)[..FINGERPRINT_BYTES]);
        Fingerprint(short)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.chunks(GROUP_DIGITS / 2).enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "-" }, hex(group))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    /// Hyphens, colons and case are the typist's.
    fn from_str(text: &str) -> Result<Self, NotAFingerprint> {
        let digits = text.chars().filter(|c| !matches!(c, '-' | ':' | ' '));
        let digits: Option<Vec<u8>> =
            digits.map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let digits = digits.ok_or(NotAFingerprint)?;
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | d)).collect();
        let whole = digits.len() == 2 * FINGERPRINT_BYTES;
        bytes.try_into().ok().filter(|_| whole).map(Self).ok_or(NotAFingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '07…' | xxd -r -p | sha256sum | cut -c -32`, by another tool.
    #[test]
    fn a_fingerprint_is_what_other_tools_compute() {
        let key = PublicKey::new([7; 32]).expect("not weak");
        assert_eq!(key.to_string(), "4bb0-6f8e-4e3a-7715-d201-d573-d0aa-4237");
        assert_eq!(format!("{key:?}"), key.to_string());
    }

    #[test]
    fn a_fingerprint_is_read_however_it_is_typed() {
        let key = PublicKey::new([7; 32]).expect("not weak").fingerprint();
        let text = key.to_string();
        for typed in
            [text.clone(), text.to_uppercase(), text.replace('-', ""), text.replace('-', ":")]
        {
            assert_eq!(typed.parse(), Ok(key), "{typed}");
        }
        for wrong in ["", "3b6a", &text[1..], &format!("{text}00"), &text.replace('-', "g"), "é"] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(NotAFingerprint), "{wrong}");
        }
    }

    #[test]
    fn keys_under_which_anybody_signs_are_refused() {
        for weak in WEAK {
            let mut other_sign = weak;
            other_sign[31] |= 0x80;
            assert_eq!(
                (PublicKey::new(weak), PublicKey::new(other_sign)),
                (Err(WeakKey), Err(WeakKey))
            );
        }
        // RFC 8032 §7.1, test 1.
        let key = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64,
            0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68,
            0xf7, 0x07, 0x51, 0x1a,
        ];
        assert!(PublicKey::new(key).is_ok());
    }
}
