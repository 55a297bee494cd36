//! When attempts are due: plan and now in, due attempts out. Pure.
//!
//! An instant is handed out exactly once, in order. One that was passed over because the agent did not run (a
//! suspended machine, a stopped process) is handed out as [`Due::PassedOver`], never as a burst of late attempts: only
//! the newest instant of a probe may still start.

use probefleet_proto::window::Grid;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The instants of all probes of a plan, merged.
#[derive(Debug)]
pub struct Schedule {
    grids: Vec<Grid>,
    /// The next instant of each probe, Unix ns, with the probe's index; earliest on top.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// An instant that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Start the probe of that index now.
    Start {
        /// Index of the probe.
        probe: usize,
        /// Scheduled instant, Unix ns.
        scheduled_ns: u64,
    },
    /// The probe's next instant has come as well: this one never starts.
    PassedOver {
        /// Index of the probe.
        probe: usize,
        /// Scheduled instant, Unix ns.
        scheduled_ns: u64,
    },
}

impl Schedule {
    /// The schedule of probes with these grids, from an instant (Unix ns) on.
    #[must_use]
    pub fn new(grids: Vec<Grid>, from_ns: u64) -> Self {
        let next = grids
            .iter()
            .enumerate()
            .map(|(probe, grid)| Reverse((grid.at_or_after(from_ns), probe)))
            .collect();
        Self { grids, next }
    }

    /// The earliest instant that has not been handed out, Unix ns; `None` without probes.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.next.peek().map(|Reverse((scheduled_ns, _))| *scheduled_ns)
    }

    /// Leaves out what was due before an instant (Unix ns). The earliest of what is left out, if there is any.
    pub fn skip_before(&mut self, from_ns: u64) -> Option<u64> {
        let earliest_ns = self.next_ns().filter(|next_ns| *next_ns < from_ns)?;
        *self = Self::new(std::mem::take(&mut self.grids), from_ns);
        Some(earliest_ns)
    }

    /// Hands out the earliest instant that is not after `now_ns` (Unix ns).
    pub fn pop_due(&mut self, now_ns: u64) -> Option<Due> {
        let mut top = self.next.peek_mut().filter(|top| top.0.0 <= now_ns)?;
        let Reverse((scheduled_ns, probe)) = *top;
        let following_ns = scheduled_ns.saturating_add(self.grids[probe].every_ns);
        *top = Reverse((following_ns, probe));
        Some(if following_ns <= now_ns {
            Due::PassedOver { probe, scheduled_ns }
        } else {
            Due::Start { probe, scheduled_ns }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::units::NS_PER_S;
    use proptest::prelude::*;

    const AGENT: [u8; 16] = [5; 16];

    fn grid(every_s: u64, phase_s: u64) -> Grid {
        Grid { every_ns: every_s * NS_PER_S, phase_ns: phase_s * NS_PER_S }
    }

    fn drain(schedule: &mut Schedule, now_s: u64) -> Vec<Due> {
        std::iter::from_fn(|| schedule.pop_due(now_s * NS_PER_S)).collect()
    }

    #[test]
    fn instants_come_in_order() {
        let mut schedule = Schedule::new(vec![grid(10, 3), grid(5, 1)], 0);
        assert_eq!(schedule.next_ns(), Some(NS_PER_S));
        assert_eq!(drain(&mut schedule, 1), [Due::Start { probe: 1, scheduled_ns: NS_PER_S }]);
        assert_eq!(drain(&mut schedule, 4), [Due::Start { probe: 0, scheduled_ns: 3 * NS_PER_S }]);
        assert_eq!(schedule.next_ns(), Some(6 * NS_PER_S));
        assert_eq!(Schedule::new(vec![], 0).next_ns(), None);
    }

    #[test]
    fn after_a_pause_only_the_newest_instant_starts() {
        let mut schedule = Schedule::new(vec![grid(10, 0)], 0);
        let at = |s: u64| s * NS_PER_S;
        assert_eq!(
            drain(&mut schedule, 25),
            [
                Due::PassedOver { probe: 0, scheduled_ns: at(0) },
                Due::PassedOver { probe: 0, scheduled_ns: at(10) },
                Due::Start { probe: 0, scheduled_ns: at(20) },
            ]
        );
        assert_eq!(schedule.next_ns(), Some(at(30)));
    }

    #[test]
    fn what_is_long_past_can_be_left_out() {
        let mut schedule = Schedule::new(vec![grid(10, 0), grid(60, 5)], 0);
        let at = |s: u64| s * NS_PER_S;
        assert_eq!(schedule.skip_before(0), None);
        assert_eq!(schedule.skip_before(at(1_000_000_001)), Some(0));
        assert_eq!(schedule.next_ns(), Some(at(1_000_000_010)));
        assert_eq!(schedule.skip_before(at(1_000_000_010)), None);
        assert_eq!(drain(&mut schedule, 1_000_000_025).len(), 3);
    }

    #[test]
    fn a_thousand_probes_are_spread() {
        let grids: Vec<Grid> =
            (0..1_000).map(|n| Grid::new(&AGENT, &format!("probe-{n}"), 1)).collect();
        let mut per_100_ms = [0_u32; 10];
        for grid in &grids {
            per_100_ms[usize::try_from(grid.phase_ns / 100_000_000).expect("small")] += 1;
        }
        let peak = per_100_ms.iter().max().expect("ten");
        assert!(*peak <= 200, "peak over mean of starts per 100 ms is at most 2: {per_100_ms:?}");
    }

    proptest! {
        /// However late and often one asks, every instant is handed out exactly once.
        #[test]
        fn every_instant_exactly_once(
            probes in proptest::collection::vec((1..20_u64, 0..20_u64), 1..5),
            pauses in proptest::collection::vec(0..40_u64, 1..20),
        ) {
            let grids: Vec<Grid> = probes.iter().map(|(every, phase)| grid(*every, phase % every)).collect();
            let mut schedule = Schedule::new(grids.clone(), 0);
            let (mut now_s, mut seen) = (0, vec![0_u64; grids.len()]);
            for pause in pauses {
                now_s += pause;
                for due in drain(&mut schedule, now_s) {
                    let (Due::Start { probe, scheduled_ns } | Due::PassedOver { probe, scheduled_ns }) = due;
                    prop_assert_eq!(scheduled_ns, grids[probe].phase_ns + seen[probe] * grids[probe].every_ns);
                    seen[probe] += 1;
                }
            }
            for (grid, seen) in grids.iter().zip(seen) {
                prop_assert_eq!(seen, grid.count(0, now_s * NS_PER_S + 1));
            }
        }
    }
}
