//! TLS: certificates that are wrong in each way, and handshakes that do not end.

use super::server::{Server, answer, finish, read_head, reset};
use super::{assert_failed, assert_ok, build, phases, run, run_in, run_to_deadline};
use crate::probe::Outcome;
use probefleet_proto::name::{FailureClass, InvalidReason};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

/// An authority with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("params");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, folder }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn config(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("params");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a certificate");
        server_config(leaf.der().clone(), &key)
    }
}

fn server_config(leaf: CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], private_key(key))
        .expect("a config")
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
}

fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

/// Answers 200 over TLS.
async fn serve(config: ServerConfig) -> Server {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await;
            drop(stream.write_all(answer("200 OK", "", "ok").as_bytes()).await);
            drop(stream.shutdown().await);
        }
    })
    .await
}

fn block(server: &Server, authority: &Authority) -> String {
    let port = server.address.port();
    format!("{{url: 'https://localhost:{port}/', ca_file: '{}'}}", authority.ca_file().display())
}

#[tokio::test]
async fn a_good_certificate_is_shown_with_its_end() {
    let authority = Authority::new("ours");
    let server = serve(authority.config(&["localhost"], |params| {
        params.not_after = date_time_ymd(2099, 1, 2);
    }))
    .await;
    for _ in 0..2 {
        let sample = run(&block(&server, &authority)).await;
        assert_ok(&sample);
        assert_eq!(phases(&sample), ["resolve", "connect", "tls", "wait", "receive", "total"]);
        assert_eq!(sample.detail["cert_not_after"], "2099-01-02T00:00:00Z");
        assert!(sample.detail["cert_expires_in_s"].as_i64().expect("whole") > 0);
    }
    let by_address = serve(authority.config(&["127.0.0.1"], |_| {})).await;
    let sample = run(&block(&by_address, &authority).replace("localhost", "127.0.0.1")).await;
    assert_ok(&sample);
}

#[tokio::test]
async fn certificates_that_are_wrong_have_their_codes() {
    let authority = Authority::new("ours");
    let other = Authority::new("other");
    let key = KeyPair::generate().expect("a key");
    let plain = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let mut as_openssl = plain.clone();
    as_openssl.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let self_signed = |params: &CertificateParams| {
        server_config(params.self_signed(&key).expect("a certificate").der().clone(), &key)
    };
    for (config, code) in [
        (authority.config(&["other.example"], |_| {}), "tls:name"),
        (
            authority.config(&["localhost"], |params| params.not_after = date_time_ymd(2020, 1, 1)),
            "tls:expired",
        ),
        (
            authority
                .config(&["localhost"], |params| params.not_before = date_time_ymd(2098, 1, 1)),
            "tls:not_yet_valid",
        ),
        (other.config(&["localhost"], |_| {}), "tls:issuer"),
        // Another authority of the same name.
        (Authority::new("ours").config(&["localhost"], |_| {}), "tls:signature"),
        (self_signed(&plain), "tls:issuer"),
        (self_signed(&as_openssl), "tls:issuer"),
    ] {
        let server = serve(config).await;
        let sample = run(&block(&server, &authority)).await;
        assert_failed(&sample, FailureClass::Tls, code);
        assert_eq!(phases(&sample), ["resolve", "connect", "total"], "{code}");
    }
}

#[tokio::test]
async fn a_refused_handshake_has_the_number_of_its_alert() {
    let authority = Authority::new("ours");
    for (alert, code) in [(40, "tls:alert:40"), (112, "tls:alert:112"), (70, "tls:alert:70")] {
        let server = Server::start(move |mut stream| async move {
            let mut hello = [0; 5];
            drop(stream.read_exact(&mut hello).await);
            drop(stream.write_all(&[0x15, 3, 3, 0, 2, 2, alert]).await);
            finish(stream).await;
        })
        .await;
        assert_failed(&run(&block(&server, &authority)).await, FailureClass::Tls, code);
    }
    // With TLS 1.3 a server refuses a client without a certificate only after the client's handshake is done.
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("params");
    let leaf = params.signed_by(&key, &authority.issuer).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("a verifier");
    let config = builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![leaf.der().clone()], private_key(&key))
        .expect("a config");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            // Reads to the end, so that the alert is not overtaken by a reset.
            let refused = acceptor.accept(stream).into_fallible().await;
            if let Err((_, stream)) = refused {
                finish(stream).await;
            }
        }
    })
    .await;
    assert_failed(&run(&block(&server, &authority)).await, FailureClass::Tls, "tls:alert:116");
}

