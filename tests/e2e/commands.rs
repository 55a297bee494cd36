//! What the programs' own help and the README tell people to type, typed.

use harness::command::{Ran, copy_folder, run, shell};
use harness::evidence::records;
use harness::fleet::start_responder;
use harness::ports::free_port;
use harness::postgres::Postgres;
use harness::process::Process;
use harness::root;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAMS: [&str; 3] = ["probefleet-agent", "probefleet-collector", "probefleet-quickstart"];
/// How long a command that ends by itself may take.
const ENDS: Duration = Duration::from_secs(20);
/// How long a service may take until it is up.
const UP: Duration = Duration::from_secs(20);
/// How long the first report may take: a plan waits for the next window, which has to end and to be sealed.
const MEASURED: Duration = Duration::from_secs(40);
/// How long a service may take to end.
const STOPS: Duration = Duration::from_secs(3);
/// Columns of the widest help: a longer line would be broken in two, and could not be copied.
const HELP_COLUMNS: usize = 100;

// === the help ===

/// The help of every command of a program, with the command's words before it.
fn helps(words: &str) -> Vec<(String, String)> {
    let help = run(&mut shell(&root(), &format!("{words} --help")), "", ENDS);
    assert_eq!(help.code, Some(0), "{words} --help: {}", help.stderr);
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let below: Vec<_> =
        commands.iter().flat_map(|name| helps(&format!("{words} {name}"))).collect();
    std::iter::once((words.to_owned(), help.stdout.clone())).chain(below).collect()
}

/// The command lines that a help shows: up to the remark behind them.
fn examples(help: &str) -> Vec<String> {
    let lines = help.lines().filter(|line| line.starts_with("  ")).map(str::trim);
    let shown = lines.filter(|line| PROGRAMS.contains(&line.split(' ').next().unwrap_or_default()));
    shown
        .map(|line| line.split("  ").next().unwrap_or(line))
        .map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned())
        .collect()
}

// === the folder that examples run in ===

/// A folder with every file that an example names, and a responder that the plan probes.
struct Desk {
    dir: tempfile::TempDir,
    responder: Process,
    port: u16,
    sip_port: u16,
}

