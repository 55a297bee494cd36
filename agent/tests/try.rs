//! The program as people run it: `try` against the responder, both as processes of their own.

#![cfg(test)]

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tokio::time::Instant;

fn agent() -> Command {
    Command::new(env!("CARGO_BIN_EXE_probefleet-agent"))
}

fn run(args: &[&str]) -> Output {
    agent().args(args).output().expect("runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The responder as a process, ended when dropped.
struct Responder {
    process: Child,
    url: String,
    /// Address and port of its other side.
    sip: String,
}

impl Responder {
    fn start(address: &str) -> Self {
        let mut process = agent()
            .args(["respond", "--http", address, "--sip", "127.0.0.1:0", "--ring", "20ms"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut said = BufReader::new(process.stdout.take().expect("piped"));
        let mut next = || {
            let mut line = String::new();
            said.read_line(&mut line).expect("a line");
            line.strip_prefix("listening on ").expect("says where").trim().to_owned()
        };
        let (url, sip) = (next(), next());
        let sip = sip.strip_prefix("sip:").expect("says what").to_owned();
        Self { process, url, sip }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

/// The sample files, made to fit a responder on another port.
fn samples_for(responder: &Responder) -> (tempfile::TempDir, String, String) {
    let port = responder.url.rsplit(':').next().expect("a port");
    let sip_port = responder.sip.rsplit(':').next().expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let copy = |name: &str| {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(sample(name)).expect(name);
        let text = text.replace("8080", port).replace("5060", sip_port);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
        path.display().to_string()
    };
    let (plan, policy) = (copy("plan.yaml"), copy("policy.yaml"));
    copy("plan-sip.yaml");
    (folder, plan, policy)
}

#[test]
fn the_sample_plan_is_all_good_and_runs() {
    let plan = sample("plan.yaml").display().to_string();
    let checked = run(&["try", "--check", &plan]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout), format!("{plan}: 3 probes, all good\n"));

    let plan = sample("plan-sql.yaml").display().to_string();
    let checked = run(&["try", "--check", &plan]);
    assert_eq!(text(&checked.stdout), format!("{plan}: 2 probes, all good\n"));

    let responder = Responder::start("127.0.0.1:0");
    let (_folder, plan, policy) = samples_for(&responder);
    let output = run(&[
        "try", &plan, "--policy", &policy, "--format", "json", "--count", "2", "--every", "0s",
    ]);
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    let lines = lines(&output);
    assert_eq!(lines.len(), 6);
    let requests = run(&["try", &responder.url("/requests"), "--format", "json"]);
    assert_eq!(code(&requests), 0);
    let moved: Vec<&Value> = lines.iter().filter(|line| line["probe"] == "moved-page").collect();
    assert!(moved[0]["phases_ns"]["redirect"].as_u64().expect("a phase") > 0);
}

#[test]
fn the_sample_plan_for_sip_is_all_good_and_runs() {
    let plan = sample("plan-sip.yaml").display().to_string();
    let checked = run(&["try", "--check", &plan]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout), format!("{plan}: 5 probes, all good\n"));
    let responder = Responder::start("127.0.0.1:0");
    let (folder, _, policy) = samples_for(&responder);
    let plan = folder.path().join("plan-sip.yaml").display().to_string();
    let output = run(&["try", &plan, "--policy", &policy, "--format", "json"]);
    assert_eq!(code(&output), 0, "{}{}", text(&output.stdout), text(&output.stderr));
    let lines = lines(&output);
    let call = lines.iter().find(|line| line["probe"] == "voice-call").expect("a call");
    assert_eq!(call["code"], "sip:200");
    assert!(
        call["phases_ns"]["time_to_answer"].as_u64().expect("answered") >= 20_000_000,
        "{call}"
    );
    assert!(
        call["phases_ns"]["total"].as_u64().expect("total") >= 1_000_000_000,
        "was held: {call}"
    );
    let audio = lines.iter().find(|line| line["probe"] == "voice-audio").expect("a call");
    assert_eq!((&audio["values"]["loss_ppm"], &audio["code"]), (&json!(0), &json!("sip:200")));
    assert!(audio["values"]["mos_centi"].as_u64().expect("rated") >= 430, "{audio}");
    let rings = lines.iter().find(|line| line["probe"] == "voice-ring").expect("a call");
    assert_eq!((&rings["code"], &rings["counters"]["effective"]), (&json!("sip:487"), &json!(1)));
    let asked = lines.iter().find(|line| line["probe"] == "voice-server").expect("an OPTIONS");
    assert!(asked["phases_ns"]["options_request_delay"].as_u64().is_some(), "{asked}");
}

#[test]
fn a_call_that_does_not_fit_its_timeout_is_a_mistake_of_the_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.yaml").display().to_string();
    let plan = "probes:\n  - {name: a, every: 10s, timeout: 5s, sip: {uri: 'sip:h', mode: call, hold: 4s}}\n";
    std::fs::write(&path, plan).expect("written");
    let output = run(&["try", "--check", &path]);
    assert_eq!(code(&output), 2);
    let expected = format!(
        "{path}:2:78: bad-value: a call held for 4s does not fit into a timeout of 5s; leave more than 1s beside the hold\n"
    );
    assert_eq!(text(&output.stderr), expected);
    std::fs::write(&path, plan.replace("4s", "3.9s")).expect("written");
    assert_eq!(code(&run(&["try", "--check", &path])), 0);
}

#[test]
fn people_see_how_long_each_delay_of_a_call_was() {
    let responder = Responder::start("127.0.0.1:0");
    let (folder, ..) = samples_for(&responder);
    let plan = folder.path().join("plan-sip.yaml").display().to_string();
    let shown = text(&run(&["try", &plan, "--probe", "voice-call"]).stdout);
    for part in
        ["voice-call  INVITE sip:echo@localhost", "ok sip:200", "time_to_answer", "retransmits: 0"]
    {
        assert!(shown.contains(part), "{shown}");
    }
    let bars = shown.lines().filter(|line| line.contains(['━', '╸']));
    let columns: Vec<usize> =
        bars.filter_map(|line| line.chars().position(|c| matches!(c, '━' | '╸'))).collect();
    assert!(columns.len() >= 4 && columns.iter().all(|column| *column == columns[0]), "{shown}");
}

#[test]
fn a_line_is_the_documented_object() {
    let responder = Responder::start("127.0.0.1:0");
    let output = run(&["try", &responder.url("/delay/30ms"), "--format", "json"]);
    let lines = lines(&output);
    let line = lines[0].as_object().expect("an object");
    let keys: Vec<&str> = line.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["probe", "scheduled", "outcome", "class", "reason", "code", "phases_ns", "detail"]
    );
    assert_eq!(
        (&line["probe"], &line["outcome"], &line["code"]),
        (&"127-0-0-1".into(), &"ok".into(), &"200".into())
    );
    assert!(line["class"].is_null() && line["reason"].is_null());
    let scheduled = line["scheduled"].as_str().expect("text");
    assert!(
        scheduled.len() == "2026-01-02T03:04:05.678901Z".len() && scheduled.ends_with('Z'),
        "{scheduled}"
    );
    let phases = line["phases_ns"].as_object().expect("phases");
    let parts: u64 =
        phases.iter().filter(|(name, _)| *name != "total").filter_map(|(_, ns)| ns.as_u64()).sum();
    let total = phases["total"].as_u64().expect("whole");
    assert!(parts <= total && total - parts < 100_000_000, "{phases:?}");
    assert!(phases["wait"].as_u64().expect("whole") >= 30_000_000);
}

#[test]
fn exit_codes_say_what_happened() {
    let responder = Responder::start("127.0.0.1:0");
    let (folder, plan, policy) = samples_for(&responder);
    let ok = responder.url("/");
    let bad = responder.url("/status/503");
    let loose = folder.path().join("loose.yaml");
    std::fs::write(&loose, "allow: []\n").expect("written");
    std::fs::set_permissions(&loose, std::fs::Permissions::from_mode(0o666)).expect("changed");
    let nothing = folder.path().join("nothing.yaml");
    std::fs::write(&nothing, "allow: []\n").expect("written");
    std::fs::set_permissions(&nothing, std::fs::Permissions::from_mode(0o600)).expect("changed");
    let (loose, nothing) = (loose.display().to_string(), nothing.display().to_string());
    for (args, expected) in [
        (vec![ok.as_str()], 0),
        (vec![&bad], 1),
        (vec![&bad, "--count", "2", "--every", "0s"], 1),
        (vec![&ok, "--policy", &nothing], 3),
        (vec![&ok, "--policy", &loose], 2),
        (vec![&ok, "--policy", "/absent"], 2),
        (vec![&plan, "--policy", &policy, "--probe", "home"], 0),
        (vec![&plan, "--probe", "absent"], 2),
        (vec!["/absent.yaml"], 2),
        (vec!["ftp://127.0.0.1/"], 2),
        (vec!["sip:echo@127.0.0.1;transport=ws"], 2),
        (vec![&ok, "--count", "0"], 2),
        (vec![&ok, "--every", "3"], 2),
        (vec![&ok, "--unknown"], 2),
    ] {
        let output = run(&[&["try"], args.as_slice()].concat());
        assert_eq!(
            code(&output),
            expected,
            "{args:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        assert_eq!(output.stderr.is_empty(), expected != 2, "{args:?}: {}", text(&output.stderr));
    }
}

#[test]
fn people_see_phases_and_a_summary() {
    let responder = Responder::start("127.0.0.1:0");
    let one = text(&run(&["try", &responder.url("/delay/20ms")]).stdout);
    for part in ["127-0-0-1", "ok 200", "connect", "wait", "receive", "━"] {
        assert!(one.contains(part), "{one}");
    }
    assert!(!one.contains('\x1b'), "no colour where nobody looks: {one}");
    let many = text(
        &run(&["try", &responder.url("/status/503"), "--count", "3", "--every", "1ms"]).stdout,
    );
    assert!(many.contains("3 attempts, 0 ok, 3 failed status 503"), "{many}");
    let many = text(&run(&["try", &responder.url("/"), "--count", "3", "--every", "1ms"]).stdout);
    assert!(many.contains("3 attempts, 3 ok") && many.contains("median"), "{many}");
}

#[test]
fn every_mistake_of_a_plan_is_shown_in_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, "probes:\n  - name: A\n    every: 0s\n    http: {url: x, ip: 5}\n")
        .expect("written");
    let output = run(&["try", "--check", &path.display().to_string()]);
    assert_eq!(code(&output), 2);
    let stderr = text(&output.stderr);
    assert_eq!(stderr.lines().count(), 4, "{stderr}");
    assert!(
        stderr.lines().all(|line| line.starts_with(&format!("{}:", path.display()))),
        "{stderr}"
    );
}

#[test]
fn the_responder_counts_what_it_was_asked() {
    let responder = Responder::start("127.0.0.1:0");
    run(&["try", &responder.url("/"), "--count", "7", "--every", "0s"]);
    run(&["try", &responder.url("/status/418")]);
    run(&["try", &responder.url("/nowhere")]);
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.yaml");
    let check =
        |path: &str, count: u64| format!("{{path: \"$.requests['{path}']\", equals: {count}}}");
    let json = [check("/", 7), check("/status/418", 1), check("/nowhere", 1)].join(", ");
    let text = format!(
        "probes:\n  - name: counts\n    every: 10s\n    http:\n      url: {}\n      expect: {{json: [{json}]}}\n",
        responder.url("/requests")
    );
    std::fs::write(&plan, text).expect("written");
    let output = run(&["try", &plan.display().to_string()]);
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_interrupt_ends_with_what_was_seen() {
    let responder = Responder::start("127.0.0.1:0");
    let mut process = agent()
        .args(["try", &responder.url("/"), "--count", "1000", "--every", "50ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut out = BufReader::new(process.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a first line");
    interrupt(&process);
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
    assert!(rest.contains("attempts"), "{line}{rest}");
    assert_eq!(process.wait().expect("ends").code(), Some(0));
}

#[test]
fn the_responder_ends_cleanly() {
    let mut responder = Responder::start("0");
    assert!(responder.url.starts_with("http://127.0.0.1:"), "{}", responder.url);
    interrupt(&responder.process);
    assert_eq!(responder.process.wait().expect("ends").code(), Some(0));
}

#[test]
fn a_responder_for_calls_alone_says_at_the_end_what_it_counted() {
    let mut process = agent()
        .args(["respond", "--sip", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut said = BufReader::new(process.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let uri = line.strip_prefix("listening on sip:").expect("says where").trim().to_owned();
    let tried = run(&["try", &format!("sip:{uri}"), "--count", "3", "--every", "0s"]);
    assert_eq!(code(&tried), 0, "{}", text(&tried.stdout));
    interrupt(&process);
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("the rest");
    let counted: Value = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(counted["sip"]["options"], 3, "{rest}");
    assert_eq!(process.wait().expect("ends").code(), Some(0));
    let neither = run(&["respond"]);
    assert_eq!(code(&neither), 2);
    assert!(text(&neither.stderr).contains("--sip"), "{}", text(&neither.stderr));
}

fn interrupt(process: &Child) {
    let pid =
        rustix::process::Pid::from_raw(process.id().try_into().expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
}

#[test]
fn a_hang_ends_with_its_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let folder = tempfile::tempdir().expect("a folder");
    let plan = folder.path().join("plan.yaml");
    let text = format!(
        "probes:\n  - {{name: hang, every: 10s, timeout: 300ms, http: {{url: 'http://{}/'}}}}\n",
        silent.local_addr().expect("bound")
    );
    std::fs::write(&plan, text).expect("written");
    let began = Instant::now();
    let output = run(&["try", &plan.display().to_string(), "--format", "json"]);
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(code(&output), 1);
    assert_eq!(
        (&lines(&output)[0]["class"], &lines(&output)[0]["code"]),
        (&"timeout".into(), &"wait".into())
    );
}

/// Runs `try` by a shell command, in which `$AGENT` is the program.
fn shell(command: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("AGENT", env!("CARGO_BIN_EXE_probefleet-agent"));
    shell.output().expect("runs")
}

#[test]
fn a_machine_out_of_files_blames_nobody_else() {
    // How many files the runtime itself needs is its own affair: one limit lets it start and no socket open.
    let seen = (5..14).any(|limit| {
        let output =
            shell(&format!("ulimit -n {limit}; exec $AGENT try http://127.0.0.1:1/ --format json"));
        let stdout = text(&output.stdout);
        let ours = stdout.contains(r#""reason":"local_network","code":"emfile""#);
        assert!(!ours || code(&output) == 3, "{stdout}");
        ours
    });
    assert!(seen);
}

#[test]
fn a_machine_without_a_route_blames_nobody_else() {
    if !shell("unshare -rn true").status.success() {
        eprintln!("skipped: no network namespaces here");
        return;
    }
    // In a namespace of its own even loopback is down.
    for target in ["http://127.0.0.1:1/", "http://name.test/"] {
        let output = shell(&format!("unshare -rn $AGENT try {target} --format json"));
        let line = &lines(&output)[0];
        let expected = (&"local_network".into(), &"enetunreach".into());
        assert_eq!((&line["reason"], &line["code"]), expected, "{line}");
        assert_eq!(code(&output), 3);
    }
}

/// Each example of `--help` is one that runs.
#[test]
fn the_examples_of_help_run() {
    let responder = Responder::start("127.0.0.1:0");
    let (folder, ..) = samples_for(&responder);
    let help = text(&run(&["try", "--help"]).stdout);
    let examples: Vec<&str> =
        help.lines().filter_map(|line| line.trim().strip_prefix("probefleet-agent try ")).collect();
    assert!(examples.len() >= 6, "{help}");
    // Those about a database are run where there is one, in `tests/e2e/commands.rs`.
    for example in examples.into_iter().filter(|example| !example.contains("postgres://")) {
        let command = example.split("  ").next().expect("a command").trim();
        let args: Vec<String> = command
            .split_whitespace()
            .map(|word| word.replace("http://127.0.0.1:8080", &responder.url))
            .map(|word| word.replace("127.0.0.1:5060", &responder.sip))
            .collect();
        let output =
            agent().arg("try").args(&args).current_dir(folder.path()).output().expect("runs");
        assert_eq!(code(&output), 0, "{command}: {}{}", text(&output.stdout), text(&output.stderr));
    }
}
