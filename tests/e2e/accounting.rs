//! Accounting and delivery under kill -9, by an oracle that shares no code with the programs: the schedule is
//! recomputed from the plan's text, the store is read with SQL, acknowledgements are read off the wire, the target counts
//! its requests itself, and what had landed before a kill is read from the journal that it left.

use harness::evidence::{CellKey, Counts, StoredRecord, cells, records, reports};
use harness::fleet::{Fleet, get, start_responder};
use harness::journal::{self, Became};
use harness::process::eventually;
use harness::relay::{Acknowledged, Relay};
use probefleet_proto::clock::unix_now_ns;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Cycles of killing, of each kind; with `--soak` more.
const CYCLES: usize = 50;
const SOAK_CYCLES: usize = 1_000;
/// Width of the fleet's windows, s.
const WINDOW_S: u64 = 10;
/// How long it may take until an agent is back: after many lost connections it waits for up to two minutes.
const RETURNS: Duration = Duration::from_secs(120 + 3 * WINDOW_S);
/// Name, interval (s) and path of each probe: quick, failing, and slow enough to outlast its window.
const PROBES: [(&str, u64, &str); 4] = [
    ("quick", 1, "/"),
    ("steady", 3, "/bytes/1000"),
    ("broken", 2, "/status/503"),
    ("slow", 5, "/delay/2500ms"),
];

pub(super) fn plan(target: &str) -> String {
    let probe = |(name, every_s, path): &(&str, u64, &str)| {
        let timeout = if *every_s > 4 { "timeout: 4s, " } else { "" };
        format!(
            "  - {{name: {name}, every: {every_s}s, {timeout}http: {{url: 'http://{target}{path}'}}}}\n"
        )
    };
    format!("probes:\n{}", PROBES.iter().map(probe).collect::<String>())
}

/// Scheduled instants of a probe in a window, from the words of the format alone: phase + k·every.
fn due(agent_id: &[u8; 16], probe: &str, every_s: u64, window_start_s: u64) -> u64 {
    let digest =
        Sha256::digest([b"probefleet phase v1\0", agent_id.as_slice(), probe.as_bytes()].concat());
    let every_ns = u128::from(every_s) * 1_000_000_000;
    let phase_ns =
        digest.iter().take(8).fold(0_u128, |sum, byte| sum * 256 + u128::from(*byte)) % every_ns;
    let start_ns = u128::from(window_start_s) * 1_000_000_000;
    let end_ns = start_ns + u128::from(WINDOW_S) * 1_000_000_000;
    let instants = (start_ns / every_ns - 1..).map(|k| phase_ns + k * every_ns);
    instants.skip_while(|at| *at < start_ns).take_while(|at| *at < end_ns).count() as u64
}

/// First window of the first plan that an agent kept, Unix s.
fn first_window_s(fleet: &Fleet, agent: &str) -> u64 {
    let bytes =
        std::fs::read(fleet.dir().join(agent).join("state/plan.json")).expect("a plan was applied");
    let json: serde_json::Value = serde_json::from_slice(&bytes).expect("is JSON");
    json["plans"][0]["from_window_s"].as_u64().expect("says from when")
}

/// Every window of every agent holds what the schedule says, once, and adds up.
pub(super) fn check_accounts(
    fleet: &Fleet,
    stored: &[StoredRecord],
    cells: &BTreeMap<CellKey, Counts>,
) -> Counts {
    let ids: HashMap<&str, [u8; 16]> =
        stored.iter().map(|r| (r.agent.as_str(), r.agent_id)).collect();
    let mut sum = Counts::default();
    for (agent, id) in &ids {
        let of_agent = || cells.keys().filter(|(name, ..)| name == agent);
        let last_s = of_agent().map(|(.., start_s)| *start_s).max().expect("has cells");
        let first_s = first_window_s(fleet, agent);
        assert!(
            of_agent().all(|(.., start_s)| *start_s >= first_s),
            "{agent}: nothing before its plan"
        );
        for start_s in (first_s..=last_s).step_by(WINDOW_S as usize) {
            for (probe, every_s, _) in PROBES {
                let expected = due(id, probe, every_s, start_s);
                let key = ((*agent).to_owned(), probe.to_owned(), start_s);
                let Some(cell) = cells.get(&key) else {
                    assert_eq!(
                        expected, 0,
                        "{agent} {probe} {start_s}: {expected} attempts are not accounted for"
                    );
                    continue;
                };
                assert_eq!(cell.records, 1, "{agent} {probe} {start_s}: in one record only");
                assert_eq!(cell.scheduled, expected, "{agent} {probe} {start_s}: as scheduled");
                let outcomes = cell.ok + cell.failed + cell.invalid + cell.missed;
                assert_eq!(cell.scheduled, outcomes, "{agent} {probe} {start_s}: adds up");
                add(&mut sum, cell);
            }
        }
    }
    sum
}

