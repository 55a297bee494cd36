//! Bad input gets a precise error, and changes nothing.

mod files;
mod no_packet;
mod rights;
mod size;

use harness::command::{Ran, run, shell};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Longest time until a file is refused that is too large, or would grow.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// When a command is given up.
const ENDS: Duration = Duration::from_secs(10);

const PLAN: &str = "probes:\n  - {name: a, every: 30s, http: {url: 'http://127.0.0.1:9/'}}\n";
const POLICY: &str = "allow:\n  - {kind: http, to: ['127.0.0.1:9']}\n";
const AGENT: &str =
    "collector: http://127.0.0.1:9\nstate_dir: state\npolicy: policy.yaml\nname: a\n";
const COLLECTOR: &str =
    "state_dir: state\nplan: plan.yaml\nlisten: 127.0.0.1:0\nportal: 127.0.0.1:0\n";

/// A folder with one good file of each kind, whose `state` nobody has made yet.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("plan.yaml", PLAN),
        ("policy.yaml", POLICY),
        ("agent.yaml", AGENT),
        ("collector.yaml", COLLECTOR),
    ] {
        write(dir.path(), name, text.as_bytes());
    }
    let made =
        at(dir.path(), "probefleet-collector contract init --plan plan.yaml --out agreement.yaml");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let with_agreement = format!("{COLLECTOR}agreements: [{{file: agreement.yaml}}]\n");
    write(dir.path(), "with-agreement.yaml", with_agreement.as_bytes());
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
}

fn at(dir: &Path, line: &str) -> Ran {
    run(&mut shell(dir, line), "", ENDS)
}
