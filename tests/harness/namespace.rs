//! A network of a test's own: the test runs once more, in a namespace with nothing but a loopback, where port 53 is free
//! and `/etc/resolv.conf` is its own.

use crate::command::run;
use std::process::Command;
use std::time::Duration;

/// Says to a test that it is in its namespace.
const WITHIN: &str = "PROBEFLEET_TEST_NAMESPACE";
/// How long such a test may take.
const ENDS: Duration = Duration::from_secs(120);
/// What the first process of the namespace does before it becomes the test.
const PREPARE: &str = "set -eu
ip link set lo up
mount --bind \"$1\" /etc/resolv.conf
shift
exec \"$@\"";
/// What that takes.
const TOOLS: [&str; 3] = ["unshare", "ip", "mount"];

/// True in a namespace where names are asked at 127.0.0.1. Outside of it the test of that full name is run there first:
/// it fails here if it fails there, and has nothing more to do.
pub fn is_within(test: &str) -> bool {
    if std::env::var_os(WITHIN).is_some_and(|within| within == test) {
        return true;
    }
    if let Some(tool) = TOOLS.into_iter().find(|tool| !crate::has(tool)) {
        crate::skip(test, &format!("{tool} (tests/run installs it)"));
        return false;
    }
    let right = run(Command::new("unshare").args(["-rnm", "true"]), "", Duration::from_secs(5));
    if right.code != Some(0) {
        crate::skip(test, "the right to make a network namespace");
        return false;
    }
    // Built out here, where everything is at hand.
    crate::program("");
    let dir = tempfile::tempdir().expect("a folder");
    let resolver = dir.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\n").expect("writes");
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["sh", "-c", PREPARE, "sh"]).arg(resolver);
    command.arg(std::env::current_exe().expect("tests know their file"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(WITHIN, test);
    let ran = run(&mut command, "", ENDS);
    // Moved to the right: it must not pass for a result of its own.
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        println!("  {line}");
    }
    let passed = ran.stdout.lines().any(|line| line.starts_with("test result: ok. 1 passed"));
    assert!(ran.code == Some(0) && passed, "{test} in a namespace of its own: {:?}", ran.code);
    false
}
