//! What goes wrong, drawn one by one, and how all of it ends.

use super::{DIR, Event, World};
use crate::disk::Trouble;
use crate::simulation::Fault;
use crate::store::Doubt;
use probefleet_proto::hex::hex;
use probefleet_proto::v1;
use probefleet_proto::v1::to_agent::Message as Down;
use std::path::PathBuf;

impl World {
    pub(super) fn fault(&mut self) {
        if self.is_quiet {
            return;
        }
        let next_ms = self.now_ms + 1 + self.random.u64(..2 * self.plan.fault_ms);
        self.push(next_ms, Event::Fault);
        if self.plan.faults.is_empty() {
            return;
        }
        let fault = self.plan.faults[self.random.usize(..self.plan.faults.len())];
        let node = self.random.usize(..self.nodes.len());
        match fault {
            Fault::CollectorKill
            | Fault::GoAway
            | Fault::Restore
            | Fault::StoreDown
            | Fault::SlowStore => self.fault_of_collector(fault),
            Fault::DoubtDone => self.doubt(fault, Doubt::Done),
            Fault::DoubtUndone => self.doubt(fault, Doubt::Undone),
            Fault::DoubtBlind => self.doubt(fault, Doubt::Blind),
            Fault::Reset | Fault::Partition => self.fault_of_link(fault, node),
            Fault::Lose | Fault::Duplicate | Fault::Reorder | Fault::Delay | Fault::Drop => {}
            _ => self.fault_of_agent(fault, node),
        }
    }

    fn doubt(&mut self, fault: Fault, doubt: Doubt) {
        if self.collector.store.doubted() {
            self.note(format_args!("the next commit: {fault:?}"));
            self.fired.count(fault);
            self.collector.store.doubt(doubt);
        }
    }

    fn fault_of_collector(&mut self, fault: Fault) {
        let long_ms = self.random.u64(..12) * self.random.u64(..90_000);
        match fault {
            Fault::StoreDown => {
                self.collector.store.set_down(true);
                self.push(self.now_ms + 1 + long_ms / 4, Event::StoreUp);
            }
            Fault::SlowStore => {
                self.slow_until_ms = self.now_ms + long_ms / 4;
                return;
            }
            Fault::Restore => match self.backup.take().filter(|_| self.random.bool()) {
                Some(backup) => {
                    self.collector.store = backup;
                    self.collector_down(long_ms / 8);
                }
                None => {
                    self.backup = Some(self.collector.store.clone());
                    return;
                }
            },
            Fault::GoAway => {
                let links: Vec<u64> = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.process == self.process)
                    .map(|(link, _)| *link)
                    .collect();
                for link in links {
                    let resume_in_ms = u32::try_from(self.random.u64(..5_000)).expect("small");
                    self.push(
                        self.now_ms,
                        Event::Down(link, Down::GoAway(v1::GoAway { resume_in_ms })),
                    );
                }
                self.collector_down(1_000);
            }
            _ => self.collector_down(long_ms),
        }
        self.fired.count(fault);
        self.note(format_args!("collector: {fault:?} for {long_ms} ms"));
    }

    fn collector_down(&mut self, for_ms: u64) {
        if !self.is_up {
            return;
        }
        self.is_up = false;
        self.collector.conversations.clear();
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            let at_ms = self.now_ms + 1 + self.random.u64(..100);
            self.push(at_ms, Event::Broken(link));
        }
        self.push(self.now_ms + 1 + for_ms, Event::CollectorUp);
    }

    pub(super) fn collector_up(&mut self) {
        self.is_up = true;
        self.process += 1;
        self.note(format_args!("collector starts"));
    }

    fn fault_of_link(&mut self, fault: Fault, node: usize) {
        let Some(link) = self.nodes[node].link else { return };
        self.note(format_args!("connection {link}: {fault:?}"));
        if fault == Fault::Partition {
            if let Some(state) = self.links.get_mut(&link) {
                state.is_cut = true;
            }
            return;
        }
        self.fired.count(fault);
        if self.random.bool() {
            self.broken(link);
        } else {
            self.disconnect(node, "connection reset"); // the collector has not noticed yet
        }
    }

    fn fault_of_agent(&mut self, fault: Fault, node: usize) {
        let disk = self.nodes[node].disk.clone();
        let trouble = disk.trouble();
        let soon = u32::try_from(self.random.u64(..12)).expect("small");
        match fault {
            Fault::Kill | Fault::PowerCut if self.nodes[node].agent.is_some() => {
                self.fired.count(fault);
                self.crash(node, fault == Fault::PowerCut);
            }
            Fault::DieInside => disk.set_trouble(Trouble { dies_in: Some(soon), ..trouble }),
            Fault::SyncFails | Fault::DiskFails => disk.set_trouble(Trouble {
                fails_in: Some(soon),
                failures: self.random.u32(1..=3),
                ..trouble
            }),
            Fault::DiskFull => {
                disk.set_trouble(Trouble { is_full: true, ..trouble });
                let at_ms = self.now_ms + 1 + self.random.u64(..300_000);
                self.push(at_ms, Event::DiskFree(node));
            }
            Fault::SlowDisk => {
                self.nodes[node].slow_until_ms = self.now_ms + self.random.u64(..30_000)
            }
            Fault::ClockStep => {
                self.fired.count(fault);
                self.nodes[node].skew_ns = self.random.u64(..86_400_000_000_000);
            }
            Fault::Clone if self.fired.of(Fault::Clone) == 0 => {
                self.fired.count(fault);
                self.note(format_args!("agent {node} is cloned"));
                let seed = 1 << 32 | self.nodes.len() as u64;
                let copy = disk.cloned(seed);
                copy.set_trouble(Trouble::default());
                self.add(self.nodes[node].id, copy);
            }
            Fault::BitRot => self.rot(node),
            _ => {}
        }
    }

    /// Flips a bit of a segment that is not the last: damage of the last record is a torn write to whoever reads it.
    fn rot(&mut self, node: usize) {
        let Some(agent) = &self.nodes[node].agent else { return };
        let dir = PathBuf::from(DIR).join(hex(&agent.state().spool_id));
        let disk = self.nodes[node].disk.clone();
        let segments = disk.segments(&dir);
        if segments.len() > 1 {
            let path = dir.join(&segments[self.random.usize(..segments.len() - 1)]);
            self.note(format_args!("agent {node}: a bit of {} flips", path.display()));
            self.fired.count(Fault::BitRot);
            let random = &mut self.random;
            disk.rot(&path, |n| random.usize(..n));
        }
    }

    pub(super) fn quiet(&mut self) {
        self.note(format_args!("quiet"));
        self.is_quiet = true;
        self.slow_until_ms = 0;
        self.collector.store.set_down(false);
        for node in &mut self.nodes {
            node.disk.set_trouble(Trouble::default());
            node.slow_until_ms = 0;
        }
        if !self.is_up {
            self.collector_up();
        }
    }
}
