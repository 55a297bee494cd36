use super::*;
use crate::audit::Problem;
use crate::evidence::tests::Signer;
use crate::store::{Batch, Evidence, Introduction, NewRecord, Outcome};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, Record, genesis_hash};
use probefleet_proto::v1;
use prost::Message as _;
use std::path::Path;
use uuid::Uuid;

const SPOOL: [u8; 16] = [7; 16];
const PLAN: &str = "probes:\n  - {name: web, http: {url: https://a.example/}, every: 10s}\n";
/// The records of an agent that signs from the third on.
const COUNT: u64 = 3;

fn records(signer: &Signer) -> Vec<NewRecord> {
    let mut prev_hash = genesis_hash(&SPOOL);
    let mut all = Vec::new();
    for seq in 1..=COUNT {
        let event = v1::Event { what: "start".to_owned(), wall_time_ns: 1, detail: String::new() };
        let (payload, signature) = (event.encode_to_vec(), Vec::new());
        let mut record =
            Record { seq, seq_to: seq, kind: Kind::Event, prev_hash, payload, signature };
        if seq == COUNT {
            signer.sign(&mut record, &SPOOL);
        }
        let hash = record.hash(&SPOOL).expect("no gap");
        prev_hash = hash;
        all.push(NewRecord { record, sealed_seq: seq, hash, window_s: 0, window_start_s: 0 });
    }
    all
}

/// Fills the store of a folder, which says by itself from which record on all are signed.
async fn fill(state: &Path, signer: &Signer) {
    let (store, _) = SqliteStore::open(&state.join("collector.db")).expect("opens");
    let (store, scope) = (AnyStore::Sqlite(store), TenantScope::default());
    let introduction = Introduction {
        agent: Uuid::from_u128(1),
        spool_id: SPOOL,
        proposed_name: Name::new("berlin-1").expect("a name"),
        proposed_labels: Labels::new(),
        evidence: Some(Evidence { key: signer.public(), signed_from: COUNT }),
        now_s: 1,
        may_begin: true,
    };
    let opened = store.open_session(&scope, introduction).await.expect("opens");
    let (stream, expected) = (opened.stream, opened.head);
    let batch = Batch { stream, expected, records: records(signer), received_s: 1 };
    let outcome = store.commit(&scope, batch).await;
    assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
}

#[test]
fn with_a_key_the_store_is_not_asked_what_may_be_unsigned() {
    let folder = tempfile::tempdir().expect("a folder");
    let (signer, state) = (Signer::new(1), folder.path().join("state"));
    std::fs::create_dir(&state).expect("a folder");
    let config = folder.path().join("collector.yaml");
    std::fs::write(&config, "state_dir: state\nplan: plan.yaml\n").expect("writes");
    std::fs::write(folder.path().join("plan.yaml"), PLAN).expect("writes");
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    runtime.block_on(fill(&state, &signer));

    let asked = |key: Option<Fingerprint>, signed_from: Option<u64>| {
        let (config, format) = (config.clone(), Format::Text);
        let (agent, from, until) = (None, None, None);
        let args = Args { config, agent, from, until, key, signed_from, format };
        let checked = check(&args).expect("is a good question");
        assert_eq!(checked.len(), 1, "one stream");
        assert_eq!(checked[0].1.records, COUNT);
        (checked[0].1.problems, checked[0].1.first_problem.clone())
    };
    let key = Some(signer.public().fingerprint());
    assert_eq!(asked(None, None), (0, None));
    assert_eq!(asked(key, None), (2, Some((1, Problem::Unvouched))));
    assert_eq!(asked(key, Some(2)), (1, Some((2, Problem::Unsigned(2)))));
    assert_eq!(asked(key, Some(COUNT)), (0, None));
}
