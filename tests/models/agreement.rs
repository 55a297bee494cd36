//! The store that stands in here answers as SQLite does.

use crate::stage::{at_once, evidence_key};
use crate::store::MemoryStore;
use probefleet_collector::store::{
    Batch, Evidence, Head, Introduction, NewRecord, Opened, Outcome, SqliteStore, Store, StreamId,
    TenantScope,
};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, Record, SpoolId};
use std::fmt::Write as _;
use uuid::Uuid;

const STEPS: usize = 4_000;
const SPOOLS: usize = 3;

/// One of a few agents opens one of a few spools; a spool that belongs to another is refused.
fn introduction(random: &mut fastrand::Rng) -> Introduction {
    let number = random.u128(1..=SPOOLS as u128);
    let agent = if random.u8(..8) == 0 { random.u128(1..=SPOOLS as u128) } else { number };
    // Most name a key, now and then another one; the first is pinned.
    let key = [0, 1, 1, 1, 2][random.usize(..5)];
    let signed_from = random.u64(1..9);
    let evidence = (key > 0).then(|| Evidence { key: evidence_key(key).public(), signed_from });
    Introduction {
        agent: Uuid::from_u128(agent),
        spool_id: number.to_be_bytes(),
        proposed_name: Name::new(&format!("agent-{agent}")).expect("a name"),
        proposed_labels: Labels::new(),
        evidence,
        now_s: 1,
        may_begin: true,
    }
}

/// Records that follow a head: mostly the newest, now and then one that is out of date.
fn batch(random: &mut fastrand::Rng, stream: StreamId, mut expected: Head) -> Batch {
    match random.u8(..8) {
        0 => expected.last_seq = expected.last_seq.saturating_sub(1),
        1 => expected.last_hash[0] ^= 1,
        2 => expected.session = expected.session.saturating_sub(1),
        _ => {}
    }
    let (mut seq, mut records) = (expected.last_seq + 1, Vec::new());
    for _ in 0..random.u8(1..4) {
        let seq_to = if random.bool() { seq } else { seq + random.u64(..3) };
        let kind = if seq_to > seq { Kind::Gap } else { Kind::Report };
        let (prev_hash, payload, signature) = ([0; 32], vec![random.u8(..)], Vec::new());
        let record = Record { seq, seq_to, kind, prev_hash, payload, signature };
        let hash = [random.u8(..); 32];
        records.push(NewRecord { record, sealed_seq: seq, hash, window_s: 60, window_start_s: 60 });
        seq = seq_to + 1;
    }
    Batch { stream, expected, records, received_s: 1 }
}

/// What a store answers to everything that a seed asks of it.
fn answers(store: &impl Store, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let scope = TenantScope::default();
    let (mut known, mut said): (Vec<(SpoolId, Opened)>, String) = (Vec::new(), String::new());
    for _ in 0..STEPS {
        let pick = random.usize(..SPOOLS);
        if random.u8(..6) == 0 || known.len() <= pick {
            let introduction = introduction(&mut random);
            let spool_id = introduction.spool_id;
            match at_once(store.open_session(&scope, introduction)) {
                Ok(opened) => {
                    known.retain(|(known, _)| *known != spool_id);
                    let pinned = (opened.evidence, opened.key_before);
                    writeln!(said, "{:?} {pinned:?}", (opened.head, opened.first_sight))
                        .expect("text");
                    known.push((spool_id, opened));
                }
                Err(error) => writeln!(said, "{error}").expect("text"),
            }
            continue;
        }
        let stream = known[pick].1.stream;
        let head = at_once(store.head(&scope, stream)).expect("answers").expect("is there");
        let sequences = vec![1, random.u64(..=head.last_seq + 1), head.last_seq];
        let held = at_once(store.held(&scope, stream, sequences)).expect("answers");
        let outcome = match at_once(store.commit(&scope, batch(&mut random, stream, head))) {
            Outcome::Committed => "committed",
            Outcome::Conflict => "conflict",
            Outcome::Unknown(_) => "unknown",
        };
        writeln!(said, "{head:?} {held:?} {outcome}").expect("text");
    }
    said
}

#[test]
fn the_store_that_stands_in_answers_as_sqlite_does() {
    for seed in 0..3 {
        let sqlite = SqliteStore::in_memory().expect("opens");
        let said = answers(&MemoryStore::default(), seed);
        assert_eq!(said, answers(&sqlite, seed), "seed {seed}");
        assert!(said.contains("conflict") && said.contains("committed"), "both happen");
    }
}
