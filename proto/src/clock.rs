//! The wall clock: the only place that reads it.
//!
//! Wall time = monotonic time + an offset that is re-anchored only between windows. So instants within a window never
//! jump, and an NTP step or a leap smear shows as one recorded step and never as a negative duration.

use tokio::time::Instant;

/// Maps monotonic instants to Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor: Instant,
    anchor_ns: u64,
}

impl Clock {
    /// Anchored to the machine's wall clock now.
    #[must_use]
    pub fn start() -> Self {
        Self { anchor: Instant::now(), anchor_ns: unix_now_ns() }
    }

    /// Anchored at a given pair, for tests and simulation.
    #[must_use]
    pub const fn anchored(anchor: Instant, anchor_ns: u64) -> Self {
        Self { anchor, anchor_ns }
    }

    /// Unix ns now.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.to_unix_ns(Instant::now())
    }

    /// Unix ns of a monotonic instant.
    #[must_use]
    pub fn to_unix_ns(&self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.anchor) {
            Some(after) => self.anchor_ns.saturating_add(saturating_ns(after)),
            None => {
                self.anchor_ns.saturating_sub(saturating_ns(self.anchor.duration_since(instant)))
            }
        }
    }

    /// The monotonic instant of Unix ns; the anchor for anything that a monotonic clock cannot express.
    #[must_use]
    pub fn to_instant(&self, unix_ns: u64) -> Instant {
        let instant = if unix_ns >= self.anchor_ns {
            self.anchor.checked_add(std::time::Duration::from_nanos(unix_ns - self.anchor_ns))
        } else {
            self.anchor.checked_sub(std::time::Duration::from_nanos(self.anchor_ns - unix_ns))
        };
        instant.unwrap_or(self.anchor)
    }

    /// Unix ns at which it was anchored.
    #[must_use]
    pub const fn anchored_ns(&self) -> u64 {
        self.anchor_ns
    }

    /// By how much the machine's wall clock was set since: positive when it has run ahead, ns.
    #[must_use]
    pub fn step_ns(&self) -> i64 {
        let mut other = *self;
        other.reanchor()
    }

    /// Follows the machine's wall clock again. Returns the step in ns: positive when the wall clock had run ahead.
    pub fn reanchor(&mut self) -> i64 {
        let fresh = Self::start();
        let step = i128::from(fresh.anchor_ns) - i128::from(self.to_unix_ns(fresh.anchor));
        *self = fresh;
        i64::try_from(step).unwrap_or(if step < 0 { i64::MIN } else { i64::MAX })
    }
}

/// Unix ns by the machine's wall clock; 0 for a clock before 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn unix_now_ns() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, saturating_ns)
}

/// A duration in ns; 584 years for anything longer.
#[must_use]
pub fn saturating_ns(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn instants_and_unix_time_are_inverse() {
        let now = Instant::now();
        let clock = Clock::anchored(now, 1_000_000_000_000);
        for offset_ms in [0, 1, 999_999] {
            let later = now + Duration::from_millis(offset_ms);
            assert_eq!(clock.to_unix_ns(later), 1_000_000_000_000 + offset_ms * 1_000_000);
            assert_eq!(clock.to_instant(clock.to_unix_ns(later)), later);
        }
    }

    #[test]
    fn reanchoring_reports_the_step() {
        let mut clock = Clock::anchored(Instant::now(), unix_now_ns() - 5_000_000_000);
        let seen = clock.step_ns();
        let step = clock.reanchor();
        assert!((4_900_000_000..5_100_000_000).contains(&seen), "{seen}");
        assert!((4_900_000_000..5_100_000_000).contains(&step), "{step}");
        assert!(clock.reanchor().abs() < 100_000_000);
    }
}
