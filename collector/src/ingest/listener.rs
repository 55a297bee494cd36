//! The doors: accepted connections, with or without TLS, each with who is behind it.
//!
//! A connection costs nothing but its handshake until it has shown a certificate: handshakes are bounded in number and
//! time, so a flood of half-open ones does not reach the sessions that stand.

use crate::tls::{Identity, IdentityError};
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a handshake may take: ten times a slow one, and short for somebody who only holds the door.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Most handshakes at once: two seconds of work for one core, some 30 MiB of buffers.
const HANDSHAKES_MAX: usize = 512;
/// Connections that wait for their session to be set up.
const READY_MAX: usize = 64;
/// How long to wait when the system has no more file descriptors, instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Who is behind a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A client certificate was verified; this is what it names.
    Certificate(Result<Identity, IdentityError>),
    /// No TLS: somebody on this machine.
    Local,
}

/// What a session knows of its connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Who is behind it.
    pub peer: Peer,
    /// From where.
    pub address: SocketAddr,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    info: ConnectionInfo,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// How a listener treats who comes.
#[derive(Clone)]
pub struct Door {
    /// TLS, or `None` for a listener on the loopback.
    pub tls: Option<Arc<ServerConfig>>,
    /// The deployment that certificates must name.
    pub deployment: Arc<str>,
}

/// Accepts connections until the stream is dropped.
pub fn incoming(listener: TcpListener, door: Door) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(READY_MAX);
    tokio::spawn(accept_loop(listener, door, ready));
    ReceiverStream::new(connections)
}

async fn accept_loop(
    listener: TcpListener,
    door: Door,
    ready: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ready.closed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            tracing::debug!(%address, "too many handshakes at once");
            continue;
        };
        tokio::spawn(greet(stream, address, door.clone(), ready.clone(), permit));
    }
}

async fn greet(
    stream: TcpStream,
    address: SocketAddr,
    door: Door,
    ready: mpsc::Sender<io::Result<Connection>>,
    _permit: OwnedSemaphorePermit,
) {
    match tokio::time::timeout(HANDSHAKE_DEADLINE, door.open(stream)).await {
        Ok(Ok((stream, peer))) => {
            let connection = Connection { stream, info: ConnectionInfo { peer, address } };
            // The receiver is gone only when the collector stops.
            drop(ready.send(Ok(connection)).await);
        }
        Ok(Err(error)) => tracing::info!(%address, %error, "connection refused"),
        Err(_) => tracing::info!(%address, "handshake took too long"),
    }
}

impl Door {
    async fn open(&self, stream: TcpStream) -> io::Result<(Stream, Peer)> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok((Stream::Plain(stream), Peer::Local)) };
        let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let identity = certificate
            .ok_or(IdentityError::Unreadable)
            .and_then(|certificate| Identity::of(certificate, &self.deployment));
        Ok((Stream::Tls(Box::new(stream)), Peer::Certificate(identity)))
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
