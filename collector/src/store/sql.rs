//! The statements, each a function of a connection. Who runs them, and in which transaction: [`super::sqlite`].

use super::{
    Batch, Cursor, Head, Held, Introduction, KnownAgent, NewRecord, Opened, PAGE_ROWS,
    StoredRecord, StreamEnd, StreamId, TenantScope, evidence,
};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::label::Labels;
use probefleet_proto::name::{NAME_MAX_BYTES, Name};
use probefleet_proto::record::{Kind, genesis_hash};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension as _, Result, Row, params};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Why a session cannot be opened, beside a failing database.
#[derive(Debug)]
pub(super) enum Opening {
    Done(Opened),
    ForeignSpool,
    ForeignAgent,
    NewSpool,
    OtherKey { pinned: PublicKey, offered: PublicKey },
}

// === numbers and texts ===

/// SQLite's integers are signed; a value that does not fit is a bug of the caller, who has checked it.
pub(super) fn int(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn damaged(column: usize, what: &'static str) -> Error {
    Error::FromSqlConversionFailure(column, Type::Blob, what.into())
}

pub(super) fn uuid(row: &Row<'_>, column: usize) -> Result<Uuid> {
    let bytes: [u8; 16] = row.get(column)?;
    Ok(Uuid::from_bytes(bytes))
}

fn name(row: &Row<'_>, column: usize) -> Result<Name> {
    let text: String = row.get(column)?;
    Name::new(&text).map_err(|_| damaged(column, "not a name"))
}

fn labels(row: &Row<'_>, column: usize) -> Result<Labels> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|_| damaged(column, "labels are not JSON"))
}

fn labels_text(labels: &Labels) -> String {
    serde_json::Value::from_iter(labels.iter().map(|(key, value)| (key.as_str(), value.as_str())))
        .to_string()
}

// === agents and sessions ===

pub(super) fn open_session(
    connection: &Connection,
    scope: &TenantScope,
    introduction: &Introduction,
) -> Result<Opening> {
    let foreign_spool = connection
        .prepare_cached("SELECT 1 FROM stream JOIN agent ON agent.id = agent WHERE spool_id = ?1 AND uuid <> ?2")?
        .exists(params![introduction.spool_id, introduction.agent.as_bytes()])?;
    if foreign_spool {
        return Ok(Opening::ForeignSpool);
    }
    if !introduction.may_begin && !is_known(connection, introduction)? {
        return Ok(Opening::NewSpool);
    }
    // Whoever has another key must not fence the one who has the right one: so this is asked before the session is counted.
    let pinned = evidence::pinned(connection, &introduction.spool_id)?;
    if let (Some(pinned), Some(offered)) = (pinned, introduction.evidence)
        && pinned.key != offered.key
    {
        return Ok(Opening::OtherKey { pinned: pinned.key, offered: offered.key });
    }
    let known = connection
        .prepare_cached("SELECT id, tenant FROM agent WHERE uuid = ?1")?
        .query_row([introduction.agent.as_bytes()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let (agent, first_sight) = match known {
        Some((_, tenant)) if tenant != scope.as_str() => return Ok(Opening::ForeignAgent),
        Some((agent, _)) => (agent, false),
        None => (insert_agent(connection, scope, introduction)?, true),
    };
    let (stream, head) = next_session(connection, agent, introduction)?;
    let key_before = match pinned {
        Some(_) => None,
        None => evidence::pin(connection, stream, introduction)?,
    };
    let evidence = pinned.or(introduction.evidence);
    let (name, labels) = connection
        .prepare_cached(
            "SELECT name, labels FROM agent JOIN agent_labels ON agent = id WHERE id = ?1 AND from_s <= ?2 ORDER BY from_s DESC LIMIT 1",
        )?
        .query_row(params![agent, int(introduction.now_s)?], |row| {
            Ok((name(row, 0)?, labels(row, 1)?))
        })?;
    Ok(Opening::Done(Opened { stream, head, name, labels, first_sight, evidence, key_before }))
}

fn is_known(connection: &Connection, introduction: &Introduction) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM stream WHERE spool_id = ?1")?
        .exists([introduction.spool_id])
}

fn insert_agent(
    connection: &Connection,
    scope: &TenantScope,
    introduction: &Introduction,
) -> Result<i64> {
    let name = free_name(connection, scope, introduction)?;
    connection
        .prepare_cached(
            "INSERT INTO agent (tenant, uuid, name, first_seen_s) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            scope.as_str(),
            introduction.agent.as_bytes(),
            name.as_str(),
            int(introduction.now_s)?
        ])?;
    let agent = connection.last_insert_rowid();
    // Valid since ever: what was measured before the first contact has these labels too.
    connection
        .prepare_cached("INSERT INTO agent_labels (agent, from_s, labels) VALUES (?1, 0, ?2)")?
        .execute(params![agent, labels_text(&introduction.proposed_labels)])?;
    Ok(agent)
}

/// The proposed name, or with the shortest part of the agent's id behind it that makes it free.
fn free_name(
    connection: &Connection,
    scope: &TenantScope,
    introduction: &Introduction,
) -> Result<Name> {
    let mut taken =
        connection.prepare_cached("SELECT 1 FROM agent WHERE tenant = ?1 AND name = ?2")?;
    let proposed = &introduction.proposed_name;
    if !taken.exists(params![scope.as_str(), proposed.as_str()])? {
        return Ok(proposed.clone());
    }
    // The end of a UUIDv7 is random, its beginning is the time.
    let id = introduction.agent.simple().to_string();
    for digits in [4, 8, 16, 32] {
        let suffix = &id[id.len() - digits..];
        let room = NAME_MAX_BYTES - digits - 1;
        let stem = &proposed.as_str()[..proposed.as_str().len().min(room)];
        let Ok(name) = Name::new(&format!("{stem}-{suffix}")) else { continue };
        if !taken.exists(params![scope.as_str(), name.as_str()])? {
            return Ok(name);
        }
    }
    Err(Error::InvalidQuery)
}

/// Finds or creates the stream, and counts its session up.
fn next_session(
    connection: &Connection,
    agent: i64,
    introduction: &Introduction,
) -> Result<(StreamId, Head)> {
    let genesis = genesis_hash(&introduction.spool_id);
    connection
        .prepare_cached(
            "INSERT INTO stream (agent, spool_id, last_seq, last_hash, session) VALUES (?1, ?2, 0, ?3, 0) ON CONFLICT (spool_id) DO NOTHING",
        )?
        .execute(params![agent, introduction.spool_id, genesis])?;
    connection
        .prepare_cached(
            "UPDATE stream SET session = session + 1 WHERE spool_id = ?1 AND agent = ?2 RETURNING id, last_seq, last_hash, session",
        )?
        .query_row(params![introduction.spool_id, agent], |row| {
            Ok((StreamId(row.get(0)?), head_of(row, 1)?))
        })
}

fn head_of(row: &Row<'_>, column: usize) -> Result<Head> {
    Ok(Head {
        last_seq: unsigned(row, column)?,
        last_hash: row.get(column + 1)?,
        session: unsigned(row, column + 2)?,
    })
}

pub(super) fn agents(connection: &Connection, scope: &TenantScope) -> Result<Vec<KnownAgent>> {
    let mut labels_by_agent: BTreeMap<i64, Vec<(u64, Labels)>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT agent, from_s, labels FROM agent_labels JOIN agent ON id = agent WHERE tenant = ?1 ORDER BY agent, from_s",
    )?;
    let mut rows = statement.query([scope.as_str()])?;
    while let Some(row) = rows.next()? {
        labels_by_agent.entry(row.get(0)?).or_default().push((unsigned(row, 1)?, labels(row, 2)?));
    }
    let mut statement = connection.prepare_cached(
        "SELECT id, uuid, name, first_seen_s,
           (SELECT max((SELECT window_start_s + window_s FROM record
                        WHERE stream = stream.id AND kind = 1 ORDER BY seq DESC LIMIT 1))
            FROM stream WHERE stream.agent = agent.id)
         FROM agent WHERE tenant = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([scope.as_str()], |row| {
        let last: Option<i64> = row.get(4)?;
        Ok(KnownAgent {
            agent: uuid(row, 1)?,
            name: name(row, 2)?,
            first_seen_s: unsigned(row, 3)?,
            labels: labels_by_agent.remove(&row.get(0)?).unwrap_or_default(),
            last_report_end_s: last.and_then(|end_s| u64::try_from(end_s).ok()),
            evidence_keys: evidence::keys_of(connection, row.get(0)?)?,
        })
    })?;
    rows.collect()
}

// === streams ===

pub(super) fn head(
    connection: &Connection,
    scope: &TenantScope,
    stream: StreamId,
) -> Result<Option<Head>> {
    connection
        .prepare_cached(
            "SELECT last_seq, last_hash, session FROM stream JOIN agent ON agent.id = agent WHERE stream.id = ?1 AND tenant = ?2",
        )?
        .query_row(params![stream.0, scope.as_str()], |row| head_of(row, 0))
        .optional()
}

pub(super) fn held(
    connection: &Connection,
    scope: &TenantScope,
    stream: StreamId,
    sequences: &[u64],
) -> Result<Vec<Option<Held>>> {
    if head(connection, scope, stream)?.is_none() {
        return Ok(vec![None; sequences.len()]);
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, seq_to, hash FROM record WHERE stream = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
    )?;
    let mut held = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let nearest = statement
            .query_row(params![stream.0, int(*sequence)?], |row| {
                Ok(Held { seq: unsigned(row, 0)?, seq_to: unsigned(row, 1)?, hash: row.get(2)? })
            })
            .optional()?;
        held.push(nearest.filter(|record| record.seq_to >= *sequence));
    }
    Ok(held)
}

