//! Real processes, ended by id.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program that runs until it is dropped, its output in a file.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to `log`.
    pub fn start<S: AsRef<OsStr>>(program: &Path, args: &[S], log: &Path) -> Self {
        Self::spawn(Command::new(program).args(args), program, log)
    }

    /// Starts what a command says; what it prints goes to `log`.
    pub fn start_command(mut command: Command, log: &Path) -> Self {
        let program = PathBuf::from(command.get_program());
        Self::spawn(&mut command, &program, log)
    }

    /// Starts a program on one core (`taskset`, of every Debian).
    pub fn start_on_core<S: AsRef<OsStr>>(
        core: usize,
        program: &Path,
        args: &[S],
        log: &Path,
    ) -> Self {
        Self::spawn(&mut on_core(core, program, args), program, log)
    }

    /// The same, with variables of the environment.
    pub fn start_on_core_with<S: AsRef<OsStr>>(
        core: usize,
        program: &Path,
        args: &[S],
        environment: &[(&str, &str)],
        log: &Path,
    ) -> Self {
        let mut command = on_core(core, program, args);
        Self::spawn(command.envs(environment.iter().copied()), program, log)
    }

    /// Starts what a command says; its output goes to `output`, what it complains of to `log`.
    pub fn start_writing(mut command: Command, output: File, log: &Path) -> Self {
        let program = PathBuf::from(command.get_program());
        Self::spawn_writing(&mut command, &program, output, log)
    }

    fn spawn(command: &mut Command, program: &Path, log: &Path) -> Self {
        Self::spawn_writing(command, program, appending(log), log)
    }

    fn spawn_writing(command: &mut Command, program: &Path, output: File, log: &Path) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(appending(log))
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, child, log: log.to_owned() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` gives something.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        within: Duration,
        ready: impl FnMut() -> Option<T>,
    ) -> T {
        let mut ready = ready;
        let value = eventually(within, || match ready() {
            Some(value) => Some(Ok(value)),
            None => self.child.try_wait().expect("a child").map(Err),
        });
        match value {
            Some(Ok(value)) => value,
            Some(Err(status)) => {
                panic!("{} ended ({status}) before {what}:\n{}", self.name, self.output())
            }
            None => panic!("{}: no {what} within {within:?}:\n{}", self.name, self.output()),
        }
    }

    /// What follows a marker on its line of the output.
    pub fn wait_for_output(&mut self, marker: &str, within: Duration) -> String {
        let log = self.log.clone();
        self.wait_for(marker, within, || {
            let text = std::fs::read_to_string(&log).ok()?;
            let rest = text.rsplit_once(marker)?.1;
            rest.contains('\n').then(|| rest.split_whitespace().next().unwrap_or("").to_owned())
        })
    }

    /// Everything it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("is ours");
        self.child.wait().expect("ends");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid() as i32).expect("an id"), signal).expect("is ours");
    }

    /// SIGTERM, and waits for the end: how long it took, and whether it ended well.
    pub fn terminate(&mut self, within: Duration) -> (Duration, bool) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        let status = eventually(within, || self.child.try_wait().expect("a child"));
        let status =
            status.unwrap_or_else(|| panic!("{} still runs {within:?} after SIGTERM", self.name));
        (began.elapsed(), status.success())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for an end that comes by itself: whether it ended well.
    pub fn wait(&mut self, within: Duration) -> bool {
        let status = eventually(within, || self.child.try_wait().expect("a child"));
        status.unwrap_or_else(|| panic!("{} still runs after {within:?}", self.name)).success()
    }

    /// Resident memory, bytes.
    pub fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("has memory");
        line.split_whitespace().next().expect("a number").parse::<u64>().expect("kB") * 1024
    }

    /// Processor time used so far, by it and by its children that have ended.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("runs");
        let fields: Vec<&str> =
            stat.rsplit_once(')').expect("has a name").1.split_whitespace().collect();
        // utime, stime, cutime, cstime
        let ticks: u64 =
            fields[11..15].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum();
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _already_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}

fn on_core<S: AsRef<OsStr>>(core: usize, program: &Path, args: &[S]) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program).args(args);
    command
}

fn appending(log: &Path) -> File {
    File::options().create(true).append(true).open(log).expect("a log file")
}

/// Most resident memory of a process so far, bytes; `None` when it has ended.
pub fn rss_most_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Asks again and again until there is an answer.
pub fn eventually<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = ask() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
