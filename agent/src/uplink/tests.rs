mod collector;

use self::collector::Collector;
use super::*;
use crate::evidence::any_key;
use crate::spool::{Limits, Recovered, Spool};
use probefleet_proto::record::{Kind, Record};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

const AGENT: [u8; 16] = [1; 16];
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration without TLS for this URL.
pub(super) fn config(collector: &str) -> UplinkConfig {
    UplinkConfig {
        collector: collector.to_owned(),
        tls: None,
        agent_id: Uuid::from_bytes(AGENT),
        boot_id: [2; 16],
        name: "test".to_owned(),
        labels: BTreeMap::from([("site".to_owned(), "berlin".to_owned())]),
        version: "0".to_owned(),
        evidence_key: any_key().public(),
    }
}

/// A collector that knows the agent.
fn collector() -> Collector {
    let collector = Collector::default();
    collector.0.lock().expect("no panic").agent_id = AGENT.to_vec();
    collector
}

/// A running uplink with the runner's ends of its channels.
struct Agent {
    dir: TempDir,
    spool: SpoolHandle,
    recovered: Recovered,
    views: Views,
    plans: mpsc::Receiver<v1::Plan>,
    applied: mpsc::Sender<v1::PlanApplied>,
    status: watch::Sender<v1::Status>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _held: (watch::Sender<Vec<u8>>, watch::Sender<Clock>),
}

impl Agent {
    fn start(config: UplinkConfig) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (spool, recovered) = Spool::open(dir.path(), Limits::new(0), any_key()).expect("opens");
        let (mut uplink, views) = Uplink::new(config).expect("a good configuration");
        uplink.reconnect = Reconnect::hurried(7);
        let (plans_in, plans) = mpsc::channel(1);
        let (applied, applied_out) = mpsc::channel(4);
        let (plan_hash, plan_hash_out) = watch::channel(vec![5; 32]);
        let (status, status_out) = watch::channel(v1::Status::default());
        let (clock, clock_out) = watch::channel(Clock::start());
        let links = Links {
            plans: plans_in,
            applied: applied_out,
            plan_hash: plan_hash_out,
            status: status_out,
            clock: clock_out,
        };
        let (stop, stopped) = oneshot::channel();
        let task =
            tokio::spawn(uplink.run(spool.clone(), links, async move { drop(stopped.await) }));
        Self {
            dir,
            spool,
            recovered,
            views,
            plans,
            applied,
            status,
            stop,
            task,
            _held: (plan_hash, clock),
        }
    }

    fn plain(address: SocketAddr) -> Self {
        Self::start(config(&format!("http://{address}")))
    }

    async fn append(&self, window: u64) -> u64 {
        let report = v1::Report {
            window_start_s: window * 60,
            window_s: 60,
            plan_hash: vec![0; 500],
            ..v1::Report::default()
        };
        self.spool.append(Kind::Report, report.encode_to_vec()).await.expect("appended").0
    }

    /// Waits until the collector has everything.
    async fn delivered(&self) {
        let mut state = self.spool.state();
        timeout(PATIENCE, state.wait_for(|state| state.unacked_bytes == 0))
            .await
            .expect("in time")
            .expect("open");
    }

    async fn stop(self) -> TempDir {
        self.stop.send(()).expect("running");
        timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
        self.spool.close().await.expect("closed");
        self.dir
    }

    async fn link(&mut self, wanted: impl FnMut(&LinkState) -> bool) -> LinkState {
        timeout(PATIENCE, self.views.link.wait_for(wanted))
            .await
            .expect("in time")
            .expect("running")
            .clone()
    }
}

/// Every record of a spool folder, as a restarted agent reads it.
async fn on_disk(dir: &Path) -> Vec<Record> {
    let (spool, recovered) = Spool::open(dir, Limits::new(0), any_key()).expect("opens");
    let (mut records, mut seq) = (Vec::new(), 1);
    while seq < recovered.next_seq {
        records.extend(spool.read_from(seq, 100_000).await.expect("readable"));
        seq = records.last().map_or(seq, |record: &Record| record.seq_to + 1);
    }
    spool.close().await.expect("closed");
    records
}

#[tokio::test]
async fn each_record_arrives_once_and_in_order_whatever_breaks() {
    for seed in 0..3 {
        let collector = collector();
        collector.0.lock().expect("no panic").chaos = Some(fastrand::Rng::with_seed(seed));
        let address = collector.listen(None).await;
        let agent = Agent::plain(collector::cutting_relay(address, seed).await);
        for window in 0..300 {
            agent.append(window).await;
            if window % 20 == 0 {
                sleep(Duration::from_millis(20)).await;
            }
        }
        collector.0.lock().expect("no panic").chaos = Some(fastrand::Rng::with_seed(seed + 100));
        agent.delivered().await;
        let spool_id = agent.recovered.spool_id;
        let dir = agent.stop().await;
        let (arrived, hellos) = {
            let state = collector.0.lock().expect("no panic");
            (state.streams[&spool_id].clone(), state.hellos.len())
        };
        assert!(hellos > 3, "connections did break: {hellos}");
        assert_eq!(arrived.len(), 300);
        assert_eq!(arrived, on_disk(dir.path()).await);
    }
}

