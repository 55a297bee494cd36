mod signatures;

use super::super::{Accepted, accept};
use super::*;
use crate::store::{AnyStore, Introduction, SqliteStore, Store as _, StoredRecord, TenantScope};
use probefleet_proto::record::SpoolId;
use proptest::prelude::*;

const SPOOL: SpoolId = [7; 16];
const AGENT: Uuid = Uuid::from_u128(1);
const NOW_NS: u64 = 1_800_000_000 * NS_PER_S;

/// An agent's spool: a chain of records that can be sent from anywhere.
struct Chain {
    records: Vec<v1::Record>,
}

impl Chain {
    /// `length` empty reports, one a minute; `salt` makes another content.
    fn new(length: u64, salt: u64) -> Self {
        let mut chain = Self { records: Vec::new() };
        for seq in 1..=length {
            chain.push(Kind::Report, seq, empty_report(60 * (1_000 + seq), salt));
        }
        chain
    }

    fn tip(&self) -> (u64, Hash) {
        let Some(last) = self.records.last() else { return (0, genesis_hash(&SPOOL)) };
        let record = Record::try_from(last.clone()).expect("sound");
        (record.seq_to, record.hash(&SPOOL).expect("sound"))
    }

    fn push(&mut self, kind: Kind, seq_to: u64, payload: Vec<u8>) {
        let (seq, prev_hash) = self.tip();
        let signature = Vec::new();
        let record = Record { seq: seq + 1, seq_to, kind, prev_hash, payload, signature };
        self.records.push(record.into());
    }

    /// The records `from..=to` become one gap.
    fn gap(&self, from: u64, to: u64) -> v1::Record {
        let (first, last) = (self.at(from), self.at(to));
        let last = Record::try_from(last.clone()).expect("sound");
        let to_hash = last.hash(&SPOOL).expect("sound").to_vec();
        let gap = v1::Gap { to_hash, from_s: 60_000, until_s: 60_600, ..v1::Gap::default() };
        v1::Record {
            seq: from,
            seq_to: to,
            kind: i32::from(Kind::Gap.code()),
            prev_hash: first.prev_hash.clone(),
            payload: gap.encode_to_vec(),
            signature: Vec::new(),
        }
    }

    fn at(&self, seq: u64) -> &v1::Record {
        &self.records[usize::try_from(seq - 1).expect("small")]
    }

    fn range(&self, from: u64, to: u64) -> Vec<v1::Record> {
        (from..=to).map(|seq| self.at(seq).clone()).collect()
    }
}

fn empty_report(window_start_s: u64, salt: u64) -> Vec<u8> {
    let health = v1::Health { spool_bytes: salt, ..v1::Health::default() };
    let head = report::Head { window_start_s, window_s: 60, health, ..report::Head::default() };
    report::encode(&head, &[]).remove(0)
}

struct Desk {
    store: AnyStore,
    scope: TenantScope,
}

impl Desk {
    fn new() -> Self {
        let store = AnyStore::Sqlite(SqliteStore::in_memory().expect("opens"));
        Self { store, scope: TenantScope::default() }
    }

    async fn session(&self) -> Session {
        let introduction = Introduction {
            agent: AGENT,
            spool_id: SPOOL,
            proposed_name: Name::new("a").expect("a name"),
            proposed_labels: Labels::new(),
            evidence: None,
            now_s: 1,
            may_begin: true,
        };
        let opened = self.store.open_session(&self.scope, introduction).await.expect("opens");
        Session::new(SPOOL, &opened)
    }

    async fn send(&self, session: &mut Session, records: Vec<v1::Record>) -> Accepted {
        let data = v1::Data { session: session.head().session, records };
        accept(&self.store, &self.scope, session, &data, NOW_NS).await
    }

    async fn stored(&self, session: &Session) -> Vec<StoredRecord> {
        self.store.records_after(&self.scope, session.stream(), 0).await.expect("reads")
    }
}

fn code(accepted: &Accepted) -> Option<Code> {
    accepted.refused.as_ref().map(|refusal| refusal.code)
}

fn hello() -> v1::Hello {
    v1::Hello { protocol: 1, spool_id: SPOOL.to_vec(), ..v1::Hello::default() }
}

