//! Messages in a stream: where each begins and ends (RFC 3261 §7.5, §18.3; RFC 5626 §4.4.1). Pure.
//!
//! A stream may be cut anywhere. What is read goes in as it comes, and whole messages come out. Only `Content-Length`
//! says where one ends: without it nothing behind can be told from a body, so the stream is of no more use.

use super::message::MESSAGE_MAX_BYTES;
use memchr::memchr;
use probefleet_proto::name::FailureClass;

use crate::probe::failure::Failure;

/// Longest head of a message: what stands before its body. A call through a dozen proxies has some 8 KiB.
const HEAD_MAX_BYTES: usize = 32 << 10;

/// A stream under way.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// What was read and not yet handed out.
    buffer: Vec<u8>,
    /// Where the line begins that is looked at; everything before it is sound.
    line: usize,
    /// Up to here it holds no line end.
    searched: usize,
    /// Length of the message at hand, once its head was read.
    whole: Option<usize>,
    /// The last that came, between two messages, was one CRLF.
    half_ping: bool,
}

/// What was in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// One message.
    Message(Vec<u8>),
    /// A double CRLF between messages: a keep-alive, to be answered with a single one.
    Ping,
}

/// Why no more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The first line is not one of SIP.
    #[error("no request line and no status line of SIP/2.0")]
    NotSip,
    /// A message that does not say how long it is (RFC 3261 §20.14).
    #[error("a message without Content-Length, which a stream must have")]
    NoLength,
    /// It is no number, or names two.
    #[error("Content-Length is no length")]
    Length,
    /// More than is read.
    #[error("more than {HEAD_MAX_BYTES} bytes of headers, or {MESSAGE_MAX_BYTES} bytes")]
    TooLarge,
}

impl Broken {
    /// As an attempt's failure.
    pub(crate) fn failure(self) -> Failure {
        let code = match self {
            Self::NotSip => "not_sip",
            Self::NoLength => "no_content_length",
            Self::Length => "content_length",
            Self::TooLarge => "too_large",
        };
        Failure::failed(FailureClass::Protocol, code, self.to_string())
    }
}

impl Framing {
    /// Takes in what was read. As long as all frames are taken out after each, no more is held than one message and
    /// what was read last.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next thing in the stream; `None` until more was read. What follows an error is never looked at.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if self.line == 0 && self.pass_line_ends() {
            return Ok(Some(Frame::Ping));
        }
        let Some(whole) = self.length()? else { return Ok(None) };
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let message = self.buffer.drain(..whole).collect();
        (self.line, self.searched, self.whole) = (0, 0, None);
        Ok(Some(Frame::Message(message)))
    }

    /// Passes over line ends between messages. True at the second of two.
    fn pass_line_ends(&mut self) -> bool {
        loop {
            let length = match self.buffer[..] {
                [b'\r', b'\n', ..] => 2,
                // No keep-alive, but common stacks let it pass.
                [b'\n', ..] => 1,
                _ => {
                    // A lone CR may be the first half.
                    self.half_ping &= matches!(self.buffer[..], [] | [b'\r']);
                    return false;
                }
            };
            self.buffer.drain(..length);
            self.searched = 0;
            self.half_ping = length == 2 && !self.half_ping;
            if length == 2 && !self.half_ping {
                return true;
            }
        }
    }

    /// Length of the message at hand; `None` until its head was read.
    fn length(&mut self) -> Result<Option<usize>, Broken> {
        if self.whole.is_some() {
            return Ok(self.whole);
        }
        // A token begins a request, and a status line too; a CR may become a line end.
        if self.buffer.first().is_some_and(|byte| !byte.is_ascii_graphic() && *byte != b'\r') {
            return Err(Broken::NotSip);
        }
        while let Some(end) = memchr(b'\n', &self.buffer[self.searched..]) {
            let end = self.searched + end;
            if end >= HEAD_MAX_BYTES {
                return Err(Broken::TooLarge);
            }
            let line = trimmed(&self.buffer[self.line..end]);
            if self.line == 0 && !is_start(line) {
                return Err(Broken::NotSip);
            }
            let is_last = line.is_empty();
            (self.line, self.searched) = (end + 1, end + 1);
            if is_last {
                let length = content_length(&self.buffer[..self.line])?;
                let whole = self.line.checked_add(length);
                let whole = whole.filter(|whole| *whole <= MESSAGE_MAX_BYTES);
                self.whole = Some(whole.ok_or(Broken::TooLarge)?);
                return Ok(self.whole);
            }
        }
        self.searched = self.buffer.len();
        if self.searched >= HEAD_MAX_BYTES { Err(Broken::TooLarge) } else { Ok(None) }
    }
}

/// A line without its end.
fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line begins a message. A server of another protocol must not pass for one that is silent.
fn is_start(line: &[u8]) -> bool {
    const VERSION: &[u8] = b"SIP/2.0";
    let at_begin =
        line.get(..VERSION.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(VERSION));
    let end = line.len().saturating_sub(VERSION.len());
    at_begin || line[end..].eq_ignore_ascii_case(VERSION)
}

/// What `Content-Length` says, in its long or compact form.
fn content_length(head: &[u8]) -> Result<usize, Broken> {
    let mut length = None;
    let mut lines = head.split(|byte| *byte == b'\n').map(trimmed).skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let mut value = line[colon + 1..].to_vec();
        while let Some(folded) = lines.next_if(|next| matches!(next, [b' ' | b'\t', ..])) {
            value.extend_from_slice(folded);
        }
        let digits = value.trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(digits).ok().filter(|_| is_number).ok_or(Broken::Length)?;
        // A number that no machine can hold is a length all the same, and too large.
        let read = text.parse().unwrap_or(usize::MAX);
        if length.is_some_and(|length| length != read) {
            return Err(Broken::Length);
        }
        length = Some(read);
    }
    length.ok_or(Broken::NoLength)
}

#[cfg(test)]
mod tests;