impl Desk {
    /// With nothing measured yet.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let args = ["respond", "--http", "0", "--sip", "0"];
        let log = dir.path().join("responder.log");
        let mut responder = Process::start(&harness::program("probefleet-agent"), &args, &log);
        let mut port_behind = |marker| responder.wait_for_output(marker, UP).parse();
        let port = port_behind("listening on http://127.0.0.1:").expect("a port");
        let sip_port = port_behind("listening on sip:127.0.0.1:").expect("a port");
        let desk = Self { dir, responder, port, sip_port };
        std::fs::create_dir(desk.template()).expect("a folder");
        desk.write_files();
        desk
    }

    /// What every example gets a copy of.
    fn template(&self) -> PathBuf {
        self.dir.path().join("template")
    }

    fn write_files(&self) {
        let dir = self.template();
        let deploy = |name: &str| {
            let text = std::fs::read_to_string(root().join("deploy").join(name)).expect("reads");
            text.replace("8080", &self.port.to_string())
        };
        let write = |name: &str, text: &str| {
            std::fs::write(dir.join(name), text).expect("writes");
        };
        write("plan.yaml", &deploy("plan.yaml"));
        write("policy.yaml", &deploy("policy.yaml"));
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(dir.join("policy.yaml"), mode).expect("is ours");
        let made = self.at(&dir, "probefleet-collector contract init --plan plan.yaml");
        write("agreement.yaml", &made.stdout);
        // Judged by the month, and one objective by the day.
        let voice = made.stdout.replacen("first-agreement", "acme-voice", 1);
        write("voice.yaml", &voice.replacen("    measure:", "    period: day\n    measure:", 1));
        write(
            "collector.yaml",
            "listen: 127.0.0.1:0\nportal: 127.0.0.1:0\nstate_dir: collector\nplan: plan.yaml\nwindow: 10s\n\
             agreements:\n  - {file: agreement.yaml, countersigned: true}\n  - {file: voice.yaml, countersigned: true}\n",
        );
        let fixtures = root().join("collector/tests/fixtures/evaluate");
        for (from, to) in [("agreement.yaml", "acme.yaml"), ("windows.jsonl", "w.jsonl")] {
            std::fs::copy(fixtures.join(from), dir.join(to)).expect("copies");
        }
    }

    /// Lets a collector and an agent run until something is in the store, so that there is something to report.
    fn measure(&self) {
        let dir = self.template();
        let mut collector = self.start(&dir, "probefleet-collector run");
        let addresses = collector.wait_for("its addresses", UP, || address(&dir, "agents"));
        let agent = format!(
            "collector: http://{addresses}\nstate_dir: agent\npolicy: policy.yaml\nname: desk\nlabels: {{site: berlin}}\n"
        );
        std::fs::write(dir.join("agent.yaml"), agent).expect("writes");
        let mut agent = self.start(&dir, "probefleet-agent run --config agent.yaml");
        let store = dir.join("collector/collector.db");
        agent.wait_for("a report in the store", MEASURED, || {
            records(&store).iter().any(|record| record.kind == 1).then_some(())
        });
        for mut part in [agent, collector] {
            let (took, good) = part.terminate(STOPS);
            assert!(good, "ends well after {took:?}:\n{}", part.output());
        }
    }

    /// A copy of the folder, in which a command has changed nothing yet.
    fn copy(&self, number: usize) -> PathBuf {
        let dir = self.dir.path().join(format!("copy-{number}"));
        copy_folder(&self.template(), &dir);
        dir
    }

    fn at(&self, dir: &Path, line: &str) -> Ran {
        run(&mut shell(dir, line), "", ENDS)
    }

    fn start(&self, dir: &Path, line: &str) -> Process {
        let command = shell(dir, &format!("exec {line}"));
        Process::start_command(command, &dir.with_extension("log"))
    }

    /// An example as it can run here: ports that are there, and paths in the folder.
    fn adapted(&self, dir: &Path, example: &str) -> String {
        let serves = example.contains(" respond ");
        let port = |known: u16| if serves { free_port() } else { known };
        example
            .replace("8080", &port(self.port).to_string())
            .replace("5060", &port(self.sip_port).to_string())
            .replace("/var/lib/probefleet-agent", "agent")
            .replace("/tmp/pf", &dir.join("pf").display().to_string())
            .replace("--agreement ID", "--agreement first-agreement")
            .replace("--agent berlin-1", "--agent desk")
    }
}

/// The database that examples ask.
struct Database {
    postgres: Postgres,
}

impl Database {
    /// Where examples have it.
    const ADDRESS: &str = "127.0.0.1:5432";

    /// With a role `probe`, whose password is in the folder's `.pgpass`.
    fn start(dir: &Path) -> Option<Self> {
        let postgres = Postgres::start()?;
        postgres.sql("CREATE ROLE probe LOGIN PASSWORD 'a password'");
        postgres.sql("CREATE DATABASE erp");
        let path = dir.join(".pgpass");
        std::fs::write(&path, "127.0.0.1:*:erp:probe:a password\n").expect("writes");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
        Some(Self { postgres })
    }

    fn adapted(&self, example: &str) -> String {
        example.replace(Self::ADDRESS, &format!("127.0.0.1:{}", self.postgres.port))
    }
}

/// An address that the collector of a folder says it has.
fn address(dir: &Path, name: &str) -> Option<String> {
    let bytes = std::fs::read(dir.join("collector/addresses.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    Some(json[name].as_str()?.to_owned())
}

/// What a service says when it is up, if the command is one.
fn is_up(line: &str) -> Option<fn(&Path, &str) -> bool> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [_, .., "--check"] => None,
        ["probefleet-agent", "run", ..] => Some(|_, said| said.contains("the agent runs")),
        ["probefleet-agent", "respond", ..] => Some(|_, said| said.contains("listening on ")),
        ["probefleet-collector", "run", ..] => Some(|dir, _| address(dir, "portal").is_some()),
        ["probefleet-quickstart", ..] => Some(|_, said| said.contains("Look at the portal")),
        _ => None,
    }
}

