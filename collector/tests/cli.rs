//! The command line, as its users and their scripts see it.

#![expect(clippy::expect_used, reason = "this file is a test, its helpers included")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probefleet-collector")).args(args).output().expect("runs")
}

fn evaluate(more: &[&str]) -> Output {
    let (agreement, windows) =
        (fixture("evaluate/agreement.yaml"), fixture("evaluate/windows.jsonl"));
    let (agreement, windows) =
        (agreement.to_str().expect("UTF-8"), windows.to_str().expect("UTF-8"));
    let mut args = vec!["evaluate", "--agreement", agreement, "--windows", windows];
    args.extend(more);
    run(&args)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Compares with a file that is kept; `KEEP=1` writes it anew, to be read before it is committed.
fn assert_kept(name: &str, found: &[u8]) {
    let path = fixture(name);
    if std::env::var_os("KEEP").is_some() {
        std::fs::write(&path, found).expect("written");
    }
    let kept = std::fs::read(&path).expect("kept");
    assert_eq!(text(found), text(&kept), "{name}");
}

#[test]
fn the_same_bytes_in_give_the_same_bytes_out() {
    let json = ["--period", "2026-03-29", "--signed", "--format", "json"];
    let first = evaluate(&json);
    assert_eq!((first.status.code(), text(&first.stderr)), (Some(0), ""));
    assert_eq!(first.stdout, evaluate(&json).stdout);
    assert_kept("evaluate/expected.json", &first.stdout);
}

#[test]
fn people_read_text() {
    let found = evaluate(&["--period", "2026-03-29", "--signed"]);
    assert_eq!(found.status.code(), Some(0));
    assert_kept("evaluate/expected.txt", &found.stdout);
}

#[test]
fn an_open_period_has_live_statuses() {
    let as_of = "2026-03-29T12:00:00+02:00";
    let found =
        evaluate(&["--period", "2026-03-29", "--signed", "--format", "json", "--as-of", as_of]);
    assert_kept("evaluate/expected-live.json", &found.stdout);
}

#[test]
fn one_objective_can_be_shown() {
    let found = evaluate(&["--period", "2026-03-29", "--format", "json", "--objective", "fast"]);
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let names: Vec<&str> = json["objectives"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|o| o["name"].as_str())
        .collect();
    assert_eq!(names, ["fast"]);
}

#[test]
fn bad_input_is_exit_2_and_says_why() {
    for (more, expected) in [
        (vec!["--period", "2026-03"], "no objective of `acme-portal` has the period `2026-03`"),
        (vec!["--period", "2026-W13"], "has the period `2026-W13`: a week"),
        (vec!["--period", "yesterday"], "`yesterday` is no period"),
        (vec!["--period", "2026-03-29", "--as-of", "noon"], "--as-of `noon`"),
        (
            vec!["--period", "2026-03-29", "--objective", "slow"],
            "the agreement has available, fast, answered",
        ),
        (vec!["--period", "2026-03-29", "--exclusions", "x.yaml"], "not-supported-yet"),
        (vec!["--period", "2026-03-29", "--windows", "/nonexistent"], "cannot be read"),
        (vec![], "--period"),
    ] {
        let found = evaluate(&more);
        assert_eq!(found.status.code(), Some(2), "{more:?}");
        assert!(text(&found.stderr).contains(expected), "{more:?}: {}", text(&found.stderr));
        assert!(found.stdout.is_empty());
    }
}

#[test]
fn a_bad_line_names_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.jsonl");
    std::fs::write(&path, "{}\n").expect("written");
    let found = evaluate(&["--period", "2026-03-29", "--windows", path.to_str().expect("UTF-8")]);
    assert_eq!(found.status.code(), Some(2));
    assert!(
        text(&found.stderr).contains("w.jsonl:1: bad-value: missing field"),
        "{}",
        text(&found.stderr)
    );
}

#[test]
fn check_is_0_for_clean_and_1_for_errors() {
    let good = fixture("contract/good.yaml");
    let found = run(&["contract", "check", good.to_str().expect("UTF-8")]);
    assert_eq!((found.status.code(), text(&found.stderr)), (Some(0), ""));
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad.yaml");
    let words = std::fs::read_to_string(&good).expect("kept").replace(">= 99.95%", ">= 100.5%");
    std::fs::write(&bad, words).expect("written");
    let found = run(&["contract", "check", bad.to_str().expect("UTF-8")]);
    assert_eq!(found.status.code(), Some(1));
    assert!(
        text(&found.stderr).contains("bad.yaml:25:13: percent-over-100: "),
        "{}",
        text(&found.stderr)
    );
    let found = run(&["contract", "check", "--format", "json", bad.to_str().expect("UTF-8")]);
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert_eq!(
        (json["errors"][0]["line"].as_u64(), json["errors"][0]["code"].as_str()),
        (Some(25), Some("percent-over-100"))
    );
    assert_eq!(run(&["contract", "check", "/nonexistent.yaml"]).status.code(), Some(2));
    assert_eq!(run(&["contract", "check"]).status.code(), Some(2));
}

#[test]
fn warnings_are_on_stderr_and_exit_0() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.yaml");
    let words = std::fs::read_to_string(fixture("contract/good.yaml")).expect("kept");
    std::fs::write(&path, words.replace("kind: sla", "kind: ola")).expect("written");
    let found = run(&["contract", "check", path.to_str().expect("UTF-8")]);
    assert_eq!(found.status.code(), Some(0));
    assert!(text(&found.stderr).contains("credit-cannot-occur"), "{}", text(&found.stderr));
}

#[test]
fn init_writes_an_agreement_that_passes_its_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let (plan, out) = (folder.path().join("plan.yaml"), folder.path().join("a.yaml"));
    let (plan, out) = (plan.to_str().expect("UTF-8"), out.to_str().expect("UTF-8"));
    std::fs::write(
        plan,
        "probes:\n  - {name: web, http: {url: 'https://a.example/'}, every: 30s}\n",
    )
    .expect("written");
    let found = run(&["contract", "init", "--plan", plan, "--out", out]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    let found = run(&["contract", "check", "--plan", plan, out]);
    assert_eq!(found.status.code(), Some(0), "{}", text(&found.stderr));
    let found = run(&["contract", "init", "--plan", plan, "--out", out]);
    assert_eq!(found.status.code(), Some(2), "an agreement is never overwritten");
    assert_eq!(
        text(&run(&["contract", "init", "--plan", plan]).stdout),
        std::fs::read_to_string(out).expect("written")
    );
}
