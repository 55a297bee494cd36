//! Who gets what comes to a shared socket: attempts by their Call-ID, which nobody can guess, and by what they have sent.

use crate::probe::udp::{Report, Stamper};
use futures_channel::mpsc;
use memchr::memchr;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use tokio::time::Instant;

/// Most events that wait for one attempt. A call has some ten messages, a fork a few dozen; what comes beyond while the
/// attempt has no turn is dropped, as the network might have.
pub(super) const EVENTS_MAX: usize = 64;

/// What happens to an attempt at a shared socket.
#[derive(Debug)]
pub(in crate::probe::sip) enum Event {
    /// A datagram of its call has come.
    Datagram {
        bytes: Box<[u8]>,
        source: SocketAddr,
        /// Where it came in.
        local: SocketAddr,
        at: Instant,
        by: Stamper,
    },
    /// A datagram of its own has left.
    Left { number: u64, at: Instant },
    /// A datagram of its own cannot be delivered.
    Undelivered { errno: i32 },
}

/// Attempts at one socket.
#[derive(Debug, Default)]
pub(super) struct Table {
    attempts: HashMap<u64, Attempt>,
    next: u64,
    calls: HashMap<Box<[u8]>, u64>,
    /// Whose datagrams are to be stamped, by number.
    stamps: HashMap<u64, u64>,
    destinations: HashMap<SocketAddr, Destination>,
}

#[derive(Debug)]
struct Attempt {
    queue: mpsc::Sender<Event>,
    /// Datagrams that found no room.
    lost: u64,
}

/// Where somebody asks.
#[derive(Debug, Default)]
struct Destination {
    attempts: HashSet<u64>,
    /// What came from there and was no message of SIP.
    garbage: u64,
}

impl Table {
    /// Takes an attempt in.
    pub(super) fn insert(&mut self, queue: mpsc::Sender<Event>) -> u64 {
        let attempt = self.next;
        self.next += 1;
        self.attempts.insert(attempt, Attempt { queue, lost: 0 });
        attempt
    }

    /// What has that Call-ID is for this attempt.
    pub(super) fn add_call(&mut self, attempt: u64, call_id: &[u8]) {
        self.calls.insert(call_id.into(), attempt);
    }

    /// The attempt asks there. Returns how much garbage has come from there before.
    pub(super) fn add_destination(&mut self, attempt: u64, to: SocketAddr) -> u64 {
        let destination = self.destinations.entry(to).or_default();
        destination.attempts.insert(attempt);
        destination.garbage
    }

    /// The attempt wants to know when that datagram left.
    pub(super) fn add_stamp(&mut self, attempt: u64, number: u64) {
        self.stamps.insert(number, attempt);
    }

    /// An attempt has ended.
    pub(super) fn remove(
        &mut self,
        attempt: u64,
        calls: &[Box<[u8]>],
        destinations: &[(SocketAddr, u64)],
    ) {
        self.attempts.remove(&attempt);
        for call_id in calls {
            self.calls.remove(call_id);
        }
        for (address, _) in destinations {
            if let Some(destination) = self.destinations.get_mut(address) {
                destination.attempts.remove(&attempt);
                if destination.attempts.is_empty() {
                    self.destinations.remove(address);
                }
            }
        }
        if !self.stamps.is_empty() {
            self.stamps.retain(|_, of| *of != attempt);
        }
    }

    /// Whether there is no attempt.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// How much garbage has come from there so far.
    pub(super) fn garbage(&self, from: SocketAddr) -> u64 {
        self.destinations.get(&from).map_or(0, |destination| destination.garbage)
    }

    /// How many datagrams of an attempt found no room.
    pub(super) fn lost(&self, attempt: u64) -> u64 {
        self.attempts.get(&attempt).map_or(0, |attempt| attempt.lost)
    }

    /// What came from there was no message of SIP: whoever asks there is told how often.
    pub(super) fn count_garbage(&mut self, from: SocketAddr) {
        if let Some(destination) = self.destinations.get_mut(&from) {
            destination.garbage += 1;
        }
    }

    /// The attempt of a call.
    pub(super) fn of_call(&self, call_id: &[u8]) -> Option<u64> {
        self.calls.get(call_id).copied()
    }

    /// Tells an attempt.
    pub(super) fn tell(&mut self, attempt: u64, event: Event) {
        if let Some(attempt) = self.attempts.get_mut(&attempt)
            && attempt.queue.try_send(event).is_err()
        {
            attempt.lost += 1;
        }
    }

    /// Tells whom a report of the kernel concerns.
    pub(super) fn report(&mut self, report: &Report, quote: &[u8]) {
        match report {
            Report::Left { number, at } => {
                if let Some(attempt) = self.stamps.remove(number) {
                    self.tell(attempt, Event::Left { number: *number, at: *at });
                }
            }
            Report::Undelivered { to, error, quoted } => {
                let Some(errno) = error.raw_os_error() else { return };
                for attempt in self.concerned(*to, quote.get(..*quoted).unwrap_or_default()) {
                    self.tell(attempt, Event::Undelivered { errno });
                }
            }
        }
    }