#[test]
fn every_example_of_every_help_runs() {
    let began = Instant::now();
    let mut desk = Desk::new();
    desk.measure();
    let database = Database::start(&desk.template());
    if database.is_none() {
        harness::skip("every_example_of_every_help_runs: those about a database", "postgresql");
    }
    let helps: Vec<_> = PROGRAMS.iter().flat_map(|program| helps(program)).collect();
    let mut tried = BTreeSet::new();
    for (words, help) in &helps {
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        assert!(widest <= HELP_COLUMNS, "{words} --help has a line of {widest} columns");
        for example in examples(help) {
            if !tried.insert(example.clone()) {
                continue;
            }
            match &database {
                Some(database) => try_example(&desk, tried.len(), &database.adapted(&example)),
                None if example.contains(Database::ADDRESS) => {}
                None => try_example(&desk, tried.len(), &example),
            }
        }
    }
    for command in [
        "probefleet-agent try",
        "probefleet-agent respond",
        "probefleet-agent run",
        "probefleet-agent spool",
        "probefleet-collector run",
        "probefleet-collector report",
        "probefleet-collector contract check",
        "probefleet-collector contract show",
        "probefleet-collector contract init",
        "probefleet-collector contract schema",
        "probefleet-collector evaluate",
        "probefleet-collector verify",
        "probefleet-quickstart",
    ] {
        assert!(helps.iter().any(|(words, _)| words == command), "{command} is there");
        let begins = |example: &String| example.starts_with(command);
        assert!(tried.iter().any(begins), "`{command} --help` shows an example");
    }
    let (_, good) = desk.responder.terminate(STOPS);
    assert!(good, "the responder ends well");
    println!("{} examples of {} helps in {:?}", tried.len(), helps.len(), began.elapsed());
}

fn try_example(desk: &Desk, number: usize, example: &str) {
    let dir = desk.copy(number);
    let line = desk.adapted(&dir, example);
    let began = Instant::now();
    if let Some(is_up) = is_up(&line) {
        let mut service = desk.start(&dir, &line);
        let log = dir.with_extension("log");
        service.wait_for("what says that it is up", UP, || {
            is_up(&dir, &std::fs::read_to_string(&log).unwrap_or_default()).then_some(())
        });
        let up = began.elapsed();
        let (took, good) = service.terminate(STOPS);
        assert!(good, "`{line}` ends well:\n{}", service.output());
        println!("`{example}`: up in {up:?}, ended in {took:?}");
        return;
    }
    if line.contains("contract init") {
        std::fs::remove_file(dir.join("agreement.yaml")).expect("was there");
    }
    let ran = desk.at(&dir, &line);
    assert_eq!(ran.code, Some(0), "`{line}`:\n{}{}", ran.stdout, ran.stderr);
    if line.contains("--format json") {
        assert!(!ran.stdout.is_empty(), "`{line}` prints something");
        for json in ran.stdout.lines() {
            serde_json::from_str::<serde_json::Value>(json)
                .unwrap_or_else(|error| panic!("`{line}`: {error} in {json}"));
        }
    }
    println!("`{example}`: {:?}", ran.took);
}

// === exit codes ===

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

// === the README ===

