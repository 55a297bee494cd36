//! The gRPC side of a session: reads an agent's messages, drives the rules, answers.

use super::admission::reconnect_within;
use super::budget::Budget;
use super::listener::{ConnectionInfo, Door, Peer, incoming, rate_per_s};
use super::newcomers::Newcomers;
use super::pace::{Pace, Ticket};
use super::session::{BUSY_RETRY_MS, Cause, Greeting, Refusal, Session};
use super::sparing::Sparing;
use super::{accept, open};
use crate::fleet::Fleet;
use crate::metrics::IngestMetrics;
use crate::store::{AnyStore, Opened, Store, TenantScope};
use crate::text::bounded;
use crate::tls::Identity;
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::record::{MESSAGE_MAX_BYTES, PLAN_MESSAGE_MAX_BYTES};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_server::FleetServer;
use probefleet_proto::v1::from_agent::Message as Said;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Answer;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// How long a new session may say nothing.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// How long a session stands at most, so that certificates are looked at again and load can move; up to a fifth is
/// taken off, by the agent's id, so that agents that came together do not leave together.
const SESSION_MAX: Duration = Duration::from_secs(25 * 60);
/// Agents that are sent away at a restart come back within so long at least, spread by their id: about what it takes. A large
/// fleet is given the time in which it is admitted.
const RESUME_WITHIN_MIN: Duration = Duration::from_secs(5);
/// A status is looked at so often; agents send one in five seconds.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Plans that are in force or refused, of a session: it is handed one, and may have been handed others before.
const PLANS_APPLIED_MAX: usize = 16;
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
/// A peer that is gone without a word is noticed after interval + timeout: within half a minute, whatever else the machine does.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection outlives the longest session by little.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(30 * 60);
const CONNECTION_AGE_GRACE: Duration = Duration::from_secs(30);

/// A store that sessions share.
pub trait Shared: Store + Clone + fmt::Debug + Send + Sync + 'static {}

impl<S: Store + Clone + fmt::Debug + Send + Sync + 'static> Shared for S {}

/// What sessions share.
#[derive(Clone, Debug)]
pub struct Ingest<S = AnyStore> {
    /// Where records go.
    pub store: S,
    /// Whose agents these are.
    pub scope: TenantScope,
    /// Who they are.
    pub fleet: Arc<Fleet>,
    /// What is counted.
    pub metrics: Arc<IngestMetrics>,
    /// How much may be under way.
    pub pace: Arc<Mutex<Pace>>,
    /// Who may begin a stream.
    pub newcomers: Arc<Mutex<Newcomers>>,
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
    let connections = incoming(listener, door, Arc::clone(&ingest.metrics));
    serve_on(connections, ingest).await
}

/// Likewise on connections that somebody else accepts.
///
/// # Errors
/// What tonic says when it cannot serve.
pub async fn serve_on<S: Shared, C>(
    connections: impl Stream<Item = io::Result<C>>,
    ingest: Ingest<S>,
) -> Result<(), tonic::transport::Error>
where
    C: AsyncRead + AsyncWrite + Connected<ConnectInfo = ConnectionInfo> + Unpin + Send + 'static,
{
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
        .serve_with_incoming_shutdown(connections, stopped(stop))
        .await
}

/// Waits until the collector stops.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    drop(stop.wait_for(|stop| *stop).await);
}

// === impl Ingest ===

#[tonic::async_trait]
impl<S: Shared> v1::fleet_server::Fleet for Ingest<S> {
    type SessionStream = ReceiverStream<Result<v1::ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let who = self.who(&request).inspect_err(|status| {
            self.metrics.sessions_refused.inc();
            tracing::warn!(why = %bounded(status.message()), "session refused");
        })?;
        let info = request.extensions().get::<ConnectionInfo>();
        let budget = info.map(|info| info.budget.clone()).unwrap_or_default();
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let log = Sparing::default();
        let conversation = Conversation { ingest: self.clone(), who, budget, log, answers };
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

impl<S: Shared> Ingest<S> {
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

