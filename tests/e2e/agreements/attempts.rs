//! Measures by attempts: ranks, merged samples, failures.

use super::{Desk, Evidence, agreement, seconds};
use serde_json::{Value, json};

const START: &str = "2026-04-01T00:00:00+02:00";

/// What a cell says of so many ok attempts that all took so many milliseconds, and so many failed ones.
fn taken(groups: &[(usize, u64)], failed: usize) -> Value {
    let ns: Vec<u64> =
        groups.iter().flat_map(|(count, ms)| std::iter::repeat_n(ms * 1_000_000, *count)).collect();
    let failed = if failed > 0 { json!({"timeout": failed}) } else { json!({}) };
    json!({"ok": ns.len(), "failed": failed, "phases": {"total": {"ns": ns}}})
}

/// The verdict on a percentile of one cell an agent.
fn percentile(share: &str, cells: &[Value]) -> Value {
    let keys = format!(
        "measure: {{percentile: {share}, phase: total}}, target: \"<= 3s\", unknown: {{as: up}}"
    );
    let mut evidence = Evidence::new();
    for (number, says) in cells.iter().enumerate() {
        evidence.cell(&format!("agent-{number}"), seconds(START), says);
    }
    Desk::new(&agreement("", &[("fast", &keys)]), &evidence).first("--period 2026-04")
}

/// T12: ⌈q·n⌉ in whole numbers. A float has 999.0000000000001 for the 99.9th of a thousand.
#[test]
fn ranks_are_counted_in_whole_numbers() {
    for (share, attempts, rank) in [
        ("95%", 100, 95),
        ("95%", 60, 57),
        ("95%", 20, 19),
        ("95%", 1, 1),
        ("99%", 368, 365),
        ("99.9%", 1_000, 999),
        ("99.9%", 2_000, 1_998),
        ("7%", 100, 7),
        ("55%", 100, 55),
    ] {
        let found = percentile(share, &[taken(&[(attempts, 100)], 0)]);
        assert_eq!(found["needed"], rank, "{share} of {attempts}");
    }
}

/// T14: the 95th percentile of all attempts together, not the mean of the agents' own.
#[test]
fn samples_are_merged_and_percentiles_never_averaged() {
    let good =
        percentile("95%", &[taken(&[(949, 100), (51, 3_000)], 0), taken(&[(1_000, 100)], 0)]);
    let near = |found: &Value| {
        found["value"].as_str().expect("a value").split('.').next().expect("a number").to_owned()
    };
    assert_eq!((near(&good), &good["needed"]), ("100".to_owned(), &1_900.into()));
    let mut cells = vec![taken(&[(500, 100), (500, 5_000)], 0)];
    cells.extend((0..9).map(|_| taken(&[(10, 100)], 0)));
    let bad = percentile("95%", &cells);
    assert_eq!(
        (near(&bad), &bad["needed"], &bad["exact"]),
        ("5".to_owned(), &1_036.into(), &"590/1090".into())
    );
}

/// T37b: RFC 2681 §4.1, a lost packet takes longer than any other.
#[test]
fn a_failed_attempt_is_worse_than_any_other() {
    let stream = [(1, 100), (1, 110), (1, 90), (1, 500)];
    let value =
        |share, cell| percentile(share, &[cell])["value"].as_str().expect("a value").to_owned();
    assert!(value("50%", taken(&stream, 1)).starts_with("110."), "the third of five");
    assert_eq!(value("95%", taken(&stream, 1)), "timeout", "the fifth of five");
    assert!(value("50%", taken(&stream[..3], 1)).starts_with("100."), "the second of four");
}
