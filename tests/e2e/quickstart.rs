//! The quickstart from outside: a whole fleet in one command, and what is left of it afterwards.

mod checks;
mod drills;
mod place;

use checks::{attempts, check_agents, check_database, check_metrics, check_page, cluster_folders};
use harness::command::{listing, run};
use harness::fleet::get;
use harness::process::eventually;
use place::{Place, Running, alive};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// How soon the portal's address must stand there.
const READY: Duration = Duration::from_secs(30);
/// How soon every objective must have a figure.
const JUDGED: Duration = Duration::from_secs(60);
/// How soon everything must have ended after Ctrl-C, and after a kill of the parent.
const ENDED: Duration = Duration::from_secs(2);
const ENDED_AFTER_KILL: Duration = Duration::from_secs(3);
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(10);
const AGENTS: [&str; 3] = ["berlin", "london", "tokyo"];
/// What the agreement promises: two objectives each for page, hotline and, where there is PostgreSQL, report.
const OBJECTIVES: usize = 6;

#[test]
fn a_whole_fleet_in_one_command() {
    let (place, clusters) = (Place::new(), cluster_folders());
    let mut running = place.start("");
    let ready = eventually(READY, || {
        let (status, body) = get(&running.portal, "/readyz");
        (status == 200 && body == "ready\n").then_some(())
    });
    assert!(ready.is_some(), "{:?}", get(&running.portal, "/readyz"));
    check_agents(&running);
    check_database(&running);
    running.wait_until_kept();
    check_page(&place, &running);
    check_metrics(&running);
    let said = place.refused(&place.data());
    assert!(said.contains("another quickstart runs in") && said.contains("--data"), "{said}");
    let report = running.process.output();
    let line = report.lines().find_map(|line| line.strip_prefix("The same on the command line:"));
    let ran = run(&mut place.command(line.expect("a command line")), "", ENDS);
    assert_eq!(ran.code, Some(0), "{line:?}: {}", ran.stderr);
    assert!(ran.stdout.contains("availability"), "{}", ran.stdout);
    running.interrupt();
    place.assert_nothing_strays();

    let before = attempts(&place.report());
    let (mut running, agents) = start_again(&place, before);

    // Nobody is left when the parent is killed.
    let began = Instant::now();
    running.process.kill();
    let gone = eventually(ENDED_AFTER_KILL, || alive(&running.children).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?} outlive their parent", alive(&running.children));
    assert!(cluster_folders().is_subset(&clusters), "{:?} are left", cluster_folders());
    println!("kill -9: all gone after {:?}", began.elapsed());

    // Forgotten when asked.
    let running = place.start("--reset");
    let ids = eventually(JUDGED, || {
        let (ids, _) = place.delivered();
        (ids.len() == AGENTS.len()).then_some(ids)
    });
    assert!(ids.expect("new agents").is_disjoint(&agents), "--reset makes new agents");
    assert!(attempts(&place.report()) < before, "--reset forgets what was measured");
    running.interrupt();
    place.assert_nothing_strays();
}

/// The next start goes on from there, with the same agents.
fn start_again(place: &Place, before: u64) -> (Running, BTreeSet<[u8; 16]>) {
    let (agents, delivered) = place.delivered();
    let running = place.start("");
    let (again, more) = eventually(JUDGED, || {
        let (ids, records) = place.delivered();
        let more = attempts(&place.report());
        assert!(more >= before, "{before} attempts before the restart, {more} after it");
        (records > delivered && more > before).then_some((ids, more))
    })
    .expect("records go on coming");
    assert_eq!(again, agents, "the same agents");
    assert_eq!(again.len(), AGENTS.len());
    println!("{before} attempts before the restart, {more} after it");
    (running, again)
}

#[test]
fn without_postgresql_nothing_is_queried() {
    const TEST: &str = "without_postgresql_nothing_is_queried";
    let hidden = "unshare --map-root-user --mount sh -c 'mount -t tmpfs none /usr/lib/postgresql && exec \"$@\"' -";
    let place = Place::new();
    if run(&mut place.command(&format!("{hidden} true")), "", ENDS).code != Some(0) {
        return harness::skip(TEST, "the right to make a mount namespace");
    }
    let running = place.start_by(&format!("exec {hidden}"), "");
    let said = running.process.output();
    assert!(said.contains("apt-get install --no-install-recommends postgresql"), "{said}");
    assert_eq!(running.children.len(), 3 + AGENTS.len(), "{said}");
    let plan = std::fs::read_to_string(place.data().join("plan.yaml")).expect("reads");
    assert!(plan.contains("sip:") && !plan.contains("sql:"), "{plan}");
    running.interrupt();

    // PostgreSQL has come since: the plan is the user's by now, and the quickstart says so.
    let running = place.start("");
    let judged = eventually(JUDGED, || (running.statuses().len() == OBJECTIVES - 2).then_some(()));
    assert!(judged.is_some(), "{:?}", running.statuses());
    let said = running.process.output();
    assert!(said.contains("plan.yaml has no SQL probe"), "{said}");
    running.interrupt();
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let place = Place::new();
    let foreign = place.dir.path().join("foreign");
    std::fs::create_dir(&foreign).expect("a folder");
    std::fs::write(foreign.join("letter.txt"), "dear").expect("writes");
    let before = listing(&foreign);
    let said = place.refused(&foreign);
    assert!(said.contains("is not empty and was not made by the quickstart"), "{said}");
    let line = format!("probefleet-quickstart --reset --data {}", foreign.display());
    let ran = run(&mut place.command(&line), "", ENDS);
    assert!(ran.code != Some(0) && ran.stderr.contains("not made by the quickstart"), "{ran:?}");
    assert_eq!(listing(&foreign), before, "nothing is changed");
    let said = place.refused(&foreign.join("letter.txt"));
    assert!(said.contains("letter.txt"), "{said}");
}

/// Ports that the quickstart would like: held here, or by somebody else already.
fn hold(ports: impl IntoIterator<Item = u16>) -> Vec<TcpListener> {
    ports.into_iter().filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).collect()
}

#[test]
fn other_ports_are_taken_when_these_are_taken() {
    let place = Place::new();
    let held = hold([7_400, 7_480, 7_481, 7_482]);
    let running = place.start("");
    let said = running.process.output();
    for expected in ["port 7481 is taken", "port 7482 is taken", "port 7400 or 7480 is taken"] {
        assert!(said.contains(expected), "{expected}:\n{said}");
    }
    assert!(!running.portal.ends_with(":7480") && !running.agents_address().ends_with(":7400"));
    let (status, _) = get(&running.portal, "/healthz");
    assert_eq!(status, 200);
    running.interrupt();
    drop(held);

    // The responder's port of the first start is taken at the second: the plan must follow it.
    let plan = || std::fs::read_to_string(place.data().join("plan.yaml")).expect("reads");
    let before = plan();
    let ports = std::fs::read(place.data().join("ports.json")).expect("reads");
    let ports: Value = serde_json::from_slice(&ports).expect("JSON");
    let port =
        ports["responder"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    let held = hold([port]);
    assert_eq!(held.len(), 1, "is free again");
    let mut running = place.start("");
    let said = running.process.output();
    assert!(said.contains(&format!("port {port} is taken")), "{said}");
    assert!(said.contains("plan.yaml probes http://127.0.0.1:"), "{said}");
    assert!(
        before.contains(&format!(":{port}/")) && !plan().contains(&format!(":{port}/")),
        "{}",
        plan()
    );
    running.wait_until_kept();
    running.interrupt();
}