#[tokio::test]
async fn plans_come_back_and_the_state_is_told() {
    let collector = collector();
    let plan = v1::Plan { hash: vec![3; 32], canonical_json: b"{}".to_vec(), from_window_s: 0 };
    collector.0.lock().expect("no panic").plan = Some(plan.clone());
    let mut agent = Agent::plain(collector.listen(None).await);
    assert_eq!(timeout(PATIENCE, agent.plans.recv()).await.expect("in time"), Some(plan));
    agent.link(|link| *link == LinkState::Up).await;
    let applied = v1::PlanApplied { hash: vec![3; 32], error: String::new() };
    agent.applied.send(applied.clone()).await.expect("running");
    agent.status.send_replace(v1::Status {
        probes: vec![v1::ProbeNow::default()],
        ..v1::Status::default()
    });
    let mut offset = agent.views.offset.clone();
    let offset = *timeout(PATIENCE, offset.wait_for(Option::is_some))
        .await
        .expect("in time")
        .expect("running");
    let offset = offset.expect("waited for");
    assert!(
        offset.error_ns > 0 && offset.offset_ns.unsigned_abs() <= offset.error_ns + 50_000_000,
        "{offset:?}"
    );
    // Appended right before the end: a stopping agent delivers what it can.
    agent.append(1).await;
    let spool_id = agent.recovered.spool_id;
    let dir = agent.stop().await;
    let state = collector.0.lock().expect("no panic");
    assert_eq!(state.streams[&spool_id].len(), 1);
    assert_eq!(state.applied, [applied]);
    assert!(!state.statuses.is_empty());
    let hello = &state.hellos[0];
    assert_eq!((hello.protocol, hello.next_seq, hello.plan_hash.as_slice()), (1, 1, &[5; 32][..]));
    assert_eq!(hello.proposed_labels["site"], "berlin");
    assert_eq!(state.metadata[0].as_deref(), Some("01010101-0101-0101-0101-010101010101"));
    drop(state);
    drop(dir);
}

#[tokio::test]
async fn a_fork_is_told_and_another_spool_goes_on() {
    let collector = collector();
    let agent = Agent::plain(collector.listen(None).await);
    agent.append(1).await;
    agent.delivered().await;
    let old = agent.recovered.spool_id;
    // A copy of this agent's state has sealed something else as record 2.
    let copy = {
        let mut state = collector.0.lock().expect("no panic");
        let first = state.streams[&old][0].clone();
        let prev_hash = first.hash(&old).expect("a hash");
        let copy = Record {
            seq: 2,
            seq_to: 2,
            prev_hash,
            payload: vec![],
            kind: Kind::Event,
            signature: vec![],
        };
        state.streams.get_mut(&old).expect("there").push(copy.clone());
        state.refuse = Some(v1::Nack { code: v1::nack::Code::Fork.into(), ..v1::Nack::default() });
        copy
    };
    agent.append(2).await;
    let mut state = agent.spool.state();
    let replaced = state.wait_for(|state| state.spool_id != old);
    let new = timeout(PATIENCE, replaced).await.expect("in time").expect("open").spool_id;
    agent.append(3).await;
    agent.delivered().await;
    let dir = agent.stop().await;
    let state = collector.0.lock().expect("no panic");
    assert_eq!(state.streams[&old].last(), Some(&copy), "nothing of ours was taken");
    let event = v1::Event::decode(state.streams[&new][0].payload.as_slice()).expect("an event");
    assert_eq!(event.what, "spool_forked");
    assert!(event.detail.contains("windows from 120"), "{}", event.detail);
    assert_eq!(state.streams[&new].len(), 2);
    let kept = std::fs::read_dir(dir.path()).expect("listed");
    assert!(
        kept.map(|entry| entry.expect("listed").path())
            .any(|path| path.extension().is_some_and(|e| e == "forked"))
    );
}

/// The answer that no record gets twice.
fn poison(expected_seq: u64) -> v1::Nack {
    let (code, text) = (v1::nack::Code::Poison.into(), "no report".to_owned());
    v1::Nack { expected_seq, code, text, ..v1::Nack::default() }
}

