//! What a machine with an agent does: it starts, seals, connects, and dies.

use super::{DIR, Event, POISON, POISON_MAX, Promise, QUIET_MS, SEAL_MS, World};
use crate::disk::Trouble;
use crate::simulation::Fault;
use crate::simulation::network::Link;
use crate::stage::{config, key_of, report};
use probefleet_agent::simulation::{Agent, Wish};
use probefleet_proto::hex::hex;
use probefleet_proto::record::Kind;
use probefleet_proto::v1::from_agent::Message as Up;
use std::path::Path;

/// When a spool that could not be opened or written is tried again, ms.
const AGAIN_MS: u64 = 1_000;
/// A window is sealed so often when all is quiet, ms.
const SEAL_QUIET_MS: u64 = 60_000;
/// The last windows are sealed so long before the end, ms: they are to be delivered, too.
const LAST_MS: u64 = 150_000;
/// Records of one group: as with the spool's thread, no more than the smallest segment holds.
const GROUP_MAX: usize = 2;

impl World {
    pub(super) fn boot(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if state.agent.is_some() {
            return;
        }
        state.life += 1;
        let (life, disk, key) = (state.life, state.disk.clone(), key_of(state.id));
        match Agent::open(config(state.id, life), disk, Path::new(DIR), (self.plan.limits, &key)) {
            Ok((agent, recovered)) => {
                state.agent = Some(agent);
                state.tick_ms = None;
                self.note(format_args!(
                    "agent {node} starts: spool {}, next {}, torn {}, quarantined {}",
                    hex(&recovered.spool_id),
                    recovered.next_seq,
                    recovered.torn_bytes,
                    recovered.quarantined.len()
                ));
                let first_ms = self.now_ms + 1 + self.random.u64(..SEAL_MS);
                self.push(first_ms, Event::Seal { node, life });
                self.push(self.now_ms + 1, Event::Connect { node, life });
            }
            Err(error) => {
                self.note(format_args!("agent {node} does not start: {error}"));
                self.push(self.now_ms + AGAIN_MS, Event::Boot(node));
            }
        }
        self.outlive(node);
    }

    pub(super) fn seal(&mut self, node: usize) {
        let life = self.nodes[node].life;
        if self.now_ms + LAST_MS < self.plan.active_ms + QUIET_MS {
            let window = self.nodes[node].first + self.nodes[node].sealed + 1;
            let is_open = !self.is_quiet && self.collector.poison.len() < POISON_MAX;
            let poison = self.plan.poison.as_mut().filter(|_| is_open);
            if poison.is_some_and(|random| random.u64(..POISON) == 0) {
                self.note(format_args!("window {window} is poison"));
                self.collector.poison.insert(window);
            }
            let state = &mut self.nodes[node];
            state.sealed += 1;
            state.pending.push_back(state.first + state.sealed);
            let every_ms = if self.is_quiet { SEAL_QUIET_MS } else { SEAL_MS };
            self.push(self.now_ms + every_ms, Event::Seal { node, life });
        }
        self.append(node);
    }

    /// Appends what waits, as one group; what cannot be written is tried again.
    pub(super) fn append(&mut self, node: usize) {
        let (now, now_ms) = (self.now(), self.now_ms);
        let state = &mut self.nodes[node];
        if state.slow_until_ms > now_ms {
            let at_ms = state.slow_until_ms;
            self.fired.count(Fault::SlowDisk);
            return self.append_at(node, at_ms);
        }
        let windows: Vec<u64> = state.pending.iter().copied().take(GROUP_MAX).collect();
        let Some(agent) = state.agent.as_mut().filter(|_| !windows.is_empty()) else { return };
        let records: Vec<_> =
            windows.iter().map(|window| (Kind::Report, report(*window, 0))).collect();
        let spool_id = agent.state().spool_id;
        let sealed = agent.append(&records, now);
        if self.died(node) {
            return;
        }
        match sealed {
            Ok(sealed) => {
                let state = &mut self.nodes[node];
                state.pending.drain(..windows.len());
                for (window, (seq, _)) in windows.iter().zip(&sealed) {
                    state.promises.push(Promise { spool_id, seq: *seq, window: *window });
                }
                self.note(format_args!("agent {node} seals {windows:?} as {}", sealed[0].0));
                self.check_budget(node);
                if !self.nodes[node].pending.is_empty() {
                    self.append_at(node, self.now_ms + 1);
                }
            }
            Err(error) => {
                self.nodes[node].unsure.extend(&windows);
                self.note(format_args!("agent {node} cannot seal {windows:?}: {error}"));
                self.append_at(node, self.now_ms + AGAIN_MS);
            }
        }
        self.act(node);
    }

