//! Who may begin a handshake, and when: decided before a byte of TLS is read. Pure: time is passed in.
//!
//! A full handshake is the dearest thing that a stranger can ask for, so they are begun at a rate that leaves most of the
//! machine to the sessions that stand. Who comes faster than that waits: closing at once would send an agent into a
//! back-off of seconds where a tenth of one would have done, and a place in the queue costs a socket and no processor time.
//! The queue is bounded in length and time, because an agent that waited longer than its own patience is gone, and its
//! handshake would be wasted.
//!
//! Nobody takes another's turn. Addresses take turns, whatever each of them asks for; one has a bounded share of the
//! handshakes under way; and where all places are taken, one of who holds most gives way to a newcomer. So
//! somebody who opens connections and says nothing, from one address or from a hundred, delays those addresses.
//!
//! Who has a block of addresses could come from each of them once, and so have no more than anybody else at any: where
//! addresses come in blocks, a block has a share, too, and gives way as a whole. Its addresses are parked while it has all
//! handshakes that it may have. Within a block nobody gives way to an address that has as much.
//!
//! The same rate says within what time a fleet that lost its sessions should come back: [`reconnect_within`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// Handshakes begun a second, for each core: at some 0.24 ms of processor time, an eighth of it; what follows (HTTP/2,
/// Hello, its transaction) takes about as much again, and the rest is for sessions that stand.
const PER_CORE_S: u32 = 500;
/// Handshakes that may begin at once after a quiet time: a small fleet waits for nothing.
const BURST: u32 = 64;
/// Most handshakes under way: two seconds of work for one core, some 30 MiB of buffers.
pub const HANDSHAKES_MAX: usize = 512;
/// Most of them from one address: what a site behind one address can use, and a sixteenth of all.
pub const ADDRESS_HANDSHAKES_MAX: usize = 32;
/// Most connections that wait: two seconds' worth for one core, and few beside the files that a collector may open.
pub const WAITING_MAX: usize = 1_024;
/// Most of them from one address: a site whose agents all start at once, and a quarter of all.
const ADDRESS_WAITING_MAX: usize = 256;
/// Longest wait: with the handshake's own deadline still within the ten seconds that agents wait for both.
pub const WAIT_MAX: Duration = Duration::from_secs(4);
/// Most handshakes under way from one block: a quarter of all, and what the rate of one core keeps under way where each takes
/// a quarter of a second. An IPv6 site is given a /48 or less (RFC 6177) and has 65,536 networks in it,
/// each an address here; whoever has more than that is a provider, and a matter for a firewall.
pub const BLOCK_HANDSHAKES_MAX: usize = 128;
/// Most connections that wait from one block: half of all, so that a fleet that is all in one comes in nearly as fast.
pub const BLOCK_WAITING_MAX: usize = 512;
/// Turns that one call looks through for an address that has fewer handshakes than another, when all are under way.
const TURNS_SEEN_MAX: usize = 32;
/// How often those are looked for who waited too long.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Of the admission rate, what a fleet that comes back is paced at: the rest drains the queues that chance makes.
const PACED_SHARE: f64 = 0.8;
/// The least time within which a fleet comes back: with less, three agents would come in the same instant.
const WITHIN_MIN: Duration = Duration::from_secs(1);
/// The most: a fleet of 240,000 for two cores; whoever has more has more cores, or comes back late.
const WITHIN_MAX: Duration = Duration::from_secs(300);

/// Handshakes that so many cores begin a second.
#[must_use]
pub const fn rate_of(cores: u32) -> u32 {
    PER_CORE_S.saturating_mul(cores)
}

/// Within what time a fleet of that size comes back after it lost its sessions, each agent at an instant of its own.
#[must_use]
pub fn reconnect_within(agents: usize, rate_per_s: u32) -> Duration {
    let agents = u32::try_from(agents).unwrap_or(u32::MAX);
    let paced_per_s = f64::from(rate_per_s.max(1)) * PACED_SHARE;
    Duration::from_secs_f64(f64::from(agents) / paced_per_s).clamp(WITHIN_MIN, WITHIN_MAX)
}

