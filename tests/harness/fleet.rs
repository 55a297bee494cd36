//! A fleet of real processes in a folder of its own: a collector, agents and a responder, over plaintext loopback.

use crate::process::Process;
use crate::program;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program may take until it is ready.
const READY: Duration = Duration::from_secs(20);

/// How an agent runs where it is installed.
const UNIT: &str = include_str!("../../deploy/probefleet-agent.service");

/// The folder, and what runs in it.
pub struct Fleet {
    dir: tempfile::TempDir,
    /// The collector, while it runs.
    pub collector: Option<Process>,
    /// Agents by name, while they run.
    pub agents: Vec<(String, Option<Process>)>,
}

/// What the collector publishes about itself.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Where agents deliver.
    pub agents: String,
    /// Where browsers look.
    pub portal: String,
}

impl Fleet {
    /// A folder with a plan and agreements (file name and text), in windows of ten seconds.
    pub fn new(plan: &str, agreements: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("writes");
        write("plan.yaml", plan);
        let mut list = String::new();
        for (name, text) in agreements {
            write(name, text);
            list.push_str(&format!("  - {{file: {name}, countersigned: true}}\n"));
        }
        let list = if list.is_empty() { " []\n".to_owned() } else { format!("\n{list}") };
        let config = format!(
            "listen: 127.0.0.1:0\nportal: 127.0.0.1:0\nstate_dir: collector\nplan: plan.yaml\nwindow: 10s\nagreements:{list}"
        );
        write("collector.yaml", &config);
        Self { dir, collector: None, agents: Vec::new() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The collector's store.
    pub fn store(&self) -> PathBuf {
        self.dir().join("collector/collector.db")
    }

    /// The collector's configuration.
    pub fn collector_config(&self) -> PathBuf {
        self.dir().join("collector.yaml")
    }

    /// Where the collector says it listens.
    pub fn addresses(&self) -> Option<Addresses> {
        let bytes = std::fs::read(self.dir().join("collector/addresses.json")).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let address = |name: &str| json[name].as_str().map(str::to_owned);
        Some(Addresses { agents: address("agents")?, portal: address("portal")? })
    }

    /// Starts the collector and waits until it listens.
    pub fn start_collector(&mut self) -> Addresses {
        let _absent_at_first = std::fs::remove_file(self.dir().join("collector/addresses.json"));
        let config = self.collector_config();
        let args = ["run".as_ref(), "--config".as_ref(), config.as_os_str()];
        let mut collector = Process::start(
            &program("probefleet-collector"),
            &args,
            &self.dir().join("collector.log"),
        );
        let addresses = collector.wait_for("its addresses", READY, || self.addresses());
        self.collector = Some(collector);
        addresses
    }

    /// SIGKILL.
    pub fn kill_collector(&mut self) {
        if let Some(mut collector) = self.collector.take() {
            collector.kill();
        }
    }

    /// Writes an agent's configuration and policy.
    pub fn add_agent(&mut self, name: &str, site: &str, collector: &str, targets: &str) {
        let dir = self.dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let config = format!(
            "collector: http://{collector}\nstate_dir: state\npolicy: policy.yaml\nname: {name}\nlabels: {{site: {site}}}\n"
        );
        std::fs::write(dir.join("agent.yaml"), config).expect("writes");
        write_policy(&dir.join("policy.yaml"), targets);
        self.agents.push((name.to_owned(), None));
    }

    /// Starts an agent that was added.
    pub fn start_agent(&mut self, name: &str) {
        let process = self.agent_process(name, None);
        let slot = self.agents.iter_mut().find(|(known, _)| known == name).expect("was added");
        slot.1 = Some(process);
    }

    /// Starts an agent that was added, on one core, in the environment that its unit file gives it.
    pub fn start_agent_on_core(&mut self, name: &str, core: usize) {
        let process = self.agent_process(name, Some(core));
        let slot = self.agents.iter_mut().find(|(known, _)| known == name).expect("was added");
        slot.1 = Some(process);
    }

    fn agent_process(&self, name: &str, core: Option<usize>) -> Process {
        let config = self.dir().join(name).join("agent.yaml");
        let args = ["run".as_ref(), "--config".as_ref(), config.as_os_str()];
        let log = self.dir().join(format!("{name}.log"));
        match core {
            Some(core) => {
                let program = program("probefleet-agent");
                Process::start_on_core_with(core, &program, &args, &environment_of(UNIT), &log)
            }
            None => Process::start(&program("probefleet-agent"), &args, &log),
        }
    }

    /// An agent that runs.
    pub fn agent(&mut self, name: &str) -> &mut Process {
        let slot = self.agents.iter_mut().find(|(known, _)| known == name).expect("was added");
        slot.1.as_mut().expect("runs")
    }

    /// SIGKILL.
    pub fn kill_agent(&mut self, name: &str) {
        let slot = self.agents.iter_mut().find(|(known, _)| known == name).expect("was added");
        if let Some(mut agent) = slot.1.take() {
            agent.kill();
        }
    }
}

/// What a unit file of systemd sets in the environment.
fn environment_of(unit: &str) -> Vec<(&str, &str)> {
    let settings = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
    settings.filter_map(|setting| setting.split_once('=')).collect()
}

/// A policy that permits these targets (`host:port, …`) and no others.
pub fn write_policy(path: &Path, targets: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, format!("allow:\n  - {{kind: http, to: [{targets}]}}\n")).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
}

/// A responder, and its address.
pub fn start_responder(log: &Path) -> (Process, String) {
    let args = ["respond", "--http", "127.0.0.1:0"];
    let mut responder = Process::start(&program("probefleet-agent"), &args, log);
    let address = responder.wait_for_output("listening on http://", READY);
    (responder, address.trim_end_matches('/').to_owned())
}

/// GET of a page of this machine: status and body.
pub fn get(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers with text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { unchunked(body) } else { body.to_owned() })
}

fn unchunked(body: &str) -> String {
    let (mut rest, mut text) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        text.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    text
}