    fn append_at(&mut self, node: usize, at_ms: u64) {
        let life = self.nodes[node].life;
        if self.nodes[node].again_ms.is_none() {
            self.nodes[node].again_ms = Some(at_ms);
            self.push(at_ms, Event::Append { node, life });
        }
    }

    pub(super) fn connect(&mut self, node: usize) {
        let (now, wall_ns) = (self.now(), self.wall_ns(self.nodes[node].skew_ns));
        let Some(agent) = self.nodes[node].agent.as_mut().filter(|agent| !agent.is_connected())
        else {
            return;
        };
        if !self.is_up {
            agent.disconnected("connection refused", now);
            return self.act(node);
        }
        let lifetime = agent.lifetime();
        let hello = agent.connect(lifetime, wall_ns, now);
        self.connections += 1;
        let link = self.connections;
        self.links.insert(link, Link::new(node, self.process));
        self.nodes[node].link = Some(link);
        self.note(format_args!("agent {node} connects as {link}"));
        self.send_up(link, &Up::Hello(hello));
        self.act(node);
    }

    pub(super) fn tick(&mut self, node: usize) {
        let (now, now_ms) = (self.now(), self.now_ms);
        let state = &mut self.nodes[node];
        if state.tick_ms != Some(now_ms) {
            return;
        }
        state.tick_ms = None;
        if let Some(agent) = &mut state.agent {
            agent.tick(now);
        }
        self.act(node);
    }

    pub fn disconnect(&mut self, node: usize, why: &str) {
        let now = self.now();
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.disconnected(why, now);
        }
        self.act(node);
    }

    /// Does what an agent wants done.
    pub fn act(&mut self, node: usize) {
        if self.died(node) {
            return;
        }
        let state = &mut self.nodes[node];
        let Some(agent) = &mut state.agent else { return };
        let (wishes, life) = (agent.wishes(), state.life);
        for wish in wishes {
            match wish {
                Wish::Send(data) => {
                    if let Some(link) = self.nodes[node].link {
                        self.send_up(link, &Up::Data(data));
                    }
                }
                Wish::Ended { why, wait, retired } => {
                    self.note(format_args!("agent {node} ends: {why}; left its spool: {retired:?}; again after {wait:?}"));
                    if let Some(link) = self.nodes[node].link.take() {
                        self.leave(link);
                    }
                    if let Some(wait) = wait {
                        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                        self.push(self.now_ms + 1 + wait_ms, Event::Connect { node, life });
                    }
                }
            }
        }
        self.arm(node);
    }

    /// Sees to it that the session looks at the clock when it has to.
    fn arm(&mut self, node: usize) {
        let now = self.now();
        let state = &self.nodes[node];
        let Some(deadline) = state.agent.as_ref().and_then(|agent| agent.deadline(now)) else {
            return;
        };
        let ahead = deadline.saturating_duration_since(self.origin);
        let at_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX).max(self.now_ms) + 1;
        if state.tick_ms.is_none_or(|armed_ms| at_ms < armed_ms) {
            self.nodes[node].tick_ms = Some(at_ms);
            self.push(at_ms, Event::Tick(node));
        }
    }

    /// Whether the process died within what it just did; then it is gone.
    fn died(&mut self, node: usize) -> bool {
        let state = &mut self.nodes[node];
        let died = state.disk.happened().died > state.died;
        if died {
            self.fired.count(Fault::DieInside);
            let power = self.random.bool();
            self.crash(node, power);
        }
        died
    }

    fn outlive(&mut self, node: usize) {
        self.died(node);
    }

    /// The process is gone, with or without the power; it comes back after a while.
    pub(super) fn crash(&mut self, node: usize, power: bool) {
        let Self { nodes, random, .. } = self;
        let state = &mut nodes[node];
        state.agent = None;
        state.life += 1;
        state.pending.clear();
        state.again_ms = None;
        state.died = state.disk.happened().died;
        let trouble = state.disk.trouble();
        state.disk.set_trouble(Trouble { dies_in: None, fails_in: None, failures: 0, ..trouble });
        if power {
            state.disk.power_cut(|n| random.usize(..=n));
        }
        self.note(format_args!("agent {node} {}", if power { "loses power" } else { "is killed" }));
        if let Some(link) = self.nodes[node].link.take() {
            self.leave(link);
        }
        let at_ms = self.now_ms + 1 + self.random.u64(..20_000);
        self.push(at_ms, Event::Boot(node));
    }
}
