//! When what an attempt measures from has left: by the kernel's word, or, where that does not come, by our own. Pure.

use super::scenario::Stamp;
use crate::probe::udp::Stamper;
use std::time::Duration;
use tokio::time::Instant;

/// By so much the kernel's stamp may lie before the instant at which the message was handed over: two clocks are read one
/// after the other. What lies further back is the stamp of something else.
const CLOCKS_APART_MAX: Duration = Duration::from_micros(100);

/// First transmissions whose stamp is still to come, and who has stamped so far.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// At most one for each [`Stamp`].
    pending: Vec<Pending>,
    by_kernel: bool,
    by_user: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    number: u64,
    stamp: Stamp,
    /// When it was handed to the system.
    at: Instant,
}

impl Stamps {
    /// A message was handed over as the datagram of that number.
    pub(super) fn expect(&mut self, number: u64, stamp: Stamp, at: Instant) {
        self.pending.push(Pending { number, stamp, at });
    }

    /// The kernel says when a datagram left. Returns what was thereby sent.
    pub(super) fn left(&mut self, number: u64, at: Instant) -> Option<(Stamp, Instant)> {
        let index = self.pending.iter().position(|pending| pending.number == number)?;
        let pending = self.pending[index];
        if at + CLOCKS_APART_MAX < pending.at {
            return None;
        }
        self.pending.swap_remove(index);
        self.note(Stamper::Kernel);
        Some((pending.stamp, at))
    }

    /// A message has come. Returns a first transmission that it may answer, and whose stamp should have come before it:
    /// then our own must do.
    pub(super) fn overdue(&mut self, at: Instant) -> Option<(Stamp, Instant)> {
        let index = self.pending.iter().position(|pending| pending.at <= at)?;
        let Pending { stamp, at, .. } = self.pending.swap_remove(index);
        self.note(Stamper::User);
        Some((stamp, at))
    }

    /// Something was stamped.
    pub(super) fn note(&mut self, by: Stamper) {
        match by {
            Stamper::Kernel => self.by_kernel = true,
            Stamper::User => self.by_user = true,
        }
    }

    /// Who has stamped; `None` where nothing was.
    pub(super) fn label(&self) -> Option<&'static str> {
        match (self.by_kernel, self.by_user) {
            (true, true) => Some("mixed"),
            (true, false) => Some("kernel"),
            (false, true) => Some("user"),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_comes_first() {
        let (mut stamps, start) = (Stamps::default(), Instant::now());
        let at = |us| start + Duration::from_micros(us);
        stamps.expect(7, Stamp::Request, start);
        assert_eq!(stamps.left(6, at(10)), None, "another's");
        assert_eq!(stamps.left(7, at(10)), Some((Stamp::Request, at(10))));
        stamps.note(Stamper::Kernel);
        assert_eq!((stamps.overdue(at(50)), stamps.label()), (None, Some("kernel")));
    }

    #[test]
    fn where_it_does_not_come_our_own_does() {
        let (mut stamps, start) = (Stamps::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(stamps.label(), None);
        stamps.expect(7, Stamp::Bye, at(10));
        assert_eq!(stamps.left(7, at(9)), None, "of a datagram before it");
        assert_eq!(stamps.overdue(at(5)), None, "this came before it was sent");
        assert_eq!(stamps.overdue(at(20)), Some((Stamp::Bye, at(10))));
        assert_eq!(stamps.label(), Some("user"));
        assert_eq!(stamps.left(7, at(11)), None, "too late");
        stamps.note(Stamper::Kernel);
        assert_eq!(stamps.label(), Some("mixed"));
    }
}
