//! SIP messages as a datagram carries them (RFC 3261 §7, §18.3). Pure.
//!
//! Read by bytes, never as text: one header that is not UTF-8 must not cost the others. What a client needs is found by
//! name, in its long or compact form (§7.3.3), folded or not, alone on a line or among others. What is sent is written
//! by [`Builder`], header by header, in the order in which it is told.

mod build;
mod field;
mod reply;

pub(crate) use build::Builder;
pub(crate) use field::{NameAddr, Via, cseq, parameter, split_list};
pub(crate) use reply::reply;

use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// Largest message: what a UDP datagram can carry (RFC 3261 §18.1.1 asks for as much).
pub(crate) const MESSAGE_MAX_BYTES: usize = 65_535;
/// Most headers; a call through a dozen proxies has some sixty.
const HEADERS_MAX: usize = 256;
/// As many as answers mostly have.
const HEADERS_USUAL: usize = 16;
/// Most values of one header, such as `Via` or `Record-Route`: one a hop, and `Max-Forwards` begins at 70.
const VALUES_MAX: usize = 64;

/// Compact forms (RFC 3261 §7.3.3 and the IANA registry) of the headers that are looked for.
const COMPACT: [(u8, &str); 9] = [
    (b'v', "Via"),
    (b'f', "From"),
    (b't', "To"),
    (b'i', "Call-ID"),
    (b'm', "Contact"),
    (b'l', "Content-Length"),
    (b'c', "Content-Type"),
    (b'k', "Supported"),
    (b'e', "Content-Encoding"),
];

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// What kind of message it is.
    pub(crate) start: StartLine<'a>,
    headers: Vec<Header<'a>>,
    /// What follows the headers, as long as `Content-Length` says.
    pub(crate) body: &'a [u8],
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartLine<'a> {
    /// Asks for something.
    Request {
        /// Such as `INVITE`.
        method: &'a [u8],
        /// Of what.
        uri: &'a [u8],
    },
    /// Answers.
    Response {
        /// 100 to 699.
        status: u16,
        /// In words, for people.
        reason: &'a [u8],
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Header<'a> {
    name: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSip {
    /// Nothing but line ends: a keep-alive.
    #[error("nothing but line ends")]
    Empty,
    /// No request line and no status line of SIP/2.0.
    #[error("no request line and no status line of SIP/2.0")]
    StartLine,
    /// More than is read.
    #[error("more than {HEADERS_MAX} headers or {MESSAGE_MAX_BYTES} bytes")]
    TooLarge,
    /// The headers do not end.
    #[error("no empty line ends the headers")]
    Truncated,
    /// `Content-Length` is no number, names two, or more than there is (§18.3).
    #[error("Content-Length is not that of the body")]
    ContentLength,
}

impl<'a> Message<'a> {
    /// Reads the message of one datagram. Octets behind the body are ignored (§18.3).
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, NotSip> {
        if datagram.len() > MESSAGE_MAX_BYTES {
            return Err(NotSip::TooLarge);
        }
        let begin = datagram.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let mut rest = &datagram[begin.ok_or(NotSip::Empty)?..];
        let start = StartLine::parse(take_line(&mut rest).ok_or(NotSip::StartLine)?)?;
        let headers = headers(&mut rest)?;
        let mut message = Self { start, headers, body: rest };
        if let Some(length) = message.content_length()? {
            message.body = rest.get(..length).ok_or(NotSip::ContentLength)?;
        }
        Ok(message)
    }

    /// The status of a response.
    pub(crate) fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// The method of a request.
    pub(crate) fn method(&self) -> Option<&'a [u8]> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The lines of a header, whole, in their order. `name` is the long form.
    pub(crate) fn lines(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        let named = move |header: &&Header<'_>| is_named(header.name, name);
        self.headers.iter().filter(named).map(|header| header.value.as_ref())
    }

    /// The first line of a header.
    pub(crate) fn first(&self, name: &'static str) -> Option<&[u8]> {
        self.lines(name).next()
    }

    /// The values of a header that may have several, on one line or many, as many as are read.
    pub(crate) fn values(&self, name: &'static str) -> impl Iterator<Item = &[u8]> {
        self.lines(name).flat_map(split_list).take(VALUES_MAX)
    }

    /// The only `Via` of a response to us: more mean that it was meant for another (§8.1.3.3).
    pub(crate) fn only_via(&self) -> Option<Via<'_>> {
        let mut all = self.values("Via");
        let first = all.next().and_then(Via::parse)?;
        all.next().is_none().then_some(first)
    }

    /// The tag in `From` or `To`.
    pub(crate) fn tag(&self, name: &'static str) -> Option<&[u8]> {
        let named = NameAddr::parse(self.first(name)?)?;
        parameter(named.parameters, "tag")?.filter(|tag| !tag.is_empty())
    }

    fn content_length(&self) -> Result<Option<usize>, NotSip> {
        let mut length = None;
        for line in self.lines("Content-Length") {
            let digits = !line.is_empty() && line.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(line).ok().filter(|_| digits);
            let read: usize =
                text.and_then(|text| text.parse().ok()).ok_or(NotSip::ContentLength)?;
            if length.is_some_and(|length| length != read) {
                return Err(NotSip::ContentLength);
            }
            length = Some(read);
        }
        Ok(length)
    }
}

