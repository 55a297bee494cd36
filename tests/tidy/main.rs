//! The house rules, as tests: what a reviewer should not have to look for.

use harness::root;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may stand at the top: a newcomer finds everything from here.
const TOP_LEVEL: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "agent",
    "collector",
    "deploy",
    "proto",
];
/// Lines of a Rust file: nine of ten stay below the first, all below the second.
const FILE_LINES: (usize, usize) = (450, 800);
/// Pure rooms: no clock, no randomness, no socket, no file.
const PURE: &[&str] = &[
    "agent/src/schedule.rs",
    "agent/src/window.rs",
    "agent/src/backoff.rs",
    "agent/src/probe/sip/call",
    "agent/src/probe/sip/caller.rs",
    "agent/src/probe/sip/digest",
    "agent/src/probe/sip/guard.rs",
    "agent/src/probe/sip/identity.rs",
    "agent/src/probe/sip/endpoint/stray.rs",
    "agent/src/probe/sip/framing.rs",
    "agent/src/probe/sip/fuzz/ledger.rs",
    "agent/src/probe/sip/inquiry.rs",
    "agent/src/probe/sip/locate.rs",
    "agent/src/probe/sip/media/machine.rs",
    "agent/src/probe/sip/media/quality.rs",
    "agent/src/probe/sip/media/receiver.rs",
    "agent/src/probe/sip/media/rtcp",
    "agent/src/probe/sip/media/rtp.rs",
    "agent/src/probe/sip/media/sequence.rs",
    "agent/src/probe/sip/media/tone.rs",
    "agent/src/probe/sip/message",
    "agent/src/probe/sip/options.rs",
    "agent/src/probe/sip/rate.rs",
    "agent/src/probe/sip/register",
    "agent/src/probe/sip/scenario.rs",
    "agent/src/probe/sip/sdp.rs",
    "agent/src/probe/sip/stamps.rs",
    "agent/src/probe/sip/timers.rs",
    "agent/src/probe/sip/transaction",
    "agent/src/probe/sip/transport.rs",
    "agent/src/probe/sip/uri.rs",
    "agent/src/probe/statuses.rs",
    "agent/src/respond/sip/answerer",
    "agent/src/respond/sip/behaviour.rs",
    "agent/src/respond/sip/call.rs",
    "agent/src/respond/sip/echo.rs",
    "agent/src/respond/sip/registrar.rs",
    "agent/src/respond/sip/request.rs",
    "agent/src/journal/entry.rs",
    "agent/src/runner/recovery.rs",
    "agent/src/uplink/session.rs",
    "collector/src/audit",
    "collector/src/contract",
    "collector/src/evidence.rs",
    "collector/src/sla",
    "collector/src/ingest/admission.rs",
    "collector/src/ingest/budget.rs",
    "collector/src/ingest/newcomers.rs",
    "collector/src/ingest/pace.rs",
    "collector/src/ingest/session.rs",
    "collector/src/timeline",
];
/// What a pure room must not mention.
const IMPURE: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "tokio::net",
    "tokio::fs",
    "Instant::now",
    "SystemTime::now",
    "unix_now_ns",
    "fastrand::Rng::new", // a seed is passed in
];
/// Licences that may be linked into what we hand out.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Every file that git knows, relative to the repository.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .output()
        .expect("git runs");
    let text = String::from_utf8(listed.stdout).expect("names are text");
    text.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let files =
        tracked().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    files
        .map(|path| (path.clone(), std::fs::read_to_string(root().join(path)).expect("is text")))
        .collect()
}

/// A file without its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn the_top_level_is_what_a_newcomer_expects() {
    let mut found = Vec::new();
    for path in tracked() {
        let top = path.iter().next().expect("not empty").to_string_lossy().into_owned();
        if !top.starts_with('.') && top != "tests" && !TOP_LEVEL.contains(&top.as_str()) {
            found.push(top);
        }
    }
    assert_none("entries that nobody would look for", &found);
}

