//! One state of the search, what can happen next, and what may never come of it.

use super::impostor;
use crate::disk::{MemoryDisk, Trouble};
use crate::stage::{ATTEMPTS, Accounts, Collector, audit, config, key_of, report, spool};
use crate::store::{Doubt, Lack, MemoryStore};
use probefleet_agent::simulation::{Agent, EvidenceKey, Limits, Retire, Wish};
use probefleet_collector::ingest::session::Session;
use probefleet_collector::store::{Head, Opened};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, SpoolId};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const AGENT: Uuid = Uuid::from_u128(1);
const DIR: &str = "/state/spool";
/// Time stands still: whatever waits is decided by the search, not by a clock.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);
const NOW_NS: u64 = 1_800_000_000_000_000_000;
/// What the agent signs with, in every life and copy of it.
static KEY: LazyLock<Arc<EvidenceKey>> = LazyLock::new(|| key_of(AGENT));
const LIFETIME: Duration = Duration::from_secs(900);
/// Rounds of reconnecting after which an agent that still holds something is stuck.
const ROUNDS: usize = 8;

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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    member: usize,
    connection: u64,
    is_up: bool,
    bytes: Rc<Vec<u8>>,
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

    /// Everything that can happen next.
    pub fn steps(&self) -> Vec<(String, Self)> {
        let mut steps = Vec::new();
        for message in &self.wire {
            let to = if message.is_up { "collector" } else { "agent" };
            let label = format!("{} reaches the {to}", name(message));
            steps.push((label.clone(), self.after(|world| world.deliver(message, false))));
            if message.is_up && self.left.duplicates > 0 {
                let twice = self.after(|world| {
                    world.left.duplicates -= 1;
                    world.deliver(message, true);
                });
                steps.push((format!("{label}, and is still under way"), twice));
            }
        }
        for member in 0..self.members.len() {
            self.steps_of(member, &mut steps);
        }
        self.steps_of_collector(&mut steps);
        steps
    }

    fn after(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.copy();
        change(&mut next);
        next
    }

    fn steps_of(&self, member: usize, steps: &mut Vec<(String, Self)>) {
        let who = if member == 0 { "agent" } else { "clone" };
        let mut push = |what: &str, next: Self| steps.push((format!("{who} {what}"), next));
        if self.members[member].is_over {
            return;
        }
        if self.left.windows > 0 {
            push("seals", self.after(|world| world.seal(member)));
        }
        if self.left.connects > 0 {
            push("connects", self.after(|world| world.connect(member)));
        }
        let flushed = self.members[member].agent.disk().is_flushed();
        if !flushed {
            push("writes through", self.after(|world| world.members[member].agent.disk().flush()));
        }
        if self.left.crashes > 0 {
            push("is killed", self.after(|world| world.crash(member, false)));
            if !flushed {
                push("loses power", self.after(|world| world.crash(member, true)));
            }
            if self.left.windows > 0 {
                for operation in 0.. {
                    let Some(killed) = self.dying(member, operation, false) else { break };
                    push(&format!("is killed at operation {operation} of sealing"), killed);
                    let unpowered = self.dying(member, operation, true).expect("likewise");
                    push(&format!("loses power at operation {operation} of sealing"), unpowered);
                }
            }
        }
        if self.left.clones > 0 {
            push("is cloned", self.after(|world| world.clone_member(member)));
        }
    }

    fn steps_of_collector(&self, steps: &mut Vec<(String, Self)>) {
        let mut push = |what: &str, next: Self| steps.push((what.to_owned(), next));
        if self.left.restarts > 0 {
            let restarted = self.after(|world| {
                world.left.restarts -= 1;
                world.hang_up();
            });
            push("collector restarts", restarted);
        }
        if self.left.doubts > 0 && self.collector.store.doubted() {
            for doubt in [Doubt::Done, Doubt::Undone, Doubt::Blind] {
                let doubted = self.after(|world| {
                    world.left.doubts -= 1;
                    world.collector.store.doubt(doubt);
                });
                push(&format!("next commit is in doubt ({doubt:?})"), doubted);
            }
        }
        if self.left.restores > 0 {
            match &self.backup {
                None => push(
                    "backup",
                    self.after(|world| world.backup = Some(world.collector.store.clone())),
                ),
                Some(_) => push("restore", self.after(Self::restore)),
            }
        }
    }

    // === what happens ===

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

    /// Whether nobody signs. Where the wire changes hashes, no signature would fit.
    fn is_unsigned(&self) -> bool {
        matches!(self.minus, Some(Minus::Signatures | Minus::HashChain))
    }

    /// Answers of connections that nobody listens to any more.
    fn forget_answers(&mut self, member: usize) {
        let connection = self.members[member].connection;
        self.wire.retain(|message| {
            message.is_up || message.member != member || message.connection == connection
        });
    }

    fn send_up(&mut self, member: usize, connection: u64, message: Up) {
        let bytes = Rc::new(v1::FromAgent { message: Some(message) }.encode_to_vec());
        self.wire.insert(Message { member, connection, is_up: true, bytes });
    }

    fn deliver(&mut self, message: &Message, again: bool) {
        if !again {
            self.wire.remove(message);
        }
        if message.is_up {
            let said = v1::FromAgent::decode(message.bytes.as_slice()).expect("was encoded");
            self.hear(message.member, message.connection, said.message.expect("says something"));
        } else {
            let said = v1::ToAgent::decode(message.bytes.as_slice()).expect("was encoded");
            let member = &mut self.members[message.member];
            if member.connection == message.connection {
                member.agent.receive(said, *NOW);
                self.act(message.member);
            }
        }
    }

    fn hear(&mut self, member: usize, connection: u64, mut said: Up) {
        if let (Up::Data(data), Some(session)) =
            (&mut said, self.collector.conversations.get_mut(&connection))
        {
            if matches!(self.minus, Some(Minus::Signatures | Minus::HashChain)) {
                data.records.iter_mut().for_each(|record| record.signature.clear());
            }
            weaken(self.minus, data, session);
        }
        let (answers, _) = self.collector.hear(connection, AGENT, said, NOW_NS);
        for mut answer in answers {
            self.adjust(member, &mut answer);
            if self.members[member].connection == connection {
                let bytes = Rc::new(v1::ToAgent { message: Some(answer) }.encode_to_vec());
                self.wire.insert(Message { member, connection, is_up: false, bytes });
            }
        }
    }

    /// Credit as the bounds have it; without the chain, hashes that fit.
    fn adjust(&mut self, member: usize, answer: &mut Down) {
        let (last_seq, last_hash, credit_bytes) = match answer {
            Down::Welcome(welcome) => {
                (welcome.last_seq, &mut welcome.last_hash, &mut welcome.credit_bytes)
            }
            Down::Ack(ack) => (ack.last_seq, &mut ack.last_hash, &mut ack.credit_bytes),
            Down::Nack(_) | Down::Plan(_) | Down::GoAway(_) => return,
        };
        *credit_bytes = self.credit_bytes;
        if self.minus == Some(Minus::HashChain)
            && let Ok(Some(ours)) = self.members[member].agent.hash_of(last_seq)
        {
            *last_hash = ours.to_vec();
        }
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

    // === what may never come of it ===

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

/// What the wire does to a frame where a mechanism is missing.
fn weaken(minus: Option<Minus>, data: &mut v1::Data, session: &mut Session) {
    let Some(first) = data.records.first_mut() else { return };
    let head = session.head();
    match minus {
        Some(Minus::Fence) => data.session = head.session,
        Some(Minus::HashChain) if first.seq == head.last_seq + 1 => {
            first.prev_hash = head.last_hash.to_vec()
        }
        Some(Minus::Contiguity) if first.seq > head.last_seq => {
            let last_hash = first.prev_hash.as_slice().try_into().expect("32 bytes");
            let head = Head { last_seq: first.seq - 1, last_hash, session: head.session };
            let name = Name::new("a").expect("a name");
            let opened = Opened {
                stream: session.stream(),
                head,
                name,
                labels: Labels::new(),
                first_sight: false,
                evidence: session.evidence(),
                key_before: None,
            };
            *session = Session::new(session.spool_id(), &opened);
        }
        _ => {}
    }
}

fn name(message: &Message) -> String {
    let records = |data: &v1::Data| {
        let seqs: Vec<String> = data
            .records
            .iter()
            .map(|record| {
                if record.seq == record.seq_to {
                    record.seq.to_string()
                } else {
                    format!("{}-{}", record.seq, record.seq_to)
                }
            })
            .collect();
        seqs.join("+")
    };
    let what = if message.is_up {
        match v1::FromAgent::decode(message.bytes.as_slice()).ok().and_then(|said| said.message) {
            Some(Up::Hello(hello)) => format!("Hello(next {})", hello.next_seq),
            Some(Up::Data(data)) => format!("Data({})", records(&data)),
            _ => "?".to_owned(),
        }
    } else {
        match v1::ToAgent::decode(message.bytes.as_slice()).ok().and_then(|said| said.message) {
            Some(Down::Welcome(welcome)) => format!("Welcome({})", welcome.last_seq),
            Some(Down::Ack(ack)) => format!("Ack({})", ack.last_seq),
            Some(Down::Nack(nack)) => {
                format!("Nack({}, {})", nack.code().as_str_name(), nack.expected_seq)
            }
            _ => "?".to_owned(),
        }
    };
    format!("{what} of connection {}", message.connection)
}
