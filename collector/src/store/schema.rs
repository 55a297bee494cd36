//! The tables of one SQLite file, and how they came to be (`formats.md` §8).
//!
//! `user_version` counts the migrations that a file has seen. A file from a later version is refused: an older program
//! must not write what it does not understand.

use super::StoreError;
use rusqlite::Connection;
use std::time::Duration;

/// Pages of 16 KiB: a report of a few kilobytes stays on one page.
const PAGE_BYTES: u32 = 16_384;
/// How long a statement waits for another process, such as a backup, that holds the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Migration i leads from `user_version` i to i + 1. One that was released never changes.
const MIGRATIONS: [&str; 4] = [
    r"
CREATE TABLE agent (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, uuid BLOB NOT NULL UNIQUE, name TEXT NOT NULL, first_seen_s INTEGER NOT NULL, UNIQUE(tenant, name));
CREATE TABLE agent_labels (agent INTEGER NOT NULL, from_s INTEGER NOT NULL, labels TEXT NOT NULL, PRIMARY KEY (agent, from_s));
CREATE TABLE stream (id INTEGER PRIMARY KEY, agent INTEGER NOT NULL, spool_id BLOB NOT NULL UNIQUE, last_seq INTEGER NOT NULL, last_hash BLOB NOT NULL, session INTEGER NOT NULL, evidence_key BLOB);
CREATE TABLE record (stream INTEGER NOT NULL, seq INTEGER NOT NULL, seq_to INTEGER NOT NULL, kind INTEGER NOT NULL, window_s INTEGER NOT NULL, window_start_s INTEGER NOT NULL, received_s INTEGER NOT NULL,
  hash BLOB NOT NULL, signature BLOB NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, seq));
CREATE INDEX record_by_time ON record (window_start_s, stream);
",
    r"
CREATE TABLE revision (tenant TEXT NOT NULL, agreement TEXT NOT NULL, kind TEXT NOT NULL, period TEXT NOT NULL, number INTEGER NOT NULL, version INTEGER NOT NULL, made_s INTEGER NOT NULL,
  cause TEXT NOT NULL, after_final INTEGER NOT NULL, inputs TEXT NOT NULL, terms TEXT NOT NULL, exclusions TEXT NOT NULL,
  payable TEXT NOT NULL, currency TEXT NOT NULL, delta TEXT NOT NULL, result BLOB NOT NULL, PRIMARY KEY (tenant, agreement, period, number));
CREATE TRIGGER revision_stays BEFORE UPDATE ON revision BEGIN SELECT RAISE(ABORT, 'what was published is never changed'); END;
CREATE TRIGGER revision_is_kept BEFORE DELETE ON revision BEGIN SELECT RAISE(ABORT, 'what was published is never removed'); END;
",
    // Whoever changes the records of an hour lets go of its digest, in the same transaction: none can forget it.
    r"
CREATE TABLE digest (hour_s INTEGER NOT NULL, stream INTEGER NOT NULL, basis BLOB, body BLOB, PRIMARY KEY (hour_s, stream));
CREATE INDEX digest_due ON digest (hour_s) WHERE body IS NULL;
INSERT INTO digest (hour_s, stream) SELECT DISTINCT window_start_s / 3600 * 3600, stream FROM record WHERE kind = 1;
CREATE TRIGGER record_comes AFTER INSERT ON record WHEN NEW.kind = 1 BEGIN
  INSERT INTO digest (hour_s, stream) VALUES (NEW.window_start_s / 3600 * 3600, NEW.stream)
    ON CONFLICT (hour_s, stream) DO UPDATE SET basis = NULL, body = NULL WHERE body IS NOT NULL;
END;
CREATE TRIGGER record_changes AFTER UPDATE ON record BEGIN
  INSERT INTO digest (hour_s, stream) VALUES (OLD.window_start_s / 3600 * 3600, OLD.stream), (NEW.window_start_s / 3600 * 3600, NEW.stream)
    ON CONFLICT (hour_s, stream) DO UPDATE SET basis = NULL, body = NULL WHERE body IS NOT NULL;
END;
CREATE TRIGGER record_goes AFTER DELETE ON record BEGIN
  UPDATE digest SET basis = NULL, body = NULL WHERE hour_s = OLD.window_start_s / 3600 * 3600 AND stream = OLD.stream;
END;
CREATE TRIGGER digest_stays BEFORE DELETE ON digest BEGIN SELECT RAISE(ABORT, 'the row says that its hour has reports: set basis and body to NULL instead'); END;
",
    // `signed_from`: from that sequence on each record must be signed by `evidence_key`. A gap that reaches back over records
    // that are held is kept from the first sequence that it settles; its signature is over what it was sealed as.
    r"
ALTER TABLE stream ADD COLUMN signed_from INTEGER;
CREATE TRIGGER evidence_key_stays BEFORE UPDATE OF evidence_key, signed_from ON stream WHEN OLD.evidence_key IS NOT NULL BEGIN
  SELECT RAISE(ABORT, 'a key that was pinned is never changed');