/// Why a connection is closed before its handshake has begun, or while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// There is no place to wait, and nobody has many more than this address.
    Crowded,
    /// It waited for as long as anybody may.
    Waited,
    /// It waited, and a place was given to an address that had fewer.
    Displaced,
}

impl Refused {
    /// The word for it in metrics and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Crowded => "crowded",
            Self::Waited => "waited",
            Self::Displaced => "displaced",
        }
    }
}

/// A handshake that begins now.
#[derive(Debug, PartialEq, Eq)]
pub struct Begin<A, T> {
    /// Its number, for [`Admission::ended`].
    pub ticket: u64,
    /// From where.
    pub address: A,
    /// The connection.
    pub connection: T,
    /// The handshake that gives way to it: it is broken off.
    pub instead_of: Option<u64>,
}

/// The queue before the handshakes. `A` is an address, `T` a connection.
#[derive(Debug)]
pub struct Admission<A, T> {
    bucket: Bucket,
    /// The block that an address is in, if such addresses come in blocks.
    block_of: fn(A) -> Option<A>,
    places: BTreeMap<A, Place<T>>,
    blocks: BTreeMap<A, Block<A>>,
    /// Addresses of which somebody waits and a handshake may begin, each once, in turn.
    turns: VecDeque<A>,
    waiting: usize,
    handshakes: usize,
    tickets: u64,
    sweep_at: Option<Instant>,
    /// All handshakes are under way and none gives way: only an end or a newcomer changes that.
    is_blocked: bool,
}

#[derive(Debug)]
struct Place<T> {
    waiting: VecDeque<(Instant, T)>,
    /// Tickets of the handshakes under way, the oldest first.
    handshakes: VecDeque<u64>,
    is_in_turn: bool,
}

/// What the addresses of a block have together.
#[derive(Debug)]
struct Block<A> {
    waiting: usize,
    handshakes: usize,
    /// Addresses whose turn came while the block had all handshakes that it may have.
    parked: VecDeque<A>,
}

/// A token bucket, told by when the next token is there.
#[derive(Debug)]
struct Bucket {
    every: Duration,
    slack: Duration,
    next: Option<Instant>,
}

impl Bucket {
    fn new(rate_per_s: u32) -> Self {
        let every = Duration::from_secs(1) / rate_per_s.max(1);
        Self { every, slack: every * (BURST - 1), next: None }
    }

    fn is_ready(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| next <= now)
    }

    fn take(&mut self, now: Instant) {
        let earliest = now.checked_sub(self.slack).unwrap_or(now);
        self.next = Some(self.next.map_or(earliest, |next| next.max(earliest)) + self.every);
    }
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), handshakes: VecDeque::new(), is_in_turn: false }
    }
}

impl<A> Default for Block<A> {
    fn default() -> Self {
        Self { waiting: 0, handshakes: 0, parked: VecDeque::new() }
    }
}

impl<A> Block<A> {
    fn is_empty(&self) -> bool {
        self.waiting == 0 && self.handshakes == 0 && self.parked.is_empty()
    }
}

impl<T> Place<T> {
    fn may_begin(&self) -> bool {
        !self.waiting.is_empty() && self.handshakes.len() < ADDRESS_HANDSHAKES_MAX
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.handshakes.is_empty() && !self.is_in_turn
    }
}

impl<A: Copy + Ord, T> Admission<A, T> {
    /// Nobody there; handshakes begin at that rate.
    #[must_use]
    pub fn new(rate_per_s: u32, block_of: fn(A) -> Option<A>) -> Self {
        Self {
            bucket: Bucket::new(rate_per_s),
            block_of,
            places: BTreeMap::new(),
            blocks: BTreeMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            handshakes: 0,
            tickets: 0,
            sweep_at: None,
            is_blocked: false,
        }
    }

