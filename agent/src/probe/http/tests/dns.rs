//! Names: a resolver that answers as the name asked for says.

use super::{TIMEOUT, assert_failed, assert_ok, phases, run_in, total};
use crate::policy::Permission;
use crate::probe::http::tests::server::{Server, answer};
use crate::probe::{Environment, Outcome, Resolver};
use probefleet_proto::name::{FailureClass, InvalidReason};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;

const A: u8 = 1;
const AAAA: u8 = 28;

/// A name server on loopback.
struct NameServer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let address = socket.local_addr().expect("bound");
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        drop(tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                counter.fetch_add(1, Ordering::SeqCst);
                if let Some(reply) = reply(&query[..length]) {
                    drop(socket.send_to(&reply, from).await);
                }
            }
        }));
        Self { address, asked }
    }

    fn environment(&self) -> Environment {
        let resolver = Resolver::with_servers(vec![self.address]);
        Environment::with_resolver(Permission::Anywhere, resolver)
    }
}

/// What the first label of the name asks for; `None` is silence.
fn reply(query: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0)? + 1;
    let label = std::str::from_utf8(&query[13..13 + usize::from(query[12])]).ok()?;
    let kind = query[end + 1];
    let (code, answers): (u8, Vec<Vec<u8>>) = match (label, kind) {
        ("nx", _) => (3, vec![]),
        ("servfail", _) => (2, vec![]),
        ("refused", _) => (5, vec![]),
        ("silent", _) => return None,
        ("mixed", _) => return Some(mixed(query, end)),
        ("garbage", _) => {
            return Some([&query[..2], &[0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0, 0xff]].concat());
        }
        ("four" | "both", A) => (0, vec![vec![127, 0, 0, 1], vec![127, 0, 0, 2]]),
        ("metadata", A) => (0, vec![vec![169, 254, 169, 254]]),
        ("six" | "both", AAAA) => (0, vec![[[0; 15].as_slice(), &[1]].concat()]),
        _ => (0, vec![]),
    };
    let count = u8::try_from(answers.len()).ok()?;
    let mut reply = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
    reply.extend_from_slice(&query[12..end + 4]);
    for address in answers {
        let length = u8::try_from(address.len()).ok()?;
        reply.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        reply.extend_from_slice(&address);
    }
    Some(reply)
}

/// The query, answered with its own bytes turned over and over: names that point at themselves, counts that lie.
fn mixed(query: &[u8], end: usize) -> Vec<u8> {
    let mut reply = query[..end + 4].to_vec();
    reply[2] = 0x81;
    for byte in &mut reply[3..12] {
        *byte = byte.wrapping_add(fastrand::u8(..4));
    }
    for _ in 0..fastrand::usize(..8) {
        let piece: &[u8] = match fastrand::u8(..6) {
            0 => &[0xc0, 12],
            1 => &[0xff, 0xff],
            2 => &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4],
            3 => &[127, 0, 0, 1],
            4 => &[63, b'a'],
            _ => &[0],
        };
        reply.extend_from_slice(piece);
    }
    reply
}

#[tokio::test]
async fn whatever_a_name_server_says_an_attempt_ends() {
    let names = NameServer::start().await;
    let environment = names.environment();
    for _ in 0..200 {
        let sample =
            run_in(&environment, "url: 'http://mixed.test:1/'", Duration::from_millis(50)).await;
        assert!(
            matches!(
                sample.outcome,
                Outcome::Failed(FailureClass::Resolve | FailureClass::Refused)
            ),
            "{sample:?}"
        );
    }
}

#[tokio::test]
async fn negative_answers_have_their_codes() {
    let names = NameServer::start().await;
    let environment = names.environment();
    for (name, code) in [
        ("nx", "nxdomain"),
        ("nodata", "nodata"),
        ("servfail", "servfail"),
        ("refused", "servfail"),
        ("garbage", "servfail"),
    ] {
        let block = format!("url: 'http://{name}.test/'");
        let sample = run_in(&environment, &block, TIMEOUT).await;
        assert_failed(&sample, FailureClass::Resolve, code);
        assert_eq!(phases(&sample), ["total"], "a name that was not found took no `resolve`");
    }
    for (name, family) in [("four", 6), ("six", 4)] {
        let block = format!("{{url: 'http://{name}.test/', ip: {family}}}");
        assert_failed(
            &run_in(&environment, &block, TIMEOUT).await,
            FailureClass::Resolve,
            "nodata",
        );
    }
}

