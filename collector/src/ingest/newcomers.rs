//! How often an agent may come with a spool that nobody has seen. Pure: time is passed in.
//!
//! Each new spool is a stream: a row that is kept for ever, and an entry in what the evaluator holds. An agent that is honest
//! makes one when it is set up, and another only after a fork, a lost state directory or a restore. One that means harm
//! could name another with each Hello. So new ones are paid for with tokens, some at once and then one every so often; an
//! agent whose spool is known pays nothing. Whether one is known is told by the store, in the transaction that would begin the
//! stream: the token is taken before and given back if it was not needed, so that Hellos at the same time cannot share one.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// One more after so long: agents leave a spool that forked for another once in ten minutes at most, and wait for a quarter of
/// an hour if they are told to. In a year that makes 53,000 rows of some 100 bytes, if somebody is bent on it.
const STREAM_EVERY: Duration = Duration::from_secs(10 * 60);
/// So many at once: a person who sets an agent up, restores it and clones its machine, several times on one day.
const STREAMS_BURST: u32 = 8;
/// How often those are forgotten who have all their tokens again.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Who came with new spools lately.
#[derive(Debug, Default)]
pub struct Newcomers {
    agents: BTreeMap<Uuid, Purse>,
    forget_at: Option<Instant>,
}

#[derive(Debug)]
struct Purse {
    /// When all tokens are there again.
    full_at: Instant,
    /// It was refused since it last had one.
    is_refused: bool,
}

/// An agent has no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// When it has one again.
    pub retry_after: Duration,
    /// The first refusal since it had one: worth a line of the log.
    pub is_first: bool,
}

impl Newcomers {
    /// Takes a token of an agent; false if there is none.
    pub fn take(&mut self, agent: Uuid, now: Instant) -> bool {
        if self.forget_at.is_none_or(|at| at <= now) {
            self.agents.retain(|_, purse| purse.full_at > now);
            self.forget_at = Some(now + FORGET_EVERY);
        }
        let purse = self.agents.entry(agent).or_insert(Purse { full_at: now, is_refused: false });
        let full_at = purse.full_at.max(now) + STREAM_EVERY;
        let has_one = full_at <= now + STREAM_EVERY * STREAMS_BURST;
        if has_one {
            (purse.full_at, purse.is_refused) = (full_at, false);
        }
        has_one
    }

    /// Gives a token back: no stream was begun.
    pub fn give_back(&mut self, agent: Uuid) {
        if let Some(purse) = self.agents.get_mut(&agent) {
            purse.full_at = purse.full_at.checked_sub(STREAM_EVERY).unwrap_or(purse.full_at);
        }
    }

    /// An agent without a token came with a spool that is new.
    pub fn refuse(&mut self, agent: Uuid, now: Instant) -> TooMany {
        let Some(purse) = self.agents.get_mut(&agent) else {
            return TooMany { retry_after: Duration::ZERO, is_first: true };
        };
        let has_one_at = purse.full_at + STREAM_EVERY;
        let wait = has_one_at.saturating_duration_since(now);
        TooMany {
            retry_after: wait.saturating_sub(STREAM_EVERY * STREAMS_BURST),
            is_first: !std::mem::replace(&mut purse.is_refused, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    #[test]
    fn some_at_once_and_then_one_every_ten_minutes() {
        let (mut newcomers, start) = (Newcomers::default(), Instant::now());
        let day = (0..24 * 3_600).map(|second| start + Duration::from_secs(second));
        let began = day.filter(|now| newcomers.take(A, *now)).count();
        assert_eq!(began, 8 + 24 * 6 - 1, "the last instant of the day is not part of it");
        assert!(newcomers.take(B, start), "others are not held off");
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_and_the_log_once() {
        let (mut newcomers, start) = (Newcomers::default(), Instant::now());
        (0..8).for_each(|_| assert!(newcomers.take(A, start)));
        let now = start + Duration::from_secs(60);
        assert!(!newcomers.take(A, now));
        let told = newcomers.refuse(A, now);
        assert_eq!(told, TooMany { retry_after: Duration::from_secs(540), is_first: true });
        assert!(!newcomers.refuse(A, now).is_first);
        let later = now + told.retry_after;
        assert!(!newcomers.take(A, later - Duration::from_millis(1)) && newcomers.take(A, later));
        assert!(!newcomers.take(A, later));
        assert!(newcomers.refuse(A, later).is_first, "another episode");
    }

    #[test]
    fn a_token_that_was_not_needed_is_given_back() {
        let (mut newcomers, now) = (Newcomers::default(), Instant::now());
        for _ in 0..1_000 {
            assert!(newcomers.take(A, now));
            newcomers.give_back(A);
        }
        // At the same time they cannot share one.
        assert_eq!((0..100).filter(|_| newcomers.take(A, now)).count(), 8);
        newcomers.give_back(B);
    }

    #[test]
    fn nobody_is_remembered_for_long() {
        let (mut newcomers, now) = (Newcomers::default(), Instant::now());
        for agent in 0..1_000 {
            newcomers.take(Uuid::from_u128(agent), now);
        }
        assert_eq!(newcomers.agents.len(), 1_000);
        newcomers.take(A, now + STREAM_EVERY + FORGET_EVERY);
        assert_eq!(newcomers.agents.len(), 1);
    }
}
