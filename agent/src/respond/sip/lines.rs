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
