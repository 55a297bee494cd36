//! A relay between agents and their collector that writes down what each said, and can cut them off.

use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::fleet_server::{Fleet, FleetServer};
use probefleet_proto::v1::{FromAgent, ToAgent, from_agent, to_agent};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

/// Metadata in which an agent without TLS says who it is.
const AGENT_ID: &str = "probefleet-agent-id";

/// An acknowledgement, as it went over the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    /// Which spool.
    pub spool_id: Vec<u8>,
    /// Everything up to this sequence.
    pub seq: u64,
    /// With this hash.
    pub hash: Vec<u8>,
}

/// Where the collector is right now.
pub type Upstream = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The relay; runs as long as it is held.
pub struct Relay {
    /// Where agents connect.
    pub address: SocketAddr,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Relay {
    /// Starts on a port of its own.
    pub fn start(upstream: Upstream) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let service = FleetServer::new(Tap { upstream, acknowledged: Arc::clone(&acknowledged) });
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { address, acknowledged, _runtime: runtime }
    }

    /// Every acknowledgement so far.
    pub fn acknowledged(&self) -> Vec<Acknowledged> {
        self.acknowledged.lock().expect("not poisoned").clone()
    }
}

struct Tap {
    upstream: Upstream,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
}

#[tonic::async_trait]
impl Fleet for Tap {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let address = (self.upstream)().ok_or_else(|| Status::unavailable("no collector"))?;
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| Status::unavailable(error.to_string()))?
            .connect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut collector = FleetClient::new(channel);
        let agent_id = request.metadata().get(AGENT_ID).cloned();
        let spool_id = Arc::new(Mutex::new(Vec::new()));
        let (up, up_out) = mpsc::channel(8);
        let heard = Arc::clone(&spool_id);
        let mut from_agent = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(message)) = from_agent.next().await {
                if let Some(from_agent::Message::Hello(hello)) = &message.message {
                    *heard.lock().expect("not poisoned") = hello.spool_id.clone();
                }
                if up.send(message).await.is_err() {
                    break;
                }
            }
        });
        let mut upward = Request::new(ReceiverStream::new(up_out));
        if let Some(agent_id) = agent_id {
            upward.metadata_mut().insert(AGENT_ID, agent_id);
        }
        let downward = collector.session(upward).await?.into_inner();
        let acknowledged = Arc::clone(&self.acknowledged);
        let recorded = downward.map(move |message| {
            if let Ok(ToAgent { message: Some(to_agent::Message::Ack(ack)) }) = &message {
                let spool_id = spool_id.lock().expect("not poisoned").clone();
                let one = Acknowledged { spool_id, seq: ack.last_seq, hash: ack.last_hash.clone() };
                acknowledged.lock().expect("not poisoned").push(one);
            }
            message
        });
        Ok(Response::new(Box::pin(recorded)))
    }
}
