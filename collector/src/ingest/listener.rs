//! The doors: accepted connections, with or without TLS, each with who is behind it.
//!
//! A connection costs nothing but a socket until it is admitted ([`super::admission`]), and nothing but its handshake until
//! it has shown a certificate: handshakes are begun at a bounded rate and are bounded in number and time, so a flood of
//! half-open ones does not reach the sessions that stand, nor keep an agent out. Each connection that is closed on the way
//! is counted by why ([`IngestMetrics::refuse_connection`]).

use super::admission::{Admission, Begin, HANDSHAKES_MAX, Refused, rate_of};
use super::budget::Budget;
use super::sparing::Sparing;
use crate::metrics::IngestMetrics;
use crate::text::bounded;
use crate::tls::{Identity, IdentityError};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use uuid::Uuid;

/// How long a handshake may take: ten times a slow one, and short for somebody who only holds the door.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Connections that wait for their session to be set up.
const READY_MAX: usize = 64;
/// How long to wait when the system has no more file descriptors, instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// Most connections of one agent: it needs one, and may have lost several without our knowing yet, which takes 30 s.
const AGENT_CONNECTIONS_MAX: u32 = 16;

/// How long an agent is not let in after one of its connections sent much and said nothing: a connection may send some 70 KB
/// a second of that then, and a handshake that leads nowhere costs as much as one by a stranger.
const HELD_OFF: Duration = Duration::from_secs(30);

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
    /// What it may send without saying anything.
    pub budget: Budget,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    info: ConnectionInfo,
    /// Counted as long as it stands.
    held: Option<Held>,
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

/// Handshakes that this machine begins a second.
pub fn rate_per_s() -> u32 {
    static RATE: OnceLock<u32> = OnceLock::new();
    *RATE.get_or_init(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        rate_of(u32::try_from(cores).unwrap_or(u32::MAX))
    })
}

/// Accepts connections until the stream is dropped.
pub fn incoming(
    listener: TcpListener,
    door: Door,
    metrics: Arc<IngestMetrics>,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(READY_MAX);
    // Each handshake under way says once that it has ended, and each that gave way to another.
    let (ended, ends) = mpsc::channel(2 * HANDSHAKES_MAX);
    let admission = Admission::new(rate_per_s(), block);
    let counts = Arc::default();
    let under_way = BTreeMap::new();
    let log = Arc::default();
    let reception = Reception { door, metrics, counts, log, admission, under_way, ready, ended };
    tokio::spawn(reception.run(listener, ends));
    ReceiverStream::new(connections)
}

/// An address as admission tells them apart: of IPv6 the network, which is what one machine can have.
type Site = IpAddr;

/// A handshake has ended.
type End = (Site, u64);

/// Lets connections in, one after the other.
struct Reception {
    door: Door,
    metrics: Arc<IngestMetrics>,
    counts: Counts,
    /// Of what is refused; all of it is counted.
    log: Arc<Sparing>,
    admission: Admission<Site, (TcpStream, SocketAddr)>,
    /// Handshakes, to break them off.
    under_way: BTreeMap<u64, AbortHandle>,
    ready: mpsc::Sender<io::Result<Connection>>,
    ended: mpsc::Sender<End>,
}

impl Reception {
    async fn run(mut self, listener: TcpListener, mut ends: mpsc::Receiver<End>) {
        loop {
            let wake_at = self.admission.wake_at();
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => self.arrived(stream, address),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_RETRY).await;
                    }
                },
                Some((site, ticket)) = ends.recv() => {
                    self.under_way.remove(&ticket);
                    self.admission.ended(site, ticket);
                }
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
                () = self.ready.closed() => return,
            }
            self.go_on();
        }
    }

    fn arrived(&mut self, stream: TcpStream, address: SocketAddr) {
        let now = Instant::now();
        if let Some(((_, address), why)) =
            self.admission.arrive(site(address.ip()), (stream, address), now)
        {
            self.refused(address, why, now);
        }
    }

    fn refused(&self, address: SocketAddr, why: Refused, now: Instant) {
        self.metrics.refuse_connection(why.word());
        if let Some(others) = self.log.line(now) {
            tracing::warn!(%address, why = why.word(), others, "connection closed before its handshake");
        }
    }

    /// Begins what may begin, and closes who waited too long.
    fn go_on(&mut self) {
        let now = Instant::now();
        for (_, address) in self.admission.sweep(now) {
            self.refused(address, Refused::Waited, now);
        }
        while let Some(begin) = self.admission.next(now) {
            self.begin(begin);
        }
        self.metrics.connections_waiting.set(gauge(self.admission.waiting()));
        self.metrics.handshakes.set(gauge(self.admission.handshakes()));
    }

    fn begin(&mut self, begin: Begin<Site, (TcpStream, SocketAddr)>) {
        let Begin { ticket, address: site, connection: (stream, address), instead_of } = begin;
        if let Some(broken_off) = instead_of.and_then(|ticket| self.under_way.remove(&ticket)) {
            self.metrics.refuse_connection(Refused::Displaced.word());
            broken_off.abort();
        }
        // One that gave way says so, too, a moment later: until then its place in this queue is taken.
        let Ok(ended) = self.ended.clone().try_reserve_owned() else {
            self.admission.ended(site, ticket);
            return self.refused(address, Refused::Crowded, Instant::now());
        };
        let leave = Leave { end: (site, ticket), ended: Some(ended) };
        let greeter = Greeter {
            door: self.door.clone(),
            metrics: Arc::clone(&self.metrics),
            counts: Arc::clone(&self.counts),
            log: Arc::clone(&self.log),
            ready: self.ready.clone(),
        };
        let handshake = tokio::spawn(async move {
            greeter.greet(stream, address).await;
            drop(leave);
        });
        self.under_way.insert(ticket, handshake.abort_handle());
    }
}

