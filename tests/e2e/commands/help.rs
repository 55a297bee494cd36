//! Every example of every `--help`, typed.

use super::desk::{Desk, address};
use super::{ENDS, STOPS, UP};
use harness::command::{run, shell};
use harness::postgres::Postgres;
use harness::root;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

const PROGRAMS: [&str; 3] = ["probefleet-agent", "probefleet-collector", "probefleet-quickstart"];
/// Commands whose help must show an example.
const COMMANDS: [&str; 13] = [
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
];
/// Columns of the widest help: a longer line would be broken in two, and could not be copied.
const HELP_COLUMNS: usize = 100;

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
    for command in COMMANDS {
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