#[tokio::test]
async fn a_poisonous_record_is_set_aside_in_the_same_session_and_the_rest_arrives() {
    let collector = collector();
    collector.0.lock().expect("no panic").refuse = Some(poison(1));
    let mut agent = Agent::plain(collector.listen(None).await);
    agent.append(1).await;
    agent.append(2).await;
    agent.delivered().await;
    let health = agent.spool.health().borrow().clone();
    let refused = health.refused.expect("told");
    assert_eq!(refused.seq, 1);
    assert_eq!(refused.why, "the collector can never accept record 1: no report");
    assert!(refused.file.is_file(), "{refused:?}");
    assert_eq!(health.mishaps.refused_records, 1);
    agent.link(|link| *link == LinkState::Up).await;
    let spool_id = agent.recovered.spool_id;
    drop(agent.stop().await);
    let state = collector.0.lock().expect("no panic");
    let kinds: Vec<_> = state.streams[&spool_id].iter().map(|r| (r.seq, r.kind)).collect();
    assert_eq!(kinds, [(1, Kind::Gap), (2, Kind::Report)]);
    assert_eq!(state.hellos.len(), 1, "one session");
}

#[tokio::test]
async fn a_collector_that_refuses_everything_stops_the_uplink_and_says_so() {
    let collector = collector();
    collector.0.lock().expect("no panic").poisons = true;
    let mut agent = Agent::plain(collector.listen(None).await);
    for window in 0..20 {
        agent.append(window).await;
    }
    let refused = agent.link(|link| matches!(link, LinkState::Refused(_))).await;
    let LinkState::Refused(why) = refused else { panic!("refused") };
    assert!(why.contains("record 9") && why.contains("8 records were set aside"), "{why}");
    let hellos = collector.0.lock().expect("no panic").hellos.len();
    let (mut spool, dir) = (Vec::new(), agent.stop().await);
    for found in crate::spool::inspect(dir.path()).expect("readable") {
        spool.push((found.reports, found.lost, found.quarantined.len()));
    }
    assert_eq!(spool, [(12, 8, 8)], "the rest is kept");
    assert_eq!(collector.0.lock().expect("no panic").hellos.len(), hellos, "it did not come back");
}

/// A certificate authority with a collector's and an agent's certificate, in a folder.
struct Authority {
    dir: TempDir,
    server: ServerTlsConfig,
}

impl Authority {
    fn new(agent: Uuid) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("signed");
        let issue = |name: SanType| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(vec![]).expect("no names");
            params.subject_alt_names.push(name);
            (params.signed_by(&key, &issuer).expect("signed").pem(), key.serialize_pem())
        };
        let dir = tempfile::tempdir().expect("a folder");
        let uri = format!("spiffe://test/tenant/default/agent/{agent}");
        let (cert, key) = issue(SanType::URI(uri.try_into().expect("ASCII")));
        for (name, text) in [("ca", issuer.pem()), ("cert", cert), ("key", key)] {
            std::fs::write(dir.path().join(name), text).expect("written");
        }
        let (cert, key) = issue(SanType::IpAddress([127, 0, 0, 1].into()));
        let server = ServerTlsConfig::new()
            .identity(Identity::from_pem(cert, key))
            .client_ca_root(Certificate::from_pem(issuer.pem()));
        Self { dir, server }
    }

    fn config(&self, address: SocketAddr) -> UplinkConfig {
        let file = |name| self.dir.path().join(name);
        let tls = TlsFiles { ca_file: file("ca"), cert_file: file("cert"), key_file: file("key") };
        UplinkConfig { tls: Some(tls), ..config(&format!("https://{address}")) }
    }
}

#[tokio::test]
async fn with_tls_both_sides_prove_who_they_are() {
    let authority = Authority::new(Uuid::from_bytes(AGENT));
    let collector = collector();
    let address = collector.listen(Some(authority.server.clone())).await;
    let agent = Agent::start(authority.config(address));
    agent.append(1).await;
    agent.delivered().await;
    drop(agent.stop().await);
    assert_eq!(collector.0.lock().expect("no panic").metadata, [None], "the certificate says it");

    let stranger = Authority::new(Uuid::from_bytes(AGENT));
    let mut agent = Agent::start(stranger.config(address));
    let down =
        agent.link(|link| matches!(link, LinkState::Down(why) if why.contains("ertificate"))).await;
    assert!(matches!(down, LinkState::Down(_)));
    drop(agent.stop().await);

    let other = Authority::new(Uuid::from_bytes([9; 16]));
    let mut agent = Agent::start(other.config(address));
    agent.link(|link| matches!(link, LinkState::Down(why) if why.contains("is the certificate of agent"))).await;
    drop(agent.stop().await);
    assert_eq!(collector.0.lock().expect("no panic").hellos.len(), 1);
}

#[tokio::test]
async fn an_agent_that_cannot_connect_stops_when_it_is_told() {
    let agent = Agent::plain(SocketAddr::from(([127, 0, 0, 1], 1)));
    agent.append(1).await;
    let dir = agent.stop().await;
    assert_eq!(on_disk(dir.path()).await.len(), 1);
}
