//! Evidence that both parties can check: every record is signed, over mutual TLS, and `verify` finds whatever is done to the
//! store; another key is refused where somebody sees it; what was sealed by a version that did not sign is delivered, signed.

use harness::command::{Ran, run};
use harness::evidence::records;
use harness::fleet::{Fleet, get};
use harness::{has, program, root, skip};
use probefleet_proto::record::{Kind, Record, genesis_hash};
use probefleet_proto::v1;
use prost::Message as _;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PLAN: &str =
    "probes:\n  - {name: web, every: 1s, timeout: 500ms, http: {url: 'http://127.0.0.1:9/'}}\n";
/// Four windows, the time to seal them, and a machine that does much else.
const WINDOWS: Duration = Duration::from_secs(120);
const QUICK: Duration = Duration::from_secs(20);

/// A fleet that speaks mutual TLS, with certificates as the script makes them.
fn fleet(agents: &[&str]) -> Fleet {
    let mut fleet = Fleet::new(PLAN, &[]);
    let tls = fleet.dir().join("tls");
    let mut script = Command::new("bash");
    script.arg(root().join("deploy/certificates.sh")).arg(&tls).arg("127.0.0.1").args(agents);
    let made = run(&mut script, "", Duration::from_secs(30));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let config = fleet.collector_config();
    let text = std::fs::read_to_string(&config).expect("is there");
    let tls = "tls: {ca: tls/ca.pem, cert: tls/127.0.0.1.pem, key: tls/127.0.0.1.key}\n";
    std::fs::write(&config, text + tls).expect("writes");
    let addresses = fleet.start_collector();
    for name in agents {
        fleet.add_agent(name, "berlin", &addresses.agents, "'127.0.0.1:9'");
        point(&fleet, name, &addresses.agents);
    }
    fleet
}

/// Tells an agent where the collector listens now.
fn point(fleet: &Fleet, agent: &str, collector: &str) {
    let config = format!(
        "collector: https://{collector}\nstate_dir: state\npolicy: policy.yaml\nname: {agent}\n\
         tls: {{ca: ../tls/ca.pem, cert: ../tls/{agent}.pem, key: ../tls/{agent}.key}}\n"
    );
    std::fs::write(fleet.dir().join(agent).join("agent.yaml"), config).expect("writes");
}

fn verify(config: &Path, more: &[&str]) -> Ran {
    let mut command = Command::new(program("probefleet-collector"));
    command.arg("verify").arg("--config").arg(config).args(more);
    run(&mut command, "", QUICK)
}

/// What an agent's log says of its key, the last time that it started.
fn fingerprint(fleet: &Fleet, agent: &str) -> String {
    let log = std::fs::read_to_string(fleet.dir().join(format!("{agent}.log"))).expect("a log");
    let (_, after) = log.rsplit_once("evidence_key=").expect("the start names the key");
    after.chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').collect()
}

fn wait_for_records(fleet: &mut Fleet, agent: &str, least: usize) {
    let store = fleet.store();
    fleet.agent(agent).wait_for("its records", WINDOWS, || {
        (records(&store).iter().filter(|record| record.agent == agent).count() >= least)
            .then_some(())
    });
}

/// A copy of a store that no process has open, with something done to it; and its configuration.
fn tampered(fleet: &Fleet, name: &str, change: impl FnOnce(&Connection)) -> PathBuf {
    let dir = fleet.dir().join(name);
    std::fs::create_dir(&dir).expect("a folder");
    let copy = dir.join("collector.db");
    let whole = Connection::open(fleet.store()).expect("opens");
    whole.execute("VACUUM INTO ?1", [copy.to_str().expect("UTF-8")]).expect("copies");
    change(&Connection::open(dir.join("collector.db")).expect("opens"));
    let config = fleet.dir().join(format!("{name}.yaml"));
    std::fs::write(&config, format!("state_dir: {name}\nplan: plan.yaml\n")).expect("writes");
    config
}

/// One bit of what record 3 has in a column.
fn flip(store: &Connection, column: &str) {
    let sql = format!("SELECT {column} FROM record WHERE seq = 3");
    let mut bytes: Vec<u8> = store.query_row(&sql, [], |row| row.get(0)).expect("is there");
    bytes[2] ^= 1;
    let sql = format!("UPDATE record SET {column} = ?1 WHERE seq = 3");
    store.execute(&sql, [bytes]).expect("writes");
}

