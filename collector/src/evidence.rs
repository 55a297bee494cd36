//! Whether a record was signed by an evidence key (`proto/src/evidence.rs`): asked when it comes, and whenever somebody doubts
//! the store. Pure.

use probefleet_proto::evidence::PublicKey;
use probefleet_proto::record::Hash;
use ring::signature::{ED25519, UnparsedPublicKey};

/// Whether a signature over the hash of a record's content is by that key (RFC 8032 §5.1.7).
#[must_use]
pub fn is_signed_by(key: &PublicKey, content_hash: &Hash, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key.as_bytes()).verify(content_hash, signature).is_ok()
}

/// A pair of keys of a seed, for tests: what an agent would have.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use probefleet_proto::record::{Record, SpoolId};
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    /// An agent's key.
    pub(crate) struct Signer(Ed25519KeyPair);

    impl Signer {
        pub(crate) fn new(seed: u8) -> Self {
            Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes"))
        }

        pub(crate) fn public(&self) -> PublicKey {
            let bytes = self.0.public_key().as_ref().try_into().expect("32 bytes");
            PublicKey::new(bytes).expect("not weak")
        }

        pub(crate) fn sign(&self, record: &mut Record, spool_id: &SpoolId) {
            record.signature = self.0.sign(&record.content_hash(spool_id)).as_ref().to_vec();
        }
    }

    /// RFC 8032 §7.1, test 3, whose message has two bytes: the same algorithm as everybody's.
    #[test]
    fn a_signature_is_that_of_the_rfc() {
        let hex = |text: &str| -> Vec<u8> {
            let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
            (0..text.len()).step_by(2).map(byte).collect()
        };
        let key = hex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        let signature = hex(
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        );
        let key = UnparsedPublicKey::new(&ED25519, key);
        assert!(key.verify(&[0xaf, 0x82], &signature).is_ok());
    }

    #[test]
    fn another_key_hash_or_signature_is_no_signature() {
        let (key, other, hash) = (Signer::new(1), Signer::new(2), [9; 32]);
        let signature = key.0.sign(&hash).as_ref().to_vec();
        assert!(is_signed_by(&key.public(), &hash, &signature));
        assert!(!is_signed_by(&other.public(), &hash, &signature));
        assert!(!is_signed_by(&key.public(), &[8; 32], &signature));
        assert!(!is_signed_by(&key.public(), &hash, &signature[1..]));
        assert!(!is_signed_by(&key.public(), &hash, &[]));
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_signed_by(&key.public(), &hash, &flipped), "bit {bit}");
        }
    }

    /// Why weak keys are refused: under the neutral element this "signature" is good for everything.
    #[test]
    fn under_a_weak_key_anybody_could_sign() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let forged = [neutral, [0; 32]].concat();
        let key = UnparsedPublicKey::new(&ED25519, neutral);
        assert!(key.verify(b"whatever", &forged).is_ok() && PublicKey::new(neutral).is_err());
    }
}
