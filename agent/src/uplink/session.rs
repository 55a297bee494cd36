//! One session with a collector, without I/O: what is received, read and ticked goes in, what is to be done comes out.
//!
//! ```text
//! Hello → Welcome → (hash compared, or a gap for what is no longer held) → Data … within credit, Ack … releases
//! ```
//! A record that the collector can never accept is set aside by the spool, and what follows is sent again behind the gap that
//! stands for it. Only an Ack or a Welcome whose hash is ours releases anything. Whatever is not understood ends the session: the next
//! Welcome says where both stand.

use crate::spool::{RECORD_OVERHEAD_BYTES, REFUSED_MAX, Refused, Retire, SpoolState};
use probefleet_proto::record::{Hash, PAYLOAD_MAX_BYTES, Record, SpoolId, genesis_hash};
use probefleet_proto::v1;
use probefleet_proto::v1::nack::Code;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Nothing heard for so long while an answer is due: the other side is gone, whatever TCP says.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a session that has lived its time waits for what is in flight.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Least wait after BUSY, so that a collector in trouble is not asked in a loop.
const BUSY_MIN: Duration = Duration::from_secs(1);
/// Rewinds without an acknowledgement in between, after which a new Welcome is the better answer.
const REWINDS_MAX: u32 = 16;
/// Most payload of one Data message: with what 256 records take beside it, below the largest message.
const FRAME_MAX_BYTES: usize = PAYLOAD_MAX_BYTES;

