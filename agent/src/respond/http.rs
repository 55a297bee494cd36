//! HTTP/1.1: what each path answers, and how often it was asked.

use super::content::Content;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use probefleet_proto::units::{NS_PER_S, parse_duration_ns, parse_size_bytes};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most connections at once: further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 1_000;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long answers under way may take once the responder is asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait after an accept that failed, as it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest delay, ns: longer than any attempt may take.
const DELAY_MAX_NS: u64 = 120 * NS_PER_S;
/// Largest body that is made, in bytes.
const BYTES_MAX: u64 = 1 << 30;
/// Most redirects in a row.
const REDIRECTS_MAX: u32 = 1_000;
/// Largest body that is echoed, in bytes.
const ECHO_MAX_BYTES: usize = 64 << 10;
/// Most paths that are counted each by itself; further ones are counted together.
const PATHS_MAX: usize = 1_000;
/// Longest path that is counted by itself, in bytes.
const PATH_MAX_BYTES: usize = 256;
/// Where all other paths are counted.
const OTHER_PATHS: &str = "(other)";

/// Answers requests and counts them.
#[derive(Debug)]
pub struct HttpResponder {
    listener: TcpListener,
    counts: Arc<Counts>,
}

/// Requests by path, and the calls that are counted beside them.
#[derive(Debug, Default)]
struct Counts {
    requests: Mutex<BTreeMap<String, u64>>,
    calls: Option<Arc<super::sip::Counts>>,
}

impl Counts {
    fn add(&self, path: &str) {
        let mut counts = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            counts.contains_key(path) || (counts.len() < PATHS_MAX && path.len() <= PATH_MAX_BYTES);
        let path = if known { path } else { OTHER_PATHS };
        let count = counts.entry(path.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    fn to_json(&self) -> String {
        let counts = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut json = serde_json::json!({"requests": *counts});
        if let Some(calls) = &self.calls {
            json["sip"] = calls.to_json();
        }
        json.to_string()
    }
}

impl HttpResponder {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says, such as that the port is taken.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, counts: Arc::default() })
    }

    /// Tells at `/requests` of calls too.
    pub(super) fn with_calls(self, calls: Option<Arc<super::sip::Counts>>) -> Self {
        Self { counts: Arc::new(Counts { calls, ..Counts::default() }), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is done, then gives answers under way a second.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (stopping, stopped) = watch::channel(false);
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut stop => break,
                (slot, accepted) = accepted => match (slot, accepted) {
                    (Ok(slot), Ok((stream, _))) => {
                        let counts = Arc::clone(&self.counts);
                        drop(tokio::spawn(converse(stream, counts, stopped.clone(), slot)));
                    }
                    _ => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
        stopping.send_replace(true);
        let everything = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // Whoever is not done in time is cut off when the runtime ends.
        drop(tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(everything)).await);
    }
}

/// Serves one connection until it ends or the responder stops.
async fn converse(
    stream: TcpStream,
    counts: Arc<Counts>,
    mut stopped: watch::Receiver<bool>,
    slot: OwnedSemaphorePermit,
) {
    // An answer leaves as soon as it is written; without it there are only slower answers.
    drop(stream.set_nodelay(true));
    let service = service_fn(|request| answer(request, Arc::clone(&counts)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // How a connection ended is the client's affair.
        _ = connection.as_mut() => {}
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
    drop(slot);
}

type Answer = Response<Content>;

async fn answer(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/requests" {
        return Ok(typed(Content::text(counts.to_json() + "\n"), "application/json"));
    }
    counts.add(&path);
    // `OPTIONS *` and `CONNECT host` have no slash.
    let relative = path.strip_prefix('/').unwrap_or("(none)");
    let (name, argument) = match relative.split_once('/') {
        Some((name, argument)) => (name, Some(argument)),
        None => (relative, None),
    };
    let found = match (name, argument) {
        ("", None) => Some(ok("ok\n")),
        ("json", None) => Some(typed(Content::text("{\"status\":\"ok\"}\n"), "application/json")),
        ("status", Some(status)) => with_status(status),
        ("delay", Some(delay)) => delayed(delay).await,
        ("bytes", Some(size)) => made(size),
        ("redirect", Some(count)) => redirect(count),
        ("echo", _) => Some(echo(request).await),
        _ => None,
    };
    Ok(found.unwrap_or_else(|| {
        let mut response = ok("there is nothing here; see `probefleet-agent respond --help`\n");
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }))
}

fn ok(text: &'static str) -> Answer {
    typed(Content::text(text), "text/plain")
}

fn typed(content: Content, content_type: &'static str) -> Answer {
    let mut response = Response::new(content);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn with_status(status: &str) -> Option<Answer> {
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    if status.is_informational() {
        return None;
    }
    let mut response = ok("");
    *response.status_mut() = status;
    *response.body_mut() = Content::text(format!("{status}\n"));
    Some(response)
}

async fn delayed(delay: &str) -> Option<Answer> {
    let delay_ns = parse_duration_ns(delay).ok().filter(|ns| *ns <= DELAY_MAX_NS)?;
    tokio::time::sleep(Duration::from_nanos(delay_ns)).await;
    Some(ok("ok\n"))
}

fn made(size: &str) -> Option<Answer> {
    let size = parse_size_bytes(size).ok().filter(|size| *size <= BYTES_MAX)?;
    Some(typed(Content::Made(size), "application/octet-stream"))
}

fn redirect(count: &str) -> Option<Answer> {
    let count: u32 = count.parse().ok().filter(|count| *count <= REDIRECTS_MAX)?;
    let Some(next) = count.checked_sub(1) else { return Some(ok("ok\n")) };
    let mut response = ok("");
    *response.status_mut() = StatusCode::FOUND;
    let location = HeaderValue::from_str(&format!("/redirect/{next}")).ok()?;
    response.headers_mut().insert(LOCATION, location);
    Some(response)
}

/// The request as it came: line, headers, body.
async fn echo(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", head.method, head.uri, head.version);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push('\n');
    let collecting = Limited::new(body, ECHO_MAX_BYTES).collect();
    let Ok(Ok(body)) = tokio::time::timeout(BODY_TIMEOUT, collecting).await else {
        let mut response = ok("the body is larger than 64 KiB, or did not come\n");
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return response;
    };
    let mut content = text.into_bytes();
    content.extend_from_slice(&body.to_bytes());
    typed(Content::text(content), "text/plain")
}
