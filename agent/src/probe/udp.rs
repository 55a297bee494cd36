//! UDP sockets that have the kernel's word for when a datagram came and left, and for what the network said of it.
//!
//! Stamps are taken where the kernel gets a datagram from the driver, or hands it over (`SO_TIMESTAMPING`, in software):
//! however late a task is run, and whatever runs beside it, they do not move. Where the kernel gives none, the program
//! takes its own, and says so.

mod clocks;
mod numbers;

use clocks::Clocks;
use nix::errno::Errno;
use nix::libc::sock_extended_err;
use nix::sys::socket::sockopt::{
    Ipv4RecvErr, Ipv6RecvErr, RcvBuf, RcvBufForce, RxqOvfl, Timestamping,
};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SetSockOpt as _, SockaddrIn6, SockaddrStorage,
    TimestampingFlag, Timestamps, cmsg_space, recvmsg,
};
use numbers::Numbers;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// The receive buffer that is asked for, in bytes: what comes while this program has no turn waits there. The usual
/// 208 KiB lose bursts of a few hundred messages.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// How often a send is tried that fails at once: it may have been handed what the network said of an earlier datagram.
const SEND_TRIES: usize = 3;
/// Most reports that are passed over in a row, because they say nothing that is asked here.
const PASSED_OVER_MAX: usize = 64;
/// Room for all that the kernel says beside a datagram or a report.
const CONTROL_BYTES: usize = cmsg_space::<Timestamps>()
    + cmsg_space::<u32>()
    + cmsg_space::<(sock_extended_err, SockaddrIn6)>();

/// Who said that a report was raised (`linux/errqueue.h`).
const ORIGIN_ICMP: u8 = 2;
const ORIGIN_ICMP6: u8 = 3;
const ORIGIN_TIMESTAMPING: u8 = 4;
/// "Time exceeded" (RFC 792; RFC 4443 §3.3): a loop that may be gone in a moment, to be ignored by SIP
/// (RFC 3261 §18.4).
const ICMP_TIME_EXCEEDED: u8 = 11;
const ICMP6_TIME_EXCEEDED: u8 = 3;

/// What a socket is listened to for: reports come as errors alone, with nothing to read.
const HEARD: Interest = Interest::READABLE.add(Interest::ERROR);

/// Who stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamper {
    /// The kernel.
    Kernel,
    /// This program, when it had its turn.
    User,
}

/// A datagram that was read into a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) source: SocketAddr,
    /// When it was there.
    pub(crate) at: Instant,
    pub(crate) by: Stamper,
    /// How many the kernel has dropped so far for want of room, if any; it counts from the socket's beginning on, and
    /// wraps.
    pub(crate) dropped: Option<u32>,
}

/// What the kernel has to say about a datagram that was sent.
#[derive(Debug)]
pub(crate) enum Report {
    /// It left then.
    Left {
        /// As [`StampedUdp::send_to`] numbered it.
        number: u64,
        at: Instant,
    },
    /// The network says that it cannot be delivered.
    Undelivered {
        /// Where it was to go.
        to: SocketAddr,
        /// Why.
        error: io::Error,
        /// How much of it was quoted into the buffer.
        quoted: usize,
    },
}

/// An unconnected UDP socket.
#[derive(Debug)]
pub(crate) struct StampedUdp {
    socket: UdpSocket,
    local: SocketAddr,
    numbers: Mutex<Numbers>,
    /// Whether the kernel stamps.
    stamps: bool,
}

/// As control messages must be aligned.
#[repr(align(8))]
struct Control([u8; CONTROL_BYTES]);

