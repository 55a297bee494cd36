//! What is under way between the two sides, and what becomes of it when it arrives.

use super::{AGENT, Minus, NOW, NOW_NS, World};
use probefleet_collector::ingest::session::Session;
use probefleet_collector::store::{Head, Opened};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::v1;
use probefleet_proto::v1::from_agent::Message as Up;
use probefleet_proto::v1::to_agent::Message as Down;
use prost::Message as _;
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    pub(super) member: usize,
    pub(super) connection: u64,
    pub(super) is_up: bool,
    pub(super) bytes: Rc<Vec<u8>>,
}

impl World {
    pub(super) fn send_up(&mut self, member: usize, connection: u64, message: Up) {
        let bytes = Rc::new(v1::FromAgent { message: Some(message) }.encode_to_vec());
        self.wire.insert(Message { member, connection, is_up: true, bytes });
    }

    pub(super) fn deliver(&mut self, message: &Message, again: bool) {
        if !again {
            self.wire.remove(message);
        }
        if message.is_up {
            let said = v1::FromAgent::decode(message.bytes.as_slice()).expect("was encoded");
            self.hear(message.member, message.connection, said.message.expect("says something"));
        } else {
            let said = v1::ToAgent::decode(message.bytes.as_slice()).expect("was encoded");
            let member = &mut self.members[message.member];
            if member.connection == message.connection {
                member.agent.receive(said, *NOW);
                self.act(message.member);
            }
        }
    }

    fn hear(&mut self, member: usize, connection: u64, mut said: Up) {
        if let (Up::Data(data), Some(session)) =
            (&mut said, self.collector.conversations.get_mut(&connection))
        {
            if matches!(self.minus, Some(Minus::Signatures | Minus::HashChain)) {
                data.records.iter_mut().for_each(|record| record.signature.clear());
            }
            weaken(self.minus, data, session);
        }
        let (answers, _) = self.collector.hear(connection, AGENT, said, NOW_NS);
        for mut answer in answers {
            self.adjust(member, &mut answer);
            if self.members[member].connection == connection {
                let bytes = Rc::new(v1::ToAgent { message: Some(answer) }.encode_to_vec());
                self.wire.insert(Message { member, connection, is_up: false, bytes });
            }
        }
    }

    /// Whether nobody signs. Where the wire changes hashes, no signature would fit.
    pub(super) fn is_unsigned(&self) -> bool {
        matches!(self.minus, Some(Minus::Signatures | Minus::HashChain))
    }

    /// Credit as the bounds have it; without the chain, hashes that fit.
    fn adjust(&mut self, member: usize, answer: &mut Down) {
        let (last_seq, last_hash, credit_bytes) = match answer {
            Down::Welcome(welcome) => {
                (welcome.last_seq, &mut welcome.last_hash, &mut welcome.credit_bytes)
            }
            Down::Ack(ack) => (ack.last_seq, &mut ack.last_hash, &mut ack.credit_bytes),
            Down::Nack(_) | Down::Plan(_) | Down::GoAway(_) => return,
        };
        *credit_bytes = self.credit_bytes;
        if self.minus == Some(Minus::HashChain)
            && let Ok(Some(ours)) = self.members[member].agent.hash_of(last_seq)
        {
            *last_hash = ours.to_vec();
        }
    }

    /// Answers of connections that nobody listens to any more.
    pub(super) fn forget_answers(&mut self, member: usize) {
        let connection = self.members[member].connection;
        self.wire.retain(|message| {
            message.is_up || message.member != member || message.connection == connection
        });
    }
}

/// What the wire does to a frame where a mechanism is missing.
fn weaken(minus: Option<Minus>, data: &mut v1::Data, session: &mut Session) {
    let Some(first) = data.records.first_mut() else { return };
    let head = session.head();
    match minus {
        Some(Minus::Fence) => data.session = head.session,
        Some(Minus::HashChain) if first.seq == head.last_seq + 1 => {
            first.prev_hash = head.last_hash.to_vec()
        }
        Some(Minus::Contiguity) if first.seq > head.last_seq => {
            let last_hash = first.prev_hash.as_slice().try_into().expect("32 bytes");
            let head = Head { last_seq: first.seq - 1, last_hash, session: head.session };
            let name = Name::new("a").expect("a name");
            let opened = Opened {
                stream: session.stream(),
                head,
                name,
                labels: Labels::new(),
                first_sight: false,
                evidence: session.evidence(),
                key_before: None,
            };
            *session = Session::new(session.spool_id(), &opened);
        }
        _ => {}
    }
}

pub(super) fn name(message: &Message) -> String {
    let records = |data: &v1::Data| {
        let seqs: Vec<String> = data
            .records
            .iter()
            .map(|record| {
                if record.seq == record.seq_to {
                    record.seq.to_string()
                } else {
                    format!("{}-{}", record.seq, record.seq_to)
                }
            })
            .collect();
        seqs.join("+")
    };
    let what = if message.is_up {
        match v1::FromAgent::decode(message.bytes.as_slice()).ok().and_then(|said| said.message) {
            Some(Up::Hello(hello)) => format!("Hello(next {})", hello.next_seq),
            Some(Up::Data(data)) => format!("Data({})", records(&data)),
            _ => "?".to_owned(),
        }
    } else {
        match v1::ToAgent::decode(message.bytes.as_slice()).ok().and_then(|said| said.message) {
            Some(Down::Welcome(welcome)) => format!("Welcome({})", welcome.last_seq),
            Some(Down::Ack(ack)) => format!("Ack({})", ack.last_seq),
            Some(Down::Nack(nack)) => {
                format!("Nack({}, {})", nack.code().as_str_name(), nack.expected_seq)
            }
            _ => "?".to_owned(),
        }
    };
    format!("{what} of connection {}", message.connection)
}