impl<'a> StartLine<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, NotSip> {
        let (first, rest) = split_once(line, b' ').ok_or(NotSip::StartLine)?;
        if first.eq_ignore_ascii_case(b"SIP/2.0") {
            // The reason may be empty, and so may, in practice, be the space before it.
            let (status, reason) = split_once(rest, b' ').unwrap_or((rest, &[]));
            let status = status_code(status).ok_or(NotSip::StartLine)?;
            return Ok(Self::Response { status, reason });
        }
        let (uri, version) = split_once(rest, b' ').ok_or(NotSip::StartLine)?;
        let sound = version.eq_ignore_ascii_case(b"SIP/2.0") && is_token(first) && !uri.is_empty();
        if sound { Ok(Self::Request { method: first, uri }) } else { Err(NotSip::StartLine) }
    }
}

/// Three digits, 100 to 699: a larger class does not exist (RFC 3261 §7.2).
fn status_code(text: &[u8]) -> Option<u16> {
    let &[hundreds @ b'1'..=b'6', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = text else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    Some(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones))
}

/// Reads headers up to the empty line behind them. A line that is none is passed over: it must not cost the others.
fn headers<'a>(rest: &mut &'a [u8]) -> Result<Vec<Header<'a>>, NotSip> {
    let mut headers = Vec::with_capacity(HEADERS_USUAL);
    loop {
        let whole = *rest;
        let line = take_line(rest).ok_or(NotSip::Truncated)?;
        if line.is_empty() {
            return Ok(headers);
        }
        while matches!(rest.first(), Some(b' ' | b'\t')) {
            take_line(rest).ok_or(NotSip::Truncated)?;
        }
        if headers.len() == HEADERS_MAX {
            return Err(NotSip::TooLarge);
        }
        // Everything up to where reading goes on: the line with those that continue it.
        headers.extend(header(&whole[..whole.len() - rest.len()]));
    }
}

fn header(lines: &[u8]) -> Option<Header<'_>> {
    let colon = memchr(b':', lines)?;
    let name = lines[..colon].trim_ascii_end();
    let value = lines[colon + 1..].trim_ascii();
    let value = if memchr2(b'\r', b'\n', value).is_some() {
        let unfolded = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        Cow::Owned(value.iter().map(unfolded).collect())
    } else {
        Cow::Borrowed(value)
    };
    is_token(name).then_some(Header { name, value })
}

/// The line up to its end, which is CR LF; a LF alone passes, as common stacks let it.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr(b'\n', rest)?;
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

pub(super) fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = memchr(at, bytes)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}

fn is_named(name: &[u8], long: &str) -> bool {
    let compact = |(short, known): &(u8, &str)| {
        name.len() == 1 && name[0].eq_ignore_ascii_case(short) && *known == long
    };
    name.eq_ignore_ascii_case(long.as_bytes()) || COMPACT.iter().any(compact)
}

/// `token` of RFC 3261 §25.1.
fn is_token(bytes: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(legal)
}

#[cfg(test)]
mod tests;
