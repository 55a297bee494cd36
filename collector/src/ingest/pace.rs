//! How much may be under way: less while commits are slow, nothing more while the store is stuck, and a share for each agent
//! while others deliver too. Pure: time is passed in.
//!
//! **Credit.** A commit that waits for the disk holds its frame in memory, and a thousand agents with credit for a mebibyte
//! each would fill it. So the credit of all agents is halved in each second in which more than one commit of a hundred took
//! longer than 200 ms, and grows back step by step. Below the 256 KiB that the format promises it does not go.
//!
//! **Stuck.** Where the oldest commit has waited for five seconds, no frame is added to the queue: it is answered BUSY, and
//! the agent keeps it in its spool, which is what spools are for.
//!
//! **Shares.** The store works through its queue in the order of arrival, and a session has one frame in it at most: whoever
//! floods gets his turn as often as anybody else, but his turns are long. So an agent that committed more than its share is
//! not read from until that is made up for, as long as others commit as well. Alone, it may have everything.

use super::session::CREDIT_BYTES;
use probefleet_proto::record::CREDIT_MIN_BYTES;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// What the credit grows by in a second without trouble: it is back in a quarter of a minute.
const CREDIT_STEP_BYTES: u32 = 64 << 10;
/// What 99 of 100 commits should keep to.
const COMMIT_TARGET: Duration = Duration::from_millis(200);
/// How often that is looked at.
const ROUND: Duration = Duration::from_secs(1);
/// A commit that takes longer does not wait for the disk, but for somebody to repair it.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// An agent's share, bytes of payload a second: six thousand times what fifty probes make in windows of a minute, and less
/// than a tenth of what a disk takes.
const SHARE_BYTES_S: u32 = 1 << 20;
/// What a record costs beside its payload, in bytes of it: a signature to check, a hash, a row to look up or to write.
const RECORD_BYTES: usize = 1 << 10;
/// What it may have at once before that counts: one credit.
const SHARE_BURST: Duration = Duration::from_secs(1);
/// Others count for so long after their last commit.
const OTHERS_FOR: Duration = Duration::from_secs(1);

/// A commit under way.
pub type Ticket = (Instant, u64);

/// How commits go.
#[derive(Debug)]
pub struct Pace {
    credit_bytes: u32,
    round_ends: Option<Instant>,
    commits: u32,
    slow: u32,
    under_way: BTreeSet<Ticket>,
    numbers: u64,
    /// The two agents that last committed, the newest first.
    recent: [Option<(Uuid, Instant)>; 2],
    /// Until when an agent has had its share.
    had: BTreeMap<Uuid, Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            credit_bytes: CREDIT_BYTES,
            round_ends: None,
            commits: 0,
            slow: 0,
            under_way: BTreeSet::new(),
            numbers: 0,
            recent: [None; 2],
            had: BTreeMap::new(),
        }
    }
}

impl Pace {
    /// Payload bytes that an agent may have unacknowledged now.
    #[must_use]
    pub const fn credit_bytes(&self) -> u32 {
        self.credit_bytes
    }

    /// Nothing more is to be added: the oldest commit does not end.
    #[must_use]
    pub fn is_stuck(&self, now: Instant) -> bool {
        let oldest = self.under_way.first();
        oldest.is_some_and(|(since, _)| now.saturating_duration_since(*since) >= STUCK_AFTER)
    }

    /// A commit begins.
    pub fn begin(&mut self, now: Instant) -> Ticket {
        self.numbers += 1;
        let ticket = (now, self.numbers);
        self.under_way.insert(ticket);
        ticket
    }

    /// A commit has ended, well or not.
    pub fn end(&mut self, ticket: Ticket, now: Instant) {
        if !self.under_way.remove(&ticket) {
            return;
        }
        self.commits += 1;
        self.slow += u32::from(now.saturating_duration_since(ticket.0) > COMMIT_TARGET);
        let round_ends = *self.round_ends.get_or_insert(now + ROUND);
        if now < round_ends {
            return;
        }
        self.credit_bytes = if self.slow * 100 > self.commits {
            (self.credit_bytes / 2).max(CREDIT_MIN_BYTES)
        } else {
            self.credit_bytes.saturating_add(CREDIT_STEP_BYTES).min(CREDIT_BYTES)
        };
        (self.commits, self.slow, self.round_ends) = (0, 0, Some(now + ROUND));
        self.had.retain(|_, until| *until > now);
    }

