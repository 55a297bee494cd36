//! The audio of a call on its sockets.
//!
//! Arrivals have the kernel's stamps, where it gives any, so that this program's own turns are in no jitter. What is sent
//! leaves when the runtime's timers say so: they have 1 ms, and that much jitter the other side may see of ours.

use super::machine::{Channel, MediaMachine, MediaPlan, MediaReport};
use super::rtcp::COMPOUND_MAX_BYTES;
use crate::probe::sip::sdp::MediaPlace;
use crate::probe::udp::{Received, receive, stamp_arrivals};
use socket2::SockRef;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a pair of ports is looked for.
const PAIR_TRIES: usize = 64;
/// Largest datagram that is read: one of G.711 has 172 bytes, and none that is larger than a frame is audio.
const DATAGRAM_MAX_BYTES: usize = COMPOUND_MAX_BYTES;
/// Most datagrams that are read before timers get their turn.
const BURST_MAX: usize = 16;
/// How long to wait after a receive that failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(10);
/// Most datagrams from before the answer that are thrown away: what the system's buffer holds.
const EARLY_MAX: u64 = 4_096;

/// Two ports, one after the other: data on the even one, control on the next (RFC 3550 §11).
#[derive(Debug)]
pub(crate) struct MediaSockets {
    rtp: UdpSocket,
    rtcp: UdpSocket,
}

