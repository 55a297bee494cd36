//! The sockets that all attempts share: one for each address of this machine that a target is reached from.
//!
//! One task reads each of them, and hands every attempt what is its own. Ten thousand calls at once need no more files
//! than one, and no call has a port that the next could be given while answers to it are still on their way.

mod stray;
mod table;

pub(super) use table::Event;

use super::identity::Identifiers;
use super::message::MESSAGE_MAX_BYTES;
use super::timers::TRANSACTION;
use super::transport::Transport;
use super::uri::Hop;
use crate::probe::failure::{Failure, from_io_at_once};
use crate::probe::udp::{Received, Report, StampedUdp, keep_stamping};
use futures_channel::mpsc;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use stray::Strays;
use table::{EVENTS_MAX, Table, call_id};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Most datagrams that are read before others get their turn.
const BURST_MAX: usize = 32;
/// Most reports of the kernel that are read in a row.
const REPORTS_MAX: usize = 256;
/// How much of a datagram that the network sends back is read: a Call-ID stands among the first headers.
const QUOTE_BYTES: usize = 1_024;
/// How long a socket must have been quiet before it is closed when no attempt is left: so long may a peer repeat what it
/// asks (64·T1), and a socket of an address that this machine has no longer must not stay for ever.
const QUIET: Duration = TRANSACTION;

/// How long the address is used that the system has named for a peer: asking takes four calls to the system, and routes
/// change when people change them.
const SOURCE_VALID: Duration = Duration::from_secs(1);
/// Most peers of which that is remembered: as many as there are in large plans.
const SOURCES_MAX: usize = 1_024;

/// All shared sockets.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    open: Arc<Mutex<Open>>,
    sources: Mutex<Sources>,
    /// Keeps the kernel stamping from the first probe on; `None` where it cannot.
    stamping: OnceLock<Option<Socket>>,
}

/// By address; the port is that of no socket.
type Open = HashMap<SocketAddr, (Arc<Endpoint>, JoinHandle<()>)>;

/// By peer; until when it is used.
type Sources = HashMap<IpAddr, (SocketAddr, Instant)>;

/// A shared socket.
#[derive(Debug)]
struct Endpoint {
    socket: StampedUdp,
    table: Mutex<Table>,
    strays: Mutex<Strays>,
    /// Datagrams that the kernel has dropped.
    dropped: AtomicU64,
}

/// An attempt's part of a shared socket, until it is dropped.
#[derive(Debug)]
pub(super) struct Line {
    endpoint: Arc<Endpoint>,
    attempt: u64,
    calls: Vec<Box<[u8]>>,
    /// Where it asks, and how much garbage had come from there before.
    destinations: Vec<(SocketAddr, u64)>,
    dropped_before: u64,
}

/// Where an attempt is told what happens, at whichever socket.
pub(super) fn events() -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    // Each of its senders has a place of its own beside these.
    mpsc::channel(EVENTS_MAX - 1)
}

impl Endpoints {
    /// Has the kernel begin to stamp: before the first attempt, so that its first answer has a stamp too.
    pub(super) fn prepare(&self) {
        self.stamping.get_or_init(|| keep_stamping().ok());
    }

    /// A part of the socket at the address that the system would send from towards a peer.
    pub(super) fn towards(
        &self,
        peer: SocketAddr,
        events: mpsc::Sender<Event>,
    ) -> Result<Line, Failure> {
        self.prepare();
        let local = self.source(peer).map_err(|error| from_io_at_once(&error))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = match open.entry(local) {
            Entry::Occupied(entry) if !entry.get().1.is_finished() => Arc::clone(&entry.get().0),
            entry => {
                let endpoint = Arc::new(Endpoint::bind(local)?);
                let reading = Arc::clone(&endpoint).read(local, Arc::downgrade(&self.open));
                let reader = tokio::spawn(reading);
                entry.insert_entry((Arc::clone(&endpoint), reader));
                endpoint
            }
        };
        let dropped_before = endpoint.dropped.load(Ordering::Relaxed);
        let attempt = endpoint.table().insert(events);
        Ok(Line { endpoint, attempt, calls: Vec::new(), destinations: Vec::new(), dropped_before })
    }

    /// The address that the system sends from towards a peer, on no port; as it was a moment ago.
    fn source(&self, peer: SocketAddr) -> io::Result<SocketAddr> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((source, until)) = sources.get(&peer.ip())
            && *until > now
        {
            return Ok(*source);
        }
        let source = source_towards(peer, None)?;
        if sources.len() == SOURCES_MAX {
            sources.clear();
        }
        sources.insert(peer.ip(), (source, now + SOURCE_VALID));
        Ok(source)
    }
}

/// The address that the system sends from towards a peer, on no port; or whether it can from that one.
fn source_towards(peer: SocketAddr, from: Option<SocketAddr>) -> io::Result<SocketAddr> {
    // Connecting sends nothing.
    let socket = Socket::new(Domain::for_address(peer), Type::DGRAM, Some(Protocol::UDP))?;
    if let Some(mut from) = from {
        from.set_port(0);
        socket.bind(&from.into())?;
    }
    socket.connect(&peer.into())?;
    let local = socket.local_addr()?.as_socket();
    let mut local = local.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
    local.set_port(0);
    Ok(local)
}

