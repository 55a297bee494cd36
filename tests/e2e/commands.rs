//! What the programs' own help and the README tell people to type, typed; here the sample files, the units and exit codes.

mod desk;
mod help;
mod readme;

use desk::Desk;
use harness::command::{run, shell};
use harness::fleet::start_responder;
use harness::ports::free_port;
use harness::root;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

/// How long a command that ends by itself may take.
const ENDS: Duration = Duration::from_secs(20);
/// How long a service may take until it is up.
const UP: Duration = Duration::from_secs(20);
/// How long a service may take to end.
const STOPS: Duration = Duration::from_secs(3);

#[test]
fn the_exit_code_of_try_says_whose_fault_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("writes");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.path().join(name), mode).expect("is ours");
    };
    let (_responder, address) = start_responder(&dir.path().join("responder.log"));
    let refusing = free_port();
    let probe = |name: &str, url: &str| {
        format!("  - {{name: {name}, every: 30s, timeout: 200ms, http: {{url: 'http://{url}'}}}}\n")
    };
    let good = probe("good", &format!("{address}/"));
    let elsewhere = probe("elsewhere", "10.0.0.1/");
    write("good.yaml", &format!("probes:\n{good}"));
    write("denied.yaml", &format!("probes:\n{good}{elsewhere}"));
    write(
        "failing-and-denied.yaml",
        &format!("probes:\n{}{elsewhere}", probe("bad", &format!("{address}/status/503"))),
    );
    write("wrong.yaml", "probes:\n  - {name: A}\n");
    write("policy.yaml", &format!("allow:\n  - {{kind: http, to: [{address}]}}\n"));
    for (arguments, expected) in [
        ("good.yaml".to_owned(), 0),
        (format!("http://{address}/redirect/1"), 1),
        (format!("http://{address}/status/503 --count 3 --every 0s"), 1),
        (format!("http://127.0.0.1:{refusing}/"), 1),
        ("wrong.yaml".to_owned(), 2),
        ("there-is-none.yaml".to_owned(), 2),
        ("good.yaml --count 0".to_owned(), 2),
        ("good.yaml --no-such-flag".to_owned(), 2),
        ("good.yaml --probe other".to_owned(), 2),
        ("good.yaml --policy there-is-none.yaml".to_owned(), 2),
        ("good.yaml --policy policy.yaml".to_owned(), 0),
        ("denied.yaml --policy policy.yaml".to_owned(), 3),
        ("failing-and-denied.yaml --policy policy.yaml".to_owned(), 1),
    ] {
        let line = format!("probefleet-agent try {arguments}");
        let ran = run(&mut shell(dir.path(), &line), "", ENDS);
        assert_eq!(ran.code, Some(expected), "`{line}`:\n{}{}", ran.stdout, ran.stderr);
        println!("`try {arguments}`: exit code {expected} in {:?}", ran.took);
    }
}

/// systemd takes the unit files, what they start is a command of ours, and it is well shut in.
#[test]
fn the_units_of_systemd_are_sound() {
    /// What `systemd-analyze security` calls 2.0: "OK", where 10 is a service that nothing is kept from.
    const EXPOSURE_MAX: &str = "--threshold=20";
    if !harness::has("systemd-analyze") {
        return harness::skip(
            "the_units_of_systemd_are_sound",
            "systemd-analyze (Debian: systemd)",
        );
    }
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["probefleet-agent", "probefleet-collector"] {
        let installed = format!("/usr/local/bin/{name}");
        let unit = root().join(format!("deploy/{name}.service"));
        let unit = std::fs::read_to_string(unit).expect("reads");
        let built = harness::program(name).display().to_string();
        let path = dir.path().join(format!("{name}.service"));
        std::fs::write(&path, unit.replace(&installed, &built)).expect("writes");
        for words in [&["verify", "--man=no"][..], &["security", "--offline=true", EXPOSURE_MAX]] {
            let ran = run(Command::new("systemd-analyze").args(words).arg(&path), "", ENDS);
            // What is unknown to it is said, and no failure.
            let sound = ran.code == Some(0) && !ran.stderr.contains("Unknown");
            assert!(sound, "{words:?}: {}{}", ran.stdout, ran.stderr);
        }
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("starts");
        let words: Vec<&str> = start.split(' ').collect();
        assert_eq!(words[..3], [installed.as_str(), "run", "--config"], "{start}");
    }
}

#[test]
fn the_sample_plan_is_tried_and_promised() {
    let desk = Desk::new();
    let dir = desk.template();
    // With the responder where the sample expects it, if nobody else is there.
    let own = std::net::TcpListener::bind("127.0.0.1:8080").is_ok();
    let mut at_home = None;
    let plan = if own {
        let mut responder = desk.start(&dir, "probefleet-agent respond --http 8080");
        responder.wait_for_output("listening on http://", UP);
        at_home = Some(responder);
        root().join("deploy/plan.yaml")
    } else {
        dir.join("plan.yaml")
    };
    let plan = plan.display();
    let tried = desk.at(&dir, &format!("probefleet-agent try {plan} --format json"));
    assert_eq!(tried.code, Some(0), "{}{}", tried.stdout, tried.stderr);
    assert_eq!(tried.stdout.lines().count(), 3, "each probe once:\n{}", tried.stdout);
    let out = "made.yaml";
    for line in [
        format!("probefleet-collector contract init --plan {plan} --out {out}"),
        format!("probefleet-collector contract check {out} --plan {plan}"),
    ] {
        let ran = desk.at(&dir, &line);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "`{line}`");
    }
    let again =
        desk.at(&dir, &format!("probefleet-collector contract init --plan {plan} --out {out}"));
    assert_eq!(again.code, Some(2), "a file that exists is not overwritten: {}", again.stderr);
    if let Some(mut responder) = at_home {
        assert!(responder.terminate(STOPS).1, "the responder ends well");
    }
    println!("on port 8080: {own}; tried in {:?}", tried.took);
}
