//! Each hostile target: the right outcome, class and code, within timeout + 50 ms, in bounded memory.

use harness::attempts::{total, try_plan, verdict};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_millis(500);
/// By so much an attempt may miss its deadline.
const SLACK: Duration = Duration::from_millis(50);
/// So much more memory than a friendly target may a hostile one cost: half a megabyte of headers is held, in a buffer that
/// is moved each time it doubles, and what it leaves is not given back at once.
const MEMORY_MAX_BYTES: u64 = 4 << 20;
const COUNT: u32 = 4;

/// What a target does with every connection.
#[derive(Clone)]
enum Behaviour {
    /// Answers these bytes, and ends the stream.
    Answer(Vec<u8>),
    /// Answers these bytes, and resets.
    Reset(Vec<u8>),
    /// Answers these bytes, then this piece again and again, so many times, with a pause.
    Flood(Vec<u8>, Vec<u8>, u64, Duration),
    /// Takes the connection in, and says nothing.
    Silence,
}

async fn behave(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), behaviour: &Behaviour) {
    if matches!(behaviour, Behaviour::Silence) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        return;
    }
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n")
        && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0)
    {}
    match behaviour {
        Behaviour::Answer(bytes) | Behaviour::Reset(bytes) => drop(stream.write_all(bytes).await),
        Behaviour::Flood(head, piece, times, pause) => {
            let mut open = stream.write_all(head).await.is_ok();
            for _ in 0..*times {
                open =
                    open && stream.write_all(piece).await.is_ok() && stream.flush().await.is_ok();
                if !open {
                    return;
                }
                if !pause.is_zero() {
                    tokio::time::sleep(*pause).await;
                }
            }
        }
        Behaviour::Silence => {}
    }
    drop(stream.flush().await);
    if matches!(behaviour, Behaviour::Answer(_)) {
        drop(stream.shutdown().await);
    } else {
        // What was answered must arrive before the reset does.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn serve(runtime: &Runtime, behaviour: Behaviour, tls: Option<rustls::ServerConfig>) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback");
    let address = listener.local_addr().expect("bound");
    let acceptor = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, behaviour.clone(), acceptor.clone()));
        }
    });
    address
}

async fn connection(
    mut stream: TcpStream,
    behaviour: Behaviour,
    tls: Option<tokio_rustls::TlsAcceptor>,
) {
    if let Some(acceptor) = tls {
        if let Ok(mut stream) = acceptor.accept(stream).await {
            behave(&mut stream, &behaviour).await;
        }
        return;
    }
    behave(&mut stream, &behaviour).await;
    if matches!(behaviour, Behaviour::Reset(_)) {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).expect("lingers");
    }
}

/// A certificate for these names, signed by the authority or by itself.
fn certificate(
    names: &[&str],
    expired: bool,
    authority: Option<&CertifiedIssuer<'_, KeyPair>>,
) -> rustls::ServerConfig {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    if expired {
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority),
        None => params.self_signed(&key),
    };
    let der = certificate.expect("signs").der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![der], key))
        .expect("a configuration")
}

/// Tries an `http` block: every attempt must end in that way and in time. Returns the memory it took, bytes.
fn row(dir: &Path, name: &str, block: &str, expected: &str, hangs: bool) -> u64 {
    let plan = dir.join("plan.yaml");
    let text = format!("probes:\n  - {{name: a, every: 10s, timeout: 500ms, http: {block}}}\n");
    std::fs::write(&plan, text).expect("writes");
    let tried = try_plan(&plan, COUNT, Duration::from_secs(20));
    assert_eq!(tried.lines.len(), COUNT as usize, "{name}");
    let longest = tried.lines.iter().map(total).max().expect("attempts");
    println!("{name:<22} {expected:<34} longest {longest:?}, {} KiB", tried.rss_most_bytes >> 10);
    for line in &tried.lines {
        assert_eq!(verdict(line), expected, "{name}: {line}");
        assert!(total(line) <= TIMEOUT + SLACK, "{name}: {line}");
        assert!(!hangs || total(line) >= TIMEOUT, "{name} ended before its deadline: {line}");
    }
    tried.rss_most_bytes
}

fn answer(head: &str, body: &str) -> Behaviour {
    Behaviour::Answer(
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
    )
}

#[test]
fn hostile_targets_are_told_apart_in_time_and_in_memory() {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let http =
        |behaviour: Behaviour| format!("url: 'http://{}/'", serve(&runtime, behaviour, None));
    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let body =
        |length: u64| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    let slow = Duration::from_secs(1);
    let drip = Behaviour::Flood(body(1_000), b"x".to_vec(), 1_000, slow);
    let gigabyte = Behaviour::Flood(body(1 << 30), vec![b'x'; 1 << 16], 1 << 14, Duration::ZERO);
    let headers = Behaviour::Flood(
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"x-y: z\r\n".repeat(100),
        10_000,
        Duration::ZERO,
    );
    let cut = Behaviour::Reset([body(1_000), b"only this".to_vec()].concat());

    let friendly = row(
        dir.path(),
        "friendly",
        &format!("{{{}}}", http(answer("200 OK", "ok"))),
        "ok - 200",
        false,
    );
    let rows = [
        (
            "refused port",
            format!("url: 'http://{}/'", closed.expect("a port")),
            "failed refused econnrefused",
            false,
        ),
        ("silence", http(Behaviour::Silence), "failed timeout wait", true),
        ("a byte a second", http(drip), "failed timeout receive", true),
        ("1 GB body", http(gigabyte), "failed assertion max_size", false),
        ("10^6 headers", http(headers), "failed protocol headers", false),
        ("reset mid-body", http(cut), "failed closed econnreset", false),
        ("503", http(answer("503 Busy", "")), "failed status 503", false),
        (
            "wrong text",
            http(answer("200 OK", "no")) + ", expect: {contains: welcome}",
            "failed assertion body",
            false,
        ),
    ];
    for (name, block, expected, hangs) in rows {
        let took = row(dir.path(), name, &format!("{{{block}}}"), expected, hangs);
        assert!(
            took <= friendly + MEMORY_MAX_BYTES,
            "{name}: {took} bytes, a friendly target {friendly}"
        );
    }
}

#[test]
fn certificates_are_told_apart_in_time() {
    let runtime = Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    // Another name than the self-signed certificate has: else it would pass for one of this authority's, badly signed.
    params.distinguished_name.push(DnType::CommonName, "authority of the test");
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signs");
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("writes");
    for (name, config, expected) in [
        ("good certificate", certificate(&["localhost"], false, Some(&authority)), "ok - 200"),
        (
            "wrong name",
            certificate(&["other.test"], false, Some(&authority)),
            "failed tls tls:name",
        ),
        ("expired", certificate(&["localhost"], true, Some(&authority)), "failed tls tls:expired"),
        ("self-signed", certificate(&["localhost"], false, None), "failed tls tls:issuer"),
    ] {
        let port = serve(&runtime, answer("200 OK", "ok"), Some(config)).port();
        let block =
            format!("{{url: 'https://localhost:{port}/', ip: 4, ca_file: {}}}", ca_file.display());
        row(dir.path(), name, &block, expected, false);
    }
}
