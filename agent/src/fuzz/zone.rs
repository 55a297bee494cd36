//! Records of names, as whoever owns a domain may write them.

use crate::probe::Family;
use crate::probe::failure::Failure;
use crate::probe::resolver::{Lookup, Naptr, NoRecords, Srv};
use crate::probe::sip::locate::{LOCATED_MAX, Wanted, locate};
use crate::probe::sip::uri::Uri;
use probefleet_proto::name::FailureClass;
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// More questions than any zone may cost.
const QUESTIONS_MAX: u32 = 32;
/// URIs whose names are asked about.
const URIS: [&str; 4] =
    ["sip:a@example.com", "sips:a@example.com", "sip:example.com;transport=tcp", "sip:a@h:1"];
/// What rules say that matter, and one that does not.
const SERVICES: [&[u8]; 4] = [b"SIPS+D2T", b"SIP+D2T", b"SIP+D2U", b"E2U+sip"];
/// Where records lead.
const NAMES: [&str; 4] = [".", "s.example.com.", "_sip._udp.example.com.", "192.0.2.1."];

/// The answers to all questions, one after the other (RFC 3263 §4).
///
/// # Panics
/// When a zone costs more questions, or leads to more servers, than there may be.
pub fn zone(bytes: &[u8]) {
    for text in URIS {
        let Some(uri) = Uri::parse(text.as_bytes()) else { continue };
        let zone = Zone { rest: Cell::new(bytes), asked: Cell::new(0) };
        let mut random = fastrand::Rng::with_seed(1);
        let wanted = Wanted { family: Family::Any, most: LOCATED_MAX };
        let located = pin!(locate(&uri, wanted, &zone, &mut random));
        // Nothing here waits for anything.
        let polled = located.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(found) = polled else { continue };
        assert!(found.is_err() || (1..=LOCATED_MAX).contains(&found.map_or(0, |all| all.len())));
        assert!(zone.asked.get() <= QUESTIONS_MAX, "{} questions", zone.asked.get());
    }
}

/// Bytes that are taken as they are asked for.
struct Zone<'a> {
    rest: Cell<&'a [u8]>,
    asked: Cell<u32>,
}

impl Zone<'_> {
    fn byte(&self) -> u8 {
        let (byte, rest) = self.rest.get().split_first().unwrap_or((&0, &[]));
        self.rest.set(rest);
        *byte
    }

    fn number(&self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn name(&self) -> String {
        NAMES[usize::from(self.byte()) % NAMES.len()].to_owned()
    }

    /// As many records as the next byte says, or why there are none.
    fn records<T>(&self, record: impl Fn() -> T) -> Result<Vec<T>, NoRecords> {
        self.asked.set(self.asked.get() + 1);
        let failure = |code| Failure::failed(FailureClass::Resolve, code, "");
        match self.byte() {
            0..=63 => Err(NoRecords::Absent(failure("nxdomain"))),
            64..=79 => Err(NoRecords::Broken(failure("servfail"))),
            80..=95 => Err(NoRecords::Silent(failure("dns_timeout"))),
            count => Ok((0..=count % 64).map(|_| record()).collect()),
        }
    }
}

impl Lookup for Zone<'_> {
    fn is_own(&self, _: &str) -> bool {
        false
    }

    async fn naptr(&self, _: &str) -> Result<Vec<Naptr>, NoRecords> {
        self.records(|| Naptr {
            order: self.number(),
            preference: self.number(),
            flags: if self.byte() < 200 { b"s".to_vec() } else { vec![self.byte()] },
            services: SERVICES[usize::from(self.byte()) % SERVICES.len()].to_vec(),
            regexp: if self.byte() < 200 { Vec::new() } else { vec![self.byte()] },
            replacement: self.name(),
        })
    }

    async fn srv(&self, _: &str) -> Result<Vec<Srv>, NoRecords> {
        self.records(|| Srv {
            priority: self.number(),
            weight: self.number(),
            port: self.number(),
            target: self.name(),
        })
    }

    async fn addresses(&self, _: &str, _: Family) -> Result<Vec<IpAddr>, NoRecords> {
        self.records(|| match self.byte() {
            last if last % 2 == 0 => Ipv4Addr::new(192, 0, 2, last).into(),
            last => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into(),
        })
    }
}
