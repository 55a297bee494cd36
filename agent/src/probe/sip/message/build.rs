//! Writing messages: exactly the headers that are asked for, in that order.

use std::fmt;
use std::io::Write as _;

/// A message that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

/// A message of a call has some hundred bytes, most of them in its headers.
const USUAL_BYTES: usize = 1_024;

impl Builder {
    /// Begins a request.
    pub(crate) fn request(method: &str, uri: &str) -> Self {
        Self::begin(&[method.as_bytes(), b" ", uri.as_bytes(), b" SIP/2.0"])
    }

    /// Begins a response.
    pub(crate) fn response(status: u16, reason: &str) -> Self {
        Self::begin(&[b"SIP/2.0 ", status.to_string().as_bytes(), b" ", reason.as_bytes()])
    }

    fn begin(line: &[&[u8]]) -> Self {
        let mut builder = Self { bytes: Vec::with_capacity(USUAL_BYTES) };
        line.iter().for_each(|part| builder.push(part));
        builder.bytes.extend_from_slice(b"\r\n");
        builder
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.push(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.push(value.as_ref());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header of formatted text.
    pub(crate) fn written(mut self, name: &str, value: fmt::Arguments<'_>) -> Self {
        self.push(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        let from = self.bytes.len();
        // Writing to memory cannot fail.
        let _infallible = self.bytes.write_fmt(value);
        self.make_safe(from);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a header once for each value.
    pub(crate) fn headers<V: AsRef<[u8]>>(
        self,
        name: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        values.into_iter().fold(self, |builder, value| builder.header(name, value))
    }

    /// The message, with a body of that type.
    pub(crate) fn body(self, content_type: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len().to_string();
        let mut built = self.header("Content-Type", content_type).header("Content-Length", length);
        built.bytes.extend_from_slice(b"\r\n");
        built.bytes.extend_from_slice(body);
        built.built()
    }

    /// The message, without a body.
    pub(crate) fn empty(self) -> Vec<u8> {
        let mut built = self.header("Content-Length", "0");
        built.bytes.extend_from_slice(b"\r\n");
        built.built()
    }

    // Kept as long as its transaction, by thousands of calls at once. A copy, because cutting the room off would leave a
    // hole behind every message; the room itself is what the next one is written into.
    fn built(self) -> Vec<u8> {
        self.bytes.as_slice().to_vec()
    }

    /// Adds bytes that may be another's: what could begin a line of its own becomes a space.
    fn push(&mut self, bytes: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.make_safe(from);
    }

    fn make_safe(&mut self, from: usize) {
        for byte in &mut self.bytes[from..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }
}
