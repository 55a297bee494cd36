//! The hash algorithms of digest authentication (RFC 7616 §6.1, RFC 8760 §2.1).

use md5::{Digest, Md5};
use probefleet_proto::hex::hex;
use sha2::{Sha256, Sha512_256};

/// What `algorithm` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Algorithm {
    /// The function.
    pub(super) hash: Hash,
    /// `-sess`: nonces are part of the key (RFC 7616 §3.4.2).
    pub(super) is_session: bool,
}

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// What nothing says, and most servers speak.
    Md5,
    /// Mandatory since RFC 7616.
    Sha256,
    /// SHA-512/256: with initial values of its own, so no beginning of a SHA-512 (FIPS 180-4 §5.3.6.2).
    Sha512Over256,
}

impl Algorithm {
    /// As a challenge names it, in any case; MD5 when it names none.
    pub(super) fn parse(name: Option<&[u8]>) -> Option<Self> {
        const SESSION: &[u8] = b"-sess";
        let name = name.unwrap_or(b"MD5");
        let (plain, ending) = name.split_at(name.len().saturating_sub(SESSION.len()));
        let is_session = ending.eq_ignore_ascii_case(SESSION);
        let plain = if is_session { plain } else { name };
        let known: [(&[u8], Hash); 3] = [
            (b"MD5", Hash::Md5),
            (b"SHA-256", Hash::Sha256),
            (b"SHA-512-256", Hash::Sha512Over256),
        ];
        let (_, hash) = known.into_iter().find(|(known, _)| plain.eq_ignore_ascii_case(known))?;
        Some(Self { hash, is_session })
    }
}

impl Hash {
    /// The hash of the parts with a colon between them, in lower-case hexadecimal (RFC 7616 §3.2).
    pub(super) fn of(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => digest::<Md5>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha512Over256 => digest::<Sha512_256>(parts),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> String {
    let mut hash = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hex(&hash.finalize())
}
