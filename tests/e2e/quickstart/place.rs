//! A place where the quickstart runs, the quickstart that runs there, and its processes.

use super::{AGENTS, ENDED, ENDS, JUDGED, OBJECTIVES, READY};
use harness::command::{listing, run, shell};
use harness::evidence::records;
use harness::fleet::get;
use harness::process::{Process, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A folder with one for the data, and one each for what should stay empty.
pub(super) struct Place {
    pub(super) dir: tempfile::TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for name in ["home", "temp", "here"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        Self { dir }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command line as its user would type it here.
    pub(super) fn command(&self, line: &str) -> std::process::Command {
        let mut command = shell(&self.dir.path().join("here"), line);
        command.env("HOME", self.dir.path().join("home")).env_remove("XDG_STATE_HOME");
        command.env("TMPDIR", self.dir.path().join("temp"));
        command
    }

    pub(super) fn start(&self, arguments: &str) -> Running {
        let running = self.start_by("exec", arguments);
        let roles = ["agent respond --http", "agent respond --sip", "postgres", "collector run"];
        let parts = running.children.iter().map(|id| arguments_of(*id).join(" "));
        let parts: Vec<String> = parts.collect();
        for role in roles {
            assert!(parts.iter().any(|part| part.contains(role)), "{role}: {parts:?}");
        }
        assert_eq!(parts.len(), roles.len() + AGENTS.len(), "{parts:?}");
        running
    }

    /// Starts it behind a prefix of the command line.
    pub(super) fn start_by(&self, prefix: &str, arguments: &str) -> Running {
        let log = self.dir.path().join("output.log");
        let _of_the_run_before = std::fs::remove_file(&log);
        let began = Instant::now();
        let line =
            format!("{prefix} probefleet-quickstart --data {} {arguments}", self.data().display());
        let mut process = Process::start_command(self.command(&line), &log);
        let url = process.wait_for_output("Look at the portal:", READY);
        let portal = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        println!("the portal's address after {:?}", began.elapsed());
        let children = children(process.pid());
        Running { process, portal, children, data: self.data() }
    }

    /// The quickstart where it should not start: its exit code and what it says.
    pub(super) fn refused(&self, data: &Path) -> String {
        let line = format!("probefleet-quickstart --data {}", data.display());
        let ran = run(&mut self.command(&line), "", ENDS);
        assert!(ran.code.is_some_and(|code| code != 0), "{ran:?}");
        ran.stderr
    }

    pub(super) fn assert_nothing_strays(&self) {
        for name in ["home", "temp", "here"] {
            let strays = listing(&self.dir.path().join(name));
            assert!(strays.is_empty(), "outside of --data: {strays:?}");
        }
    }

    /// The agreement as the command line reports it.
    pub(super) fn report(&self) -> Value {
        let config = self.data().join("collector.yaml");
        let line = format!(
            "probefleet-quickstart collector report --config {} --agreement quickstart-shop --format json",
            config.display()
        );
        let ran = run(&mut self.command(&line), "", ENDS);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }

    /// Who has delivered what so far.
    pub(super) fn delivered(&self) -> (BTreeSet<[u8; 16]>, usize) {
        let records = records(&self.data().join("collector/collector.db"));
        (records.iter().map(|record| record.agent_id).collect(), records.len())
    }
}

/// A quickstart that runs.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) portal: String,
    pub(super) children: Vec<u32>,
    pub(super) data: PathBuf,
}

impl Running {
    /// The status of every objective, by its metric.
    pub(super) fn statuses(&self) -> Vec<String> {
        let (status, metrics) = get(&self.portal, "/metrics");
        assert_eq!(status, 200);
        let held = metrics.lines().filter(|line| {
            line.starts_with("probefleet_objective_status{") && line.ends_with(" 1")
        });
        held.filter_map(|line| Some(line.split("status=\"").nth(1)?.split('"').next()?.to_owned()))
            .collect()
    }

    /// Waits until every objective is kept so far.
    pub(super) fn wait_until_kept(&mut self) {
        let began = Instant::now();
        let good = |status: &String| status == "on_track" || status == "met_certain";
        let kept = eventually(JUDGED, || {
            let statuses = self.statuses();
            (statuses.len() == OBJECTIVES && statuses.iter().all(good)).then_some(statuses)
        });
        let kept = kept.unwrap_or_else(|| {
            panic!("{:?} after {JUDGED:?}:\n{}", self.statuses(), self.process.output())
        });
        println!("{kept:?} after {:?}", began.elapsed());
    }

    /// Ctrl-C: everything ends well and in time.
    pub(super) fn interrupt(mut self) {
        let began = Instant::now();
        self.process.signal(Signal::INT);
        assert!(self.process.wait(ENDED), "ends well:\n{}", self.process.output());
        let took = began.elapsed();
        assert!(took <= ENDED, "took {took:?} to end");
        assert!(alive(&self.children).is_empty(), "{:?} still run", alive(&self.children));
        assert!(TcpStream::connect(&self.portal).is_err(), "the portal is closed");
        println!("Ctrl-C ended everything in {took:?}");
    }

    /// Where agents deliver.
    pub(super) fn agents_address(&self) -> String {
        let bytes = std::fs::read(self.data.join("collector/addresses.json")).expect("reads");
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        json["agents"].as_str().expect("an address").to_owned()
    }
}

/// The children of a process.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// The parent of a process that has not ended.
fn parent_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.next()?.parse().ok()
}

pub(super) fn alive(processes: &[u32]) -> Vec<u32> {
    processes.iter().copied().filter(|id| parent_of(*id).is_some()).collect()
}

/// The command line of a process.
pub(super) fn arguments_of(id: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}
