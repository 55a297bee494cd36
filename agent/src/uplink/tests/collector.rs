//! A collector in memory: commits, then acknowledges, as the protocol has it; and misbehaves as it is told.

use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use probefleet_proto::v1;
use probefleet_proto::v1::fleet_server::{Fleet, FleetServer};
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::nack::Code;
use probefleet_proto::v1::to_agent::Message as Down;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// What the collector has and does; shared with the test.
#[derive(Clone, Default)]
pub(super) struct Collector(pub(super) Arc<Mutex<State>>);

/// See [`Collector`].
#[derive(Default)]
pub(super) struct State {
    /// Everything committed, by spool.
    pub(super) streams: HashMap<SpoolId, Vec<Record>>,
    pub(super) hellos: Vec<v1::Hello>,
    pub(super) statuses: Vec<v1::Status>,
    pub(super) applied: Vec<v1::PlanApplied>,
    pub(super) metadata: Vec<Option<String>>,
    /// Sent after each Welcome.
    pub(super) plan: Option<v1::Plan>,
    /// The answer to the next Data.
    pub(super) refuse: Option<v1::Nack>,
    /// No report is ever accepted.
    pub(super) poisons: bool,
    /// Whom it takes the agent for.
    pub(super) agent_id: Vec<u8>,
    /// Misbehave at random.
    pub(super) chaos: Option<fastrand::Rng>,
    sessions: u64,
}

impl State {
    fn last(&self, spool_id: SpoolId) -> (u64, Hash) {
        let last = self.streams.get(&spool_id).and_then(|records| records.last());
        last.map_or((0, genesis_hash(&spool_id)), |last| {
            (last.seq_to, last.hash(&spool_id).expect("a hash"))
        })
    }

    fn ack(&self, spool_id: SpoolId) -> Down {
        let (last_seq, last_hash) = self.last(spool_id);
        let wall_time_ns = probefleet_proto::clock::unix_now_ns();
        Down::Ack(v1::Ack {
            last_seq,
            last_hash: last_hash.to_vec(),
            credit_bytes: 256 << 10,
            wall_time_ns,
        })
    }

    fn welcome(&mut self, hello: v1::Hello) -> (SpoolId, Vec<Down>) {
        let spool_id = hello.spool_id.as_slice().try_into().expect("16 bytes");
        self.sessions += 1;
        let (last_seq, last_hash) = self.last(spool_id);
        let welcome = v1::Welcome {
            agent_id: self.agent_id.clone(),
            last_seq,
            last_hash: last_hash.to_vec(),
            session: self.sessions,
            credit_bytes: 256 << 10,
            wall_time_ns: probefleet_proto::clock::unix_now_ns(),
            reconnect_within_ms: 0,
        };
        self.hellos.push(hello);
        let plan = self.plan.clone().map(Down::Plan);
        (spool_id, std::iter::once(Down::Welcome(welcome)).chain(plan).collect())
    }

    fn data(&mut self, spool_id: SpoolId, data: v1::Data) -> Vec<Down> {
        if let Some(nack) = self.refuse.take() {
            return vec![Down::Nack(nack)];
        }
        for record in data.records {
            let record = Record::try_from(record).expect("well formed");
            let (last_seq, last_hash) = self.last(spool_id);
            let nack = |code: Code| {
                vec![Down::Nack(v1::Nack {
                    expected_seq: last_seq + 1,
                    code: code.into(),
                    ..v1::Nack::default()
                })]
            };
            let stream = self.streams.entry(spool_id).or_default();
            if record.seq_to <= last_seq {
                let known = stream.iter().find(|known| known.seq == record.seq);
                assert_eq!(known, Some(&record), "a number is never given to other content");
            } else if record.seq != last_seq + 1 {
                return nack(Code::OutOfOrder);
            } else if record.prev_hash != last_hash {
                return nack(Code::Fork);
            } else if self.poisons && record.kind == Kind::Report {
                return nack(Code::Poison);
            } else {
                stream.push(record);
            }
        }
        vec![self.ack(spool_id)]
    }
}