/// The fenced blocks of a section of the README.
fn blocks(section: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("reads");
    let from = readme.find(&format!("\n## {section}\n")).expect("the section is there");
    let text = &readme[from + 4..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    text.split("```").skip(1).step_by(2).map(|block| block.trim_start().to_owned()).collect()
}

/// The README's lines as they can run here: other ports and names, responders and a database of the test's own in place of
/// those of others, and a wait where a person would have looked first whether it runs.
struct Adapted {
    /// What is written, and what stands for it here.
    replacements: Vec<(&'static str, String)>,
    services: usize,
}

impl Adapted {
    fn new(database: &Postgres) -> Self {
        let [http, sip, agents, portal, private] = std::array::from_fn(|_| free_port());
        let database =
            format!("postgres://probe@127.0.0.1:{}/postgres?sslmode=disable", database.port);
        let replacements = vec![
            ("https://www.example.com/", format!("http://127.0.0.1:{http}/")),
            ("8080", http.to_string()),
            ("sip:echo@sbc.example", format!("sip:echo@127.0.0.1:{sip}")),
            ("5060", sip.to_string()),
            ("postgres://probe@db.example/erp?sslmode=verify-full", database),
            ("127.0.0.1:7400", format!("127.0.0.1:{agents}")),
            ("0.0.0.0:7400", format!("127.0.0.1:{private}\nportal: 127.0.0.1:0")),
            ("collector.example:7400", format!("localhost:{private}")),
            ("collector.example", "localhost".to_owned()),
            (
                "plan: deploy/plan.yaml\nagreements",
                format!(
                    "plan: deploy/plan.yaml\nlisten: 127.0.0.1:{agents}\nportal: 127.0.0.1:{portal}\nagreements"
                ),
            ),
        ];
        Self { replacements, services: 0 }
    }

    fn text(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn block(&mut self, block: &str) -> String {
        let block = self.text(block);
        let lines = block.lines().filter(|line| !line.starts_with("cargo build"));
        lines.map(|line| self.line(line)).collect()
    }

    fn line(&mut self, line: &str) -> String {
        let line = line.split("  #").next().unwrap_or(line).trim_end();
        let Some(service) = line.strip_suffix(" &") else { return format!("{line}\n") };
        self.services += 1;
        let log = format!("service-{}.log", self.services);
        let up = match service.split_whitespace().nth(1) {
            Some("respond") => "listening",
            _ if service.contains("collector run") => "collector is up",
            _ => "the agent runs",
        };
        format!("{service} > {log} 2>&1 &\nup grep -q '{up}' {log}\n")
    }
}

#[test]
fn the_readmes_own_commands_run_as_printed() {
    let began = Instant::now();
    let Some(mut database) = Postgres::start() else {
        return harness::skip("the_readmes_own_commands_run_as_printed", "postgresql");
    };
    database.sql("CREATE ROLE probe LOGIN PASSWORD 'of the test'");
    let dir = tempfile::tempdir().expect("a folder");
    let mut adapted = Adapted::new(&database);
    copy_folder(&root().join("deploy"), &dir.path().join("deploy"));
    for file in ["deploy/plan.yaml", "deploy/plan-sip.yaml", "deploy/policy.yaml"] {
        let path = dir.path().join(file);
        let text = std::fs::read_to_string(&path).expect("reads");
        std::fs::write(&path, adapted.text(&text)).expect("writes");
    }
    let blocks = blocks("Measure your own service");
    // What stands for the services of others is started by later blocks, so the first waits for it.
    let (first, others) = blocks.split_first().expect("has blocks");
    let blocks: Vec<&String> = others.iter().chain([first]).collect();
    let lines = blocks.iter().flat_map(|block| block.lines());
    let commands = lines.filter(|line| line.starts_with("probefleet-")).count();
    let mut script = String::from(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n\
         up() { for _ in $(seq 500); do \"$@\" 2>/dev/null && return; sleep 0.02; done; return 1; }\n",
    );
    for block in blocks {
        script.push_str(&adapted.block(block));
    }
    // Last started, first ended; each must end well.
    script.push_str("for service in $(jobs -p | tac); do kill -TERM $service; wait $service; done\ntrap - EXIT\necho ENDED\n");
    let mut shell = shell(dir.path(), &script);
    let ran = run(shell.env("PGPASSWORD", "of the test"), "", Duration::from_secs(60));
    let logs = (1..=adapted.services).map(|number| {
        let log = dir.path().join(format!("service-{number}.log"));
        std::fs::read_to_string(log).unwrap_or_default()
    });
    let logs: String = logs.collect();
    assert_eq!(ran.code, Some(0), "{script}\n{}{}{logs}", ran.stdout, ran.stderr);
    assert!(ran.stdout.ends_with("ENDED\n"), "{}", ran.stdout);
    assert!(commands >= 15, "the README has its commands: {commands}");
    for store in ["collector/collector.db", "collector-tls/collector.db"] {
        let store = dir.path().join(store);
        assert!(store.exists(), "{}", store.display());
    }
    assert!(logs.contains("connected to the collector"), "{logs}");
    database.stop();
    println!("{commands} commands of the README in {:?}", began.elapsed());
}
