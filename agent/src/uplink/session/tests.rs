use super::*;
use crate::spool::IN_FLIGHT_MAX_BYTES;
use probefleet_proto::record::Kind;
use proptest::prelude::*;

const AGENT: [u8; 16] = [1; 16];
const SPOOL: SpoolId = [2; 16];
const CREDIT: u32 = 1000;
const LIFETIME: Duration = Duration::from_secs(900);

/// The spool of a test: all of its records in memory.
#[derive(Clone, Debug, Default)]
struct Log {
    records: Vec<Record>,
    hashes: Vec<Hash>,
    oldest_seq: u64,
}

impl Log {
    fn of(lengths: &[usize]) -> Self {
        let mut log = Self { oldest_seq: 1, ..Self::default() };
        for length in lengths {
            log.append(*length);
        }
        log
    }

    fn append(&mut self, length: usize) {
        let seq = u64::try_from(self.records.len()).expect("few") + 1;
        let prev_hash = self.hash_of(seq - 1).expect("dense");
        let record = Record {
            seq,
            seq_to: seq,
            kind: Kind::Event,
            prev_hash,
            payload: vec![b'x'; length],
            signature: vec![],
        };
        self.hashes.push(record.content_hash(&SPOOL));
        self.records.push(record);
    }

    fn hash_of(&self, seq: u64) -> Option<Hash> {
        let index = usize::try_from(seq).expect("small");
        if index == 0 { Some(genesis_hash(&SPOOL)) } else { self.hashes.get(index - 1).copied() }
    }

    fn read(&self, from: u64, max_bytes: usize) -> Vec<Record> {
        let mut total = 0;
        let from = usize::try_from(from - 1).expect("small");
        let fits = |record: &&Record| {
            total += record.payload.len();
            total == record.payload.len() || total <= max_bytes
        };
        self.records[from..].iter().take_while(fits).cloned().collect()
    }

    fn state(&self) -> SpoolState {
        let next_seq = u64::try_from(self.records.len()).expect("few") + 1;
        SpoolState {
            spool_id: SPOOL,
            oldest_seq: self.oldest_seq,
            next_seq,
            head_hash: self.hash_of(next_seq - 1).expect("there"),
            bytes: 0,
            unacked_bytes: 0,
            oldest_unsent_s: None,
            in_flight_max_bytes: IN_FLIGHT_MAX_BYTES,
        }
    }
}

fn welcome(last_seq: u64, last_hash: Option<Hash>) -> Input {
    Input::Welcome(v1::Welcome {
        agent_id: AGENT.to_vec(),
        last_seq,
        last_hash: last_hash.map(|hash| hash.to_vec()).unwrap_or_default(),
        session: 7,
        credit_bytes: CREDIT,
        wall_time_ns: 5,
        reconnect_within_ms: 0,
    })
}

fn ack(log: &Log, last_seq: u64, credit_bytes: u32) -> Input {
    let last_hash = log.hash_of(last_seq).expect("there").to_vec();
    Input::Ack(v1::Ack { last_seq, last_hash, credit_bytes, wall_time_ns: 6 })
}

fn nack(code: Code, expected_seq: u64, retry_after_ms: u32) -> Input {
    Input::Nack(v1::Nack {
        expected_seq,
        code: code.into(),
        retry_after_ms,
        text: "why\u{1b}[0m".to_owned(),
    })
}

fn end(outputs: &[Output]) -> &End {
    match outputs.last() {
        Some(Output::End(end)) => end,
        other => panic!("not over: {other:?}"),
    }
}

fn seqs(outputs: &[Output]) -> Vec<u64> {
    let data = outputs.iter().filter_map(|output| match output {
        Output::Send(data) => Some(data),
        _ => None,
    });
    data.flat_map(|data| &data.records).map(|record| record.seq).collect()
}

/// A session of a log and what it wants, where looking up and reading is done at once.
struct Fixture {
    log: Log,
    session: Session,
    now: Instant,
}

impl Fixture {
    fn new(log: Log) -> Self {
        let now = Instant::now();
        Self { session: Session::open(AGENT, log.state(), now, LIFETIME), log, now }
    }

