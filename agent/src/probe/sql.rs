//! SQL probes: one statement on a PostgreSQL server, in a transaction that reads only and is always rolled back.
//!
//! Phases: `resolve`, `connect`, `tls` (`SSLRequest` → handshake done) and `login` (→ `ReadyForQuery`) of a fresh
//! session; then, behind a round trip that opens the transaction and is in no phase, `first_row` (last byte of the request
//! written → first row), `fetch` (→ `CommandComplete`) and `query`, which covers both. They are stamped in `wire.rs`, under
//! the library that speaks the protocol.
//!
//! What keeps a statement harmless, in this order: the rights of its role (`role.rs`), the extended protocol, which takes
//! one statement alone, and the transaction.

mod dsn;
mod error;
mod expect;
mod kept;
mod passfile;
mod result;
mod role;
mod session;
mod source;
mod spec;
mod tls;
mod value;
mod wire;

pub(crate) use kept::Sessions;

use super::connect::connect;
use super::failure::{Failure, bounded_why};
use super::progress::{CONNECT, Progress, RESOLVE, TLS};
use super::resolver::Family;
use super::stream::Connection;
use super::tls::note_certificate;
use super::{Attempt, Environment, Sample};
use crate::policy::{Denied, Kind};
use dsn::{Login, SslMode};
use error::Trouble;
use probefleet_proto::name::InvalidReason;
use probefleet_proto::yaml::{Node, Problems};
use result::{Taken, Taking};
use role::Limits;
use serde_json::Value;
use session::{Peer, Session};
use socket2::{SockRef, TcpKeepalive};
use source::{Credentials, Source};
use spec::{Reuse, Spec};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tls::{Privacy, make_private, server_name};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use tokio_stream::StreamExt as _;
use wire::Caps;

/// Before a session, where the connection string is read: no phase, because it is not the provider's.
const PREPARE: &str = "prepare";
/// The phase from a connection that stands, private or not, to a server that is ready.
const LOGIN: &str = "login";
/// The round trip that opens the transaction: no phase, because nobody's agreement is about it.
const SET_UP: &str = "setup";
/// The phase that covers the two below.
const QUERY: &str = "query";
/// The phase from the last byte of the request to the first of the rows.
const FIRST_ROW: &str = "first_row";
/// The phase from the first byte of the rows to the word that they are complete.
const FETCH: &str = "fetch";
/// How long a kept session may be quiet before the network is asked whether it still stands: routers forget a connection
/// after some minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long a kept session may be made as new after the deadline, when the query ended just before it.
const CLEAR_AFTER: Duration = Duration::from_millis(20);

/// One statement, checked and ready to run.
#[derive(Clone, Debug)]
pub struct SqlProbe {
    spec: Arc<Spec>,
}

impl SqlProbe {
    /// Reads the block under `sql`. `None` means that problems were reported.
    pub fn build(block: &Node, problems: &mut Problems) -> Option<Self> {
        Spec::decode(block, problems).map(|spec| Self { spec: Arc::new(spec) })
    }

    /// The least that can be asked of the database at that URL. `None` means that problems were reported.
    pub fn from_url(url: &str, problems: &mut Problems) -> Option<Self> {
        Spec::of_url(url, problems).map(|spec| Self { spec: Arc::new(spec) })
    }

    /// Whether it says which file of this machine has the credentials: its own user may, a collector may not.
    #[must_use]
    pub fn names_credentials_file(&self) -> bool {
        matches!(self.spec.source, Source::File(_))
    }

    /// What is probed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        self.spec.shown()
    }

    /// The block with all defaults filled in and no secrets.
    #[must_use]
    pub fn canonical_block(&self) -> Value {
        self.spec.canonical()
    }

    /// Loads the root certificates, if the source needs some. What is wrong with it shows in the attempts.
    pub fn prepare(&self, environment: &Environment) {
        if let Ok(Credentials { trusted: Some(wanted), .. }) =
            self.spec.source.load(environment.permission())
        {
            drop(environment.trust().client(&wanted));
        }
    }

    /// Runs one attempt.
    pub async fn attempt(&self, environment: &Environment, attempt: Attempt) -> Sample {
        let deadline = attempt.deadline;
        let mut run = Run {
            spec: &self.spec,
            environment,
            deadline,
            progress: Progress::new(attempt),
            ended: None,
        };
        let result = match timeout_at(deadline, Box::pin(run.session())).await {
            Ok(Ok(session)) => run.ask(session).await,
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(run.deadline_passed().into()),
        };
        let ended = run.ended.unwrap_or_else(Instant::now);
        let result = result.map_err(|trouble| {
            for (key, text) in trouble.notes {
                run.note(key, text);
            }
            trouble.failure
        });
        run.progress.finish(ended, result.map(|()| None))
    }
}

