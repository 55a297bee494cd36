mod digesting;
mod older;
mod publishing;

use super::*;
use crate::store::{Head, Introduction, NewRecord, Outcome, SqliteStore, Store as _};
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Kind, Record};
use probefleet_proto::report::{self, Cell, OtherKind};

/// 2027-01-15 08:00:00 UTC.
const MORNING_S: u64 = 1_800_000_000;
const DAY_S: u64 = 86_400;

const AGREEMENT: &str = r#"
agreement: acme
version: 1
kind: sla
level: service
title: ACME
parties: {provider: {name: P}, customer: {name: C}}
time_zone: Etc/UTC
currency: EUR
term: {from: 2027-01-01, until: 2028-01-01}
period: day
close: {grace: 1h, dispute: 2d}
services: {web: {title: Web, monthly_charge: "3000.00"}}
objectives:
  success: {service: web, probe: web, measure: success, target: ">= 99%", unknown: {coverage: 1%}, credit: {flat: 10%}}
"#;

fn agreement() -> Signed {
    let loaded = Agreement::load(&[("acme.yaml", AGREEMENT)]).expect("is fine");
    Signed { agreement: loaded.agreement, countersigned: true, exclusions: None }
}

/// A store with one agent's stream that grows window by window.
struct Stream {
    store: AnyStore,
    scope: TenantScope,
    spool_id: [u8; 16],
    stream: StreamId,
    head: Head,
    /// When records are received; at the end of their window, unless it says so.
    received_s: Option<u64>,
}

impl Stream {
    async fn open(store: &AnyStore, agent: u128) -> Self {
        let scope = TenantScope::default();
        let spool_id = agent.to_be_bytes();
        let introduction = Introduction {
            agent: Uuid::from_u128(agent),
            spool_id,
            proposed_name: Name::new(&format!("agent-{agent}")).expect("a name"),
            proposed_labels: Labels::new(),
            evidence: None,
            now_s: MORNING_S,
            may_begin: true,
        };
        let opened = store.open_session(&scope, introduction).await.expect("opens");
        let (stream, head) = (opened.stream, opened.head);
        Self { store: store.clone(), scope, spool_id, stream, head, received_s: None }
    }

    /// Commits one window with one good attempt.
    async fn deliver(&mut self, window_start_s: u64) {
        self.deliver_cell(window_start_s, true).await;
    }

    /// Commits one window with one attempt.
    async fn deliver_cell(&mut self, window_start_s: u64, good: bool) {
        let mut cell = Cell {
            probe: "web".to_owned(),
            spec: [1; 16],
            interval_s: 60,
            scheduled: 1,
            ok: u32::from(good),
            others: vec![],
            series: vec![],
            counters: Vec::new(),
            values: Vec::new(),
        };
        if !good {
            cell.add_other(OtherKind::Failed, "timeout", "wait", 1);
        }
        let head = report::Head { window_start_s, window_s: 60, ..report::Head::default() };
        let payload = report::encode(&head, &[cell]).remove(0);
        let seq = self.head.last_seq + 1;
        let (prev_hash, signature) = (self.head.last_hash, vec![]);
        let record = Record { seq, seq_to: seq, kind: Kind::Report, prev_hash, payload, signature };
        let hash = record.hash(&self.spool_id).expect("a report");
        let records =
            vec![NewRecord { record, sealed_seq: seq, hash, window_s: 60, window_start_s }];
        let batch = crate::store::Batch {
            stream: self.stream,
            expected: self.head,
            records,
            received_s: self.received_s.unwrap_or(window_start_s + 61),
        };
        let outcome = self.store.commit(&self.scope, batch).await;
        assert!(matches!(outcome, Outcome::Committed), "{outcome:?}");
        (self.head.last_seq, self.head.last_hash) = (seq, hash);
    }
}

fn evaluator(store: &AnyStore) -> Evaluator {
    Evaluator::new(store.clone(), TenantScope::default(), vec![agreement()], 60)
}

fn store() -> AnyStore {
    AnyStore::Sqlite(SqliteStore::in_memory().expect("opens"))
}

/// Label, whether open, and attempts of every shown period.
fn shown(snapshot: &Snapshot) -> Vec<(String, bool, u64)> {
    let periods = snapshot.agreements[0].periods.iter();
    let figures = periods.map(|period| {
        let verdict = period.verdict.as_ref().expect("a verdict");
        (period.label.to_string(), period.open, verdict.objectives[0].attempts.scheduled)
    });
    figures.collect()
}

