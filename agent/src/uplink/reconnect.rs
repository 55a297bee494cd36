//! What follows the end of a session, without I/O: when to connect again, with full jitter, so that a fleet does not come
//! back at once nor, once it is back, in step ([`crate::backoff`] has the waits), and whether the spool is left for another because the collector knows another history of it.

use super::session::End;
use crate::backoff::{Backoff, CAP, HEALTHY_AFTER};
use crate::spool::{Retire, SpoolState};
use probefleet_proto::hex::hex;
use std::time::Duration;
use tokio::time::Instant;

/// A session ends by itself after this ± [`LIFETIME_SHARE`]: behind a load balancer a fleet would stay on one collector.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
const LIFETIME_SHARE: f64 = 0.2;
/// One that follows a loss ends after this ± [`SCATTERED_SHARE`], anywhere between 3 and 18 minutes: the whole fleet may have
/// begun together, and would end together for hours.
const SCATTERED_LIFETIME: Duration = Duration::from_secs(630);
const SCATTERED_SHARE: f64 = 5.0 / 7.0;
/// Longest wait that a collector can ask for.
const AFTER_MAX: Duration = Duration::from_secs(15 * 60);
/// A spool is not left for another more often than this: a collector that calls everything a fork would fill the disk.
const RETIRE_EVERY: Duration = Duration::from_secs(10 * 60);
/// Share by which the wait after a refusal differs between agents.
const REFUSED_SHARE: f64 = 0.2;

/// What comes after a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Connect again after that time.
    Wait { why: String, wait: Duration },
    /// Leave the spool for another, and connect again after that time.
    Retire { reason: Retire, why: String, wait: Duration },
    /// The collector does not want this agent: likewise, but seldom.
    Refused { why: String, wait: Duration },
    /// Nothing more until the agent stops.
    Never { why: String },
}

impl Next {
    /// How long to wait; none = for ever.
    pub(super) const fn wait(&self) -> Option<Duration> {
        match self {
            Self::Wait { wait, .. } | Self::Retire { wait, .. } | Self::Refused { wait, .. } => {
                Some(*wait)
            }
            Self::Never { .. } => None,
        }
    }
}

/// A session that was welcomed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Welcomed {
    /// When.
    pub(super) at: Instant,
    /// Within what time to come back when it is lost; zero = not said.
    pub(super) reconnect_within: Duration,
}

/// What is remembered from one session to the next.
#[derive(Clone, Debug)]
pub(super) struct Reconnect {
    backoff: Backoff,
    /// The next session does not follow one that had lived its time.
    scattered: bool,
    /// When a spool was last left for another.
    retired: Option<Instant>,
}

impl Reconnect {
    /// Whose jitter depends on `seed` alone.
    pub(super) fn new(seed: u64) -> Self {
        Self { backoff: Backoff::new(seed), scattered: true, retired: None }
    }

    /// Likewise, but in a hurry.
    #[cfg(test)]
    pub(super) fn hurried(seed: u64) -> Self {
        Self { backoff: Backoff::hurried(seed), scattered: true, retired: None }
    }

    /// How long the next session may last.
    pub(super) fn lifetime(&mut self) -> Duration {
        if self.scattered {
            self.backoff.spread(SCATTERED_LIFETIME, SCATTERED_SHARE)
        } else {
            self.backoff.spread(LIFETIME, LIFETIME_SHARE)
        }
    }

    /// When a spool was last left for another.
    pub(super) const fn retired(&self) -> Option<Instant> {
        self.retired
    }

    /// The spool could not be left: the next try is not held back by this one.
    pub(super) const fn stayed(&mut self) {
        self.retired = None;
    }

    /// Decides what comes after a session that was welcomed once, or never, and ended now.
    pub(super) fn after(
        &mut self,
        end: End,
        welcomed: Option<Welcomed>,
        spool: &SpoolState,
        now: Instant,
    ) -> Next {
        let stood = |one: Welcomed| now.saturating_duration_since(one.at) >= HEALTHY_AFTER;
        let healthy = welcomed.is_some_and(stood);
        if let Some(Welcomed { at, reconnect_within }) = welcomed {
            self.backoff.connected(at, reconnect_within);
        }
        let cycled = matches!(end, End::Retry { after: Some(Duration::ZERO), .. });
        self.scattered = !(healthy && cycled);
        let wait = self.backoff.lost(now);
        match end {
            End::Retry { why, after } => {
                // A collector that sends everyone away at once is not asked more often than one that is down.
                let least = if healthy { Duration::ZERO } else { wait };
                Next::Wait {
                    why,
                    wait: after.map_or(wait, |after| after.min(AFTER_MAX).max(least)),
                }
            }
            End::Replace(reason) => self.retire(reason, spool, wait, now),
            End::Refused(why) => self.refused(why),
            End::Stopped(why) => Next::Never { why },
        }
    }

    fn refused(&mut self, why: String) -> Next {
        Next::Refused { why, wait: self.backoff.spread(CAP, REFUSED_SHARE) }
    }

    fn retire(&mut self, reason: Retire, spool: &SpoolState, wait: Duration, now: Instant) -> Next {
        let why = explain(reason, spool);
        if self.retired.is_some_and(|last| now.saturating_duration_since(last) < RETIRE_EVERY) {
            return self.refused(format!("{why}; that was so minutes ago, too"));
        }
        self.retired = Some(now);
        Next::Retire { reason, why, wait }
    }
}

/// What an auditor should know of a spool that was left.
fn explain(reason: Retire, state: &SpoolState) -> String {
    let id = hex(&state.spool_id);
    let cause = match reason {
        Retire::Forked => {
            "holds other records under the same numbers: a copy of this agent's state is in use elsewhere"
        }
        Retire::RolledBack => {
            "holds records that this spool does not: the agent's state is an older copy"
        }
    };
    let held = match state.oldest_unsent_s {
        Some(oldest_s) => {
            format!("reports of windows from {oldest_s} (Unix seconds) on may be only there")
        }
        None => "no report in it is known to be undelivered".to_owned(),
    };
    format!(
        "the collector {cause}; spool {id} with records {} to {} is kept, {held}",
        state.oldest_seq,
        state.next_seq - 1
    )
}