#[test]
fn what_is_done_to_the_store_shows_and_another_key_is_refused() {
    if !has("openssl") {
        return skip("evidence", "openssl");
    }
    let mut fleet = fleet(&["a"]);
    fleet.start_agent("a");
    wait_for_records(&mut fleet, "a", 4);
    let config = fleet.collector_config();
    let key = fingerprint(&fleet, "a");

    // Beside the running collector.
    let sound = verify(&config, &["--key", &key]);
    assert_eq!(sound.code, Some(0), "{}{}", sound.stdout, sound.stderr);
    assert!(sound.stdout.contains(&format!("key {key}, all signed from")), "{}", sound.stdout);
    assert!(
        sound.stdout.contains("all as it was sealed") && sound.stdout.contains(" signed, 0 not"),
        "{}",
        sound.stdout
    );
    let json = verify(&config, &["--agent", "a", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("is JSON");
    assert_eq!((&json["sound"], &json["unsigned"]), (&true.into(), &0.into()), "{json}");
    assert_eq!(json["streams"][0]["key"], key);
    let other = verify(&config, &["--key", &key.replace(|c: char| c.is_ascii_digit(), "f")]);
    assert_eq!(other.code, Some(1), "{}", other.stdout);
    for (wrong, part) in [(["--agent", "b"], "there is a"), (["--from", "yesterday"], "2026-04-01")]
    {
        let refused = verify(&config, &wrong);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }

    fleet.agent("a").terminate(QUICK);
    fleet.collector.as_mut().expect("runs").terminate(QUICK);
    changes_are_found(&fleet);
    another_key_is_refused(&mut fleet);
}

fn changes_are_found(fleet: &Fleet) {
    let check = |name: &str, change: &dyn Fn(&Connection), place: &str, meaning: &str| {
        let found = verify(&tampered(fleet, name, change), &[]);
        assert_eq!(found.code, Some(1), "{name}: {}{}", found.stdout, found.stderr);
        let told = found.stdout.contains(place) && found.stdout.contains(meaning);
        assert!(told, "{name}: {}", found.stdout);
    };
    for (column, meaning) in [
        ("payload", "its hash is not that of its content"),
        ("hash", "its hash is not that of its content"),
        ("signature", "its signature is not by the key"),
    ] {
        check(column, &|store| flip(store, column), "BROKEN at record 3:", meaning);
    }
    let swap = "UPDATE record SET seq = -3, seq_to = -3 WHERE seq = 3;
         UPDATE record SET seq = 3, seq_to = 3 WHERE seq = 4;
         UPDATE record SET seq = 4, seq_to = 4 WHERE seq = -3";
    let unsign = "UPDATE record SET signature = x'' WHERE seq = 3";
    let cut = "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)";
    let refile = "UPDATE record SET window_start_s = 0 WHERE seq = 3";
    for (name, sql, place, meaning) in [
        ("unsigned", unsign, "BROKEN at record 3:", "it is not signed"),
        (
            "removed",
            "DELETE FROM record WHERE seq = 3",
            "at record 4:",
            "records 3 to 3 are missing",
        ),
        ("swapped", swap, "BROKEN at record 3:", "its hash is not"),
        ("cut", cut, "BROKEN at record", "the newest records were removed"),
        ("refiled", refile, "BROKEN at record 3:", "filed under another window"),
    ] {
        check(name, &|store| store.execute_batch(sql).expect(sql), place, meaning);
    }
}

/// A key that was swapped between two starts: the spool says that it is not the one that signed it.
fn another_key_is_refused(fleet: &mut Fleet) {
    let (state, own) = (fleet.dir().join("a/state"), fingerprint(fleet, "a"));
    let key = state.join("evidence.key");
    let kept = std::fs::read(&key).expect("is there");
    std::fs::remove_file(&key).expect("is ours");
    let held = records(&fleet.store()).len();
    let addresses = fleet.start_collector();
    point(fleet, "a", &addresses.agents);
    fleet.start_agent("a");
    assert!(!fleet.agent("a").wait(WINDOWS), "it does not run with the wrong key");
    let told = std::fs::read_to_string(fleet.dir().join("a.log")).expect("a log");
    for part in
        ["was signed with another key than this agent's evidence.key", "Put back the evidence.key"]
    {
        assert!(told.contains(part), "{told}");
    }

    // The right one again: it goes on where it was.
    std::fs::write(&key, kept).expect("is ours");
    fleet.start_agent("a");
    wait_for_records(fleet, "a", held + 2);
    assert_eq!(verify(&fleet.collector_config(), &["--key", &own]).code, Some(0));
}

/// A spool as a version left it that did not sign: by the words of the format alone.
fn unsigned_spool(state: &Path, count: u64) {
    let spool_id = [0x5a; 16];
    let folder = state.join("spool").join("5a".repeat(16));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut prev_hash = genesis_hash(&spool_id);
    let checked = |bytes: &mut Vec<u8>| bytes.extend(crc32c::crc32c(bytes).to_le_bytes());
    let mut bytes =
        [&b"PFSPOOL\0"[..], &1_u32.to_le_bytes(), &spool_id, &1_u64.to_le_bytes(), &prev_hash]
            .concat();
    checked(&mut bytes);
    for seq in 1..=count {
        let event =
            v1::Event { what: "start".to_owned(), wall_time_ns: 1, detail: seq.to_string() };
        let payload = event.encode_to_vec();
        let body =
            [&[3][..], &seq.to_le_bytes(), &seq.to_le_bytes(), &prev_hash, &[0; 64], &payload]
                .concat();
        let len = u32::try_from(body.len()).expect("small").to_le_bytes();
        bytes.extend(len);
        bytes.extend(crc32c::crc32c(&[&len[..], &body].concat()).to_le_bytes());
        bytes.extend(body);
        let record = Record {
            seq,
            seq_to: seq,
            kind: Kind::Event,
            prev_hash,
            payload,
            signature: Vec::new(),
        };
        prev_hash = record.content_hash(&spool_id);
    }
    std::fs::write(folder.join("0000000001.seg"), bytes).expect("writes");
}

#[test]
fn what_was_sealed_before_agents_signed_is_delivered() {
    if !has("openssl") {
        return skip("evidence", "openssl");
    }
    let mut fleet = fleet(&["old"]);
    unsigned_spool(&fleet.dir().join("old/state"), 5);
    fleet.start_agent("old");
    wait_for_records(&mut fleet, "old", 6);
    let stored = records(&fleet.store());
    assert!(stored.iter().all(|record| record.spool_id == [0x5a; 16]), "the same spool goes on");
    let checked = verify(&fleet.collector_config(), &["--format", "json"]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let json: serde_json::Value = serde_json::from_str(&checked.stdout).expect("is JSON");
    // The agent signs what is not signed as it reads it from its spool, those before the key was pinned too.
    assert_eq!((&json["sound"], &json["unsigned"]), (&true.into(), &0.into()), "{json}");
    let signed_from = json["streams"][0]["signed_from"].as_u64().expect("a key is pinned");
    assert!(signed_from >= 6, "{json}");
    let board = get(&fleet.addresses().expect("listens").portal, "/agents").1;
    assert!(board.contains(&fingerprint(&fleet, "old")), "the board names the key");
    a_restored_state_directory_is_refused(&mut fleet);
}

/// The folder as it was before the first start, so that nothing in it tells which key is right: the collector does.
fn a_restored_state_directory_is_refused(fleet: &mut Fleet) {
    let (state, own) = (fleet.dir().join("old/state"), fingerprint(fleet, "old"));
    fleet.agent("old").terminate(QUICK);
    std::fs::remove_dir_all(&state).expect("is ours");
    unsigned_spool(&state, 5);
    let held = records(&fleet.store()).len();
    fleet.start_agent("old");
    let log = fleet.dir().join("old.log");
    let told = fleet.agent("old").wait_for("the refusal", WINDOWS, || {
        let log = std::fs::read_to_string(&log).ok()?;
        log.contains("another evidence key is pinned to this spool").then_some(log)
    });
    assert_ne!(fingerprint(fleet, "old"), own);
    assert!(told.contains(&own) && told.contains("Put back the evidence.key"), "{told}");
    let (_, metrics) = get(&fleet.addresses().expect("listens").portal, "/metrics");
    assert!(metrics.contains("probefleet_ingest_nacks_total{code=\"key\"}"), "{metrics}");
    assert_eq!(records(&fleet.store()).len(), held, "nothing is taken");
}