    /// An agent has sent so many records, of which so many bytes of payload were committed. Gives when to read from it again, if others are to have their turn first.
    pub fn took(
        &mut self,
        agent: Uuid,
        (records, bytes): (usize, usize),
        now: Instant,
    ) -> Option<Instant> {
        let others = self.others_commit(agent, now);
        self.note(agent, now);
        if !others {
            self.had.remove(&agent);
            return None;
        }
        let bytes = bytes.saturating_add(records.saturating_mul(RECORD_BYTES));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let took = Duration::from_secs(1).mul_f64(f64::from(bytes) / f64::from(SHARE_BYTES_S));
        let earliest = now.checked_sub(SHARE_BURST).unwrap_or(now);
        let had = self.had.entry(agent).or_insert(earliest);
        *had = (*had).max(earliest) + took;
        (*had > now).then_some(*had)
    }

    fn others_commit(&self, agent: Uuid, now: Instant) -> bool {
        let other = self.recent.iter().flatten().find(|(known, _)| *known != agent);
        other.is_some_and(|(_, at)| now.saturating_duration_since(*at) < OTHERS_FOR)
    }

    fn note(&mut self, agent: Uuid, now: Instant) {
        if self.recent[0].is_none_or(|(newest, _)| newest != agent) {
            self.recent[1] = self.recent[0];
        }
        self.recent[0] = Some((agent, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const MS: Duration = Duration::from_millis(1);

    /// A minute of commits, ten a second, each of which takes so long.
    fn minute(pace: &mut Pace, from: Instant, each: Duration) -> Instant {
        let mut now = from;
        for _ in 0..600 {
            let ticket = pace.begin(now);
            pace.end(ticket, now + each);
            now += 100 * MS;
        }
        now
    }

    #[test]
    fn credit_shrinks_with_the_latency_of_commits_and_grows_back() {
        let mut pace = Pace::default();
        let now = minute(&mut pace, Instant::now(), 199 * MS);
        assert_eq!(pace.credit_bytes(), CREDIT_BYTES);
        let now = minute(&mut pace, now, 250 * MS);
        assert_eq!(pace.credit_bytes(), CREDIT_MIN_BYTES);
        // In a crowd, one of a hundred may be slow.
        minute(&mut pace, now, MS);
        assert_eq!(pace.credit_bytes(), CREDIT_BYTES);
    }

    #[test]
    fn a_store_that_is_stuck_is_known_by_its_oldest_commit() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let (first, second) = (pace.begin(now), pace.begin(now + 3_000 * MS));
        assert!(!pace.is_stuck(now + 4_999 * MS));
        assert!(pace.is_stuck(now + 5_000 * MS));
        pace.end(first, now + 6_000 * MS);
        assert!(!pace.is_stuck(now + 6_000 * MS));
        pace.end(second, now + 9_000 * MS);
        pace.end(second, now + 9_000 * MS);
        assert!(!pace.is_stuck(now + 60_000 * MS));
    }

    /// Bytes a second that a flood of frames of 128 KiB gets, beside an agent that commits every so often.
    fn flood(pace: &mut Pace, beside: Option<Duration>) -> f64 {
        let start = Instant::now();
        let (mut now, mut bytes, mut due) = (start, 0.0, start);
        while now < start + Duration::from_secs(20) {
            if let Some(every) = beside.filter(|_| now >= due) {
                assert_eq!(pace.took(B, (1, 8_000), now), None, "who is modest never waits");
                due += every;
            }
            let resume = pace.took(A, (16, 112 << 10), now);
            bytes += f64::from(128 << 10);
            now = resume.unwrap_or(now).max(now + 10 * MS);
        }
        bytes / (now - start).as_secs_f64()
    }

    #[test]
    fn a_flood_has_its_share_beside_others_and_everything_alone() {
        let alone = flood(&mut Pace::default(), None);
        assert!(alone > 12e6, "{alone}");
        let beside = flood(&mut Pace::default(), Some(100 * MS));
        let share = f64::from(SHARE_BYTES_S);
        assert!((0.9 * share..1.2 * share).contains(&beside), "{beside}");
    }

    #[test]
    fn records_that_carry_nothing_have_their_price() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.took(B, (1, 8_000), now), None);
        let waits = |pace: &mut Pace| pace.took(A, (1_024, 0), now);
        let resume = (0..4).find_map(|_| waits(&mut pace));
        assert!(resume.is_some_and(|resume| resume > now), "{resume:?}");
    }

    #[test]
    fn nobody_is_remembered_for_long() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for agent in 0..1_000 {
            pace.took(Uuid::from_u128(agent), (1, 1 << 20), now);
        }
        assert!(pace.had.len() >= 999);
        minute(&mut pace, now, MS);
        assert_eq!(pace.had.len(), 0);
    }
}