#[test]
fn an_open_period_is_judged_at_a_windows_end_that_had_time_to_arrive() {
    assert_eq!(as_of_s(1_000_000_085, 60), 1_000_000_080);
    assert_eq!(as_of_s(1_000_000_084, 60), 1_000_000_020);
}

#[tokio::test]
async fn a_round_adds_what_is_new_and_only_that() {
    let store = store();
    let mut stream = Stream::open(&store, 1).await;
    for minute in 0..10 {
        stream.deliver(MORNING_S + minute * 60).await;
    }
    let mut evaluator = evaluator(&store);
    let now_s = MORNING_S + 700;
    assert!(evaluator.read(now_s).await.expect("reads"));
    let first = evaluator.judge(now_s);
    assert_eq!(shown(&first)[0], ("2027-01-15".to_owned(), true, 10));
    assert!(!evaluator.read(now_s + 1).await.expect("reads"), "nothing has changed");
    assert!(evaluator.read(now_s + 60).await.expect("reads"), "a window has ended");

    // One more of the same agent, one that is late, and a new agent.
    stream.deliver(MORNING_S + 600).await;
    stream.deliver(MORNING_S - 3_600).await;
    let mut second = Stream::open(&store, 2).await;
    second.deliver(MORNING_S + 60).await;
    assert!(evaluator.read(now_s).await.expect("reads"));
    let grown = evaluator.judge(now_s);
    assert_eq!(shown(&grown)[0].2, 13);

    // From scratch it is the same to the last bit.
    let mut fresh = self::evaluator(&store);
    fresh.read(now_s).await.expect("reads");
    let digest = |snapshot: &Snapshot| {
        let verdict = snapshot.agreements[0].periods[0].verdict.as_ref().expect("a verdict");
        verdict.inputs_digest.clone()
    };
    assert_eq!(digest(&fresh.judge(now_s)), digest(&grown));
}

#[tokio::test]
async fn a_period_that_ends_is_shown_as_closed_and_old_evidence_goes() {
    let store = store();
    let mut stream = Stream::open(&store, 1).await;
    for day in 0..5 {
        stream.deliver(MORNING_S - (4 - day) * DAY_S).await;
    }
    let mut evaluator = evaluator(&store);
    evaluator.read(MORNING_S + 100).await.expect("reads");
    // Today, yesterday, and the day before it as context; what is older was never read.
    assert_eq!(evaluator.cases[0].windows.len(), 3);
    let today = evaluator.judge(MORNING_S + 100);
    assert_eq!(
        shown(&today),
        [("2027-01-15".to_owned(), true, 1), ("2027-01-14".to_owned(), false, 1)]
    );

    let later_s = MORNING_S + 100 + 2 * DAY_S;
    assert!(evaluator.read(later_s).await.expect("reads"));
    let later = evaluator.judge(later_s);
    assert_eq!(
        shown(&later),
        [("2027-01-17".to_owned(), true, 0), ("2027-01-16".to_owned(), false, 0)]
    );
    assert_eq!(evaluator.cases[0].windows.len(), 1, "the 15th is context, the rest is gone");
}

#[test]
fn a_period_before_the_term_is_not_shown() {
    let agreement = agreement().agreement;
    // 2027-01-01 08:00 UTC, the term's first day.
    let labels = kept_periods(&agreement, 1_798_790_400);
    let labels: Vec<String> = labels.iter().map(|(label, _)| label.to_string()).collect();
    assert_eq!(labels, ["2027-01-01"]);
}

#[tokio::test]
async fn pictures_are_made_anew_at_every_start() {
    let store = store();
    let mut stream = Stream::open(&store, 1).await;
    let mut evaluator = evaluator(&store);
    for window in 0..5 {
        stream.deliver(MORNING_S + window * 60).await;
        evaluator.read(MORNING_S + window * 60 + 70).await.expect("reads");
    }
    let pictures = |snapshot: &Snapshot| {
        let periods = snapshot.agreements[0].periods.iter();
        periods.map(|period| period.pictures.to_vec()).collect::<Vec<_>>()
    };
    let now_s = MORNING_S + 310;
    let followed = pictures(&evaluator.judge(now_s));
    let course = followed[0][0].course.as_ref().expect("an open period has one");
    assert_eq!(course.points.len(), 5);
    assert!(followed[1][0].course.is_none(), "a closed period has no latest windows");

    let mut again = self::evaluator(&store);
    again.read(now_s).await.expect("reads");
    assert_eq!(pictures(&again.judge(now_s)), followed);
}