    /// Connections that wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Handshakes under way.
    #[must_use]
    pub const fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// A connection has come. Gives back one that is to be closed for it, if there must be one.
    pub fn arrive(&mut self, address: A, connection: T, now: Instant) -> Option<(T, Refused)> {
        if self.waits_at(address) >= ADDRESS_WAITING_MAX {
            return Some((connection, Refused::Crowded));
        }
        let is_block_full =
            self.block(address).is_some_and(|block| block.waiting >= BLOCK_WAITING_MAX);
        let mut closed = None;
        if is_block_full || self.waiting >= WAITING_MAX {
            closed = self.displace(address, is_block_full);
            if closed.is_none() {
                return Some((connection, Refused::Crowded));
            }
        }
        self.waiting += 1;
        if let Some(block) = (self.block_of)(address) {
            self.blocks.entry(block).or_default().waiting += 1;
        }
        self.sweep_at.get_or_insert(now + SWEEP_EVERY);
        self.places.entry(address).or_default().waiting.push_back((now, connection));
        self.queue_up(address);
        closed
    }

    /// Closes the newest connection of whoever has most that wait, a block counting as one, to make room for a newcomer who
    /// has fewer; if only those of the newcomer's own block may give way, of the address in it that has most.
    fn displace(&mut self, newcomer: A, in_own_block: bool) -> Option<(T, Refused)> {
        let block = (self.block_of)(newcomer);
        let is_own = |address: A| block.is_some() && (self.block_of)(address) == block;
        let waiting = self.places.iter().filter(|(address, place)| {
            !place.waiting.is_empty() && (!in_own_block || is_own(**address))
        });
        let most =
            waiting.max_by_key(|(address, place)| (self.holds(**address), place.waiting.len()));
        let most = *most?.0;
        let has_more = if is_own(most) {
            self.waits_at(most) > self.waits_at(newcomer) + 1
        } else {
            self.holds(most) > self.holds(newcomer) + 1
        };
        let place = self.places.get_mut(&most).filter(|_| has_more)?;
        let (_, newest) = place.waiting.pop_back()?;
        self.waits_no_more(most, 1);
        Some((newest, Refused::Displaced))
    }

    /// Connections that wait of an address.
    fn waits_at(&self, address: A) -> usize {
        self.places.get(&address).map_or(0, |place| place.waiting.len())
    }

    /// Likewise, of all its block where it has one.
    fn holds(&self, address: A) -> usize {
        self.block(address).map_or_else(|| self.waits_at(address), |block| block.waiting)
    }

    /// The next handshake that may begin now. To be asked until there is none, after every other call and at
    /// [`Admission::wake_at`].
    pub fn next(&mut self, now: Instant) -> Option<Begin<A, T>> {
        self.is_blocked = false;
        if !self.bucket.is_ready(now) {
            return None;
        }
        let (address, connection) = self.take_turn()?;
        let instead_of = self.make_room();
        self.bucket.take(now);
        self.tickets += 1;
        self.handshakes += 1;
        if let Some(block) = (self.block_of)(address) {
            self.blocks.entry(block).or_default().handshakes += 1;
        }
        let ticket = self.tickets;
        self.places.entry(address).or_default().handshakes.push_back(ticket);
        self.queue_up(address);
        Some(Begin { ticket, address, connection, instead_of })
    }

    /// A handshake has ended, however.
    pub fn ended(&mut self, address: A, ticket: u64) {
        let Some(place) = self.places.get_mut(&address) else { return };
        let Some(index) = place.handshakes.iter().position(|known| *known == ticket) else {
            return; // it gave way
        };
        place.handshakes.remove(index);
        self.is_under_way_no_more(address);
    }

    /// Those who waited for too long, to be closed.
    pub fn sweep(&mut self, now: Instant) -> Vec<T> {
        if self.sweep_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let (mut closed, mut swept) = (Vec::new(), Vec::new());
        for (address, place) in &mut self.places {
            let before = closed.len();
            while place.waiting.front().is_some_and(|(since, _)| *since + WAIT_MAX <= now) {
                closed.extend(place.waiting.pop_front().map(|(_, connection)| connection));
            }
            swept.push((*address, closed.len() - before));
        }
        swept.iter().for_each(|(address, count)| self.waits_no_more(*address, *count));
        self.sweep_at = (self.waiting > 0).then_some(now + SWEEP_EVERY);
        self.leave_parked();
        self.places.retain(|_, place| !place.is_empty());
        self.blocks.retain(|_, block| !block.is_empty());
        closed
    }