#[tokio::test]
async fn a_silent_resolver_takes_no_longer_than_the_attempt() {
    let names = NameServer::start().await;
    let block = "url: 'http://silent.test/'";
    let sample = run_in(&names.environment(), block, Duration::from_millis(300)).await;
    assert_failed(&sample, FailureClass::Resolve, "dns_timeout");
}

/// A port that nobody answers on.
async fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
    socket.local_addr().expect("bound")
}

#[tokio::test]
async fn a_resolver_that_is_not_there_is_no_answer_at_once() {
    let resolver = Resolver::with_servers(vec![closed().await]);
    let environment = Environment::with_resolver(Permission::Anywhere, resolver);
    let sample = run_in(&environment, "url: 'http://four.test/'", TIMEOUT).await;
    assert_failed(&sample, FailureClass::Resolve, "dns_timeout");
    assert!(total(&sample) < Duration::from_secs(1), "as glibc, not at the deadline: {sample:?}");
}

#[tokio::test]
async fn the_next_resolver_is_asked_when_one_cannot_answer() {
    let names = NameServer::start().await;
    let server = Server::answering(answer("200 OK", "", "ok")).await;
    let resolver = Resolver::with_servers(vec![closed().await, names.address]);
    let environment = Environment::with_resolver(Permission::Anywhere, resolver);
    let block = format!("url: 'http://four.test:{}/'", server.address.port());
    let sample = run_in(&environment, &block, TIMEOUT).await;
    assert_ok(&sample);
    assert!(total(&sample) < Duration::from_secs(1), "{sample:?}");
}

#[tokio::test]
async fn the_first_address_that_fits_is_dialled_and_every_attempt_asks() {
    let names = NameServer::start().await;
    let environment = names.environment();
    let server = Server::answering(answer("200 OK", "", "ok")).await;
    let port = server.address.port();
    for (name, family) in [("four", "any"), ("both", "any"), ("both", "4"), ("four", "4")] {
        let block = format!("{{url: 'http://{name}.test:{port}/', ip: {family}}}");
        let before = names.asked.load(Ordering::SeqCst);
        let sample = run_in(&environment, &block, TIMEOUT).await;
        assert_ok(&sample);
        assert_eq!(phases(&sample), ["resolve", "connect", "wait", "receive", "total"]);
        assert_eq!(sample.detail["address"], format!("127.0.0.1:{port}"));
        assert_eq!(names.asked.load(Ordering::SeqCst), before + 1, "nothing is cached");
    }
    for (name, family) in [("six", "any"), ("both", "6")] {
        let block = format!("{{url: 'http://{name}.test:{port}/', ip: {family}}}");
        let sample = run_in(&environment, &block, TIMEOUT).await;
        assert_eq!(sample.detail["address"], format!("[::1]:{port}"), "{sample:?}");
    }
}

#[tokio::test]
async fn what_a_name_rebinds_to_is_checked() {
    let names = NameServer::start().await;
    let policy =
        crate::policy::Policy::parse("p", "allow: [{kind: http, to: any}]").expect("valid");
    let resolver = Resolver::with_servers(vec![names.address]);
    let environment = Environment::with_resolver(Permission::Policy(policy), resolver);
    for name in ["metadata", "four", "six"] {
        let block = format!("url: 'http://{name}.test/'");
        let sample = run_in(&environment, &block, TIMEOUT).await;
        let expected = (Outcome::Invalid(InvalidReason::PolicyDenied), Some("target"));
        assert_eq!((sample.outcome, sample.code.as_deref()), expected, "{sample:?}");
    }
}

#[tokio::test]
async fn a_forbidden_name_is_not_even_asked_about() {
    let names = NameServer::start().await;
    let policy =
        crate::policy::Policy::parse("p", "allow: [{kind: http, to: ok.test}]").expect("valid");
    let resolver = Resolver::with_servers(vec![names.address]);
    let environment = Environment::with_resolver(Permission::Policy(policy), resolver);
    let sample = run_in(&environment, "url: 'http://secret.exfil.test/'", TIMEOUT).await;
    assert_eq!(sample.outcome, Outcome::Invalid(InvalidReason::PolicyDenied));
    assert_eq!(names.asked.load(Ordering::SeqCst), 0);
}
