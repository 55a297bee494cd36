//! Starts: from digests and from records everything is the same, and no digest outlives a record that it does not know.

use super::*;
use crate::store::{HOUR_S, HourCursor};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// A folder with a store in a file, which a test may look into and damage.
struct Disk {
    _folder: tempfile::TempDir,
    path: PathBuf,
    store: AnyStore,
}

fn disk() -> Disk {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    let store = AnyStore::Sqlite(SqliteStore::open(&path).expect("opens").0);
    Disk { _folder: folder, path, store }
}

fn change(path: &Path, statements: &str) {
    Connection::open(path).expect("opens").execute_batch(statements).expect("runs");
}

/// Hours of streams: all, and those with a digest.
async fn hours(store: &AnyStore) -> (usize, usize) {
    let (mut cursor, mut all, mut kept) = (HourCursor::before(0), 0, 0);
    loop {
        let page = store.hours_after(&TenantScope::default(), cursor, u64::MAX).await;
        let page = page.expect("reads");
        let Some(last) = page.last() else { return (all, kept) };
        cursor = HourCursor::from(last);
        all += page.len();
        kept += page.iter().filter(|hour| hour.digest.is_some()).count();
    }
}

/// All that is judged and drawn.
fn said(snapshot: &Snapshot) -> Vec<(Verdict, Vec<Picture>)> {
    let periods = snapshot.agreements.iter().flat_map(|now| &now.periods);
    let of_period = |period: &PeriodNow| {
        let verdict = period.verdict.as_ref().expect("a verdict");
        (Verdict::clone(verdict), period.pictures.to_vec())
    };
    periods.map(of_period).collect()
}

/// What a collector says that starts now.
async fn started(store: &AnyStore, now_s: u64) -> Vec<(Verdict, Vec<Picture>)> {
    let mut fresh = evaluator(store);
    fresh.read(now_s).await.expect("reads");
    said(&fresh.judge(now_s))
}

/// Ten hours of yesterday, of two agents with a failure now and then.
async fn history(store: &AnyStore) -> [Stream; 2] {
    let mut streams = [Stream::open(store, 1).await, Stream::open(store, 2).await];
    for minute in 0..600 {
        for (number, stream) in (0..).zip(&mut streams) {
            let good = (minute + number * 3) % 37 != 0;
            stream.deliver_cell(MORNING_S - DAY_S + minute * 60, good).await;
        }
    }
    streams
}

#[tokio::test]
async fn a_start_from_digests_says_the_same() {
    let Disk { _folder, path, store } = disk();
    history(&store).await;
    let from_records = started(&store, MORNING_S).await;
    assert_eq!(hours(&store).await, (20, 20));
    assert_eq!(started(&store, MORNING_S).await, from_records);
    // Without the records it is the same: they were not read.
    change(&path, "DROP TRIGGER record_goes; DELETE FROM record;");
    assert_eq!(started(&store, MORNING_S).await, from_records);
}

#[tokio::test]
async fn a_late_record_undoes_the_digest_of_its_hour() {
    let Disk { _folder, path, store } = disk();
    let [mut first, mut second] = history(&store).await;
    let mut running = evaluator(&store);
    running.read(MORNING_S).await.expect("reads");
    let before = said(&running.judge(MORNING_S));
    assert_eq!(hours(&store).await, (20, 20));
    // One that contradicts what is known, one that is new, and one that says the same again.
    first.deliver_cell(MORNING_S - DAY_S + 60, false).await;
    second.deliver_cell(MORNING_S - DAY_S - 60, true).await;
    second.deliver_cell(MORNING_S - DAY_S + 7_260, true).await;
    assert_eq!(hours(&store).await, (21, 18));
    // A collector that was killed in between starts from what is left.
    let after = started(&store, MORNING_S + 1).await;
    assert_ne!(after, before);
    running.read(MORNING_S + 1).await.expect("reads");
    assert_eq!(said(&running.judge(MORNING_S + 1)), after);
    assert_eq!(hours(&store).await, (21, 21), "made anew at once, as the hours are settled");
    change(&path, "DROP TRIGGER record_goes; DELETE FROM record;");
    assert_eq!(started(&store, MORNING_S + 1).await, after);
}