    /// Of the parked, those of whom nobody waits any more have no turn to come.
    fn leave_parked(&mut self) {
        for block in self.blocks.values_mut() {
            block.parked.retain(|address| match self.places.get_mut(address) {
                Some(place) if place.waiting.is_empty() => {
                    place.is_in_turn = false;
                    false
                }
                Some(_) => true,
                None => false,
            });
        }
    }

    fn block(&self, address: A) -> Option<&Block<A>> {
        self.blocks.get(&(self.block_of)(address)?)
    }

    fn block_mut(&mut self, address: A) -> Option<&mut Block<A>> {
        self.blocks.get_mut(&(self.block_of)(address)?)
    }

    /// So many connections of an address have left the queue.
    fn waits_no_more(&mut self, address: A, count: usize) {
        self.waiting -= count;
        if let Some(block) = self.block_mut(address) {
            block.waiting -= count;
        }
        self.forget_block(address);
    }

    /// A handshake of an address has ended, or gave way.
    fn is_under_way_no_more(&mut self, address: A) {
        self.handshakes -= 1;
        if let Some(block) = self.block_mut(address) {
            block.handshakes -= 1;
        }
        self.queue_up(address);
        self.unpark(address);
        self.forget_block(address);
    }

    fn forget_block(&mut self, address: A) {
        if self.block(address).is_some_and(Block::is_empty)
            && let Some(block) = (self.block_of)(address)
        {
            self.blocks.remove(&block);
        }
    }

    /// The next of those that are parked in the block of an address has a turn again. Whenever one leaves the turns without
    /// a handshake, or a handshake ends, one comes back: so none is parked while its block could do more.
    fn unpark(&mut self, address: A) {
        if let Some(next) = self.block_mut(address).and_then(|block| block.parked.pop_front()) {
            self.turns.push_back(next);
        }
    }

    /// When there may be something to do, if nothing else happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        let token = self.bucket.next.filter(|_| !self.turns.is_empty() && !self.is_blocked);
        [token, self.sweep_at].into_iter().flatten().min()
    }

    /// An address takes its turn when somebody waits and its share is not used up.
    fn queue_up(&mut self, address: A) {
        let Some(place) = self.places.get_mut(&address) else { return };
        if place.may_begin() && !place.is_in_turn {
            place.is_in_turn = true;
            self.turns.push_back(address);
        } else if place.is_empty() {
            self.places.remove(&address);
        }
    }

    /// Whose turn it is; with all handshakes under way, only where another address has more than this one.
    fn take_turn(&mut self) -> Option<(A, T)> {
        let most = if self.handshakes < HANDSHAKES_MAX { usize::MAX } else { self.most() };
        let mut seen = 0;
        while seen < TURNS_SEEN_MAX.min(self.turns.len()) {
            let address = self.turns.pop_front()?;
            let Some(place) = self.places.get_mut(&address) else { continue };
            if !place.may_begin() {
                // Swept away or displaced meanwhile.
                place.is_in_turn = false;
                self.queue_up(address);
                self.unpark(address);
                continue;
            }
            let block = (self.block_of)(address).and_then(|block| self.blocks.get_mut(&block));
            if let Some(block) = block.filter(|block| block.handshakes >= BLOCK_HANDSHAKES_MAX) {
                block.parked.push_back(address);
                continue;
            }
            if place.handshakes.len() + 1 >= most {
                self.turns.push_back(address);
                seen += 1;
                continue;
            }
            place.is_in_turn = false;
            let (_, connection) = place.waiting.pop_front()?;
            self.waits_no_more(address, 1);
            return Some((address, connection));
        }
        self.is_blocked = true;
        None
    }

    /// Handshakes of the address that has most.
    fn most(&self) -> usize {
        self.places.values().map(|place| place.handshakes.len()).max().unwrap_or(0)
    }

    /// With all places taken, the oldest handshake of the address that has most gives way: it had most time.
    fn make_room(&mut self) -> Option<u64> {
        if self.handshakes < HANDSHAKES_MAX {
            return None;
        }
        let most = self.places.iter_mut().max_by_key(|(_, place)| place.handshakes.len());
        let (address, ticket) =
            most.and_then(|(address, place)| Some((*address, place.handshakes.pop_front()?)))?;
        self.is_under_way_no_more(address);
        Some(ticket)
    }
}

#[cfg(test)]
mod tests;
