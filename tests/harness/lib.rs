//! What suites share: real programs in folders of their own, and readers that know nothing of the code under test but
//! its formats.

pub mod attempts;
pub mod baresip;
pub mod browser;
pub mod capture;
pub mod command;
pub mod disks;
pub mod dnsmasq;
pub mod evidence;
pub mod fleet;
pub mod floods;
pub mod frames;
pub mod history;
pub mod journal;
pub mod kamailio;
pub mod namespace;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod relay;
pub mod secure;
pub mod sip_caller;
pub mod sip_hostile;
pub mod sip_relay;
pub mod sipp;
pub mod target;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A test that cannot run here: prints what it needs, and counts as skipped.
pub fn skip(test: &str, needs: &str) {
    let line = format!("skipped: needs {needs} ({test})");
    println!("{line}");
    if let Some(path) = std::env::var_os("PROBEFLEET_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .expect("the list of skipped tests is writable");
    }
}

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

/// A program of this workspace, built in the profile of the tests.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        // …/target/PROFILE/deps/test or …/target/PROFILE/bench
        let mut dir = std::env::current_exe().expect("tests know their file");
        dir.pop();
        if dir.ends_with("deps") {
            dir.pop();
        }
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.current_dir(root()).args(["build", "--quiet"]);
        // What cargo tells this test about itself would pass for a change to whatever asks for it when it is built (ring),
        // and all would be built again.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        if dir.ends_with("release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success(), "the programs build");
        dir
    });
    dir.join(name)
}

/// Whether a program of Debian is installed.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
