//! How far the agent's clock is from the collector's, from stamps in answers. Pure.

use super::ClockOffset;
use tokio::time::Instant;

/// How fast the error of an old measurement grows, in parts per million: the drift of two poor crystals.
const DRIFT_PPM: u64 = 100;

/// One request and its stamped answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// Our clock before the request left, Unix ns.
    pub(super) sent_ns: u64,
    /// The collector's clock at some instant in between, Unix ns.
    pub(super) collector_ns: u64,
    /// Our clock when the answer was here, Unix ns.
    pub(super) received_ns: u64,
}

impl Exchange {
    /// The offset at the midpoint; its error is at most half the time that the exchange took. None where our own clock
    /// stepped back in between, or the collector gave no time.
    pub(super) fn offset(&self) -> Option<ClockOffset> {
        let elapsed_ns =
            self.received_ns.checked_sub(self.sent_ns).filter(|_| self.collector_ns > 0)?;
        let midpoint_ns = i128::from(self.sent_ns) + i128::from(elapsed_ns / 2);
        let offset_ns = i64::try_from(midpoint_ns - i128::from(self.collector_ns)).ok()?;
        Some(ClockOffset { offset_ns, error_ns: elapsed_ns.div_ceil(2).max(1) })
    }
}

/// Keeps the best measurement: a new one counts when its error is below what the old one's has grown to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate(Option<(ClockOffset, Instant)>);

impl Estimate {
    /// Takes a measurement made at `now`. Returns it if it is the best now.
    pub(super) fn offer(&mut self, measured: ClockOffset, now: Instant) -> Option<ClockOffset> {
        let better = self.0.is_none_or(|(best, at)| {
            let age_us =
                u64::try_from(now.saturating_duration_since(at).as_micros()).unwrap_or(u64::MAX);
            let grown_ns = (age_us / 1000).saturating_mul(DRIFT_PPM);
            measured.error_ns <= best.error_ns.saturating_add(grown_ns)
        });
        better.then(|| {
            self.0 = Some((measured, now));
            measured
        })
    }

    /// Our clock was set: what was measured before says nothing any more.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_midpoint_is_compared_and_half_the_way_is_the_error() {
        let exchange = Exchange { sent_ns: 1_000, collector_ns: 500, received_ns: 1_101 };
        assert_eq!(exchange.offset(), Some(ClockOffset { offset_ns: 550, error_ns: 51 }));
        let behind = Exchange { sent_ns: 1_000, collector_ns: 5_000, received_ns: 1_000 };
        assert_eq!(behind.offset(), Some(ClockOffset { offset_ns: -4_000, error_ns: 1 }));
        assert_eq!(Exchange { received_ns: 999, ..exchange }.offset(), None);
        assert_eq!(Exchange { collector_ns: 0, ..exchange }.offset(), None);
    }

    #[test]
    fn a_worse_measurement_waits_until_the_old_one_has_aged() {
        let start = Instant::now();
        let mut estimate = Estimate::default();
        let good = ClockOffset { offset_ns: 1, error_ns: 1_000_000 };
        let worse = ClockOffset { offset_ns: 2, error_ns: 3_000_000 };
        assert_eq!(estimate.offer(good, start), Some(good));
        assert_eq!(estimate.offer(worse, start + Duration::from_secs(19)), None);
        assert_eq!(estimate.offer(worse, start + Duration::from_secs(20)), Some(worse));
        estimate.forget();
        assert_eq!(estimate.offer(worse, start), Some(worse));
    }
}