#[test]
fn hello_is_read_with_care() {
    let read = |change: fn(&mut v1::Hello)| {
        let mut hello = hello();
        change(&mut hello);
        greet(hello, AGENT)
    };
    let plain = read(|_| {}).expect("is fine");
    assert_eq!(plain.proposed_name.as_str(), "agent-00000001");

    for wrong in [
        read(|hello| hello.protocol = 2),
        read(|hello| hello.spool_id = vec![1; 15]),
        read(|hello| hello.plan_hash = vec![1; 31]),
    ] {
        assert_eq!(wrong.expect_err("refused").code, Code::Version);
    }

    let proposed = read(|hello| {
        hello.proposed_name = "<b>".to_owned();
        hello.version = format!("1\n{}", "9".repeat(10_000));
        for (key, value) in [("site", "berlin"), ("agent", "root"), ("a b", "c"), ("x", "<i>")] {
            hello.proposed_labels.insert(key.to_owned(), value.to_owned());
        }
    })
    .expect("is fine");
    assert_eq!(proposed.proposed_name.as_str(), "agent-00000001");
    assert_eq!(proposed.proposed_labels.keys().collect::<Vec<_>>(), ["site"]);
    assert_eq!(proposed.ignored.len(), 4);
    assert_eq!(proposed.version, format!("1 {}", "9".repeat(crate::text::TEXT_MAX_BYTES - 2)));
}

#[tokio::test]
async fn records_are_taken_once() {
    let (desk, chain) = (Desk::new(), Chain::new(6, 0));
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(1, 3)).await;
    assert_eq!((accepted.records, code(&accepted), accepted.acknowledge), (3, None, true));
    assert_eq!(accepted.newest.expect("a report").window_start_s, 60 * 1_003);

    // The acknowledgement was lost: everything comes again, with more behind it.
    let accepted = desk.send(&mut session, chain.range(1, 5)).await;
    assert_eq!((accepted.records, accepted.duplicates, code(&accepted)), (2, 3, None));
    let accepted = desk.send(&mut session, chain.range(2, 5)).await;
    assert_eq!((accepted.records, accepted.duplicates, accepted.acknowledge), (0, 4, true));
    assert_eq!(session.ack(1).last_seq, 5);
    assert_eq!(desk.stored(&session).await.len(), 5);

    // Twice in one frame.
    let twice = vec![chain.at(6).clone(), chain.at(6).clone()];
    let accepted = desk.send(&mut session, twice).await;
    assert_eq!((accepted.records, accepted.duplicates, code(&accepted)), (1, 1, None));
}

#[tokio::test]
async fn what_is_ahead_is_asked_for_again() {
    let (desk, chain) = (Desk::new(), Chain::new(6, 0));
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(3, 4)).await;
    assert_eq!(code(&accepted), Some(Code::OutOfOrder));
    assert!(!accepted.acknowledge);
    let refusal = accepted.refused.expect("refused");
    assert!(!refusal.ends_session());
    assert_eq!(session.nack(refusal).expected_seq, 1);

    // What comes before a hole is kept.
    let mut holed = chain.range(1, 2);
    holed.push(chain.at(4).clone());
    let accepted = desk.send(&mut session, holed).await;
    assert_eq!((accepted.records, code(&accepted)), (2, Some(Code::OutOfOrder)));
    assert!(accepted.acknowledge);
    assert_eq!(session.head().last_seq, 2);
}

#[tokio::test]
async fn a_copied_or_rolled_back_spool_is_a_fork() {
    let (desk, chain, clone) = (Desk::new(), Chain::new(6, 0), Chain::new(6, 1));
    let mut session = desk.session().await;
    desk.send(&mut session, chain.range(1, 3)).await;
    for forked in [clone.range(4, 4), clone.range(3, 3), clone.range(1, 5)] {
        let accepted = desk.send(&mut session, forked).await;
        assert_eq!((accepted.records, code(&accepted)), (0, Some(Code::Fork)));
        assert!(accepted.refused.expect("refused").ends_session());
    }
    // In one frame with the true one.
    let accepted = desk.send(&mut session, vec![chain.at(4).clone(), clone.at(4).clone()]).await;
    assert_eq!((accepted.records, code(&accepted)), (1, Some(Code::Fork)));
    assert_eq!(desk.stored(&session).await.len(), 4);
}