    /// Welcomed with nothing committed.
    fn streaming(lengths: &[usize]) -> (Self, Vec<Output>) {
        let mut fixture = Self::new(Log::of(lengths));
        let outputs = fixture.give(welcome(0, None));
        (fixture, outputs)
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let mut done = Vec::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.session.handle(input, self.now) {
                match &output {
                    Output::AskHash(seq) => {
                        inputs.push_back(Input::Hash { seq: *seq, hash: self.log.hash_of(*seq) })
                    }
                    Output::Read { from, max_bytes } => {
                        let records = self.log.read(*from, *max_bytes);
                        inputs.push_back(Input::Records { from: *from, records });
                    }
                    _ => {}
                }
                done.push(output);
            }
        }
        done
    }

    fn pass(&mut self, time: Duration) -> Vec<Output> {
        self.now += time;
        self.give(Input::Tick)
    }
}

#[test]
fn records_are_sent_within_credit_and_released_when_acknowledged() {
    let (mut fixture, outputs) = Fixture::streaming(&[400, 400, 400, 400]);
    assert_eq!(outputs[0], Output::Clock { since: fixture.now, collector_ns: 5 });
    assert!(outputs.contains(&Output::Release(0)) && outputs.contains(&Output::Welcomed));
    assert_eq!(seqs(&outputs), [1, 2], "800 of 1000 bytes");
    let outputs = fixture.give(ack(&fixture.log, 1, CREDIT));
    assert!(outputs.contains(&Output::Release(1)));
    assert_eq!(seqs(&outputs), [3]);
    let outputs = fixture.give(ack(&fixture.log, 3, 0));
    assert!(outputs.contains(&Output::Release(3)));
    assert_eq!(seqs(&outputs), Vec::<u64>::new(), "no credit, no data");
    assert!(!fixture.session.is_idle());
    assert_eq!(
        seqs(&fixture.give(ack(&fixture.log, 3, CREDIT))),
        [4],
        "the same again with credit"
    );
    fixture.give(ack(&fixture.log, 4, CREDIT));
    assert!(fixture.session.is_idle());
    fixture.log.append(1);
    let state = fixture.log.state();
    assert_eq!(seqs(&fixture.give(Input::Spool(state))), [5]);
}

#[test]
fn a_record_above_the_credit_waits_for_it() {
    let (mut fixture, outputs) = Fixture::streaming(&[1001, 1]);
    assert!(seqs(&outputs).is_empty());
    let state = fixture.log.state();
    let again = fixture.give(Input::Spool(state));
    assert!(!again.iter().any(|output| matches!(output, Output::Read { .. })), "not read in vain");
    assert_eq!(seqs(&fixture.give(ack(&fixture.log, 0, 2000))), [1, 2]);
}

#[test]
fn never_more_is_in_flight_than_the_spool_allows() {
    let mut fixture = Fixture::new(Log::of(&[0; 4000]));
    let Input::Welcome(mut generous) = welcome(0, None) else { panic!("a Welcome") };
    generous.credit_bytes = u32::MAX;
    let outputs = fixture.give(Input::Welcome(generous));
    let sent = seqs(&outputs).len();
    assert_eq!(sent, IN_FLIGHT_MAX_BYTES / RECORD_OVERHEAD_BYTES);
}

#[test]
fn a_welcome_says_where_to_resume() {
    let mut fixture = Fixture::new(Log::of(&[1, 1, 1]));
    let outputs = fixture.give(welcome(2, fixture.log.hash_of(2)));
    assert!(outputs.contains(&Output::Release(2)));
    assert_eq!(seqs(&outputs), [3]);
}

#[test]
fn another_history_leaves_the_spool() {
    let log = Log::of(&[1, 1, 1]);
    let ended = |input| {
        let mut fixture = Fixture::new(log.clone());
        end(&fixture.give(input)).clone()
    };
    assert_eq!(ended(welcome(2, Some([9; 32]))), End::Replace(Retire::Forked));
    assert_eq!(ended(welcome(4, Some([9; 32]))), End::Replace(Retire::RolledBack));
    assert_eq!(ended(nack(Code::Fork, 1, 0)), End::Replace(Retire::Forked));
    assert!(matches!(ended(welcome(2, None)), End::Retry { .. }));
    let (mut fixture, _) = Fixture::streaming(&[1]);
    assert_eq!(*end(&fixture.give(nack(Code::Fork, 1, 0))), End::Replace(Retire::Forked));
    assert!(fixture.give(Input::Tick).is_empty(), "nothing comes after the end");
}

