//! The fleet, the collector, and what happens to them, in the order of a virtual clock.

use super::network::Link;
use super::{Fault, Fired, Trace};
use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{Collector, config, key_of, report, spool};
use crate::store::{Doubt, MemoryStore};
use probefleet_agent::simulation::{Agent, Limits, REFUSED_MAX, Wish};
use probefleet_proto::hex::hex;
use probefleet_proto::record::{Kind, SpoolId};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const DIR: &str = "/state/spool";
/// A window is sealed so often, ms.
const SEAL_MS: u64 = 10_000;
/// When a spool that could not be opened or written is tried again, ms.
const AGAIN_MS: u64 = 1_000;
/// Likewise when all is quiet.
const SEAL_QUIET_MS: u64 = 60_000;
/// Quiet after the faults, ms: the longest back-off several times, and the pause between two spools that are left.
const QUIET_MS: u64 = 15 * 60_000;
/// The last windows are sealed so long before the end, ms: they are to be delivered, too.
const LAST_MS: u64 = 150_000;
/// Records of one group: as with the spool's thread, no more than the smallest segment holds.
const GROUP_MAX: usize = 2;
/// More events than this, for each agent and second: somebody runs in circles.
const EVENTS_MAX: u64 = 25;
/// More windows than an agent ever has.
const WINDOWS_EACH: u64 = 100_000;
/// Of so many windows about one is never accepted, where that happens, and no more than these: they may all be of one agent.
const POISON: u64 = 20;
const POISON_MAX: usize = REFUSED_MAX as usize;
const EPOCH_NS: u64 = 1_800_000_000_000_000_000;

/// What a seed draws first.
#[derive(Debug)]
pub struct Plan {
    agents: usize,
    active_ms: u64,
    fault_ms: u64,
    faults: Vec<Fault>,
    /// Of so many messages something happens to one.
    wire: u64,
    /// Decides which windows are never accepted; by itself, so that a seed draws the rest as it did before there was this.
    poison: Option<fastrand::Rng>,
    pub limits: Limits,
    pub total_bytes: u64,
    pub credit_bytes: u32,
}

/// Something that is due.
#[derive(Debug)]
pub enum Event {
    Boot(usize),
    Seal { node: usize, life: u64 },
    Append { node: usize, life: u64 },
    Connect { node: usize, life: u64 },
    Tick(usize),
    Up(u64, Up),
    Down(u64, Down),
    Broken(u64),
    Noticed(u64),
    Fault,
    CollectorUp,
    StoreUp,
    DiskFree(usize),
    Quiet,
}

/// A window that the spool said is durable.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    pub spool_id: SpoolId,
    pub seq: u64,
    pub window: u64,
}

/// A machine with an agent.
#[derive(Debug)]
pub struct Node {
    pub id: Uuid,
    disk: MemoryDisk,
    pub agent: Option<Agent<MemoryDisk>>,
    /// Counts processes, so that what an earlier one waited for does not happen to a later one.
    life: u64,
    pub link: Option<u64>,
    tick_ms: Option<u64>,
    pending: VecDeque<u64>,
    pub promises: Vec<Promise>,
    pub sealed: u64,
    /// Its windows come after this one.
    first: u64,
    /// Windows that the spool once said it could not write: a copy of the disk may hold them nevertheless.
    pub unsure: BTreeSet<u64>,
    skew_ns: u64,
    slow_until_ms: u64,
    died: u64,
    /// What waits is tried again then.
    again_ms: Option<u64>,
}

impl Node {
    /// Whether that window is one of those of this machine.
    pub const fn measured(&self, window: u64) -> bool {
        window > self.first && window <= self.first + self.sealed
    }
}

/// A simulation under way.
#[derive(Debug)]
pub struct World {
    pub trace: Trace,
    pub fired: Fired,
    pub now_ms: u64,
    pub nodes: Vec<Node>,
    pub plan: Plan,
    pub random: fastrand::Rng,
    origin: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub collector: Collector,
    /// Counts the collector's processes.
    pub process: u64,
    pub is_up: bool,
    pub slow_until_ms: u64,
    backup: Option<MemoryStore>,
    pub links: BTreeMap<u64, Link>,
    connections: u64,
    is_quiet: bool,
    too_large: Option<String>,
}