/// An attempt under way.
struct Run<'a> {
    spec: &'a Arc<Spec>,
    environment: &'a Environment,
    deadline: Instant,
    progress: Progress,
    /// When all was known that is measured; what follows is our own housekeeping.
    ended: Option<Instant>,
}

// === a session ===

impl Run<'_> {
    /// The session that was kept, or a fresh one.
    async fn session(&mut self) -> Result<Session, Trouble> {
        if self.spec.reuse == Reuse::Kept
            && let Some(session) = self.environment.sessions().take(self.spec).await
        {
            self.note("session", "kept");
            self.note("address", session.peer.address.to_string());
            return Ok(session);
        }
        self.progress.enter(PREPARE);
        let Credentials { login, password, trusted, role_may_write } = self.credentials().await?;
        let privacy = match trusted {
            None => None,
            Some(wanted) => Some(Privacy {
                config: self.environment.tls_client(wanted).await?,
                name: server_name(&login.host, login.ssl_mode)?,
                optional: login.ssl_mode == SslMode::Prefer,
            }),
        };
        self.progress.skip_to(Instant::now());
        let address = self.resolve(&login).await?;
        self.progress.enter(CONNECT);
        let began = Instant::now();
        let stream = connect(address).await?;
        self.progress.done();
        let round_trip = began.elapsed();
        if self.spec.reuse == Reuse::Kept {
            keep_alive(&stream)?;
        }
        let connection = self.private(stream, privacy.as_ref()).await?;
        self.progress.enter(LOGIN);
        let peer = Peer { address, privacy };
        let mut session =
            Session::log_in(connection, &login, &password, (peer, round_trip)).await?;
        self.progress.done();
        session.cleared = role_may_write;
        Ok(session)
    }

    /// Reads the files that say who logs in, off the runtime's thread.
    async fn credentials(&self) -> Result<Credentials, Failure> {
        let (spec, environment) = (Arc::clone(self.spec), self.environment.clone());
        let load = move || spec.source.load(environment.permission());
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|error| {
            Err(Failure::invalid(InvalidReason::AgentError, PREPARE, error.to_string()))
        })
    }

    /// The one address that is dialled, if the policy permits it.
    async fn resolve(&mut self, login: &Login) -> Result<SocketAddr, Failure> {
        let permission = self.environment.permission();
        permission.check_host(Kind::Sql, &login.host, login.port).map_err(denied)?;
        self.progress.enter(RESOLVE);
        let address = match login.literal() {
            Some(address) => address,
            None => {
                let address = self.environment.resolver().resolve(&login.host, Family::Any).await?;
                self.progress.done();
                address
            }
        };
        // A v4-mapped address is dialled as what it is, so that the policy sees what the network will.
        let address = SocketAddr::new(address.to_canonical(), login.port);
        self.note("address", address.to_string());
        permission.check(Kind::Sql, &login.host, address).map_err(denied)?;
        Ok(address)
    }

    async fn private(
        &mut self,
        stream: TcpStream,
        privacy: Option<&Privacy>,
    ) -> Result<Connection, Failure> {
        let Some(privacy) = privacy else { return Ok(Connection::Plain(stream)) };
        self.progress.enter(TLS);
        let connection = make_private(stream, privacy).await?;
        match &connection {
            Connection::Tls(stream) => {
                self.progress.done();
                note_certificate(stream, &mut self.progress.detail);
                let version =
                    stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
                self.note("tls", version);
            }
            // The server was asked and said no: there was no handshake to time.
            Connection::Plain(_) => self.progress.skip_to(Instant::now()),
        }
        Ok(connection)
    }
}

// === what is asked ===

