//! The SQL probe against real PostgreSQL servers, through `probefleet-agent try` as people run it.

mod kept;
mod outcomes;
mod permission;
mod private;
mod relay;
mod safety;
mod timing;
mod values;

use harness::command::{Ran, run, shell};
use harness::postgres::Postgres;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The password of the probing role: it must never be seen in any output.
const PASSWORD: &str = "S3cret/Pa55word";
/// The same in a URL.
const PASSWORD_IN_URL: &str = "S3cret%2FPa55word";
/// How long a command may take.
const ENDS: Duration = Duration::from_secs(40);
/// What a server needs that a test lacks.
const NEEDS: &str = "postgresql";

/// A server with a role that only reads, and a folder for the probe's files.
struct Desk {
    postgres: Postgres,
    dir: tempfile::TempDir,
}

/// What `try` did.
struct Tried {
    code: Option<i32>,
    attempts: Vec<Value>,
    stderr: String,
}

impl Desk {
    /// `None` where no server is installed.
    fn new(test: &str) -> Option<Self> {
        let Some(postgres) = Postgres::start() else {
            harness::skip(test, NEEDS);
            return None;
        };
        postgres.sql(&format!(
            "CREATE ROLE probe LOGIN PASSWORD '{PASSWORD}'; CREATE TABLE facts (id int, name text);
             INSERT INTO facts SELECT i, 'fact ' || i FROM generate_series(1, 5) i; GRANT SELECT ON facts TO probe"
        ));
        let desk = Self { postgres, dir: tempfile::tempdir().expect("a folder") };
        desk.write_url("sslmode=disable");
        Some(desk)
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir().join(name);
        std::fs::write(&path, text).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("is ours");
        path
    }

    /// The connection string of the probing role, in the file `erp.url`.
    fn write_url(&self, parameters: &str) {
        self.write_url_of("127.0.0.1", self.postgres.port, parameters);
    }

    fn write_url_of(&self, host: &str, port: u16, parameters: &str) {
        let url =
            format!("postgres://probe:{PASSWORD_IN_URL}@{host}:{port}/postgres?{parameters}\n");
        self.write("erp.url", &url, 0o600);
    }

    /// Tries one probe with that block (`url_file` is filled in) for as long as `timeout`.
    fn tries(&self, timeout: &str, block: Value, arguments: &str) -> Tried {
        self.write_plan(timeout, block);
        self.command(&format!("probefleet-agent try plan.yaml --format json {arguments}"))
    }

    fn write_plan(&self, timeout: &str, mut block: Value) {
        if block.get("source").is_none() && block.get("url_file").is_none() {
            block["url_file"] = json!("erp.url");
        }
        let probe = json!({"name": "query", "every": "60s", "timeout": timeout, "sql": block});
        // JSON is YAML.
        self.write("plan.yaml", &json!({"probes": [probe]}).to_string(), 0o600);
    }

    /// One attempt of a statement.
    fn attempt(&self, query: &str) -> Value {
        self.attempt_of(json!({"query": query}))
    }

    /// One attempt of a block, within two seconds.
    fn attempt_of(&self, block: Value) -> Value {
        let mut tried = self.tries("2s", block, "");
        assert_eq!(tried.attempts.len(), 1, "{}", tried.stderr);
        tried.attempts.remove(0)
    }

    /// Runs a command line of `try` with JSON.
    fn command(&self, line: &str) -> Tried {
        let ran = self.ran(line);
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        let attempts = ran.stdout.lines().map(parse).collect();
        Tried { code: ran.code, attempts, stderr: ran.stderr }
    }

    /// Runs a command line in the folder; whatever it prints, it is not the password.
    fn ran(&self, line: &str) -> Ran {
        let ran = run(&mut shell(self.dir(), line), "", ENDS);
        assert_no_password(&format!("{}{}", ran.stdout, ran.stderr));
        ran
    }
}

fn assert_no_password(text: &str) {
    for secret in [PASSWORD, PASSWORD_IN_URL] {
        assert!(!text.contains(secret), "the password is printed: {text}");
    }
}

/// Outcome, class or reason, and code in one line: `failed timeout sqlstate:57014`.
fn outcome(attempt: &Value) -> String {
    let words = ["outcome", "class", "reason", "code"].map(|key| attempt[key].as_str());
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn assert_outcome(attempt: &Value, expected: &str) {
    assert_eq!(outcome(attempt), expected, "{attempt}");
}

/// Duration of a phase, ns; `None` when it has none.
fn phase(attempt: &Value, name: &str) -> Option<u64> {
    attempt["phases_ns"][name].as_u64()
}

fn phases(attempt: &Value) -> Vec<&str> {
    attempt["phases_ns"].as_object().expect("phases").keys().map(String::as_str).collect()
}

fn detail<'a>(attempt: &'a Value, name: &str) -> &'a str {
    attempt["detail"][name].as_str().unwrap_or_default()
}

/// Whether a statement of a probe runs on the server.
const ACTIVE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'probefleet' AND state <> 'idle'";