#[test]
fn what_is_no_longer_held_is_bridged() {
    let mut log = Log::of(&[1, 1, 1, 1]);
    log.oldest_seq = 4;
    let hash = log.hash_of(1);
    let mut fixture = Fixture::new(log);
    let outputs = fixture.give(welcome(1, hash));
    assert_eq!(outputs.last(), Some(&Output::Bridge { seq: 1, hash: hash.expect("there") }));
    let outputs = fixture.session.handle(Input::Bridged, fixture.now);
    assert!(
        matches!(outputs.as_slice(), [Output::Welcomed, Output::Read { from: 2, .. }]),
        "{outputs:?}"
    );
}

#[test]
fn what_is_dropped_while_it_is_looked_up_is_no_fork() {
    let mut fixture = Fixture::new(Log::of(&[1, 1, 1, 1]));
    let outputs = fixture.session.handle(welcome(1, fixture.log.hash_of(1)), fixture.now);
    assert_eq!(outputs.last(), Some(&Output::AskHash(1)));
    fixture.log.oldest_seq = 3;
    fixture.session.handle(Input::Spool(fixture.log.state()), fixture.now);
    let outputs = fixture.session.handle(Input::Hash { seq: 1, hash: None }, fixture.now);
    assert!(matches!(outputs.as_slice(), [Output::Bridge { seq: 1, .. }]), "{outputs:?}");
    let mut fixture = Fixture::new(Log::of(&[1, 1, 1, 1]));
    fixture.session.handle(welcome(1, fixture.log.hash_of(1)), fixture.now);
    let outputs = fixture.session.handle(Input::Hash { seq: 1, hash: None }, fixture.now);
    assert_eq!(*end(&outputs), End::Replace(Retire::Forked), "within a gap of ours");
}

#[test]
fn acks_must_be_ours() {
    let (mut fixture, _) = Fixture::streaming(&[1, 1, 1]);
    assert!(fixture.give(ack(&fixture.log, 2, CREDIT)).contains(&Output::Release(2)));
    assert_eq!(fixture.give(ack(&fixture.log, 1, CREDIT)), [], "overtaken");
    let foreign =
        v1::Ack { last_seq: 3, last_hash: vec![9; 32], credit_bytes: CREDIT, wall_time_ns: 0 };
    assert!(matches!(end(&fixture.give(Input::Ack(foreign))), End::Retry { .. }));
    let (mut fixture, _) = Fixture::streaming(&[1]);
    let ahead =
        v1::Ack { last_seq: 9, last_hash: vec![9; 32], credit_bytes: CREDIT, wall_time_ns: 0 };
    assert!(matches!(end(&fixture.give(Input::Ack(ahead))), End::Retry { .. }));
    let mut fixture = Fixture::new(Log::of(&[1]));
    assert!(
        matches!(end(&fixture.give(ack(&fixture.log, 0, CREDIT))), End::Retry { .. }),
        "before Welcome"
    );
}

#[test]
fn out_of_order_resumes_where_the_collector_waits() {
    let (mut fixture, _) = Fixture::streaming(&[1, 1, 1]);
    assert_eq!(seqs(&fixture.give(nack(Code::OutOfOrder, 2, 0))), [2, 3]);
    assert_eq!(seqs(&fixture.give(nack(Code::OutOfOrder, 1, 0))), [1, 2, 3]);
    fixture.give(ack(&fixture.log, 2, CREDIT));
    assert!(
        matches!(end(&fixture.give(nack(Code::OutOfOrder, 2, 0))), End::Retry { .. }),
        "acknowledged already"
    );
    let (mut fixture, _) = Fixture::streaming(&[1]);
    let rounds = (0..100).take_while(|_| {
        !matches!(fixture.give(nack(Code::OutOfOrder, 1, 0)).last(), Some(Output::End(_)))
    });
    assert_eq!(rounds.count(), usize::try_from(REWINDS_MAX).expect("small"), "not for ever");
}

#[test]
fn busy_pauses_and_sends_again() {
    let (mut fixture, _) = Fixture::streaming(&[1, 1]);
    assert_eq!(fixture.give(nack(Code::Busy, 1, 3000)), []);
    assert_eq!(fixture.give(nack(Code::OutOfOrder, 1, 0)), [], "of a frame behind the refused one");
    assert_eq!(fixture.session.deadline(fixture.now), fixture.now + Duration::from_secs(3));
    assert_eq!(fixture.pass(Duration::from_secs(2)), []);
    assert_eq!(seqs(&fixture.pass(Duration::from_secs(1))), [1, 2]);
    let mut fixture = Fixture::new(Log::of(&[]));
    let outputs = fixture.give(nack(Code::Busy, 0, 500));
    assert!(
        matches!(end(&outputs), End::Retry { after: Some(after), .. } if after.as_millis() == 500)
    );
}

