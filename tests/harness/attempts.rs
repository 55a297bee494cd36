//! Attempts of the real agent program: what it says of each, and how much memory it took.

use crate::process::rss_most_bytes;
use serde_json::Value;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What `probefleet-agent try --format json` did.
#[derive(Debug)]
pub struct Tried {
    /// One JSON object an attempt.
    pub lines: Vec<Value>,
    /// Most resident memory, bytes.
    pub rss_most_bytes: u64,
}

/// Tries a plan `count` times, or panics when it does not end.
pub fn try_plan(plan: &Path, count: u32, within: Duration) -> Tried {
    let mut output = tempfile::tempfile().expect("a file");
    let mut child = Command::new(crate::program("probefleet-agent"))
        .args(["try", "--format", "json", "--every", "50ms", "--count", &count.to_string()])
        .arg(plan)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .spawn()
        .expect("the agent starts");
    let began = Instant::now();
    let mut most = 0;
    while child.try_wait().expect("a child").is_none() {
        most = most.max(rss_most_bytes(child.id()).unwrap_or(0));
        if began.elapsed() > within {
            child.kill().and_then(|()| child.wait()).expect("is ours");
            panic!("{} is still tried after {within:?}", plan.display());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let mut text = String::new();
    output.seek(SeekFrom::Start(0)).and_then(|_| output.read_to_string(&mut text)).expect("reads");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line"));
    Tried { lines: lines.collect(), rss_most_bytes: most }
}

/// Outcome, class or reason, and code of an attempt, as one line.
pub fn verdict(line: &Value) -> String {
    let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let why = line["class"].as_str().or(line["reason"].as_str()).unwrap_or("-");
    format!("{} {why} {}", text("outcome"), text("code"))
}

/// The phase `total` of an attempt.
pub fn total(line: &Value) -> Duration {
    Duration::from_nanos(line["phases_ns"]["total"].as_u64().expect("every attempt has a total"))
}
