//! What every engine must do: one suite, run for each.

mod digests;
mod revisions;

pub(super) use revisions::{period, revision};

use super::{
    AnyStore, Batch, Cursor, Evidence, Head, Introduction, NewRecord, OpenError, Opened, Outcome,
    PAGE_ROWS, SqliteStore, Store as _, StoreError, StreamEnd, TenantScope,
};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use uuid::Uuid;

pub(super) const SPOOL: SpoolId = [7; 16];
const NOW_S: u64 = 1_800_000_000;

pub(super) fn introduction(agent: u128, spool_id: SpoolId, name: &str) -> Introduction {
    Introduction {
        agent: Uuid::from_u128(agent),
        spool_id,
        proposed_name: Name::new(name).expect("a name"),
        proposed_labels: Labels::from([("site".to_owned(), "berlin".to_owned())]),
        evidence: None,
        now_s: NOW_S,
        may_begin: true,
    }
}

/// Records that continue a chain, one a minute from the epoch of these tests.
pub(super) fn records(spool: &SpoolId, from: &Head, count: u64) -> Vec<NewRecord> {
    let mut prev_hash: Hash = from.last_hash;
    (from.last_seq + 1..=from.last_seq + count)
        .map(|seq| {
            let payload = seq.to_be_bytes().to_vec();
            let (kind, signature) = (Kind::Report, vec![1; 64]);
            let record = Record { seq, seq_to: seq, kind, prev_hash, payload, signature };
            let hash = record.hash(spool).expect("a report");
            prev_hash = hash;
            NewRecord {
                record,
                sealed_seq: seq,
                hash,
                window_s: 60,
                window_start_s: NOW_S + seq * 60,
            }
        })
        .collect()
}

pub(super) fn batch(opened: &Opened, expected: Head, records: &[NewRecord]) -> Batch {
    Batch { stream: opened.stream, expected, records: records.to_vec(), received_s: NOW_S }
}

/// The head behind a batch.
fn after(expected: Head, records: &[NewRecord]) -> Head {
    let last = records.last().expect("a record");
    Head { last_seq: last.record.seq_to, last_hash: last.hash, ..expected }
}

async fn suite(open: impl AsyncFn() -> AnyStore) {
    first_sight_settles_name_and_labels(open().await).await;
    a_stream_begins_only_where_it_may(open().await).await;
    sessions_count_up_and_fence(open().await).await;
    a_commit_is_whole_or_nothing(open().await).await;
    a_key_is_pinned_once(open().await).await;
    what_was_sealed_is_kept_to_the_last_byte(open().await).await;
    tenants_do_not_see_each_other(open().await).await;
    reads_page_through_everything_once(open().await).await;
    revisions::a_revision_is_added_once_and_stays(open().await).await;
    digests::a_digest_lasts_until_a_record_of_its_hour_comes(open().await).await;
    digests::hours_page_through_everything_once(open().await).await;
    open().await.check_writable().await.expect("writable");
}

async fn first_sight_settles_name_and_labels(store: AnyStore) {
    let scope = TenantScope::default();
    let first =
        store.open_session(&scope, introduction(1, SPOOL, "berlin-1")).await.expect("opens");
    assert!(first.first_sight);
    assert_eq!((first.head.last_seq, first.head.last_hash), (0, genesis_hash(&SPOOL)));

    let mut again = introduction(1, SPOOL, "other");
    again.proposed_labels.clear();
    let again = store.open_session(&scope, again).await.expect("opens");
    assert!(!again.first_sight);
    assert_eq!(again.name.as_str(), "berlin-1", "the name belongs to the collector");
    assert_eq!(again.labels.get("site").map(String::as_str), Some("berlin"));

    let clash =
        store.open_session(&scope, introduction(0xabcd, [8; 16], "berlin-1")).await.expect("opens");
    assert_eq!(clash.name.as_str(), "berlin-1-abcd");

    let foreign = store.open_session(&scope, introduction(3, SPOOL, "thief")).await;
    assert!(matches!(foreign, Err(OpenError::ForeignSpool)), "{foreign:?}");
    let names: Vec<String> = store
        .agents(&scope)
        .await
        .expect("reads")
        .iter()
        .map(|known| known.name.to_string())
        .collect();
    assert_eq!(names, ["berlin-1", "berlin-1-abcd"], "a refused agent leaves nothing behind");
}

