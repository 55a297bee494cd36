//! An agent's side of delivery for models and simulation: the real spool, on a disk that is given, the real session and
//! the real back-off. What [`super::drive`] and the spool's thread do with sockets and timers, the caller does.

use super::reconnect::{Next, Reconnect, Welcomed};
use super::session::{End, Input, Output, Session};
use super::{UplinkConfig, hello, retirement, seed};
use crate::evidence::EvidenceKey;
use crate::spool::{
    Disk, IN_FLIGHT_MAX_BYTES, Limits, Recovered, Refused, Retire, SpoolError, SpoolState, Store,
    open_store,
};
use probefleet_proto::record::{Hash, Kind, Record};
use probefleet_proto::v1;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What an agent wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Send records in the session that is open.
    Send(v1::Data),
    /// The session is over. Connect again after that time; none = never.
    Ended {
        /// Why.
        why: String,
        /// When to connect again.
        wait: Option<Duration>,
        /// The spool was left for another, for that reason.
        retired: Option<Retire>,
    },
}

/// The parts of an agent that a record passes on its way to the collector.
#[derive(Debug)]
pub struct Agent<D: Disk> {
    config: UplinkConfig,
    spool: Store<D>,
    session: Option<Session>,
    /// What Welcome said.
    reconnect_within: Duration,
    welcomed: Option<Welcomed>,
    reconnect: Reconnect,
    wishes: Vec<Wish>,
}

impl<D: Disk> Agent<D> {
    /// Opens the spool in `dir`, as at the start of the process; `key` signs what is sealed, and is the one of `config`.
    ///
    /// # Errors
    /// [`SpoolError`], as from [`crate::spool::Spool::open`].
    pub fn open(
        config: UplinkConfig,
        disk: D,
        dir: &Path,
        (limits, key): (Limits, &Arc<EvidenceKey>),
    ) -> Result<(Self, Recovered), SpoolError> {
        let (spool, recovered) = open_store(disk, dir, limits, Arc::clone(key))?;
        let reconnect = Reconnect::new(seed(&config));
        let (session, welcomed, wishes) = (None, None, Vec::new());
        let reconnect_within = Duration::ZERO;
        let agent = Self { config, spool, session, reconnect_within, welcomed, reconnect, wishes };
        Ok((agent, recovered))
    }

    /// The same agent at the same point, on a copy of its disk.
    #[must_use]
    pub fn copy_onto(&self, disk: D) -> Self
    where
        D::File: Clone,
    {
        Self {
            config: self.config.clone(),
            spool: self.spool.copy_onto(disk),
            session: self.session.clone(),
            reconnect_within: self.reconnect_within,
            welcomed: self.welcomed,
            reconnect: self.reconnect.clone(),
            wishes: self.wishes.clone(),
        }
    }

    /// Its disk.
    #[must_use]
    pub const fn disk(&self) -> &D {
        self.spool.disk()
    }

    /// What its spool holds.
    #[must_use]
    pub fn state(&self) -> SpoolState {
        self.spool.state()
    }

