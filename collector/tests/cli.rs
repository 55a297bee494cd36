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
    evaluate_of("evaluate/agreement.yaml", more)
}

fn evaluate_of(agreement: &str, more: &[&str]) -> Output {
    evaluate_from(agreement, "evaluate/windows.jsonl", more)
}

fn evaluate_from(agreement: &str, windows: &str, more: &[&str]) -> Output {
    let (agreement, windows) = (fixture(agreement), fixture(windows));
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

/// The day's figures are recomputed from the file's samples in [`response_times_are_those_of_the_file`].
#[test]
fn response_times_are_kept_or_broken() {
    let day = ["--period", "2026-03-29", "--signed"];
    let open = [&day[..], &["--as-of", "2026-03-29T12:00:00+02:00"]].concat();
    for (args, name) in [(&day[..], "response"), (&open[..], "response-live")] {
        let text = evaluate_of("evaluate/response.yaml", args);
        assert_eq!(text.status.code(), Some(0), "{}", String::from_utf8_lossy(&text.stderr));
        assert_kept(&format!("evaluate/expected-{name}.txt"), &text.stdout);
        let json = evaluate_of("evaluate/response.yaml", &[args, &["--format", "json"]].concat());
        assert_kept(&format!("evaluate/expected-{name}.json"), &json.stdout);
    }
}

fn voice(more: &[&str]) -> Output {
    let day = ["--period", "2026-04-01", "--signed"];
    evaluate_from("evaluate/voice.yaml", "evaluate/voice.jsonl", &[&day[..], more].concat())
}

/// The day's figures are recomputed from the file in [`ratios_and_values_are_those_of_the_file`].
#[test]
fn ratios_and_values_are_kept_or_broken() {
    let open = ["--as-of", "2026-04-01T12:00:00+02:00"];
    for (args, name) in [(&[][..], "voice"), (&open[..], "voice-live")] {
        let text = voice(args);
        assert_eq!(text.status.code(), Some(0), "{}", String::from_utf8_lossy(&text.stderr));
        assert_kept(&format!("evaluate/expected-{name}.txt"), &text.stdout);
        let json = voice(&[args, &["--format", "json"]].concat());
        assert_kept(&format!("evaluate/expected-{name}.json"), &json.stdout);
    }
}

/// What the believed cells of the file say, added up: counters by name, attempts, and values by name.
type Told = (std::collections::BTreeMap<String, u64>, u64, [Vec<u64>; 2]);

fn told(file: &str, agent: Option<&str>) -> Told {
    let (mut counters, mut attempts) = (std::collections::BTreeMap::new(), 0);
    let (mut values, mut seen) = ([Vec::new(), Vec::new()], std::collections::BTreeSet::new());
    for line in file.lines().filter(|line| seen.insert(*line)) {
        let cell: serde_json::Value = serde_json::from_str(line).expect("JSON");
        if cell.get("flags").is_some() || agent.is_some_and(|agent| cell["agent"] != agent) {
            continue;
        }
        let numbers = |node: &serde_json::Value| -> Vec<(String, u64)> {
            let entries = node.as_object().into_iter().flatten();
            entries.map(|(name, count)| (name.clone(), count.as_u64().expect("a count"))).collect()
        };
        for (name, count) in numbers(&cell["counters"]) {
            *counters.entry(name).or_default() += count;
        }
        let failed: u64 = numbers(&cell["failed"]).into_iter().map(|(_, count)| count).sum();
        attempts += cell["ok"].as_u64().expect("a count") + failed;
        for (all, name) in values.iter_mut().zip(["loss_ppm", "mos_centi"]) {
            let samples = cell["values"][name]["n"].as_array().expect("a list");
            all.extend(samples.iter().filter_map(serde_json::Value::as_u64));
        }
    }
    values.iter_mut().for_each(|all| all.sort_unstable());
    (counters, attempts, values)
}

#[test]
fn ratios_and_values_are_those_of_the_file() {
    let file = std::fs::read_to_string(fixture("evaluate/voice.jsonl")).expect("kept");
    let found = voice(&["--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let exact = |name: &str| {
        let all = json["objectives"].as_array().expect("a list");
        let objective = all.iter().find(|objective| objective["name"] == name).expect("is there");
        objective["exact"].as_str().unwrap_or("none").to_owned()
    };
    let (counters, attempts, [losses, scores]) = told(&file, None);
    let counted = |name: &str| counters.get(name).copied().unwrap_or_default();
    let sessions = counted("call_attempts") - counted("redirected");
    assert_eq!(exact("established"), format!("{}/{sessions}", counted("established")));
    assert_eq!(exact("effective"), format!("{}/{sessions}", counted("effective")));
    let completed = format!("{}/{}", counted("completed"), counted("call_attempts"));
    assert_eq!(exact("completed"), completed);
    assert_eq!(exact("registered"), "none", "nobody registered");
    // Of the worst agent.
    let worst = ["berlin-1", "oslo-1"].map(|agent| {
        let (counters, _, _) = told(&file, Some(agent));
        (counters["ineffective"], counters["call_attempts"])
    });
    let worst = worst.iter().max_by_key(|(bad, all)| bad * 1_000_000 / all).expect("two");
    assert_eq!(exact("ineffective"), format!("{}/{}", worst.0, worst.1));

    let mean = |all: &[u64]| format!("{}/{}", all.iter().sum::<u64>(), all.len());
    assert_eq!((exact("lost"), exact("clear")), (mean(&losses), mean(&scores)));
    let at_least = |least: u64| scores.iter().filter(|score| **score >= least).count();
    assert_eq!(exact("clear-share"), format!("{}/{attempts}", at_least(400)));
    // An ok call without a MOS counts all the same, and is not good.
    let established = counted("established");
    assert!(scores.len() < losses.len() && losses.len() as u64 == established);
    assert_eq!(exact("mostly-clear"), format!("{}/{established}", at_least(435)));
    let low = losses.iter().filter(|loss| **loss <= 10_000).count();
    assert_eq!(exact("losing"), format!("{low}/{attempts}"));
}

/// Attempts of the file that no objective finds in Down time, with the samples of the ok ones.
fn samples(file: &str, during: bool) -> (u64, Vec<u64>, Vec<String>) {
    let (mut attempts, mut all, mut agents) = (0, Vec::new(), Vec::new());
    let mut seen = std::collections::BTreeMap::new();
    for line in file.lines() {
        let cell: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let key = (cell["agent"].to_string(), cell["start"].to_string());
        seen.entry(key).or_insert_with(Vec::new).push(cell);
    }
    let down = "2026-03-29T09:00:00Z".."2026-03-29T09:45:00Z";
    let day = "2026-03-28T23:00:00Z".."2026-03-29T22:00:00Z";
    for cells in seen.into_values() {
        let (cell, start) = (&cells[0], cells[0]["start"].as_str().expect("text"));
        let conflicts = cells.iter().any(|other| other != cell);
        let flagged = cell["flags"].as_array().is_some_and(|flags| !flags.is_empty());
        let spared = during && down.contains(&start);
        if conflicts || flagged || spared || !day.contains(&start) {
            continue;
        }
        let failed = cell["failed"]
            .as_object()
            .map_or(0, |failed| failed.values().filter_map(serde_json::Value::as_u64).sum());
        attempts += cell["ok"].as_u64().expect("a number") + failed;
        let ns = cell["phases"]["total"]["ns"].as_array().cloned().unwrap_or_default();
        all.extend(ns.iter().filter_map(serde_json::Value::as_u64));
        agents.extend(ns.iter().map(|_| cell["agent"].as_str().expect("text").to_owned()));
    }
    (attempts, all, agents)
}

#[test]
fn response_times_are_those_of_the_file() {
    let file = std::fs::read_to_string(fixture("evaluate/windows.jsonl")).expect("kept");
    let args = ["--period", "2026-03-29", "--signed", "--format", "json"];
    let found = evaluate_of("evaluate/response.yaml", &args);
    let json: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let objective = |name: &str| {
        let all = json["objectives"].as_array().expect("a list");
        all.iter().find(|objective| objective["name"] == name).expect("is there").clone()
    };
    for (name, during, within_ns, per_cent) in
        [("quick", true, 1_000_000_000, 95), ("mostly", false, 1_999_999_999, 99)]
    {
        let (attempts, ns, _) = samples(&file, during);
        let good = ns.iter().filter(|ns| **ns <= within_ns).count() as u64;
        let needed = (attempts * per_cent).div_ceil(100);
        let judged = objective(name);
        assert_eq!(judged["exact"], format!("{good}/{attempts}"), "{name}");
        assert_eq!(judged["needed"], needed, "{name}");
        assert_eq!(judged["status"], if good >= needed { "met" } else { "breached" });
    }
    let (_, ns, agents) = samples(&file, true);
    let of = |agent: &str| {
        let own = ns.iter().zip(&agents).filter(|(_, owner)| *owner == agent);
        own.fold((0, 0), |(sum, count), (ns, _)| (sum + ns, count + 1))
    };
    let judged = objective("mean");
    let (sum, count) = of(judged["agent"].as_str().expect("the worst agent"));
    assert_eq!(judged["exact"], format!("{sum}/{count}"));
    for agent in &agents {
        let (other_sum, other_count) = of(agent);
        assert!(other_sum * count <= sum * other_count, "{agent} is no worse");
    }
}

/// Evidence in one file, or each line in any of three.
#[test]
fn how_windows_are_spread_over_files_does_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = std::fs::read_to_string(fixture("evaluate/windows.jsonl")).expect("kept");
    let mut parts = [const { String::new() }; 3];
    for (index, line) in file.lines().rev().enumerate() {
        parts[index % 3].push_str(&format!("{line}\n"));
    }
    let agreement = fixture("evaluate/response.yaml");
    let mut args = vec!["evaluate".to_owned(), "--agreement".to_owned()];
    args.push(agreement.display().to_string());
    for (index, part) in parts.iter().enumerate() {
        let path = folder.path().join(format!("{index}.jsonl"));
        std::fs::write(&path, part).expect("written");
        args.extend(["--windows".to_owned(), path.display().to_string()]);
    }
    let question = ["--period", "2026-03-29", "--signed", "--format", "json"];
    args.extend(question.map(str::to_owned));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let whole = evaluate_of("evaluate/response.yaml", &question);
    assert_eq!(text(&run(&args).stdout), text(&whole.stdout));
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
        (vec!["--period", "2026-03-29", "--exclusions", "/nonexistent"], "cannot be read"),
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

fn published(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agreements").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn published_agreements_are_read_aloud() {
    for (name, format, ending) in [
        ("google-bigtable", "text", "txt"),
        ("internet-t1", "text", "txt"),
        ("level3-delay", "text", "txt"),
        ("level3-delay", "markdown", "md"),
        ("uk-call-off", "json", "json"),
    ] {
        let file = published(&format!("{name}.yaml"));
        let found = run(&["contract", "show", &file, "--format", format]);
        assert_eq!((found.status.code(), text(&found.stderr)), (Some(0), ""), "{name}");
        assert_kept(&format!("contract/shown/{name}.{ending}"), &found.stdout);
    }
}

/// What is wrong is said as `contract check` says it, and nothing is shown.
#[test]
fn only_what_is_right_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let good = std::fs::read_to_string(fixture("contract/good.yaml")).expect("kept");
    let (bad, unreadable) = (path("bad.yaml"), path("unreadable.yaml"));
    std::fs::write(&bad, good.replace("period: month", "period: fortnight")).expect("written");
    std::fs::write(&unreadable, b"agreement: \xff\n").expect("written");
    for file in [&bad, &unreadable] {
        for format in ["text", "json"] {
            let checked = run(&["contract", "check", file, "--format", format]);
            let shown = run(&["contract", "show", file, "--format", format]);
            assert_eq!(shown.status.code(), Some(1), "{file}");
            assert_eq!(text(&shown.stdout), text(&checked.stdout), "{file}");
            assert_eq!(text(&shown.stderr), text(&checked.stderr), "{file}");
        }
    }
    assert_eq!(run(&["contract", "show", &path("nonexistent.yaml")]).status.code(), Some(2));
    let child = good.replace("kind: sla", "kind: sla\nparent: voxtel-all");
    std::fs::write(&bad, child).expect("written");
    let found = run(&["contract", "show", &bad]);
    assert_eq!(found.status.code(), Some(1));
    assert!(text(&found.stderr).contains("unknown-parent"), "{}", text(&found.stderr));
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

#[test]
fn what_is_not_asked_together_is_refused() {
    let key = ["0123"; 8].join("-");
    for (args, why) in [
        (&["verify", "--signed-from", "6"][..], "--key <FINGERPRINT>"),
        (&["verify", "--key", key.as_str(), "--signed-from", "0"], "--signed-from <SEQ>"),
        (&["report", "--agreement", "a", "--from-records", "--revisions"], "cannot be used with"),
    ] {
        let refused = run(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(text(&refused.stderr).contains(why), "{args:?}: {}", text(&refused.stderr));
    }
    // Each command's help names the other's way to doubt the store.
    let help = |command: &str| text(&run(&[command, "--help"]).stdout).to_owned();
    assert!(help("verify").contains("--signed-from") && help("verify").contains("--from-records"));
    assert!(help("report").contains("--from-records"));
}
