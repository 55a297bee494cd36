use super::*;
use crate::fleet::PlanState;
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::v1;
use uuid::Uuid;

/// An agent that was just heard of.
fn well() -> AgentNow {
    AgentNow {
        agent: Uuid::from_u128(7),
        name: Name::new("berlin").expect("a name"),
        labels: Labels::new(),
        session: Some(3),
        version: "0.1.0".to_owned(),
        last_seen_s: Some(999_998),
        last_report_end_s: Some(999_970),
        clock: None,
        backlog_bytes: None,
        probes: Vec::new(),
        latest: Vec::new(),
        faults: Vec::new(),
        evidence_keys: Vec::new(),
        health: None,
        suspect_reports: 0,
        plan: PlanState::Applied,
    }
}

fn told(agent: &AgentNow, up_s: u64) -> Vec<String> {
    agent_notes(agent, (1_000_000, up_s), 60)
}

#[test]
fn an_agent_that_is_well_is_not_mentioned() {
    assert_eq!(told(&well(), 100), Vec::<String>::new());
}

#[test]
fn what_an_agent_says_is_wrong_is_told() {
    let mut agent = well();
    let (what, text) = ("disk".to_owned(), "cannot sync x: no space; make room".to_owned());
    agent.faults = vec![v1::Fault { what, since_s: 999_940, text }];
    let expected = "agent berlin: disk: cannot sync x: no space; make room (for 60 s)";
    assert_eq!(told(&agent, 100), [expected]);
}

#[test]
fn an_agent_that_says_nothing_is_told_within_half_a_minute() {
    let mut agent = well();
    (agent.last_seen_s, agent.session) = (Some(999_980), None);
    assert_eq!(told(&agent, 100), Vec::<String>::new());
    agent.last_seen_s = Some(999_979);
    assert!(told(&agent, 100)[0].starts_with("agent berlin: not heard of for 21 s; look"));
    agent.last_seen_s = None;
    assert_eq!(told(&agent, 20), Vec::<String>::new(), "the collector has just begun to listen");
    assert!(told(&agent, 21)[0].contains("not heard of since the collector was started"));
    agent.last_report_end_s = Some(1_000_000 - GONE_S - 1);
    assert_eq!(told(&agent, 21), Vec::<String>::new(), "switched off long ago");
}

#[test]
fn an_agent_that_talks_and_delivers_nothing_is_told() {
    let mut agent = well();
    agent.last_report_end_s = Some(1_000_000 - 181);
    assert!(told(&agent, 100)[0].contains("connected, but its newest window ended 3 min ago"));
}

#[test]
fn texts_of_others_stay_on_their_line() {
    let notes = vec!["agent a: x\nready".to_owned()];
    let found = Readiness { faults: vec!["store: y".to_owned()], notes };
    assert_eq!(found.text(), "not ready\nstore: y\nnote: agent a: x ready\n");
    assert_eq!(Readiness::default().text(), "ready\n");
}
