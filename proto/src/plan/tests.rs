use super::*;
use crate::label::Labels;
use std::collections::BTreeMap;

const PLAN: &str = "
probes:
  - name: portal-login
    http: {url: 'https://portal.example/login', expect: {status: [200-299], max_size: 1MiB}}
    every: 30s
    timeout: 10s
    agents: {site: [berlin, london]}
  - name: home
    http: {url: 'https://portal.example/'}
    every: 5s
";

fn problems(text: &str) -> Vec<String> {
    Plan::parse("plan.yaml", text).expect_err(text).to_string().lines().map(str::to_owned).collect()
}

#[test]
fn a_plan_is_read_with_its_defaults() {
    let plan = Plan::parse("plan.yaml", PLAN).expect("valid");
    let [login, home] = plan.probes.as_slice() else { panic!("two probes") };
    assert_eq!((login.kind.as_str(), login.schedule.every_s), ("http", 30));
    assert_eq!(login.schedule.timeout_ns, 10_000_000_000);
    assert_eq!(home.schedule.timeout_ns, 4_500_000_000, "9/10 of 5 s");
}

#[test]
fn every_problem_has_its_place_and_cure() {
    let text = "probes:\n  - name: A b\n    every: 0s\n    timeot: 3s\n  - name: x\n    every: 10s\n    timeout: 9.5s\n    http: {}\n  - {name: y, every: 10s, http: {}, sql: {}}\n";
    assert_eq!(
        problems(text),
        [
            "plan.yaml:2:5: missing-key: the probe does not say what it measures; add one block such as `http: {url: https://…}`",
            "plan.yaml:2:11: bad-name: `A b`; a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -",
            "plan.yaml:3:12: bad-value: `0s`; between 1s and 24h",
            "plan.yaml:4:5: unknown-key: `timeot` is not known here; known here: name, every, timeout, agents, and one block such as `http: {…}`",
            "plan.yaml:7:14: bad-value: timeout `9.5s` for a probe every 10s; at most 9/10 of `every` and 120s: up to 9s here",
            "plan.yaml:9:37: two-kinds: `sql` is a second block; one kind a probe",
        ]
    );
}

#[test]
fn names_differ() {
    let text = "probes:\n  - {name: x, every: 1s, http: {}}\n  - {name: x, every: 1s, http: {}}\n";
    assert!(problems(text)[0].contains("duplicate-name: probe `x`"), "{:?}", problems(text));
}

#[test]
fn an_agent_is_handed_its_part() {
    let plan = Plan::parse("plan.yaml", PLAN).expect("valid");
    let thresholds = BTreeMap::from([(
        "home".to_owned(),
        BTreeMap::from([("total".to_owned(), vec![2_000_000_000])]),
    )]);
    let tokyo = Labels::from([("site".to_owned(), "tokyo".to_owned())]);
    let handed = AgentPlan::hand_out(&plan, 60, &tokyo, &thresholds);
    let json = handed.to_canonical_json();
    assert_eq!(
        String::from_utf8(json.clone()).expect("text"),
        r#"{"probes":[{"at_most_ns":{"total":[2000000000]},"every":"5s","http":{"url":"https://portal.example/"},"name":"home","timeout":"4.5s"}],"version":1,"window_s":60}"#
    );
    let read = AgentPlan::from_canonical_json(&json).expect("reads its own");
    assert_eq!(read.to_canonical_json(), json);
    assert_eq!(read.probes[0].schedule, handed.probes[0].schedule);
}

#[test]
fn a_hostile_plan_is_refused() {
    for text in [
        "",
        "{}",
        "[1]",
        r#"{"probes":[],"version":2,"window_s":60}"#,
        r#"{"probes":[],"version":1,"window_s":61}"#,
        r#"{"version":1,"probes":[],"window_s":60}"#,
        r#"{"probes":[],"version":1,"window_s":60} "#,
        r#"{"probes":[{"at_most_ns":{},"every":"5s","name":"x"}],"version":1,"window_s":60}"#,
        // Two probes of one name would share their cells.
        r#"{"probes":[{"at_most_ns":{},"every":"5s","http":{},"name":"x","timeout":"1s"},{"at_most_ns":{},"every":"5s","http":{},"name":"x","timeout":"1s"}],"version":1,"window_s":60}"#,
    ] {
        assert!(AgentPlan::from_canonical_json(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_spec_is_its_content() {
    let plan = Plan::parse("plan.yaml", PLAN).expect("valid");
    let block = json!({"url": "https://portal.example/", "method": "GET"});
    let hash = spec_hash(&plan.probes[1].schedule, "http", &block);
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    // printf '{"every":"5s","http":{"method":"GET","url":"https://portal.example/"},"timeout":"4.5s"}' | sha256sum
    assert_eq!(hex, "220788780838dfeaef70c74a9f00a025");
}
