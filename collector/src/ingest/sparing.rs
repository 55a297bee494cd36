//! Lines of the log that come by the thousand when they come: one a second says what the counters say in full.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A line is written at most so often.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Which lines are written.
#[derive(Debug, Default)]
pub struct Sparing(Mutex<Written>);

#[derive(Debug, Default)]
struct Written {
    last: Option<Instant>,
    left_out: u64,
}

impl Sparing {
    /// Whether a line is written now: then how many were left out before it.
    pub fn line(&self, now: Instant) -> Option<u64> {
        // A panic elsewhere leaves at worst a count that is off.
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_EVERY) {
            written.left_out += 1;
            return None;
        }
        written.last = Some(now);
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_left_out() {
        let (sparing, start) = (Sparing::default(), Instant::now());
        let said = |ms| sparing.line(start + Duration::from_millis(ms));
        assert_eq!((said(0), said(1), said(999)), (Some(0), None, None));
        assert_eq!((said(1_000), said(2_500)), (Some(2), Some(0)));
    }
}
