//! What calls may cost: how many in an hour, how many at once, how long. Pure: time is passed in.
//!
//! Calls are counted by entry of the policy, whatever probe makes them, and from the start of the agent's process on.

use crate::policy::CallLimits;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// "Any hour" of `calls_per_hour`.
const HOUR: Duration = Duration::from_secs(3_600);

/// Calls of one agent.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// By entry of the policy.
    entries: HashMap<usize, Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    /// Of the last hour, oldest first; as many as the policy permits.
    started: VecDeque<Instant>,
    /// Not ended yet.
    up: u64,
}

/// Which limit forbids a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It would be held too long.
    #[error("the policy permits no call of that length (`hold`)")]
    Hold,
    /// As many are up as may be.
    #[error("as many calls are up as the policy permits (`concurrent`)")]
    Concurrent,
    /// As many were made within an hour as may be.
    #[error("as many calls were made within the hour as the policy permits (`calls_per_hour`)")]
    CallsPerHour,
}

impl Refused {
    /// The code of an attempt that was refused.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Concurrent => "concurrent",
            Self::CallsPerHour => "calls_per_hour",
        }
    }
}

impl Guard {
    /// Counts a call that is about to be made, if its entry's limits permit it. It must be [released](Self::release).
    pub(crate) fn admit(
        &mut self,
        entry: usize,
        limits: &CallLimits,
        hold: Duration,
        now: Instant,
    ) -> Result<(), Refused> {
        if limits.hold_ns.is_some_and(|longest_ns| hold.as_nanos() > u128::from(longest_ns)) {
            return Err(Refused::Hold);
        }
        let calls = self.entries.entry(entry).or_default();
        if limits.concurrent.is_some_and(|most| calls.up >= most) {
            return Err(Refused::Concurrent);
        }
        if let Some(most) = limits.calls_per_hour {
            let past = |started: &Instant| now.saturating_duration_since(*started) >= HOUR;
            while calls.started.pop_front_if(|started| past(started)).is_some() {}
            if u64::try_from(calls.started.len()).unwrap_or(u64::MAX) >= most {
                return Err(Refused::CallsPerHour);
            }
            calls.started.push_back(now);
        }
        calls.up += 1;
        Ok(())
    }

    /// A call of that entry has ended.
    pub(crate) fn release(&mut self, entry: usize) {
        if let Some(calls) = self.entries.get_mut(&entry) {
            calls.up = calls.up.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(1);

    fn limits(calls_per_hour: Option<u64>, concurrent: Option<u64>) -> CallLimits {
        CallLimits { users: None, calls_per_hour, concurrent, hold_ns: None }
    }

    #[test]
    fn no_hour_has_more_calls_than_permitted() {
        let (mut guard, start) = (Guard::default(), Instant::now());
        let limits = limits(Some(2), None);
        let mut admit = |s| {
            let admitted = guard.admit(0, &limits, HOLD, start + Duration::from_secs(s));
            guard.release(0);
            admitted
        };
        assert_eq!(admit(0), Ok(()));
        assert_eq!(admit(1_800), Ok(()));
        assert_eq!(admit(3_599), Err(Refused::CallsPerHour), "refused calls are not counted");
        assert_eq!(admit(3_600), Ok(()));
        assert_eq!(admit(5_399), Err(Refused::CallsPerHour));
        assert_eq!(admit(5_400), Ok(()));
    }

    #[test]
    fn as_many_are_up_as_permitted() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let limits = limits(None, Some(1));
        assert_eq!(guard.admit(0, &limits, HOLD, now), Ok(()));
        assert_eq!(guard.admit(0, &limits, HOLD, now), Err(Refused::Concurrent));
        assert_eq!(guard.admit(1, &limits, HOLD, now), Ok(()), "another entry has its own");
        guard.release(0);
        assert_eq!(guard.admit(0, &limits, HOLD, now), Ok(()));
    }

    #[test]
    fn a_call_is_no_longer_than_permitted() {
        let (mut guard, now) = (Guard::default(), Instant::now());
        let short = CallLimits { hold_ns: Some(1_000_000_000), ..limits(None, None) };
        assert_eq!(guard.admit(0, &short, HOLD, now), Ok(()));
        let longer = HOLD + Duration::from_nanos(1);
        assert_eq!(guard.admit(0, &short, longer, now), Err(Refused::Hold));
        let none = limits(Some(0), None);
        assert_eq!(guard.admit(2, &none, HOLD, now), Err(Refused::CallsPerHour));
    }
}