fn add(sum: &mut Counts, cell: &Counts) {
    sum.scheduled += cell.scheduled;
    sum.ok += cell.ok;
    sum.failed += cell.failed;
    sum.invalid += cell.invalid;
    sum.missed += cell.missed;
    for (reason, count) in &cell.ours {
        *sum.ours.entry(reason.clone()).or_default() += count;
    }
}

/// What was acknowledged is in the store with that hash, and nothing is there twice.
pub(super) fn check_delivery(stored: &[StoredRecord], acknowledged: &[Acknowledged]) {
    let mut seen = HashSet::new();
    let mut hashes = HashMap::new();
    for record in stored {
        assert!(seen.insert((&record.spool_id, record.seq)), "{} twice", record.seq);
        hashes.insert((record.spool_id.as_slice(), record.seq), record.hash.as_slice());
    }
    assert!(!acknowledged.is_empty(), "something was acknowledged");
    for ack in acknowledged {
        let stored = hashes.get(&(ack.spool_id.as_slice(), ack.seq));
        assert_eq!(stored, Some(&ack.hash.as_slice()), "acknowledged {} is in the store", ack.seq);
        assert!((1..=ack.seq).all(|seq| seen.contains(&(&ack.spool_id, seq))), "and all before it");
    }
}

/// Where the collector is right now, for the relay.
pub(super) fn upstream(fleet: &Arc<Mutex<Fleet>>) -> harness::relay::Upstream {
    let fleet = Arc::clone(fleet);
    Arc::new(move || fleet.lock().ok()?.addresses().map(|addresses| addresses.agents))
}

/// Numbers that differ enough, the same on every run: the seed is printed with a failure.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Requests that the target says it answered, by probe.
fn requests_of_probes(responder: &str) -> HashMap<&'static str, u64> {
    let (status, body) = get(responder, "/requests");
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&body).expect("is JSON");
    let counts = json["requests"].as_object().expect("counts by path");
    let count = |path: &str| counts.get(path).and_then(serde_json::Value::as_u64).unwrap_or(0);
    PROBES.iter().map(|(probe, _, path)| (*probe, count(path))).collect()
}

/// All of them.
fn requests(responder: &str) -> u64 {
    requests_of_probes(responder).values().sum()
}

/// What had landed before kills: agent, probe and scheduled instant (Unix ns), and what became of it.
type LandedAttempts = BTreeMap<(String, String, u64), Became>;

/// Reads what an agent that was just killed had landed: a result is on record when its request was answered and the
/// agent had seen the answer.
fn note_landed(fleet: &Fleet, agent: &str, landed: &mut LandedAttempts) {
    for (probe, at_ns, became) in journal::attempts(&fleet.dir().join(agent).join("state/journal"))
    {
        let before = landed.insert((agent.to_owned(), probe, at_ns), became);
        assert!(before.is_none_or(|before| before == became), "{agent} at {at_ns} changed");
    }
}

/// Every attempt that had landed before a kill is in its window as what it was, and never as missed.
fn check_landed(landed: &LandedAttempts, cells: &BTreeMap<CellKey, Counts>) {
    let mut known: BTreeMap<CellKey, (u64, u64, u64)> = BTreeMap::new();
    for ((agent, probe, at_ns), became) in landed {
        let start_s = at_ns / 1_000_000_000 / WINDOW_S * WINDOW_S;
        let counts = known.entry((agent.clone(), probe.clone(), start_s)).or_default();
        match became {
            Became::Ok => counts.0 += 1,
            Became::Failed => counts.1 += 1,
            Became::Ours => counts.2 += 1,
        }
    }
    for (key, (ok, failed, ours)) in &known {
        let cell = cells.get(key).unwrap_or_else(|| panic!("{key:?} had landed"));
        assert!(cell.ok >= *ok && cell.failed >= *failed, "{key:?}: {ok} + {failed} of {cell:?}");
        let not_landed = cell.scheduled - ok - failed - ours;
        let lost = cell.ours.get("agent_down").copied().unwrap_or(0);
        assert!(lost <= not_landed, "{key:?}: {lost} are called missed of {not_landed}: {cell:?}");
    }
    let (ok, failed) = known.values().fold((0, 0), |sum, n| (sum.0 + n.0, sum.1 + n.1));
    println!("{ok} ok and {failed} failed attempts had landed before kills");
    assert!(ok > 0 && failed > 0, "kills found results that were not sealed");
}

/// Waits until the store has a window of every agent that began at an instant, Unix s, or later.
pub(super) fn wait_for_windows(fleet: &Arc<Mutex<Fleet>>, names: &[&str], from_s: u64) {
    let store = fleet.lock().expect("not poisoned").store();
    let reported = eventually(RETURNS, || {
        let cells = cells(&reports(&records(&store)));
        let has = |name: &&str| cells.keys().any(|(of, _, at_s)| of == name && *at_s >= from_s);
        names.iter().all(has).then_some(())
    });
    assert!(reported.is_some(), "not every one of {names:?} reports windows from {from_s} on");
}