/// Moves the head, then inserts; `false` when the head was elsewhere.
pub(super) fn commit(connection: &Connection, scope: &TenantScope, batch: &Batch) -> Result<bool> {
    let Some(last) = batch.records.last() else { return Ok(true) };
    let expected = &batch.expected;
    let moved = connection
        .prepare_cached(
            "UPDATE stream SET last_seq = ?1, last_hash = ?2
             WHERE id = ?3 AND last_seq = ?4 AND last_hash = ?5 AND session = ?6
               AND (SELECT tenant FROM agent WHERE agent.id = stream.agent) = ?7",
        )?
        .execute(params![
            int(last.record.seq_to)?,
            last.hash,
            batch.stream.0,
            int(expected.last_seq)?,
            expected.last_hash,
            int(expected.session)?,
            scope.as_str()
        ])?;
    if moved == 0 {
        return Ok(false);
    }
    for record in &batch.records {
        insert_record(connection, batch, record)?;
    }
    Ok(true)
}

fn insert_record(connection: &Connection, batch: &Batch, new: &NewRecord) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO record (stream, seq, seq_to, kind, window_s, window_start_s, received_s, hash, signature, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            batch.stream.0,
            int(new.record.seq)?,
            int(new.record.seq_to)?,
            new.record.kind.code(),
            new.window_s,
            int(new.window_start_s)?,
            int(batch.received_s)?,
            new.hash,
            new.record.signature,
            new.record.payload
        ])?;
    evidence::keep_as_sealed(connection, batch.stream, new)
}