/// What is known of agents at the door.
#[derive(Debug, Default)]
struct AtTheDoor {
    /// Connections that stand.
    connections: BTreeMap<Uuid, u32>,
    /// Until when agents are not let in.
    held_off: BTreeMap<Uuid, Instant>,
}

type Counts = Arc<Mutex<AtTheDoor>>;

/// One of an agent's connections.
#[derive(Debug)]
struct Held {
    agent: Uuid,
    counts: Counts,
}

impl Held {
    /// Counts one more connection; or why there may be none, as a word for metrics and in words.
    fn take(counts: &Counts, agent: Uuid, now: Instant) -> Result<Self, (&'static str, String)> {
        {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.held_off.retain(|_, until| *until > now);
            if counts.held_off.contains_key(&agent) {
                return Err(("flood", format!("the agent {agent} sent much and said nothing")));
            }
            let count = counts.connections.entry(agent).or_default();
            if *count >= AGENT_CONNECTIONS_MAX {
                return Err(("many", format!("the agent {agent} has too many connections")));
            }
            *count += 1;
        }
        Ok(Self { agent, counts: Arc::clone(counts) })
    }

    /// The agent is not let in for a while.
    fn hold_off(&self, now: Instant) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.held_off.insert(self.agent, now + HELD_OFF);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.connections.get_mut(&self.agent) {
            *count -= 1;
            if *count == 0 {
                counts.connections.remove(&self.agent);
            }
        }
    }
}

/// Says that a handshake has ended, broken off or not.
struct Leave {
    end: End,
    /// A place in the queue that was kept for it: no end is lost.
    ended: Option<mpsc::OwnedPermit<End>>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.send(self.end);
        }
    }
}

fn site(address: IpAddr) -> Site {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Sites that somebody may have many of: of IPv6, those of a /48. An address of IPv4 is dear enough to stand for itself.
fn block(site: Site) -> Option<Site> {
    let IpAddr::V6(site) = site else { return None };
    let [a, b, c, ..] = site.segments();
    Some(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a handshake needs of the reception.
struct Greeter {
    door: Door,
    metrics: Arc<IngestMetrics>,
    counts: Counts,
    log: Arc<Sparing>,
    ready: mpsc::Sender<io::Result<Connection>>,
}

impl Greeter {
    async fn greet(self, stream: TcpStream, address: SocketAddr) {
        let (stream, peer) = match timeout(HANDSHAKE_DEADLINE, self.door.open(stream)).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                // It may tell of the certificate that came.
                return self.refuse(address, "handshake", &bounded(&error.to_string()));
            }
            Err(_) => {
                return self.refuse(address, "slow", "the handshake took too long");
            }
        };
        let held = match &peer {
            Peer::Certificate(Ok(identity)) => {
                match Held::take(&self.counts, identity.agent, Instant::now()) {
                    Ok(held) => Some(held),
                    Err((reason, why)) => return self.refuse(address, reason, &why),
                }
            }
            Peer::Certificate(Err(_)) | Peer::Local => None,
        };
        let info = ConnectionInfo { peer, address, budget: Budget::default() };
        // The receiver is gone only when the collector stops.
        drop(self.ready.send(Ok(Connection { stream, info, held })).await);
    }

    fn refuse(&self, address: SocketAddr, reason: &'static str, why: &str) {
        self.metrics.refuse_connection(reason);
        if let Some(others) = self.log.line(Instant::now()) {
            tracing::warn!(%address, %why, others, "connection refused");
        }
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
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if !self.info.budget.spend(buffer.filled().len().saturating_sub(before)) {
            self.held.iter().for_each(|held| held.hold_off(Instant::now()));
            return Poll::Ready(Err(io::Error::other("it sends much and says nothing")));
        }
        read
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_has_so_many_connections_and_no_more() {
        let counts = Counts::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let take = |agent| Held::take(&counts, agent, Instant::now());
        let mut held: Vec<_> = (0..AGENT_CONNECTIONS_MAX).filter_map(|_| take(one).ok()).collect();
        assert_eq!(held.len(), 16);
        assert!(take(one).is_err_and(|(reason, _)| reason == "many") && take(other).is_ok());
        held.pop();
        assert!(take(one).is_ok(), "one has ended");
        drop(held);
        assert!(counts.lock().expect("no panic").connections.is_empty());
    }

    #[test]
    fn who_sent_much_and_said_nothing_is_held_off_for_a_while() {
        let (counts, now) = (Counts::default(), Instant::now());
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let take = |agent, later| Held::take(&counts, agent, now + later);
        take(one, Duration::ZERO).expect("nothing is known of it").hold_off(now);
        let refused = take(one, HELD_OFF - Duration::from_millis(1));
        assert!(refused.is_err_and(|(reason, _)| reason == "flood"));
        assert!(take(other, Duration::ZERO).is_ok(), "others are let in");
        assert!(take(one, HELD_OFF).is_ok());
        assert!(counts.lock().expect("no panic").held_off.is_empty(), "and it is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_site_and_a_mapped_address_is_itself() {
        let of = |address: &str| site(address.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
        let block_of = |address| block(of(address));
        assert_eq!(block_of("2001:db8:1:2::3"), block_of("2001:db8:1:ffff::4"));
        assert_ne!(block_of("2001:db8:1:2::3"), block_of("2001:db8:2:2::3"));
        assert_eq!((block_of("192.0.2.1"), block_of("::ffff:192.0.2.1")), (None, None));
    }
}
