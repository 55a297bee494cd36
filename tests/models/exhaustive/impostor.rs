//! Somebody who has an agent's certificate and knows its chain, but has not its evidence key: what he says in its name, and
//! what the collector takes of it.

use crate::stage::{Collector, evidence_key};
use crate::store::Stream;
use probefleet_agent::simulation::EvidenceKey;
use probefleet_proto::record::{Kind, Record, SpoolId};
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::sync::{Arc, LazyLock};

/// His own.
static KEY: LazyLock<Arc<EvidenceKey>> = LazyLock::new(|| evidence_key(250));
const CONNECTION: u64 = u64::MAX;
const NOW_NS: u64 = 1_800_000_000_000_000_000;

/// What he puts under his record.
#[derive(Clone, Copy, Debug)]
enum Signature {
    None,
    /// By his own key.
    Own,
    /// That of the agent under another record.
    Borrowed,
}

/// What a collector takes of him, in any of the ways that he may try with each of its streams; none, if nothing.
pub fn accepted(collector: &Collector) -> Option<String> {
    for (spool_id, stream) in collector.store.streams() {
        // Before a key is pinned, and for what was sealed before, the certificate is all there is.
        let signed_from = stream.evidence.map_or(0, |evidence| evidence.signed_from);
        if stream.head.last_seq + 1 < signed_from {
            continue;
        }
        for names in [None, Some(KEY.public()), stream.evidence.map(|evidence| evidence.key)] {
            for signature in [Signature::None, Signature::Own, Signature::Borrowed] {
                let key = names.map_or_else(Vec::new, |key| key.as_bytes().to_vec());
                if is_taken(&mut collector.clone(), (&spool_id, &stream), key, signature) {
                    return Some(format!(
                        "record {} of an impostor is taken ({signature:?})",
                        stream.head.last_seq + 1
                    ));
                }
            }
        }
    }
    None
}

fn is_taken(
    collector: &mut Collector,
    (spool_id, stream): (&SpoolId, &Stream),
    evidence_key: Vec<u8>,
    signature: Signature,
) -> bool {
    let (agent, head) = (stream.agent, stream.head);
    let (next_seq, spool) = (head.last_seq + 1, spool_id.to_vec());
    let hello =
        v1::Hello { protocol: 1, spool_id: spool, next_seq, evidence_key, ..v1::Hello::default() };
    let (answers, _) = collector.hear(CONNECTION, agent, Up::Hello(hello), NOW_NS);
    let Some(Down::Welcome(welcome)) = answers.first() else { return false };
    let event = v1::Event { what: "forged".to_owned(), ..v1::Event::default() };
    let mut record = Record {
        seq: next_seq,
        seq_to: next_seq,
        kind: Kind::Event,
        prev_hash: head.last_hash,
        payload: event.encode_to_vec(),
        signature: Vec::new(),
    };
    match signature {
        Signature::None => {}
        Signature::Own => KEY.sign(&mut record, spool_id),
        Signature::Borrowed => {
            let Some(row) = stream.rows.last() else { return false };
            record.signature.clone_from(&row.signature);
        }
    }
    let data = v1::Data { session: welcome.session, records: vec![record.into()] };
    collector.hear(CONNECTION, agent, Up::Data(data), NOW_NS);
    collector.store.stream(spool_id).is_some_and(|after| after.head.last_seq > head.last_seq)
}