    /// Hash of the record that ends at `seq`, if that is still known.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub fn hash_of(&mut self, seq: u64) -> Result<Option<Hash>, SpoolError> {
        self.spool.hash_of(seq)
    }

    /// Durable records from `seq` on, as the session reads them.
    ///
    /// # Errors
    /// [`SpoolError`], as from [`crate::spool::SpoolHandle::read_from`].
    pub fn read_from(&mut self, seq: u64, max_bytes: usize) -> Result<Vec<Record>, SpoolError> {
        self.spool.read_from(seq, max_bytes)
    }

    /// The collector has everything up to `seq`, as the session finds out.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub fn release(&mut self, seq: u64) -> Result<(), SpoolError> {
        self.spool.release(seq)
    }

    /// The collector can never accept the record that begins with `seq`, as the session finds out.
    ///
    /// # Errors
    /// [`SpoolError`], as from [`crate::spool::SpoolHandle::refused`].
    pub fn refuse(&mut self, seq: u64) -> Result<Refused, SpoolError> {
        self.spool.refuse(seq)
    }

    /// Everything that it will ever act upon, but for what is on its disk and the jitter of its back-off.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        self.spool.digest(hasher);
        self.session.hash(hasher);
        self.reconnect.retired().hash(hasher);
    }

    /// Appends records, as the spool's thread does with those that wait together.
    ///
    /// # Errors
    /// [`SpoolError`]; then none of them is in the spool.
    pub fn append(
        &mut self,
        records: &[(Kind, Vec<u8>)],
        now: Instant,
    ) -> Result<Vec<(u64, Hash)>, SpoolError> {
        let sealed = self.spool.append_within_budget(records);
        let state = self.spool.state();
        self.give(Input::Spool(state), now);
        sealed
    }

    /// How long the next session may last.
    pub fn lifetime(&mut self) -> Duration {
        self.reconnect.lifetime()
    }

    /// Begins a session of that lifetime and returns the first message of it.
    pub fn connect(&mut self, lifetime: Duration, wall_time_ns: u64, now: Instant) -> v1::Hello {
        let state = self.spool.state();
        let hello = hello(&self.config, &state, Vec::new(), wall_time_ns);
        let agent_id = self.config.agent_id.into_bytes();
        self.session = Some(Session::open(agent_id, state, now, lifetime));
        self.welcomed = None;
        hello
    }

    /// Whether a session is open.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the session that is open was welcomed and everything in the spool is acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_idle)
    }

    /// Takes a message of the session that is open.
    pub fn receive(&mut self, message: v1::ToAgent, now: Instant) {
        match message.message {
            Some(Down::Welcome(welcome)) => {
                self.reconnect_within =
                    Duration::from_millis(u64::from(welcome.reconnect_within_ms));
                self.give(Input::Welcome(welcome), now);
            }
            Some(Down::Ack(ack)) => self.give(Input::Ack(ack), now),
            Some(Down::Nack(nack)) => self.give(Input::Nack(nack), now),
            Some(Down::GoAway(go_away)) => self.give(Input::GoAway(go_away), now),
            Some(Down::Plan(_)) | None => {}
        }
    }

    /// Lets the session look at the clock.
    pub fn tick(&mut self, now: Instant) {
        self.give(Input::Tick, now);
    }

    /// When [`Agent::tick`] is due at the latest.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.session.as_ref().map(|session| session.deadline(now))
    }

    /// The connection broke, or never came about.
    pub fn disconnected(&mut self, why: &str, now: Instant) {
        let end = End::Retry { why: why.to_owned(), after: None };
        self.ended(end, now);
    }

    /// What is to be done, in order.
    pub fn wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    /// Feeds the session, and what comes of it, until it wants nothing more at once.
    fn give(&mut self, input: Input, now: Instant) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(session) = &mut self.session else { return };
            for output in session.handle(input, now) {
                match self.act(output, now) {
                    Ok(None) => {}
                    Ok(Some(answer)) => {
                        inputs.push_back(Input::Spool(self.spool.state()));
                        inputs.push_back(answer);
                    }
                    Err(error) => return self.disconnected(&error.to_string(), now),
                }
            }
        }
    }

    fn act(&mut self, output: Output, now: Instant) -> Result<Option<Input>, SpoolError> {
        match output {
            Output::AskHash(seq) => {
                let hash = self.spool.hash_of(seq)?;
                return Ok(Some(Input::Hash { seq, hash }));
            }
            Output::Bridge { seq, hash } => {
                self.spool.bridge(seq, hash)?;
                return Ok(Some(Input::Bridged));
            }
            Output::Refuse { seq, .. } => {
                let refused = self.spool.refuse(seq)?;
                return Ok(Some(Input::Refused { seq, refused }));
            }
            Output::Read { from, max_bytes } => {
                let records = self.spool.read_from(from, max_bytes)?;
                return Ok(Some(Input::Records { from, records }));
            }
            Output::Send(data) => self.wishes.push(Wish::Send(data)),
            Output::Release(seq) => self.spool.release(seq)?,
            Output::Clock { .. } => {}
            Output::Welcomed => {
                let reconnect_within = self.reconnect_within;
                self.welcomed = Some(Welcomed { at: now, reconnect_within });
            }
            Output::End(end) => self.ended(end, now),
        }
        Ok(None)
    }

    fn ended(&mut self, end: End, now: Instant) {
        self.session = None;
        let state = self.spool.state();
        let next = self.reconnect.after(end, self.welcomed.take(), &state, now);
        let wait = next.wait();
        let mut retired = None;
        let why = match next {
            Next::Retire { reason, mut why, .. } => {
                let event = retirement(reason, &why, 0);
                match self.spool.retire(reason, event.encode_to_vec()) {
                    Ok(()) => retired = Some(reason),
                    Err(error) => {
                        self.reconnect.stayed();
                        why = format!("{why}; it could not be left: {error}");
                    }
                }
                why
            }
            Next::Wait { why, .. } | Next::Refused { why, .. } | Next::Never { why } => why,
        };
        self.wishes.push(Wish::Ended { why, wait, retired });
    }
}

/// When an agent connects, and nothing else of it: ten thousand fit into a herd.
#[derive(Debug)]
pub struct Comings(Reconnect);

impl Comings {
    /// Whose jitter depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Reconnect::new(seed))
    }

    /// How long the next session may last.
    pub fn lifetime(&mut self) -> Duration {
        self.0.lifetime()
    }

    /// A session has lived its time: when to connect again. It was welcomed then, with that time to come back within.
    pub fn cycled(&mut self, welcomed: (Instant, Duration), now: Instant) -> Duration {
        let end = End::Retry { why: String::new(), after: Some(Duration::ZERO) };
        self.after(end, Some(welcomed), now)
    }

    /// The connection broke, or never came about: when to connect again.
    pub fn lost(&mut self, welcomed: Option<(Instant, Duration)>, now: Instant) -> Duration {
        self.after(End::Retry { why: String::new(), after: None }, welcomed, now)
    }

    fn after(&mut self, end: End, welcomed: Option<(Instant, Duration)>, now: Instant) -> Duration {
        let welcomed = welcomed.map(|(at, reconnect_within)| Welcomed { at, reconnect_within });
        let spool = SpoolState {
            spool_id: [0; 16],
            oldest_seq: 0,
            next_seq: 1,
            head_hash: [0; 32],
            bytes: 0,
            unacked_bytes: 0,
            oldest_unsent_s: None,
            in_flight_max_bytes: IN_FLIGHT_MAX_BYTES,
        };
        // Only an agent that is stopped never connects again.
        self.0.after(end, welcomed, &spool, now).wait().unwrap_or(Duration::MAX)
    }
}
