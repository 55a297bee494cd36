//! A PostgreSQL server of its own: a throwaway cluster of a user without rights, on a port of the loopback.

use crate::command::{Ran, Unprivileged, run, unprivileged};
use crate::ports::free_port;
use crate::process::{Process, eventually};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a server may take until it answers, and a statement of ours until it is done.
const READY: Duration = Duration::from_secs(30);
/// How long a server may take to end.
const ENDS: Duration = Duration::from_secs(10);
/// Where Debian has its servers, by version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where the programs of the newest installed server are.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).ok()?.flatten().map(|entry| entry.path().join("bin"));
    let version = |dir: &PathBuf| {
        let name = dir.parent().and_then(Path::file_name)?.to_str()?;
        name.parse::<u32>().ok()
    };
    versions.filter(|dir| dir.join("initdb").is_file()).max_by_key(version)
}

/// The server; ends when dropped.
pub struct Postgres {
    folder: Unprivileged,
    programs: PathBuf,
    process: Option<Process>,
    settings: Vec<(String, String)>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl Postgres {
    /// A cluster whose `postgres` user is trusted on the folder's socket; over TCP everybody needs a password (SCRAM).
    /// `None` where no server is installed.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = Unprivileged::new();
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.current_dir(folder.dir()).args(["-D", "data", "-U", "postgres", "--no-sync"]);
        initdb.args([
            "-E",
            "UTF8",
            "--locale=C",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]);
        let made = run(&mut initdb, "", READY);
        assert_eq!(made.code, Some(0), "initdb: {}{}", made.stdout, made.stderr);
        let mut postgres =
            Self { folder, programs, process: None, settings: Vec::new(), port: free_port() };
        postgres.boot();
        Some(postgres)
    }

    /// A setting from the next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((key.to_owned(), value.to_owned()));
    }

    /// Starts it, or starts it again on the same port.
    pub fn boot(&mut self) {
        let mut server = unprivileged(&self.programs.join("postgres"));
        server.current_dir(self.dir()).args(["-D", "data", "-h", "127.0.0.1"]);
        server.arg("-p").arg(self.port.to_string()).arg("-k").arg(self.dir());
        // Nothing here outlives the test.
        for setting in ["fsync=off", "shared_buffers=16MB", "max_connections=100"] {
            server.arg("-c").arg(setting);
        }
        for (key, value) in &self.settings {
            server.arg("-c").arg(format!("{key}={value}"));
        }
        let mut process = Process::start_command(server, &self.dir().join("postgres.log"));
        process
            .wait_for("an answer", READY, || (self.ask("SELECT 1").code == Some(0)).then_some(()));
        self.process = Some(process);
    }

    /// Its folder; everything in it belongs to the user that it runs as.
    pub fn dir(&self) -> &Path {
        self.folder.dir()
    }

    /// Writes a file of the server's.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.folder.write(name, text, 0o600)
    }

    /// `psql` as the superuser, over the folder's socket.
    pub fn psql(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.arg("-h").arg(self.dir()).arg("-p").arg(self.port.to_string());
        psql.args(["-U", "postgres", "-d", "postgres", "-XAtq", "-v", "ON_ERROR_STOP=1"]);
        psql
    }

    fn ask(&self, sql: &str) -> Ran {
        run(self.psql().arg("-c").arg(sql), "", READY)
    }

    /// Runs statements as the superuser; what they gave, a row a line.
    pub fn sql(&self, sql: &str) -> String {
        let ran = self.ask(sql);
        assert_eq!(ran.code, Some(0), "{sql}: {}", ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Runs statements as the superuser in the background, until the returned process is dropped.
    pub fn sql_in_background(&self, sql: &str) -> Process {
        let mut psql = self.psql();
        psql.arg("-c").arg(sql);
        Process::start_command(psql, &self.dir().join("background.log"))
    }

    /// Waits until a question has that answer.
    pub fn wait_until(&self, sql: &str, answer: &str, within: Duration) {
        let mut last = String::new();
        let found = eventually(within, || {
            let ran = self.ask(sql);
            last = ran.stdout.trim_end().to_owned();
            (ran.code == Some(0) && last == answer).then_some(())
        });
        assert!(found.is_some(), "{sql}: {last:?}, not {answer:?}, within {within:?}");
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("postgres.log")).unwrap_or_default()
    }

    /// Ends it as `pg_ctl stop -m fast` does: every session is told so.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            process.signal(signal);
            process.wait(ENDS);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends the server's own children too.
        self.end(Signal::QUIT);
    }
}
