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

    /// Whether one more would be admitted now: what comes of a flood need not even be read.
    pub(crate) fn has_room(&self, now: Instant) -> bool {
        self.left_at(now) >= self.each()
    }

    fn each(&self) -> Duration {
        Duration::from_secs(1) / self.per_s.max(1)
    }

    fn left_at(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at);
        self.left.saturating_add(passed).min(Duration::from_secs(1))
    }

    /// Whether one more may be looked at now.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.left = self.left_at(now);
        self.at = self.at.max(now);
        match self.left.checked_sub(self.each()) {
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
        assert!(rate.has_room(start));
        assert_eq!((0..1_000).filter(|_| rate.admits(start)).count(), 100);
        assert!(!rate.has_room(start) && rate.has_room(start + Duration::from_millis(10)));
        let later = start + Duration::from_millis(100);
        assert_eq!((0..1_000).filter(|_| rate.admits(later)).count(), 10);
        let much_later = later + Duration::from_secs(60);
        assert_eq!((0..1_000).filter(|_| rate.admits(much_later)).count(), 100);
    }
}
