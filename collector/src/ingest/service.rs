//! The gRPC side of a session: reads an agent's messages, drives the rules, answers.

use super::listener::{ConnectionInfo, Door, Peer, incoming};
use super::session::{Greeting, Refusal, Session};
use super::{accept, open};
use crate::fleet::Fleet;
use crate::metrics::IngestMetrics;
use crate::store::{AnyStore, Opened, TenantScope};
use crate::tls::Identity;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::record::{MESSAGE_MAX_BYTES, PLAN_MESSAGE_MAX_BYTES};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_server::FleetServer;
use probefleet_proto::v1::from_agent::Message as Said;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Answer;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// How long a new session may say nothing.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long a session stands at most, so that certificates are looked at again and load can move; up to a fifth is
/// taken off, by the agent's id, so that agents that came together do not leave together.
const SESSION_MAX: Duration = Duration::from_secs(25 * 60);
/// Agents come back within so many milliseconds after a restart of the collector, spread by their id.
const RESUME_SPREAD_MS: u64 = 5_000;
/// Answers that may wait for a slow agent before its frames wait too.
const ANSWERS_MAX: usize = 8;
/// Metadata that names the agent where there is no TLS.
const AGENT_ID_METADATA: &str = "probefleet-agent-id";

/// Concurrent streams of a connection: an agent needs one, and a second while it reconnects.
const STREAMS_MAX: u32 = 8;
/// Requests of a connection that are worked on at once.
const CONCURRENCY_MAX: usize = 8;
/// Flow control window of a stream: half of the largest message.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Flow control window of a connection: the largest message.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// Metadata is an id and a few fixed headers.
const HEADER_LIST_MAX_BYTES: u32 = 8 << 10;
/// Streams that were reset before they were accepted (rapid reset).
const PENDING_RESETS_MAX: usize = 20;
/// Streams that we reset ourselves because of what came in.
const LOCAL_RESETS_MAX: usize = 128;
/// A peer that is gone without a word is noticed after interval + timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection outlives the longest session by little.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);

/// What sessions share.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Where records go.
    pub store: AnyStore,
    /// Whose agents these are.
    pub scope: TenantScope,
    /// Who they are.
    pub fleet: Arc<Fleet>,
    /// What is counted.
    pub metrics: Arc<IngestMetrics>,
    /// Turns true when the collector stops.
    pub stop: watch::Receiver<bool>,
}

/// Serves agents until the collector stops.
///
/// # Errors
/// What tonic says when it cannot serve.
pub async fn serve(
    listener: TcpListener,
    door: Door,
    ingest: Ingest,
) -> Result<(), tonic::transport::Error> {
    let stop = ingest.stop.clone();
    let service = FleetServer::new(ingest)
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(PLAN_MESSAGE_MAX_BYTES);
    tonic::transport::Server::builder()
        .accept_http1(false)
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_adaptive_window(Some(false))
        .http2_max_header_list_size(HEADER_LIST_MAX_BYTES)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_connection_age(CONNECTION_AGE_MAX)
        .max_connection_age_grace(CONNECTION_AGE_GRACE)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming(listener, door), stopped(stop))
        .await
}

/// Waits until the collector stops.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

// === impl Ingest ===

