//! A folder in which the examples of the help and the sample files can run.

use super::{ENDS, STOPS, UP};
use harness::command::{Ran, copy_folder, run, shell};
use harness::evidence::records;
use harness::ports::free_port;
use harness::process::Process;
use harness::root;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the first report may take: a plan waits for the next window, which has to end and to be sealed.
const MEASURED: Duration = Duration::from_secs(40);

/// A folder with every file that an example names, and a responder that the plan probes.
pub(super) struct Desk {
    pub(super) dir: tempfile::TempDir,
    pub(super) responder: Process,
    pub(super) port: u16,
    pub(super) sip_port: u16,
}

impl Desk {
    /// With nothing measured yet.
    pub(super) fn new() -> Self {
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
    pub(super) fn template(&self) -> PathBuf {
        self.dir.path().join("template")
    }

    pub(super) fn write_files(&self) {
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
    pub(super) fn measure(&self) {
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
    pub(super) fn copy(&self, number: usize) -> PathBuf {
        let dir = self.dir.path().join(format!("copy-{number}"));
        copy_folder(&self.template(), &dir);
        dir
    }

    pub(super) fn at(&self, dir: &Path, line: &str) -> Ran {
        run(&mut shell(dir, line), "", ENDS)
    }

    pub(super) fn start(&self, dir: &Path, line: &str) -> Process {
        let command = shell(dir, &format!("exec {line}"));
        Process::start_command(command, &dir.with_extension("log"))
    }

    /// An example as it can run here: ports that are there, and paths in the folder.
    pub(super) fn adapted(&self, dir: &Path, example: &str) -> String {
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

/// An address that the collector of a folder says it has.
pub(super) fn address(dir: &Path, name: &str) -> Option<String> {
    let bytes = std::fs::read(dir.join("collector/addresses.json")).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    Some(json[name].as_str()?.to_owned())
}
