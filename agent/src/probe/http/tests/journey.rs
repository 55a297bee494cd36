//! Requests as they are sent, and redirects.

use super::server::{Server, answer, finish, read_head};
use super::{assert_failed, assert_ok, build, phases, run, run_in};
use crate::policy::{Permission, Policy};
use crate::probe::{Environment, Outcome};
use probefleet_proto::name::{FailureClass, InvalidReason};
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Answers with the request's head as the body.
async fn mirror() -> Server {
    Server::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        drop(stream.write_all(answer("200 OK", "", &head).as_bytes()).await);
        finish(stream).await;
    })
    .await
}

/// Redirects `/N` to `/N-1`, each taking some time; `/0` is ok.
async fn stairs() -> Server {
    Server::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let step: u32 = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let bytes = match step.checked_sub(1) {
            Some(next) => answer("302 Found", &format!("location: /{next}\r\n"), "moved"),
            None => answer("200 OK", "", "arrived"),
        };
        drop(stream.write_all(bytes.as_bytes()).await);
        finish(stream).await;
    })
    .await
}

#[tokio::test]
async fn a_request_is_what_was_asked_for() {
    let server = mirror().await;
    let port = server.address.port();
    for text in [
        "GET /a%20b?q=1 HTTP/1.1",
        &format!("host: 127.0.0.1:{port}"),
        "accept: text/html",
        "accept-encoding: identity",
        "connection: close",
        "user-agent: probefleet/",
    ] {
        let block = format!(
            "{{url: 'http://127.0.0.1:{port}/a b?q=1#f', headers: {{Accept: text/html}}, expect: {{contains: '{text}'}}}}"
        );
        assert_ok(&run(&block).await);
    }
}

#[tokio::test]
async fn a_body_is_sent() {
    let server = Server::start(|mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("content-length: 11"), "{head}");
        let mut body = [0; 11];
        stream.read_exact(&mut body).await.expect("a body");
        drop(
            stream
                .write_all(
                    answer("201 Created", "", std::str::from_utf8(&body).expect("text")).as_bytes(),
                )
                .await,
        );
        finish(stream).await;
    })
    .await;
    let block = format!(
        "{{url: '{}', method: POST, body: 'hello world', expect: {{contains: hello world}}}}",
        server.url()
    );
    assert_ok(&run(&block).await);
}

