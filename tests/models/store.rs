//! A store that stands in for the collector's: it can be copied, set back to a backup, and made to fail. That it otherwise
//! behaves as SQLite does, `agreement.rs` shows.

use probefleet_collector::revision::Revision;
use probefleet_collector::simulation::stream;
use probefleet_collector::store::{
    Batch, Cursor, Evidence, Head, Held, HourCursor, Introduction, KnownAgent, NewDigest,
    OpenError, Opened, Outcome, PeriodKey, SealedRecord, Store, StoreError, StoredHour,
    StoredRecord, StreamEnd, StreamId, StreamInfo, TenantScope,
};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::record::{Kind, SpoolId, genesis_hash};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// A committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub held: Held,
    /// Where it begins as its agent sealed it: a gap may reach back over what is held.
    pub sealed_seq: u64,
    pub kind: Kind,
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
}

/// A stream and what is committed of it.
#[derive(Clone, Debug)]
pub struct Stream {
    pub id: StreamId,
    pub agent: Uuid,
    pub head: Head,
    pub evidence: Option<Evidence>,
    pub rows: Vec<Arc<Row>>,
}

/// What the next commits come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// It is durable, but nobody says so.
    Done,
    /// It is not, and nobody says so.
    Undone,
    /// Likewise, and the head cannot be read either.
    Blind,
}

/// What protects a stream, taken away. A store that is whole lacks none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Any session may commit.
    Fence,
    /// A commit does not look at where the head is.
    Compare,
    /// Nothing that is held is compared with what comes again.
    Chain,
    /// A gap moves the head and is not kept.
    Gaps,
    /// Where a stream ends is forgotten from one session to the next.
    Memory,
}

#[derive(Clone, Debug, Default)]
struct State {
    streams: BTreeMap<SpoolId, Stream>,
    agents: BTreeMap<Uuid, String>,
    doubt: Option<Doubt>,
    blind: bool,
    down: bool,
    lack: Option<Lack>,
}

/// The store. `Clone` copies all of it, unless it is [`MemoryStore::shared`].
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    is_shared: bool,
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        let state = if self.is_shared {
            Arc::clone(&self.state)
        } else {
            Arc::new(Mutex::new(self.state().clone()))
        };
        Self { state, is_shared: self.is_shared }
    }
}

impl MemoryStore {
    pub fn lacking(lack: Option<Lack>) -> Self {
        let store = Self::default();
        store.state().lack = lack;
        store
    }

    /// The same store, whose clones are itself: sessions of the real service share it.
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next commit does not say how it ended.
    pub fn doubt(&self, doubt: Doubt) {
        self.state().doubt = Some(doubt);
    }

    /// Whether the doubt was met.
    pub fn doubted(&self) -> bool {
        self.state().doubt.is_none()
    }

    /// Whether nothing can be read or written.
    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub fn streams(&self) -> Vec<(SpoolId, Stream)> {
        self.state().streams.iter().map(|(id, stream)| (*id, stream.clone())).collect()
    }

    pub fn stream(&self, spool_id: &SpoolId) -> Option<Stream> {
        self.state().streams.get(spool_id).cloned()
    }

    /// Everything that will ever matter.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        let state = self.state();
        for (spool_id, stream) in &state.streams {
            (spool_id, stream.head.last_seq, stream.head.last_hash, stream.head.session)
                .hash(hasher);
            stream.evidence.map(|evidence| (evidence.key, evidence.signed_from)).hash(hasher);
            for row in &stream.rows {
                (row.held.seq, row.held.seq_to, row.held.hash).hash(hasher);
            }
        }
        (state.doubt, state.down, state.blind).hash(hasher);
    }
}

fn failed() -> StoreError {
    StoreError::Failed("the store is down".to_owned())
}

impl State {
    fn by_id(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.values_mut().find(|stream| stream.id == id)
    }