#[tokio::test]
async fn a_gap_settles_what_it_stands_for() {
    let (desk, chain) = (Desk::new(), Chain::new(9, 0));
    let mut session = desk.session().await;
    desk.send(&mut session, chain.range(1, 3)).await;
    // The agent does not know that 3 has arrived, and gives up 2 to 6.
    let accepted = desk.send(&mut session, vec![chain.gap(2, 6), chain.at(7).clone()]).await;
    assert_eq!((accepted.records, code(&accepted)), (2, None));
    let stored: Vec<(u64, u64)> =
        desk.stored(&session).await.iter().map(|r| (r.seq, r.seq_to)).collect();
    assert_eq!(stored, [(1, 1), (2, 2), (3, 3), (4, 6), (7, 7)]);

    // The gap again, and a record of its inside: nothing new, nothing wrong.
    let again = vec![chain.gap(2, 6), chain.at(5).clone(), chain.at(7).clone()];
    let accepted = desk.send(&mut session, again).await;
    assert_eq!((accepted.records, accepted.duplicates, code(&accepted)), (0, 3, None));

    // A gap that does not chain to where it begins.
    let mut false_gap = chain.gap(6, 9);
    false_gap.seq = 7;
    let accepted = desk.send(&mut session, vec![false_gap]).await;
    assert_eq!(code(&accepted), Some(Code::Fork));
}

#[tokio::test]
async fn poison_is_refused_and_stops_nothing_else() {
    let desk = Desk::new();
    let mut chain = Chain::new(1, 0);
    chain.push(Kind::Report, 2, b"not a report".to_vec());
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(1, 2)).await;
    assert_eq!((accepted.records, code(&accepted)), (1, Some(Code::Poison)));
    let refusal = accepted.refused.expect("refused");
    assert!(!refusal.ends_session());
    assert_eq!(session.nack(refusal).expected_seq, 2);

    // The agent puts a gap in its place and goes on.
    let gap = chain.gap(2, 2);
    chain.push(Kind::Report, 3, empty_report(60, 0));
    let accepted = desk.send(&mut session, vec![gap, chain.at(3).clone()]).await;
    assert_eq!((accepted.records, code(&accepted)), (2, None));

    let broken = |change: fn(&mut v1::Record)| {
        let mut chain = Chain::new(0, 0);
        chain.push(Kind::Event, 1, v1::Event::default().encode_to_vec());
        change(&mut chain.records[0]);
        let head = Head { last_seq: 0, last_hash: genesis_hash(&SPOOL), session: 1 };
        let session = Session { spool_id: SPOOL, stream: session.stream(), head, evidence: None };
        session.sort(&v1::Data { session: 1, records: chain.records }).refused.map(|r| r.code)
    };
    assert_eq!(broken(|_| {}), None);
    assert_eq!(broken(|r| r.kind = 9), Some(Code::Poison));
    assert_eq!(broken(|r| r.prev_hash.clear()), Some(Code::Poison));
    assert_eq!(broken(|r| r.signature = vec![1]), Some(Code::Poison));
    assert_eq!(broken(|r| r.payload = vec![0; 200_000]), Some(Code::Poison));
    assert_eq!(broken(|r| (r.kind, r.seq_to) = (2, u64::MAX)), Some(Code::Poison));
}

#[tokio::test]
async fn what_only_a_later_collector_can_read_stays_with_the_agent() {
    let desk = Desk::new();
    let mut chain = Chain::new(1, 0);
    let mut later = v1::Report::decode(empty_report(60, 0).as_slice()).expect("a report");
    later.extras = Some(v1::Extras { version: 2, ..v1::Extras::default() });
    chain.push(Kind::Report, 2, later.encode_to_vec());
    let mut session = desk.session().await;
    let accepted = desk.send(&mut session, chain.range(1, 2)).await;
    assert_eq!((accepted.records, code(&accepted)), (1, Some(Code::Version)));
    let refusal = accepted.refused.expect("refused");
    assert!(refusal.ends_session(), "the agent comes again, with all that it has");
    assert!(refusal.text.contains("upgrade the collector"), "{}", refusal.text);
}

#[tokio::test]
async fn an_old_session_is_fenced() {
    let (desk, chain) = (Desk::new(), Chain::new(4, 0));
    let mut old = desk.session().await;
    let mut new = desk.session().await;
    let accepted = desk.send(&mut old, chain.range(1, 2)).await;
    assert_eq!((accepted.records, code(&accepted)), (0, Some(Code::Fenced)));
    let accepted = desk.send(&mut new, chain.range(1, 2)).await;
    assert_eq!((accepted.records, code(&accepted)), (2, None));
    // A frame that was meant for the old one.
    let stray = v1::Data { session: old.head().session, records: chain.range(3, 3) };
    let accepted = accept(&desk.store, &desk.scope, &mut new, &stray, NOW_NS).await;
    assert_eq!(code(&accepted), Some(Code::Fenced));
    assert_eq!(desk.stored(&new).await.len(), 2);
}

