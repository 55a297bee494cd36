//! dnsmasq (Debian: `dnsmasq-base`) as the server of a domain `test`, in a [namespace](crate::namespace) of its own.

use crate::process::Process;
use crate::sipp::listens;
use std::process::Command;
use std::time::Duration;

/// Where it listens.
const PORT: u16 = 53;
/// How long that may take.
const READY: Duration = Duration::from_secs(10);

/// The server; gone when it is dropped.
pub struct Dnsmasq {
    _process: Process,
    _dir: tempfile::TempDir,
}

impl Dnsmasq {
    /// Starts with these records, each an option of its own such as `--host-record=NAME,ADDRESS`.
    pub fn start(records: &[String]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("dnsmasq");
        // --no-daemon, because it keeps the user and group that it has: in a namespace there is only one.
        command.args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--local=/test/"]);
        command.args(records);
        let mut process = Process::start_command(command, &dir.path().join("dnsmasq.log"));
        process.wait_for("its port", READY, || listens(PORT).then_some(()));
        Self { _process: process, _dir: dir }
    }
}
