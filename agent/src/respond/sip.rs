//! SIP over UDP: answers calls, sends back what is said in them, and counts.
//!
//! What is answered is a machine without clock or socket (`sip/answerer.rs`), and so is the echo (`sip/echo.rs`); here, and
//! in `sip/lines.rs`, they are given both.

mod answerer;
mod behaviour;
mod call;
mod counts;
mod echo;
mod lines;
mod registrar;
mod request;

pub(super) use behaviour::RING_MAX_NS;
pub(super) use counts::Counts;

use crate::probe::sip::identity::{Identifiers, SEED_BYTES};
use crate::probe::sip::message::MESSAGE_MAX_BYTES;
use crate::probe::sip::sdp::MediaPlace;
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::Hop;
use answerer::{Answerer, Asked, Outgoing};
use lines::Lines;
use socket2::SockRef;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// The socket's buffer, in bytes: a burst of a thousand requests waits there, instead of being lost and repeated.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Most requests that are read before timers get their turn.
const BURST_MAX: usize = 64;
/// How long to wait after a receive that failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);
/// How long to sleep when no timer is set.
const IDLE: Duration = Duration::from_secs(60);

/// Answers calls on one socket.
#[derive(Debug)]
pub struct SipResponder {
    socket: UdpSocket,
    /// Where audio may come.
    lines: Lines,
    answerer: Answerer,
}

impl SipResponder {
    /// Listens on an address; port 0 takes a free one. Calls that say nothing else are answered after `ring`.
    ///
    /// # Errors
    /// What the system says, such as that the port is taken.
    pub async fn bind(address: SocketAddr, ring: Duration) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        let mut seed = [0; SEED_BYTES];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random
            .fill(&mut seed)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let answerer = Answerer::new(Identifiers::new(seed), ring, Instant::now());
        let lines = Lines::bind(address, &answerer.counts())?;
        Ok(Self { socket, lines, answerer })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// What it counts.
    pub(super) fn counts(&self) -> Arc<Counts> {
        self.answerer.counts()
    }

    /// Answers until `stop` is done.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let _serving = self.lines.serve();
        let mut buffer = vec![0; MESSAGE_MAX_BYTES];
        loop {
            tokio::task::consume_budget().await;
            let wake = self.answerer.next_timer().unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = sleep_until(wake) => self.answerer.fire(Instant::now()),
                ready = self.socket.readable() => {
                    let received = ready.and_then(|()| self.receive(&mut buffer));
                    if received.is_err() {
                        tokio::time::sleep(RECEIVE_PAUSE).await;
                    }
                }
            }
            self.send_all();
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..BURST_MAX {
            let (length, source) = match self.socket.try_recv_from(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                received => received?,
            };
            let local = self.towards(source)?;
            let (line, port) = self.lines.next();
            let media = MediaPlace { address: local.ip().to_string(), port };
            let asked = Asked {
                bytes: &buffer[..length],
                at: Instant::now(),
                source: &Hop {
                    host: source.ip().to_canonical().to_string(),
                    port: source.port(),
                    transport: Transport::Udp,
                },
                local: &local.to_string(),
                media: &media,
                line,
            };
            self.answerer.receive(&asked);
            self.send_all();
        }
        Ok(())
    }

    /// The own address as that peer sees it: bound to every address, the system is asked which one it would use.
    fn towards(&self, peer: SocketAddr) -> io::Result<SocketAddr> {
        let bound = self.socket.local_addr()?;
        if !bound.ip().is_unspecified() {
            return Ok(bound);
        }
        let probe = std::net::UdpSocket::bind((bound.ip(), 0))?;
        probe.connect(peer)?;
        Ok(SocketAddr::new(probe.local_addr()?.ip().to_canonical(), bound.port()))
    }

    fn send_all(&mut self) {
        // Before the 200 that invites the caller to speak is out.
        while let Some(change) = self.answerer.changed() {
            self.lines.tell(change, Instant::now());
        }
        let mapped = matches!(self.socket.local_addr(), Ok(SocketAddr::V6(_)));
        while let Some(Outgoing { to, bytes }) = self.answerer.pop() {
            let address = to.host.parse::<IpAddr>().ok().map(|address| match address {
                IpAddr::V4(address) if mapped => IpAddr::V6(address.to_ipv6_mapped()),
                address => address,
            });
            if let Some(address) = address {
                // An answer that does not leave is one that got lost: the other side asks again.
                drop(
                    SockRef::from(&self.socket)
                        .send_to(&bytes, &SocketAddr::new(address, to.port).into()),
                );
            }
        }
    }
}
