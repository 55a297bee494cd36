//! The stream under hyper, which stamps when the request was out and when the answer began.

use crate::probe::failure::copied;
use crate::probe::stream::Connection;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The first bytes of every answer of HTTP/1.
const PREFIX: &[u8; 5] = b"HTTP/";

/// Most that is read before the head of an answer is whole, in bytes: some interim answers (1xx) and a full buffer, but
/// not interim answers without end, which hyper would take in for as long as they come.
const BEFORE_HEAD_MAX_BYTES: usize = 256 << 10;

/// What was seen on a connection, shared with whoever times it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamps(Arc<Mutex<Seen>>);

/// What was seen on a connection.
#[derive(Debug)]
pub(super) struct Seen {
    /// When the last byte of the request was written.
    pub(super) written: Option<Instant>,
    /// When the first byte of the answer was read.
    pub(super) answered: Option<Instant>,
    /// The first bytes of the answer.
    prefix: Vec<u8>,
    /// The other side ended its stream.
    pub(super) ended: bool,
    /// The error that broke the connection.
    pub(super) broken: Option<io::Error>,
    /// How much was read before the head of the answer was whole, in bytes; `None` since it is.
    head_bytes: Option<usize>,
    /// Written, but not yet flushed.
    unflushed: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            written: None,
            answered: None,
            prefix: Vec::new(),
            ended: false,
            broken: None,
            head_bytes: Some(0),
            unflushed: false,
        }
    }
}

impl Seen {
    /// The head of the answer is whole: what comes now is body.
    pub(super) fn head_done(&mut self) {
        self.head_bytes = None;
    }

    /// Whether more came before a head than any head may have.
    pub(super) fn head_too_large(&self) -> bool {
        self.head_bytes.is_some_and(|bytes| bytes > BEFORE_HEAD_MAX_BYTES)
    }

    fn note_read(&mut self, read: &[u8]) {
        if read.is_empty() {
            self.ended = true;
            return;
        }
        self.answered.get_or_insert_with(Instant::now);
        let missing = PREFIX.len() - self.prefix.len();
        self.prefix.extend(read.iter().take(missing));
        if let Some(bytes) = &mut self.head_bytes {
            *bytes = bytes.saturating_add(read.len());
        }
    }

    /// Whether what came begins as HTTP does, as far as it came.
    pub(super) fn begins_as_http(&self) -> bool {
        PREFIX.starts_with(&self.prefix)
    }
}

impl Stamps {
    /// Looks at what was seen, or notes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection that notes what passes.
#[derive(Debug)]
pub(super) struct Stamped {
    connection: Connection,
    stamps: Stamps,
}

impl Stamped {
    /// Notes what passes over a connection.
    pub(super) fn new(connection: Connection, stamps: Stamps) -> Self {
        Self { connection, stamps }
    }

    fn note_error(&self, error: &io::Error) {
        self.stamps.with(|seen| {
            seen.broken.get_or_insert_with(|| copied(error));
        });
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.connection).poll_read(cx, buffer));
        match &result {
            Err(error) => self.note_error(error),
            Ok(()) => {
                let too_large = self.stamps.with(|seen| {
                    seen.note_read(&buffer.filled()[before..]);
                    seen.head_too_large()
                });
                if too_large {
                    return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
                }
            }
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.connection).poll_write(cx, bytes));
        match &result {
            Err(error) => self.note_error(error),
            Ok(_) => self.stamps.with(|seen| {
                seen.unflushed = true;
                seen.written = Some(Instant::now());
            }),
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.connection).poll_flush(cx));
        match &result {
            Err(error) => self.note_error(error),
            // A private stream buffers: what was written is out when it is flushed.
            Ok(()) => self.stamps.with(|seen| {
                if std::mem::take(&mut seen.unflushed) {
                    seen.written = Some(Instant::now());
                }
            }),
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
