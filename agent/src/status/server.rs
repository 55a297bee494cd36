//! The listener of the status: a few connections, three pages.

use super::{Report, metrics};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use probefleet_proto::clock::unix_now_ns;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Most connections at once: a scraper, a supervisor, a person; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// How long a request's head may take, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait after an accept that failed, as it does when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the agent says how it is.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// What the system says, such as that the port is taken.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with the newest report; never ends by itself.
    pub async fn serve(self, reports: watch::Receiver<Arc<Report>>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let of_loopback = self.address.ip().is_loopback();
        loop {
            let slot = Arc::clone(&slots).acquire_owned().await;
            match (slot, self.listener.accept().await) {
                (Ok(slot), Ok((stream, _))) => {
                    let asked = Asked { reports: reports.clone(), of_loopback };
                    drop(tokio::spawn(converse(stream, asked, slot)));
                }
                _ => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

/// What answers are made from.
#[derive(Clone)]
struct Asked {
    reports: watch::Receiver<Arc<Report>>,
    of_loopback: bool,
}

async fn converse(stream: TcpStream, asked: Asked, slot: OwnedSemaphorePermit) {
    let service = service_fn(|request| {
        let answer = answer(&request, &asked);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // How a connection ended is the client's affair.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
    drop(slot);
}

type Answer = Response<Full<Bytes>>;

fn answer(request: &Request<Incoming>, asked: &Asked) -> Answer {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if asked.of_loopback && !host.is_some_and(is_loopback) {
        let text = "the status answers to localhost only; `status: 0.0.0.0:PORT` in the configuration opens it\n";
        return text_of(StatusCode::MISDIRECTED_REQUEST, text);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text_of(StatusCode::METHOD_NOT_ALLOWED, "there is nothing to change here\n");
    }
    let report = Arc::clone(&asked.reports.borrow());
    match request.uri().path() {
        "/healthz" => text_of(StatusCode::OK, "alive\n"),
        "/readyz" => {
            let (ready, text) = report.readiness(Instant::now());
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            text_of(status, text)
        }
        "/metrics" => match metrics::render(&report, unix_now_ns()) {
            Ok(text) if asks_for_open(request) => typed(StatusCode::OK, OPEN_METRICS, text),
            Ok(text) => typed(StatusCode::OK, CLASSIC, metrics::classic(&text)),
            Err(error) => text_of(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        _ => text_of(StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n"),
    }
}

/// OpenMetrics is for those who ask for it, as Prometheus does; every reader knows the older format.
fn asks_for_open(request: &Request<Incoming>) -> bool {
    let kinds = request.headers().get_all(ACCEPT).iter().filter_map(|kinds| kinds.to_str().ok());
    kinds.into_iter().any(|kinds| kinds.contains("application/openmetrics-text"))
}

fn text_of(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    typed(status, TEXT, text)
}

fn typed(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Whether a `Host` header names this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