async fn a_stream_begins_only_where_it_may(store: AnyStore) {
    let scope = TenantScope::default();
    let held_off = |agent, spool| {
        let introduced = introduction(agent, spool, "a");
        store.open_session(&scope, Introduction { may_begin: false, ..introduced })
    };
    assert!(matches!(held_off(1, SPOOL).await, Err(OpenError::NewSpool)));
    assert_eq!(store.agents(&scope).await.expect("reads"), [], "nothing is left of it");
    let first = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    assert_eq!(first.head.session, 1);
    let again = held_off(1, SPOOL).await.expect("it is known");
    assert_eq!((again.stream, again.head.session), (first.stream, 2));
    assert!(matches!(held_off(1, [8; 16]).await, Err(OpenError::NewSpool)));
    assert!(matches!(held_off(2, SPOOL).await, Err(OpenError::ForeignSpool)));
    assert_eq!(store.stream_ends(&scope).await.expect("reads").len(), 1);
}

async fn sessions_count_up_and_fence(store: AnyStore) {
    let scope = TenantScope::default();
    let old = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    let new = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    assert_eq!(new.head.session, old.head.session + 1);
    assert_eq!(new.stream, old.stream);
    let two = records(&SPOOL, &old.head, 2);
    let fenced = store.commit(&scope, batch(&old, old.head, &two)).await;
    assert!(matches!(fenced, Outcome::Conflict), "{fenced:?}");
    let committed = store.commit(&scope, batch(&new, new.head, &two)).await;
    assert!(matches!(committed, Outcome::Committed), "{committed:?}");
    assert_eq!(store.head(&scope, new.stream).await.expect("reads"), Some(after(new.head, &two)));
}

async fn a_commit_is_whole_or_nothing(store: AnyStore) {
    let scope = TenantScope::default();
    let opened = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    let three = records(&SPOOL, &opened.head, 3);
    assert!(matches!(
        store.commit(&scope, batch(&opened, opened.head, &three)).await,
        Outcome::Committed
    ));
    let head = after(opened.head, &three);
    for stale in [
        opened.head,
        Head { last_hash: [0; 32], ..head },
        Head { last_seq: 4, ..head },
        Head { session: head.session + 1, ..head },
    ] {
        let more = records(&SPOOL, &stale, 1);
        let outcome = store.commit(&scope, batch(&opened, stale, &more)).await;
        assert!(matches!(outcome, Outcome::Conflict), "{stale:?}: {outcome:?}");
    }
    // A batch whose second record is there already must not leave its first.
    let mut broken = records(&SPOOL, &head, 2);
    broken[1].record.seq = 3;
    let outcome = store.commit(&scope, batch(&opened, head, &broken)).await;
    assert!(matches!(outcome, Outcome::Unknown(StoreError::Failed(_))), "{outcome:?}");
    assert_eq!(store.head(&scope, opened.stream).await.expect("reads"), Some(head));
    let held = store.held(&scope, opened.stream, vec![1, 3, 4]).await.expect("reads");
    let hashes: Vec<Option<Hash>> = held.iter().map(|held| held.map(|held| held.hash)).collect();
    assert_eq!(hashes, [Some(three[0].hash), Some(three[2].hash), None]);

    // The store goes on after that.
    let next = records(&SPOOL, &head, 1);
    let outcome = store.commit(&scope, batch(&opened, head, &next)).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
}

pub(super) fn signed(mut introduction: Introduction, key: u8, signed_from: u64) -> Introduction {
    introduction.evidence = Some(Evidence { key: key_of(key), signed_from });
    introduction
}

fn key_of(number: u8) -> PublicKey {
    PublicKey::new([number; 32]).expect("not weak")
}

