//! One state of the search: what it holds, and what happens in it. `steps` has what can happen next, `wire` what is under
//! way, `judge` what may never come of it.

mod judge;
mod steps;
mod wire;

use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{Collector, config, key_of, report, spool};
use crate::store::{Lack, MemoryStore};
use probefleet_agent::simulation::{Agent, EvidenceKey, Limits, Wish};
use probefleet_proto::record::{Kind, SpoolId};
use probefleet_proto::v1::from_agent::Message as Up;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;
use wire::Message;

const AGENT: Uuid = Uuid::from_u128(1);
const DIR: &str = "/state/spool";
/// Time stands still: whatever waits is decided by the search, not by a clock.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
const NOW_NS: u64 = 1_800_000_000_000_000_000;
/// What the agent signs with, in every life and copy of it.
static KEY: LazyLock<Arc<EvidenceKey>> = LazyLock::new(|| key_of(AGENT));
const LIFETIME: Duration = Duration::from_secs(900);

/// How often each thing may happen on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Windows that are sealed.
    pub windows: u8,
    /// Connections.
    pub connects: u8,
    /// Crashes of the agent, between two steps or inside one, with or without the power.
    pub crashes: u8,
    /// Copies of the agent's state that begin to run.
    pub clones: u8,
    /// Restores of the collector from a backup.
    pub restores: u8,
    /// Restarts of the collector.
    pub restarts: u8,
    /// Commits that do not say how they ended.
    pub doubts: u8,
    /// Frames that come twice.
    pub duplicates: u8,
    /// The budget holds two windows.
    pub is_tight: bool,
    /// In each state somebody has the agent's certificate, but not its evidence key.
    pub impostor: bool,
}

/// A mechanism that is taken away, where the cores meet the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minus {
    /// The disk says that it wrote before it has.
    PersistBeforeSend,
    /// Hashes are made to fit on their way, and nothing that is held is compared.
    HashChain,
    /// The agent names no key.
    Signatures,
    /// The collector forgets from session to session what it has.
    HighWater,
    /// The collector takes a frame wherever it begins.
    Contiguity,
    /// The store keeps no gaps.
    Gaps,
    /// Nothing that is acknowledged is kept.
    Retention,
    /// Credit for more than the spool promises to keep.
    Pinning,
    /// Frames of older sessions are taken.
    Fence,
}

/// A window that the spool said is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Promise {
    member: usize,
    spool_id: SpoolId,
    seq: u64,
    window: u64,
}

/// A running copy of the agent.
#[derive(Debug)]
struct Member {
    agent: Agent<MemoryDisk>,
    connection: u64,
    is_over: bool,
}

/// A state.
#[derive(Debug)]
pub struct World {
    left: Bounds,
    minus: Option<Minus>,
    limits: Limits,
    credit_bytes: u32,
    members: Vec<Member>,
    collector: Collector,
    backup: Option<MemoryStore>,
    wire: BTreeSet<Message>,
    promises: Vec<Promise>,
    windows: u64,
    connections: u64,
    had_clone: bool,
    had_restore: bool,
    had_drop: bool,
}

impl World {
    pub fn new(bounds: Bounds, minus: Option<Minus>) -> Self {
        let one = u32::try_from(report(1, 0).len()).expect("small");
        // Tight: one record to a segment; the four smallest that are never dropped are as long as one such.
        let limits = match (bounds.is_tight, minus) {
            (true, _) => probefleet_agent::simulation::limits(700, 60),
            (false, Some(Minus::Retention)) => probefleet_agent::simulation::limits(200, 60),
            (false, _) => spool(1 << 10, 1 << 10),
        };
        let credit_bytes =
            if bounds.is_tight && minus != Some(Minus::Pinning) { one + one / 2 } else { 8 * one };
        let lack = match minus {
            Some(Minus::HashChain) => Some(Lack::Chain),
            Some(Minus::HighWater) => Some(Lack::Memory),
            Some(Minus::Contiguity) => Some(Lack::Compare),
            Some(Minus::Gaps) => Some(Lack::Gaps),
            Some(Minus::Fence) => Some(Lack::Fence),
            _ => None,
        };
        let disk = MemoryDisk::new(1, Path::new(DIR));
        disk.set_trouble(Trouble {
            lies: minus == Some(Minus::PersistBeforeSend),
            ..Trouble::default()
        });
        let mut world = Self {
            left: bounds,
            minus,
            limits,
            credit_bytes,
            members: Vec::new(),
            collector: Collector { store: MemoryStore::lacking(lack), ..Collector::default() },
            backup: None,
            wire: BTreeSet::new(),
            promises: Vec::new(),
            windows: 0,
            connections: 0,
            had_clone: false,
            had_restore: false,
            had_drop: false,
        };
        world.start(disk);
        world.members[0].agent.disk().flush();
        world
    }