#[test]
fn refusals_say_what_comes_next() {
    let ended = |input| {
        let (mut fixture, _) = Fixture::streaming(&[1]);
        end(&fixture.give(input)).clone()
    };
    assert!(matches!(ended(nack(Code::Fenced, 0, 0)), End::Retry { after: None, .. }));
    assert!(matches!(ended(nack(Code::Version, 0, 0)), End::Refused(_)));
    let End::Refused(text) = ended(nack(Code::Revoked, 0, 0)) else { panic!("refused") };
    assert!(text.ends_with(": why[0m"), "{text}");
    let End::Refused(text) = ended(nack(Code::Key, 0, 0)) else { panic!("refused") };
    assert!(text.contains("another evidence key") && text.contains(": why"), "{text}");
    assert!(matches!(ended(nack(Code::Unspecified, 0, 0)), End::Retry { .. }));
    let go_away = Input::GoAway(v1::GoAway { resume_in_ms: 250 });
    assert!(
        matches!(ended(go_away), End::Retry { after: Some(after), .. } if after.as_millis() == 250)
    );
    let mut fixture = Fixture::new(Log::of(&[]));
    let stranger = v1::Welcome { agent_id: vec![3; 16], ..v1::Welcome::default() };
    assert!(matches!(end(&fixture.give(Input::Welcome(stranger))), End::Refused(_)));
    assert!(matches!(ended(welcome(0, None)), End::Retry { .. }), "a second Welcome");
}

/// What of a refused record is asked of the spool.
fn asked_to_refuse(outputs: &[Output]) -> u64 {
    match outputs {
        [Output::Refuse { seq, why }] => {
            let expected = format!("the collector can never accept record {seq}: why[0m");
            assert_eq!(*why, expected);
            *seq
        }
        other => panic!("{other:?}"),
    }
}

fn set_aside(seq: u64) -> Input {
    Input::Refused { seq, refused: Refused::SetAside("file".into()) }
}

#[test]
fn a_poisonous_record_is_set_aside_and_what_follows_is_sent_again() {
    let (mut fixture, outputs) = Fixture::streaming(&[1, 2, 3, 4]);
    assert_eq!(seqs(&outputs), [1, 2, 3, 4]);
    fixture.give(ack(&fixture.log.clone(), 1, CREDIT));
    assert_eq!(asked_to_refuse(&fixture.give(nack(Code::Poison, 2, 0))), 2);
    let state = fixture.log.state();
    assert_eq!(fixture.give(Input::Spool(state)), [], "nothing is sent before that is done");
    assert_eq!(seqs(&fixture.give(set_aside(2))), [2, 3, 4]);
    // Frames behind the refused one ran into the hole.
    assert_eq!(seqs(&fixture.give(nack(Code::OutOfOrder, 2, 0))), [2, 3, 4]);
    fixture.give(ack(&fixture.log.clone(), 3, CREDIT));
    assert_eq!(asked_to_refuse(&fixture.give(nack(Code::Poison, 4, 0))), 4, "another one");
    assert_eq!(seqs(&fixture.give(set_aside(4))), [4]);
    fixture.give(ack(&fixture.log.clone(), 4, CREDIT));
    assert!(fixture.session.is_idle());
}

#[test]
fn a_record_that_is_only_read_was_not_sent() {
    let (mut fixture, _) = Fixture::streaming(&[900, 900]);
    let log = fixture.log.clone();
    let outputs = fixture.session.handle(ack(&log, 1, CREDIT), fixture.now);
    assert!(outputs.iter().any(|output| matches!(output, Output::Read { from: 2, .. })));
    let end = fixture.session.handle(nack(Code::Poison, 2, 0), fixture.now);
    assert!(matches!(end.as_slice(), [Output::End(End::Retry { .. })]), "it was not: {end:?}");
}

#[test]
fn a_refused_gap_and_one_record_too_many_stop_the_uplink() {
    let refused = |refused| {
        let (mut fixture, _) = Fixture::streaming(&[1, 1]);
        fixture.give(nack(Code::Poison, 1, 0));
        end(&fixture.give(Input::Refused { seq: 1, refused })).clone()
    };
    let End::Stopped(text) = refused(Refused::IsGap) else { panic!("stopped") };
    assert!(text.contains("record 1: why") && text.contains("is a gap"), "{text}");
    let End::Stopped(text) = refused(Refused::TooMany) else { panic!("stopped") };
    assert!(text.contains("record 1: why") && text.contains("8 records"), "{text}");
}

