//! Records that the collector can never accept: what lies behind them arrives all the same, and everybody is told.
//!
//! They are put into the agent's spool by the spool itself, which does not look at what it keeps; then the real programs run.

use harness::command::run;
use harness::evidence::{StoredRecord, records};
use harness::fleet::{Fleet, get, start_responder};
use harness::ports::free_port;
use harness::process::eventually;
use harness::program;
use probefleet_agent::evidence::EvidenceKey;
use probefleet_agent::spool::{Limits, REFUSED_MAX, Spool, inspect};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{Cell, Head, encode};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::v1;
use prost::Message as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// How long a program may take to start, and to deliver a few records.
const STARTS: Duration = Duration::from_secs(30);
/// Within that each fault is told.
const SAID: Duration = Duration::from_secs(30);
const STOPS: Duration = Duration::from_secs(5);
const WINDOW_S: u64 = 10;

/// A report of one window.
fn report(window_start_s: u64, scheduled: u32, ok: u32) -> Vec<u8> {
    let cell = Cell {
        probe: "web".to_owned(),
        spec: [1; 16],
        interval_s: 1,
        scheduled,
        ok,
        others: Vec::new(),
        series: Vec::new(),
        counters: Vec::new(),
        values: Vec::new(),
    };
    let window_s = u32::try_from(WINDOW_S).expect("small");
    encode(&Head { window_start_s, window_s, ..Head::default() }, &[cell]).remove(0)
}

/// Puts records into the spool of an agent that does not run, and returns the sequence of the first.
fn put(state: &Path, payloads: Vec<(Kind, Vec<u8>)>) -> u64 {
    let key = Arc::new(EvidenceKey::kept(state).expect("the agent left it"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let opened = Spool::open(&state.join("spool"), Limits::new(0), key);
        let (spool, recovered) = opened.expect("the agent left it");
        for (kind, payload) in payloads {
            spool.append(kind, payload).await.expect("there is room");
        }
        spool.close().await.expect("closes");
        recovered.next_seq
    })
}

/// A collector that runs, and an agent that ran once, with where it tells how it is.
fn site() -> (Fleet, String) {
    let log = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let (responder, target) = start_responder(&log);
    let plan =
        format!("probes:\n  - {{name: web, every: 1s, http: {{url: 'http://{target}/'}}}}\n");
    let mut fleet = Fleet::new(&plan, &[]);
    let agents = fleet.start_collector().agents;
    fleet.add_agent("berlin", "berlin", &agents, &target);
    let status = format!("127.0.0.1:{}", free_port());
    let config = fleet.dir().join("berlin/agent.yaml");
    let text = std::fs::read_to_string(&config).expect("reads");
    std::fs::write(config, format!("{text}status: {status}\n")).expect("writes");
    fleet.start_agent("berlin");
    let plan = fleet.dir().join("berlin/state/plan.json");
    eventually(STARTS, || plan.exists().then_some(())).expect("the plan is in force");
    let (_, good) = fleet.agent("berlin").terminate(STOPS);
    assert!(good, "the agent stops cleanly");
    drop(responder);
    (fleet, status)
}

/// What the collector has from a sequence on.
fn stored_from(store: &Path, seq: u64) -> Vec<StoredRecord> {
    records(store).into_iter().filter(|record| record.seq >= seq).collect()
}

