//! Ways in which a server answers, or fails to.

use super::server::{Server, answer, finish, read_head, reset};
use super::{assert_failed, assert_ok, parts, phases, run, run_in, run_to_deadline, total};
use crate::policy::{Permission, Policy};
use crate::probe::{Environment, Outcome};
use probefleet_proto::name::{FailureClass, InvalidReason};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn an_ok_answer_has_all_its_phases() {
    let server = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab").await);
        tokio::time::sleep(Duration::from_millis(90)).await;
        drop(stream.write_all(b"cd").await);
        finish(stream).await;
    })
    .await;
    let sample = run(&format!("url: '{}'", server.url())).await;
    assert_ok(&sample);
    assert_eq!(sample.code.as_deref(), Some("200"));
    assert_eq!(phases(&sample), ["connect", "wait", "receive", "total"]);
    let ms = |index: usize| sample.phases_ns[index].1 / 1_000_000;
    assert!((60..200).contains(&ms(1)), "wait: {sample:?}");
    assert!((90..300).contains(&ms(2)), "receive: {sample:?}");
    assert_eq!(sample.detail["address"], server.address.to_string());
    assert_eq!((&sample.detail["status"], &sample.detail["body_bytes"]), (&200.into(), &4.into()));
    let named = run(&format!("url: 'http://localhost:{}/'", server.address.port())).await;
    assert_ok(&named);
    assert_eq!(phases(&named)[0], "resolve");
}

#[tokio::test]
async fn answers_end_in_each_way_that_http_has() {
    for bytes in [
        answer("200 OK", "", "ok"),
        "HTTP/1.1 200 OK\r\n\r\nok".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\na: b\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
    ] {
        let server = Server::answering(bytes.clone()).await;
        let sample = run(&format!("{{url: '{}', expect: {{contains: ok}}}}", server.url())).await;
        assert_ok(&sample);
        assert_eq!(sample.detail["body_bytes"], 2, "{bytes}");
    }
    for (method, status) in
        [("HEAD", "200 OK"), ("GET", "204 No Content"), ("DELETE", "204 No Content")]
    {
        let server = Server::answering(format!("HTTP/1.1 {status}\r\n\r\n")).await;
        assert_ok(&run(&format!("{{url: '{}', method: {method}}}", server.url())).await);
    }
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let sample = run(&format!("url: 'http://{address}/'")).await;
    assert_failed(&sample, FailureClass::Refused, "econnrefused");
}

#[tokio::test]
async fn a_port_that_takes_nobody_in_is_a_connect_timeout() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
    let listener = socket.listen(1).expect("listens");
    let address = listener.local_addr().expect("bound");
    // Fills the queue of connections that nobody accepts; the next gets no answer.
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address))
            .await
    {
        queued.push(stream);
    }
    let sample = run_to_deadline(&format!("url: 'http://{address}/'"), SHORT).await;
    assert_eq!(sample.outcome, Outcome::Failed(FailureClass::ConnectTimeout), "{sample:?}");
    assert_eq!(sample.code, None);
}

#[tokio::test]
async fn a_hang_is_named_by_its_phase() {
    let silent = Server::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mute = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab").await);
        std::future::pending::<()>().await;
    })
    .await;
    let drip = Server::start(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\nx: y".iter().cycle() {
            drop(stream.write_all(&[*byte]).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for (server, phase) in [(&silent, "wait"), (&mute, "receive"), (&drip, "receive")] {
        let block = format!("url: '{}'", server.url());
        let sample = run_to_deadline(&block, SHORT).await;
        assert_failed(&sample, FailureClass::Timeout, phase);
        assert!(!phases(&sample).contains(&phase), "what did not end has no sample: {sample:?}");
        assert!(parts(&sample) <= total(&sample));
    }
}

#[tokio::test]
async fn streams_that_end_too_early_are_closed() {
    for bytes in [
        "",
        "HTTP",
        "HTTP/1.1 200 OK\r\ncontent-",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        let server = Server::answering(bytes).await;
        let sample = run(&format!("url: '{}'", server.url())).await;
        assert_failed(&sample, FailureClass::Closed, "eof");
    }
}

#[tokio::test]
async fn a_reset_is_told_from_an_end() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"] {
        let server = Server::start(move |mut stream| async move {
            read_head(&mut stream).await;
            drop(stream.write_all(bytes.as_bytes()).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            reset(stream);
        })
        .await;
        let sample = run(&format!("url: '{}'", server.url())).await;
        assert_failed(&sample, FailureClass::Closed, "econnreset");
    }
}