#[test]
fn only_what_was_sent_is_given_up() {
    let ended = |input| {
        let (mut fixture, _) = Fixture::streaming(&[1, 1]);
        end(&fixture.give(input)).clone()
    };
    assert!(matches!(ended(nack(Code::Poison, 0, 0)), End::Retry { .. }), "not a record");
    assert!(matches!(ended(nack(Code::Poison, 3, 0)), End::Retry { .. }), "not sent");
    let mut fixture = Fixture::new(Log::of(&[1]));
    let outputs = fixture.give(nack(Code::Poison, 1, 0));
    assert!(matches!(end(&outputs), End::Retry { .. }), "no session yet");
    let (mut fixture, _) = Fixture::streaming(&[1, 1]);
    fixture.give(nack(Code::Poison, 1, 0));
    fixture.give(set_aside(1));
    let outputs = fixture.give(nack(Code::Poison, 1, 0));
    assert!(matches!(end(&outputs), End::Retry { .. }), "the record, or the gap: asked anew");
}

#[test]
fn silence_counts_only_while_an_answer_is_due() {
    let mut fixture = Fixture::new(Log::of(&[]));
    assert!(matches!(end(&fixture.pass(SILENCE_MAX)), End::Retry { .. }), "no Welcome");
    let (mut fixture, _) = Fixture::streaming(&[]);
    assert_eq!(fixture.pass(SILENCE_MAX * 3), [], "nothing to say");
    fixture.log.append(1);
    let state = fixture.log.state();
    assert_eq!(seqs(&fixture.give(Input::Spool(state))), [1]);
    assert_eq!(fixture.session.deadline(fixture.now), fixture.now + SILENCE_MAX);
    assert_eq!(fixture.pass(SILENCE_MAX - Duration::from_millis(1)), []);
    assert!(matches!(end(&fixture.pass(Duration::from_millis(1))), End::Retry { .. }));
}

#[test]
fn a_session_ends_after_its_lifetime_once_nothing_is_in_flight() {
    let (mut fixture, _) = Fixture::streaming(&[1]);
    let to_cycle = LIFETIME - Duration::from_secs(1);
    fixture.now += to_cycle;
    fixture.give(nack(Code::OutOfOrder, 2, 0)); // something was heard
    assert_eq!(fixture.pass(Duration::from_secs(1)), [], "record 1 is in flight");
    fixture.log.append(1);
    let state = fixture.log.state();
    assert_eq!(fixture.give(Input::Spool(state)), [], "nothing new is sent");
    let outputs = fixture.give(ack(&fixture.log, 1, CREDIT));
    assert!(matches!(end(&outputs), End::Retry { after: Some(Duration::ZERO), .. }));
    let (mut fixture, _) = Fixture::streaming(&[1]);
    fixture.now += to_cycle;
    fixture.give(nack(Code::OutOfOrder, 2, 0));
    assert!(matches!(end(&fixture.pass(DRAIN_MAX + Duration::from_secs(1))), End::Retry { .. }));
}

/// A collector that commits, then answers: the rule of the protocol, record by record.
#[derive(Debug, Default)]
struct Collector {
    committed: Vec<Record>,
    session: u64,
}

impl Collector {
    fn last(&self) -> (u64, Hash) {
        let last = self.committed.last();
        last.map_or((0, genesis_hash(&SPOOL)), |last| {
            (last.seq_to, last.hash(&SPOOL).expect("a hash"))
        })
    }

    fn hello(&mut self) -> Input {
        self.session += 1;
        let (last_seq, last_hash) = self.last();
        let Input::Welcome(mut welcome) = welcome(last_seq, Some(last_hash)) else {
            panic!("a Welcome")
        };
        welcome.session = self.session;
        Input::Welcome(welcome)
    }

    fn data(&mut self, data: &v1::Data) -> Option<Input> {
        assert_eq!(
            data.session, self.session,
            "frames of an older session do not come through a closed connection"
        );
        for record in &data.records {
            let record = Record::try_from(record.clone()).expect("well formed");
            let (last_seq, last_hash) = self.last();
            if record.seq_to <= last_seq {
                let index = usize::try_from(record.seq).expect("small") - 1;
                assert_eq!(
                    self.committed[index], record,
                    "a number is never given to other content"
                );
            } else if record.seq == last_seq + 1 {
                assert_eq!(record.prev_hash, last_hash, "chained");
                self.committed.push(record);
            } else {
                return Some(nack(Code::OutOfOrder, last_seq + 1, 0));
            }
        }
        Some(self.acked())
    }

