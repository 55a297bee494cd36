//! The parts of the fleet as child processes: they die with their parent, and end cleanly when asked.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// One part of the fleet.
#[derive(Debug)]
pub(crate) struct Part {
    /// What it is, for people.
    pub(crate) name: String,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    child: Child,
}

/// In a child: asks the kernel to end this process when its parent is gone, then runs its role.
pub(crate) fn run_as_child(role: impl FnOnce() -> ExitCode) -> ExitCode {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        anstream::eprintln!(
            "probefleet-quickstart: cannot tie this process to its parent: {error}"
        );
        return ExitCode::from(3);
    }
    role()
}

impl Part {
    /// Starts a part: `ROLE ARGS…` of this very program, its output in a log file of its own.
    pub(crate) fn start(name: &str, log: PathBuf, args: &[OsString]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let output = std::fs::File::create(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Of its own group, so that Ctrl-C reaches the parent alone, which ends the parts in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), log, child })
    }

    /// Waits until the log holds a line for which `found` gives something; fails when the part ends before.
    pub(crate) async fn wait_for<T>(
        &mut self,
        within: Duration,
        found: impl Fn() -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(value) = found() {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("{} ended ({status}):\n{}", self.name, last_lines(&self.log));
            }
            if Instant::now() > deadline {
                anyhow::bail!(
                    "{} is not ready after {within:?}:\n{}",
                    self.name,
                    last_lines(&self.log)
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Resolves when the part has ended by itself.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end, frozen or not.
    pub(crate) fn ask_to_end(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            anstream::eprintln!("cannot signal {}: {error}", self.name);
        }
    }

    /// Waits for its end until the deadline, then ends it the hard way.
    pub(crate) async fn end_by(&mut self, deadline: Instant) {
        if tokio::time::timeout_at(deadline, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            anstream::eprintln!("cannot end {}: {error}", self.name);
        }
    }
}

/// The end of a log, for an error message.
pub(crate) fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines[lines.len().saturating_sub(8)..].join("\n  ");
    format!("  {shown}\n  (all of it: {})", log.display())
}