#[tokio::test]
async fn bytes_that_are_not_http_are_a_protocol_failure() {
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(201));
    let long_header = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    for (bytes, code) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "not_http"),
        ("220 mail.example ESMTP\r\n", "not_http"),
        ("\0\0\0\0\0\0\0\0", "not_http"),
        ("HTTQ", "not_http"),
        ("HTTP/9.9 200 OK\r\n\r\n", "http"),
        ("HTTP/1.1 2x0 OK\r\n\r\n", "http"),
        ("HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "http"),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "http"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "http"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n", "chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "chunk"),
        (many_headers.as_str(), "headers"),
        (long_header.as_str(), "headers"),
    ] {
        let server = Server::answering(bytes).await;
        let sample = run(&format!("url: '{}'", server.url())).await;
        assert_failed(&sample, FailureClass::Protocol, code);
    }
}

#[tokio::test]
async fn expectations_are_judged() {
    let json = r#"{"status":"down","version":"v42"}"#;
    let server =
        Server::answering(answer("200 OK", "content-type: application/json\r\n", json)).await;
    for (expect, code) in [
        ("{contains: '\"down\"', matches: 'v[0-9]+', json: {path: $.status, equals: down}}", None),
        ("{headers: {content-type: json}, status: 200}", None),
        ("{contains: [down, up]}", Some("body")),
        ("{matches: '^v[0-9]+'}", Some("regex")),
        ("{json: {path: $.status, equals: ok}}", Some("value")),
        ("{json: [{path: $.status}, {path: $.absent}]}", Some("value")),
        ("{headers: {content-type: ^text/html}}", Some("header")),
        ("{headers: {x-absent: .}}", Some("header")),
        ("{max_size: 32}", Some("max_size")),
        ("{max_size: 33}", None),
    ] {
        let sample = run(&format!("{{url: '{}', expect: {expect}}}", server.url())).await;
        match code {
            None => assert_ok(&sample),
            Some(code) => assert_failed(&sample, FailureClass::Assertion, code),
        }
    }
}

#[tokio::test]
async fn statuses_are_expected_or_not() {
    for (status, expect, ok) in [
        ("200 OK", "[200-299]", true),
        ("503 Service Unavailable", "[200-299]", false),
        ("503 Service Unavailable", "503", true),
        ("404 Not Found", "[200, 404]", true),
        ("302 Found", "[200-299]", false),
        ("302 Found", "302", true),
        ("599 Odd", "[200-299]", false),
    ] {
        let server = Server::answering(answer(status, "location: /x\r\n", "ok")).await;
        let sample =
            run(&format!("{{url: '{}', expect: {{status: {expect}}}}}", server.url())).await;
        let code = &status[..3];
        assert_eq!(sample.code.as_deref(), Some(code));
        if ok { assert_ok(&sample) } else { assert_failed(&sample, FailureClass::Status, code) }
    }
}

#[tokio::test]
async fn refused_credentials_are_told_from_a_wrong_status() {
    let server = Server::answering(answer("401 Unauthorized", "", "")).await;
    let with =
        run(&format!("{{url: '{}', headers: {{Authorization: Bearer x}}}}", server.url())).await;
    assert_failed(&with, FailureClass::Auth, "401");
    let without = run(&format!("url: '{}'", server.url())).await;
    assert_failed(&without, FailureClass::Status, "401");
}

#[tokio::test]
async fn a_denied_target_sees_no_packet() {
    let server = Server::answering(answer("200 OK", "", "ok")).await;
    for to in ["any", "10.0.0.0/8", "portal.example", "'127.0.0.1:1'"] {
        let policy = Policy::parse("p", &format!("allow: [{{kind: http, to: {to}}}]")).expect(to);
        let environment = Environment::new(Permission::Policy(policy));
        for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
            let block = format!("url: 'http://{host}:{}/'", server.address.port());
            let sample = run_in(&environment, &block, SHORT).await;
            let expected = (Outcome::Invalid(InvalidReason::PolicyDenied), Some("target"));
            assert_eq!(
                (sample.outcome, sample.code.as_deref()),
                expected,
                "{to} {host}: {sample:?}"
            );
        }
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.accepted(), 0);
    let policy =
        Policy::parse("p", "allow: [{kind: http, to: [any, 127.0.0.0/8]}]").expect("valid");
    let environment = Environment::new(Permission::Policy(policy));
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let block = format!("url: 'http://{host}:{}/'", server.address.port());
        assert_ok(&run_in(&environment, &block, SHORT).await);
    }
}
