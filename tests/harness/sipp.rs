//! SIPp (Debian: `sip-tester`) as the other side of calls: it decides by its exit code whether what it got was as its
//! scenario says.

use crate::ports::free_port;
use crate::process::Process;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long it may take until it listens.
const READY: Duration = Duration::from_secs(10);

/// Without a keyboard, and gone when its calls are: it would wait 33 s for what is left of them.
const MANNERS: [&str; 3] = ["-nostdin", "-deadcall_wait", "0"];

/// SIPp, waiting to be called.
pub struct Sipp {
    process: Process,
    /// Where it listens.
    pub port: u16,
    // What it writes, it writes here.
    _dir: tempfile::TempDir,
}

impl Sipp {
    /// Its built-in answering side, for so many calls.
    pub fn uas(calls: u32) -> Self {
        Self::start(&["-sn".as_ref(), "uas".as_ref()], calls)
    }

    /// A scenario for one call by TCP; its contacts say so. (The built-in side takes the end of a connection for one of
    /// its call, which it has by then lost track of.)
    pub fn scenario_by_tcp(file: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = std::fs::read_to_string(file).expect("a scenario");
        let path = dir.path().join("scenario.xml");
        let text = text.replace("[local_port]>", "[local_port];transport=tcp>");
        std::fs::write(&path, text).expect("writes");
        Self::start(&["-t".as_ref(), "t1".as_ref(), "-sf".as_ref(), path.as_os_str()], 1)
    }

    /// Its built-in answering side at `::1`.
    pub fn uas_by_ipv6(calls: u32) -> Self {
        Self::start_at("::1", &["-sn".as_ref(), "uas".as_ref()], calls)
    }

    /// A scenario of its own for one call; `[status]` in it becomes `status`, which SIPp cannot do in a first line.
    pub fn scenario(file: &Path, status: u16) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = std::fs::read_to_string(file).expect("a scenario");
        let path = dir.path().join("scenario.xml");
        std::fs::write(&path, text.replace("[status]", &status.to_string())).expect("writes");
        Self::start(&["-sf".as_ref(), path.as_os_str()], 1)
    }

    fn start(args: &[&OsStr], calls: u32) -> Self {
        Self::start_at("127.0.0.1", args, calls)
    }

    fn start_at(address: &str, args: &[&OsStr], calls: u32) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (port, media) = (free_port(), free_port());
        let mut command = Command::new("sipp");
        command.args(["-i", address]).args(args).args(MANNERS).current_dir(dir.path());
        command.args(["-m", &calls.to_string(), "-p", &port.to_string()]);
        command.args(["-mp", &media.to_string()]);
        let mut process = Process::start_command(command, &dir.path().join("sipp.log"));
        process.wait_for("its port", READY, || listens(port).then_some(()));
        Self { process, port, _dir: dir }
    }

    /// Waits until it has had its calls: whether all went as its scenario says.
    pub fn is_satisfied(&mut self, within: Duration) -> bool {
        self.process.wait(within)
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Calls an address with the built-in calling side: so many calls, so many a second, each held that long. Whether all
/// went well, and what it printed.
pub fn call(port: u16, calls: u32, per_s: u32, hold: Duration) -> (bool, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("sipp");
    command.args(["-sn", "uac", "-i", "127.0.0.1"]).args(MANNERS).current_dir(dir.path());
    command.args(["-p", &free_port().to_string(), "-mp", &free_port().to_string()]);
    command.args(["-m", &calls.to_string(), "-r", &per_s.to_string()]);
    command.args(["-d", &hold.as_millis().to_string(), "-buff_size", "1048576"]);
    command.arg(format!("127.0.0.1:{port}"));
    let log = dir.path().join("sipp.log");
    let mut process = Process::start_command(command, &log);
    let good = process.wait(Duration::from_secs(60));
    (good, process.output())
}

/// Calls an address with a scenario of its own: so many calls, all at once. `audio` is there as `tone.pcmu`, in G.711.
pub fn speak(port: u16, file: &Path, calls: u32, audio: &[u8]) -> (bool, String) {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("tone.pcmu"), audio).expect("writes");
    let mut command = Command::new("sipp");
    command.args(["-i", "127.0.0.1", "-sf"]).arg(file).args(MANNERS).current_dir(dir.path());
    command.args(["-p", &free_port().to_string(), "-mp", &free_port().to_string()]);
    command.args(["-m", &calls.to_string(), "-r", &calls.to_string()]);
    command.arg(format!("127.0.0.1:{port}"));
    let mut process = Process::start_command(command, &dir.path().join("sipp.log"));
    let good = process.wait(Duration::from_secs(30));
    (good, process.output())
}

/// Whether somebody has a UDP port of the loopback. Read, not tried: a try would be in the way of whoever wants it.
pub(crate) fn listens(port: u16) -> bool {
    // Bound and connected to nobody (07), or waiting for connections (0A); an end of somebody's connection is neither.
    let v4 = |state: &str| format!(" 0100007F:{port:04X} 00000000:0000 {state} ");
    let v6 = format!("01000000:{port:04X} 00000000000000000000000000000000:0000 07 ");
    let tables = [("/proc/net/udp", v4("07")), ("/proc/net/udp6", v6), ("/proc/net/tcp", v4("0A"))];
    tables.iter().any(|(table, entry)| {
        std::fs::read_to_string(table).is_ok_and(|sockets| sockets.contains(entry))
    })
}