impl Plan {
    fn draw(seed: u64, random: &mut fastrand::Rng) -> Self {
        let is_herd = random.u64(..100) == 0;
        let agents = if is_herd { random.usize(100..=300) } else { random.usize(1..=4) };
        let minutes = if is_herd { 3 } else { random.u64(4..=24) };
        let drawn = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Poison);
        let faults = drawn.filter(|_| random.u64(..5) < 2).collect();
        let mut poison = fastrand::Rng::with_seed(!seed);
        let segment_bytes = 1 << random.u64(9..=11);
        Self {
            agents,
            active_ms: minutes * 60_000,
            fault_ms: random.u64(3_000..60_000) / if is_herd { 20 } else { 1 },
            faults,
            wire: random.u64(10..300),
            poison: (poison.u64(..5) < 2).then_some(poison),
            limits: spool(16, segment_bytes),
            total_bytes: 16 * segment_bytes,
            // With what a record takes beside its payload less than three of the four segments that are never dropped.
            credit_bytes: u32::try_from(segment_bytes).expect("small"),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}

impl World {
    pub fn new(seed: u64, trace: Trace) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = Plan::draw(seed, &mut random);
        let mut world = Self {
            trace,
            fired: Fired::default(),
            now_ms: 0,
            nodes: Vec::new(),
            plan,
            random,
            origin: Instant::now(),
            queue: BTreeMap::new(),
            order: 0,
            collector: Collector::default(),
            process: 0,
            is_up: true,
            slow_until_ms: 0,
            backup: None,
            links: BTreeMap::new(),
            connections: 0,
            is_quiet: false,
            too_large: None,
        };
        for agent in 0..world.plan.agents {
            let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + agent as u128);
            world.add(id, MemoryDisk::new(agent as u64 + 1, Path::new(DIR)));
        }
        world
    }

    fn add(&mut self, id: Uuid, disk: MemoryDisk) {
        let node = self.nodes.len();
        self.nodes.push(Node {
            id,
            disk,
            agent: None,
            life: 0,
            link: None,
            tick_ms: None,
            pending: VecDeque::new(),
            promises: Vec::new(),
            sealed: 0,
            first: node as u64 * WINDOWS_EACH,
            unsure: BTreeSet::new(),
            skew_ns: 0,
            slow_until_ms: 0,
            died: 0,
            again_ms: None,
        });
        let at_ms = self.now_ms + self.random.u64(..SEAL_MS);
        self.push(at_ms, Event::Boot(node));
    }

    /// Windows that were called durable.
    pub fn promised(&self) -> u64 {
        self.nodes.iter().map(|node| node.promises.len() as u64).sum()
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// What failed.
    pub fn live(&mut self) -> Result<(), String> {
        let plan = format!("{:?}", self.plan);
        self.note(format_args!("{plan}"));
        let end_ms = self.plan.active_ms + QUIET_MS;
        self.push(self.plan.fault_ms, Event::Fault);
        self.push(self.plan.active_ms, Event::Quiet);
        while let Some(((at_ms, order), event)) = self.queue.pop_first() {
            if at_ms > end_ms {
                self.queue.insert((at_ms, order), event);
                break;
            }
            self.now_ms = at_ms;
            self.happen(event);
            let most = EVENTS_MAX * self.nodes.len() as u64 * (60 + self.now_ms / 1_000);
            if self.trace.events > most {
                return Err(format!("more than {most} events: somebody runs in circles"));
            }
        }
        for node in &self.nodes {
            let happened = node.disk.happened();
            self.fired.add(Fault::SyncFails, happened.sync_failed);
            self.fired.add(Fault::DiskFails, happened.failed - happened.sync_failed);
            self.fired.add(Fault::DiskFull, happened.was_full);
        }
        self.fired.add(Fault::Poison, self.collector.poisoned);
        self.too_large.take().map_or_else(|| self.judge(), Err)
    }

    /// Notes the first spool that is too large.
    fn check_budget(&mut self, node: usize) {
        let most = self.plan.total_bytes + self.plan.total_bytes / 16;
        let bytes = self.nodes[node].agent.as_ref().map_or(0, |agent| agent.state().bytes);
        if bytes > most && self.too_large.is_none() {
            self.too_large = Some(format!(
                "the spool of agent {node} has {bytes} bytes, with a budget of {}",
                self.plan.total_bytes
            ));
        }
    }

    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now_ms, what);
    }

    pub fn push(&mut self, at_ms: u64, event: Event) {
        self.order += 1;
        self.queue.insert((at_ms, self.order), event);
    }

    pub fn now(&self) -> Instant {
        self.origin + Duration::from_millis(self.now_ms)
    }

    pub fn wall_ns(&self, skew_ns: u64) -> u64 {
        EPOCH_NS + self.now_ms * 1_000_000 + skew_ns
    }

    /// Whether something happens to this message.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let strikes =
            !self.is_quiet && self.plan.has(fault) && self.random.u64(..self.plan.wire) == 0;
        if strikes {
            self.fired.count(fault);
        }
        strikes
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Boot(node) => self.boot(node),
            Event::Seal { node, life } if self.nodes[node].life == life => self.seal(node),
            Event::Append { node, life } if self.nodes[node].life == life => {
                self.nodes[node].again_ms = None;
                self.append(node);
            }
            Event::Connect { node, life } if self.nodes[node].life == life => self.connect(node),
            Event::Seal { .. } | Event::Append { .. } | Event::Connect { .. } => {}
            Event::Tick(node) => self.tick(node),
            Event::Up(link, message) => self.arrive_up(link, message),
            Event::Down(link, message) => self.arrive_down(link, message),
            Event::Broken(link) => self.broken(link),
            Event::Noticed(link) => {
                self.collector.conversations.remove(&link);
                self.links.remove(&link);
            }
            Event::Fault => self.fault(),
            Event::CollectorUp => self.collector_up(),
            Event::StoreUp => self.collector.store.set_down(false),
            Event::DiskFree(node) => {
                let trouble = self.nodes[node].disk.trouble();
                self.nodes[node].disk.set_trouble(Trouble { is_full: false, ..trouble });
            }
            Event::Quiet => self.quiet(),
        }
    }

    // === an agent ===

    fn boot(&mut self, node: usize) {
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

    fn seal(&mut self, node: usize) {
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
    fn append(&mut self, node: usize) {
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

    fn connect(&mut self, node: usize) {
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

    fn tick(&mut self, node: usize) {
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
    fn crash(&mut self, node: usize, power: bool) {
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

    // === what goes wrong ===

    fn fault(&mut self) {
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

    fn collector_up(&mut self) {
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

    fn quiet(&mut self) {
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
