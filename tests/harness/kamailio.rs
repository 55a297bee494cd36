//! Kamailio (Debian: `kamailio`, `kamailio-tls-modules`) as a provider's proxy and registrar: digest, recorded routes,
//! forks, redirections, TLS, of somebody else's making.

use crate::ports::free_port;
use crate::process::Process;
use crate::sipp::listens;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long it may take until it listens.
const READY: Duration = Duration::from_secs(20);
const CONFIG: &str = include_str!("kamailio/kamailio.cfg");
/// Where Debian keeps its modules, by machine.
const LIBRARIES: &str = "/usr/lib";

/// What stands behind it, and what it shows.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Of its challenges: `MD5` or `SHA-256`.
    pub algorithm: &'static str,
    /// Port of the telephone that calls end at.
    pub near: u16,
    /// Port of a second one, for forks.
    pub far: u16,
    /// Certificate and key, PEM.
    pub identity: (String, String),
}

/// A proxy on the loopback; gone when it is dropped.
pub struct Kamailio {
    process: Process,
    /// Where it listens by UDP and TCP.
    pub port: u16,
    /// Where it listens by TLS.
    pub tls_port: u16,
    /// Bound, and never answers.
    _silent: UdpSocket,
    _dir: tempfile::TempDir,
}

impl Kamailio {
    /// Starts; `None` where it is not installed.
    pub fn start(manners: &Manners) -> Option<Self> {
        let modules = modules()?;
        let dir = tempfile::tempdir().expect("a folder");
        let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (port, tls_port) = (free_port(), free_port());
        configure(dir.path(), &modules, manners, (port, tls_port, &silent));
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(dir.path().join("kamailio.cfg")).current_dir(dir.path());
        command.args(["-m", "64", "-M", "8", "-DD", "-E", "-Y"]).arg(dir.path());
        command.arg("-P").arg(dir.path().join("kamailio.pid"));
        let mut process = Process::start_command(command, &dir.path().join("kamailio.log"));
        process.wait_for("its port", READY, || listens(port).then_some(()));
        Some(Self { process, port, tls_port, _silent: silent, _dir: dir })
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It has children, which only it can end.
        self.process.terminate(READY);
    }
}

/// The folder of its modules, if the program and its TLS are there.
fn modules() -> Option<PathBuf> {
    crate::has("kamailio").then_some(())?;
    let machines = std::fs::read_dir(LIBRARIES).ok()?;
    let folders = machines.filter_map(|entry| Some(entry.ok()?.path().join("kamailio/modules")));
    folders
        .chain([PathBuf::from("/usr/lib/kamailio/modules")])
        .find(|folder| folder.join("tls.so").exists())
}

fn configure(dir: &Path, modules: &Path, manners: &Manners, ports: (u16, u16, &UdpSocket)) {
    let (port, tls_port, silent) = ports;
    let silent = silent.local_addr().expect("bound").port();
    let mut text = CONFIG.to_owned();
    for (name, value) in [
        ("[port]", port.to_string()),
        ("[tls_port]", tls_port.to_string()),
        ("[near]", manners.near.to_string()),
        ("[far]", manners.far.to_string()),
        ("[silent]", silent.to_string()),
        ("[algorithm]", manners.algorithm.to_owned()),
        ("[modules]", format!("{}/", modules.display())),
        ("[folder]", dir.display().to_string()),
    ] {
        text = text.replace(name, &value);
    }
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect("writes");
    write("kamailio.cfg", &text);
    write("cert.pem", &manners.identity.0);
    write("key.pem", &manners.identity.1);
    let part = |name: &str, more: &str| {
        format!("[{name}:default]\nverify_certificate = no\nrequire_certificate = no\n{more}")
    };
    let own = format!(
        "method = TLSv1.2+\nprivate_key = {0}/key.pem\ncertificate = {0}/cert.pem\n",
        dir.display()
    );
    write("tls.cfg", &format!("{}{}", part("server", &own), part("client", "")));
}