    fn open(&mut self, introduction: &Introduction) -> Result<Opened, OpenError> {
        let (agent, spool_id) = (introduction.agent, introduction.spool_id);
        if !introduction.may_begin && !self.streams.contains_key(&spool_id) {
            return Err(OpenError::NewSpool);
        }
        let first_sight = !self.agents.contains_key(&agent);
        if self.streams.get(&spool_id).is_some_and(|stream| stream.agent != agent) {
            return Err(OpenError::ForeignSpool);
        }
        let pinned = self.streams.get(&spool_id).and_then(|stream| stream.evidence);
        if let (Some(pinned), Some(offered)) = (pinned, introduction.evidence)
            && pinned.key != offered.key
        {
            return Err(OpenError::OtherKey { pinned: pinned.key, offered: offered.key });
        }
        self.agents.entry(agent).or_insert_with(|| introduction.proposed_name.as_str().to_owned());
        let number = i64::try_from(self.streams.len()).unwrap_or(i64::MAX) + 1;
        let genesis = Head { last_seq: 0, last_hash: genesis_hash(&spool_id), session: 0 };
        let opened = self.streams.entry(spool_id).or_insert_with(|| Stream {
            id: stream(number),
            agent,
            head: genesis,
            evidence: None,
            rows: Vec::new(),
        });
        opened.evidence = pinned.or(introduction.evidence);
        opened.head.session += 1;
        if self.lack == Some(Lack::Memory) {
            (opened.head.last_seq, opened.head.last_hash) = (0, genesis.last_hash);
        }
        let (id, head, evidence) = (opened.id, opened.head, opened.evidence);
        let key_before = evidence.filter(|_| pinned.is_none()).and_then(|evidence| {
            self.key_before(agent, id).filter(|before| *before != evidence.key)
        });
        Ok(Opened {
            stream: id,
            head,
            name: introduction.proposed_name.clone(),
            labels: introduction.proposed_labels.clone(),
            first_sight,
            evidence,
            key_before,
        })
    }

    /// The key of the newest stream of an agent that has one and is older than a stream.
    fn key_before(&self, agent: Uuid, stream: StreamId) -> Option<PublicKey> {
        let older = self.streams.values().filter(|other| other.agent == agent && other.id < stream);
        let keyed = older.filter_map(|other| Some((other.id, other.evidence?.key)));
        keyed.max_by_key(|(id, _)| *id).map(|(_, key)| key)
    }

    fn write(&mut self, batch: &Batch) -> Option<()> {
        let lack = self.lack;
        let stream = self.by_id(batch.stream)?;
        let fenced = stream.head.session != batch.expected.session && lack != Some(Lack::Fence);
        let moved = (stream.head.last_seq, stream.head.last_hash)
            != (batch.expected.last_seq, batch.expected.last_hash);
        if fenced || (moved && lack != Some(Lack::Compare)) {
            return None;
        }
        for new in &batch.records {
            let held = Held { seq: new.record.seq, seq_to: new.record.seq_to, hash: new.hash };
            (stream.head.last_seq, stream.head.last_hash) = (held.seq_to, held.hash);
            if new.record.kind != Kind::Gap || lack != Some(Lack::Gaps) {
                let (kind, payload) = (new.record.kind, new.record.payload.clone());
                let signature = new.record.signature.clone();
                stream.rows.push(Arc::new(Row {
                    held,
                    sealed_seq: new.sealed_seq,
                    kind,
                    payload,
                    signature,
                }));
            }
        }
        Some(())
    }
}

impl Store for MemoryStore {
    async fn open_session(
        &self,
        _: &TenantScope,
        introduction: Introduction,
    ) -> Result<Opened, OpenError> {
        let mut state = self.state();
        if state.down { Err(failed().into()) } else { state.open(&introduction) }
    }

    async fn head(&self, _: &TenantScope, stream: StreamId) -> Result<Option<Head>, StoreError> {
        let mut state = self.state();
        if state.down || std::mem::take(&mut state.blind) {
            return Err(failed());
        }
        Ok(state.by_id(stream).map(|stream| stream.head))
    }