async fn a_key_is_pinned_once(store: AnyStore) {
    let scope = TenantScope::default();
    let of = |spool: SpoolId| introduction(1, spool, "a");
    let open = async |introduction| store.open_session(&scope, introduction).await;
    let unsigned = open(of(SPOOL)).await.expect("opens");
    assert_eq!((unsigned.evidence, unsigned.key_before), (None, None));
    let pinned = open(signed(of(SPOOL), 5, 9)).await.expect("opens");
    let evidence = Some(Evidence { key: key_of(5), signed_from: 9 });
    assert_eq!((pinned.evidence, pinned.key_before), (evidence, None));
    // Later it is as it was, whether the agent names the key, from elsewhere on, or none.
    for again in [signed(of(SPOOL), 5, 30), of(SPOOL)] {
        let again = open(again).await.expect("opens");
        assert_eq!((again.evidence, again.key_before), (evidence, None));
    }
    let before = store.head(&scope, pinned.stream).await.expect("reads").expect("is there");
    let refused = open(signed(of(SPOOL), 6, 9)).await;
    assert!(
        matches!(refused, Err(OpenError::OtherKey { pinned, offered }) if (pinned, offered) == (key_of(5), key_of(6))),
        "{refused:?}"
    );
    let after = store.head(&scope, pinned.stream).await.expect("reads").expect("is there");
    assert_eq!(after.session, before.session, "who was refused fences nobody");

    // Another spool may have another key, and that is said once.
    let other = open(signed(of([8; 16]), 6, 1)).await.expect("opens");
    assert_eq!(other.key_before, Some(key_of(5)));
    assert_eq!(open(signed(of([8; 16]), 6, 1)).await.expect("opens").key_before, None);
    assert_eq!(open(signed(of([9; 16]), 6, 1)).await.expect("opens").key_before, None, "the same");
    let known = store.agents(&scope).await.expect("reads");
    assert_eq!(known[0].evidence_keys, [key_of(5), key_of(6)]);
}

async fn what_was_sealed_is_kept_to_the_last_byte(store: AnyStore) {
    let (scope, theirs) =
        (TenantScope::default(), TenantScope::new(&Name::new("other").expect("a name")));
    let introduced = signed(introduction(1, SPOOL, "a"), 5, 1);
    let opened = store.open_session(&scope, introduced).await.expect("opens");
    let mut all = records(&SPOOL, &opened.head, 4);
    // A gap that reaches back over the two before it.
    (all[2].record.kind, all[2].sealed_seq, all[2].record.prev_hash) = (Kind::Gap, 1, [3; 32]);
    let outcome = store.commit(&scope, batch(&opened, opened.head, &all)).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    let sealed = store.sealed_from(&scope, opened.stream, 2).await.expect("reads");
    assert_eq!(sealed.len(), 3);
    for (sealed, new) in sealed.iter().zip(&all[1..]) {
        let record = &new.record;
        assert_eq!((sealed.seq, sealed.seq_to), (record.seq, record.seq_to));
        assert_eq!(sealed.kind, u64::from(record.kind.code()));
        assert_eq!((sealed.window_s, sealed.window_start_s), (60, new.window_start_s));
        assert_eq!((&sealed.payload, &sealed.signature), (&record.payload, &record.signature));
        assert_eq!(sealed.hash, new.hash);
        let back = (new.sealed_seq != record.seq).then(|| (1, vec![3; 32]));
        assert_eq!(sealed.reaches_back, back);
    }
    let streams = store.streams(&scope).await.expect("reads");
    assert_eq!((streams.len(), streams[0].name.as_str(), streams[0].spool_id), (1, "a", SPOOL));
    assert_eq!((streams[0].last_seq, streams[0].evidence), (4, opened.evidence));
    let stretch = async |from: u64, until: u64| {
        let within_s = (NOW_S + from * 60, NOW_S + until * 60);
        store.stretch(&scope, opened.stream, within_s).await.expect("reads")
    };
    assert_eq!(stretch(1, 9).await, Some((0, 4)));
    assert_eq!(stretch(2, 4).await, Some((1, 3)));
    assert_eq!(stretch(5, 9).await, None);
    assert_eq!(store.streams(&theirs).await.expect("reads"), []);
    assert_eq!(store.sealed_from(&theirs, opened.stream, 0).await.expect("reads"), []);
    assert_eq!(store.stretch(&theirs, opened.stream, (0, u64::MAX)).await.expect("reads"), None);
}