#[tokio::test]
async fn followed_redirects_are_a_phase() {
    let server = stairs().await;
    let sample =
        run(&format!("{{url: '{}3', redirects: 3, expect: {{contains: arrived}}}}", server.url()))
            .await;
    assert_ok(&sample);
    assert_eq!(phases(&sample), ["redirect", "connect", "wait", "receive", "total"]);
    assert!(sample.phases_ns[0].1 >= 90_000_000, "three hops: {sample:?}");
    assert_eq!(
        (&sample.detail["hops"], &sample.detail["url"]),
        (&json!(3), &json!(format!("{}0", server.url())))
    );
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn redirects_beyond_the_bound_are_a_status() {
    let server = stairs().await;
    for (redirects, accepted) in [(0, 1), (2, 3)] {
        let before = server.accepted();
        let sample = run(&format!("{{url: '{}9', redirects: {redirects}}}", server.url())).await;
        assert_failed(&sample, FailureClass::Status, "302");
        assert_eq!(server.accepted() - before, accepted);
    }
    let circle = Server::answering(answer("301 Moved", "location: /\r\n", "")).await;
    let sample = run(&format!("{{url: '{}', redirects: 5}}", circle.url())).await;
    assert_failed(&sample, FailureClass::Status, "301");
    assert_eq!(circle.accepted(), 6);
    let odd = Server::answering(answer("302 Found", "location: file:///etc/passwd\r\n", "")).await;
    let sample = run(&format!("{{url: '{}', redirects: 5}}", odd.url())).await;
    assert_failed(&sample, FailureClass::Protocol, "redirect");
}

#[tokio::test]
async fn credentials_do_not_leave_their_origin() {
    let other = mirror().await;
    let location = format!("location: {}\r\n", other.url());
    let server = Server::answering(answer("302 Found", &location, "")).await;
    let block = format!(
        "{{url: '{}', redirects: 1, headers: {{Authorization: Bearer geheim, X-Api-Key: geheim}}, expect: {{matches: '(?s)^((?!geheim).)*$'}}}}",
        server.url()
    );
    assert!(build(&block).is_err(), "expressions have no look-around");
    let block = format!(
        "{{url: '{}', redirects: 1, headers: {{Authorization: Bearer geheim, X-Api-Key: geheim}}, expect: {{contains: geheim}}}}",
        server.url()
    );
    assert_failed(&run(&block).await, FailureClass::Assertion, "body");
}

#[tokio::test]
async fn every_hop_passes_the_policy() {
    let forbidden = mirror().await;
    let location = format!("location: http://localhost:{}/\r\n", forbidden.address.port());
    let server = Server::answering(answer("302 Found", &location, "")).await;
    let text = format!("allow: [{{kind: http, to: ['127.0.0.1:{}']}}]", server.address.port());
    let environment =
        Environment::new(Permission::Policy(Policy::parse("p", &text).expect("valid")));
    let block = format!("{{url: '{}', redirects: 1}}", server.url());
    let sample = run_in(&environment, &block, super::TIMEOUT).await;
    assert_eq!(sample.outcome, Outcome::Invalid(InvalidReason::PolicyDenied), "{sample:?}");
    assert_eq!((server.accepted(), forbidden.accepted()), (1, 0));
}

#[test]
fn a_block_has_all_its_defaults_and_no_secrets() {
    let probe = build("{url: 'HTTP://Portal.Example:80/a#x', headers: {Authorization: Bearer geheim, accept: a/b}}")
        .expect("valid");
    assert_eq!(
        probe.canonical_block(),
        json!({
            "url": "http://portal.example/a",
            "method": "GET",
            "headers": {"authorization": "(secret)", "accept": "a/b"},
            "ip": "any",
            "redirects": 0,
            "expect": {"status": ["200-299"], "headers": {}, "contains": [], "matches": [], "json": [], "max_size": 1_048_576},
        })
    );
    assert!(!format!("{probe:?}").contains("geheim"));
    let same = |a: &str, b: &str| {
        let canonical = |text: &str| build(text).expect(text).canonical_block();
        assert_eq!(canonical(a), canonical(b));
    };
    same("url: http://x", "{url: 'http://X:80/', method: GET, ip: any}");
    same("{url: http://x, expect: {status: [200-250, 251-299]}}", "url: http://x");
    same(
        "{url: http://x, expect: {max_size: 1MiB, contains: a}}",
        "{url: http://x, expect: {contains: [a]}}",
    );
}

#[test]
fn a_block_survives_the_wire() {
    use probefleet_proto::yaml::{Document, Node, Problems};
    let text = "{url: http://x, ip: 4, redirects: 2, method: POST, body: 42, ca_file: /x, expect: {status: [200, 300-399], contains: 7, matches: [a, 'b{2}'], headers: {x: y}, json: [{path: $.n, equals: 1}, {path: $.f, equals: 1.50}, {path: $.t, equals: true}, {path: $.z, equals: null}], max_size: 2KiB}}";
    let document = Document::parse("f", text).expect("valid");
    let wire = Node::from_json(&document.root.to_json());
    let mut problems = Problems::new("wire");
    let there = crate::probe::Probe::build("http", &wire, &mut problems).expect("survives");
    assert_eq!(build(text).expect("valid").canonical_block(), there.canonical_block());
}

#[test]
fn every_problem_has_its_place_and_cure() {
    let text = "\
url: ftp://x/
method: get
headers: {Host: x, 'a b': c, x: \"a\\nb\"}
ip: 5
redirects: 6
ca_file: ''
timeot: 3
expect:
  status: [99, 300-200, ok]
  matches: '('
  contains: ''
  json: {path: status}
  max_size: 2MB
";
    let problems = build(text).expect_err("wrong").to_string();
    let codes: Vec<String> = problems
        .lines()
        .map(|line| line.split(':').skip(1).take(3).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        codes,
        [
            "1:6: bad-url",
            "2:9: bad-value",
            "3:11: bad-header",
            "3:20: bad-header",
            "3:33: bad-header",
            "4:5: bad-value",
            "5:12: bad-value",
            "6:10: bad-value",
            "7:1: unknown-key",
            "9:12: bad-status",
            "9:16: bad-status",
            "9:25: bad-status",
            "10:12: bad-regex",
            "11:13: bad-value",
            "12:16: bad-path",
            "13:13: bad-size",
        ],
        "{problems}"
    );
    for (text, cure) in [
        ("{url: 'http://user:geheim@x/'}", "no credentials"),
        ("{url: 'http://x/', body: hi}", "only POST, PUT and PATCH"),
        ("{url: 'http://127.0.0.1/', ip: 6}", "leave `ip` out"),
        ("{url: 'http://x/', expect: {contains: a, max_size: 2MiB}}", "where the body is searched"),
        ("{url: 'http://x/', expect: {matches: '(a{1000}){1000}'}}", "too large"),
        ("{url: 'http://x:0/'}", "port 0"),
    ] {
        let problem = build(text).expect_err(text).to_string();
        assert!(problem.contains(cure) && !problem.contains("geheim"), "{problem}");
    }
    assert!(build("{url: 'http://x/', expect: {max_size: 1GiB}}").is_ok());
}
