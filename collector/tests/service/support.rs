//! A certificate authority, a running collector, a client that speaks as an agent, and a browser.

use probefleet_collector::config::Config;
use probefleet_collector::service::{Addresses, Collector, ServiceError};
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use probefleet_proto::report::{self, Cell, OtherKind, Series};
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::from_agent::Message as Said;
use probefleet_proto::v1::to_agent::Message as Answer;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

pub(crate) const AGENT: &str = "0198c0de-0000-7000-8000-00000000000a";
pub(crate) const SPOOL: SpoolId = [7; 16];
/// How long anything may take before a test has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

// === certificates ===

/// A certificate authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("signs") }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn server(&self) -> Credentials {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub(crate) fn agent(&self, agent: &str) -> Credentials {
        self.client(&format!("spiffe://acme/tenant/default/agent/{agent}"), |_| {})
    }

    pub(crate) fn client(
        &self,
        uri: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Credentials {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        change(&mut params);
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        let usage = params.extended_key_usages.pop().unwrap_or(usage);
        self.sign(params, usage)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Credentials {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("signs").pem();
        Credentials { cert, key: key.serialize_pem() }
    }
}

// === the collector ===

pub(crate) const PLAN: &str = "\
probes:
  - {name: web, http: {url: https://a.example/}, every: 10s}
  - {name: elsewhere, http: {url: https://b.example/}, every: 10s, agents: {site: london}}
";

/// An agreement whose texts are hostile to whoever shows them.
const AGREEMENT: &str = r#"
agreement: acme-web
version: 1
kind: sla
level: service
title: "<script>alert(1)</script> & sons"
parties:
  provider: {name: "<img src=x onerror=alert(2)>"}
  customer: {name: "\"><b>bold</b>"}
time_zone: NOON
currency: EUR
term: {from: 2020-01-01, until: 2090-01-01}
period: day
services:
  web: {title: Web, monthly_charge: "3000.00"}
objectives:
  availability:
    service: web
    probe: web
    measure: availability
    target: ">= 99%"
    window: {width: 10s}
    vantages: {quorum: 51%, at_least: 1}
    credit: {flat: 10%}
  fast:
    service: web
    probe: web
    measure: {within: 150ms, phase: total}
    target: ">= 95%"
"#;

/// [`AGREEMENT`] in a zone where it is noon, so that the windows of a test never lie in two days.
pub(crate) fn agreement() -> String {
    AGREEMENT.replace("NOON", &noon())
}

/// The zone where it is noon now; the signs of these zones point west.
pub(crate) fn noon() -> String {
    let hour = probefleet_proto::clock::unix_now_ns() / 3_600_000_000_000 % 24;
    match hour {
        0..12 => format!("Etc/GMT-{}", 12 - hour),
        12 => "Etc/UTC".to_owned(),
        _ => format!("Etc/GMT+{}", hour - 12),
    }
}

/// A folder with a configuration and all that it names.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) authority: Option<Authority>,
}

impl Site {
    /// Without TLS.
    pub(crate) fn plain() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder"), authority: None };
        site.write("plan.yaml", PLAN);
        site.write("acme.yaml", &agreement());
        site.write("collector.yaml", &configuration(""));
        site
    }

    /// With mutual TLS for the deployment `acme`.
    pub(crate) fn secured() -> Self {
        let mut site = Self::plain();
        let authority = Authority::new();
        let server = authority.server();
        site.write("ca.pem", &authority.pem());
        site.write("cert.pem", &server.cert);
        site.write("key.pem", &server.key);
        let tls = "deployment: acme\ntls: {ca: ca.pem, cert: cert.pem, key: key.pem}\n";
        site.write("collector.yaml", &configuration(tls));
        site.authority = Some(authority);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writes");
    }

    pub(crate) fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("is secured")
    }

    pub(crate) async fn start(&self) -> Running {
        let config = Config::load(&self.path("collector.yaml")).expect("is fine");
        let collector = Collector::build(config).await.expect("starts");
        let addresses = collector.addresses();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(collector.run(async { drop(stopped.await) }));
        Running { addresses, stop, task }
    }

    /// A client of this collector with these credentials.
    pub(crate) async fn client(
        &self,
        running: &Running,
        credentials: Option<&Credentials>,
    ) -> Result<FleetClient<Channel>, String> {
        let address = running.addresses.agents;
        match &self.authority {
            Some(authority) => secure_client(address, &authority.pem(), credentials).await,
            None => {
                let endpoint = Endpoint::new(format!("http://{address}")).expect("a URL");
                let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
                Ok(FleetClient::new(channel))
            }
        }
    }
}

fn configuration(tls: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nportal: 127.0.0.1:0\nstate_dir: state\nplan: plan.yaml\nwindow: 10s\nagreements:\n  - {{file: acme.yaml, countersigned: true}}\n{tls}"
    )
}

/// A collector that serves.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Running {
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let stopped = tokio::time::timeout(Duration::from_secs(1), self.task).await;
        stopped.expect("within a second").expect("no panic").expect("cleanly");
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        get(self.addresses.portal, path, "localhost").await
    }

    /// The page, as soon as it holds a text.
    pub(crate) async fn page_with(&self, path: &str, text: &str) -> String {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let body = self.get(path).await.body;
            if body.contains(text) {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "no `{text}` in {path}:\n{body}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

pub(crate) async fn secure_client(
    address: SocketAddr,
    ca: &str,
    credentials: Option<&Credentials>,
) -> Result<FleetClient<Channel>, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots);
    let mut config = match credentials {
        None => builder.with_no_client_auth(),
        Some(Credentials { cert, key }) => {
            let cert = CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![cert], key).expect("fits")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = tower::service_fn(move |_: tonic::transport::Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").expect("a name");
            let stream = connector.connect(name, stream).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connect).await;
    channel.map(FleetClient::new).map_err(|error| format!("{error:?}"))
}

// === an agent ===

/// An agent's side of a session.
pub(crate) struct Speaker {
    say: mpsc::Sender<v1::FromAgent>,
    answers: Streaming<v1::ToAgent>,
}

pub(crate) fn hello() -> v1::Hello {
    v1::Hello {
        protocol: 1,
        spool_id: SPOOL.to_vec(),
        boot_id: vec![1; 16],
        version: "0.1.0".to_owned(),
        proposed_name: "berlin-1".to_owned(),
        proposed_labels: [("site".to_owned(), "berlin".to_owned())].into(),
        ..v1::Hello::default()
    }
}

impl Speaker {
    pub(crate) async fn open(client: &mut FleetClient<Channel>) -> Result<Self, Status> {
        Self::open_as(client, None).await
    }

    pub(crate) async fn open_as(
        client: &mut FleetClient<Channel>,
        agent: Option<&str>,
    ) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(8);
        let mut request = Request::new(ReceiverStream::new(said));
        if let Some(agent) = agent {
            request.metadata_mut().insert("probefleet-agent-id", agent.parse().expect("ASCII"));
        }
        let answers = client.session(request).await?.into_inner();
        Ok(Self { say, answers })
    }

    pub(crate) async fn say(&self, said: Said) {
        self.say.send(v1::FromAgent { message: Some(said) }).await.expect("is open");
    }

    pub(crate) async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        Ok(message.expect("in time")?.and_then(|message| message.message))
    }

    pub(crate) async fn welcome(&mut self, hello: v1::Hello) -> v1::Welcome {
        self.say(Said::Hello(hello)).await;
        match self.answer().await.expect("an answer") {
            Some(Answer::Welcome(welcome)) => welcome,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn plan(&mut self) -> v1::Plan {
        match self.answer().await.expect("an answer") {
            Some(Answer::Plan(plan)) => plan,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, session: u64, records: Vec<v1::Record>) -> Answer {
        self.say(Said::Data(v1::Data { session, records })).await;
        self.answer().await.expect("an answer").expect("not the end")
    }
}

/// A spool: a chain of records.
pub(crate) struct Chain {
    pub(crate) records: Vec<v1::Record>,
    tip: Hash,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self { records: Vec::new(), tip: genesis_hash(&SPOOL) }
    }

    pub(crate) fn push(&mut self, kind: Kind, payload: Vec<u8>) {
        let seq = u64::try_from(self.records.len()).expect("small") + 1;
        let (prev_hash, signature) = (self.tip, Vec::new());
        let record = Record { seq, seq_to: seq, kind, prev_hash, payload, signature };
        self.tip = record.hash(&SPOOL).expect("no gap");
        self.records.push(record.into());
    }

    /// Windows of 10 s, the last of which ended `ago_s` before now: one attempt each, the given ones failed.
    pub(crate) fn windows(count: u64, ago_s: u64, failed: &[u64]) -> Self {
        let now_s = probefleet_proto::clock::unix_now_ns() / 1_000_000_000;
        let last_s = (now_s - ago_s) / 10 * 10 - 10;
        let mut chain = Self::new();
        for index in 0..count {
            let window_start_s = last_s - (count - 1 - index) * 10;
            let cell = cell(failed.contains(&index));
            chain.push(Kind::Report, payload(window_start_s, &[cell]));
        }
        chain
    }
}

pub(crate) fn payload(window_start_s: u64, cells: &[Cell]) -> Vec<u8> {
    let head = report::Head { window_start_s, window_s: 10, ..report::Head::default() };
    report::encode(&head, cells).remove(0)
}

fn cell(failed: bool) -> Cell {
    let mut cell = Cell {
        probe: "web".to_owned(),
        spec: [1; 16],
        interval_s: 10,
        scheduled: 1,
        ok: u32::from(!failed),
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    if failed {
        cell.add_other(OtherKind::Failed, "timeout", "wait", 1);
    } else {
        let mut total = Series::new("total", &[150_000_000]);
        total.record(100_000_000);
        cell.series.push(total);
    }
    cell
}

// === a browser ===

/// An answer of the portal.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) async fn get(address: SocketAddr, path: &str, host: &str) -> Page {
    get_with(address, path, &format!("Host: {host}")).await
}

/// With the headers of a reader's own.
pub(crate) async fn get_with(address: SocketAddr, path: &str, headers: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("in time").expect("is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Page {
        status: status.expect("a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// The repository's folder `deploy`.
pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
