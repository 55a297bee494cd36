//! One request and its answer on a connection of its own.

use super::stamped::{Seen, Stamps};
use crate::probe::failure::{Failure, from_io};
use crate::probe::stream::{Connection, Watched};
use crate::probe::tls::from_tls;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT,
};
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use probefleet_proto::name::FailureClass;
use std::error::Error as _;
use std::io;
use url::{Position, Url};

/// The phase from the last byte of the request to the first of the answer.
pub(super) const WAIT: &str = "wait";
/// The phase from the first byte of the answer to its last.
pub(super) const RECEIVE: &str = "receive";

/// Largest head of an answer, in bytes; also all that is buffered of a body.
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Most headers of an answer.
const HEADERS_MAX: usize = 200;
/// How the agent names itself.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("probefleet/", env!("CARGO_PKG_VERSION")));

/// What is sent.
#[derive(Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) url: &'a Url,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: Option<&'a str>,
}

/// Sends the request and hands the head of the answer, with its body still to be read, to `judge`; both run while the
/// connection is driven, and the connection ends with them.
pub(super) async fn exchange<T>(
    connection: Connection,
    stamps: &Stamps,
    outgoing: &Outgoing<'_>,
    judge: impl AsyncFnOnce(Response<Incoming>) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    let request = request(outgoing).map_err(|_| not_sendable())?;
    let io = TokioIo::new(Watched::new(connection, stamps.clone()));
    let handshake = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_MAX_BYTES)
        .max_buf_size(HEAD_MAX_BYTES)
        .handshake(io)
        .await;
    let (mut sender, driver) = handshake.map_err(|error| classify(&error, stamps))?;
    let conversation = async move {
        let response = sender.send_request(request).await.map_err(Trouble::Hyper)?;
        stamps.with(Seen::head_done);
        check_size(response.headers())?;
        judge(response).await
    };
    let mut conversation = Box::pin(conversation);
    let mut driver = Box::pin(driver);
    let mut driven = true;
    loop {
        tokio::select! {
            biased;
            outcome = &mut conversation => return outcome.map_err(|trouble| match trouble {
                Trouble::Hyper(error) => classify(&error, stamps),
                Trouble::Failure(failure) => failure,
            }),
            // What ends the driver also ends the conversation, with the error that matters.
            _ = &mut driver, if driven => driven = false,
        }
    }
}

/// Why a conversation ended early.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The protocol or the connection broke.
    Hyper(hyper::Error),
    /// The answer is not the expected one.
    Failure(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// What arrives in one piece is parsed before hyper looks at its size, so the bound is kept here.
fn check_size(headers: &HeaderMap) -> Result<(), Failure> {
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if size <= HEAD_MAX_BYTES {
        return Ok(());
    }
    let why = format!("the headers are larger than {} KiB", HEAD_MAX_BYTES >> 10);
    Err(Failure::failed(FailureClass::Protocol, "headers", why))
}

/// Reads a body to its end. Keeps it only if asked; either way at most `max_size` bytes. Gives the length and what was
/// kept; `None` when there is more.
pub(super) async fn read_body(
    mut body: Incoming,
    max_size: u64,
    keep: bool,
) -> Result<Option<(u64, Vec<u8>)>, Trouble> {
    let (mut length, mut kept) = (0_u64, Vec::new());
    while let Some(frame) = body.frame().await {
        // A million chunks of a byte are always ready: the deadline must still get its turn.
        tokio::task::consume_budget().await;
        let frame = frame.map_err(Trouble::Hyper)?;
        let Some(data) = frame.data_ref() else { continue };
        length = length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if length > max_size {
            return Ok(None);
        }
        if keep {
            kept.extend_from_slice(data);
        }
    }
    Ok(Some((length, kept)))
}

/// What stands between the method and the version of a request.
pub(super) fn request_target(url: &Url) -> Result<Uri, InvalidUri> {
    url[Position::BeforePath..Position::AfterQuery].parse()
}

fn request(outgoing: &Outgoing<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let host = &outgoing.url[Position::BeforeHost..Position::AfterPort];
    let body = outgoing.body.unwrap_or_default().to_owned();
    let mut request = Request::builder()
        .method(outgoing.method.clone())
        .uri(request_target(outgoing.url)?)
        .body(Full::new(Bytes::from(body)))?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(host)?);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.extend(outgoing.headers.clone());
    // The body is judged and counted as it is on the wire.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

fn not_sendable() -> Failure {
    Failure::failed(FailureClass::Protocol, "redirect", "the URL cannot be requested over HTTP")
}

/// What broke a conversation: what the protocol says, else what the connection saw.
fn classify(error: &hyper::Error, stamps: &Stamps) -> Failure {
    let protocol =
        |code: &'static str| Failure::failed(FailureClass::Protocol, code, innermost(error));
    stamps.with(|seen| {
        if !seen.begins_as_http() {
            return protocol("not_http");
        }
        if error.is_parse_too_large() || seen.head_too_large() {
            return protocol("headers");
        }
        if error.is_parse() {
            return protocol("http");
        }
        if let Some(broken) = &seen.broken {
            return from_tls(broken).unwrap_or_else(|| from_io(broken, WAIT));
        }
        if bad_framing(error) {
            return protocol("chunk");
        }
        if seen.ended {
            return from_io(&io::ErrorKind::UnexpectedEof.into(), WAIT);
        }
        protocol("http")
    })
}

/// Whether the body's framing is wrong, which hyper tells as an I/O error of its own making.
fn bad_framing(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| {
        matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    })
}

/// The last error of the chain, which says what it was.
fn innermost(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