    /// Another session's panic leaves at worst a count that is off by one.
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Likewise.
    fn newcomers(&self) -> MutexGuard<'_, Newcomers> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Within what time the fleet is to come back.
    fn reconnect_within(&self) -> Duration {
        reconnect_within(self.fleet.size(), rate_per_s())
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
struct Conversation<S> {
    ingest: Ingest<S>,
    who: Who,
    /// Of the connection.
    budget: Budget,
    /// Of what is refused; all of it is counted.
    log: Sparing,
    answers: mpsc::Sender<Result<v1::ToAgent, Status>>,
}

/// The session is over.
struct Over;

/// A commit under way, until this is dropped.
struct Commit<'a, S: Shared> {
    ingest: &'a Ingest<S>,
    ticket: Ticket,
}

impl<'a, S: Shared> Commit<'a, S> {
    fn begin(ingest: &'a Ingest<S>) -> Self {
        Self { ingest, ticket: ingest.pace().begin(Instant::now()) }
    }
}

impl<S: Shared> Drop for Commit<'_, S> {
    fn drop(&mut self) {
        let credit_bytes = {
            let mut pace = self.ingest.pace();
            pace.end(self.ticket, Instant::now());
            pace.credit_bytes()
        };
        self.ingest.metrics.credit_bytes.set(i64::from(credit_bytes));
    }
}

/// An agent is there as long as this lives, however its session ends.
struct Presence {
    fleet: Arc<Fleet>,
    metrics: Arc<IngestMetrics>,
    agent: Uuid,
    session: u64,
}

impl Presence {
    fn of<S: Shared>(ingest: &Ingest<S>, agent: Uuid, session: u64) -> Self {
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

impl<S: Shared> Conversation<S> {
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
        let within = self.ingest.reconnect_within();
        let reconnect_within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        let welcome = session.welcome(self.who.agent, now_ns);
        let welcome = v1::Welcome { reconnect_within_ms, ..welcome };
        self.answer(Answer::Welcome(welcome)).await.ok()?;
        if let Some(plan) = plan {
            tracing::info!(agent = %self.who.agent, bytes = plan.canonical_json.len(), "plan handed out");
            self.answer(Answer::Plan(plan)).await.ok()?;
        }
        Some((session, presence))
    }

    async fn introduce(&self, hello: v1::Hello) -> Result<(Greeting, Opened), Refusal> {
        let agent = self.who.agent;
        let Ingest { store, scope, metrics, .. } = &self.ingest;
        self.check_store()?;
        let _commit = Commit::begin(&self.ingest);
        // Whoever has no token may still come with a spool that is known.
        let may_begin = self.ingest.newcomers().take(agent, Instant::now());
        let opened = open(store, scope, hello, (agent, may_begin), unix_now_ns()).await;
        let begins = opened.as_ref().is_ok_and(|(_, opened)| opened.head.session == 1);
        if may_begin && !begins {
            self.ingest.newcomers().give_back(agent);
        }
        let (greeting, opened) = opened.map_err(|refusal| self.when_to_begin(refusal))?;
        if opened.first_sight {
            let key = opened.evidence.map(|evidence| evidence.key);
            tracing::info!(%agent, name = %opened.name, labels = ?opened.labels, evidence_key = ?key, "a new agent");
        }
        if let (Some(evidence), Some(before)) = (opened.evidence, opened.key_before) {
            metrics.key_changes.inc();
            tracing::warn!(%agent, name = %opened.name, key = %evidence.key, %before,
                "the agent signs with another key than its stream before: a new state directory, or another machine with its certificate");
        }
        if !greeting.ignored.is_empty() {
            let ignored = bounded(&greeting.ignored.join(", "));
            tracing::warn!(%agent, %ignored, "a part of what the agent proposed is not used");
        }
        Ok((greeting, opened))
    }

    /// Says in a refusal of a new spool when the agent may come with one, and once an episode in the log.
    fn when_to_begin(&self, mut refusal: Refusal) -> Refusal {
        if refusal.cause != Cause::NewSpool {
            return refusal;
        }
        let told = self.ingest.newcomers().refuse(self.who.agent, Instant::now());
        let retry_after_ms = u32::try_from(told.retry_after.as_millis()).unwrap_or(u32::MAX);
        refusal.retry_after_ms = retry_after_ms.max(BUSY_RETRY_MS);
        if told.is_first {
            tracing::warn!(agent = %self.who.agent, retry_after_ms, why = %refusal.text, "no new stream for now");
        }
        refusal
    }

    async fn converse(&self, session: &mut Session, messages: &mut Streaming<v1::FromAgent>) {
        let spread = spread(self.who.agent);
        let age_max = SESSION_MAX - SESSION_MAX.mul_f64(0.2 * spread);
        let end = Instant::now() + age_max;
        let stop = stopped(self.ingest.stop.clone());
        tokio::pin!(stop);
        let (mut not_before, mut status_from, mut plans_applied) = (None, Instant::now(), 0);
        loop {
            let message = tokio::select! {
                message = messages.message(), if not_before.is_none() => message,
                () = tokio::time::sleep_until(not_before.unwrap_or(end)), if not_before.is_some() => {
                    not_before = None;
                    continue;
                }
                () = &mut stop => return self.go_away(spread).await,
                () = tokio::time::sleep_until(end) => return self.go_away(0.0).await,
                () = self.answers.closed() => return,
            };
            let said = match message {
                Ok(Some(v1::FromAgent { message: Some(said) })) => said,
                Ok(Some(_)) => continue,
                Ok(None) => return,
                Err(status) => {
                    // It may quote what the other side said last.
                    let why = bounded(&status.to_string());
                    tracing::info!(agent = %self.who.agent, %why, "session broken off");
                    return;
                }
            };
            // What comes more often than that says nothing new, and is neither acted on nor paid for.
            match &said {
                Said::Status(_) if Instant::now() < status_from => continue,
                Said::Status(_) => status_from = Instant::now() + STATUS_EVERY,
                Said::PlanApplied(_) if plans_applied >= PLANS_APPLIED_MAX => continue,
                Said::PlanApplied(_) => plans_applied += 1,
                Said::Data(_) | Said::Hello(_) => {}
            }
            self.budget.earn(said.encoded_len());
            match self.react(session, said).await {
                Ok(resume) => not_before = resume,
                Err(Over) => return,
            }
        }
    }

    /// Acts on what the agent said. Gives when to listen again, if others are to have their turn first.
    async fn react(&self, session: &mut Session, said: Said) -> Result<Option<Instant>, Over> {
        let (agent, now_s) = (self.who.agent, unix_now_ns() / NS_PER_S);
        match said {
            Said::Data(data) => self.take(session, &data).await,
            Said::Status(status) => {
                self.ingest.fleet.status(agent, status, now_s);
                Ok(None)
            }
            Said::PlanApplied(applied) => {
                if applied.error.is_empty() {
                    tracing::info!(%agent, "plan in force");
                } else {
                    tracing::warn!(%agent, error = %bounded(&applied.error), "plan refused by the agent");
                }
                self.ingest.fleet.plan_applied(agent, applied, now_s);
                Ok(None)
            }
            Said::Hello(_) => {
                let status = Status::invalid_argument("Hello stands at the beginning only");
                drop(self.answers.send(Err(status)).await);
                Err(Over)
            }
        }
    }

    /// The store is not stuck; if it is, when to come again, at another instant for each agent.
    fn check_store(&self) -> Result<(), Refusal> {
        if !self.ingest.pace().is_stuck(Instant::now()) {
            return Ok(());
        }
        let mut refusal =
            Refusal::busy("the store does not answer; the records are safe in the spool");
        let retry = Duration::from_millis(u64::from(BUSY_RETRY_MS));
        let retry = retry.mul_f64(1.0 + spread(self.who.agent));
        refusal.retry_after_ms = u32::try_from(retry.as_millis()).unwrap_or(BUSY_RETRY_MS);
        Err(refusal)
    }

    async fn take(&self, session: &mut Session, data: &v1::Data) -> Result<Option<Instant>, Over> {
        let now_ns = unix_now_ns();
        let now_s = now_ns / NS_PER_S;
        if i64::try_from(now_s).is_ok_and(|now_s| now_s > self.who.expires_s) {
            let refusal = Refusal::new(Code::Revoked, "the client certificate has expired");
            return self.refuse(refusal, session.head().last_seq).await;
        }
        if let Err(refusal) = self.check_store() {
            return self.refuse(refusal, session.head().last_seq).await;
        }
        let Ingest { store, scope, fleet, metrics, .. } = &self.ingest;
        let commit = Commit::begin(&self.ingest);
        let accepted = accept(store, scope, session, data, now_ns).await;
        drop(commit);
        // Records that are held already, or that are refused, have cost something, too.
        let cost = (data.records.len(), accepted.bytes);
        let resume = self.ingest.pace().took(self.who.agent, cost, Instant::now());
        metrics.count(&accepted);
        if accepted.records > 0 {
            let reports = (accepted.newest.as_ref(), accepted.suspects);
            fleet.reported(self.who.agent, reports, now_s);
        }
        if let Some(refusal) = &accepted.refused {
            self.tell(refusal);
        }
        let (answers, over) = accepted.answers(session, unix_now_ns());
        for answer in answers {
            self.answer(answer).await?;
        }
        if over { Err(Over) } else { Ok(resume) }
    }

    /// Says why not; the session goes on if the agent can do something about it within it.
    async fn refuse(&self, refusal: Refusal, last_seq: u64) -> Result<Option<Instant>, Over> {
        self.tell(&refusal);
        let over = refusal.ends_session();
        self.answer(Answer::Nack(refusal.into_nack(last_seq.saturating_add(1)))).await?;
        if over { Err(Over) } else { Ok(None) }
    }

    /// Counts and logs a refusal. Of new spools there is a line already.
    fn tell(&self, refusal: &Refusal) {
        self.ingest.metrics.count_refusal(refusal);
        if refusal.cause == Cause::NewSpool {
            return;
        }
        if let Some(others) = self.log.line(Instant::now()) {
            tracing::warn!(agent = %self.who.agent, code = refusal.code.as_str_name(), why = %bounded(&refusal.text), others, "refused");
        }
    }

    async fn go_away(&self, spread: f64) {
        let within = self.ingest.reconnect_within().max(RESUME_WITHIN_MIN);
        let resume_in = within.mul_f64(spread);
        let resume_in_ms = u32::try_from(resume_in.as_millis()).unwrap_or(u32::MAX);
        drop(self.answer(Answer::GoAway(v1::GoAway { resume_in_ms })).await);
    }

    async fn answer(&self, mut answer: Answer) -> Result<(), Over> {
        let credit_bytes = self.ingest.pace().credit_bytes();
        match &mut answer {
            Answer::Welcome(welcome) => welcome.credit_bytes = credit_bytes,
            Answer::Ack(ack) => ack.credit_bytes = credit_bytes,
            Answer::Nack(_) | Answer::Plan(_) | Answer::GoAway(_) => {}
        }
        let message = v1::ToAgent { message: Some(answer) };
        self.answers.send(Ok(message)).await.map_err(|_| Over)
    }
}

/// A number in [0, 1) that is an agent's own.
fn spread(agent: Uuid) -> f64 {
    let [.., a, b] = *agent.as_bytes();
    f64::from(u16::from_be_bytes([a, b])) / 65_536.0
}
