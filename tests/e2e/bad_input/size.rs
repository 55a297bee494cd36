//! Files that are too large, or would grow: refused at once.

use super::{REFUSED_WITHIN, at, folder, write};
use harness::command::listing;
use std::path::Path;
use std::time::Duration;

/// Longest time for a file just below the limit that has to be read to its end: it takes half a second, on a machine
/// that does nothing else.
const READ_WITHIN: Duration = Duration::from_secs(4);
/// A command that reads a file, the file, and the exit code that refuses it.
const READERS: [(&str, &str, i32); 6] = [
    ("plan.yaml", "probefleet-agent try --check plan.yaml", 2),
    ("plan.yaml", "probefleet-collector run --config collector.yaml", 2),
    ("policy.yaml", "probefleet-agent run --config agent.yaml", 2),
    ("agent.yaml", "probefleet-agent run --config agent.yaml", 2),
    ("collector.yaml", "probefleet-collector run --config collector.yaml", 2),
    ("agreement.yaml", "probefleet-collector contract check agreement.yaml", 1),
];

/// Files that no reader takes, and how soon each must be refused.
fn files() -> Vec<(&'static str, String, Duration)> {
    let mebibytes = |text: &str, size: usize| text.repeat((size << 20) / text.len());
    let laughs: String = (1..10)
        .map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", ")))
        .collect();
    let too_large = [
        ("ten megabytes of text", "a".repeat(10_000_000)),
        ("ten megabytes of keys", (0..700_000).map(|n| format!("key-{n}: {n}\n")).collect()),
        // Cut inside a character, so that it is no text up to the limit.
        ("ten megabytes of wide letters", format!("a{}", "ä".repeat(5_000_000))),
    ];
    let wicked = [
        ("a billion laughs", format!("l0: &l0 lol\n{laughs}")),
        ("deep lists", "[".repeat(1 << 20)),
        ("deep mappings", mebibytes("{a: ", 1)),
        ("deep blocks", mebibytes("- ", 1)),
    ];
    let long = [
        ("many empty items", format!("probes:\n{}", mebibytes("  - {}\n", 3))),
        ("many keys", (0..250_000).map(|n| format!("k{n}: 1\n")).collect()),
        ("many equal keys", mebibytes("a: 1\n", 3)),
        ("one long line", format!("a: [{}]\n", mebibytes("b, ", 3))),
        ("no end of a quote", format!("a: \"{}", mebibytes("b\\n", 3))),
    ];
    let at_once = too_large.into_iter().chain(wicked).map(|file| (file, REFUSED_WITHIN));
    let files = at_once.chain(long.map(|file| (file, READ_WITHIN)));
    files.map(|((what, text), within)| (what, text, within)).collect()
}

#[test]
fn large_and_wicked_files_are_refused_at_once() {
    let files = files();
    let mut slowest = (Duration::ZERO, "", "");
    for (file, line, code) in READERS {
        let dir = folder();
        for (what, text, within) in &files {
            write(dir.path(), file, text.as_bytes());
            let before = listing(dir.path());
            let ran = at(dir.path(), line);
            let said: String = ran.stderr.chars().take(300).collect();
            assert_eq!(ran.code, Some(code), "{what}: `{line}`: {said}");
            assert!(ran.stderr.contains(&format!("{file}:")), "{what}: `{line}`: {said}");
            assert!(ran.stderr.len() < 64 << 10, "{what}: `{line}` says {} B", ran.stderr.len());
            assert!(ran.took < *within, "{what}: `{line}` took {:?}", ran.took);
            assert_eq!(listing(dir.path()), before, "{what}: `{line}` has changed something");
            slowest = slowest.max((ran.took, what, line));
        }
    }
    let endless = at(Path::new("/"), "probefleet-agent try --check /dev/zero");
    assert_eq!(endless.code, Some(2), "{}", endless.stderr);
    assert!(endless.took < REFUSED_WITHIN, "an endless file took {:?}", endless.took);
    println!("{} refusals, the slowest {slowest:?}", files.len() * READERS.len());
}
