//! Faults of real disks under the real programs. Each time: what was acknowledged is in the store, once; every window is
//! accounted for; `/readyz` and `/metrics` say what is wrong within half a minute, and that it is over.

mod fails;
mod full;
mod power;
mod read_only;

use crate::accounting;
use harness::evidence::{CellKey, Counts, cells, records, reports};
use harness::fleet::{Fleet, get, start_responder};
use harness::ports::free_port;
use harness::process::{Process, eventually};
use harness::relay::Relay;
use probefleet_proto::clock::unix_now_ns;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How soon a fault is said, and that it is over.
const SAID: Duration = Duration::from_secs(30);
/// A window ends, its report is written, that fails, and is told.
const FELT: Duration = Duration::from_secs(10 + 2);
/// How long a program may take to start.
const STARTS: Duration = Duration::from_secs(20);
/// Probes that only make reports larger than what a page of memory has left.
const MORE_PROBES: usize = 40;

/// A fleet whose disks can be taken away.
struct Site {
    fleet: Arc<Mutex<Fleet>>,
    relay: Relay,
    names: Vec<&'static str>,
    _responder: Process,
}

impl Site {
    /// The folders and files, before anything runs in them.
    fn new(names: &[&'static str]) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        let (responder, target) = start_responder(&log.keep().expect("a log"));
        let more = (0..MORE_PROBES).map(|index| {
            format!("  - {{name: more-{index}, every: 10s, http: {{url: 'http://{target}/'}}}}\n")
        });
        let plan = accounting::plan(&target) + &more.collect::<String>();
        let fleet = Arc::new(Mutex::new(Fleet::new(&plan, &[])));
        let relay = Relay::start(accounting::upstream(&fleet));
        let site = Self { fleet, relay, names: names.to_vec(), _responder: responder };
        for name in names {
            let mut fleet = site.fleet();
            fleet.add_agent(name, name, &site.relay.address.to_string(), &target);
            let config = fleet.dir().join(name).join("agent.yaml");
            let text = std::fs::read_to_string(&config).expect("reads");
            std::fs::write(config, format!("{text}status: {}\n", free_port())).expect("writes");
        }
        site
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().expect("not poisoned")
    }

    /// Where an agent keeps its state.
    fn state(&self, name: &str) -> PathBuf {
        self.fleet().dir().join(name).join("state")
    }

    /// Everybody runs and has reported a window.
    fn start(&self) {
        self.fleet().start_collector();
        for name in &self.names {
            self.fleet().start_agent(name);
        }
        accounting::wait_for_windows(&self.fleet, &self.names, 0);
    }

    fn wait_for_windows(&self) {
        accounting::wait_for_windows(&self.fleet, &self.names, unix_now_ns() / 1_000_000_000 - 10);
    }

    /// Where an agent says how it is.
    fn status(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.fleet().dir().join(name).join("agent.yaml"));
        let text = text.expect("reads");
        let port = text.lines().find_map(|line| line.strip_prefix("status: "));
        format!("127.0.0.1:{}", port.expect("is in the configuration"))
    }

    fn portal(&self) -> String {
        self.fleet().addresses().expect("the collector runs").portal
    }

    /// How many acknowledgements there were.
    fn acknowledged(&self) -> usize {
        self.relay.acknowledged().len()
    }

    /// What the store has of every probe and window.
    fn cells(&self) -> BTreeMap<CellKey, Counts> {
        cells(&reports(&records(&self.fleet().store())))
    }

    /// A clean stop, and then everything is accounted for and nothing is there twice. Returns why attempts were not made.
    fn settle(&self) -> Counts {
        accounting::settle(&self.fleet, &self.names);
        let fleet = self.fleet();
        let stored = records(&fleet.store());
        accounting::check_delivery(&stored, &self.relay.acknowledged());
        assert!(stored.iter().all(|record| record.kind != 2), "no gap: nothing was given up");
        let spools: BTreeSet<_> = stored.iter().map(|record| &record.spool_id).collect();
        assert_eq!(spools.len(), self.names.len(), "nobody had to begin another spool");
        let sum = accounting::check_accounts(&fleet, &stored, &cells(&reports(&stored)));
        println!("{sum:?}");
        sum
    }
}

/// What `/readyz` says, if anybody answers there.
fn ask(address: &str) -> Option<(u16, String)> {
    std::net::TcpStream::connect(address).ok()?;
    Some(get(address, "/readyz"))
}

/// Waits until `/readyz` has that status and all of those words; returns what it says.
fn ready_says(address: &str, status: u16, words: &[&str], within: Duration) -> String {
    let began = Instant::now();
    let said = eventually(within, || {
        let (code, body) = ask(address)?;
        (code == status && words.iter().all(|word| body.contains(word))).then_some(body)
    });
    let Some(said) = said else {
        panic!("no {status} with {words:?} within {within:?}: {:?}", ask(address))
    };
    println!(
        "after {:.1} s: {status} {}",
        began.elapsed().as_secs_f64(),
        said.replace('\n', " | ")
    );
    said
}

/// Waits until `/readyz` has nothing to complain of, of anybody.
fn is_ready(address: &str) {
    let began = Instant::now();
    let ready = eventually(SAID, || (ask(address)?.1 == "ready\n").then_some(()));
    assert!(ready.is_some(), "{:?}", ask(address));
    println!("after {:.1} s: ready", began.elapsed().as_secs_f64());
}

/// What `/metrics` says is read by Prometheus.
fn is_well_formed(address: &str) {
    if harness::has("promtool") {
        let (_, metrics) = get(address, "/metrics");
        let mut promtool = std::process::Command::new("promtool");
        let ran = harness::command::run(promtool.args(["check", "metrics"]), &metrics, STARTS);
        assert_eq!(ran.code, Some(0), "{}{}\n{metrics}", ran.stdout, ran.stderr);
    }
}

/// A line of `/metrics`.
fn has_metric(address: &str, line: &str) {
    let (_, text) = get(address, "/metrics");
    assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
}