    /// Whose datagram the network has sent back: the call's that is quoted. Routers that quote less than its Call-ID
    /// (8 bytes are enough for RFC 792) say the same to all who ask there.
    fn concerned(&self, to: SocketAddr, quote: &[u8]) -> Vec<u64> {
        let Some(destination) = self.destinations.get(&to) else { return Vec::new() };
        match call_id(quote) {
            Some(call_id) => {
                let attempt = self.of_call(call_id);
                attempt.filter(|one| destination.attempts.contains(one)).into_iter().collect()
            }
            None => destination.attempts.iter().copied().collect(),
        }
    }
}

/// The Call-ID of a message, which may be cut off anywhere behind it: nothing else is read here.
pub(super) fn call_id(message: &[u8]) -> Option<&[u8]> {
    let begin = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let mut rest = &message[begin..];
    // The first line is no header.
    rest = &rest[memchr(b'\n', rest)? + 1..];
    loop {
        let mut end = memchr(b'\n', rest)? + 1;
        let line = &rest[..end];
        if line.trim_ascii().is_empty() {
            return None;
        }
        let colon = memchr(b':', line);
        let name = line[..colon.unwrap_or(0)].trim_ascii_end();
        if name.eq_ignore_ascii_case(b"Call-ID") || name.eq_ignore_ascii_case(b"i") {
            // Folded lines belong to it (RFC 3261 §7.3.1).
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += memchr(b'\n', &rest[end..])? + 1;
            }
            return Some(rest[colon? + 1..end].trim_ascii());
        }
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::io;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn refused(to: SocketAddr, quote: &[u8]) -> Report {
        let error = io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32);
        Report::Undelivered { to, error, quoted: quote.len() }
    }

    #[test]
    fn a_call_id_is_found_wherever_it_stands() {
        for (text, expected) in [
            ("INVITE sip:a SIP/2.0\r\nVia: x\r\nCall-ID: abc\r\n\r\n", Some("abc")),
            ("\r\n\r\nSIP/2.0 200 OK\r\ni:abc\r\nVia", Some("abc")),
            ("SIP/2.0 200 OK\nCALL-ID \t: abc  \nx", Some("abc")),
            ("SIP/2.0 200 OK\r\nCall-ID:\r\n abc\r\n\r\n", Some("abc")),
            ("SIP/2.0 200 OK\r\nCall-ID: ab", None),
            ("SIP/2.0 200 OK\r\n\r\nCall-ID: in-the-body\r\n", None),
            ("SIP/2.0 200 OK\r\nno header\r\nCall-ID: abc\r\n", Some("abc")),
            ("Call-ID: abc\r\n", None),
            ("\r\n\r\n", None),
            ("", None),
        ] {
            assert_eq!(call_id(text.as_bytes()), expected.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn what_the_network_sends_back_is_told_to_its_sender() {
        let (first, mut at_first) = mpsc::channel(EVENTS_MAX);
        let (second, mut at_second) = mpsc::channel(EVENTS_MAX);
        let mut table = Table::default();
        let (first, second) = (table.insert(first), table.insert(second));
        for (attempt, call) in [(first, b"one"), (second, b"two")] {
            table.add_call(attempt, call);
            table.add_destination(attempt, address(5_060));
        }
        let quote = b"INVITE sip:a SIP/2.0\r\nCall-ID: two\r\n";
        table.report(&refused(address(5_060), quote), quote);
        assert!(matches!(at_second.try_recv(), Ok(Event::Undelivered { .. })));
        assert!(at_first.try_recv().is_err(), "not its datagram");
        table.report(&refused(address(5_061), quote), quote);
        assert!(at_second.try_recv().is_err(), "it has not asked there");
        table.report(&refused(address(5_060), b"INVITE s"), b"INVITE s");
        assert!(at_first.try_recv().is_ok() && at_second.try_recv().is_ok(), "true of both");
    }

    #[test]
    fn nothing_is_left_of_an_attempt() {
        let (queue, _events) = mpsc::channel(EVENTS_MAX);
        let mut table = Table::default();
        let attempt = table.insert(queue);
        table.add_call(attempt, b"one");
        let before = table.add_destination(attempt, address(5_060));
        table.add_stamp(attempt, 7);
        table.remove(attempt, &[b"one"[..].into()], &[(address(5_060), before)]);
        assert!(table.is_empty() && table.calls.is_empty());
        assert!(table.destinations.is_empty() && table.stamps.is_empty());
    }

    #[test]
    fn an_attempt_without_a_turn_costs_bounded_memory() {
        let (queue, mut events) = super::super::events();
        let mut table = Table::default();
        let attempt = table.insert(queue);
        for number in 0..1_000 {
            table.tell(attempt, Event::Left { number, at: Instant::now() });
        }
        assert_eq!(table.lost(attempt), 1_000 - 64);
        assert!(matches!(events.try_recv(), Ok(Event::Left { number: 0, .. })));
    }
}