#[tonic::async_trait]
impl v1::fleet_server::Fleet for Ingest {
    type SessionStream = ReceiverStream<Result<v1::ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let who = self.who(&request).inspect_err(|status| {
            self.metrics.sessions_refused.inc();
            tracing::warn!(why = status.message(), "session refused");
        })?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let conversation = Conversation { ingest: self.clone(), who, answers };
        tokio::spawn(conversation.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Who speaks, and until when that holds.
#[derive(Clone, Copy, Debug)]
struct Who {
    agent: Uuid,
    expires_s: i64,
}

impl Ingest {
    /// The agent behind a request: from its certificate, or on the loopback from what it says.
    fn who<T>(&self, request: &Request<T>) -> Result<Who, Status> {
        let info = request.extensions().get::<ConnectionInfo>();
        match info.map(|info| &info.peer) {
            Some(Peer::Certificate(Ok(identity))) => self.of_certificate(identity),
            Some(Peer::Certificate(Err(error))) => {
                Err(Status::permission_denied(error.to_string()))
            }
            Some(Peer::Local) => {
                let id = request.metadata().get(AGENT_ID_METADATA);
                let id = id.and_then(|id| id.to_str().ok()).and_then(|id| Uuid::parse_str(id).ok());
                let agent = id.ok_or_else(|| {
                    Status::unauthenticated(format!(
                        "without TLS the metadata `{AGENT_ID_METADATA}` must name the agent's UUID"
                    ))
                })?;
                Ok(Who { agent, expires_s: i64::MAX })
            }
            None => Err(Status::internal("the connection is unknown")),
        }
    }

    fn of_certificate(&self, identity: &Identity) -> Result<Who, Status> {
        if identity.tenant != self.scope.as_str() {
            return Err(Status::permission_denied(format!(
                "the client certificate is of the tenant `{}`, this collector serves `{}`",
                identity.tenant,
                self.scope.as_str()
            )));
        }
        Ok(Who { agent: identity.agent, expires_s: identity.expires_s })
    }
}

/// One session from Hello to its end.
struct Conversation {
    ingest: Ingest,
    who: Who,
    answers: mpsc::Sender<Result<v1::ToAgent, Status>>,
}

/// The session is over.
struct Over;

/// An agent is there as long as this lives, however its session ends.
struct Presence {
    fleet: Arc<Fleet>,
    metrics: Arc<IngestMetrics>,
    agent: Uuid,
    session: u64,
}

impl Presence {
    fn of(ingest: &Ingest, agent: Uuid, session: u64) -> Self {
        ingest.metrics.sessions.inc();
        let (fleet, metrics) = (Arc::clone(&ingest.fleet), Arc::clone(&ingest.metrics));
        Self { fleet, metrics, agent, session }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.fleet.left(self.agent, self.session);
        self.metrics.sessions.dec();
    }
}

impl Conversation {
    async fn run(self, mut messages: Streaming<v1::FromAgent>) {
        let Some((mut session, presence)) = self.open(&mut messages).await else { return };
        let number = session.head().session;
        tracing::info!(agent = %self.who.agent, session = number, last_seq = session.head().last_seq, "session opened");
        self.converse(&mut session, &mut messages).await;
        drop(presence);
        tracing::info!(agent = %self.who.agent, session = number, last_seq = session.head().last_seq, "session ended");
    }

    /// Hello, Welcome, and the plan.
    async fn open(&self, messages: &mut Streaming<v1::FromAgent>) -> Option<(Session, Presence)> {
        let first = tokio::time::timeout(HELLO_DEADLINE, messages.message()).await;
        let Ok(Ok(Some(v1::FromAgent { message: Some(Said::Hello(hello)) }))) = first else {
            let status = Status::invalid_argument("the first message of a session is Hello");
            drop(self.answers.send(Err(status)).await);
            return None;
        };
        let (greeting, opened) = match self.introduce(hello).await {
            Ok(opened) => opened,
            Err(refusal) => {
                self.refuse(refusal, 0).await.err()?;
                return None;
            }
        };
        let now_ns = unix_now_ns();
        let session = Session::new(greeting.spool_id, &opened);
        let plan =
            self.ingest.fleet.introduce(self.who.agent, &opened, &greeting, now_ns / NS_PER_S);
        let presence = Presence::of(&self.ingest, self.who.agent, opened.head.session);
        self.answer(Answer::Welcome(session.welcome(self.who.agent, now_ns))).await.ok()?;
        if let Some(plan) = plan {
            tracing::info!(agent = %self.who.agent, bytes = plan.canonical_json.len(), "plan handed out");
            self.answer(Answer::Plan(plan)).await.ok()?;
        }
        Some((session, presence))
    }

    async fn introduce(&self, hello: v1::Hello) -> Result<(Greeting, Opened), Refusal> {
        let agent = self.who.agent;
        let Ingest { store, scope, .. } = &self.ingest;
        let (greeting, opened) = open(store, scope, hello, agent, unix_now_ns()).await?;
        if opened.first_sight {
            tracing::info!(%agent, name = %opened.name, labels = ?opened.labels, "a new agent");
        }
        for ignored in &greeting.ignored {
            tracing::warn!(%agent, %ignored, "a part of what the agent proposed is not used");
        }
        Ok((greeting, opened))
    }

    async fn converse(&self, session: &mut Session, messages: &mut Streaming<v1::FromAgent>) {
        let spread = spread(self.who.agent);
        let age_max = SESSION_MAX - SESSION_MAX.mul_f64(0.2 * spread);
        let end = Instant::now() + age_max;
        let stop = stopped(self.ingest.stop.clone());
        tokio::pin!(stop);
        loop {
            let message = tokio::select! {
                message = messages.message() => message,
                () = &mut stop => return self.go_away(spread).await,
                () = tokio::time::sleep_until(end) => return self.go_away(0.0).await,
                () = self.answers.closed() => return,
            };
            let said = match message {
                Ok(Some(v1::FromAgent { message: Some(said) })) => said,
                Ok(Some(_)) => continue,
                Ok(None) => return,
                Err(status) => {
                    tracing::info!(agent = %self.who.agent, %status, "session broken off");
                    return;
                }
            };
            if self.react(session, said).await.is_err() {
                return;
            }
        }
    }

    async fn react(&self, session: &mut Session, said: Said) -> Result<(), Over> {
        let (agent, now_s) = (self.who.agent, unix_now_ns() / NS_PER_S);
        match said {
            Said::Data(data) => self.take(session, &data).await,
            Said::Status(status) => {
                self.ingest.fleet.status(agent, status, now_s);
                Ok(())
            }
            Said::PlanApplied(applied) => {
                if applied.error.is_empty() {
                    tracing::info!(%agent, "plan in force");
                } else {
                    tracing::warn!(%agent, error = %applied.error, "plan refused by the agent");
                }
                self.ingest.fleet.plan_applied(agent, applied, now_s);
                Ok(())
            }
            Said::Hello(_) => {
                let status = Status::invalid_argument("Hello stands at the beginning only");
                drop(self.answers.send(Err(status)).await);
                Err(Over)
            }
        }
    }

    async fn take(&self, session: &mut Session, data: &v1::Data) -> Result<(), Over> {
        let now_ns = unix_now_ns();
        let now_s = now_ns / NS_PER_S;
        if i64::try_from(now_s).is_ok_and(|now_s| now_s > self.who.expires_s) {
            let refusal = Refusal::new(Code::Revoked, "the client certificate has expired");
            return self.refuse(refusal, session.head().last_seq).await;
        }
        let Ingest { store, scope, fleet, metrics, .. } = &self.ingest;
        let accepted = accept(store, scope, session, data, now_ns).await;
        metrics.count(&accepted);
        if accepted.records > 0 {
            fleet.reported(self.who.agent, accepted.newest.as_ref(), now_s);
        }
        if let Some(refusal) = &accepted.refused {
            self.tell(refusal);
        }
        let (answers, over) = accepted.answers(session, unix_now_ns());
        for answer in answers {
            self.answer(answer).await?;
        }
        if over { Err(Over) } else { Ok(()) }
    }

    /// Says why not; the session goes on if the agent can do something about it within it.
    async fn refuse(&self, refusal: Refusal, last_seq: u64) -> Result<(), Over> {
        self.tell(&refusal);
        let over = refusal.ends_session();
        self.answer(Answer::Nack(refusal.into_nack(last_seq.saturating_add(1)))).await?;
        if over { Err(Over) } else { Ok(()) }
    }

    /// Counts and logs a refusal.
    fn tell(&self, refusal: &Refusal) {
        self.ingest.metrics.count_refusal(refusal.code, &refusal.text);
        tracing::warn!(agent = %self.who.agent, code = refusal.code.as_str_name(), why = %refusal.text, "refused");
    }

    async fn go_away(&self, spread: f64) {
        let resume_in = Duration::from_millis(RESUME_SPREAD_MS).mul_f64(spread);
        let resume_in_ms = u32::try_from(resume_in.as_millis()).unwrap_or(u32::MAX);
        drop(self.answer(Answer::GoAway(v1::GoAway { resume_in_ms })).await);
    }

    async fn answer(&self, answer: Answer) -> Result<(), Over> {
        let message = v1::ToAgent { message: Some(answer) };
        self.answers.send(Ok(message)).await.map_err(|_| Over)
    }
}

/// A number in [0, 1) that is an agent's own.
fn spread(agent: Uuid) -> f64 {
    let [.., a, b] = *agent.as_bytes();
    f64::from(u16::from_be_bytes([a, b])) / 65_536.0
}
