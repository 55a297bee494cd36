//! Configurations that are fine, and what is said of others.

use super::*;

const PLAN: &str = "probes:\n  - {name: p, http: {url: https://a.example/}, every: 30s}\n";

const FRAME: &str = "version: 1\nkind: sla\nlevel: customer\ntitle: T\nparties: {provider: {name: P}, customer: {name: C}}\n\
    time_zone: UTC\ncurrency: EUR\nterm: {from: 2026-01-01, until: 2027-01-01}\nperiod: month\nservices: {web: {}}\n";

fn load(text: &str) -> Result<Config, ConfigError> {
    load_in(&tempfile::tempdir().expect("a folder"), text)
}

fn load_in(folder: &tempfile::TempDir, text: &str) -> Result<Config, ConfigError> {
    std::fs::write(folder.path().join("plan.yaml"), PLAN).expect("writes");
    std::fs::write(folder.path().join("broken.yaml"), "agreement: A\n").expect("writes");
    let record = "exclusions:\n  - {from: 2026-04-01T00:00:00Z, until: 2026-04-02T00:00:00Z, reason: customer, objectives: [NAME]}\n";
    for (file, name) in [("x.yaml", "up"), ("wrong.yaml", "down")] {
        let text = record.replace("NAME", name);
        std::fs::write(folder.path().join(file), text).expect("writes");
    }
    for (file, keys) in [
        (
            "all.yaml",
            "agreement: all\nobjectives:\n  up: {service: web, probe: p, measure: success, target: \">= 99%\"}\n",
        ),
        ("acme.yaml", "agreement: acme\nparent: all\nobjectives: {}\n"),
    ] {
        std::fs::write(folder.path().join(file), format!("{FRAME}{keys}")).expect("writes");
    }
    let path = folder.path().join("collector.yaml");
    std::fs::write(&path, text).expect("writes");
    Config::load(&path)
}

#[test]
fn the_least_is_enough() {
    let config = load("state_dir: state\nplan: plan.yaml\n").expect("is fine");
    assert_eq!((config.listen, config.portal, config.window_s), (LISTEN, PORTAL, 60));
    assert!(config.state_dir.is_absolute(), "relative to the file");
    assert_eq!(config.plan.probes.len(), 1);
}

#[test]
fn all_problems_of_all_files_at_once() {
    let text = "listen: 0.0.0.0:1\nportal: 10.0.0.1:2\nwindow: 45s\nplan: none.yaml\nagreements: [{file: broken.yaml, signed: true}, {file: broken.yaml}]\ncolour: red\n";
    let error = load(text).expect_err("refused").to_string();
    for code in [
        "needs-tls",
        "needs-portal-public",
        "bad-value",
        "unreadable-file",
        "unknown-key",
        "missing-key",
    ] {
        assert!(error.contains(code), "{code} in {error}");
    }
}

#[test]
fn an_agreement_may_inherit_from_another_one_here() {
    let base = "state_dir: s\nplan: plan.yaml\n";
    let config = load(&format!("{base}agreements: [{{file: acme.yaml}}, {{file: all.yaml}}]\n"))
        .expect("is fine");
    let names = config.agreements.iter().map(|signed| {
        let objectives = signed.agreement.objectives().iter();
        (signed.agreement.id().as_str(), objectives.map(|one| one.name.as_str()).collect())
    });
    let names: Vec<(&str, Vec<&str>)> = names.collect();
    assert_eq!(names, [("acme", vec!["up"]), ("all", vec!["up"])]);
    let alone =
        load(&format!("{base}agreements: [{{file: acme.yaml}}]\n")).expect_err("has no parent");
    assert!(alone.to_string().contains("unknown-parent"), "{alone}");
    let twice = load(&format!("{base}agreements: [{{file: all.yaml}}, {{file: all.yaml}}]\n"));
    assert!(twice.expect_err("twice").to_string().contains("duplicate-name"));
}

#[test]
fn excluded_time_is_read_for_its_agreement() {
    let base = "state_dir: s\nplan: plan.yaml\nagreements: [{file: all.yaml, exclusions: FILE}]\n";
    let of = |file: &str| load(&base.replace("FILE", file));
    let config = of("x.yaml").expect("is fine");
    let file = config.agreements[0].exclusions.as_ref().expect("has a file");
    assert_eq!(file.records.iter().count(), 1);
    let wrong = of("wrong.yaml").expect_err("refused").to_string();
    assert!(wrong.contains("wrong.yaml:2:") && wrong.contains("unknown-objective"), "{wrong}");
    assert!(of("none.yaml").expect_err("refused").to_string().contains("unreadable-file"));
}

#[test]
fn a_broken_file_of_excluded_time_does_not_keep_a_collector_from_starting_that_knows_the_last_good_one()
 {
    let text = "state_dir: s\nplan: plan.yaml\nagreements: [{file: all.yaml, exclusions: FILE}]\n";
    let folder = tempfile::tempdir().expect("a folder");
    let of = |name: &str| load_in(&folder, &text.replace("FILE", name));
    of("wrong.yaml").expect_err("there is nothing to stand on");
    let good = of("x.yaml").expect("is fine").agreements.remove(0).exclusions.expect("has a file");
    assert_eq!(good.problem, None);
    good.keep(&std::fs::read_to_string(&good.path).expect("reads")).expect("writes");
    for (name, what) in [("wrong.yaml", "unknown-objective"), ("none.yaml", "none.yaml")] {
        let broken = of(name).expect("starts").agreements.remove(0).exclusions.expect("has a file");
        assert_eq!(broken.records, good.records);
        assert!(broken.problem.as_ref().is_some_and(|said| said.contains(what)), "{broken:?}");
    }
}

#[test]
fn what_reaches_beyond_this_machine_is_said_explicitly() {
    let base = "state_dir: s\nplan: plan.yaml\n";
    let tls = "tls: {ca: a, cert: b, key: c}\n";
    assert!(load(&format!("{base}listen: '[::]:7400'\n{tls}")).is_ok());
    assert!(load(&format!("{base}portal: 0.0.0.0:80\n{tls}")).is_err());
    assert!(load(&format!("{base}portal: 0.0.0.0:80\nportal_public: true\n")).is_ok());
}
