//! Challenges as a `WWW-Authenticate` or `Proxy-Authenticate` has them (RFC 3261 §20.27, §20.44; RFC 7616 §3.3), read by
//! bytes.

use super::algorithm::Algorithm;
use crate::probe::sip::message::{split_list, split_once};
use std::borrow::Cow;

/// Most challenges of one response: a realm offers a handful of algorithms, a fork gathers a few realms.
const CHALLENGES_MAX: usize = 32;
/// Most parameters of one challenge; the RFCs know nine.
const PARAMETERS_MAX: usize = 32;
/// Longest value that is repeated. A request must fit into a datagram; nonces have some sixty bytes.
const VALUE_MAX_BYTES: usize = 1_024;

/// A challenge that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Whose password is meant; as it stands between the quotes, like all that is repeated.
    pub(super) realm: String,
    /// What the answer is good for.
    pub(super) nonce: String,
    /// To be repeated as it came.
    pub(super) opaque: Option<String>,
    /// How the answer is computed.
    pub(super) algorithm: Algorithm,
    /// As the challenge names it, if it does.
    pub(super) algorithm_text: Option<String>,
    /// What the answer covers.
    pub(super) protection: Protection,
    /// The password may be right: only the nonce was too old.
    pub(super) stale: bool,
}

/// What an answer covers (`qop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Method and URI, in the form of RFC 2069.
    None,
    /// Method and URI.
    Auth,
    /// The body too.
    AuthInt,
}

impl Protection {
    /// As `qop` has it.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }

    /// What is taken of those that are offered: `auth-int` only if that alone is, since some servers compute it over a
    /// body that a gateway has rewritten. `None` when none is known.
    fn offered(list: Option<&[u8]>) -> Option<Self> {
        let Some(list) = list.filter(|list| !list.is_empty()) else { return Some(Self::None) };
        let has = |name: &str| {
            let mut values = list.split(|byte| *byte == b',');
            values.any(|value| value.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        };
        if has("auth") {
            return Some(Self::Auth);
        }
        has("auth-int").then_some(Self::AuthInt)
    }
}

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Another scheme, algorithm or protection: it is for others (RFC 8760 §2.4).
    Unknown,
    /// Not what a challenge is.
    Malformed,
}

/// The challenges of these lines, from top to bottom. A line has one (RFC 3261 §7.3.1); several on one are read too, as
/// HTTP has them.
pub(super) fn challenges<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Result<Challenge, Unusable>> {
    lines.flat_map(parted).take(CHALLENGES_MAX).map(|parts| parts.read())
}

/// A challenge taken apart: its scheme, and names with their values.
struct Parts<'a> {
    scheme: &'a [u8],
    parameters: Vec<(&'a [u8], &'a [u8])>,
    has_too_many: bool,
}

/// Takes a line apart. A name that a word stands before, such as `Digest realm`, begins a challenge.
fn parted(line: &[u8]) -> Vec<Parts<'_>> {
    let mut all: Vec<Parts<'_>> = Vec::new();
    for piece in split_list(line) {
        let (key, value) = split_once(piece, b'=').unwrap_or((piece, b""));
        let key = key.trim_ascii();
        let space = key.iter().position(u8::is_ascii_whitespace);
        let (scheme, name) = match space {
            Some(space) => (Some(&key[..space]), key[space..].trim_ascii()),
            // A scheme alone, as some have it.
            None if value.is_empty() && !piece.contains(&b'=') => (Some(key), &b""[..]),
            None => (None, key),
        };
        if let Some(scheme) = scheme {
            if all.len() == CHALLENGES_MAX {
                break;
            }
            all.push(Parts { scheme, parameters: Vec::new(), has_too_many: false });
        }
        let Some(parts) = all.last_mut() else { continue };
        if parts.parameters.len() == PARAMETERS_MAX {
            parts.has_too_many = true;
        } else {
            parts.parameters.push((name, value.trim_ascii()));
        }
    }
    all
}

impl<'a> Parts<'a> {
    fn read(&self) -> Result<Challenge, Unusable> {
        if !self.scheme.eq_ignore_ascii_case(b"Digest") {
            return Err(Unusable::Unknown);
        }
        if self.has_too_many {
            return Err(Unusable::Malformed);
        }
        let algorithm_text = self.text("algorithm")?;
        let algorithm = Algorithm::parse(algorithm_text.as_deref().map(str::as_bytes));
        let algorithm = algorithm.ok_or(Unusable::Unknown)?;
        let protection = Protection::offered(self.value("qop")?).ok_or(Unusable::Unknown)?;
        if algorithm.is_session && protection == Protection::None {
            // Its key has a client nonce in it, which may only be sent with `qop` (RFC 3261 §22.4, 8).
            return Err(Unusable::Malformed);
        }
        let stale = self.value("stale")?.is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        Ok(Challenge {
            realm: self.text("realm")?.ok_or(Unusable::Malformed)?,
            nonce: self.text("nonce")?.ok_or(Unusable::Malformed)?,
            opaque: self.text("opaque")?,
            algorithm,
            algorithm_text,
            protection,
            stale,
        })
    }

    /// A value, without the quotes that it may stand in. Twice the same name could mean either.
    fn value(&self, name: &str) -> Result<Option<&'a [u8]>, Unusable> {
        let is_named = |(key, _): &&(&[u8], &[u8])| key.eq_ignore_ascii_case(name.as_bytes());
        let mut named = self.parameters.iter().filter(is_named);
        let Some((_, value)) = named.next() else { return Ok(None) };
        if named.next().is_some() {
            return Err(Unusable::Malformed);
        }
        unquoted(value).map(Some).ok_or(Unusable::Malformed)
    }

    /// A value that is repeated.
    fn text(&self, name: &str) -> Result<Option<String>, Unusable> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        let text = std::str::from_utf8(value).map_err(|_| Unusable::Malformed)?;
        let sound = text.len() <= VALUE_MAX_BYTES && !text.contains(char::is_control);
        if sound { Ok(Some(text.to_owned())) } else { Err(Unusable::Malformed) }
    }
}

/// What stands between the quotes, escapes and all, or a word that needs none. `None` when a quote has no other.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"') && !value.contains(&b'\\')).then_some(value);
    };
    let mut escaped = false;
    for (index, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (index + 1 == inner.len()).then_some(&inner[..index]),
            _ => {}
        }
    }
    None
}

/// What a quoted text means: what is hashed. That a server hashes the escapes too is thinkable, but it would have to
/// keep its users' names with them.
pub(super) fn unescaped(quoted: &str) -> Vec<u8> {
    let mut escaped = false;
    let meant = |byte: &u8| {
        escaped = *byte == b'\\' && !escaped;
        !escaped
    };
    quoted.bytes().filter(meant).collect()
}

/// A text as it stands between quotes.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains(['"', '\\']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        Cow::Borrowed(text)
    }
}