impl MediaSockets {
    /// Takes two free ports of that address.
    pub(crate) fn bind_pair(ip: IpAddr) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..PAIR_TRIES {
            let rtp = std::net::UdpSocket::bind((ip, 0))?;
            let port = rtp.local_addr()?.port();
            if !port.is_multiple_of(2) {
                continue;
            }
            match std::net::UdpSocket::bind((ip, port + 1)) {
                Ok(rtcp) => return Ok(Self { rtp: own(rtp)?, rtcp: own(rtcp)? }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where audio is expected, as an offer says it.
    pub(crate) fn place(&self) -> io::Result<MediaPlace> {
        let address = self.rtp.local_addr()?;
        Ok(MediaPlace { address: address.ip().to_string(), port: address.port() })
    }

    /// The port of that channel.
    pub(crate) fn of(&self, channel: Channel) -> &UdpSocket {
        match channel {
            Channel::Rtp => &self.rtp,
            Channel::Rtcp => &self.rtcp,
        }
    }
}

fn own(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    stamp_arrivals(&socket);
    Ok(socket)
}

/// Where the other side expects audio. Both have passed the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote {
    /// Data.
    pub(crate) rtp: SocketAddr,
    /// Control.
    pub(crate) rtcp: SocketAddr,
}

/// A call's audio under way.
#[derive(Debug)]
pub(crate) struct MediaSession {
    sockets: MediaSockets,
    remote: Remote,
    machine: MediaMachine,
    /// Datagrams from before the answer.
    early: u64,
    /// Datagrams from other addresses than the one of the answer.
    foreign: u64,
    buffer: Vec<u8>,
}

impl MediaSession {
    /// Begins now. What came before (early media) is thrown away: nobody knows when it came.
    pub(crate) fn new(sockets: MediaSockets, remote: Remote, plan: MediaPlan) -> Self {
        let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
        let mut early = 0;
        // Asks the system itself: the runtime may not have heard of it yet.
        while early < EARLY_MAX && (&*SockRef::from(&sockets.rtp)).read(&mut buffer).is_ok() {
            early += 1;
        }
        let machine = MediaMachine::new(plan, Instant::now());
        Self { sockets, remote, machine, early, foreign: 0, buffer }
    }

    /// Speaks and listens until then. Given up at any point, it can be gone on with.
    pub(crate) async fn run(&mut self, until: Instant) {
        loop {
            tokio::task::consume_budget().await;
            let timer = self.machine.next_timer().unwrap_or(until).min(until);
            let received = tokio::select! {
                biased;
                () = sleep_until(timer) => {
                    let now = Instant::now();
                    if now >= until {
                        return;
                    }
                    self.machine.fire(now);
                    self.send_all();
                    Ok(())
                }
                ready = self.sockets.rtp.readable() => {
                    ready.and_then(|()| self.receive(Channel::Rtp))
                }
                ready = self.sockets.rtcp.readable() => {
                    ready.and_then(|()| self.receive(Channel::Rtcp))
                }
            };
            if received.is_err() {
                sleep(RECEIVE_PAUSE).await;
            }
        }
    }

    /// Says goodbye; what was measured.
    pub(crate) fn end(mut self) -> (MediaReport, Strays) {
        let now = Instant::now();
        self.machine.finish(now);
        self.send_all();
        (self.machine.report(now), Strays { early: self.early, foreign: self.foreign })
    }

    fn receive(&mut self, channel: Channel) -> io::Result<()> {
        for _ in 0..BURST_MAX {
            let socket = self.sockets.of(channel);
            let Some(received) = receive(socket, &mut self.buffer) else { return Ok(()) };
            let Received { length, source, at, .. } = received?;
            let bytes = &self.buffer[..length];
            // From that address, but from any port: it need not send where it receives (RFC 4961).
            if source.ip().to_canonical() != self.remote.rtp.ip().to_canonical() {
                self.foreign += 1;
                continue;
            }
            match channel {
                Channel::Rtp => self.machine.data(bytes, at),
                Channel::Rtcp => self.machine.control(bytes, at),
            }
        }
        Ok(())
    }

    fn send_all(&mut self) {
        while let Some((channel, bytes)) = self.machine.pop() {
            let to = match channel {
                Channel::Rtp => self.remote.rtp,
                Channel::Rtcp => self.remote.rtcp,
            };
            // A packet that does not leave is one that got lost, and the other side says so.
            drop(SockRef::from(self.sockets.of(channel)).send_to(&bytes, &to.into()));
        }
    }
}

/// Datagrams that are in no number of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strays {
    /// Came before the answer.
    pub(crate) early: u64,
    /// Came from elsewhere than the answer says.
    pub(crate) foreign: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::sip::media::tone::Codec;
    use crate::probe::sip::sdp::Direction;
    use std::net::Ipv4Addr;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn remote(sockets: &MediaSockets) -> Remote {
        let place = |channel| sockets.of(channel).local_addr().expect("bound");
        Remote { rtp: place(Channel::Rtp), rtcp: place(Channel::Rtcp) }
    }

    fn plan(codec: Codec, time: Duration, seed: u64) -> MediaPlan {
        let answered_at = Instant::now();
        MediaPlan {
            codec,
            answered_at,
            ends_at: answered_at + time,
            direction: Direction::SendRecv,
            seed,
        }
    }

    #[tokio::test]
    async fn a_pair_is_an_even_port_and_the_next() {
        let pair = MediaSockets::bind_pair(HERE).expect("two ports");
        let remote = remote(&pair);
        assert_eq!(remote.rtp.port() % 2, 0);
        assert_eq!(remote.rtcp.port(), remote.rtp.port() + 1);
        assert_eq!(pair.place().expect("bound").port, remote.rtp.port());
    }

    #[tokio::test]
    async fn two_sessions_hear_each_other() {
        let bind = || MediaSockets::bind_pair(HERE).expect("two ports");
        let (one, other) = (bind(), bind());
        let (to_one, to_other) = (remote(&one), remote(&other));
        one.rtp.send_to(b"early", to_other.rtp).await.expect("sends");
        let time = Duration::from_millis(500);
        let mut one = MediaSession::new(one, to_other, plan(Codec::Pcma, time, 1));
        let mut other = MediaSession::new(other, to_one, plan(Codec::Pcma, time, 2));
        let until = Instant::now() + time + Duration::from_millis(50);
        tokio::join!(one.run(until), other.run(until));
        // Whoever ends last has the goodbye, and the report, of the first.
        let (first, _) = one.end();
        tokio::task::yield_now().await;
        other.run(Instant::now() + Duration::from_millis(20)).await;
        let (last, strays) = other.end();
        assert_eq!(strays, Strays { early: 1, foreign: 0 });
        for report in [first, last] {
            assert_eq!(report.sent + report.skipped, 25, "{report:?}");
            assert_eq!((report.lost(), report.reception.duplicates), (0, 0), "{report:?}");
            assert!(report.media_setup_ns.is_some_and(|ns| ns < 400_000_000), "{report:?}");
        }
        assert_eq!((first.reception.received, last.reception.received), (last.sent, first.sent));
        assert_eq!((first.remote_loss_ppm, last.remote_loss_ppm), (None, Some(0)));
    }

    #[tokio::test]
    async fn silence_and_strangers_are_no_audio() {
        let (ours, theirs) = (MediaSockets::bind_pair(HERE), MediaSockets::bind_pair(HERE));
        let (ours, theirs) = (ours.expect("two ports"), theirs.expect("two ports"));
        let here = remote(&ours);
        let stranger = std::net::UdpSocket::bind("127.0.0.2:0").expect("a port");
        let time = Duration::from_millis(60);
        let mut session = MediaSession::new(ours, remote(&theirs), plan(Codec::Pcmu, time, 1));
        for number in 0..5 {
            let packet = [0x80, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 1];
            stranger.send_to(&packet, here.rtp).expect("sends");
        }
        session.run(Instant::now() + time).await;
        let (report, strays) = session.end();
        assert_eq!((report.media_setup_ns, report.rating), (None, None));
        assert!(report.no_audio);
        assert_eq!(strays, Strays { early: 0, foreign: 5 });
    }
}
