//! A disk that fails: syncs that end with EIO, by the system calls of the real programs. Every single operation is tried
//! without a process in `tests/models/each.rs`.

use super::{FELT, SAID, Site, has_metric, is_ready, ready_says};
use harness::process::{Process, eventually};
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

/// The first syncs of an agent fail, each in a process of its own: opening the spool has some, each record one. They are
/// counted in each thread.
const SYNCS: u32 = 8;
/// How long such an agent runs: its start, and what happened meanwhile, are records.
const RUNS: Duration = Duration::from_millis(1_500);
/// How long every third sync of agents and collector fails: windows end meanwhile.
const STUMBLES: Duration = Duration::from_secs(12);

/// What becomes of syncs, as strace has it.
const ALWAYS: &str = "error=EIO:when=1+";
const EVERY_THIRD: &str = "error=EIO:when=2+3";
const HANGS: &str = "delay_enter=8s:when=1+";

/// Arguments of strace that stops at nothing but syncs, of all threads, and writes nothing down.
fn tampering(inject: &str) -> [String; 7] {
    let inject = format!("inject=fdatasync,fsync:{inject}");
    let trace = "trace=fdatasync,fsync".to_owned();
    let [all, into, nowhere] = ["-f", "-o", "/dev/null"].map(str::to_owned);
    [all, into, nowhere, "-e".to_owned(), trace, "-e".to_owned(), inject]
}

/// Makes syncs of a running process fail until [`mend`].
fn fail(site: &Site, pid: u32, inject: &str) -> Process {
    let mut command = Command::new("strace");
    command.args(tampering(inject)).arg("-p").arg(pid.to_string());
    let log = site.fleet().dir().join(format!("strace-{pid}.log"));
    let mut strace = Process::start_command(command, &log);
    strace.wait_for_output("attached", SAID);
    strace
}

fn mend(mut strace: Process) {
    // Whatever it says of its own end: it lets go.
    strace.signal(Signal::TERM);
    assert!(eventually(SAID, || strace.has_ended().then_some(())).is_some(), "strace lets go");
}

/// Whether processes can be tampered with here.
fn can_fail(test: &str) -> bool {
    if !harness::has("strace") {
        harness::skip(test, "strace (tests/run installs it)");
        return false;
    }
    let log = tempfile::NamedTempFile::new().expect("a file");
    let sleeper = Process::start("sleep".as_ref(), &["20"], log.path());
    let mut command = Command::new("strace");
    command.args(["-o", "/dev/null", "-p"]).arg(sleeper.pid().to_string());
    let mut strace = Process::start_command(command, log.path());
    let attached = eventually(Duration::from_secs(5), || {
        (strace.output().contains("attached") || strace.has_ended()).then_some(())
    });
    let can = attached.is_some() && strace.output().contains("attached");
    if !can {
        harness::skip(test, "the right to trace other processes (root)");
    }
    can
}

/// An agent whose N-th sync of each thread fails; it may give up at the start.
fn start_failing_agent(site: &Site, name: &str, number: u32) {
    let mut fleet = site.fleet();
    let dir = fleet.dir().to_owned();
    let mut command = Command::new("strace");
    // The tracer is the grandchild, so that what is killed is the agent.
    command.arg("-D").args(tampering(&format!("error=EIO:when={number}")));
    command.arg(harness::program("probefleet-agent")).args(["run", "--config"]);
    command.arg(dir.join(name).join("agent.yaml"));
    let agent = Process::start_command(command, &dir.join(format!("{name}.log")));
    fleet.agents.iter_mut().find(|(known, _)| known == name).expect("was added").1 = Some(agent);
}

#[test]
fn syncs_that_fail_lose_nothing_and_are_said() {
    if !can_fail("disk::fails::syncs_that_fail_lose_nothing_and_are_said") {
        return;
    }
    let site = Site::new(&["berlin", "london"]);
    site.start();
    for number in 1..=SYNCS {
        site.fleet().kill_agent("berlin");
        start_failing_agent(&site, "berlin", number);
        std::thread::sleep(RUNS);
    }
    site.fleet().kill_agent("berlin");
    site.fleet().start_agent("berlin");

    // All syncs fail, at an agent and at the collector.
    let (portal, status) = (site.portal(), site.status("london"));
    let (agent, collector) = {
        let mut fleet = site.fleet();
        (fleet.agent("london").pid(), fleet.collector.as_ref().expect("runs").pid())
    };
    let broken = [fail(&site, agent, ALWAYS), fail(&site, collector, ALWAYS)];
    ready_says(
        &status,
        503,
        &["disk: cannot sync", "Input/output error", "kernel's log"],
        FELT + SAID,
    );
    has_metric(&status, "probefleet_fault{fault=\"disk\"} 1");
    ready_says(&portal, 503, &["disk I/O error", "agents keep"], SAID);
    let acknowledged = site.acknowledged();
    std::thread::sleep(FELT);
    assert_eq!(site.acknowledged(), acknowledged, "what is not on disk is not acknowledged");
    broken.into_iter().for_each(mend);
    is_ready(&status);
    is_ready(&portal);

    // Not an error, no answer.
    let hanging = fail(&site, agent, HANGS);
    ready_says(&status, 503, &["disk_slow: ", "not answered the spool for"], FELT + SAID);
    mend(hanging);
    is_ready(&status);

    let stumbling = [fail(&site, agent, EVERY_THIRD), fail(&site, collector, EVERY_THIRD)];
    std::thread::sleep(STUMBLES);
    stumbling.into_iter().for_each(mend);
    site.settle();
}
