//! The fleet, the collector, and what happens to them, in the order of a virtual clock: what each machine does in `machine`,
//! what goes wrong in `trouble`, messages in `super::network`.

mod machine;
mod trouble;

use super::network::Link;
use super::{Fault, Fired, Trace};
use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{Collector, spool};
use crate::store::MemoryStore;
use probefleet_agent::simulation::{Agent, Limits, REFUSED_MAX};
use probefleet_proto::record::SpoolId;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const DIR: &str = "/state/spool";
/// A window is sealed so often, ms.
const SEAL_MS: u64 = 10_000;
/// Quiet after the faults, ms: the longest back-off several times, and the pause between two spools that are left.
const QUIET_MS: u64 = 15 * 60_000;
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
            // What is sent ahead of acknowledgements stays within the segments that are never dropped.
            limits: spool(16, segment_bytes)
                .sending_ahead(usize::try_from(2 * segment_bytes).expect("small")),
            total_bytes: 16 * segment_bytes,
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
}