END;
CREATE TABLE gap_as_sealed (stream INTEGER NOT NULL, seq INTEGER NOT NULL, sealed_seq INTEGER NOT NULL, prev_hash BLOB NOT NULL, PRIMARY KEY (stream, seq));
",
];

/// What the file promises, as SQLite itself says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `wal`, or `memory` in tests.
    pub journal_mode: String,
    /// 2 = FULL, 3 = EXTRA.
    pub synchronous: i64,
    /// Version of the schema.
    pub user_version: i64,
}

/// Makes a connection ready to write: pragmas, migrations, and a look at what was really set.
///
/// # Errors
/// [`StoreError::Unusable`] for a file of another version or one that cannot be durable.
pub(super) fn prepare(connection: &mut Connection) -> Result<Durability, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(unusable)?;
    let version = user_version(connection)?;
    refuse_other_versions(version)?;
    if version == 0 {
        refuse_foreign_tables(connection)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(unusable)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(unusable)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(unusable)?;
    migrate(connection, version)?;
    let durability = durability(connection)?;
    if durability.synchronous < 2 {
        return Err(StoreError::Unusable(format!(
            "the store runs with synchronous={}, so an acknowledged record could be lost; it must be FULL",
            durability.synchronous
        )));
    }
    Ok(durability)
}

/// Checks a connection that only reads.
///
/// # Errors
/// [`StoreError::Unusable`] for a file of another version.
pub(super) fn prepare_reader(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(unusable)?;
    connection.pragma_update(None, "query_only", true).map_err(unusable)?;
    let version = user_version(connection)?;
    refuse_other_versions(version)?;
    if version == 0 {
        return Err(StoreError::Unusable(
            "the store is empty: no collector has used it yet".into(),
        ));
    }
    Ok(())
}

fn user_version(connection: &Connection) -> Result<i64, StoreError> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)
}

fn refuse_other_versions(version: i64) -> Result<(), StoreError> {
    if usize::try_from(version).is_ok_and(|version| version <= MIGRATIONS.len()) {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the store has version {version}, this program knows up to {}: run the version of the program that wrote it, or a later one",
        MIGRATIONS.len()
    )))
}

/// A file of version 0 must be a new one: somebody else's database is not ours to fill.
fn refuse_foreign_tables(connection: &Connection) -> Result<(), StoreError> {
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(unusable)?;
    if tables == 0 {
        return Ok(());
    }
    Err(StoreError::Unusable("the file is a database, but not one of a collector".into()))
}

fn migrate(connection: &mut Connection, version: i64) -> Result<(), StoreError> {
    for (step, migration) in (1_i64..).zip(MIGRATIONS) {
        if step <= version {
            continue;
        }
        let transaction = connection.transaction().map_err(unusable)?;
        transaction.execute_batch(migration).map_err(unusable)?;
        transaction.pragma_update(None, "user_version", step).map_err(unusable)?;
        transaction.commit().map_err(unusable)?;
    }
    Ok(())
}

fn durability(connection: &Connection) -> Result<Durability, StoreError> {
    let text = |name| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok(Durability {
        journal_mode: text("journal_mode").map_err(unusable)?,
        synchronous: number("synchronous").map_err(unusable)?,
        user_version: number("user_version").map_err(unusable)?,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn unusable(error: rusqlite::Error) -> StoreError {
    StoreError::Unusable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of each version that was released, with records of two streams and what was published.
    #[test]
    fn old_files_are_brought_up_to_date() {
        for version in 1..MIGRATIONS.len() {
            let mut file = Connection::open_in_memory().expect("opens");
            MIGRATIONS[..version].iter().for_each(|step| file.execute_batch(step).expect("runs"));
            for (stream, seq, kind, start_s) in [
                (1, 1, 1, 7_199),
                (1, 2, 1, 7_200),
                (1, 3, 1, 7_260),
                (2, 1, 1, 7_260),
                (2, 2, 2, 90_000),
            ] {
                file.execute(
                    "INSERT INTO record VALUES (?1, ?2, ?2, ?3, 60, ?4, 0, x'', x'', x'')",
                    [stream, seq, kind, start_s],
                )
                .expect("runs");
            }
            let number = i64::try_from(version).expect("small");
            file.pragma_update(None, "user_version", number).expect("sets");
            assert_eq!(prepare(&mut file).expect("prepares").user_version, 4);
            let mut select = file
                .prepare("SELECT hour_s, stream, body FROM digest ORDER BY hour_s, stream")
                .expect("is SQL");
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let hours: Vec<(i64, i64, Option<Vec<u8>>)> =
                rows.expect("reads").collect::<Result<_, _>>().expect("fits");
            assert_eq!(hours, [(3_600, 1, None), (7_200, 1, None), (7_200, 2, None)]);
        }
    }
}
