//! What model and simulator share round the real cores: a collector's process, the reports that agents make, and what is
//! asked of the store in the end.

use crate::store::MemoryStore;
use probefleet_agent::simulation::{EvidenceKey, Limits, UplinkConfig, limits};
use probefleet_collector::ingest::session::{Cause, Refusal, Session};
use probefleet_collector::ingest::{accept, open};
use probefleet_collector::store::TenantScope;
use probefleet_proto::record::{Kind, SpoolId};
use probefleet_proto::report::{self, Cell, Head};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use uuid::Uuid;

/// Attempts of each window.
pub const ATTEMPTS: u32 = 10;
/// Width of a window, s.
pub const WINDOW_S: u64 = 60;
/// The probe that every agent has.
pub const PROBE: &str = "web";

/// The outcome of what waits for nothing.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("a store that answers at once was waited for"),
    }
}

/// The report of a window, of at least so many bytes.
pub fn report(window: u64, padding: usize) -> Vec<u8> {
    let cell = Cell {
        probe: PROBE.to_owned(),
        spec: [1; 16],
        interval_s: 6,
        scheduled: ATTEMPTS,
        ok: ATTEMPTS,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    let window_s = u32::try_from(WINDOW_S).expect("small");
    let plan_hash = vec![7; padding];
    let head = Head { window_start_s: window * WINDOW_S, window_s, plan_hash, ..Head::default() };
    report::encode(&head, &[cell]).remove(0)
}

/// The window of a report.
pub fn window_of(payload: &[u8]) -> Option<u64> {
    v1::Report::decode(payload).ok().map(|report| report.window_start_s / WINDOW_S)
}

/// Who an agent is.
pub fn config(agent: Uuid, boot: u64) -> UplinkConfig {
    let mut boot_id = *agent.as_bytes();
    boot_id[..8].copy_from_slice(&boot.to_be_bytes());
    UplinkConfig {
        collector: String::new(),
        tls: None,
        agent_id: agent,
        boot_id,
        name: format!("agent-{}", agent.as_u128() & 0xffff),
        labels: BTreeMap::new(),
        version: String::new(),
        evidence_key: key_of(agent).public(),
    }
}

/// The evidence key of an agent, the same in every life of it.
pub fn key_of(agent: Uuid) -> Arc<EvidenceKey> {
    evidence_key(u8::try_from(agent.as_u128() & 0xff).expect("a byte"))
}

/// The evidence key of a number.
pub fn evidence_key(number: u8) -> Arc<EvidenceKey> {
    let key = probefleet_agent::simulation::evidence_key(&[number; 32]);
    Arc::new(key.expect("a seed of 32 bytes"))
}

/// A spool of so many segments.
pub const fn spool(segments: u64, segment_bytes: u64) -> Limits {
    limits(segments * segment_bytes, segment_bytes)
}

/// A collector's process: its conversations are gone when it ends, its store is not.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    pub store: MemoryStore,
    pub conversations: BTreeMap<u64, Session>,
    /// Frames that were refused as forks, by spool.
    pub forks: BTreeMap<SpoolId, u64>,
    /// Windows of which no report is ever accepted.
    pub poison: BTreeSet<u64>,
    /// How often one was refused.
    pub poisoned: u64,
}

impl Collector {
    /// Takes a message of a connection and answers; `true`: the session is over.
    pub fn hear(
        &mut self,
        connection: u64,
        agent: Uuid,
        said: Up,
        now_ns: u64,
    ) -> (Vec<Down>, bool) {
        match said {
            Up::Hello(hello) => self.greet(connection, agent, hello, now_ns),
            Up::Data(data) => self.take(connection, &data, now_ns),
            Up::Status(_) | Up::PlanApplied(_) => (Vec::new(), false),
        }
    }