#[test]
fn files_are_small() {
    let mut lengths: Vec<(usize, PathBuf)> =
        rust_files().into_iter().map(|(path, text)| (text.lines().count(), path)).collect();
    lengths.sort();
    let (ninth, longest) = FILE_LINES;
    let too_long: Vec<String> = lengths
        .iter()
        .filter(|(lines, _)| *lines > longest)
        .map(|(n, path)| format!("{n} {}", path.display()))
        .collect();
    assert_none("files with two subjects", &too_long);
    let at_p90 = &lengths[lengths.len() * 9 / 10];
    assert!(at_p90.0 <= ninth, "nine of ten files have at most {ninth} lines: {at_p90:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = rust_files()
        .into_iter()
        .filter(|(path, text)| !text.starts_with("//!") && !path.ends_with("tests.rs"));
    assert_none(
        "files without a word about themselves",
        &silent.map(|(p, _)| p.display().to_string()).collect::<Vec<_>>(),
    );
}

#[test]
fn pure_rooms_are_pure() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let name = path.to_string_lossy();
        if is_test(&path) || !PURE.iter().any(|pure| name.starts_with(pure)) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if IMPURE.iter().any(|word| code.contains(word)) {
                found.push(format!("{name}:{}: {}", number + 1, code.trim()));
            }
        }
    }
    assert_none("a clock, a socket, a file or randomness in a pure room", &found);
}

#[test]
fn verdicts_have_no_float() {
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let name = path.to_string_lossy();
        if is_test(&path)
            || !(name.starts_with("collector/src/contract")
                || name.starts_with("collector/src/sla"))
        {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.contains("f64") || code.contains("f32") {
                found.push(format!("{name}:{}: {}", number + 1, code.trim()));
            }
        }
    }
    assert_none("a float where money is decided", &found);
}

#[test]
fn rooms_use_only_what_they_may() {
    let forbidden = [
        ("proto/src", &["probefleet_agent::", "probefleet_collector::"][..]),
        ("agent/src", &["probefleet_collector::"]),
        ("collector/src", &["probefleet_agent::"]),
        (
            "collector/src/contract",
            &["crate::store", "crate::ingest", "crate::portal", "crate::evaluator"],
        ),
        (
            "collector/src/sla",
            &[
                "crate::store",
                "crate::ingest",
                "crate::portal",
                "crate::evaluator",
                "crate::timeline",
            ],
        ),
        (
            "collector/src/timeline",
            &["crate::store", "crate::ingest", "crate::portal", "crate::evaluator"],
        ),
        ("collector/src/ingest", &["crate::sla", "crate::portal", "crate::evaluator"]),
        (
            "collector/src/store",
            &["crate::sla", "crate::ingest", "crate::portal", "crate::evaluator"],
        ),
    ];
    let mut found = Vec::new();
    for (path, text) in rust_files() {
        let name = path.to_string_lossy().into_owned();
        for (room, others) in &forbidden {
            for other in others
                .iter()
                .filter(|other| name.starts_with(room) && without_tests(&text).contains(**other))
            {
                found.push(format!("{name} uses {other}"));
            }
        }
    }
    assert_none("arrows against the way of the data", &found);
}

#[test]
fn nothing_is_left_unfinished_or_private() {
    // Spelt apart, so that this file does not find itself.
    let words = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("FIX", "ME"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("index.", "crates.io"),
    ];
    let mut found = Vec::new();
    for path in tracked().into_iter().filter(|path| !path.ends_with("Cargo.lock")) {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for word in words.iter().filter(|word| text.contains(**word)) {
            found.push(format!("{}: {word}", path.display()));
        }
    }
    assert_none("unfinished, or a place of one machine", &found);
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("is JSON")
}

#[test]
fn dependencies_are_stable_and_permissive() {
    let metadata = metadata();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let (name, version) =
            (package["name"].as_str().unwrap_or(""), package["version"].as_str().unwrap_or(""));
        let licence = package["license"].as_str().unwrap_or("none");
        let permitted = |expression: &str| {
            let one = |licence: &str| LICENCES.contains(&licence.trim_matches(['(', ')', ' ']));
            expression.split(" AND ").all(|all| all.replace('/', " OR ").split(" OR ").any(one))
        };
        if version.contains('-') && version.split('+').next().is_some_and(|v| v.contains('-')) {
            found.push(format!("{name} {version} is no stable release"));
        }
        if !permitted(licence) {
            found.push(format!("{name} {version}: {licence}"));
        }
    }
    assert_none("dependencies that we cannot stand by", &found);
}

#[test]
fn ring_is_the_only_provider_of_cryptography() {
    let metadata = metadata();
    let names: Vec<&str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"] {
        assert!(
            !names.contains(&other),
            "{other} is linked: two providers in one program panic at run time"
        );
    }
    assert_eq!(names.iter().filter(|name| **name == "rustls").count(), 1, "one rustls");
}
