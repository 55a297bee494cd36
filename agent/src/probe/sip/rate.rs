//! How many requests are looked at: a flood must not become a flood of answers to somebody else. Pure.

use std::time::Duration;
use tokio::time::Instant;

/// Most answers in a second to requests of calls that are over, or never were.
pub(crate) const TO_STRANGERS_PER_S: u32 = 100;

/// A bucket that fills evenly.
#[derive(Debug)]
pub(crate) struct Rate {
    per_s: u32,
    /// How much of a second's worth is left.
    left: Duration,
    at: Instant,
}

impl Rate {
    /// So many a second; a burst may take a second's worth at once.
    pub(crate) const fn new(per_s: u32, now: Instant) -> Self {
        Self { per_s, left: Duration::from_secs(1), at: now }
    }

    /// Whether one more may be looked at now.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.left = self.left.saturating_add(passed).min(Duration::from_secs(1));
        match self.left.checked_sub(Duration::from_secs(1) / self.per_s.max(1)) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_takes_a_seconds_worth_and_no_more() {
        let start = Instant::now();
        let mut rate = Rate::new(100, start);
        assert_eq!((0..1_000).filter(|_| rate.admits(start)).count(), 100);
        let later = start + Duration::from_millis(100);
        assert_eq!((0..1_000).filter(|_| rate.admits(later)).count(), 10);
        let much_later = later + Duration::from_secs(60);
        assert_eq!((0..1_000).filter(|_| rate.admits(much_later)).count(), 100);
    }
}
