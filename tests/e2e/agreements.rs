//! Agreements judged through the command line, against figures that were worked out by hand.

mod attempts;
mod burn;
mod credits;
mod document;
mod downtime;
mod exclusions;
mod hours;
mod levels;
mod month;
mod outages;
mod parts;
mod period;
mod published;
mod termination;

use harness::command::{Ran, run, shell};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// How long one judgement may take on a busy machine, the program unoptimised.
const JUDGED: Duration = Duration::from_secs(60);

/// What stands in every agreement here, but for keys that a test brings itself.
const FRAME: [(&str, &str); 10] = [
    ("agreement", "acme"),
    ("version", "1"),
    ("kind", "sla"),
    ("level", "service"),
    ("title", "Voice"),
    ("parties", "{provider: {name: Voxtel GmbH}, customer: {name: ACME AG}}"),
    ("time_zone", "Europe/Berlin"),
    ("currency", "EUR"),
    ("term", "{from: 2026-01-01, until: 2029-01-01}"),
    ("services", "{voice: {monthly_charge: \"12000.00\"}}"),
];

/// An agreement by the month: some keys beside those of the frame, and objectives `NAME: {KEYS}` of the service `voice`
/// and the probe `call`.
fn agreement(keys: &str, objectives: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let said = |key: &str| keys.lines().any(|line| line.starts_with(&format!("{key}:")));
    for (key, value) in FRAME.into_iter().chain([("period", "month")]) {
        if !said(key) {
            writeln!(text, "{key}: {value}").expect("a String");
        }
    }
    writeln!(text, "{keys}\nobjectives:").expect("a String");
    for (name, keys) in objectives {
        let service = if keys.contains("service:") { "" } else { "service: voice, " };
        let probe = if keys.contains("probe:") { "" } else { "probe: call, " };
        writeln!(text, "  {name}: {{{service}{probe}{keys}}}").expect("a String");
    }
    text
}

/// Measured windows, line by line.
struct Evidence {
    lines: String,
    probe: &'static str,
    width_s: i64,
    interval_s: i64,
}

impl Evidence {
    /// Nothing yet; what follows is of the probe `call`, a window and an attempt a minute.
    fn new() -> Self {
        Self { lines: String::new(), probe: "call", width_s: 60, interval_s: 60 }
    }

    /// Windows from an instant on, as letters with how many there are: `U30 D2`. `U` one attempt that is ok, `D` one that
    /// failed, `.` nothing at all.
    fn timeline(mut self, agent: &str, start: &str, text: &str) -> Self {
        let mut start_s = seconds(start);
        for word in text.split_whitespace() {
            let (letter, count) = word.split_at(1);
            let count = if count.is_empty() { 1 } else { count.parse().expect("a count") };
            for _ in 0..count {
                match letter {
                    "U" => self.cell(agent, start_s, &json!({"ok": 1})),
                    "D" => self.cell(agent, start_s, &json!({"failed": {"timeout": 1}})),
                    "." => {}
                    other => panic!("`{other}` is no state"),
                }
                start_s += self.width_s;
            }
        }
        self
    }

    /// One window, with what it says beside where and when.
    fn cell(&mut self, agent: &str, start_s: i64, says: &Value) {
        let mut cell = json!({"agent": agent, "probe": self.probe, "start": instant(start_s),
            "width_s": self.width_s, "interval_s": self.interval_s, "ok": 0});
        let says = says.as_object().expect("an object").clone();
        cell.as_object_mut().expect("an object").extend(says);
        writeln!(self.lines, "{cell}").expect("a String");
    }
}

fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("an instant").as_second()
}

fn instant(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("in range").to_string()
}

/// A folder with what is judged.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new(agreement: &str, evidence: &Evidence) -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a folder") };
        desk.write("agreement.yaml", agreement);
        desk.write("windows.jsonl", &evidence.lines);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).expect("writes");
    }

    fn run(&self, line: &str) -> Ran {
        command(self.dir.path(), line)
    }

    /// The verdict of a countersigned agreement, with more words of the command line.
    fn judge(&self, words: &str) -> Value {
        let command = "probefleet-collector evaluate --agreement agreement.yaml --windows windows.jsonl --signed --format json";
        let ran = self.run(&format!("{command} {words}"));
        assert_eq!(ran.code, Some(0), "{words}:\n{}{}", ran.stdout, ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// The verdict on the first objective.
    fn first(&self, words: &str) -> Value {
        self.judge(words)["objectives"][0].clone()
    }
}

fn command(dir: &Path, line: &str) -> Ran {
    run(&mut shell(dir, line), "", JUDGED)
}
