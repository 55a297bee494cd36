//! What is SQLite's alone: its file, its disk, its threads. What every engine must do is in `conformance`.

use super::*;
use crate::store::conformance::{SPOOL, batch, introduction, period, records, revision, signed};

/// A full disk as SQLite sees it: the file may not grow any more.
async fn fill(store: &SqliteStore) {
    let filled = store.write(|db| {
        let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    });
    filled.await.expect("sets the limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = SqliteStore::open(&folder.path().join("collector.db")).expect("opens");
    let scope = TenantScope::default();
    let before = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    fill(&store).await;
    let large = store
        .write(|db| {
            db.execute("CREATE TABLE filler (x)", [])?;
            db.execute("INSERT INTO filler VALUES (zeroblob(10000000))", [])
        })
        .await;
    assert!(large.is_err(), "{large:?}");

    // Reading goes on, what was there is there, and what fits is taken.
    let head = store.head(&scope, before.stream).await.expect("reads");
    assert_eq!(head, Some(before.head));
    let after = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    assert_eq!(after.head.session, before.head.session + 1);
    store.check_writable().await.expect("writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_takes_nothing_of_its_neighbours_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = SqliteStore::open(&folder.path().join("collector.db")).expect("opens");
    let scope = TenantScope::default();
    let mut jobs = Vec::new();
    for index in 0..40_u128 {
        let (store, scope) = (store.clone(), scope.clone());
        jobs.push(tokio::spawn(async move {
            if index % 2 == 0 {
                let name = format!("agent-{index}");
                let opened = store
                    .open_session(&scope, introduction(index, index.to_be_bytes(), &name))
                    .await;
                opened.map(drop).map_err(|error| error.to_string())
            } else {
                let wrong = store.write(|db| {
                    db.execute("DELETE FROM agent", [])?;
                    db.execute("INSERT INTO nowhere VALUES (1)", [])
                });
                wrong.await.map(drop).map_err(|error| error.to_string())
            }
        }));
    }
    let mut failed = 0;
    for job in jobs {
        failed += usize::from(job.await.expect("no panic").is_err());
    }
    assert_eq!(failed, 20);
    assert_eq!(store.agents(&scope).await.expect("reads").len(), 20);
}

#[tokio::test]
async fn a_pinned_key_cannot_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    let (store, _) = SqliteStore::open(&path).expect("opens");
    let introduced = signed(introduction(1, SPOOL, "a"), 5, 1);
    store.open_session(&TenantScope::default(), introduced).await.expect("opens");
    let file = Connection::open(&path).expect("opens");
    for wrong in ["evidence_key = x'00'", "signed_from = 99", "evidence_key = NULL"] {
        let refused = file.execute(&format!("UPDATE stream SET {wrong}"), []);
        let refused = refused.expect_err("refused").to_string();
        assert!(refused.contains("a key that was pinned is never changed"), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn what_was_published_cannot_be_changed_or_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    let (store, _) = SqliteStore::open(&path).expect("opens");
    let scope = TenantScope::default();
    let written =
        store.publish(&scope, period("acme", "2026-04"), revision(1), "first".to_owned()).await;
    assert!(written.expect("writes"));
    let file = Connection::open(&path).expect("opens");
    for wrong in ["UPDATE revision SET payable = '0.00'", "DELETE FROM revision"] {
        let refused = file.execute(wrong, []).expect_err("refused").to_string();
        assert!(refused.contains("what was published is never"), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn a_file_outlives_its_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("collector.db");
    let scope = TenantScope::default();
    let (store, _) = SqliteStore::open(&path).expect("opens");
    let opened = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    let two = records(&SPOOL, &opened.head, 2);
    assert!(matches!(
        store.commit(&scope, batch(&opened, opened.head, &two)).await,
        Outcome::Committed
    ));
    // Another process reads while the service runs.
    let reader = SqliteStore::open_read_only(&path).expect("opens");
    let seen = reader.records_after(&scope, opened.stream, 0).await.expect("reads");
    assert_eq!(seen.len(), 2);
    assert!(reader.check_writable().await.is_err(), "read only");
    drop((store, reader));

    let (store, _) = SqliteStore::open(&path).expect("opens again");
    let again = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    assert_eq!(again.head.last_hash, two[1].hash);
    assert_eq!(again.head.session, opened.head.session + 1, "the fence is durable");
}

#[test]
fn files_of_others_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |name: &str, statements: &str| {
        let path = folder.path().join(name);
        let connection = Connection::open(&path).expect("opens");
        connection.execute_batch(statements).expect("runs");
        drop(connection);
        SqliteStore::open(&path).expect_err("refused").to_string()
    };
    let later = refused("later.db", "PRAGMA user_version = 5");
    assert!(later.contains("version 5") && later.contains("a later one"), "{later}");
    let foreign = refused("foreign.db", "CREATE TABLE t (x)");
    assert!(foreign.contains("not one of a collector"), "{foreign}");
    assert!(SqliteStore::open_read_only(&folder.path().join("none.db")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_of_one_stream_never_double() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = SqliteStore::open(&folder.path().join("collector.db")).expect("opens");
    let scope = TenantScope::default();
    let opened = store.open_session(&scope, introduction(1, SPOOL, "a")).await.expect("opens");
    let one = records(&SPOOL, &opened.head, 1);
    let racers = (0..32).map(|_| {
        let (store, scope) = (store.clone(), scope.clone());
        let batch = batch(&opened, opened.head, &one);
        tokio::spawn(async move { store.commit(&scope, batch).await })
    });
    let mut committed = 0;
    for racer in racers.collect::<Vec<_>>() {
        match racer.await.expect("ends") {
            Outcome::Committed => committed += 1,
            Outcome::Conflict => {}
            Outcome::Unknown(error) => panic!("{error}"),
        }
    }
    assert_eq!(committed, 1);
}
