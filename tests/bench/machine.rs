//! The machine, who has which core of it, and what a process took of it.

use harness::process::Process;
use serde_json::{Value, json};
use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The core of the measured program.
pub const MEASURED: usize = 0;
/// The core of everything around it.
const AROUND: usize = 1;
/// Peers that are Debian packages.
const PACKAGES: [&str; 4] = ["prometheus-blackbox-exporter", "sip-tester", "tcpdump", "wrk"];

/// What figures depend on.
#[derive(Debug)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    versions: Vec<(String, String)>,
}

impl Machine {
    /// This one.
    pub fn look() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let mut versions: Vec<(String, String)> =
            PACKAGES.iter().map(|name| ((*name).to_owned(), package_version(name))).collect();
        versions.push(("hdrhistogram".to_owned(), crate_version("hdrhistogram")));
        versions.push(("probefleet".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        Self {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            versions,
        }
    }

    /// Leaves the first core to the measured programs. False when there is only one, or no `taskset`.
    pub fn keep_to_the_other_core(&self) -> bool {
        let pin = || {
            let (core, own) = (AROUND.to_string(), std::process::id().to_string());
            let output = Command::new("taskset").args(["-a", "-c", "-p", &core, &own]).output();
            output.is_ok_and(|output| output.status.success())
        };
        self.cores >= 2 && harness::has("taskset") && pin()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let versions: serde_json::Map<String, Value> =
            self.versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect();
        json!({"cpu": self.cpu, "cores": self.cores, "kernel": self.kernel, "versions": versions})
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "machine   {}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)?;
        let versions = self.versions.iter().map(|(name, version)| format!("{name} {version}"));
        write!(f, "versions  {}", versions.collect::<Vec<_>>().join(", "))
    }
}

fn package_version(name: &str) -> String {
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", name]).output();
    let version = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| output.stdout)
        .unwrap_or_default();
    // A package need not be called as its program is.
    match (String::from_utf8_lossy(&version).trim(), harness::has(name)) {
        ("", false) => "not installed".to_owned(),
        ("", true) => "of unknown version".to_owned(),
        (version, _) => version.to_owned(),
    }
}

fn crate_version(name: &str) -> String {
    let lock = std::fs::read_to_string(harness::root().join("Cargo.lock")).unwrap_or_default();
    let version = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("of unknown version", |(version, _)| version).to_owned()
}

/// What a process did while it was watched.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// How long it was watched.
    pub wall: Duration,
    /// Its processor time.
    pub cpu: Duration,
    /// How much got done, by somebody else's count.
    pub done: u64,
    /// Its resident memory in the end.
    pub rss_bytes: u64,
}

impl Spent {
    /// Done a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.wall.as_secs_f64()
    }

    /// Done a second of processor time.
    pub fn per_core(&self) -> f64 {
        self.done as f64 / self.cpu.as_secs_f64()
    }

    /// Microseconds of processor time for each that was done.
    pub fn us_each(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done as f64
    }

    /// Per cent of its core.
    pub fn busy_percent(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64() * 100.0
    }

    /// Resident memory, MiB.
    pub fn rss_mib(&self) -> f64 {
        self.rss_bytes as f64 / f64::from(1 << 20)
    }
}

/// Watches a process that is under way. `count` may wait until it knows: it is watched from one count to the next.
pub fn watch(process: &Process, window: Duration, count: impl Fn() -> u64) -> Spent {
    let done = count();
    let (began, cpu) = (Instant::now(), process.cpu());
    std::thread::sleep(window);
    let done = count() - done;
    Spent { wall: began.elapsed(), cpu: process.cpu() - cpu, done, rss_bytes: process.rss_bytes() }
}
