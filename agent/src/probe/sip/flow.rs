//! A connection of one attempt to one server, which carries its messages (RFC 3261 §18.2.2).

use super::framing::{Frame, Framing};
use crate::probe::failure::{Failure, from_io};
use crate::probe::stream::Connection;
use crate::probe::tls::from_tls;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

/// Most that waits to be taken by the other side: two of the largest messages.
const UNSENT_MAX_BYTES: usize = 128 << 10;
/// How much is read at once.
const READ_BYTES: usize = 8 << 10;
/// What a keep-alive is answered with (RFC 5626 §4.4.1).
const PONG: &[u8] = b"\r\n";

/// A connection under way.
#[derive(Debug)]
pub(super) struct Flow {
    connection: Connection,
    local: SocketAddr,
    framing: Framing,
    /// When what is in `framing` was read.
    read_at: Instant,
    unsent: Vec<u8>,
    /// Its phase, for failures.
    phase: &'static str,
    closed: bool,
}

/// What came over a connection.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message, whole at that instant.
    Message { bytes: Vec<u8>, at: Instant },
    /// Nothing more will come.
    Closed(Failure),
}

impl Flow {
    /// Over a connection that stands, from that address of ours.
    pub(super) fn new(connection: Connection, local: SocketAddr, phase: &'static str) -> Self {
        let (framing, read_at) = (Framing::default(), Instant::now());
        Self { connection, local, framing, read_at, unsent: Vec::new(), phase, closed: false }
    }

    /// Where this side is.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Whether it still carries messages.
    pub(super) fn is_open(&self) -> bool {
        !self.closed
    }

    /// Sends as much as the other side takes now; the rest follows when [`poll_next`](Self::poll_next) is asked.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed || self.unsent.len() + bytes.len() > UNSENT_MAX_BYTES {
            let kind =
                if self.closed { io::ErrorKind::BrokenPipe } else { io::ErrorKind::WriteZero };
            return Err(self.close(&kind.into()));
        }
        self.unsent.extend_from_slice(bytes);
        match self.poll_write(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => Err(self.close(&error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The next thing that comes.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        if self.closed {
            return Poll::Pending;
        }
        loop {
            if let Poll::Ready(Err(error)) = self.poll_write(context) {
                return Poll::Ready(Heard::Closed(self.close(&error)));
            }
            match self.framing.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    return Poll::Ready(Heard::Message { bytes, at: self.read_at });
                }
                Ok(Some(Frame::Ping)) => {
                    // Whoever asks without reading answers is not answered any more.
                    if self.unsent.len() < UNSENT_MAX_BYTES {
                        self.unsent.extend_from_slice(PONG);
                    }
                }
                Ok(None) => {
                    if let Err(error) = ready!(self.poll_read(context)) {
                        return Poll::Ready(Heard::Closed(self.close(&error)));
                    }
                }
                Err(broken) => {
                    self.closed = true;
                    return Poll::Ready(Heard::Closed(broken.failure()));
                }
            }
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.connection).poll_read(context, &mut buffer))?;
        self.read_at = Instant::now();
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.framing.push(buffer.filled());
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.connection).poll_write(context, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.unsent.drain(..written)),
            }
        }
        // A private stream buffers.
        Pin::new(&mut self.connection).poll_flush(context)
    }

    /// It is of no more use. Returns why.
    fn close(&mut self, error: &io::Error) -> Failure {
        self.closed = true;
        from_tls(error).unwrap_or_else(|| from_io(error, self.phase))
    }
}
