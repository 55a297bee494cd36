//! What must be true in the end.

use super::Fault;
use super::world::{Promise, World};
use crate::stage::{ATTEMPTS, Accounts, audit};
use probefleet_agent::simulation::Retire;
use probefleet_proto::record::SpoolId;
use std::collections::{BTreeMap, BTreeSet};

/// Whether an event says that a spool was left for another.
fn is_fork(what: &str) -> bool {
    what == Retire::Forked.event() || what == Retire::RolledBack.event()
}

impl World {
    /// Looks at the store when all is quiet.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&mut self) -> Result<(), String> {
        let accounts = audit(&self.collector.store);
        let dropped = accounts.gaps.iter().filter(|(.., scheduled)| scheduled.is_some()).count();
        self.fired.add(Fault::Drop, dropped as u64);
        let forks = accounts.events.iter().filter(|what| is_fork(what)).count();
        let was_cloned = self.fired.of(Fault::Clone) > 0;
        let excused =
            |window: &u64| was_cloned && self.nodes.iter().any(|node| node.unsure.contains(window));
        let twice = accounts.counted.iter().find(|(window, count)| **count > 1 && !excused(window));
        if let Some((window, count)) = twice {
            return Err(format!("window {window} is counted {count} times"));
        }
        let is_explained = was_cloned || self.fired.of(Fault::BitRot) > 0;
        if (forks > 0 || !self.collector.forks.is_empty()) && !is_explained {
            return Err(format!(
                "a fork is reported where there is none: {:?}, {:?}",
                accounts.events, self.collector.forks
            ));
        }
        self.check_liveness(&accounts)?;
        let lost = self.check_conservation(&accounts)?;
        self.check_verdicts(&lost)?;
        if was_cloned { Ok(()) } else { self.check_gaps(&accounts) }
    }

    fn check_liveness(&self, accounts: &Accounts) -> Result<(), String> {
        for (index, node) in self.nodes.iter().enumerate() {
            let state = node.agent.as_ref().map(|agent| agent.state());
            let delivered = state.as_ref().is_some_and(|state| {
                let held = self.collector.store.stream(&state.spool_id);
                held.is_some_and(|held| held.head.last_seq + 1 == state.next_seq)
            });
            if !delivered {
                return Err(format!("agent {index} still holds something: {state:?}"));
            }
            let newest =
                node.promises.last().ok_or_else(|| format!("agent {index} sealed nothing"))?;
            if !accounts.counted.contains_key(&newest.window) {
                return Err(format!(
                    "agent {index}: its newest window {} did not arrive",
                    newest.window
                ));
            }
        }
        Ok(())
    }

    /// The windows that are lost, all of them said to be.
    fn check_conservation(&self, accounts: &Accounts) -> Result<BTreeSet<u64>, String> {
        // The event is the first record of its spool; the collector may have lost it in a restore, and the spool let it go.
        let reported = accounts.events.iter().any(|what| is_fork(what))
            || accounts.gaps.iter().any(|(_, (from, _), _)| *from == 1);
        let mut gaps: BTreeMap<SpoolId, Vec<(u64, u64)>> = BTreeMap::new();
        for (spool_id, range, _) in &accounts.gaps {
            gaps.entry(*spool_id).or_default().push(*range);
        }
        let in_gap = |promise: &Promise| {
            gaps.get(&promise.spool_id).is_some_and(|gaps| {
                gaps.iter().any(|(from, to)| (*from..=*to).contains(&promise.seq))
            })
        };
        // What it could be compared by is gone; a copy's record may stand under the number.
        let incomparable = self.fired.of(Fault::Clone) > 0 && self.fired.of(Fault::Restore) > 0;
        let has_rotted = self.fired.of(Fault::BitRot) > 0;
        let is_taken = |promise: &Promise| {
            let held = self.collector.store.stream(&promise.spool_id);
            incomparable && held.is_some_and(|held| promise.seq <= held.head.last_seq)
        };
        let mut all = BTreeSet::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let current = node.agent.as_ref().map(|agent| agent.state().spool_id);
            let missing = |promise: &&Promise| !accounts.counted.contains_key(&promise.window);
            for lost in node.promises.iter().filter(missing) {
                let behind_fork = (reported || has_rotted) && current != Some(lost.spool_id);
                if !in_gap(lost) && !behind_fork && !is_taken(lost) {
                    return Err(format!(
                        "window {} of agent {index}, record {}, is lost without a word",
                        lost.window, lost.seq
                    ));
                }
                all.insert(lost.window);
            }
        }
        Ok(all)
    }

    /// A gap that knows counts has those of exactly the windows that it stands for.
    fn check_gaps(&self, accounts: &Accounts) -> Result<(), String> {
        let mut seqs: BTreeMap<SpoolId, BTreeSet<u64>> = BTreeMap::new();
        for promise in self.nodes.iter().flat_map(|node| &node.promises) {
            seqs.entry(promise.spool_id).or_default().insert(promise.seq);
        }
        for (spool_id, (from, to), scheduled) in &accounts.gaps {
            let Some(scheduled) = scheduled else { continue };
            let promised =
                seqs.get(spool_id).map_or(0, |seqs| seqs.range(from..=to).count() as u64);
            // Records that became durable while the process died were never promised; they are windows all the same.
            let possible = to - from + 1;
            let attempts = u64::from(ATTEMPTS);
            // What could not be read any more was not counted either.
            let promised = if self.fired.of(Fault::BitRot) > 0 { 0 } else { promised };
            if !(promised * attempts..=possible * attempts).contains(scheduled) {
                return Err(format!(
                    "the gap {from} to {to} counts {scheduled} attempts for {promised} windows"
                ));
            }
        }
        Ok(())
    }
}
