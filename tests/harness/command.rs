//! Commands that end by themselves, and the folders that they run in.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A user without rights: `nobody` of every Debian.
const NOBODY: u32 = 65_534;

/// What a command left behind.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs a command to its end, or fails when it takes too long.
pub fn run(command: &mut Command, input: &str, within: Duration) -> Ran {
    let file = |text: &str| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes())
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .expect("writes");
        file
    };
    let (stdin, mut stdout, mut stderr) = (file(input), file(""), file(""));
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::from(stdin))
        .stdout(stdout.try_clone().expect("a second handle"))
        .stderr(stderr.try_clone().expect("a second handle"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let status = crate::process::eventually(within, || child.try_wait().expect("a child"));
    let took = began.elapsed();
    let read = |file: &mut std::fs::File| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).expect("reads");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (stdout, stderr) = (read(&mut stdout), read(&mut stderr));
    let Some(status) = status else {
        child.kill().and_then(|()| child.wait()).expect("is ours");
        panic!("{command:?} still runs after {within:?}:\n{stdout}{stderr}");
    };
    Ran { code: status.code(), stdout, stderr, took }
}

/// A command of the shell in a folder, which finds the programs of this workspace as a user would.
pub fn shell(dir: &Path, line: &str) -> Command {
    let programs = crate::program("");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)));
    let mut command = Command::new("/bin/bash");
    command.args(["-c", line]).current_dir(dir).env("PATH", path.expect("no colon in it"));
    // What a program keeps for its user is kept here.
    command.env("HOME", dir).env("XDG_STATE_HOME", dir.join("state-of-the-user"));
    command
}

/// A copy of a program that a user without rights can run, and how to run it as one.
pub struct Unprivileged {
    dir: tempfile::TempDir,
}

impl Unprivileged {
    /// A folder that belongs to that user.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let user = is_root().then_some(NOBODY);
        std::os::unix::fs::chown(dir.path(), user, user).expect("is ours to give");
        Self { dir }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of that user's.
    pub fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("writes");
        self.own(&path, mode);
        path
    }

    fn own(&self, path: &Path, mode: u32) {
        let user = is_root().then_some(NOBODY);
        std::os::unix::fs::chown(path, user, user).expect("is ours to give");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("is ours");
    }

    /// A program of this workspace, copied there and run by that user in that folder.
    pub fn command(&self, program: &str) -> Command {
        let copy = self.dir.path().join(program);
        if !copy.exists() {
            std::fs::copy(crate::program(program), &copy).expect("copies");
            self.own(&copy, 0o700);
        }
        let mut command = unprivileged(&copy);
        command.current_dir(self.dir.path());
        command
    }
}

/// A program, run by a user without rights.
pub fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
    setpriv.arg("--clear-groups").arg(program);
    setpriv
}

impl Default for Unprivileged {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether this process may do anything.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Everything in a folder: the path, mode, size and time of change of each entry.
pub fn listing(dir: &Path) -> BTreeMap<PathBuf, (u32, u64, i64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let metadata = path.symlink_metadata().expect("is there");
            let size = if metadata.is_dir() { 0 } else { metadata.size() };
            let changed_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path, (metadata.mode(), size, changed_ns));
        }
    }
    found
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copies");
        }
    }
}
