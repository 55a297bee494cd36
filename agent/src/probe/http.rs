//! HTTP probes: one request, its redirects, and what the answer must be.
//!
//! Phases: `redirect` (all earlier hops), then of the last hop `resolve`, `connect`, `tls`, `wait` (last byte of the
//! request written → first byte of the answer read, stamped in `stamped.rs` under hyper) and `receive`. They add up to
//! `total`, but for the microseconds in which a request is handed to the socket. Every hop has a connection of its own,
//! and its address passes the policy before it is dialled.

mod exchange;
mod expect;
mod redirect;
mod spec;
mod stamped;

use super::connect::connect;
use super::failure::{Failure, denied};
use super::progress::{CONNECT, Progress, RESOLVE, TLS};
use super::stream::Connection;
use super::tls::{handshake, note_certificate};
use super::{Attempt, Environment, Sample};
use crate::policy::{Denied, Kind};
use exchange::{Outgoing, RECEIVE, Trouble, WAIT, exchange, read_body};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, HeaderMap, PROXY_AUTHORIZATION};
use hyper::{Response, StatusCode};
use probefleet_proto::name::{FailureClass, InvalidReason};
use probefleet_proto::yaml::{Node, Problems};
use redirect::Hop;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use spec::Spec;
use stamped::Stamps;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

/// The phase that holds all hops but the last.
const REDIRECT: &str = "redirect";
/// Before the connection, where root certificates are not loaded yet: no phase, because it is not the provider's.
const PREPARE: &str = "prepare";
/// After the answer: no phase, because it is not the provider's.
const JUDGE: &str = "judge";
/// Largest body that is searched on the spot, in bytes: some microseconds.
const JUDGED_AT_ONCE_MAX_BYTES: usize = 16 << 10;

/// One HTTP request, checked and ready to run.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    spec: Arc<Spec>,
}

/// How the last hop's answer was taken.
enum Answer {
    /// As expected.
    Ok(StatusCode),
    /// It points elsewhere.
    Next(Box<Hop>),
}

impl HttpProbe {
    /// Reads the block under `http`. `None` means that problems were reported.
    pub fn build(block: &Node, problems: &mut Problems) -> Option<Self> {
        Spec::decode(block, problems).map(|spec| Self { spec: Arc::new(spec) })
    }

    /// A GET of that URL, with all defaults. `None` means that problems were reported.
    pub fn from_url(url: &str, problems: &mut Problems) -> Option<Self> {
        Self::build(&Node::from_json(&json!({"url": url})), problems)
    }

    /// What is probed, for people.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{} {}", self.spec.method, self.spec.url)
    }

    /// The block with all defaults filled in and no secrets.
    #[must_use]
    pub fn canonical_block(&self) -> Value {
        self.spec.canonical()
    }

    /// Loads the root certificates, if the probe may need them. A file that cannot be read shows in the attempts.
    pub fn prepare(&self, environment: &Environment) {
        if self.spec.url.scheme() == "https" || self.spec.redirects > 0 {
            drop(environment.trust().client(&self.spec.trusted()));
        }
    }

    /// Runs one attempt.
    pub async fn attempt(&self, environment: &Environment, attempt: Attempt) -> Sample {
        let mut run = Run {
            spec: &self.spec,
            environment,
            progress: Progress::new(attempt),
            stamps: Stamps::default(),
            received: None,
        };
        let ended = timeout_at(attempt.deadline, Box::pin(run.hops())).await;
        let result = ended.unwrap_or_else(|_| {
            run.settle_wait();
            Err(run.deadline_passed())
        });
        let at = run.received.unwrap_or_else(Instant::now);
        run.progress.finish(at, result.map(|status| Some(status.as_str().to_owned().into())))
    }
}

/// An attempt under way.
struct Run<'a> {
    spec: &'a Arc<Spec>,
    environment: &'a Environment,
    progress: Progress,
    stamps: Stamps,
    /// When the last byte of the last answer was read: there the attempt ends, whatever is found in the answer.
    received: Option<Instant>,
}

