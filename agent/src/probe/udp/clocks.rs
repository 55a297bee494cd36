//! From the kernel's stamps, which are of the wall clock, to instants.

use probefleet_proto::clock::unix_now_ns;
use std::time::Duration;
use tokio::time::Instant;

/// Oldest stamp that is believed: what waited longer, or what the wall clock has stepped over, is stamped by us.
const AGE_MAX: Duration = Duration::from_secs(1);
/// The two clocks are read within so short a time, where that can be had: an interruption between them would pass for
/// age.
const APART_MAX: Duration = Duration::from_micros(5);
/// How often that is tried.
const TRIES: usize = 4;

/// The same moment on the wall clock and on the clock that never steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall_ns: u64,
    at: Instant,
}

impl Clocks {
    /// Now.
    pub(super) fn read() -> Self {
        let (mut best, mut apart) = Self::read_once();
        for _ in 1..TRIES {
            if apart <= APART_MAX {
                break;
            }
            let (again, nearer) = Self::read_once();
            if nearer < apart {
                (best, apart) = (again, nearer);
            }
        }
        best
    }

    fn read_once() -> (Self, Duration) {
        let before = Instant::now();
        let wall_ns = unix_now_ns();
        let apart = before.elapsed();
        (Self { wall_ns, at: before + apart / 2 }, apart)
    }

    /// When a stamp was taken, by its age: an interval between two such instants is not touched by what became of the
    /// wall clock between them. `None` where the age cannot be.
    pub(super) fn instant(&self, stamp_ns: u64) -> Option<Instant> {
        let age = Duration::from_nanos(self.wall_ns.checked_sub(stamp_ns)?);
        if age > AGE_MAX { None } else { self.at.checked_sub(age) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_as_old_as_the_wall_clock_says_now() {
        let clocks = Clocks { wall_ns: 10_000_000_000, at: Instant::now() };
        let age_ms = |ms: u64| clocks.instant(10_000_000_000 - ms * 1_000_000);
        assert_eq!(age_ms(0), Some(clocks.at));
        assert_eq!(age_ms(7), Some(clocks.at - Duration::from_millis(7)));
        assert_eq!(age_ms(1_000), Some(clocks.at - Duration::from_secs(1)));
        assert_eq!(age_ms(1_001), None, "too old");
        assert_eq!(clocks.instant(10_000_000_001), None, "of the future");
        assert_eq!(clocks.instant(0), None, "none was taken");
    }

    #[test]
    fn both_clocks_are_read_together() {
        let (first, second) = (Clocks::read(), Clocks::read());
        let wall = Duration::from_nanos(second.wall_ns - first.wall_ns);
        let apart = wall.abs_diff(second.at - first.at);
        assert!(apart < Duration::from_millis(1), "{apart:?}");
    }
}