async fn tenants_do_not_see_each_other(store: AnyStore) {
    let (ours, theirs) =
        (TenantScope::default(), TenantScope::new(&Name::new("other").expect("a name")));
    let opened = store.open_session(&ours, introduction(1, SPOOL, "a")).await.expect("opens");
    let one = records(&SPOOL, &opened.head, 1);
    let stolen = store.commit(&theirs, batch(&opened, opened.head, &one)).await;
    assert!(matches!(stolen, Outcome::Conflict), "{stolen:?}");
    let outcome = store.commit(&ours, batch(&opened, opened.head, &one)).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");

    let refused = store.open_session(&theirs, introduction(1, [9; 16], "a")).await;
    assert!(matches!(refused, Err(OpenError::ForeignAgent)), "{refused:?}");
    assert_eq!(store.head(&theirs, opened.stream).await.expect("reads"), None);
    assert_eq!(store.held(&theirs, opened.stream, vec![1]).await.expect("reads"), [None]);
    assert_eq!(store.agents(&theirs).await.expect("reads"), []);
    assert_eq!(store.stream_ends(&theirs).await.expect("reads"), []);
    let everything = store.records_between(&theirs, Cursor::before(0), u64::MAX).await;
    assert_eq!(everything.expect("reads"), []);
    let stream = store.records_after(&theirs, opened.stream, 0).await;
    assert_eq!(stream.expect("reads"), []);
    // The name is free in the other tenant.
    let namesake = store.open_session(&theirs, introduction(2, [9; 16], "a")).await.expect("opens");
    assert_eq!(namesake.name.as_str(), "a");
}

async fn reads_page_through_everything_once(store: AnyStore) {
    let scope = TenantScope::default();
    let count = u64::from(PAGE_ROWS) + 10;
    for (agent, spool) in [(1, SPOOL), (2, [8; 16])] {
        let name = format!("agent-{agent}");
        let opened =
            store.open_session(&scope, introduction(agent, spool, &name)).await.expect("opens");
        let all = records(&spool, &opened.head, count);
        let outcome = store.commit(&scope, batch(&opened, opened.head, &all)).await;
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        let ends = store.stream_ends(&scope).await.expect("reads");
        assert!(ends.contains(&StreamEnd { stream: opened.stream, last_seq: count }));
        let rest = store.records_after(&scope, opened.stream, count - 2).await.expect("reads");
        let sequences: Vec<u64> = rest.iter().map(|record| record.seq).collect();
        assert_eq!(sequences, [count - 1, count]);
        assert_eq!(rest[1].payload, count.to_be_bytes());
    }

    // Windows 2 to `count` - 1 of both agents, each exactly once, in order.
    let (from_s, until_s) = (NOW_S + 120, NOW_S + count * 60);
    let mut cursor = Cursor::before(from_s);
    let mut seen = Vec::new();
    loop {
        let page = store.records_between(&scope, cursor, until_s).await.expect("reads");
        let Some(last) = page.last() else { break };
        cursor = last.into();
        seen.extend(page.iter().map(|record| (record.window_start_s, record.agent, record.seq)));
    }
    assert!(seen.is_sorted(), "in the cursor's order");
    let expected = usize::try_from(2 * (count - 2)).expect("fits");
    assert_eq!(seen.len(), expected);
    seen.dedup();
    assert_eq!(seen.len(), expected, "nothing twice");

    let known = store.agents(&scope).await.expect("reads");
    assert_eq!(known.len(), 2);
    assert_eq!(known[0].last_report_end_s, Some(NOW_S + (count + 1) * 60));
    assert!(known[0].labels_at(0).is_some_and(|labels| labels.contains_key("site")));
}

#[tokio::test]
async fn sqlite_in_memory_conforms() {
    suite(async || AnyStore::Sqlite(SqliteStore::in_memory().expect("opens"))).await;
}

#[tokio::test]
async fn sqlite_in_a_file_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    let count = std::cell::Cell::new(0);
    suite(async || {
        count.set(count.get() + 1);
        let path = folder.path().join(format!("{}.db", count.get()));
        let (store, durability) = SqliteStore::open(&path).expect("opens");
        assert_eq!((durability.journal_mode.as_str(), durability.synchronous), ("wal", 2));
        AnyStore::Sqlite(store)
    })
    .await;
}