#[tokio::test]
async fn handshakes_that_end_early_or_never() {
    let authority = Authority::new("ours");
    let ending = Server::start(|mut stream| async move {
        let mut hello = [0; 1024];
        drop(stream.read(&mut hello).await);
        finish(stream).await;
    })
    .await;
    assert_failed(&run(&block(&ending, &authority)).await, FailureClass::Tls, "tls:eof");
    let resetting = Server::start(|mut stream| async move {
        let mut hello = [0; 1024];
        drop(stream.read(&mut hello).await);
        reset(stream);
    })
    .await;
    assert_failed(&run(&block(&resetting, &authority)).await, FailureClass::Closed, "econnreset");
    let silent = Server::start(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let sample = run_to_deadline(&block(&silent, &authority), Duration::from_millis(500)).await;
    assert_failed(&sample, FailureClass::Timeout, "tls");
}

#[tokio::test]
async fn what_is_not_tls_is_told() {
    let authority = Authority::new("ours");
    for bytes in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail.example ESMTP\r\n", "\0\0\0\0\0\0\0\0"]
    {
        let server = Server::start(move |mut stream| async move {
            let mut hello = [0; 5];
            drop(stream.read_exact(&mut hello).await);
            drop(stream.write_all(bytes.as_bytes()).await);
            finish(stream).await;
        })
        .await;
        assert_failed(&run(&block(&server, &authority)).await, FailureClass::Tls, "tls:not_tls");
    }
}

#[tokio::test]
async fn a_private_stream_cut_short_is_closed() {
    let authority = Authority::new("ours");
    let acceptor = TlsAcceptor::from(Arc::new(authority.config(&["localhost"], |_| {})));
    let server = Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await;
            // Without a length the body ends with the stream, so a cut must not look like an end.
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await);
            drop(stream.flush().await);
            let (stream, _) = stream.into_inner();
            finish(stream).await;
        }
    })
    .await;
    assert_failed(&run(&block(&server, &authority)).await, FailureClass::Closed, "eof");
}

#[tokio::test]
async fn a_broken_ca_file_is_our_own_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let block = format!("{{url: 'https://127.0.0.1:1/', ca_file: '{}'}}", path.display());
    for content in
        [None, Some(""), Some("root:secret:0"), Some("-----BEGIN CERTIFICATE-----\n!!\n")]
    {
        if let Some(content) = content {
            std::fs::write(&path, content).expect("written");
        }
        let sample = run(&block).await;
        assert_eq!(sample.outcome, Outcome::Invalid(InvalidReason::AgentError), "{sample:?}");
        assert_eq!(sample.code.as_deref(), Some("ca_file"));
        assert!(!format!("{sample:?}").contains("secret"));
    }
}

#[tokio::test]
async fn a_changed_ca_file_is_read_again() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = serve(new.config(&["localhost"], |_| {})).await;
    let probe = build(&block(&server, &old)).expect("valid");
    let environment = super::anywhere();
    probe.prepare(&environment);
    let sample = run_in(&environment, &block(&server, &old), super::TIMEOUT).await;
    assert_failed(&sample, FailureClass::Tls, "tls:issuer");
    tokio::time::sleep(Duration::from_millis(20)).await;
    std::fs::write(old.ca_file(), new.issuer.pem()).expect("written");
    assert_ok(&run_in(&environment, &block(&server, &old), super::TIMEOUT).await);
}