/// What may happen to an agent and its frames.
#[derive(Clone, Debug)]
enum Step {
    /// Records `from..from + count` of the true chain.
    Send { from: u64, count: u64 },
    /// Records of the clone's chain.
    SendClone { from: u64, count: u64 },
    /// A true frame with its records in another order.
    SendShuffled { from: u64, count: u64, swap: (usize, usize) },
    /// A gap over a stretch of the true chain.
    SendGap { from: u64, count: u64 },
    /// The connection breaks; a new session begins.
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let stretch = || (1..40_u64, 1..12_u64);
    prop_oneof![
        6 => stretch().prop_map(|(from, count)| Step::Send { from, count }),
        1 => stretch().prop_map(|(from, count)| Step::SendClone { from, count }),
        2 => (stretch(), (0..12_usize, 0..12_usize))
            .prop_map(|((from, count), swap)| Step::SendShuffled { from, count, swap }),
        1 => stretch().prop_map(|(from, count)| Step::SendGap { from, count }),
        1 => Just(Step::Reconnect),
    ]
}

const LENGTH: u64 = 40;

/// Whatever is sent in whatever order: what is stored is an unbroken beginning of one chain, each sequence settled
/// exactly once, and nothing that was acknowledged is missing.
async fn never_double_never_lost(steps: Vec<Step>) {
    let (chain, clone) = (Chain::new(LENGTH, 0), Chain::new(LENGTH, 1));
    let desk = Desk::new();
    let mut session = desk.session().await;
    let mut acknowledged = 0;
    let end = |from: u64, count: u64| (from + count - 1).min(LENGTH);
    for step in steps {
        let frame = match step {
            // Agents continue where they were told; from anywhere else only by mistake.
            Step::Send { from, count } if from % 3 > 0 => {
                let from = (session.head().last_seq + 1).min(LENGTH);
                chain.range(from, end(from, count))
            }
            Step::Send { from, count } => chain.range(from, end(from, count)),
            Step::SendClone { from, count } => clone.range(from, end(from, count)),
            Step::SendShuffled { from, count, swap: (a, b) } => {
                let mut frame = chain.range(from, end(from, count));
                let length = frame.len();
                frame.swap(a % length, b % length);
                frame
            }
            Step::SendGap { from, count } => vec![chain.gap(from, end(from, count))],
            Step::Reconnect => {
                session = desk.session().await;
                assert!(session.head().last_seq >= acknowledged, "Welcome forgets nothing");
                continue;
            }
        };
        let accepted = desk.send(&mut session, frame).await;
        if accepted.acknowledge {
            let ack = session.ack(0).last_seq;
            assert!(ack >= acknowledged, "acknowledgements never go back");
            acknowledged = ack;
        }
    }
    let stored = desk.stored(&session).await;
    let mut next = 1;
    for record in &stored {
        assert_eq!(record.seq, next, "no hole, nothing twice");
        next = record.seq_to + 1;
    }
    assert!(next > acknowledged, "what was acknowledged is there");
    // One chain: the clone can have won only by being first. What a gap hides cannot be told apart.
    for run in stored.split(|record| record.kind == Kind::Gap) {
        let all_of = |chain: &Chain| run.iter().all(|r| chain.at(r.seq).payload == r.payload);
        assert!(all_of(&chain) || all_of(&clone), "the chains are never mixed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_never_double_and_never_lost(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(never_double_never_lost(steps));
    }

    #[test]
    fn any_bytes_are_answered(kind in -1..5_i32, seq in any::<u64>(), seq_to in any::<u64>(), payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let head = Head { last_seq: 3, last_hash: [1; 32], session: 1 };
        let desk = Session { spool_id: SPOOL, stream: StreamId(1), head, evidence: None };
        let record = v1::Record { seq, seq_to, kind, prev_hash: vec![1; 32], payload, signature: vec![] };
        drop(desk.sort(&v1::Data { session: 1, records: vec![record] }));
    }
}