    async fn held(
        &self,
        _: &TenantScope,
        stream: StreamId,
        sequences: Vec<u64>,
    ) -> Result<Vec<Option<Held>>, StoreError> {
        let mut state = self.state();
        if state.down {
            return Err(failed());
        }
        let blind = state.lack == Some(Lack::Chain);
        let rows = state.by_id(stream).map(|stream| stream.rows.clone()).unwrap_or_default();
        let held = |seq: u64| {
            let row = rows.iter().find(|row| (row.held.seq..=row.held.seq_to).contains(&seq))?;
            // What lies within a gap is compared with nothing.
            Some(if blind { Held { seq_to: u64::MAX, ..row.held } } else { row.held })
        };
        Ok(sequences.into_iter().map(held).collect())
    }

    async fn commit(&self, _: &TenantScope, batch: Batch) -> Outcome {
        let mut state = self.state();
        if state.down {
            return Outcome::Unknown(failed());
        }
        let doubt = state.doubt.take();
        if matches!(doubt, Some(Doubt::Undone | Doubt::Blind)) {
            state.blind = doubt == Some(Doubt::Blind);
            return Outcome::Unknown(StoreError::Unknown("it broke off".to_owned()));
        }
        match (state.write(&batch), doubt) {
            (None, _) => Outcome::Conflict,
            (Some(()), None) => Outcome::Committed,
            (Some(()), Some(_)) => Outcome::Unknown(StoreError::Unknown("it broke off".to_owned())),
        }
    }

    async fn agents(&self, _: &TenantScope) -> Result<Vec<KnownAgent>, StoreError> {
        Err(failed())
    }

    async fn stream_ends(&self, _: &TenantScope) -> Result<Vec<StreamEnd>, StoreError> {
        let state = self.state();
        let end = |stream: &Stream| StreamEnd { stream: stream.id, last_seq: stream.head.last_seq };
        Ok(state.streams.values().map(end).collect())
    }

    async fn records_between(
        &self,
        _: &TenantScope,
        _: Cursor,
        _: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        Err(failed())
    }

    async fn records_after(
        &self,
        _: &TenantScope,
        _: StreamId,
        _: u64,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        Err(failed())
    }

    async fn streams(&self, _: &TenantScope) -> Result<Vec<StreamInfo>, StoreError> {
        Err(failed())
    }

    async fn stretch(
        &self,
        _: &TenantScope,
        _: StreamId,
        _: (u64, u64),
    ) -> Result<Option<(u64, u64)>, StoreError> {
        Err(failed())
    }

    async fn sealed_from(
        &self,
        _: &TenantScope,
        _: StreamId,
        _: u64,
    ) -> Result<Vec<SealedRecord>, StoreError> {
        Err(failed())
    }

    async fn hours_after(
        &self,
        _: &TenantScope,
        _: HourCursor,
        _: u64,
    ) -> Result<Vec<StoredHour>, StoreError> {
        Err(failed())
    }

    async fn hour_due(&self, _: &TenantScope, _: u64, _: u64) -> Result<Option<u64>, StoreError> {
        Err(failed())
    }

    async fn keep_digests(
        &self,
        _: &TenantScope,
        _: u64,
        _: Vec<NewDigest>,
    ) -> Result<(), StoreError> {
        Err(failed())
    }

    async fn publish(
        &self,
        _: &TenantScope,
        _: PeriodKey,
        _: Revision,
        _: String,
    ) -> Result<bool, StoreError> {
        Err(failed())
    }

    async fn revisions(
        &self,
        _: &TenantScope,
        _: &str,
        _: Option<&str>,
    ) -> Result<Vec<(String, Revision)>, StoreError> {
        Err(failed())
    }

    async fn result(
        &self,
        _: &TenantScope,
        _: &PeriodKey,
        _: u64,
    ) -> Result<Option<String>, StoreError> {
        Err(failed())
    }

    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
