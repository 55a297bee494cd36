//! What may never come of a state.

use super::{Promise, World};
use crate::exhaustive::impostor;
use crate::stage::{ATTEMPTS, Accounts, audit};
use probefleet_agent::simulation::Retire;
use probefleet_proto::record::SpoolId;
use std::collections::VecDeque;

/// Rounds of reconnecting after which an agent that still holds something is stuck.
const ROUNDS: usize = 8;

impl World {
    /// Stops the faults, delivers everything, and says what is wrong.
    pub fn verdict(&self) -> Option<String> {
        if let Some(why) = twice(&audit(&self.collector.store)) {
            return Some(why);
        }
        if self.left.impostor
            && let Some(why) = impostor::accepted(&self.collector)
        {
            return Some(why);
        }
        let mut end = self.copy();
        end.settle();
        let accounts = audit(&end.collector.store);
        twice(&accounts).or_else(|| end.judge(&accounts))
    }

    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            for member in 0..self.members.len() {
                if self.members[member].is_over || self.members[member].agent.is_idle() {
                    continue;
                }
                self.wire.clear();
                self.greet(member);
                self.run_dry();
            }
        }
    }

    /// Delivers in order until nothing is under way.
    fn run_dry(&mut self) {
        let mut queue = VecDeque::new();
        for _ in 0..1_000 {
            queue.extend(std::mem::take(&mut self.wire));
            let Some(message) = queue.pop_front() else { return };
            self.deliver(&message, false);
        }
    }

    fn judge(&self, accounts: &Accounts) -> Option<String> {
        let left = accounts
            .events
            .iter()
            .any(|what| what == Retire::Forked.event() || what == Retire::RolledBack.event());
        let forked = left || !self.collector.forks.is_empty();
        if forked && !self.had_clone {
            return Some("a fork is reported where there is none".to_owned());
        }
        for (index, member) in self.members.iter().enumerate() {
            if member.is_over || !member.agent.is_idle() {
                return Some(format!("copy {index} of the agent is stuck"));
            }
        }
        let lost = self.promises.iter().find(|promise| !self.is_accounted(promise, accounts, left));
        if let Some(lost) = lost {
            return Some(format!("window {} is lost without a word", lost.window));
        }
        if !self.left.is_tight && !accounts.gaps.is_empty() {
            return Some(
                "a window is lost, though it is said, where it could have been sent again"
                    .to_owned(),
            );
        }
        if self.had_clone { None } else { self.misjudged_gap(accounts) }
    }

    fn is_accounted(&self, promise: &Promise, accounts: &Accounts, left: bool) -> bool {
        let in_gap = |(spool_id, range, _): &(SpoolId, (u64, u64), Option<u64>)| {
            *spool_id == promise.spool_id && (range.0..=range.1).contains(&promise.seq)
        };
        let behind_fork =
            left && self.members[promise.member].agent.state().spool_id != promise.spool_id;
        accounts.counted.contains_key(&promise.window)
            || accounts.gaps.iter().any(in_gap)
            || behind_fork
    }

    /// A gap that counts other attempts than those of the windows it stands for.
    fn misjudged_gap(&self, accounts: &Accounts) -> Option<String> {
        accounts.gaps.iter().find_map(|(spool_id, (from, to), scheduled)| {
            let scheduled = (*scheduled)?;
            let within = self.promises.iter().filter(|promise| {
                promise.spool_id == *spool_id && (*from..=*to).contains(&promise.seq)
            });
            let promised = u64::try_from(within.count()).expect("few") * u64::from(ATTEMPTS);
            // A window whose sealing was interrupted may be there without having been promised.
            let interrupted = self.windows - u64::try_from(self.promises.len()).expect("few");
            let possible = promised + interrupted * u64::from(ATTEMPTS);
            (!(promised..=possible).contains(&scheduled)).then(|| {
                format!("the gap {from} to {to} counts {scheduled} attempts, not {promised}")
            })
        })
    }
}

fn twice(accounts: &Accounts) -> Option<String> {
    let (window, count) = accounts.counted.iter().find(|(_, count)| **count > 1)?;
    Some(format!("window {window} is counted {count} times"))
}
