//! Disks of a test's own, to fill, to break and to cut off: the test runs once more, in a mount namespace that goes with it.

use crate::command::run;
use crate::process::eventually;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Says to a test that it is in its namespace.
const WITHIN: &str = "PROBEFLEET_TEST_DISKS";
/// How long such a test may take; with `--soak` it takes hours.
const ENDS: Duration = Duration::from_secs(300);
const SOAK_ENDS: Duration = Duration::from_secs(6 * 3_600);
/// How long a tool may take.
const TOOL: Duration = Duration::from_secs(20);

/// What a test mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory: any user may, where user namespaces are allowed.
    Tmpfs,
    /// A file system in a file (ext4, loop): root alone may.
    Ext4,
}

impl Kind {
    const fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Tmpfs => &["unshare", "mount"],
            Self::Ext4 => &["unshare", "mount", "mkfs.ext4", "e2fsck", "xfs_io"],
        }
    }

    const fn namespace(self) -> &'static [&'static str] {
        match self {
            Self::Tmpfs => &["--map-root-user", "--mount"],
            Self::Ext4 => &["--mount"],
        }
    }

    /// What is missing here for it.
    fn lacks(self) -> Option<String> {
        if let Some(tool) = self.tools().iter().find(|tool| !crate::has(tool)) {
            return Some(format!("{tool} (tests/run installs it)"));
        }
        if self == Self::Ext4 && !rustix::process::geteuid().is_root() {
            return Some("root (a file system of its own)".to_owned());
        }
        let right = run(Command::new("unshare").args(self.namespace()).arg("true"), "", TOOL);
        (right.code != Some(0)).then(|| "the right to make a mount namespace".to_owned())
    }
}

/// True in a namespace where the test may mount what it needs. Outside of it the test of that full name is run there first:
/// it fails here if it fails there, and has nothing more to do.
pub fn is_within(test: &str, kind: Kind) -> bool {
    if std::env::var_os(WITHIN).is_some_and(|within| within == test) {
        return true;
    }
    if let Some(needs) = kind.lacks() {
        crate::skip(test, &needs);
        return false;
    }
    // Built out here, where everything is at hand.
    crate::program("");
    let mut command = Command::new("unshare");
    command.args(kind.namespace()).args(["--propagation", "private"]);
    command.arg(std::env::current_exe().expect("tests know their file"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(WITHIN, test);
    let soak = std::env::var_os("PROBEFLEET_SOAK").is_some();
    let ran = run(&mut command, "", if soak { SOAK_ENDS } else { ENDS });
    // Moved to the right: it must not pass for a result of its own.
    for line in ran.stdout.lines().chain(ran.stderr.lines()) {
        println!("  {line}");
    }
    let passed = ran.stdout.lines().any(|line| line.starts_with("test result: ok. 1 passed"));
    assert!(ran.code == Some(0) && passed, "{test} with disks of its own: {:?}", ran.code);
    false
}

fn tool(program: &str, args: &[&str]) {
    let ran = run(Command::new(program).args(args), "", TOOL);
    assert_eq!(ran.code, Some(0), "{program} {args:?}: {}{}", ran.stdout, ran.stderr);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// A small file system in memory.
pub struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// Mounts one of that many MiB on a folder, which is made.
    pub fn mount(path: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        let size = format!("size={mib}m,mode=700");
        tool("mount", &["-t", "tmpfs", "-o", &size, "none", text(path)]);
        Self { path: path.to_owned() }
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        let zeros = [0; 4_096];
        while file.write_all(&zeros).is_ok() {}
    }

    /// Gives it back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("is there");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _gone_with_the_namespace = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// A file system in a file, such as a machine has.
pub struct Ext4 {
    image: PathBuf,
    path: PathBuf,
}

impl Ext4 {
    /// Makes one of 64 MiB in `image`, and mounts it on a folder, which is made. After an error it can only be read.
    pub fn make(image: &Path, path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        File::create(image).and_then(|file| file.set_len(64 << 20)).expect("an image");
        tool("mkfs.ext4", &["-q", "-F", text(image)]);
        let disk = Self { image: image.to_owned(), path: path.to_owned() };
        disk.mount();
        disk
    }

    fn mount(&self) {
        let options = "loop,errors=remount-ro";
        tool("mount", &["-o", options, text(&self.image), text(&self.path)]);
    }

    /// The power goes: what is not on the disk by now never will be. Nothing can be written or read any more.
    pub fn cut(&self) {
        tool("xfs_io", &["-x", "-c", "shutdown", text(&self.path)]);
    }

    /// The kernel finds an error, and lets nobody write any more (`errors=remount-ro`).
    pub fn becomes_read_only(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("is there");
        let path = text(&self.path);
        let ours = |line: &&str| line.split(' ').nth(1) == Some(path);
        let line = mounts.lines().rfind(ours).expect("is mounted");
        let device = line.split(' ').next().and_then(|device| device.strip_prefix("/dev/"));
        let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", device.expect("a device"));
        std::fs::write(trigger, "a test").expect("an error can be made");
    }

    /// The machine comes back: nobody may hold a file any more.
    pub fn comes_back(&self) {
        let away = || {
            let ran = run(Command::new("umount").arg(&self.path), "", TOOL);
            (ran.code == Some(0)).then_some(())
        };
        assert!(eventually(TOOL, away).is_some(), "{} is let go of", self.path.display());
        // As at boot: the journal is replayed, errors are mended (1: and were).
        let ran = run(Command::new("e2fsck").args(["-p", text(&self.image)]), "", TOOL);
        assert!(matches!(ran.code, Some(0 | 1)), "{}{}", ran.stdout, ran.stderr);
        self.mount();
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _gone_with_the_namespace = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
