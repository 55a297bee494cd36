//! The commands of the README, typed.

use harness::command::{copy_folder, run, shell};
use harness::ports::free_port;
use harness::postgres::Postgres;
use harness::root;
use std::time::{Duration, Instant};

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

    /// All blocks as one script; the services that they start are ended by it.
    fn script(&mut self, blocks: &[&String]) -> String {
        let mut script = String::from(
            "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n\
             up() { for _ in $(seq 500); do \"$@\" 2>/dev/null && return; sleep 0.02; done; return 1; }\n",
        );
        for block in blocks {
            script.push_str(&self.block(block));
        }
        // Last started, first ended; each must end well.
        script.push_str("for service in $(jobs -p | tac); do kill -TERM $service; wait $service; done\ntrap - EXIT\necho ENDED\n");
        script
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
    let script = adapted.script(&blocks);
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
