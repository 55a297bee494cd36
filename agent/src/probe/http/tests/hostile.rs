//! Servers that mean harm: bounded memory, kept deadlines, no panic.

use super::server::{Server, finish, read_head};
use super::{TIMEOUT, assert_failed, assert_ok, run, run_in, run_to_deadline};
use crate::probe::Outcome;
use probefleet_proto::name::{FailureClass, InvalidReason};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What the sockets of both sides may hold beside what an attempt reads, in bytes.
const SOCKETS_MAX_BYTES: u64 = 16 << 20;

/// Sends a head, then one piece again and again; counts what could be sent.
async fn flood(head: &'static str, piece: Vec<u8>) -> (Server, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let piece: Arc<[u8]> = piece.into();
    let server = Server::start(move |mut stream| {
        let (counter, piece) = (Arc::clone(&counter), Arc::clone(&piece));
        async move {
            read_head(&mut stream).await;
            drop(stream.write_all(head.as_bytes()).await);
            while stream.write_all(&piece).await.is_ok() {
                counter.fetch_add(piece.len().try_into().expect("fits"), Ordering::SeqCst);
            }
        }
    })
    .await;
    (server, sent)
}

#[tokio::test]
async fn floods_are_cut_off() {
    let gigabyte = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000)).into_bytes();
    let headers = b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(500);
    for (head, piece, class, code) in [
        (gigabyte, vec![b'x'; 1 << 15], FailureClass::Assertion, "max_size"),
        (endless, vec![b'x'; 1 << 15], FailureClass::Assertion, "max_size"),
        (chunked, chunk, FailureClass::Assertion, "max_size"),
        // A million headers, or one without an end.
        ("HTTP/1.1 200 OK\r\n", headers, FailureClass::Protocol, "headers"),
        ("HTTP/1.1 200 OK\r\nx: ", vec![b'y'; 1 << 15], FailureClass::Protocol, "headers"),
        ("HTTP/1.1 200 ", vec![b'O'; 1 << 15], FailureClass::Protocol, "headers"),
        ("", vec![b'x'; 1 << 15], FailureClass::Protocol, "not_http"),
        // Interim answers without end.
        ("", b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(500), FailureClass::Protocol, "headers"),
        // Trailers and chunk extensions without an end.
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x: y\r\n".repeat(500),
            FailureClass::Protocol,
            "chunk",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
            vec![b'x'; 1 << 15],
            FailureClass::Protocol,
            "chunk",
        ),
    ] {
        let (server, sent) = flood(head, piece).await;
        let sample = run(&format!("{{url: '{}', expect: {{contains: z}}}}", server.url())).await;
        assert_failed(&sample, class, code);
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < SOCKETS_MAX_BYTES, "{head:?}: the server could send {sent} bytes");
    }
}

#[tokio::test]
async fn deadlines_are_kept_under_floods_of_small_things() {
    let chunks = b"1\r\nx\r\n".repeat(5_000);
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (server, _) = flood(head, chunks).await;
    let block = format!("{{url: '{}', expect: {{max_size: 1GiB}}}}", server.url());
    let sample = run_to_deadline(&block, Duration::from_millis(300)).await;
    assert_failed(&sample, FailureClass::Timeout, "receive");
}

#[tokio::test]
async fn a_search_that_takes_long_is_not_the_providers_fault() {
    let body = "a".repeat(100 << 10);
    let server = Server::answering(super::server::answer("200 OK", "", &body)).await;
    let block = format!("{{url: '{}', expect: {{matches: a$}}}}", server.url());
    let environment = super::anywhere();
    assert_ok(&run_in(&environment, &block, TIMEOUT).await);
    let searches = [environment.search_slot().await, environment.search_slot().await];
    let sample = run_in(&environment, &block, Duration::from_millis(300)).await;
    assert_eq!(sample.outcome, Outcome::Invalid(InvalidReason::AgentOverload), "{sample:?}");
    drop(searches);
    assert_ok(&run_in(&environment, &block, TIMEOUT).await);
}

#[tokio::test]
async fn a_body_that_is_only_counted_may_be_large() {
    let (server, _) =
        flood("HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n", vec![b'x'; 1 << 15]).await;
    let sample = run(&format!("{{url: '{}', expect: {{max_size: 32MiB}}}}", server.url())).await;
    assert_eq!(sample.outcome, Outcome::Ok, "{sample:?}");
    assert_eq!(sample.detail["body_bytes"], 32 << 20);
}

/// Answers that are nearly HTTP, cut and mixed.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.1 302 Found\r\nlocation: /\r\n".to_vec()),
        Just(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"transfer-encoding: chunked\r\n".to_vec()),
        Just(b"content-length: 5\r\n".to_vec()),
        Just(b"content-length: 18446744073709551615\r\n".to_vec()),
        Just(b"location: http://[\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"5\r\nhello\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Answers to a greeting of TLS: records of each type, with lengths that fit or lie.
fn nearly_tls() -> impl Strategy<Value = Vec<u8>> {
    let record = (
        0x13_u8..0x19,
        0_u8..5,
        any::<Option<u16>>(),
        proptest::collection::vec(any::<u8>(), 0..80),
    );
    let record = record.prop_map(|(kind, minor, lie, body)| {
        let length = lie.unwrap_or(u16::try_from(body.len()).expect("short"));
        [&[kind, 3, minor], length.to_be_bytes().as_slice(), &body].concat()
    });
    proptest::collection::vec(record, 0..4).prop_map(|records| records.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_comes_an_attempt_ends(bytes in nearly_http()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let server = Server::answering(bytes).await;
            let block = format!(
                "{{url: '{}', redirects: 2, expect: {{contains: x, matches: y, json: {{path: $.a}}}}}}",
                server.url()
            );
            let sample = run_in(&super::anywhere(), &block, Duration::from_millis(500)).await;
            assert!(matches!(sample.outcome, Outcome::Failed(_)), "{sample:?}");
        });
    }

    #[test]
    fn whatever_greets_a_handshake_ends(bytes in nearly_tls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bytes: Arc<[u8]> = bytes.into();
            let server = Server::start(move |mut stream| {
                let bytes = Arc::clone(&bytes);
                async move {
                    drop(stream.read(&mut [0; 512]).await);
                    drop(stream.write_all(&bytes).await);
                    finish(stream).await;
                }
            })
            .await;
            let block = format!("url: 'https://{}/'", server.address);
            let sample = run_in(system(), &block, Duration::from_millis(500)).await;
            assert!(matches!(sample.outcome, Outcome::Failed(FailureClass::Tls | FailureClass::Closed)), "{sample:?}");
        });
    }
}

/// The system's roots are loaded once for all cases.
fn system() -> &'static crate::probe::Environment {
    static SYSTEM: std::sync::OnceLock<crate::probe::Environment> = std::sync::OnceLock::new();
    SYSTEM.get_or_init(|| {
        let environment = super::anywhere();
        super::build("url: 'https://x/'").expect("valid").prepare(&environment);
        environment
    })
}
