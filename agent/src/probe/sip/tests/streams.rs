//! Attempts by TCP and TLS, against a server of a few lines that answers what it is asked.

use super::{TIMEOUT, anywhere, code, run_in};
use crate::probe::sip::endpoint::hop;
use crate::probe::sip::framing::{Frame, Framing};
use crate::probe::sip::message::{Builder, Message, reply};
use crate::probe::{Outcome, Sample};
use probefleet_proto::name::FailureClass;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// What a server does beside answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    Good,
    /// Resets the connection when the call is up.
    Resets,
    /// Says once how long its answer is: never.
    Lengthless,
}

/// Methods that a server was asked.
type Asked = mpsc::Receiver<String>;

/// A server by TCP, or by TLS with that certificate.
async fn server(manners: Manners, acceptor: Option<TlsAcceptor>) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (told, asked) = mpsc::channel(100);
    drop(tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let (told, acceptor) = (told.clone(), acceptor.clone());
            drop(tokio::spawn(async move {
                match acceptor {
                    None => serve(stream, (address, peer), manners, &told).await,
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, (address, peer), manners, &told).await;
                        }
                    }
                }
            }));
        }
    }));
    (address, asked)
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    (address, peer): (SocketAddr, SocketAddr),
    manners: Manners,
    told: &mpsc::Sender<String>,
) {
    let (mut framing, mut buffer) = (Framing::default(), [0; 4_096]);
    loop {
        while let Some(frame) = framing.next().expect("is SIP") {
            let Frame::Message(bytes) = frame else { continue };
            let request = Message::parse(&bytes).expect("a message");
            let method = String::from_utf8_lossy(request.method().expect("a request"));
            told.send(method.clone().into_owned()).await.expect("heard");
            if method == "ACK" && manners == Manners::Resets {
                return;
            }
            for status in answers(&method) {
                let answer = reply(&request, *status, &hop(peer), Some("t")).expect("whole");
                let mut bytes = finished(answer, address, *status);
                if manners == Manners::Lengthless {
                    bytes = String::from_utf8(bytes)
                        .expect("is text")
                        .replace("Content-Length", "X")
                        .into();
                }
                stream.write_all(&bytes).await.expect("written");
            }
        }
        match stream.read(&mut buffer).await {
            Ok(length) if length > 0 => framing.push(&buffer[..length]),
            _ => return,
        }
    }
}

fn answers(method: &str) -> &'static [(u16, &'static str)] {
    match method {
        "ACK" => &[],
        "INVITE" => &[(100, "Trying"), (180, "Ringing"), (200, "OK")],
        _ => &[(200, "OK")],
    }
}

fn finished(answer: Builder, address: SocketAddr, (status, _): (u16, &str)) -> Vec<u8> {
    if status == 100 {
        return answer.empty();
    }
    answer.header("Contact", format!("<sip:b@{address};transport=tcp>")).empty()
}

fn phases(sample: &Sample) -> Vec<&str> {
    sample.phases_ns.iter().map(|(phase, _)| phase.as_ref()).collect()
}

async fn all(mut asked: Asked) -> Vec<String> {
    let mut methods = Vec::new();
    while let Ok(Some(method)) =
        tokio::time::timeout(Duration::from_millis(100), asked.recv()).await
    {
        methods.push(method);
    }
    methods
}

const DELAYS: [&str; 5] =
    ["trying", "session_request_delay", "time_to_answer", "session_disconnect_delay", "total"];

#[tokio::test]
async fn a_call_goes_by_tcp() {
    let (address, asked) = server(Manners::Good, None).await;
    let block = format!("{{uri: 'sip:echo@{address};transport=tcp', mode: call, hold: 20ms}}");
    let sample = run_in(&anywhere(), &block, TIMEOUT).await;
    assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
    assert_eq!(phases(&sample), [&["connect"][..], &DELAYS].concat());
    assert_eq!(sample.detail["timestamps"], "user");
    assert_eq!(sample.detail["retransmits"], 0);
    assert_eq!(all(asked).await, ["INVITE", "ACK", "BYE"], "once each, by one connection or two");
}

#[tokio::test]
async fn a_connection_that_is_reset_in_a_call_is_opened_again_to_end_it() {
    let (address, asked) = server(Manners::Resets, None).await;
    let block = format!("{{uri: 'sip:echo@{address};transport=tcp', mode: call, hold: 50ms}}");
    let sample = run_in(&anywhere(), &block, TIMEOUT).await;
    assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
    assert_eq!(all(asked).await, ["INVITE", "ACK", "BYE"]);
    assert!(!sample.detail.contains_key("teardown_failed"), "{sample:?}");
}

#[tokio::test]
async fn streams_fail_as_they_are() {
    let (address, _asked) = server(Manners::Lengthless, None).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let nobody = closed.local_addr().expect("bound");
    drop(closed);
    for (uri, class, expected) in [
        (format!("sip:a@{address};transport=tcp"), FailureClass::Protocol, "no_content_length"),
        (format!("sip:a@{nobody};transport=tcp"), FailureClass::Refused, "econnrefused"),
    ] {
        for mode in ["options", "call, hold: 10ms"] {
            let block = format!("{{uri: '{uri}', mode: {mode}}}");
            let sample = run_in(&anywhere(), &block, TIMEOUT).await;
            assert_eq!(code(&sample), (Outcome::Failed(class), Some(expected)), "{sample:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_no_connection_times_out() {
    // Its queue of connections is full, so further ones are not answered.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("loopback");
    socket.listen(0).expect("can");
    let address = socket.local_addr().expect("bound").as_socket().expect("of IP");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        waiting.push(stream);
        assert!(waiting.len() < 100, "it takes all of them");
    }
    let block = format!("uri: 'sip:a@{address};transport=tcp'");
    let sample = run_in(&anywhere(), &block, Duration::from_millis(500)).await;
    let expected = (Outcome::Failed(FailureClass::ConnectTimeout), None);
    assert_eq!(code(&sample), expected, "{sample:?}");
}

/// What a server at that address shows, and who has issued it.
fn certificate(names: Vec<SanType>) -> (TlsAcceptor, TempDir) {
    let mut params = CertificateParams::new(Vec::new()).expect("params");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key);
    (TlsAcceptor::from(Arc::new(config.expect("a config"))), folder)
}

#[tokio::test]
async fn an_inquiry_goes_by_tls() {
    let address = SanType::IpAddress("127.0.0.1".parse().expect("an address"));
    let (acceptor, folder) = certificate(vec![address]);
    let (address, _asked) = server(Manners::Good, Some(acceptor)).await;
    let ca_file = folder.path().join("ca.pem");
    for uri in [format!("sips:a@{address}"), format!("sip:a@{address};transport=tls")] {
        let block = format!("{{uri: '{uri}', ca_file: '{}'}}", ca_file.display());
        let sample = run_in(&anywhere(), &block, TIMEOUT).await;
        assert_eq!(code(&sample), (Outcome::Ok, Some("sip:200")), "{sample:?}");
        assert_eq!(phases(&sample), ["connect", "tls", "options_request_delay", "total"]);
        assert!(sample.detail.contains_key("cert_not_after"), "{sample:?}");
    }
    let block =
        format!("{{uri: 'sips:a@localhost:{}', ca_file: '{}'}}", address.port(), ca_file.display());
    let sample = run_in(&anywhere(), &block, TIMEOUT).await;
    assert_eq!(code(&sample), (Outcome::Failed(FailureClass::Tls), Some("tls:name")), "{sample:?}");
}
