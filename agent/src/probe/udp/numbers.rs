//! Which datagram a stamp of the kernel is of. Pure.
//!
//! The kernel numbers what leaves a socket (`SOF_TIMESTAMPING_OPT_ID`), 32 bits from 0 on; here the same is counted
//! without end. Where the two could differ, after a send that failed, both begin anew.

/// Numbers of the datagrams of one socket.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: u64,
    /// The one that the kernel calls 0.
    first: u64,
    /// Nobody knows whether the kernel has counted the last send.
    uncertain: bool,
}

impl Numbers {
    /// A datagram has left. Returns its number.
    pub(super) fn sent(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// A datagram has not left: kernels differ in whether it was counted.
    pub(super) fn failed(&mut self) {
        self.uncertain = true;
    }

    /// Whether the kernel must be told to begin anew before anything else is sent.
    pub(super) fn is_uncertain(&self) -> bool {
        self.uncertain
    }

    /// The kernel begins anew.
    pub(super) fn restart(&mut self) {
        self.first = self.next;
        self.uncertain = false;
    }

    /// The number of the datagram that the kernel calls so: one of the last 2^32, sent since both began.
    pub(super) fn of(&self, kernel: u32) -> Option<u64> {
        let newest = self.next.checked_sub(1)?;
        let low = newest.checked_sub(self.first)? & u64::from(u32::MAX);
        let back = u32::try_from(low).ok()?.wrapping_sub(kernel);
        newest.checked_sub(back.into()).filter(|number| *number >= self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_the_kernels_wrap() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.of(0), None, "nothing was sent");
        assert_eq!((numbers.sent(), numbers.sent()), (0, 1));
        assert_eq!((numbers.of(0), numbers.of(1), numbers.of(2)), (Some(0), Some(1), None));
        numbers.next = (1 << 32) + 3;
        assert_eq!(numbers.of(2), Some((1 << 32) + 2));
        assert_eq!(numbers.of(u32::MAX), Some((1 << 32) - 1));
        assert_eq!(numbers.of(3), Some(3), "one that was reported very late");
    }

    #[test]
    fn after_a_failure_both_begin_anew() {
        let mut numbers = Numbers::default();
        for _ in 0..10 {
            numbers.sent();
        }
        numbers.failed();
        assert!(numbers.is_uncertain());
        numbers.restart();
        assert!(!numbers.is_uncertain());
        assert_eq!(numbers.of(9), None, "nothing was sent since");
        assert_eq!(numbers.sent(), 10);
        assert_eq!(numbers.of(0), Some(10));
        assert_eq!(numbers.of(9), None, "of before");
    }
}
