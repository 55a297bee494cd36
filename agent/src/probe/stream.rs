//! A connection, private or not, as the protocols above it read and write it, and one that tells what passes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// A connection, private or not.
#[derive(Debug)]
pub(crate) enum Connection {
    /// As the network carries it.
    Plain(TcpStream),
    /// Within TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Who is told what passes over a connection.
pub(crate) trait Watch {
    /// The last of what was written so far was out then.
    fn written(&self, at: Instant);

    /// Bytes were read, or none at the end of the stream. False when no more is to be read.
    fn read(&self, bytes: &[u8], at: Instant) -> bool;

    /// The connection broke.
    fn broken(&self, error: &io::Error);
}

/// A connection that tells what passes.
#[derive(Debug)]
pub(crate) struct Watched<W> {
    connection: Connection,
    watch: W,
    /// Written, but not yet flushed.
    unflushed: bool,
}

impl<W> Watched<W> {
    /// Tells what passes over a connection.
    pub(crate) fn new(connection: Connection, watch: W) -> Self {
        Self { connection, watch, unflushed: false }
    }
}

impl<W: Watch + Unpin> AsyncRead for Watched<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.connection).poll_read(cx, buffer));
        match &result {
            Err(error) => self.watch.broken(error),
            Ok(()) => {
                if !self.watch.read(&buffer.filled()[before..], Instant::now()) {
                    return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
                }
            }
        }
        Poll::Ready(result)
    }
}

impl<W: Watch + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.connection).poll_write(cx, bytes));
        match &result {
            Err(error) => self.watch.broken(error),
            Ok(_) => {
                self.unflushed = true;
                self.watch.written(Instant::now());
            }
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.connection).poll_flush(cx));
        match &result {
            Err(error) => self.watch.broken(error),
            // A private stream buffers: what was written is out when it is flushed.
            Ok(()) => {
                if std::mem::take(&mut self.unflushed) {
                    self.watch.written(Instant::now());
                }
            }
        }
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