impl Endpoint {
    fn bind(local: SocketAddr) -> Result<Self, Failure> {
        let socket = StampedUdp::bind(local).map_err(|error| from_io_at_once(&error))?;
        let identifiers = Identifiers::new(super::run::seed()?);
        Ok(Self {
            socket,
            table: Mutex::default(),
            strays: Mutex::new(Strays::new(identifiers, Instant::now())),
            dropped: AtomicU64::new(0),
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads until no attempt has been here for a while.
    async fn read(self: Arc<Self>, local: SocketAddr, open: Weak<Mutex<Open>>) {
        let mut buffer = vec![0; MESSAGE_MAX_BYTES];
        let mut dropped = 0;
        loop {
            match timeout(QUIET, self.socket.ready()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) if self.retire(local, &open) => return,
                Err(_) => continue,
            }
            if self.turn(&mut buffer, &mut dropped) == BURST_MAX {
                // A flood is always readable: those whom it is for must have their turn too.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Closes the socket, if nobody is here. Nobody can come in the meantime: whoever does asks for `open` first.
    fn retire(&self, local: SocketAddr, open: &Weak<Mutex<Open>>) -> bool {
        let Some(open) = open.upgrade() else { return self.table().is_empty() };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.table().is_empty() {
            return false;
        }
        open.remove(&local);
        let strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner).seen;
        tracing::debug!(local = %self.socket.local(), strays, "a socket that no call needs is closed");
        true
    }

    /// Reads what is there and hands it over. Returns how many datagrams that were.
    fn turn(&self, buffer: &mut [u8], dropped: &mut u32) -> usize {
        let mut arrived: Vec<(Box<[u8]>, Received)> = Vec::new();
        let mut read = 0;
        while read < BURST_MAX
            && let Some(received) = self.socket.receive(buffer)
        {
            read += 1;
            // What is no datagram is an error that is reported below.
            let Ok(received) = received else { continue };
            if let Some(now) = received.dropped {
                let more = now.wrapping_sub(std::mem::replace(dropped, now));
                self.dropped.fetch_add(more.into(), Ordering::Relaxed);
            }
            arrived.push((buffer[..received.length].into(), received));
        }
        let mut table = self.table();
        // When a request left is known before anything that answers it.
        self.report(&mut table, None);
        for (bytes, received) in arrived {
            self.hand_over(&mut table, bytes, &received);
        }
        read
    }

    /// Hands over what the kernel has to say; up to the word on one datagram, if only that is waited for.
    fn report(&self, table: &mut Table, until: Option<u64>) {
        let mut quote = [0; QUOTE_BYTES];
        for _ in 0..REPORTS_MAX {
            let Some(report) = self.socket.report(&mut quote) else { return };
            table.report(&report, &quote);
            if let (Report::Left { number, .. }, Some(awaited)) = (&report, until)
                && *number == awaited
            {
                return;
            }
        }
    }

    fn hand_over(&self, table: &mut Table, bytes: Box<[u8]>, received: &Received) {
        let Received { source, at, by, .. } = *received;
        let Some(call_id) = call_id(&bytes) else {
            // Nothing but line ends is a keep-alive.
            if bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                table.count_garbage(source);
            }
            return;
        };
        if let Some(attempt) = table.of_call(call_id) {
            let local = self.socket.local();
            return table.tell(attempt, Event::Datagram { bytes, source, local, at, by });
        }
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = strays.answer(&bytes, &hop(source), at) {
            // An answer that does not leave is one that got lost: the other side asks again.
            drop(self.socket.send_to(&answer, source));
        }
    }
}

impl Line {
    /// Where it is.
    pub(super) fn local(&self) -> SocketAddr {
        self.endpoint.socket.local()
    }

    /// Whether a peer can be reached from there too: the requests of a call should all come from one place.
    pub(super) fn reaches(&self, peer: SocketAddr) -> bool {
        source_towards(peer, Some(self.local())).is_ok()
    }

    /// Sends a request, or what belongs to it. Returns the number by which [`Event::Left`] tells when it left, if
    /// `stamped` asks for that.
    pub(super) fn send(&mut self, bytes: &[u8], to: SocketAddr, stamped: bool) -> io::Result<u64> {
        let mut table = self.endpoint.table();
        if let Some(call_id) = call_id(bytes)
            && !self.calls.iter().any(|known| **known == *call_id)
        {
            table.add_call(self.attempt, call_id);
            self.calls.push(call_id.into());
        }
        if !self.destinations.iter().any(|(known, _)| *known == to) {
            self.destinations.push((to, table.add_destination(self.attempt, to)));
        }
        let sent = self.endpoint.socket.send_to(bytes, to);
        if let (Ok(number), true) = (&sent, stamped) {
            table.add_stamp(self.attempt, *number);
        }
        // Most often the stamp is there already; then it need not wake anybody.
        self.endpoint.report(&mut table, sent.as_ref().ok().copied());
        sent
    }

    /// Answers whoever has asked.
    pub(super) fn answer(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.endpoint.socket.send_to(bytes, to).map(drop)
    }

    /// How many datagrams the kernel has dropped since this attempt began: its own may have been among them.
    pub(super) fn dropped(&self) -> u64 {
        self.endpoint.dropped.load(Ordering::Relaxed).saturating_sub(self.dropped_before)
    }

    /// How much came that was of no use: no message at all, from where it asks, or more than it could take.
    pub(super) fn discarded(&self) -> u64 {
        let table = self.endpoint.table();
        let since =
            |(from, before): &(SocketAddr, u64)| table.garbage(*from).saturating_sub(*before);
        self.destinations.iter().map(since).sum::<u64>() + table.lost(self.attempt)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.endpoint.table().remove(self.attempt, &self.calls, &self.destinations);
    }
}

/// An address, as messages have it.
pub(super) fn hop(address: SocketAddr) -> Hop {
    let host = address.ip().to_canonical().to_string();
    Hop { host, port: address.port(), transport: Transport::Udp }
}

#[cfg(test)]
mod tests;
