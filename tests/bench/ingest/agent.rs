//! An agent that always has something to deliver, and delivers as much as it is given credit for.

use super::reports::Reports;
use anyhow::{Context as _, bail, ensure};
use probefleet_agent::simulation::EvidenceKey;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use probefleet_proto::v1::fleet_client::FleetClient;
use probefleet_proto::v1::{Data, FromAgent, Hello, ToAgent, from_agent, to_agent};
use prost::Message as _;
use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};
use uuid::Uuid;

/// Metadata in which an agent without TLS says who it is.
const AGENT_ID: &str = "probefleet-agent-id";
/// In front of every gRPC message: compressed or not, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// What one agent delivers, and to whom.
pub struct Feed {
    pub collector: String,
    pub number: u32,
    /// Reports of a frame.
    pub frame: usize,
    /// Signs the reports, if they are signed.
    pub key: Option<EvidenceKey>,
    pub reports: Arc<Reports>,
    /// Counts records as they are acknowledged.
    pub acknowledged: Arc<AtomicU64>,
    pub stop: Arc<AtomicBool>,
}

/// What was sent and acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    pub records: u64,
    pub payload_bytes: u64,
    pub wire_bytes: u64,
}

impl AddAssign for Delivered {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.payload_bytes += other.payload_bytes;
        self.wire_bytes += other.wire_bytes;
    }
}

/// The end of a spool.
struct Spool {
    id: SpoolId,
    next_seq: u64,
    head: Hash,
}

/// A frame that is not acknowledged yet.
struct Sent {
    seq: u64,
    hash: Hash,
    records: u64,
    payload_bytes: usize,
}

impl Feed {
    /// Delivers until it is told to stop and everything is acknowledged.
    pub async fn run(self) -> anyhow::Result<Delivered> {
        let id: SpoolId = *Uuid::from_u128(u128::from(self.number) + 1).as_bytes();
        let mut spool = Spool { id, next_seq: 1, head: genesis_hash(&id) };
        let (up, mut down) = self.open(&spool).await?;
        let (session, mut credit_bytes) = welcome(&mut down).await?;
        let mut delivered = Delivered::default();
        let mut waiting: VecDeque<Sent> = VecDeque::new();
        loop {
            let (data, sent) = self.frame(&mut spool, session);
            let in_flight = |waiting: &VecDeque<Sent>| {
                waiting.iter().map(|sent| sent.payload_bytes).sum::<usize>()
            };
            while in_flight(&waiting) + sent.payload_bytes > credit_bytes {
                credit_bytes = self.take_ack(&mut down, &mut waiting).await?;
            }
            delivered += Delivered {
                records: sent.records,
                payload_bytes: sent.payload_bytes as u64,
                wire_bytes: (data.encoded_len() + GRPC_PREFIX_BYTES) as u64,
            };
            waiting.push_back(sent);
            up.send(data).await.context("the session has ended")?;
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        while !waiting.is_empty() {
            self.take_ack(&mut down, &mut waiting).await?;
        }
        Ok(delivered)
    }

    async fn open(
        &self,
        spool: &Spool,
    ) -> anyhow::Result<(mpsc::Sender<FromAgent>, Streaming<ToAgent>)> {
        let channel =
            tonic::transport::Endpoint::from_shared(format!("http://{}", self.collector))?
                .connect()
                .await?;
        let (up, stream) = mpsc::channel(4);
        let hello = Hello {
            protocol: 1,
            spool_id: spool.id.to_vec(),
            boot_id: spool.id.to_vec(),
            next_seq: spool.next_seq,
            head_hash: spool.head.to_vec(),
            version: "bench".to_owned(),
            proposed_name: format!("bench-{}", self.number),
            evidence_key: self
                .key
                .as_ref()
                .map_or_else(Vec::new, |key| key.public().as_bytes().to_vec()),
            ..Hello::default()
        };
        up.send(FromAgent { message: Some(from_agent::Message::Hello(hello)) }).await?;
        let mut request = Request::new(ReceiverStream::new(stream));
        let agent_id = Uuid::from_u128(u128::from(self.number) + 1);
        request.metadata_mut().insert(AGENT_ID, agent_id.to_string().parse()?);
        let down = FleetClient::new(channel).session(request).await?.into_inner();
        Ok((up, down))
    }

    /// The next reports of the spool, chained.
    fn frame(&self, spool: &mut Spool, session: u64) -> (FromAgent, Sent) {
        let mut sent = Sent { seq: 0, hash: [0; 32], records: 0, payload_bytes: 0 };
        let mut records = Vec::with_capacity(self.frame);
        for _ in 0..self.frame {
            let mut record = Record {
                seq: spool.next_seq,
                seq_to: spool.next_seq,
                kind: Kind::Report,
                prev_hash: spool.head,
                payload: self.reports.payload(spool.next_seq),
                signature: Vec::new(),
            };
            if let Some(key) = &self.key {
                key.sign(&mut record, &spool.id);
            }
            spool.head = record.content_hash(&spool.id);
            spool.next_seq += 1;
            sent = Sent {
                seq: record.seq,
                hash: spool.head,
                records: sent.records + 1,
                payload_bytes: sent.payload_bytes + record.payload.len(),
            };
            records.push(record.into());
        }
        let data = from_agent::Message::Data(Data { session, records });
        (FromAgent { message: Some(data) }, sent)
    }

    /// Waits for an acknowledgement, which must be of what was sent. Gives the credit.
    async fn take_ack(
        &self,
        down: &mut Streaming<ToAgent>,
        waiting: &mut VecDeque<Sent>,
    ) -> anyhow::Result<usize> {
        loop {
            let message = down.message().await?.context("the collector ended the session")?;
            match message.message {
                Some(to_agent::Message::Ack(ack)) => {
                    while let Some(sent) = waiting.pop_front_if(|sent| sent.seq <= ack.last_seq) {
                        let same = sent.seq != ack.last_seq || sent.hash[..] == ack.last_hash;
                        ensure!(same, "record {} was acknowledged with another hash", sent.seq);
                        self.acknowledged.fetch_add(sent.records, Ordering::Relaxed);
                    }
                    return Ok(ack.credit_bytes as usize);
                }
                Some(to_agent::Message::Plan(_)) => {}
                other => bail!("not an acknowledgement: {other:?}"),
            }
        }
    }
}

/// The session's number and credit.
async fn welcome(down: &mut Streaming<ToAgent>) -> anyhow::Result<(u64, usize)> {
    match down.message().await?.and_then(|message| message.message) {
        Some(to_agent::Message::Welcome(welcome)) => {
            Ok((welcome.session, welcome.credit_bytes as usize))
        }
        other => bail!("not a Welcome: {other:?}"),
    }
}
