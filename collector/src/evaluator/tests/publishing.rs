//! Closed periods: published once, restated when something came late.

use super::*;
use crate::evaluator::closing::QUIET_S;
use crate::revision::{Cause, Revision};

/// 2027-01-15, midnight UTC: the end of the period.
pub(super) const END_S: u64 = MORNING_S - 28_800;
/// An hour of grace later.
pub(super) const GRACE_OVER_S: u64 = END_S + 3_600;
pub(super) const QUIET: u64 = QUIET_S.unsigned_abs();

/// The day before: an attempt an hour, the last of which failed; 95.8 % of it good.
pub(super) async fn a_day(store: &AnyStore) -> Stream {
    let mut stream = Stream::open(store, 1).await;
    for hour in 0..24 {
        stream.deliver_cell(END_S - DAY_S + hour * 3_600, hour < 23).await;
    }
    stream
}

/// A round of the service, and what it says of the closed day afterwards.
pub(super) async fn round(evaluator: &mut Evaluator, now_s: u64) -> PeriodNow {
    evaluator.read(now_s).await.expect("reads");
    let mut snapshot = evaluator.judge(now_s);
    evaluator.publish(&mut snapshot, now_s).await.expect("publishes");
    let now = snapshot.agreements.remove(0);
    let mut all = now.periods.into_iter().chain(now.waiting);
    all.find(|period| period.label.to_string() == "2027-01-14").expect("is kept")
}

/// Number, cause, what is payable and what that changes.
pub(super) fn told(revisions: &[Revision]) -> Vec<(u64, Cause, &str, &str)> {
    let told = revisions.iter().map(|revision| {
        (revision.number, revision.cause, revision.payable.as_str(), revision.delta.as_str())
    });
    told.collect()
}

pub(super) async fn kept(store: &AnyStore) -> Vec<Revision> {
    let read = store.revisions(&TenantScope::default(), "acme", Some("2027-01-14")).await;
    read.expect("reads").into_iter().map(|(_, revision)| revision).collect()
}

#[tokio::test]
async fn a_closed_period_is_published_when_grace_is_over_and_only_once() {
    let store = store();
    a_day(&store).await;
    let mut evaluator = evaluator(&store);
    let closed = round(&mut evaluator, GRACE_OVER_S - 1).await;
    assert_eq!(closed.life.stage.as_str(), "closed");
    assert_eq!(kept(&store).await, []);
    for now_s in [GRACE_OVER_S, GRACE_OVER_S + 60, MORNING_S] {
        let published = round(&mut evaluator, now_s).await;
        assert_eq!(published.life.stage.as_str(), "published");
        assert_eq!(told(&published.life.revisions), [(1, Cause::Published, "10.00", "10.00")]);
    }
    // What comes for the day that is open has nothing to do with it, and a restart changes nothing.
    let mut stream = Stream::open(&store, 2).await;
    stream.deliver(END_S + 60).await;
    round(&mut evaluator, MORNING_S + 60 + QUIET).await;
    let again = round(&mut self::evaluator(&store), MORNING_S + 120).await;
    assert_eq!(kept(&store).await, again.life.revisions.to_vec());
    assert_eq!(again.life.revisions.len(), 1);
    let verdict = again.verdict.expect("a verdict");
    let key = key(&agreement().agreement, again.label);
    let said = store.result(&TenantScope::default(), &key, 1).await.expect("reads");
    assert_eq!(said, Some(verdict.to_json().to_string()));
}

#[tokio::test]
async fn late_data_restate_once_they_are_all_there() {
    let store = store();
    let mut stream = a_day(&store).await;
    let mut evaluator = evaluator(&store);
    round(&mut evaluator, GRACE_OVER_S).await;
    let mut now_s = GRACE_OVER_S + 60;
    for minute in 1..60 {
        stream.deliver(END_S - DAY_S + minute * 60).await;
        if minute % 20 == 0 {
            let disturbed = round(&mut evaluator, now_s).await;
            assert_eq!(disturbed.life.revisions.len(), 1, "more may come");
            now_s += 10;
        }
    }
    for minute in 61..120 {
        stream.deliver(END_S - DAY_S + minute * 60).await;
    }
    round(&mut evaluator, now_s).await;
    let restated = round(&mut evaluator, now_s + QUIET).await;
    let expected =
        [(1, Cause::Published, "10.00", "10.00"), (2, Cause::LateData, "0.00", "-10.00")];
    assert_eq!(told(&restated.life.revisions), expected);
    let again = round(&mut self::evaluator(&store), now_s + QUIET + 60).await;
    assert_eq!(told(&again.life.revisions), expected);

    // Two days after the first revision it is final; what comes then is told all the same.
    let final_s = GRACE_OVER_S + 2 * DAY_S;
    stream.deliver(END_S - DAY_S + 7_260).await;
    let mut evaluator = evaluator_with_grace(&store, "47h");
    let late = round(&mut evaluator, final_s).await;
    assert_eq!(late.life.stage.as_str(), "final");
    let last = late.life.revisions.last().expect("is there");
    assert_eq!((last.number, last.after_final), (3, true));
}

#[tokio::test]
async fn a_period_that_nobody_measured_from_its_start_is_not_published() {
    let store = store();
    let mut stream = Stream::open(&store, 1).await;
    stream.deliver(END_S - DAY_S + 7_200).await;
    let mut evaluator = evaluator(&store);
    let closed = round(&mut evaluator, MORNING_S).await;
    assert_eq!(closed.life.stage.as_str(), "closed");
    assert_eq!(kept(&store).await, []);
}

#[tokio::test]
async fn periods_are_kept_until_they_are_published() {
    let store = store();
    let mut stream = a_day(&store).await;
    stream.deliver(END_S - 3 * DAY_S).await;
    let mut evaluator = evaluator_with_grace(&store, "72h");
    assert_eq!(round(&mut evaluator, MORNING_S).await.life.stage.as_str(), "closed");
    let later_s = END_S + 3 * DAY_S;
    let kept_s = later_s + DAY_S - 60;
    for (now_s, stage) in [(later_s - 1, "closed"), (later_s, "published"), (kept_s, "published")] {
        assert_eq!(round(&mut evaluator, now_s).await.life.stage.as_str(), stage, "at {now_s}");
    }
    let now = evaluator.judge(later_s + DAY_S + 60).agreements.remove(0);
    let labels: Vec<String> = now.waiting.iter().map(|period| period.label.to_string()).collect();
    assert_eq!(labels, ["2027-01-17", "2027-01-16", "2027-01-15"]);
}

/// One that takes late reports for another time than an hour.
fn evaluator_with_grace(store: &AnyStore, grace: &str) -> Evaluator {
    let text = AGREEMENT.replace("grace: 1h", &format!("grace: {grace}"));
    let agreement = Agreement::load(&[("acme.yaml", &text)]).expect("is fine").agreement;
    let signed = Signed { agreement, countersigned: true, exclusions: None };
    Evaluator::new(store.clone(), TenantScope::default(), vec![signed], 60)
}
