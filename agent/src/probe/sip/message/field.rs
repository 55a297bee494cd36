//! What stands in a header: lists, parameters, addresses, `Via`, `CSeq`.

use super::split_once;

/// Largest sequence number: less than 2^31 (RFC 3261 §8.1.1.5).
const CSEQ_MAX: u32 = (1 << 31) - 1;

/// The values of a list, split at commas outside quotes and angle brackets.
pub(crate) fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Pieces { rest: Some(line), at: b',' }.filter(|value| !value.is_empty())
}

/// The value of a parameter such as `tag` in `;tag=x;y`: `Some(None)` when it stands there without one.
pub(crate) fn parameter<'a>(parameters: &'a [u8], name: &str) -> Option<Option<&'a [u8]>> {
    Pieces { rest: Some(parameters), at: b';' }.find_map(|piece| {
        let (key, value) = match split_once(piece, b'=') {
            Some((key, value)) => (key.trim_ascii(), Some(value.trim_ascii())),
            None => (piece, None),
        };
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    })
}

/// Splits at a byte outside quotes and angle brackets.
struct Pieces<'a> {
    rest: Option<&'a [u8]>,
    at: u8,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let whole = self.rest.take()?;
        let end = outside(whole, self.at);
        self.rest = end.map(|end| &whole[end + 1..]);
        Some(whole[..end.unwrap_or(whole.len())].trim_ascii())
    }
}

/// Where a byte first stands outside quotes and angle brackets.
fn outside(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (mut quoted, mut bracketed, mut escaped) = (false, false, false);
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            _ if quoted => {}
            // Also where the bracket itself is looked for.
            byte if *byte == wanted && !bracketed => return Some(index),
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ => {}
        }
    }
    None
}

/// An address with or without a name: `"Bob" <sip:bob@host>;tag=x` (RFC 3261 §20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameAddr<'a> {
    /// What is between the brackets.
    pub(crate) uri: &'a [u8],
    /// What follows, with its semicolons: parameters of the header, not of the URI.
    pub(crate) parameters: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let Some(open) = outside(value, b'<') else {
            // Without brackets every parameter is the header's. Quotes without brackets name nobody.
            let end = outside(value, b';').unwrap_or(value.len());
            let (uri, parameters) = (value[..end].trim_ascii(), &value[end..]);
            let sound = !uri.is_empty() && !uri.contains(&b'"');
            return sound.then_some(Self { uri, parameters });
        };
        let (uri, parameters) = split_once(&value[open + 1..], b'>')?;
        Some(Self { uri: uri.trim_ascii(), parameters })
    }
}

/// One hop that a message has taken (RFC 3261 §20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via<'a> {
    /// Such as `UDP`.
    pub(crate) transport: &'a [u8],
    /// Host and port as the sender wrote them.
    pub(crate) sent_by: &'a [u8],
    /// What follows, with its semicolons.
    pub(crate) parameters: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads one value. White space may stand round the slashes and the colon.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (name, rest) = split_once(value, b'/')?;
        let (version, rest) = split_once(rest, b'/')?;
        if !name.trim_ascii().eq_ignore_ascii_case(b"SIP") || version.trim_ascii() != b"2.0" {
            return None;
        }
        let rest = rest.trim_ascii_start();
        let space = rest.iter().position(u8::is_ascii_whitespace)?;
        let (transport, rest) = (&rest[..space], rest[space..].trim_ascii_start());
        let end = outside(rest, b';').unwrap_or(rest.len());
        let sent_by = rest[..end].trim_ascii();
        let sound = !transport.is_empty() && !sent_by.is_empty();
        sound.then_some(Self { transport, sent_by, parameters: &rest[end..] })
    }

    /// Which transaction it belongs to (RFC 3261 §17.1.3).
    pub(crate) fn branch(&self) -> Option<&'a [u8]> {
        parameter(self.parameters, "branch")?
    }

    /// The port of the sender, if it wrote one.
    pub(crate) fn port(&self) -> Option<u16> {
        let colon = self.sent_by.iter().rposition(|byte| *byte == b':')?;
        // The colons of an IPv6 address stand within brackets.
        if self.sent_by[colon..].contains(&b']') {
            return None;
        }
        std::str::from_utf8(self.sent_by[colon + 1..].trim_ascii_start()).ok()?.parse().ok()
    }
}

/// Sequence number and method of `CSeq` (RFC 3261 §20.16).
pub(crate) fn cseq(value: &[u8]) -> Option<(u32, &[u8])> {
    let space = value.iter().position(u8::is_ascii_whitespace)?;
    let (number, method) = (&value[..space], value[space..].trim_ascii());
    let digits = number.iter().all(u8::is_ascii_digit);
    let number: u32 = std::str::from_utf8(number).ok().filter(|_| digits)?.parse().ok()?;
    (number <= CSEQ_MAX && !method.is_empty()).then_some((number, method))
}
