//! Published periods that are no longer in memory.

use super::publishing::{END_S, GRACE_OVER_S, QUIET, a_day, kept, round, told};
use super::*;
use crate::config::ExclusionsFile;
use crate::revision::{Cause, Revision};

/// Three weeks after the day was published.
const LATER_S: u64 = MORNING_S + 21 * DAY_S;
const FIRST: (u64, Cause, &str, &str) = (1, Cause::Published, "10.00", "10.00");

/// What a collector did with older periods by the end of some rounds.
async fn rounds(evaluator: &mut Evaluator, now_s: u64) {
    for step in 0..6 {
        let now_s = now_s + step * 2;
        evaluator.read(now_s).await.expect("reads");
        let mut snapshot = evaluator.judge(now_s);
        evaluator.publish(&mut snapshot, now_s).await.expect("publishes");
        if evaluator.reopen(now_s).await.expect("reads") {
            evaluator.judge_reopened();
            evaluator.publish_reopened(now_s).await.expect("publishes");
        }
    }
}

/// A store whose day was published with ten euros payable, and three weeks have passed.
async fn published() -> (AnyStore, Stream) {
    let store = store();
    let stream = a_day(&store).await;
    let published = round(&mut evaluator(&store), GRACE_OVER_S).await;
    assert_eq!(told(&published.life.revisions), [FIRST]);
    (store, stream)
}

/// So many good windows of that day that one failed attempt breaks no promise any more.
async fn deliver_late(stream: &mut Stream) {
    for minute in (1..180).filter(|minute| minute % 60 > 0) {
        stream.deliver(END_S - DAY_S + minute * 60).await;
    }
}

#[tokio::test]
async fn late_reports_restate_a_period_that_is_no_longer_in_memory() {
    let (store, mut stream) = published().await;
    let mut evaluator = evaluator(&store);
    rounds(&mut evaluator, LATER_S).await;
    assert_eq!(evaluator.cases[0].windows.len(), 0, "the day is not in memory");

    deliver_late(&mut stream).await;
    rounds(&mut evaluator, LATER_S + 60).await;
    assert_eq!(told(&kept(&store).await), [FIRST], "more may come");
    rounds(&mut evaluator, LATER_S + 80 + QUIET).await;
    let restated = [FIRST, (2, Cause::LateData, "0.00", "-10.00")];
    let revisions = kept(&store).await;
    assert_eq!(told(&revisions), restated);
    assert!(revisions[1].after_final, "two days were for objections");
    assert!(evaluator.reopened.is_none(), "it is let go");
    assert_eq!(evaluator.cases[0].windows.len(), 0, "it is let go");

    // The day after has it in its context, and was not published: nobody measured it.
    let after = store.revisions(&TenantScope::default(), "acme", Some("2027-01-15")).await;
    assert_eq!(after.expect("reads"), []);
    // Said once, by whoever looks.
    rounds(&mut evaluator, LATER_S + 200).await;
    rounds(&mut self::evaluator(&store), LATER_S + 300).await;
    assert_eq!(told(&kept(&store).await), restated);
}

#[tokio::test]
async fn late_reports_that_nobody_noticed_are_found_at_the_start() {
    let (store, mut stream) = published().await;
    stream.received_s = Some(LATER_S - 3_600);
    deliver_late(&mut stream).await;
    // The collector was killed before it looked; what was received since does not hide them.
    stream.received_s = Some(LATER_S);
    stream.deliver(LATER_S - 120).await;
    rounds(&mut evaluator(&store), LATER_S + 60).await;
    assert_eq!(told(&kept(&store).await), [FIRST, (2, Cause::LateData, "0.00", "-10.00")]);
}