    fn open(&self, disk: MemoryDisk) -> Agent<MemoryDisk> {
        Agent::open(config(AGENT, 1), disk, Path::new(DIR), (self.limits, &KEY))
            .expect("a disk without trouble")
            .0
    }

    fn start(&mut self, disk: MemoryDisk) {
        let agent = self.open(disk);
        self.members.push(Member { agent, connection: 0, is_over: false });
    }

    fn copy(&self) -> Self {
        let copy = |member: &Member| Member {
            agent: member.agent.copy_onto(member.agent.disk().copy()),
            ..*member
        };
        Self {
            members: self.members.iter().map(copy).collect(),
            collector: self.collector.clone(),
            backup: self.backup.clone(),
            wire: self.wire.clone(),
            promises: self.promises.clone(),
            ..*self
        }
    }

    /// What tells states apart.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.left, &self.wire, &self.promises, self.windows).hash(&mut hasher);
        (self.had_clone, self.had_restore, self.had_drop).hash(&mut hasher);
        for member in &self.members {
            member.agent.digest(&mut hasher);
            member.agent.disk().digest(&mut hasher);
            (member.connection, member.is_over).hash(&mut hasher);
        }
        self.collector.store.digest(&mut hasher);
        for (connection, session) in &self.collector.conversations {
            let head = session.head();
            (connection, head.last_seq, head.last_hash, head.session).hash(&mut hasher);
        }
        self.collector.forks.hash(&mut hasher);
        if let Some(backup) = &self.backup {
            backup.digest(&mut hasher);
        }
        hasher.finish()
    }

    fn seal(&mut self, member: usize) {
        self.left.windows -= 1;
        self.windows += 1;
        let window = self.windows;
        let agent = &mut self.members[member].agent;
        let spool_id = agent.state().spool_id;
        if let Ok(sealed) = agent.append(&[(Kind::Report, report(window, 0))], *NOW) {
            let seq = sealed[0].0;
            self.promises.push(Promise { member, spool_id, seq, window });
        }
        self.act(member);
    }

    /// Seals, and dies at that operation of it; none if it has fewer.
    fn dying(&self, member: usize, operation: u32, power: bool) -> Option<Self> {
        let mut next = self.copy();
        next.left.windows -= 1;
        next.windows += 1;
        let window = next.windows;
        let agent = &mut next.members[member].agent;
        let trouble = agent.disk().trouble();
        agent.disk().set_trouble(Trouble { dies_in: Some(operation), ..trouble });
        let before = agent.disk().happened().died;
        drop(agent.append(&[(Kind::Report, report(window, 0))], *NOW));
        if agent.disk().happened().died == before {
            return None;
        }
        agent.disk().set_trouble(trouble);
        next.crash(member, power);
        Some(next)
    }

    fn crash(&mut self, member: usize, power: bool) {
        self.left.crashes -= 1;
        let disk = self.members[member].agent.disk().clone();
        if power {
            disk.power_cut(|_| 0);
        }
        self.members[member].agent = self.open(disk);
        self.members[member].connection = 0;
        self.forget_answers(member);
    }

    fn clone_member(&mut self, member: usize) {
        self.left.clones -= 1;
        self.had_clone = true;
        let disk = self.members[member].agent.disk().cloned(2);
        self.start(disk);
    }

    fn connect(&mut self, member: usize) {
        self.left.connects -= 1;
        self.greet(member);
    }

    fn greet(&mut self, member: usize) {
        self.connections += 1;
        let connection = self.connections;
        self.members[member].connection = connection;
        self.forget_answers(member);
        let mut hello = self.members[member].agent.connect(LIFETIME, NOW_NS, *NOW);
        if self.is_unsigned() {
            hello.evidence_key.clear();
        }
        self.send_up(member, connection, Up::Hello(hello));
    }

    fn act(&mut self, member: usize) {
        let connection = self.members[member].connection;
        for wish in self.members[member].agent.wishes() {
            match wish {
                Wish::Send(data) => self.send_up(member, connection, Up::Data(data)),
                Wish::Ended { wait, .. } => {
                    self.members[member].is_over |= wait.is_none();
                    self.members[member].connection = 0;
                    self.forget_answers(member);
                }
            }
        }
    }

    /// All connections break.
    fn hang_up(&mut self) {
        self.collector.conversations.clear();
        self.wire.clear();
        for member in 0..self.members.len() {
            self.members[member].agent.disconnected("the collector is gone", *NOW);
            self.act(member);
        }
    }

    fn restore(&mut self) {
        self.left.restores -= 1;
        self.had_restore = true;
        if let Some(backup) = self.backup.take() {
            self.collector.store = backup;
        }
        self.hang_up();
    }
}