    fn greet(
        &mut self,
        connection: u64,
        agent: Uuid,
        hello: v1::Hello,
        now_ns: u64,
    ) -> (Vec<Down>, bool) {
        let opened =
            at_once(open(&self.store, &TenantScope::default(), hello, (agent, true), now_ns));
        match opened {
            Ok((greeting, opened)) => {
                let session = Session::new(greeting.spool_id, &opened);
                let welcome = session.welcome(agent, now_ns);
                self.conversations.insert(connection, session);
                (vec![Down::Welcome(welcome)], false)
            }
            Err(refusal) => (vec![Down::Nack(refusal.into_nack(1))], true),
        }
    }

    fn take(&mut self, connection: u64, data: &v1::Data, now_ns: u64) -> (Vec<Down>, bool) {
        if let Some(answers) = self.take_up_to_poison(connection, data, now_ns) {
            return (answers, false);
        }
        let Some(session) = self.conversations.get_mut(&connection) else {
            return (Vec::new(), true);
        };
        let accepted = at_once(accept(&self.store, &TenantScope::default(), session, data, now_ns));
        let forked =
            accepted.refused.as_ref().is_some_and(|refusal| refusal.code == v1::nack::Code::Fork);
        let (answers, over) = accepted.answers(session, now_ns);
        if forked {
            *self.forks.entry(session.spool_id()).or_default() += 1;
        }
        if over {
            self.conversations.remove(&connection);
        }
        (answers, over)
    }

    /// Takes a frame up to the first record that is never accepted, as the real one does with what it cannot read. None
    /// where that has no part in the answer.
    fn take_up_to_poison(
        &mut self,
        connection: u64,
        data: &v1::Data,
        now_ns: u64,
    ) -> Option<Vec<Down>> {
        let session = self.conversations.get_mut(&connection)?;
        let is_poison = |record: &v1::Record| {
            let is_report = record.kind == v1::Kind::Report as i32;
            let window = window_of(&record.payload).filter(|_| is_report);
            record.seq > session.head().last_seq
                && window.is_some_and(|window| self.poison.contains(&window))
        };
        let place = data.records.iter().position(is_poison)?;
        let seq = data.records[place].seq;
        let before = v1::Data { session: data.session, records: data.records[..place].to_vec() };
        let scope = TenantScope::default();
        let accepted = at_once(accept(&self.store, &scope, session, &before, now_ns));
        if accepted.refused.is_some() || session.head().last_seq + 1 != seq {
            return None; // all of it is looked at again, and what was taken is held already
        }
        self.poisoned += 1;
        let code = v1::nack::Code::Poison;
        let (text, cause) = ("poison".to_owned(), Cause::Agent);
        let refusal = Refusal { code, text, retry_after_ms: 0, cause };
        let nack = session.nack(refusal);
        Some(accepted.answers(session, now_ns).0.into_iter().chain([Down::Nack(nack)]).collect())
    }
}

/// What the store holds of the windows that were promised.
#[derive(Debug, Default)]
pub struct Accounts {
    /// How often each window is counted.
    pub counted: BTreeMap<u64, u32>,
    /// Sequences that gaps stand for as they were sealed, by spool, with the attempts that each gap says were scheduled, if it knows.
    pub gaps: Vec<(SpoolId, (u64, u64), Option<u64>)>,
    /// What events say happened.
    pub events: Vec<String>,
}

/// Reads a store as an auditor would.
pub fn audit(store: &MemoryStore) -> Accounts {
    let mut accounts = Accounts::default();
    for (spool_id, stream) in store.streams() {
        for row in &stream.rows {
            match row.kind {
                Kind::Report => {
                    let window = window_of(&row.payload).expect("a report");
                    *accounts.counted.entry(window).or_default() += 1;
                }
                Kind::Gap => {
                    let gap = v1::Gap::decode(row.payload.as_slice()).expect("a gap");
                    let known = !gap.probes.is_empty();
                    let scheduled = gap.probes.iter().map(|probe| probe.scheduled).sum();
                    accounts.gaps.push((
                        spool_id,
                        (row.sealed_seq, row.held.seq_to),
                        known.then_some(scheduled),
                    ));
                }
                Kind::Event => {
                    accounts
                        .events
                        .push(v1::Event::decode(row.payload.as_slice()).expect("an event").what);
                }
            }
        }
    }
    accounts
}