#[tokio::test]
async fn a_damaged_digest_is_made_anew() {
    let Disk { _folder, path, store } = disk();
    history(&store).await;
    let expected = started(&store, MORNING_S).await;
    let bodies = |path: &Path| -> Vec<Vec<u8>> {
        let file = Connection::open(path).expect("opens");
        let mut select =
            file.prepare("SELECT body FROM digest ORDER BY hour_s, stream").expect("is SQL");
        let rows = select.query_map([], |row| row.get(0)).expect("reads");
        rows.collect::<Result<_, _>>().expect("has bytes")
    };
    let sound = bodies(&path);
    change(
        &path,
        "UPDATE digest SET body = zeroblob(length(body)) WHERE stream = 1;
         UPDATE digest SET body = substr(body, 1, length(body) - 3) WHERE stream = 2 AND hour_s % 7200 = 0;
         UPDATE digest SET basis = x'00' WHERE stream = 2 AND hour_s % 7200 <> 0;",
    );
    assert_eq!(started(&store, MORNING_S).await, expected);
    assert_eq!(bodies(&path), sound);
    change(&path, "UPDATE digest SET basis = NULL, body = NULL WHERE stream = 2");
    assert_eq!(started(&store, MORNING_S).await, expected, "all of them can be thrown away");
    assert_eq!(bodies(&path), sound);
    let file = Connection::open(&path).expect("opens");
    let refused = file.execute("DELETE FROM digest", []).expect_err("refused").to_string();
    assert!(refused.contains("its hour has reports"), "{refused}");
}

/// What `report` says of yesterday.
async fn reported(store: &AnyStore, from_records: bool) -> Verdict {
    let (signed, none, scope) = (agreement(), Exclusions::default(), TenantScope::default());
    let agreement = &signed.agreement;
    let label = PeriodLabel::parse("2027-01-14").expect("a day");
    let stretch = looks_at(agreement, &none, (label, MORNING_S)).expect("has bounds");
    let all = std::iter::once(agreement);
    let windows = read_stretch((store, &scope), (agreement, all), (stretch, from_records)).await;
    let windows = windows.expect("reads");
    judge(agreement, &windows, &none, (label, MORNING_S, true)).expect("is judged")
}

#[tokio::test]
async fn who_asks_the_records_is_told_nothing_by_a_digest() {
    let Disk { _folder, path, store } = disk();
    history(&store).await;
    let honest = reported(&store, true).await;
    started(&store, MORNING_S).await;
    assert_eq!(hours(&store).await, (20, 20));
    assert_eq!(reported(&store, false).await, honest, "from digests");
    assert_eq!(reported(&store, true).await, honest, "from records");

    // The digests of hours in which nothing failed.
    let flawless = disk();
    for agent in [1, 2] {
        let mut stream = Stream::open(&flawless.store, agent).await;
        for minute in 0..600 {
            stream.deliver(MORNING_S - DAY_S + minute * 60).await;
        }
    }
    started(&flawless.store, MORNING_S).await;
    assert_eq!(hours(&flawless.store).await, (20, 20));
    let forge = format!(
        "ATTACH '{}' AS flawless;
         UPDATE main.digest SET body = (SELECT good.body FROM flawless.digest AS good
           WHERE good.hour_s = digest.hour_s AND good.stream = digest.stream)",
        flawless.path.display()
    );
    change(&path, &forge);
    assert_ne!(reported(&store, false).await, honest, "a digest that fits is believed");
    assert_eq!(reported(&store, true).await, honest);
    // Hours are hidden.
    change(&path, "DROP TRIGGER digest_stays; DELETE FROM digest");
    assert_ne!(reported(&store, false).await, honest);
    assert_eq!(reported(&store, true).await, honest);
}

#[tokio::test]
async fn what_was_not_asked_before_is_read_from_the_records() {
    let store = store();
    history(&store).await;
    started(&store, MORNING_S).await;
    let text =
        AGREEMENT.replace("probe: web, measure: success", "probe: web, measure: availability");
    let text = text.replace("  success:", "  fast: {service: web, probe: web, measure: {within: 1s, phase: total}, target: \">= 1%\", unknown: {coverage: 1%}}\n  success:");
    let asks_more = |store: &AnyStore| {
        let loaded = Agreement::load(&[("acme.yaml", &text)]).expect("is fine");
        let signed = Signed { agreement: loaded.agreement, countersigned: true, exclusions: None };
        Evaluator::new(store.clone(), TenantScope::default(), vec![signed], 60)
    };
    let other = self::store();
    history(&other).await;
    let (mut here, mut there) = (asks_more(&store), asks_more(&other));
    for _ in 0..2 {
        here.read(MORNING_S).await.expect("reads");
        there.read(MORNING_S).await.expect("reads");
        assert_eq!(said(&here.judge(MORNING_S)), said(&there.judge(MORNING_S)));
        (here, there) = (asks_more(&store), asks_more(&other));
    }
}

#[tokio::test]
async fn an_hour_gets_its_digest_when_it_is_settled() {
    let store = store();
    let mut stream = Stream::open(&store, 1).await;
    let mut running = evaluator(&store);
    running.read(MORNING_S).await.expect("reads");
    for minute in 0..60 {
        stream.deliver(MORNING_S + minute * 60).await;
    }
    let over_s = MORNING_S + HOUR_S;
    for (now_s, kept) in [(over_s + 5, 0), (over_s + 300, 0), (over_s + 700, 1)] {
        running.read(now_s).await.expect("reads");
        running.read(now_s).await.expect("reads");
        assert_eq!(hours(&store).await, (1, kept), "{} s after its end", now_s - over_s);
    }
}