impl StampedUdp {
    /// A socket at that address; port 0 takes a free one.
    pub(crate) fn bind(local: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&local.into())?;
        // As much as the system lets one have.
        if RcvBufForce.set(&socket, &RECEIVE_BUFFER_BYTES).is_err() {
            RcvBuf.set(&socket, &RECEIVE_BUFFER_BYTES).unwrap_or_default();
        }
        if local.is_ipv4() {
            Ipv4RecvErr.set(&socket, &true)?;
        } else {
            Ipv6RecvErr.set(&socket, &true)?;
        }
        // Without these two there is less to say, but nothing wrong.
        RxqOvfl.set(&socket, &1).unwrap_or_default();
        let stamps = Timestamping.set(&socket, &stamping()).is_ok();
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local, numbers: Mutex::default(), stamps })
    }

    /// Where it is.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is something to read, or something to be told.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.socket.ready(HEARD).await.map(drop)
    }

    /// Sends at once: asks the system itself, not whether the runtime has heard that the socket is writable. Returns the
    /// number of the datagram, by which it is [reported](Self::report).
    pub(crate) fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<u64> {
        let to = SockAddr::from(to);
        // Held, so that the kernel's order is the one in which they are counted here.
        let mut numbers = self.numbers();
        if numbers.is_uncertain() {
            self.restart(&mut numbers);
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match SockRef::from(&self.socket).send_to(bytes, &to) {
                Ok(_) => return Ok(numbers.sent()),
                Err(error) if tries == SEND_TRIES || error.kind() == io::ErrorKind::WouldBlock => {
                    numbers.failed();
                    return Err(error);
                }
                // What was said of another datagram is in the error queue, and is said here once.
                Err(_) => self.restart(&mut numbers),
            }
        }
    }

    /// Has the kernel number what is sent from 0 on.
    fn restart(&self, numbers: &mut Numbers) {
        if self.stamps {
            Timestamping.set(&self.socket, &TimestampingFlag::empty()).unwrap_or_default();
            Timestamping.set(&self.socket, &stamping()).unwrap_or_default();
        }
        numbers.restart();
    }

    /// Reads a datagram that is there; `None` when none is. An error is one that the network said of a datagram that was
    /// sent: it is [reported](Self::report) too.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Option<io::Result<Received>> {
        receive(&self.socket, buffer)
    }

    /// What is next to be told of datagrams that were sent, with as much of them as the network has quoted; `None` when
    /// there is nothing.
    pub(crate) fn report(&self, quote: &mut [u8]) -> Option<Report> {
        for _ in 0..PASSED_OVER_MAX {
            // The runtime forgets that there was something only where it asks itself, and finds nothing. It asks only if
            // it has heard of something, and that may be later than it is there.
            let mut asked = false;
            let mut next = self.socket.try_io(Interest::ERROR, || {
                asked = true;
                Ok(self.next_report(quote)?)
            });
            if !asked {
                next = self.next_report(quote).map_err(io::Error::from);
            }
            match next {
                Ok(Some(report)) => return Some(report),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn next_report(&self, quote: &mut [u8]) -> Result<Option<Report>, Errno> {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut parts = [IoSliceMut::new(quote)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(
            fd,
            &mut parts,
            Some(&mut control.0),
            MsgFlags::MSG_ERRQUEUE,
        )?;
        Ok(self.read_report(&message))
    }

    fn read_report(&self, message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Report> {
        let (mut stamp_ns, mut raised) = (None, None);
        for control in message.cmsgs().ok()? {
            match control {
                ControlMessageOwned::ScmTimestampsns(stamps) => stamp_ns = nanoseconds(&stamps),
                ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _) => raised = Some(error),
                _ => {}
            }
        }
        let raised = raised?;
        match (raised.ee_origin, raised.ee_type) {
            (ORIGIN_TIMESTAMPING, _) => {
                let at = Clocks::read().instant(stamp_ns?)?;
                let number = self.numbers().of(raised.ee_data)?;
                Some(Report::Left { number, at })
            }
            (ORIGIN_ICMP, ICMP_TIME_EXCEEDED) | (ORIGIN_ICMP6, ICMP6_TIME_EXCEEDED) => None,
            (ORIGIN_ICMP | ORIGIN_ICMP6, _) => {
                let errno = i32::try_from(raised.ee_errno).ok()?;
                // Too large for a network on the way: when it is sent again, it is sent in fragments.
                (errno != Errno::EMSGSIZE as i32).then_some(())?;
                let to = address(message.address.as_ref()?)?;
                let error = io::Error::from_raw_os_error(errno);
                Some(Report::Undelivered { to, error, quoted: message.bytes })
            }
            _ => None,
        }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a datagram that is there, with the kernel's stamp if the socket has one; `None` when none is there.
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<io::Result<Received>> {
    let read = || {
        let mut control = Control([0; CONTROL_BYTES]);
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control.0), MsgFlags::empty())?;
        received(&message).ok_or_else(|| io::ErrorKind::InvalidData.into())
    };
    match socket.try_io(Interest::READABLE, read) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

/// Has the kernel stamp what comes to a socket that nothing else is asked of.
pub(crate) fn stamp_arrivals(socket: &UdpSocket) {
    let stamping = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE;
    // Without stamps of the kernel, the program takes its own.
    Timestamping.set(socket, &stamping).unwrap_or_default();
}

/// Has the kernel stamp what comes, to any socket, as long as the returned one is held: it begins to with the first
/// socket that asks for stamps, a moment later, and what comes in that moment has none.
pub(crate) fn keep_stamping() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    Timestamping.set(&socket, &TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE)?;
    Ok(socket)
}

/// Stamps in software, both ways; what leaves is numbered, and is not sent back with its stamp.
fn stamping() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_TSONLY
}

fn received(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Received> {
    let (mut stamp_ns, mut dropped) = (None, None);
    for control in message.cmsgs().ok()? {
        match control {
            ControlMessageOwned::ScmTimestampsns(stamps) => stamp_ns = nanoseconds(&stamps),
            ControlMessageOwned::RxqOvfl(count) => dropped = Some(count),
            _ => {}
        }
    }
    let stamped = stamp_ns.and_then(|stamp_ns| Clocks::read().instant(stamp_ns));
    let (at, by) = match stamped {
        Some(at) => (at, Stamper::Kernel),
        None => (Instant::now(), Stamper::User),
    };
    let source = address(message.address.as_ref()?)?;
    Some(Received { length: message.bytes, source, at, by, dropped })
}

fn nanoseconds(stamps: &Timestamps) -> Option<u64> {
    u64::try_from(Duration::from(stamps.system).as_nanos()).ok()
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6))
}

#[cfg(test)]
mod tests;
