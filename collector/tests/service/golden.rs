//! A store that an earlier version wrote is read by this one, to the last byte.

use crate::support::{AGENT, Chain, SPOOL, payload};
use probefleet_collector::store::{
    AnyStore, Batch, Cursor, Head, Introduction, NewRecord, Outcome, SqliteStore, Store as _,
    TenantScope,
};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::v1;
use prost::Message as _;
use std::path::{Path, PathBuf};

const FIRST_WINDOW_S: u64 = 1_800_000_000;

/// Version 1 of the schema: three reports and an event of one agent.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/collector-v1.db")
}

fn chain() -> Chain {
    let mut chain = Chain::new();
    let event = v1::Event {
        what: "start".to_owned(),
        wall_time_ns: FIRST_WINDOW_S * 1_000_000_000,
        detail: "golden".to_owned(),
    };
    chain.push(Kind::Event, event.encode_to_vec());
    for index in 0..3 {
        chain.push(Kind::Report, payload(FIRST_WINDOW_S + index * 10, &[]));
    }
    chain
}

fn introduction(now_s: u64) -> Introduction {
    Introduction {
        agent: AGENT.parse().expect("a UUID"),
        spool_id: SPOOL,
        proposed_name: Name::new("berlin-1").expect("a name"),
        proposed_labels: Labels::from([("site".to_owned(), "berlin".to_owned())]),
        evidence: None,
        now_s,
        may_begin: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_store_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    std::fs::copy(golden(), &path).expect("copies");
    let scope = TenantScope::default();

    // As it is, for those who only read; nothing was published then.
    let reader = SqliteStore::open_read_only(&path).expect("opens");
    assert_eq!(reader.revisions(&scope, "acme", None).await.expect("reads"), []);
    drop(reader);
    let (store, durability) = SqliteStore::open(&path).expect("opens");
    let store = AnyStore::Sqlite(store);
    assert!(durability.user_version >= 4, "brought up to date");
    assert_eq!(store.revisions(&scope, "acme", None).await.expect("reads"), []);
    let agents = store.agents(&scope).await.expect("reads");
    assert_eq!(agents.len(), 1);
    assert_eq!((agents[0].name.as_str(), agents[0].first_seen_s), ("berlin-1", FIRST_WINDOW_S));
    assert_eq!(agents[0].last_report_end_s, Some(FIRST_WINDOW_S + 30));
    let labels = agents[0].labels_at(FIRST_WINDOW_S).expect("has labels");
    assert_eq!(labels.get("site").map(String::as_str), Some("berlin"));

    let stored = store.records_between(&scope, Cursor::before(0), u64::MAX).await.expect("reads");
    let expected = chain().records;
    assert_eq!(stored.len(), expected.len());
    let opened =
        store.open_session(&scope, introduction(FIRST_WINDOW_S + 60)).await.expect("opens");
    assert_eq!((opened.head.last_seq, opened.head.session), (4, 2));
    let by_sequence = store.records_after(&scope, opened.stream, 0).await.expect("reads");
    for (stored, wire) in by_sequence.iter().zip(expected) {
        let record = Record::try_from(wire).expect("is sound");
        assert_eq!(
            (stored.seq, stored.seq_to, stored.kind),
            (record.seq, record.seq_to, record.kind)
        );
        assert_eq!(stored.payload, record.payload);
        assert_eq!(
            (stored.agent.to_string().as_str(), stored.received_s),
            (AGENT, FIRST_WINDOW_S + 31)
        );
        let held = store.held(&scope, opened.stream, vec![record.seq]).await.expect("reads");
        assert_eq!(held[0].expect("is held").hash, record.hash(&SPOOL).expect("is sound"));
    }
}

/// Writes the file: once for a version of the schema, never again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the golden file of a new version of the schema"]
async fn write_the_golden_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    let scope = TenantScope::default();
    let (store, _) = SqliteStore::open(&path).expect("opens");
    let opened = store.open_session(&scope, introduction(FIRST_WINDOW_S)).await.expect("opens");
    let records = chain().records.into_iter().enumerate().map(|(index, wire)| {
        let record = Record::try_from(wire).expect("is sound");
        let hash = record.hash(&SPOOL).expect("is sound");
        let index = u64::try_from(index).expect("small");
        let (window_s, window_start_s) = match record.kind {
            Kind::Report => (10, FIRST_WINDOW_S + (index - 1) * 10),
            _ => (0, FIRST_WINDOW_S),
        };
        NewRecord { sealed_seq: record.seq, record, hash, window_s, window_start_s }
    });
    let expected = Head { ..opened.head };
    let batch = Batch {
        stream: opened.stream,
        expected,
        records: records.collect(),
        received_s: FIRST_WINDOW_S + 31,
    };
    let outcome = store.commit(&scope, batch).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
    drop(store);
    // The last connection to close puts everything into the one file.
    let log = folder.path().join("collector.db-wal");
    while log.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    std::fs::copy(&path, golden()).expect("copies");
}