/// No more kills until everybody is connected again and has reported a window since; then a clean stop.
pub(super) fn settle(fleet: &Arc<Mutex<Fleet>>, names: &[&str]) {
    wait_for_windows(fleet, names, unix_now_ns() / 1_000_000_000);
    for name in names {
        let mut fleet = fleet.lock().expect("not poisoned");
        let (took, good) = fleet.agent(name).terminate(Duration::from_secs(5));
        assert!(good, "{name} stops cleanly:\n{}", fleet.agent(name).output());
        assert!(took < Duration::from_secs(3), "{name} took {took:?} to stop");
    }
    let mut fleet = fleet.lock().expect("not poisoned");
    let (_, good) = fleet.collector.as_mut().expect("runs").terminate(Duration::from_secs(5));
    assert!(good, "the collector stops cleanly");
}

fn start(names: &[&str]) -> (Arc<Mutex<Fleet>>, Relay, harness::process::Process, String) {
    let log = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let (responder, target) = start_responder(&log.keep().expect("a log"));
    let fleet = Arc::new(Mutex::new(Fleet::new(&plan(&target), &[])));
    let relay = Relay::start(upstream(&fleet));
    {
        let mut fleet = fleet.lock().expect("not poisoned");
        fleet.start_collector();
        for name in names {
            fleet.add_agent(name, name, &relay.address.to_string(), &target);
            fleet.start_agent(name);
        }
    }
    wait_for_windows(&fleet, names, 0);
    (fleet, relay, responder, target)
}

#[test]
fn kill_9_of_anyone_loses_and_doubles_nothing() {
    let names = ["berlin", "london", "tokyo"];
    let (fleet, relay, _responder, target) = start(&names);
    let (mut dice, mut landed) = (Dice(0x5eed), LandedAttempts::new());
    let soak = std::env::var_os("PROBEFLEET_SOAK").is_some();
    let cycles = if soak { SOAK_CYCLES } else { CYCLES };
    for _ in 0..cycles {
        std::thread::sleep(Duration::from_millis(50 + dice.below(700)));
        let name = names[dice.below(3) as usize];
        let mut fleet = fleet.lock().expect("not poisoned");
        fleet.kill_agent(name);
        note_landed(&fleet, name, &mut landed);
        fleet.kill_collector();
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        fleet.start_collector();
        fleet.start_agent(name);
    }
    settle(&fleet, &names);

    let fleet = fleet.lock().expect("not poisoned");
    let stored = records(&fleet.store());
    let cells = cells(&reports(&stored));
    let sum = check_accounts(&fleet, &stored, &cells);
    check_delivery(&stored, &relay.acknowledged());
    check_landed(&landed, &cells);
    for name in names {
        let left = journal::attempts(&fleet.dir().join(name).join("state/journal"));
        assert_eq!(left, [], "{name} has sealed everything");
    }
    println!("{sum:?}");
    for (probe, answered) in requests_of_probes(&target) {
        // A kill finds one attempt of a probe in flight at most, and so does the stop of each agent.
        let counted: u64 =
            cells.iter().filter(|((_, of, _), _)| of == probe).map(|(_, c)| c.ok + c.failed).sum();
        let in_flight = (cycles + names.len()) as u64;
        let unknown = answered.checked_sub(counted).expect("each was answered");
        assert!(unknown <= in_flight, "{probe}: {unknown} of {answered} answered are not counted");
    }
    let lost = sum.missed + sum.invalid;
    let answered = requests(&target);
    assert!(
        sum.ours.contains_key("agent_down"),
        "a kill turns what was due meanwhile, or in flight, into agent_down"
    );
    assert!(answered >= sum.ok + sum.failed, "the target answered {answered}");
    assert!(answered <= sum.ok + sum.failed + lost, "the target answered {answered}");
    assert!(sum.failed > 0 && sum.ok > sum.failed, "{sum:?}");
}

#[test]
fn while_agents_live_the_targets_own_count_is_ok_plus_failed() {
    let names = ["berlin", "london"];
    let (fleet, relay, _responder, target) = start(&names);
    let mut dice = Dice(0xc011);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(500 + dice.below(1_500)));
        let mut fleet = fleet.lock().expect("not poisoned");
        fleet.kill_collector();
        std::thread::sleep(Duration::from_millis(dice.below(2_000)));
        fleet.start_collector();
    }
    settle(&fleet, &names);

    let fleet = fleet.lock().expect("not poisoned");
    let stored = records(&fleet.store());
    let sum = check_accounts(&fleet, &stored, &cells(&reports(&stored)));
    check_delivery(&stored, &relay.acknowledged());
    println!("{sum:?}");
    let answered = requests(&target);
    // What was in flight at the stop may or may not have reached the target.
    let aborted = sum.ours.get("shutdown").copied().unwrap_or(0);
    assert!(
        (sum.ok + sum.failed..=sum.ok + sum.failed + aborted).contains(&answered),
        "{answered} vs {sum:?}"
    );
    assert_eq!(sum.invalid, aborted, "{sum:?}");
    let rest_of_window = sum.ours.get("agent_down").copied().unwrap_or(0);
    assert_eq!(sum.missed, rest_of_window, "only what was due after the stop: {sum:?}");
}
