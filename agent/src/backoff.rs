//! When to try again: exponential back-off with full jitter, so that a fleet that lost its collector does not come back in
//! one second, nor in echoes of it. Pure: randomness and time are passed in.

use std::time::Duration;
use tokio::time::Instant;

/// Longest first wait: a restarted local collector is found again within a second.
pub const BASE: Duration = Duration::from_secs(1);
/// Longest wait, ever.
pub const CAP: Duration = Duration::from_secs(120);
/// A connection that lasted this long forgets the failures before it; a shorter one is part of the trouble.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Counts failures and says how long to wait.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: fastrand::Rng,
    base: Duration,
    cap: Duration,
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    /// A back-off whose jitter depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, base: BASE, cap: CAP, failures: 0, up_since: None }
    }

    /// A back-off that lets a test break many connections in little time.
    #[cfg(test)]
    pub(crate) fn hurried(seed: u64) -> Self {
        let (base, cap) = (Duration::from_millis(2), Duration::from_millis(20));
        Self { base, cap, ..Self::new(seed) }
    }

    /// The connection is usable from `now` on.
    pub const fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The connection was lost, or never came about. Returns how long to wait: anything up to `BASE · 2^failures`, at most
    /// [`CAP`].
    pub fn lost(&mut self, now: Instant) -> Duration {
        let up = self.up_since.take().map(|since| now.saturating_duration_since(since));
        if up.is_some_and(|up| up >= HEALTHY_AFTER) {
            self.failures = 0;
        }
        let longest = self.base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(self.random.f64())
    }

    /// A value of `nominal` ± `share`, so that what many agents began together does not end together.
    pub fn spread(&mut self, nominal: Duration, share: f64) -> Duration {
        nominal.mul_f64(1.0 - share + 2.0 * share * self.random.f64())
    }
}

/// Doublings after which [`CAP`] is reached anyway.
const MAX_DOUBLINGS: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_are_spread_over_all_of_it() {
        let now = Instant::now();
        let mut longest = [Duration::ZERO; 10];
        let mut shortest = [CAP; 10];
        for seed in 0..500 {
            let mut backoff = Backoff::new(seed);
            for (longest, shortest) in longest.iter_mut().zip(&mut shortest) {
                let wait = backoff.lost(now);
                *longest = wait.max(*longest);
                *shortest = wait.min(*shortest);
            }
        }
        for (failures, (longest, shortest)) in longest.into_iter().zip(shortest).enumerate() {
            let bound = Duration::from_secs(1 << failures).min(CAP);
            assert!(longest <= bound && longest > bound.mul_f64(0.9), "{failures}: {longest:?}");
            assert!(shortest < bound.mul_f64(0.1), "{failures}: {shortest:?}");
        }
    }

    #[test]
    fn only_a_healthy_connection_forgets() {
        let mut now = Instant::now();
        let mut backoff = Backoff::new(1);
        for _ in 0..10 {
            backoff.lost(now);
        }
        backoff.connected(now);
        now += HEALTHY_AFTER - Duration::from_millis(1);
        backoff.lost(now);
        assert_eq!(backoff.failures, 11, "a flapping connection goes on waiting longer");
        backoff.connected(now);
        assert!(backoff.lost(now + HEALTHY_AFTER) <= BASE);
    }

    #[test]
    fn flapping_every_three_seconds_means_few_attempts() {
        let start = Instant::now();
        for seed in 0..20 {
            let (mut backoff, mut now, mut attempts) = (Backoff::new(seed), start, 0_u32);
            while now < start + Duration::from_secs(3600) {
                attempts += 1;
                backoff.connected(now);
                now += Duration::from_secs(3);
                now += backoff.lost(now);
            }
            assert!(attempts <= 360, "{attempts} attempts an hour");
        }
    }
}
