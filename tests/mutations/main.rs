//! Whatever reads the bytes of strangers, or the files that people give us, fed with changed ones: no panic, no hang, and no
//! more memory than a few messages take.
//!
//! The same functions run under libFuzzer (`tests/fuzz/`), which learns from what they do; here a fixed seed makes every
//! run the same, so that whoever changes a reader sees what broke. Longer with `--soak`.

mod mutator;

use harness::process::rss_most_bytes;
use harness::root;
use mutator::Mutator;
use probefleet_agent::fuzz;
use probefleet_collector::fuzz as files;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long each reader is fed, at least.
const WHILE: Duration = Duration::from_secs(10);
/// Likewise what reads the files of people, who are no strangers.
const WHILE_OF_FILES: Duration = Duration::from_secs(5);
/// Likewise with `--soak`.
const SOAK: Duration = Duration::from_secs(600);
/// Least inputs, however slow the machine is; unoptimised, each takes twenty times as long.
const LEAST: u64 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
/// Longest that one input may take: far more than the slowest does, unoptimised and on a busy machine.
const ONE_AT_MOST: Duration = Duration::from_secs(20);
/// Most memory that this process may have taken: the corpora and a few messages of 64 KiB are far less.
const MEMORY_MAX_BYTES: u64 = 128 << 20;

/// The messages of RFC 4475 and RFC 5118.
const TORTURE: &str = "agent/src/probe/sip/message/torture";

/// All files below a folder.
fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("is there").path())
        .collect();
    // The order of a folder is the file system's; a run is the same everywhere.
    entries.sort();
    let read = |path: &std::path::PathBuf| {
        if path.is_dir() { corpus(path) } else { vec![std::fs::read(path).expect("is read")] }
    };
    entries.iter().flat_map(read).collect()
}

/// Feeds a reader, first with what is sound, then with changes of it.
fn feed(name: &str, corpus: Vec<Vec<u8>>, least: u64, reader: fn(&[u8])) {
    feed_for(WHILE, name, corpus, least, reader);
}

/// Likewise, for so long.
fn feed_for(whole: Duration, name: &str, corpus: Vec<Vec<u8>>, least: u64, reader: fn(&[u8])) {
    assert!(!corpus.is_empty(), "{name} has something to begin with");
    corpus.iter().for_each(|bytes| reader(bytes));
    let mut mutator = Mutator::new(corpus);
    let soak = std::env::var_os("PROBEFLEET_SOAK").is_some();
    let (began, whole) = (Instant::now(), if soak { SOAK } else { whole });
    let (mut inputs, mut slowest) = (0, Duration::ZERO);
    while inputs < least || began.elapsed() < whole {
        let bytes = mutator.next();
        let one_began = Instant::now();
        if catch_unwind(|| reader(&bytes)).is_err() {
            let text = bytes.escape_ascii();
            panic!("{name} fails at input {inputs}, {} bytes: b\"{text}\"", bytes.len());
        }
        let took = one_began.elapsed();
        assert!(took <= ONE_AT_MOST, "{name} takes {took:?}: b\"{}\"", bytes.escape_ascii());
        slowest = slowest.max(took);
        inputs += 1;
    }
    let memory = rss_most_bytes(std::process::id()).expect("is running");
    println!(
        "{name}: {inputs} inputs in {:.1} s, the slowest in {slowest:.1?}, {} MiB",
        began.elapsed().as_secs_f64(),
        memory >> 20
    );
    assert!(memory <= MEMORY_MAX_BYTES, "{name} leaves {memory} bytes taken");
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    corpus(&root().join("tests/fuzz/seeds").join(name))
}

#[test]
fn messages() {
    feed("message", corpus(&root().join(TORTURE)), LEAST, fuzz::message);
}

#[test]
fn challenges() {
    feed("challenge", seeds("challenge"), LEAST / 10, fuzz::challenge);
}

#[test]
fn descriptions_of_media() {
    feed("sdp", seeds("sdp"), LEAST / 10, fuzz::sdp);
}

#[test]
fn streams() {
    feed("stream", seeds("stream"), LEAST / 10, fuzz::stream);
}

/// For readers to which any bytes mean something.
fn noise() -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..64).map(|_| (0..1_024).map(|_| random.u8(..)).collect()).collect()
}

#[test]
fn records_of_names() {
    feed("zone", noise(), LEAST / 20, fuzz::zone);
}

#[test]
fn attempts() {
    feed("attempt", noise(), LEAST / 100, fuzz::attempt);
}

#[test]
fn audio() {
    feed("media", [noise(), seeds("media")].concat(), LEAST / 10, fuzz::media);
}

#[test]
fn journals() {
    feed_for(WHILE_OF_FILES, "journal", seeds("journal"), LEAST / 10, fuzz::journal);
}

// === files that people give the collector ===

#[test]
fn agreements() {
    let fixture = |name| std::fs::read(root().join("collector/tests/fixtures/contract").join(name));
    let mut corpus = corpus(&root().join("deploy/agreements"));
    corpus.extend(["full.yaml", "good.yaml"].map(|name| fixture(name).expect("is read")));
    feed_for(WHILE_OF_FILES, "agreement", corpus, LEAST / 400, files::agreement);
}

#[test]
fn windows() {
    feed_for(WHILE_OF_FILES, "windows", seeds("windows"), LEAST / 400, files::windows);
}

#[test]
fn exclusions() {
    feed_for(WHILE_OF_FILES, "exclusions", seeds("exclusions"), LEAST / 400, files::exclusions);
}