impl Run<'_> {
    /// Asks, judges the answer, and parts with the session.
    async fn ask(&mut self, mut session: Session) -> Result<(), Trouble> {
        if let Some(version) = session.parameter("server_version") {
            self.note("server_version", version);
        }
        let asked = timeout_at(self.deadline, Box::pin(self.talk(&mut session))).await;
        self.settle(&session);
        self.ended.get_or_insert_with(Instant::now);
        let result = asked.unwrap_or_else(|_| Err(self.deadline_passed().into()));
        self.part(session).await;
        let taken = result?;
        if let Ok(first) = &taken.first {
            self.note("first", bounded_why(first));
        }
        self.note("checksum", taken.checksum.as_str());
        Ok(self.spec.expect.check(&taken)?)
    }

    async fn talk(&mut self, session: &mut Session) -> Result<Taken, Trouble> {
        self.progress.enter(SET_UP);
        let left = self.deadline.saturating_duration_since(Instant::now());
        let text = role::set_up(Limits::new(left, session.round_trip), !session.cleared);
        let set_up = async |client: &Client| client.simple_query(&text).await;
        let answer = session.talk(Caps::OWN, SET_UP, set_up).await?;
        if !session.cleared {
            role::check(&answer)?;
            session.cleared = true;
        }
        self.progress.skip_to(Instant::now());
        self.progress.enter(QUERY);
        let expect = &self.spec.expect;
        let caps = Caps { max_rows: expect.max_rows, max_bytes: expect.max_bytes };
        let query = async |client: &Client| take(client, &self.spec.query).await;
        session.talk(caps, QUERY, query).await
    }

    /// Notes what was seen of the query on the wire.
    fn settle(&mut self, session: &Session) {
        if self.progress.phase() != QUERY {
            return;
        }
        let (written, first_row, complete) =
            session.wire.with(|seen| (seen.written, seen.first_row, seen.complete));
        let Some(written) = written else { return };
        self.progress.skip_to(written);
        if let Some(first_row) = first_row {
            self.progress.enter(FIRST_ROW);
            self.progress.done_at(first_row);
        }
        if let (Some(_), Some(complete)) = (first_row, complete) {
            self.progress.enter(FETCH);
            self.progress.done_at(complete);
        }
        self.progress.enter(QUERY);
        if let Some(complete) = complete {
            self.progress.measured(QUERY, complete.saturating_duration_since(written));
            self.ended = Some(complete);
        }
        let (rows, bytes) = session.wire.with(|seen| (seen.rows, seen.row_bytes));
        self.note("rows", rows);
        self.note("bytes", bytes);
    }

    /// Leaves nothing behind: what runs is cancelled, what is open is rolled back, what is kept is as new.
    async fn part(&self, mut session: Session) {
        if session.is_busy() {
            self.environment.tails().run(session.cancel());
        } else if self.spec.reuse == Reuse::Kept && session.cleared {
            let cleared = timeout_at(self.deadline + CLEAR_AFTER, session.clear()).await;
            if matches!(cleared, Ok(true)) {
                self.environment.sessions().keep(self.spec, session).await;
            }
        } else {
            session.farewell().await;
        }
    }

    /// What it means that the deadline has passed now.
    fn deadline_passed(&self) -> Failure {
        match self.progress.phase() {
            PREPARE => {
                let why =
                    "the connection string or the root certificates could not be read in time";
                Failure::invalid(InvalidReason::AgentOverload, PREPARE, why)
            }
            _ => self.progress.deadline_passed(),
        }
    }

    fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.progress.detail.insert(key.to_owned(), value.into());
    }
}

/// A session that waits must notice when the network has forgotten it.
fn keep_alive(stream: &TcpStream) -> Result<(), Failure> {
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive).map_err(|error| {
        Failure::invalid(InvalidReason::AgentError, "keepalive", error.to_string())
    })
}

/// One statement, by the extended protocol, which takes no second one; its result is read to the end.
async fn take(client: &Client, query: &str) -> Result<Taken, Error> {
    let no_parameters = std::iter::empty::<(i32, Type)>();
    let mut rows = pin!(client.query_typed_raw(query, no_parameters).await?);
    let mut taking = Taking::new();
    while let Some(row) = rows.next().await {
        taking.take(&row?)?;
    }
    Ok(taking.done())
}

#[expect(clippy::needless_pass_by_value, reason = "a mapping function of errors")]
fn denied(denied: Denied) -> Failure {
    Failure::invalid(InvalidReason::PolicyDenied, "target", denied.to_string())
}
