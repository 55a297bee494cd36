//! What the collector counts of itself. What it knows of agreements and agents is rendered by [`crate::portal`].

use crate::ingest::Accepted;
use crate::ingest::session::{Cause, Refusal};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An agent whose records are refused comes again after five seconds: three times that is silence.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15);

/// Counters of the way from agents to the store.
#[derive(Debug, Default)]
pub struct IngestMetrics {
    /// Sessions that stand.
    pub sessions: Gauge,
    /// Sessions that were refused before Hello.
    pub sessions_refused: Counter,
    /// Connections that wait for their handshake.
    pub connections_waiting: Gauge,
    /// Handshakes under way.
    pub handshakes: Gauge,
    /// Payload bytes that an agent may have unacknowledged.
    pub credit_bytes: Gauge,
    connections_refused: Family<ReasonLabels, Counter>,
    records: Counter,
    payload_bytes: Counter,
    duplicates: Counter,
    refusals: Family<RefusalLabels, Counter>,
    streams_refused: Counter,
    /// Streams that begin with another evidence key than their agent's stream before.
    pub key_changes: Counter,
    refusing: Mutex<Option<Refusing>>,
}

/// The store does not take records.
#[derive(Clone, Debug)]
struct Refusing {
    why: String,
    since: Instant,
    last: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl IngestMetrics {
    /// Counts a connection that was closed before it was a session's.
    pub fn refuse_connection(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a frame.
    pub fn count(&self, accepted: &Accepted) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.records.inc_by(number(accepted.records));
        self.payload_bytes.inc_by(number(accepted.bytes));
        self.duplicates.inc_by(number(accepted.duplicates));
        if accepted.records > 0 {
            *self.lock() = None;
        }
    }

    /// Why records are refused, and since when; none when the last ones were taken, or nobody has tried for a while.
    #[must_use]
    pub fn refusing(&self) -> Option<(String, Instant)> {
        let refusing = self.lock();
        let recent = refusing.as_ref().filter(|refusing| refusing.last.elapsed() < FORGOTTEN_AFTER);
        recent.map(|refusing| (refusing.why.clone(), refusing.since))
    }

    /// A panic elsewhere leaves at worst an old word on the store.
    fn lock(&self) -> MutexGuard<'_, Option<Refusing>> {
        self.refusing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a refusal; one that is of the store stands until something is taken.
    pub fn count_refusal(&self, refusal: &Refusal) {
        if refusal.cause == Cause::Store {
            let (mut refusing, now) = (self.lock(), Instant::now());
            let since = refusing.as_ref().map_or(now, |refusing| refusing.since);
            *refusing = Some(Refusing { why: refusal.text.clone(), since, last: now });
        }
        if refusal.cause == Cause::NewSpool {
            self.streams_refused.inc();
        }
        let code = refusal.code.as_str_name().to_ascii_lowercase();
        self.refusals.get_or_create(&RefusalLabels { code }).inc();
    }

    /// Makes the counters visible under their names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "probefleet_sessions",
            "Sessions of agents that stand now",
            self.sessions.clone(),
        );
        registry.register(
            "probefleet_sessions_refused",
            "Sessions refused because of who asked",
            self.sessions_refused.clone(),
        );
        registry.register(
            "probefleet_connections_waiting",
            "Connections that wait for their handshake to begin",
            self.connections_waiting.clone(),
        );
        registry.register(
            "probefleet_handshakes",
            "TLS handshakes under way",
            self.handshakes.clone(),
        );
        registry.register(
            "probefleet_connections_refused",
            "Connections closed before their handshake ended, by why",
            self.connections_refused.clone(),
        );
        registry.register(
            "probefleet_ingest_credit_bytes",
            "Payload bytes that an agent may have unacknowledged; less while commits are slow, 0 before the first",
            self.credit_bytes.clone(),
        );
        registry.register("probefleet_ingest_records", "Records committed", self.records.clone());
        registry.register(
            "probefleet_ingest_payload_bytes",
            "Payload bytes committed",
            self.payload_bytes.clone(),
        );
        registry.register(
            "probefleet_ingest_duplicates",
            "Records that came again and were acknowledged again",
            self.duplicates.clone(),
        );
        registry.register(
            "probefleet_ingest_nacks",
            "Frames refused, by code",
            self.refusals.clone(),
        );
        registry.register(
            "probefleet_ingest_streams_refused",
            "Sessions refused because their agent had come with many new spools",
            self.streams_refused.clone(),
        );
        registry.register(
            "probefleet_ingest_evidence_key_changes",
            "Streams that began with another evidence key than their agent's stream before",
            self.key_changes.clone(),
        );
    }
}