impl Run<'_> {
    /// Asks, and asks again where the answer points, as often as the probe permits.
    async fn hops(&mut self) -> Result<StatusCode, Failure> {
        let mut hop = Hop {
            url: self.spec.url.clone(),
            method: self.spec.method.clone(),
            headers: self.spec.headers.clone(),
            with_body: true,
        };
        let mut followed = 0;
        loop {
            match self.hop(&hop, followed < self.spec.redirects).await? {
                Answer::Ok(status) => return Ok(status),
                Answer::Next(next) => hop = *next,
            }
            followed += 1;
            self.progress.fold_into(REDIRECT);
            // What was noted of an earlier hop must not pass for the last one's.
            self.progress.detail.clear();
            self.note("hops", followed);
            self.note("url", hop.url.as_str());
        }
    }

    async fn hop(&mut self, hop: &Hop, may_follow: bool) -> Result<Answer, Failure> {
        self.stamps = Stamps::default();
        let address = self.resolve(&hop.url).await?;
        let connection = self.connect(&hop.url, address).await?;
        self.progress.enter(WAIT);
        let outgoing = Outgoing {
            url: &hop.url,
            method: &hop.method,
            headers: &hop.headers,
            body: self.spec.body.as_deref().filter(|_| hop.with_body),
        };
        let stamps = self.stamps.clone();
        let judge = async |response| self.judge(hop, may_follow, response).await;
        let answer = exchange(connection, &stamps, &outgoing, judge).await;
        if answer.is_err() {
            self.settle_wait();
        }
        answer
    }

    /// The one address that is dialled, if the policy permits it.
    async fn resolve(&mut self, url: &Url) -> Result<SocketAddr, Failure> {
        let permission = self.environment.permission();
        let port = url.port_or_known_default().unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        permission.check_host(Kind::Http, host, port).map_err(denied)?;
        self.progress.enter(RESOLVE);
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => {
                let address = self.environment.resolver().resolve(name, self.spec.family).await?;
                self.progress.done();
                address
            }
            None => return Err(denied(Denied::NotListed("a URL without a host".to_owned()))),
        };
        // A v4-mapped address is dialled as what it is, so that the policy sees what the network will.
        let address = SocketAddr::new(address.to_canonical(), port);
        self.note("address", address.to_string());
        permission.check(Kind::Http, host, address).map_err(denied)?;
        Ok(address)
    }

    async fn connect(&mut self, url: &Url, address: SocketAddr) -> Result<Connection, Failure> {
        let config = match url.scheme() {
            "https" => {
                self.progress.enter(PREPARE);
                Some(self.environment.tls_client(self.spec.trusted()).await?)
            }
            _ => None,
        };
        self.progress.enter(CONNECT);
        let stream = connect(address).await?;
        self.progress.done();
        let Some(config) = config else { return Ok(Connection::Plain(stream)) };
        self.progress.enter(TLS);
        let stream = handshake(stream, server_name(url)?, config).await?;
        self.progress.done();
        note_certificate(&stream, &mut self.progress.detail);
        Ok(Connection::Tls(Box::new(stream)))
    }

    /// Judges an answer while it comes in, and stops at the first thing that is wrong.
    async fn judge(
        &mut self,
        hop: &Hop,
        may_follow: bool,
        response: Response<Incoming>,
    ) -> Result<Answer, Trouble> {
        self.settle_wait();
        let (head, body) = response.into_parts();
        self.note("status", head.status.as_u16());
        if may_follow && let Some(next) = hop.next(head.status, &head.headers)? {
            return Ok(Answer::Next(Box::new(next)));
        }
        let expect = &self.spec.expect;
        if !expect.has_status(head.status) {
            return Err(unexpected(head.status, &hop.headers).into());
        }
        expect.check_headers(&head.headers)?;
        if body.size_hint().lower() > expect.max_size {
            return Err(expect.too_large().into());
        }
        let Some((length, kept)) = read_body(body, expect.max_size, expect.keeps_body()).await?
        else {
            return Err(expect.too_large().into());
        };
        let received = Instant::now();
        self.progress.done_at(received);
        self.received = Some(received);
        self.note("body_bytes", length);
        self.judge_body(kept).await?;
        Ok(Answer::Ok(head.status))
    }

    /// Searches a body. That takes the agent's time, not the provider's: it is in no phase, and what could take long
    /// holds up no other attempt.
    async fn judge_body(&mut self, body: Vec<u8>) -> Result<(), Failure> {
        if body.len() <= JUDGED_AT_ONCE_MAX_BYTES {
            return self.spec.expect.check_body(&body);
        }
        self.progress.enter(JUDGE);
        let spec = Arc::clone(self.spec);
        let slot = self.environment.search_slot().await?;
        let judging = tokio::task::spawn_blocking(move || {
            let verdict = spec.expect.check_body(&body);
            // Held until the search is over, not only until somebody stops waiting for it.
            drop(slot);
            verdict
        });
        judging.await.unwrap_or_else(|error| {
            Err(Failure::invalid(InvalidReason::AgentError, JUDGE, error.to_string()))
        })
    }

    /// Ends `wait` where the first byte of the answer came, if one came, and enters `receive`.
    fn settle_wait(&mut self) {
        let (written, answered) = self.stamps.with(|seen| (seen.written, seen.answered));
        if let Some(answered) = answered.filter(|_| self.progress.phase() == WAIT) {
            // An answer may come before the request is out: then nothing was waited for.
            self.progress.skip_to(written.map_or(answered, |written| written.min(answered)));
            self.progress.done_at(answered);
            self.progress.enter(RECEIVE);
        }
    }

    /// What it means that the deadline has passed now.
    fn deadline_passed(&self) -> Failure {
        match self.progress.phase() {
            JUDGE => {
                let why = "the answer was there, but could not be searched in time";
                Failure::invalid(InvalidReason::AgentOverload, JUDGE, why)
            }
            PREPARE => {
                let why = "the root certificates could not be loaded in time";
                Failure::invalid(InvalidReason::AgentOverload, PREPARE, why)
            }
            _ => self.progress.deadline_passed(),
        }
    }

    fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.progress.detail.insert(key.to_owned(), value.into());
    }
}

fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    let host = url.host_str().unwrap_or_default();
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(plain.trim_end_matches('.').to_owned()).map_err(|_| {
        Failure::failed(
            FailureClass::Tls,
            "tls:name",
            format!("no certificate can be for `{host}`"),
        )
    })
}

/// The failure of a status: refused credentials are told apart, when there were any.
fn unexpected(status: StatusCode, sent: &HeaderMap) -> Failure {
    let refused = match status {
        StatusCode::UNAUTHORIZED => sent.contains_key(AUTHORIZATION),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => sent.contains_key(PROXY_AUTHORIZATION),
        _ => false,
    };
    let class = if refused { FailureClass::Auth } else { FailureClass::Status };
    Failure::failed(class, status.as_str().to_owned(), format!("status {status}"))
}

#[cfg(test)]
mod tests;