/// What the collector does with a frame when it misbehaves.
enum Mood {
    Well,
    /// The frame never arrived.
    Lose,
    /// Committed, but the answer gets lost with the connection.
    BreakAfterCommit,
    /// The connection breaks before anything is committed.
    BreakBefore,
    /// The answer comes twice.
    Repeat,
    /// Please come back.
    SendAway,
}

impl Collector {
    fn mood(&self) -> Mood {
        let mut state = self.0.lock().expect("no panic");
        match state.chaos.as_mut().map(|random| random.u8(0..12)) {
            Some(0) => Mood::Lose,
            Some(1) => Mood::BreakAfterCommit,
            Some(2) => Mood::BreakBefore,
            Some(3 | 4) => Mood::Repeat,
            Some(5) => Mood::SendAway,
            _ => Mood::Well,
        }
    }

    async fn serve(
        self,
        mut inbound: Streaming<v1::FromAgent>,
        out: mpsc::Sender<Result<v1::ToAgent, Status>>,
    ) {
        let mut spool_id = None;
        while let Some(Ok(v1::FromAgent { message: Some(message) })) = inbound.next().await {
            let mut answers = Vec::new();
            match (message, spool_id) {
                (Up::Hello(hello), None) => {
                    let (id, welcome) = self.0.lock().expect("no panic").welcome(hello);
                    (spool_id, answers) = (Some(id), welcome);
                }
                (Up::Data(data), Some(spool_id)) => {
                    let mood = self.mood();
                    if matches!(mood, Mood::Lose) {
                        continue;
                    }
                    if matches!(mood, Mood::BreakBefore) {
                        return;
                    }
                    answers = self.0.lock().expect("no panic").data(spool_id, data);
                    match mood {
                        Mood::BreakAfterCommit => return,
                        Mood::Repeat => answers.extend(answers.clone()),
                        Mood::SendAway => {
                            answers.push(Down::GoAway(v1::GoAway { resume_in_ms: 5 }))
                        }
                        Mood::Well | Mood::Lose | Mood::BreakBefore => {}
                    }
                }
                (Up::Status(status), Some(_)) => {
                    self.0.lock().expect("no panic").statuses.push(status)
                }
                (Up::PlanApplied(applied), Some(_)) => {
                    self.0.lock().expect("no panic").applied.push(applied)
                }
                (other, _) => panic!("unexpected {other:?}"),
            }
            for message in answers {
                if out.send(Ok(v1::ToAgent { message: Some(message) })).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Serves on a port of loopback, for the rest of the test.
    pub(super) async fn listen(&self, tls: Option<ServerTlsConfig>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = Server::builder();
        if let Some(tls) = tls {
            server = server.tls_config(tls).expect("TLS");
        }
        let router = server.add_service(FleetServer::new(self.clone()));
        drop(tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener))));
        address
    }
}

#[tonic::async_trait]
impl Fleet for Collector {
    type SessionStream = ReceiverStream<Result<v1::ToAgent, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let id = request.metadata().get(super::AGENT_ID_METADATA);
        let id = id.map(|id| id.to_str().expect("text").to_owned());
        self.0.lock().expect("no panic").metadata.push(id);
        let (out, stream) = mpsc::channel(16);
        drop(tokio::spawn(self.clone().serve(request.into_inner(), out)));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A relay that cuts each connection after a random while, so that TCP itself breaks in the middle of anything.
pub(super) async fn cutting_relay(to: SocketAddr, seed: u64) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut random = fastrand::Rng::with_seed(seed);
    drop(tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let life = Duration::from_millis(random.u64(5..200));
            drop(tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.expect("the collector");
                let relay = tokio::io::copy_bidirectional(&mut near, &mut far);
                drop(tokio::time::timeout(life, relay).await);
            }));
        }
    }));
    address
}