#[tokio::test]
async fn what_comes_too_late_or_for_other_terms_restates_nothing() {
    let (store, mut stream) = published().await;
    let mut evaluator = evaluator(&store);
    let too_late_s = MORNING_S + 2 * DAY_S + 367 * DAY_S;
    rounds(&mut evaluator, too_late_s).await;
    deliver_late(&mut stream).await;
    rounds(&mut evaluator, too_late_s + 60).await;
    rounds(&mut evaluator, too_late_s + 80 + QUIET).await;
    assert_eq!(told(&kept(&store).await), [FIRST]);

    // Another version of the agreement promises less: the day was not judged by it, and is not now.
    let text = AGREEMENT.replace("version: 1", "version: 2").replace("99%", "90%");
    let agreement = Agreement::load(&[("acme.yaml", &text)]).expect("is fine").agreement;
    let signed = Signed { agreement, ..self::agreement() };
    let mut evaluator = Evaluator::new(store.clone(), TenantScope::default(), vec![signed], 60);
    rounds(&mut evaluator, LATER_S).await;
    stream.deliver(END_S - DAY_S + 7_260).await;
    rounds(&mut evaluator, LATER_S + 60).await;
    rounds(&mut evaluator, LATER_S + 80 + QUIET).await;
    assert_eq!(told(&kept(&store).await), [FIRST]);
}

#[tokio::test]
async fn an_older_period_is_restated_when_its_own_exclusions_change() {
    let (store, _) = published().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.yaml");
    let excuse = |from: &str, until: &str| {
        let record = format!("{{from: {from}, until: {until}, reason: customer, approved: true}}");
        std::fs::write(&path, format!("exclusions: [{record}]\n")).expect("writes");
    };
    let signed = || {
        let file = ExclusionsFile::new(path.clone(), folder.path(), &agreement().agreement);
        Signed { exclusions: Some(file), ..agreement() }
    };
    let collector = || Evaluator::new(store.clone(), TenantScope::default(), vec![signed()], 60);
    // Time of another day is nothing to it, whether the collector runs or begins.
    excuse("2027-02-01T00:00:00Z", "2027-02-02T00:00:00+00:00");
    let mut evaluator = collector();
    rounds(&mut evaluator, LATER_S).await;
    assert_eq!(told(&kept(&store).await), [FIRST]);
    excuse("2027-01-14T22:00:00Z", "2027-01-15T00:00:00Z");
    rounds(&mut evaluator, LATER_S + 60).await;
    let excused = (2, Cause::ExclusionsChanged, "0.00", "-10.00");
    assert_eq!(told(&kept(&store).await), [FIRST, excused]);
    // It is revoked while no collector runs.
    std::fs::write(&path, "exclusions: []\n").expect("writes");
    rounds(&mut collector(), LATER_S + 600).await;
    let revoked = (3, Cause::ExclusionsChanged, "10.00", "10.00");
    assert_eq!(told(&kept(&store).await), [FIRST, excused, revoked]);
}

#[tokio::test]
async fn a_period_published_by_another_version_of_the_program_is_not_restated_for_that() {
    let (store, mut stream) = published().await;
    // The same day of another agreement's name, published with digests of another form.
    let mut revision: Revision = kept(&store).await.remove(0);
    (revision.basis.form, revision.basis.inputs) = (1, "sha256:00".to_owned());
    let label = PeriodLabel::parse("2027-01-14").expect("a label");
    let text = AGREEMENT.replace("agreement: acme", "agreement: other");
    let agreement = Agreement::load(&[("other.yaml", &text)]).expect("is fine").agreement;
    revision.basis.terms = crate::sla::life::terms(&agreement, true);
    let key = key(&agreement, label);
    let scope = TenantScope::default();
    let said = store.publish(&scope, key, revision, "{}".to_owned()).await;
    assert!(said.expect("is written"));
    let other = || async {
        let read = store.revisions(&scope, "other", Some("2027-01-14")).await.expect("reads");
        read.into_iter().map(|(_, revision)| revision).collect::<Vec<_>>()
    };
    let signed = Signed { agreement, ..self::agreement() };
    let mut evaluator = Evaluator::new(store.clone(), scope.clone(), vec![signed], 60);
    rounds(&mut evaluator, MORNING_S).await;
    assert_eq!(told(&other().await), [FIRST], "in memory");
    rounds(&mut evaluator, LATER_S).await;
    assert_eq!(told(&other().await), [FIRST], "and no longer");
    deliver_late(&mut stream).await;
    rounds(&mut evaluator, LATER_S + 60).await;
    rounds(&mut evaluator, LATER_S + 80 + QUIET).await;
    assert_eq!(told(&other().await), [FIRST, (2, Cause::LateData, "0.00", "-10.00")]);
}
