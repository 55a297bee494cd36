//! When to try again: exponential back-off with full jitter, so that a fleet that lost its collector does not come back in
//! one second, nor in echoes of it. Pure: randomness and time are passed in.
//!
//! Whoever lost a session that had stood knows more than who never had one: it was there a moment ago, the whole fleet may
//! have lost it too, and the collector said within what time all of it can be admitted ([`Backoff::connected`]). So such an
//! agent first waits for anything up to that time, and does not try more often than that afterwards. But neither much less
//! often while the outage is short: three agents of a collector that restarts for a minute are back within ten seconds of its
//! return, and ten thousand as fast as it admits them. Who has been without a collector for longer has a minute's patience,
//! and who never had one, or loses each session at once, two minutes'.

use std::time::Duration;
use tokio::time::Instant;

/// Longest first wait: a restarted local collector is found again within a second.
pub const BASE: Duration = Duration::from_secs(1);
/// Longest wait of an agent that had no session that stood.
pub const CAP: Duration = Duration::from_secs(120);
/// A connection that lasted this long forgets the failures before it; a shorter one is part of the trouble.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// An outage is short for so long: what restarts and upgrades take.
const SHORT_OUTAGE: Duration = Duration::from_secs(600);
/// Longest wait in a short outage, where the fleet is small.
const SHORT_CAP: Duration = Duration::from_secs(10);
/// Likewise in a long one: a fleet that knows within what time to come back is there within a minute.
const LONG_CAP: Duration = Duration::from_secs(60);
/// Tries at a collector that is away are spread over so many times what it takes to admit the fleet: at its return they come
/// at the rate that it is prepared for, because each has half of that left on average.
const AWAY_FACTOR: u32 = 2;
/// The longest time to come back within that is believed.
const WITHIN_MAX: Duration = Duration::from_secs(600);

/// Counts failures and says how long to wait.
#[derive(Clone, Debug)]
pub struct Backoff {
    random: fastrand::Rng,
    base: Duration,
    cap: Duration,
    failures: u32,
    up: Option<Since>,
    /// The last session had stood, and was lost then.
    outage: Option<Since>,
}

/// An instant, and within what time the fleet was to come back then.
#[derive(Clone, Copy, Debug)]
struct Since {
    at: Instant,
    within: Duration,
}

impl Since {
    /// Longest wait between two tries of an outage.
    fn longest(&self, grown: Duration, now: Instant) -> Duration {
        let lasts = now.saturating_duration_since(self.at);
        let cap = if lasts < SHORT_OUTAGE { SHORT_CAP } else { LONG_CAP };
        grown.min(cap).max(self.within * AWAY_FACTOR)
    }
}

impl Backoff {
    /// A back-off whose jitter depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, base: BASE, cap: CAP, failures: 0, up: None, outage: None }
    }

    /// A back-off that lets a test break many connections in little time.
    #[cfg(test)]
    pub(crate) fn hurried(seed: u64) -> Self {
        let (base, cap) = (Duration::from_millis(2), Duration::from_millis(20));
        Self { base, cap, ..Self::new(seed) }
    }

    /// The connection is usable from `now` on. When it is lost, the fleet should come back `within` that time; zero = not
    /// said.
    pub fn connected(&mut self, now: Instant, within: Duration) {
        self.up = Some(Since { at: now, within: within.min(WITHIN_MAX) });
    }

    /// The connection was lost, or never came about. Returns how long to wait: anything up to `BASE · 2^failures`, within what
    /// the module's page says.
    pub fn lost(&mut self, now: Instant) -> Duration {
        let up = self.up.take();
        if let Some(Since { at, within }) = up {
            let healthy = now.saturating_duration_since(at) >= HEALTHY_AFTER;
            if healthy {
                self.failures = 0;
            }
            self.outage = healthy.then_some(Since { at: now, within });
        }
        let grown = self.base.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let longest = match (up, self.outage) {
            (Some(up), _) => grown.max(up.within),
            (None, Some(outage)) => outage.longest(grown, now),
            (None, None) => grown,
        };
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

    const NOT_SAID: Duration = Duration::ZERO;

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
        backoff.connected(now, NOT_SAID);
        now += HEALTHY_AFTER - Duration::from_millis(1);
        backoff.lost(now);
        assert_eq!(backoff.failures, 11, "a flapping connection goes on waiting longer");
        backoff.connected(now, NOT_SAID);
        assert!(backoff.lost(now + HEALTHY_AFTER) <= BASE);
    }

    #[test]
    fn flapping_every_three_seconds_means_few_attempts() {
        let start = Instant::now();
        for seed in 0..20 {
            for within in [NOT_SAID, Duration::from_secs(1)] {
                let (mut backoff, mut now, mut attempts) = (Backoff::new(seed), start, 0_u32);
                // It stood for long before the trouble began.
                backoff.connected(now, within);
                now += HEALTHY_AFTER * 60;
                now += backoff.lost(now);
                let end = now + Duration::from_secs(3600);
                while now < end {
                    attempts += 1;
                    backoff.connected(now, within);
                    now += Duration::from_secs(3);
                    now += backoff.lost(now);
                }
                assert!(attempts <= 360, "{attempts} attempts an hour");
            }
        }
    }

    /// When each of a fleet that lost its sessions at 0 tries for the first time from `away` on.
    fn returns(fleet: u64, within: Duration, away: Duration) -> Vec<Duration> {
        let lost = Instant::now() + HEALTHY_AFTER;
        let first = |seed: u64| {
            let mut backoff = Backoff::new(seed);
            backoff.connected(lost - HEALTHY_AFTER, within);
            let mut now = lost + backoff.lost(lost);
            while now < lost + away {
                now += backoff.lost(now);
            }
            now - lost - away
        };
        let mut returns: Vec<_> = (0..fleet).map(first).collect();
        returns.sort();
        returns
    }

    #[test]
    fn a_small_fleet_is_back_within_seconds_of_a_short_outage() {
        for away_s in [0, 5, 60, 300] {
            let away = Duration::from_secs(away_s);
            let longest = returns(300, BASE, away).pop().expect("there are some");
            assert!(longest <= SHORT_CAP, "{away:?}: {longest:?}");
        }
        let longest = returns(300, BASE, Duration::from_secs(86_400)).pop().expect("some");
        assert!(longest <= LONG_CAP && longest > SHORT_CAP, "{longest:?}");
    }

    #[test]
    fn a_large_fleet_comes_at_the_rate_that_it_is_admitted_at() {
        let within = Duration::from_secs(25);
        for away_s in [0, 5, 30, 60, 300, 86_400] {
            let returns = returns(10_000, within, Duration::from_secs(away_s));
            let mut seconds = [0_u32; 61];
            for wait in &returns {
                seconds[usize::try_from(wait.as_secs()).expect("few").min(60)] += 1;
            }
            let most = seconds.into_iter().max().expect("seconds");
            assert!(most <= 500, "{away_s}: {most} in one second");
            assert_eq!(seconds[60], 0, "{away_s}: all are there after a minute");
        }
    }

    #[test]
    fn no_collector_makes_an_agent_wait_for_ever() {
        let now = Instant::now();
        let mut backoff = Backoff::new(1);
        backoff.connected(now, Duration::MAX);
        assert!(backoff.lost(now + HEALTHY_AFTER) <= WITHIN_MAX);
        assert!(backoff.lost(now + HEALTHY_AFTER) <= WITHIN_MAX * AWAY_FACTOR);
    }
}
