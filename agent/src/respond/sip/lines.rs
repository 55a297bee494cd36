//! The ports at which callers are heard: a bounded number of lines, each a pair of ports that many calls share.
//!
//! What is sent back is decided by a machine without socket (`echo.rs`); here it is given the sockets. An echo is sent
//! from where it was heard, at once, so that what is measured of it is the way there and back.

use super::answerer::Change;
use super::counts::Counts;
use super::echo::Echo;
use crate::probe::sip::media::machine::Channel;
use crate::probe::sip::media::rtcp::COMPOUND_MAX_BYTES;
use crate::probe::sip::media::session::MediaSockets;
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How many there are: with two sockets each, they stay far below the 1024 files that a process may open.
const LINES: usize = 32;
/// Largest datagram that is looked at; one byte more, to see that a datagram is larger.
const BUFFER_BYTES: usize = COMPOUND_MAX_BYTES + 1;
/// How long to wait after a receive that failed.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// All lines.
#[derive(Debug)]
pub(super) struct Lines {
    all: Vec<Arc<Line>>,
    next: usize,
}

#[derive(Debug)]
struct Line {
    sockets: MediaSockets,
    port: u16,
    echo: Mutex<Echo>,
}

impl Lines {
    /// Takes ports beside that address.
    pub(super) fn bind(beside: SocketAddr, counts: &Arc<Counts>) -> io::Result<Self> {
        let line = |_| {
            let sockets = MediaSockets::bind_pair(beside.ip())?;
            let port = sockets.of(Channel::Rtp).local_addr()?.port();
            let echo = Mutex::new(Echo::new(Arc::clone(counts)));
            Ok(Arc::new(Line { sockets, port, echo }))
        };
        Ok(Self { all: (0..LINES).map(line).collect::<io::Result<_>>()?, next: 0 })
    }

    /// The line that the next call would have, and its port: they take turns.
    pub(super) fn next(&mut self) -> (usize, u16) {
        self.next = (self.next + 1) % LINES;
        (self.next, self.all[self.next].port)
    }

    /// Tells a line of a call.
    pub(super) fn tell(&self, change: Change, now: Instant) {
        match change {
            Change::Open { line, call, party } => self.all[line].echo().open(call, party, now),
            Change::Close { line, call } => self.all[line].echo().close(call),
        }
    }

    /// Answers on all of them, for as long as it is held.
    pub(super) fn serve(&self) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        for line in &self.all {
            for channel in [Channel::Rtp, Channel::Rtcp] {
                let line = Arc::clone(line);
                serving.spawn(async move { line.serve(channel).await });
            }
        }
        serving
    }
}

impl Line {
    fn echo(&self) -> MutexGuard<'_, Echo> {
        self.echo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, channel: Channel) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let received = self.sockets.of(channel).recv_from(&mut buffer).await;
            match received {
                Ok((length, source)) if length < BUFFER_BYTES => {
                    self.answer(channel, &mut buffer[..length], source);
                }
                Ok(_) => {}
                Err(_) => sleep(RECEIVE_PAUSE).await,
            }
        }
    }

    fn answer(&self, channel: Channel, bytes: &mut [u8], source: SocketAddr) {
        let now = Instant::now();
        let caller = SocketAddr::new(IpAddr::to_canonical(&source.ip()), source.port());
        let report = match channel {
            Channel::Rtp if self.echo().data(bytes, caller, now) => None,
            Channel::Rtp => return,
            Channel::Rtcp => match self.echo().control(bytes, caller, now) {
                None => return,
                report => report,
            },
        };
        let socket = SockRef::from(self.sockets.of(channel));
        // What does not leave is lost, as on any other way.
        drop(socket.send_to(report.as_deref().unwrap_or(bytes), &source.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::sip::media::machine::MediaPlan;
    use crate::probe::sip::media::session::{MediaSession, Remote};
    use crate::probe::sip::media::tone::Codec;
    use crate::probe::sip::sdp::Direction;
    use crate::respond::sip::echo::Party;
    use std::net::Ipv4Addr;

    /// Long enough for the first report, which is out within 2.5 s.
    const SPEAKS: Duration = Duration::from_millis(2_600);

    #[tokio::test]
    async fn a_caller_measures_the_way_there_and_back() {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let counts = Arc::<Counts>::default();
        let mut lines = Lines::bind(here, &counts).expect("ports");
        let _serving = lines.serve();
        let (line, port) = lines.next();
        let sockets = MediaSockets::bind_pair(here.ip()).expect("two ports");
        let place = sockets.of(Channel::Rtp).local_addr().ok();
        let party = Party { place, signalling: Some(here.ip()), listens: true, seed: 9 };
        lines.tell(Change::Open { line, call: 1, party }, Instant::now());
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let answered_at = Instant::now();
        let plan = MediaPlan {
            codec: Codec::Pcmu,
            answered_at,
            ends_at: answered_at + SPEAKS,
            direction: Direction::SendRecv,
            seed: 1,
        };
        let remote = Remote { rtp: at(port), rtcp: at(port + 1) };
        let mut session = MediaSession::new(sockets, remote, plan);
        session.run(answered_at + SPEAKS + Duration::from_millis(100)).await;
        let (report, strays) = session.end();
        assert_eq!((strays.early, strays.foreign), (0, 0));
        assert_eq!(report.sent + report.skipped, 130, "{report:?}");
        assert_eq!(report.reception.received, report.sent, "all came back: {report:?}");
        assert_eq!((report.lost(), report.remote_loss_ppm), (0, Some(0)), "{report:?}");
        assert!(report.rtt_ns.is_some_and(|rtt_ns| rtt_ns < 50_000_000), "{report:?}");
        assert!(report.rating.is_some_and(|rating| rating.mos_centi > 400), "{report:?}");
        assert_eq!((counts.echoed.get(), counts.reports.get()), (report.sent, 1));
    }
}
