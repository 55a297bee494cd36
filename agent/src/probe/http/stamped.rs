//! What is seen of the stream under hyper: when the request was out and when the answer began.

use crate::probe::failure::copied;
use crate::probe::stream::Watch;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
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

    fn note_read(&mut self, read: &[u8], at: Instant) {
        if read.is_empty() {
            self.ended = true;
            return;
        }
        self.answered.get_or_insert(at);
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

impl Watch for Stamps {
    fn written(&self, at: Instant) {
        self.with(|seen| seen.written = Some(at));
    }

    fn read(&self, bytes: &[u8], at: Instant) -> bool {
        self.with(|seen| {
            seen.note_read(bytes, at);
            !seen.head_too_large()
        })
    }

    fn broken(&self, error: &io::Error) {
        self.with(|seen| {
            seen.broken.get_or_insert_with(|| copied(error));
        });
    }
}