    fn acked(&self) -> Input {
        let (last_seq, last_hash) = self.last();
        Input::Ack(v1::Ack {
            last_seq,
            last_hash: last_hash.to_vec(),
            credit_bytes: CREDIT,
            wall_time_ns: 0,
        })
    }
}

/// What may happen next in a simulated life.
#[derive(Clone, Copy, Debug)]
enum Event {
    Append(usize),
    DeliverUp,
    DeliverDown,
    RepeatUp,
    RepeatAck,
    Break,
    Refuse(Code),
    Restore(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_usize..600).prop_map(Event::Append),
        6 => Just(Event::DeliverUp),
        6 => Just(Event::DeliverDown),
        1 => Just(Event::RepeatUp),
        1 => Just(Event::RepeatAck),
        1 => Just(Event::Break),
        1 => prop_oneof![Just(Code::OutOfOrder), Just(Code::Busy), Just(Code::Fenced)].prop_map(Event::Refuse),
        1 => (0_usize..5).prop_map(Event::Restore),
        1 => (1_u64..100).prop_map(Event::Pass),
    ]
}

/// Agent, collector and the two directions between them.
struct World {
    fixture: Fixture,
    collector: Collector,
    up: VecDeque<v1::Data>,
    down: VecDeque<Input>,
    released: u64,
}

impl World {
    fn connect(&mut self) {
        let (log, now) = (self.fixture.log.clone(), self.fixture.now);
        self.fixture =
            Fixture { session: Session::open(AGENT, log.state(), now, LIFETIME), log, now };
        self.up.clear();
        self.down = VecDeque::from([self.collector.hello()]);
    }

    fn give(&mut self, input: Input) {
        for output in self.fixture.give(input) {
            match output {
                Output::Send(data) => self.up.push_back(data),
                Output::Release(seq) => {
                    self.released = seq;
                    assert!(seq <= self.collector.last().0, "only what is committed is released");
                }
                Output::End(End::Retry { .. }) => return self.connect(),
                Output::End(other) => panic!("{other:?}"),
                Output::Bridge { .. } => panic!("everything is held"),
                Output::Refuse { .. } => panic!("nothing is poison"),
                Output::AskHash(_)
                | Output::Read { .. }
                | Output::Clock { .. }
                | Output::Welcomed => {}
            }
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Append(length) => {
                self.fixture.log.append(length);
                let state = self.fixture.log.state();
                self.give(Input::Spool(state));
            }
            Event::DeliverUp => {
                if let Some(data) = self.up.pop_front() {
                    let answer = self.collector.data(&data);
                    self.down.extend(answer);
                }
            }
            Event::DeliverDown => {
                if let Some(input) = self.down.pop_front() {
                    self.give(input);
                }
            }
            Event::RepeatUp => {
                if let Some(data) = self.up.front().cloned() {
                    self.up.push_front(data);
                }
            }
            Event::RepeatAck => {
                if matches!(self.down.front(), Some(Input::Ack(_))) {
                    let ack = self.down[0].clone();
                    self.down.push_front(ack);
                }
            }
            Event::Break => self.connect(),
            Event::Refuse(code) => {
                // The frame is refused as a whole, and what is behind it runs into the hole.
                if self.up.pop_front().is_some() {
                    let expected = self.collector.last().0 + 1;
                    self.down.push_back(nack(code, expected, 0));
                }
            }
            Event::Restore(lost) => {
                let kept = self.collector.committed.len().saturating_sub(lost);
                self.collector.committed.truncate(kept);
                self.connect();
            }
            Event::Pass(seconds) => {
                self.fixture.now += Duration::from_secs(seconds);
                self.give(Input::Tick);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_record_arrives_once_and_in_order(events in prop::collection::vec(event(), 0..200)) {
        let mut world = World {
            fixture: Fixture::new(Log::of(&[])),
            collector: Collector::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            released: 0,
        };
        world.connect();
        for event in events {
            world.step(event);
        }
        // Faults end: everything must arrive, and be released.
        for _ in 0..20 {
            world.step(Event::Pass(61));
            for _ in 0..200 {
                world.step(Event::DeliverDown);
                world.step(Event::DeliverUp);
            }
        }
        prop_assert_eq!(&world.collector.committed, &world.fixture.log.records);
        prop_assert_eq!(world.released, world.collector.last().0);
        prop_assert!(world.fixture.session.is_idle());
    }
}