pub(super) fn stream_ends(connection: &Connection, scope: &TenantScope) -> Result<Vec<StreamEnd>> {
    let mut statement = connection.prepare_cached(
        "SELECT stream.id, last_seq FROM stream JOIN agent ON agent.id = agent WHERE tenant = ?1",
    )?;
    let rows = statement.query_map([scope.as_str()], |row| {
        Ok(StreamEnd { stream: StreamId(row.get(0)?), last_seq: unsigned(row, 1)? })
    })?;
    rows.collect()
}

// === records ===

/// The columns of a [`StoredRecord`]. CROSS JOIN keeps the record outermost: its index gives the order.
const SELECT_RECORD: &str =
    "SELECT r.stream, a.uuid, r.seq, r.seq_to, r.kind, r.window_start_s, r.received_s, r.payload
    FROM record r CROSS JOIN stream s ON s.id = r.stream CROSS JOIN agent a ON a.id = s.agent";

pub(super) fn records_between(
    connection: &Connection,
    scope: &TenantScope,
    after: Cursor,
    until_s: u64,
) -> Result<Vec<StoredRecord>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT_RECORD} WHERE (r.window_start_s, r.stream, r.seq) > (?1, ?2, ?3) AND r.window_start_s < ?4 AND a.tenant = ?5
         ORDER BY r.window_start_s, r.stream, r.seq LIMIT ?6"
    ))?;
    let until_s = until_s.min(u64::try_from(i64::MAX).unwrap_or(u64::MAX));
    let bounds = params![
        int(after.window_start_s)?,
        after.stream.0,
        int(after.seq)?,
        int(until_s)?,
        scope.as_str(),
        PAGE_ROWS
    ];
    statement.query_map(bounds, stored_record)?.collect()
}

pub(super) fn records_after(
    connection: &Connection,
    scope: &TenantScope,
    stream: StreamId,
    seq: u64,
) -> Result<Vec<StoredRecord>> {
    let mut statement = connection.prepare_cached(&format!(
        "{SELECT_RECORD} WHERE r.stream = ?1 AND r.seq > ?2 AND a.tenant = ?3 ORDER BY r.seq LIMIT ?4"
    ))?;
    let bounds = params![stream.0, int(seq)?, scope.as_str(), PAGE_ROWS];
    statement.query_map(bounds, stored_record)?.collect()
}

fn stored_record(row: &Row<'_>) -> Result<StoredRecord> {
    let kind: u8 = row.get(4)?;
    Ok(StoredRecord {
        stream: StreamId(row.get(0)?),
        agent: uuid(row, 1)?,
        seq: unsigned(row, 2)?,
        seq_to: unsigned(row, 3)?,
        kind: Kind::from_code(kind).ok_or_else(|| damaged(4, "unknown kind of record"))?,
        window_start_s: unsigned(row, 5)?,
        received_s: unsigned(row, 6)?,
        payload: row.get(7)?,
    })
}