#[test]
fn what_follows_poisonous_records_arrives_and_gaps_stand_for_them() {
    let (mut fleet, status) = site();
    let state = fleet.dir().join("berlin/state");
    let from_s = unix_now_ns() / NS_PER_S / WINDOW_S * WINDOW_S - 100 * WINDOW_S;
    let window = |index: u64| from_s + index * WINDOW_S;
    // A report that contradicts itself, one that is none, and an event that is none, each between good ones.
    let first = put(
        &state,
        vec![
            (Kind::Report, report(window(0), 10, 10)),
            (Kind::Report, report(window(1), 10, 3)),
            (Kind::Report, report(window(2), 10, 10)),
            (Kind::Report, b"\xff no report".to_vec()),
            (Kind::Event, b"\xff no event".to_vec()),
            (Kind::Report, report(window(4), 10, 10)),
        ],
    );
    fleet.start_agent("berlin");
    let store = fleet.store();
    let arrived = || stored_from(&store, first + 6).iter().any(|r| r.kind == 1).then_some(());
    eventually(STARTS, arrived).expect("what is measured now arrives, too");

    let stored = stored_from(&store, first);
    let kinds: Vec<i64> = stored.iter().take(6).map(|record| i64::from(record.kind)).collect();
    assert_eq!(kinds, [1, 2, 1, 2, 2, 1], "a gap for each that is malformed");
    assert!(stored.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "once, without a hole");
    let gap = |index: usize| v1::Gap::decode(stored[index].payload.as_slice()).expect("a gap");
    let web = v1::GapProbe { probe: "web".to_owned(), scheduled: 10, ok: 3, failed: 0 };
    assert_eq!((gap(1).reason.as_str(), gap(1).probes), ("record_refused", vec![web]));
    assert_eq!((gap(1).from_s, gap(1).until_s), (window(1), window(2)));
    assert_eq!((gap(3).from_s, gap(3).until_s), (window(2), window(5)), "between its neighbours");
    assert_eq!((gap(4).reason.as_str(), gap(4).until_s), ("record_refused", 0));

    let faulty = eventually(SAID, || {
        let (code, text) = get(&status, "/readyz");
        (code == 503 && text.contains("record_refused: ")).then_some(text)
    });
    let text = faulty.expect("told");
    assert!(text.contains("can never accept 3 records"), "{text}");
    assert!(text.contains(&format!("the last is record {}", first + 4)), "{text}");
    let (_, metrics) = get(&status, "/metrics");
    for line in [
        "probefleet_fault{fault=\"record_refused\"} 1",
        "probefleet_fault{fault=\"refused\"} 0",
        "probefleet_spool_refused_records_total 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}:\n{metrics}");
    }
    let portal = fleet.addresses().expect("runs").portal;
    let told = || {
        let line = "probefleet_agent_fault{agent=\"berlin\",fault=\"record_refused\"} 1";
        get(&portal, "/metrics").1.lines().any(|found| found == line).then_some(())
    };
    eventually(SAID, told).expect("the collector says so too");

    let (_, good) = fleet.agent("berlin").terminate(STOPS);
    assert!(good, "the agent stops cleanly");
    let found = inspect(&state.join("spool")).expect("readable").remove(0);
    let kept = found.quarantined.iter().find(|path| {
        path.to_string_lossy().ends_with(&format!("{:010}.refused.quarantine", first + 3))
    });
    let bytes = std::fs::read(kept.expect("kept")).expect("reads");
    assert!(bytes.ends_with(b"\xff no report"));
    assert_eq!((found.quarantined.len(), found.lost), (3, 3));
    let mut verify = Command::new(program("probefleet-collector"));
    verify.arg("verify").arg("--config").arg(fleet.collector_config());
    let verified = run(&mut verify, "", STARTS);
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn behind_a_few_the_agent_keeps_what_it_has_and_a_person_must_act() {
    let (mut fleet, status) = site();
    let state = fleet.dir().join("berlin/state");
    let poison = || (Kind::Report, b"\xff no report".to_vec());
    let number = usize::try_from(REFUSED_MAX).expect("small");
    let first = put(&state, (0..=number).map(|_| poison()).collect());
    fleet.start_agent("berlin");
    eventually(STARTS, || TcpStream::connect(&status).ok()).expect("it starts");
    let stopped = eventually(SAID, || {
        let (_, text) = get(&status, "/readyz");
        text.contains("\nrefused: ").then_some(text)
    });
    let text = stopped.expect("told");
    let last = first + REFUSED_MAX;
    for said in
        [format!("can never accept record {last}:"), format!("{number} records were set aside")]
    {
        assert!(text.contains(&said), "{said}: {text}");
    }
    let stored = stored_from(&fleet.store(), first);
    assert!(stored.iter().all(|record| record.kind == 2 && record.seq < last), "only gaps");
    assert_eq!(stored.len(), number);
    // Somebody has looked, takes the files away, and starts it again.
    let (_, good) = fleet.agent("berlin").terminate(STOPS);
    assert!(good, "the agent stops cleanly");
    let found = inspect(&state.join("spool")).expect("readable").remove(0);
    let refused = |path: &&PathBuf| path.to_string_lossy().ends_with(".refused.quarantine");
    let kept: Vec<&PathBuf> = found.quarantined.iter().filter(refused).collect();
    assert_eq!(kept.len(), number);
    kept.into_iter().for_each(|path| std::fs::remove_file(path).expect("is ours"));
    fleet.start_agent("berlin");
    let store = fleet.store();
    let arrived = || stored_from(&store, last + 1).iter().any(|r| r.kind == 1).then_some(());
    eventually(STARTS, arrived).expect("the rest arrives");
}