/// What goes in.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// From the collector.
    Welcome(v1::Welcome),
    /// From the collector.
    Ack(v1::Ack),
    /// From the collector.
    Nack(v1::Nack),
    /// From the collector.
    GoAway(v1::GoAway),
    /// What the spool holds has changed.
    Spool(SpoolState),
    /// The answer to [`Output::AskHash`].
    Hash { seq: u64, hash: Option<Hash> },
    /// [`Output::Bridge`] is done.
    Bridged,
    /// The answer to [`Output::Refuse`].
    Refused { seq: u64, refused: Refused },
    /// The answer to [`Output::Read`].
    Records { from: u64, records: Vec<Record> },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Output {
    /// Look up the hash of the record that ends there.
    AskHash(u64),
    /// Fill the hole behind that record, which ends with that hash, with a gap.
    Bridge { seq: u64, hash: Hash },
    /// Set that record aside, which the collector can never accept.
    Refuse { seq: u64, why: String },
    /// Read records.
    Read { from: u64, max_bytes: usize },
    /// Send records.
    Send(v1::Data),
    /// The collector has everything up to there.
    Release(u64),
    /// The collector's clock showed this at some instant since then.
    Clock { since: Instant, collector_ns: u64 },
    /// The first output of a session that can send.
    Welcomed,
    /// The session is over.
    End(End),
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Connect again: after that time, or when the back-off says.
    Retry { why: String, after: Option<Duration> },
    /// Leave the spool for another, then connect again.
    Replace(Retire),
    /// The collector does not want this agent as it is: connect again, but seldom.
    Refused(String),
    /// Never connect again: a person must act.
    Stopped(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Hello is sent.
    Greeting,
    /// Our hash of the collector's last record is being looked up.
    Checking { last_seq: u64, last_hash: Hash },
    /// A gap is being written behind the collector's last record.
    Bridging { last_seq: u64 },
    /// Records flow.
    Streaming,
    /// Over.
    Ended,
}

/// A record that was sent and not acknowledged.
#[derive(Clone, Copy, Debug, Hash)]
struct Sent {
    seq_to: u64,
    hash: Hash,
    payload_bytes: usize,
    at: Instant,
}

impl Sent {
    const fn stored_bytes(&self) -> usize {
        self.payload_bytes + RECORD_OVERHEAD_BYTES
    }
}

/// The state of one session.
#[derive(Clone, Debug, Hash)]
pub(super) struct Session {
    spool_id: SpoolId,
    agent_id: [u8; 16],
    spool: SpoolState,
    stage: Stage,
    session: u64,
    credit_bytes: usize,
    acked: u64,
    next_send: u64,
    sent: VecDeque<Sent>,
    /// A read is under way, from that sequence.
    reading: Option<u64>,
    /// Payload bytes of the next record, which did not fit.
    needed_bytes: usize,
    paused_until: Option<Instant>,
    rewinds: u32,
    /// A record that is being set aside, and why.
    refusing: Option<(u64, String)>,
    /// The last one that was.
    set_aside: Option<u64>,
    opened: Instant,
    /// Since when an answer is due, or when the last was heard.
    heard: Instant,
    cycle_at: Instant,
}

impl Session {
    /// A session whose Hello is being sent: it says of the spool what `spool` says, and ends by itself after `lifetime`.
    pub(super) fn open(
        agent_id: [u8; 16],
        spool: SpoolState,
        now: Instant,
        lifetime: Duration,
    ) -> Self {
        Self {
            spool_id: spool.spool_id,
            agent_id,
            spool,
            stage: Stage::Greeting,
            session: 0,
            credit_bytes: 0,
            acked: 0,
            next_send: 0,
            sent: VecDeque::new(),
            reading: None,
            needed_bytes: 0,
            paused_until: None,
            rewinds: 0,
            refusing: None,
            set_aside: None,
            opened: now,
            heard: now,
            cycle_at: now + lifetime,
        }
    }

    /// Takes one input and says what is to be done, in order.
    pub(super) fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        if self.stage == Stage::Ended {
            return outputs;
        }
        let handled = match input {
            Input::Welcome(welcome) => self.welcome(&welcome, now, &mut outputs),
            Input::Ack(ack) => self.ack(&ack, now, &mut outputs),
            Input::Nack(nack) => self.nack(&nack, now, &mut outputs),
            Input::GoAway(go_away) => Err(End::Retry {
                why: "the collector asks to come back later".to_owned(),
                after: Some(Duration::from_millis(u64::from(go_away.resume_in_ms))),
            }),
            Input::Spool(spool) => self.spool_changed(spool),
            Input::Hash { seq, hash } => self.hash(seq, hash, &mut outputs),
            Input::Bridged => self.bridged(&mut outputs),
            Input::Refused { seq, refused } => self.refused(seq, &refused),
            Input::Records { from, records } => self.records(from, records, now, &mut outputs),
            Input::Tick => self.tick(now),
        };
        match handled {
            Ok(()) => self.pump(now, &mut outputs),
            Err(end) => {
                self.stage = Stage::Ended;
                outputs.push(Output::End(end));
            }
        }
        outputs
    }

    /// When [`Input::Tick`] is due at the latest.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        let silence = self.is_waiting().then(|| self.heard + SILENCE_MAX);
        let cycle = if self.is_draining(now) { self.cycle_at + DRAIN_MAX } else { self.cycle_at };
        [silence, self.paused_until].into_iter().flatten().fold(cycle, Instant::min)
    }

    /// Everything in the spool has been acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Streaming
            && self.sent.is_empty()
            && self.next_send == self.spool.next_seq
    }

    fn is_waiting(&self) -> bool {
        self.stage == Stage::Greeting || !self.sent.is_empty()
    }

    fn is_draining(&self, now: Instant) -> bool {
        now >= self.cycle_at
    }

    fn welcome(
        &mut self,
        welcome: &v1::Welcome,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Result<(), End> {
        if self.stage != Stage::Greeting {
            return Err(retry("a second Welcome"));
        }
        if welcome.agent_id != self.agent_id {
            return Err(End::Refused(
                "the collector takes this agent for another: its certificate is not this agent's"
                    .to_owned(),
            ));
        }
        self.heard = now;
        self.session = welcome.session;
        self.credit_bytes = bytes_of(welcome.credit_bytes);
        outputs.push(Output::Clock { since: self.opened, collector_ns: welcome.wall_time_ns });
        let last_seq = welcome.last_seq;
        if last_seq >= self.spool.next_seq {
            return Err(End::Replace(Retire::RolledBack));
        }
        let last_hash = if last_seq == 0 {
            Some(genesis_hash(&self.spool_id))
        } else {
            hash_from(&welcome.last_hash)
        };
        let last_hash =
            last_hash.ok_or_else(|| retry("Welcome without the hash of its last record"))?;
        if last_seq + 1 < self.held() {
            self.bridge(last_seq, last_hash, outputs);
        } else {
            self.stage = Stage::Checking { last_seq, last_hash };
            outputs.push(Output::AskHash(last_seq));
        }
        Ok(())
    }

    /// The first sequence that the spool can still send.
    const fn held(&self) -> u64 {
        if self.spool.oldest_seq == 0 { self.spool.next_seq } else { self.spool.oldest_seq }
    }

    fn bridge(&mut self, last_seq: u64, last_hash: Hash, outputs: &mut Vec<Output>) {
        self.stage = Stage::Bridging { last_seq };
        outputs.push(Output::Bridge { seq: last_seq, hash: last_hash });
    }

    /// Our hash of the collector's last record. None means that the record lies within a gap of ours: what the collector
    /// has is not what we would send, and nothing can be compared. Or it was dropped while we looked.
    fn hash(&mut self, seq: u64, hash: Option<Hash>, outputs: &mut Vec<Output>) -> Result<(), End> {
        match self.stage {
            Stage::Checking { last_seq, last_hash } if last_seq == seq => {
                if hash.is_none() && seq + 1 < self.held() {
                    self.bridge(seq, last_hash, outputs);
                } else if hash == Some(last_hash) {
                    outputs.push(Output::Release(seq));
                    self.stream_from(seq, outputs);
                } else {
                    return Err(End::Replace(Retire::Forked));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn bridged(&mut self, outputs: &mut Vec<Output>) -> Result<(), End> {
        if let Stage::Bridging { last_seq } = self.stage {
            self.stream_from(last_seq, outputs);
        }
        Ok(())
    }

    fn stream_from(&mut self, acked: u64, outputs: &mut Vec<Output>) {
        (self.stage, self.acked, self.next_send) = (Stage::Streaming, acked, acked + 1);
        outputs.push(Output::Welcomed);
    }

    fn spool_changed(&mut self, spool: SpoolState) -> Result<(), End> {
        if spool.spool_id != self.spool_id {
            return Err(retry("the spool was replaced"));
        }
        self.spool = spool;
        Ok(())
    }

    fn ack(&mut self, ack: &v1::Ack, now: Instant, outputs: &mut Vec<Output>) -> Result<(), End> {
        if self.stage != Stage::Streaming {
            return Err(retry("an Ack before Welcome"));
        }
        self.heard = now;
        if ack.last_seq < self.acked {
            return Ok(()); // overtaken by a later one
        }
        self.credit_bytes = bytes_of(ack.credit_bytes);
        if ack.last_seq == self.acked {
            return Ok(());
        }
        let Some(index) = self.sent.iter().position(|sent| sent.seq_to == ack.last_seq) else {
            return Err(retry("an Ack of a record that was not sent"));
        };
        let newest = self.sent[index];
        if ack.last_hash != newest.hash {
            return Err(retry("an Ack with another hash than ours"));
        }
        self.sent.drain(..=index);
        (self.acked, self.rewinds) = (ack.last_seq, 0);
        outputs.push(Output::Clock { since: newest.at, collector_ns: ack.wall_time_ns });
        outputs.push(Output::Release(ack.last_seq));
        Ok(())
    }

    fn nack(
        &mut self,
        nack: &v1::Nack,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Result<(), End> {
        self.heard = now;
        let after = (nack.retry_after_ms > 0)
            .then(|| Duration::from_millis(u64::from(nack.retry_after_ms)));
        let why = |what: &str| {
            if nack.text.is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {}", printable(&nack.text))
            }
        };
        match nack.code() {
            Code::OutOfOrder if self.stage == Stage::Streaming => {
                self.pause(after, now);
                self.rewind(nack.expected_seq)
            }
            Code::Busy if self.stage == Stage::Streaming => {
                self.pause(Some(after.unwrap_or_default().max(BUSY_MIN)), now);
                self.rewind(nack.expected_seq)
            }
            Code::OutOfOrder | Code::Unspecified => Err(retry(&why("an unexpected refusal"))),
            Code::Busy => Err(End::Retry { why: why("the collector is busy"), after }),
            Code::Fenced => Err(End::Retry {
                why: why("a newer session of this spool exists; is this agent running twice?"),
                after,
            }),
            Code::Fork => Err(End::Replace(Retire::Forked)),
            Code::Version => {
                Err(End::Refused(why("the collector does not speak this protocol version")))
            }
            Code::Revoked => Err(End::Refused(why("this agent's identity is revoked"))),
            Code::Key => Err(End::Refused(why(
                "another evidence key is pinned to this spool; a copied or restored state directory?",
            ))),
            Code::Poison => {
                let seq = nack.expected_seq;
                self.poison(
                    seq,
                    why(&format!("the collector can never accept record {seq}")),
                    outputs,
                )
            }
        }
    }

    /// Has a record set aside. It must be one that was sent and is not acknowledged: nothing else is given up.
    fn poison(&mut self, seq: u64, why: String, outputs: &mut Vec<Output>) -> Result<(), End> {
        if self.set_aside == Some(seq) {
            // It was sent twice before the first answer came; or its gap is refused, which a new session makes clear.
            return Err(retry(&format!("{why}, once more")));
        }
        if self.stage != Stage::Streaming || seq >= self.next_send || !self.begins(seq) {
            return Err(retry(&format!("{why}, which was not sent")));
        }
        self.send_again_from(seq);
        self.refusing = Some((seq, why.clone()));
        outputs.push(Output::Refuse { seq, why });
        Ok(())
    }

    fn refused(&mut self, seq: u64, refused: &Refused) -> Result<(), End> {
        let Some((_, why)) = self.refusing.take_if(|(refusing, _)| *refusing == seq) else {
            return Ok(());
        };
        match refused {
            Refused::SetAside(_) => {
                self.set_aside = Some(seq);
                Ok(())
            }
            Refused::IsGap => Err(End::Stopped(format!("{why}; it is a gap, which stays"))),
            Refused::TooMany => Err(End::Stopped(format!(
                "{why}; {REFUSED_MAX} records were set aside, and no more are before their files (*.refused.quarantine) are moved elsewhere"
            ))),
        }
    }

    fn pause(&mut self, after: Option<Duration>, now: Instant) {
        if let Some(after) = after {
            let until = now + after;
            self.paused_until = Some(self.paused_until.map_or(until, |paused| paused.max(until)));
        }
    }

    /// Sends again from `expected` on, which must be where a record begins that is not acknowledged.
    fn rewind(&mut self, expected: u64) -> Result<(), End> {
        if expected == self.next_send {
            return Ok(());
        }
        self.rewinds += 1;
        if !self.begins(expected) || self.rewinds > REWINDS_MAX {
            return Err(retry(
                "the collector waits for a record that we cannot send in this session",
            ));
        }
        self.send_again_from(expected);
        Ok(())
    }

    /// Whether a record that is not acknowledged begins there, as far as that is known here.
    fn begins(&self, seq: u64) -> bool {
        seq == self.acked + 1 || self.sent.iter().any(|sent| sent.seq_to + 1 == seq)
    }

    fn send_again_from(&mut self, seq: u64) {
        self.sent.retain(|sent| sent.seq_to < seq);
        (self.next_send, self.reading, self.needed_bytes) = (seq, None, 0);
    }

    fn records(
        &mut self,
        from: u64,
        records: Vec<Record>,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Result<(), End> {
        if self.reading != Some(from) {
            return Ok(()); // read before a rewind
        }
        self.reading = None;
        if records.is_empty() && from < self.spool.next_seq {
            return Err(retry("the spool does not hold the next record"));
        }
        let mut frame = Vec::new();
        for record in records {
            let (credit, room) = self.room();
            self.needed_bytes = record.payload.len();
            if self.needed_bytes > credit || self.needed_bytes + RECORD_OVERHEAD_BYTES > room {
                break;
            }
            self.needed_bytes = 0;
            let hash = record.hash(&self.spool_id).map_err(|error| retry(&error.to_string()))?;
            if !self.is_waiting() {
                self.heard = now;
            }
            self.next_send = record.seq_to + 1;
            self.sent.push_back(Sent {
                seq_to: record.seq_to,
                hash,
                payload_bytes: record.payload.len(),
                at: now,
            });
            frame.push(record.into());
        }
        if !frame.is_empty() {
            outputs.push(Output::Send(v1::Data { session: self.session, records: frame }));
        }
        Ok(())
    }

    /// Payload bytes that the collector, and stored bytes that our spool, allow to be sent now.
    fn room(&self) -> (usize, usize) {
        let payload: usize = self.sent.iter().map(|sent| sent.payload_bytes).sum();
        let stored: usize = self.sent.iter().map(Sent::stored_bytes).sum();
        let room = self.spool.in_flight_max_bytes.saturating_sub(stored);
        (self.credit_bytes.saturating_sub(payload), room)
    }

    fn tick(&mut self, now: Instant) -> Result<(), End> {
        if self.is_waiting() && now >= self.heard + SILENCE_MAX {
            return Err(retry("the collector has been silent for a minute"));
        }
        Ok(())
    }

    fn pump(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.is_draining(now) && (self.sent.is_empty() || now >= self.cycle_at + DRAIN_MAX) {
            self.stage = Stage::Ended;
            let why = "the session has lived its time".to_owned();
            outputs.push(Output::End(End::Retry { why, after: Some(Duration::ZERO) }));
            return;
        }
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let behind = self.stage == Stage::Streaming && self.next_send < self.spool.next_seq;
        let asked = self.reading.is_some() || self.refusing.is_some();
        if !behind || asked || self.paused_until.is_some() || self.is_draining(now) {
            return;
        }
        let (credit, room) = self.room();
        let least = self.needed_bytes.max(1);
        if credit >= least && room >= least + RECORD_OVERHEAD_BYTES {
            self.reading = Some(self.next_send);
            let max_bytes = credit.min(room).min(FRAME_MAX_BYTES);
            outputs.push(Output::Read { from: self.next_send, max_bytes });
        }
    }
}

fn retry(why: &str) -> End {
    End::Retry { why: why.to_owned(), after: None }
}

fn hash_from(bytes: &[u8]) -> Option<Hash> {
    bytes.try_into().ok()
}

fn bytes_of(credit: u32) -> usize {
    usize::try_from(credit).unwrap_or(usize::MAX)
}

/// The beginning of what a collector says for people, without anything that would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX_CHARS).collect()
}

/// Most characters of a collector's text that are logged.
const TEXT_MAX_CHARS: usize = 400;

#[cfg(test)]
mod tests;
