//! Agents and strangers before a collector with mutual TLS: an authority, certificates, connections from many addresses of
//! this machine, and a session that delivers one record after the other.

use crate::fleet::Fleet;
use anyhow::{Context as _, anyhow, bail, ensure};
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use uuid::Uuid;

/// The deployment of these fleets.
const DEPLOYMENT: &str = "suite";

/// Who issues certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the collector of a fleet ask for certificates of a new authority.
    pub fn of(fleet: &Fleet) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signs");
        let authority = Self { issuer };
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let (cert, key) = authority.issue(params, ExtendedKeyUsagePurpose::ServerAuth);
        let write = |name: &str, text: &str| {
            std::fs::write(fleet.dir().join(name), text).expect("writes");
        };
        write("ca.pem", &authority.issuer.pem());
        write("collector.pem", &cert.pem());
        write("collector.key", &key.serialize_pem());
        let path = fleet.collector_config();
        let config = std::fs::read_to_string(&path).expect("written before");
        let tls = "tls: {ca: ca.pem, cert: collector.pem, key: collector.key}";
        std::fs::write(&path, format!("{config}{tls}\ndeployment: {DEPLOYMENT}\n"))
            .expect("writes");
        authority
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> (rcgen::Certificate, KeyPair) {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("signs"), key)
    }

    /// What an agent connects with.
    pub fn agent(&self, agent: Uuid) -> Arc<rustls::ClientConfig> {
        let uri = format!("spiffe://{DEPLOYMENT}/tenant/default/agent/{agent}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        let (cert, key) = self.issue(params, ExtendedKeyUsagePurpose::ClientAuth);
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(self.issuer.der().to_vec())).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert.der().clone()], key)
            .expect("fits");
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

/// A connection from an address of this machine.
///
/// # Errors
/// As the system says.
pub async fn dial(to: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same, with TLS.
///
/// # Errors
/// As the system or the other side says.
pub async fn secure(
    to: SocketAddr,
    from: Ipv4Addr,
    config: &Arc<rustls::ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::clone(config)).connect(name, dial(to, from).await?).await
}

/// An agent's spool, as far as it must be known to go on: it can be taken to the next session.
#[derive(Clone, Copy, Debug)]
pub struct Spool {
    /// Its identity.
    pub id: SpoolId,
    /// Sequence of the next record.
    pub next_seq: u64,
    /// What that chains to.
    pub head: Hash,
}

impl Spool {
    /// An empty one.
    pub fn of(agent: Uuid) -> Self {
        let id = *agent.as_bytes();
        Self { id, next_seq: 1, head: genesis_hash(&id) }
    }

    /// The next record.
    pub fn seal(&mut self, kind: Kind, payload: Vec<u8>) -> v1::Record {
        let (seq, prev_hash) = (self.next_seq, self.head);
        let record = Record { seq, seq_to: seq, kind, prev_hash, payload, signature: Vec::new() };
        self.head = record.content_hash(&self.id);
        self.next_seq += 1;
        record.into()
    }
}

/// An agent in a session.
pub struct Speaker {
    up: mpsc::Sender<v1::FromAgent>,
    down: Streaming<v1::ToAgent>,
    /// What the collector said.
    pub welcome: v1::Welcome,
    /// What it delivers from.
    pub spool: Spool,
}

impl Speaker {
    /// Says Hello over a connection, and waits for Welcome.
    ///
    /// # Errors
    /// Why there is no session.
    pub async fn open(stream: TlsStream<TcpStream>, spool: Spool) -> anyhow::Result<Self> {
        Self::greet(stream, spool).await?.map_err(|nack| anyhow!("not a Welcome: {nack:?}"))
    }

    /// Says Hello over a connection, and waits for Welcome or a refusal.
    ///
    /// # Errors
    /// Why there is neither.
    pub async fn greet(
        stream: TlsStream<TcpStream>,
        spool: Spool,
    ) -> anyhow::Result<Result<Self, v1::Nack>> {
        let mut stream = Some(hyper_util::rt::TokioIo::new(stream));
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            std::future::ready(stream.take().ok_or_else(|| io::Error::other("used up")))
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = endpoint.connect_with_connector(connector).await?;
        let (up, stream) = mpsc::channel(4);
        let hello = v1::Hello {
            protocol: 1,
            spool_id: spool.id.to_vec(),
            boot_id: spool.id.to_vec(),
            next_seq: spool.next_seq,
            head_hash: spool.head.to_vec(),
            version: "suite".to_owned(),
            ..v1::Hello::default()
        };
        up.send(v1::FromAgent { message: Some(Up::Hello(hello)) }).await?;
        let mut down =
            FleetClient::new(channel).session(ReceiverStream::new(stream)).await?.into_inner();
        match down.message().await?.and_then(|message| message.message) {
            Some(Down::Welcome(welcome)) => Ok(Ok(Self { up, down, welcome, spool })),
            Some(Down::Nack(nack)) => Ok(Err(nack)),
            other => bail!("not a Welcome: {other:?}"),
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The session is over.
    pub async fn say(&self, said: Up) -> anyhow::Result<()> {
        self.up.send(v1::FromAgent { message: Some(said) }).await.context("the session is over")
    }

    /// The next answer, plans left out.
    ///
    /// # Errors
    /// The session is over.
    pub async fn answer(&mut self) -> anyhow::Result<Down> {
        loop {
            let message = self.down.message().await?.context("the session is over")?;
            match message.message {
                Some(Down::Plan(_)) | None => {}
                Some(answer) => return Ok(answer),
            }
        }
    }

    /// Sends records without waiting for anything.
    ///
    /// # Errors
    /// The session is over.
    pub async fn send(&self, records: Vec<v1::Record>) -> anyhow::Result<()> {
        self.say(Up::Data(v1::Data { session: self.welcome.session, records })).await
    }

    /// Delivers a report and waits for its acknowledgement; how long that took.
    ///
    /// # Errors
    /// It was not acknowledged.
    pub async fn deliver(&mut self, payload: Vec<u8>) -> anyhow::Result<Duration> {
        let record = self.spool.seal(Kind::Report, payload);
        let (seq, began) = (record.seq, Instant::now());
        self.send(vec![record]).await?;
        match self.answer().await? {
            Down::Ack(ack) => {
                ensure!(ack.last_seq == seq && ack.last_hash == self.spool.head, "another record");
                Ok(began.elapsed())
            }
            other => bail!("record {seq}: {other:?}"),
        }
    }
}

/// A report that is short and right.
pub fn small_report(window: u64) -> Vec<u8> {
    let head = probefleet_proto::report::Head {
        window_start_s: 1_800_000_000 + window * 10,
        window_s: 10,
        plan_hash: vec![1; 32],
        ..Default::default()
    };
    probefleet_proto::report::encode(&head, &[]).remove(0)
}
