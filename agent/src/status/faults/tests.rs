use super::*;
use crate::spool::{Failure, IN_FLIGHT_MAX_BYTES, RefusedRecord};

/// An agent of which nothing is wrong.
fn well(now: Instant) -> Seen {
    Seen {
        spool: SpoolState {
            spool_id: [1; 16],
            oldest_seq: 1,
            next_seq: 9,
            head_hash: [2; 32],
            bytes: 1_000,
            unacked_bytes: 0,
            oldest_unsent_s: None,
            in_flight_max_bytes: IN_FLIGHT_MAX_BYTES,
        },
        health: Some(Health { budget_bytes: 4_000, ..Health::default() }),
        link: LinkState::Up,
        has_plan: true,
        plan_refused: None,
        runner_at: now,
        waiting: Waiting::default(),
    }
}

fn names_of(faults: &[Fault]) -> Vec<&'static str> {
    faults.iter().map(|fault| fault.what.as_str()).collect()
}

fn after(seconds: u64, start: Instant) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn nothing_is_wrong_with_an_agent_that_works() {
    let start = Instant::now();
    let mut watch = Watch::default();
    for second in 0..60 {
        assert_eq!(watch.look(&well(after(second, start)), after(second, start)), []);
    }
}

#[test]
fn a_disk_that_fails_is_told_at_once_with_its_cure_and_forgotten_when_it_works_again() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    let failure = Failure { text: "cannot sync x: no space".to_owned(), cure: "make room" };
    seen.health = Some(Health { append: Some(failure), ..Health::default() });
    let found = watch.look(&seen, start);
    assert_eq!(names_of(&found), ["disk"]);
    assert_eq!((found[0].text.as_str(), found[0].cure), ("cannot sync x: no space", "make room"));
    seen.runner_at = after(9, start);
    seen.waiting.lost_reports = 3;
    let found = watch.look(&seen, after(9, start));
    assert_eq!(found[0].since, start, "since it began");
    assert!(found[0].text.contains("no space; 3 reports"), "{}", found[0].text);
    seen.waiting.lost_reports = 0;
    assert_eq!(watch.look(&well(after(10, start)), after(10, start)), []);
    seen.runner_at = after(11, start);
    assert_eq!(watch.look(&seen, after(11, start))[0].since, after(11, start), "anew");
    seen.health = None;
    assert!(watch.look(&seen, after(12, start))[0].text.contains("thread"));
}

#[test]
fn a_disk_that_does_not_answer_is_told_after_five_seconds() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    seen.health = Some(Health { busy_since: Some(start), ..Health::default() });
    assert_eq!(watch.look(&seen, after(4, start)), []);
    assert_eq!(names_of(&watch.look(&seen, after(5, start))), ["disk_slow"]);
}

#[test]
fn a_reconnect_is_no_fault_and_an_outage_is() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    seen.link = LinkState::Down("no route".to_owned());
    assert_eq!(watch.look(&seen, start), []);
    seen.runner_at = after(3, start);
    assert_eq!(watch.look(&seen, after(3, start)), []);
    seen.runner_at = after(4, start);
    let found = watch.look(&seen, after(4, start));
    assert_eq!((names_of(&found), found[0].since), (vec!["uplink"], start));
    seen.link = LinkState::Refused("revoked".to_owned());
    assert_eq!(names_of(&watch.look(&seen, after(5, start))), ["refused"]);
}

#[test]
fn who_is_connected_and_delivers_nothing_does_not_pass_for_well() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    seen.spool.unacked_bytes = 700;
    assert_eq!(watch.look(&seen, start), []);
    seen.runner_at = after(15, start);
    assert_eq!(names_of(&watch.look(&seen, after(15, start))), ["delivery"]);
    let health = Health { released: Some(after(16, start)), ..Health::default() };
    seen.health = Some(health);
    assert_eq!(watch.look(&seen, after(16, start)), [], "it goes on");
}

#[test]
fn a_full_spool_is_told_until_half_of_it_is_free() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    seen.link = LinkState::Down("no route".to_owned());
    seen.spool.unacked_bytes = 3_900;
    assert_eq!(watch.look(&seen, start), [], "nearly full is not full");
    seen.health.as_mut().expect("is there").mishaps.dropped_reports = 3;
    let found = watch.look(&seen, start);
    assert!(
        found[0].what == FaultName::SpoolFull && found[0].text.contains("3 reports"),
        "{found:?}"
    );
    seen.spool.unacked_bytes = 2_000;
    assert_eq!(watch.look(&seen, start), []);
}

#[test]
fn without_a_plan_or_with_one_that_cannot_be_run_it_says_so() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    seen.has_plan = false;
    assert_eq!(watch.look(&seen, start), []);
    seen.runner_at = after(10, start);
    assert_eq!(names_of(&watch.look(&seen, after(10, start))), ["plan"]);
    seen.has_plan = true;
    seen.plan_refused = Some(v1::Fault { text: "probe `x`".to_owned(), ..v1::Fault::default() });
    assert!(watch.look(&seen, after(10, start))[0].text.ends_with("not applied: probe `x`"));
    assert_eq!(names_of(&watch.look(&seen, after(30, start))), ["runner", "plan"]);
}

#[test]
fn a_record_that_the_collector_refused_is_told() {
    let start = Instant::now();
    let mut watch = Watch::default();
    let mut seen = well(start);
    let (seq, file) = (7, "/state/0000000007.refused.quarantine".into());
    let refused = RefusedRecord { seq, why: "it is no report".to_owned(), file, kept: 2 };
    seen.health = Some(Health { refused: Some(refused), ..Health::default() });
    let found = watch.look(&seen, start);
    assert_eq!(names_of(&found), ["record_refused"]);
    for said in ["2 records", "record 7", "/state/0000000007.refused", "it is no report"] {
        assert!(found[0].text.contains(said), "{said}: {}", found[0].text);
    }
    seen.runner_at = after(3_600, start);
    assert_eq!(watch.look(&seen, after(3_600, start))[0].since, start);
}
