//! The evidence keys of streams, and records as an auditor reads them.
//!
//! A key is pinned to a stream by the first Hello that names one, for good: the schema refuses another. Reading for an audit
//! trusts no column: whatever stands there is handed on, and [`crate::audit`] says what is wrong with it.

use super::sql::{damaged, int, unsigned, uuid};
use super::{Introduction, NewRecord, PAGE_ROWS, StreamId, TenantScope};
use probefleet_proto::evidence::{PUBLIC_KEY_BYTES, PublicKey, SIGNATURE_BYTES};
use probefleet_proto::record::{Hash, PAYLOAD_MAX_BYTES, SpoolId};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};
use uuid::Uuid;

/// The schema's version that has keys.
const VERSION_WITH_KEYS: i64 = 4;

/// How the records of a stream are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// By this key, for good.
    pub key: PublicKey,
    /// From this sequence on every record is; an earlier one may be unsigned.
    pub signed_from: u64,
}

/// A stream as an auditor needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamId,
    /// Its agent.
    pub agent: Uuid,
    /// The agent's name.
    pub name: String,
    /// The spool whose records it has.
    pub spool_id: SpoolId,
    /// Its key; none as long as its agent named none.
    pub evidence: Option<Evidence>,
    /// Highest committed sequence; 0 = none.
    pub last_seq: u64,
    /// The hash behind it.
    pub last_hash: Vec<u8>,
}

/// A committed record to the last byte, whatever the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// First sequence that it settles.
    pub seq: u64,
    /// Last sequence.
    pub seq_to: u64,
    /// What the payload is.
    pub kind: u64,
    /// Width of the window, s, by which it is found.
    pub window_s: u64,
    /// Start of the window, Unix seconds, by which it is found.
    pub window_start_s: u64,
    /// What the next record chains to.
    pub hash: Vec<u8>,
    /// By its agent; empty = unsigned.
    pub signature: Vec<u8>,
    /// As the agent encoded it; the beginning of one that is too long.
    pub payload: Vec<u8>,
    /// Of a gap that reaches back over records that were held: its first sequence as it was sealed, and the hash before that.
    pub reaches_back: Option<(u64, Vec<u8>)>,
}

// === pinning ===

/// The key that is pinned to a spool's stream, if there is one.
pub(super) fn pinned(connection: &Connection, spool_id: &SpoolId) -> Result<Option<Evidence>> {
    let found = connection
        .prepare_cached("SELECT evidence_key, signed_from FROM stream WHERE spool_id = ?1")?
        .query_row([spool_id], |row| evidence_of(row, 0))
        .optional()?;
    Ok(found.flatten())
}

/// Pins the key that an agent named to its stream. Gives the key of the agent's stream before, if that was another.
pub(super) fn pin(
    connection: &Connection,
    stream: StreamId,
    introduction: &Introduction,
) -> Result<Option<PublicKey>> {
    let Some(Evidence { key, signed_from }) = introduction.evidence else { return Ok(None) };
    connection
        .prepare_cached("UPDATE stream SET evidence_key = ?1, signed_from = ?2 WHERE id = ?3")?
        .execute(params![key.as_bytes(), int(signed_from)?, stream.0])?;
    let before = connection
        .prepare_cached(
            "SELECT evidence_key, signed_from FROM stream
             WHERE agent = (SELECT agent FROM stream WHERE id = ?1) AND id < ?1 AND evidence_key IS NOT NULL
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row([stream.0], |row| evidence_of(row, 0))
        .optional()?;
    Ok(before.flatten().map(|evidence| evidence.key).filter(|before| *before != key))
}

/// Different keys that were pinned to an agent's streams, oldest first.
pub(super) fn keys_of(connection: &Connection, agent: i64) -> Result<Vec<PublicKey>> {
    if !has_keys(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT evidence_key, min(signed_from) FROM stream WHERE agent = ?1 AND evidence_key IS NOT NULL GROUP BY evidence_key ORDER BY min(id)",
    )?;
    let keys =
        statement.query_map([agent], |row| Ok(evidence_of(row, 0)?.map(|found| found.key)))?;
    keys.filter_map(Result::transpose).collect()
}

fn evidence_of(row: &Row<'_>, column: usize) -> Result<Option<Evidence>> {
    let Some(key) = row.get::<_, Option<[u8; PUBLIC_KEY_BYTES]>>(column)? else { return Ok(None) };
    let key = PublicKey::new(key).map_err(|_| damaged(column, "no evidence key"))?;
    Ok(Some(Evidence { key, signed_from: unsigned(row, column + 1)? }))
}

/// A gap that was cut to what it settles is kept as it was sealed too: its signature is over that.
pub(super) fn keep_as_sealed(
    connection: &Connection,
    stream: StreamId,
    new: &NewRecord,
) -> Result<()> {
    if new.sealed_seq == new.record.seq {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO gap_as_sealed (stream, seq, sealed_seq, prev_hash) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            stream.0,
            int(new.record.seq)?,
            int(new.sealed_seq)?,
            new.record.prev_hash
        ])?;
    Ok(())
}

// === auditing ===

/// A file that only an earlier version has written has no keys; who reads only does not change that.
fn has_keys(connection: &Connection) -> Result<bool> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(version >= VERSION_WITH_KEYS)
}

pub(super) fn streams(connection: &Connection, scope: &TenantScope) -> Result<Vec<StreamInfo>> {
    let keys = if has_keys(connection)? { "evidence_key, signed_from" } else { "NULL, NULL" };
    let mut statement = connection.prepare_cached(&format!(
        "SELECT s.id, a.uuid, a.name, s.spool_id, s.last_seq, s.last_hash, {keys}
         FROM stream s JOIN agent a ON a.id = s.agent WHERE a.tenant = ?1 ORDER BY a.name, s.id"
    ))?;
    let rows = statement.query_map([scope.as_str()], |row| {
        Ok(StreamInfo {
            stream: StreamId(row.get(0)?),
            agent: uuid(row, 1)?,
            name: row.get(2)?,
            spool_id: row.get(3)?,
            evidence: evidence_of(row, 6)?,
            last_seq: unsigned(row, 4)?,
            last_hash: bytes(row, 5)?,
        })
    })?;
    rows.collect()
}

/// The records of a stream between the first and the last of the windows that start in `[from_s, until_s)`: the sequence of
/// the record before them (0 = none), and the last one.
pub(super) fn stretch(
    connection: &Connection,
    (scope, stream): (&TenantScope, StreamId),
    (from_s, until_s): (u64, u64),
) -> Result<Option<(u64, u64)>> {
    if super::sql::head(connection, scope, stream)?.is_none() {
        return Ok(None);
    }
    let end = |order: &str| {
        let sql = format!(
            "SELECT seq FROM record WHERE stream = ?1 AND +window_start_s >= ?2 AND +window_start_s < ?3 ORDER BY seq {order} LIMIT 1"
        );
        let until_s = until_s.min(u64::try_from(i64::MAX).unwrap_or(u64::MAX));
        let range = params![stream.0, int(from_s)?, int(until_s)?];
        connection.prepare_cached(&sql)?.query_row(range, |row| Ok(number(row, 0))).optional()
    };
    let (Some(first), Some(last)) = (end("ASC")?, end("DESC")?) else { return Ok(None) };
    let before = connection
        .prepare_cached("SELECT max(seq) FROM record WHERE stream = ?1 AND seq < ?2")?
        .query_row(params![stream.0, int(first)?], |row| Ok(number(row, 0)))?;
    Ok(Some((before, last)))
}

pub(super) fn sealed_from(
    connection: &Connection,
    (scope, stream): (&TenantScope, StreamId),
    seq: u64,
) -> Result<Vec<SealedRecord>> {
    if super::sql::head(connection, scope, stream)?.is_none() {
        return Ok(Vec::new());
    }
    let (columns, join) = if has_keys(connection)? {
        (
            "g.sealed_seq, g.prev_hash",
            "LEFT JOIN gap_as_sealed g ON g.stream = r.stream AND g.seq = r.seq",
        )
    } else {
        ("NULL, NULL", "")
    };
    // One byte more than there may be: what is longer is seen, and not read.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT r.seq, r.seq_to, r.kind, r.window_s, r.window_start_s, substr(r.hash, 1, {}), substr(r.signature, 1, {}), substr(r.payload, 1, {}), {columns}
         FROM record r {join} WHERE r.stream = ?1 AND r.seq >= ?2 ORDER BY r.seq LIMIT ?3",
        size_of::<Hash>() + 1,
        SIGNATURE_BYTES + 1,
        PAYLOAD_MAX_BYTES + 1
    ))?;
    let rows = statement.query_map(params![stream.0, int(seq)?, PAGE_ROWS], |row| {
        let sealed_seq: Option<i64> = row.get(8)?;
        let prev_hash = bytes(row, 9)?;
        Ok(SealedRecord {
            seq: number(row, 0),
            seq_to: number(row, 1),
            kind: number(row, 2),
            window_s: number(row, 3),
            window_start_s: number(row, 4),
            hash: bytes(row, 5)?,
            signature: bytes(row, 6)?,
            payload: bytes(row, 7)?,
            reaches_back: sealed_seq.map(|seq| (u64::try_from(seq).unwrap_or(0), prev_hash)),
        })
    })?;
    rows.collect()
}

/// A number as it stands there; 0 for what is none.
fn number(row: &Row<'_>, column: usize) -> u64 {
    row.get::<_, i64>(column).ok().and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

/// Bytes as they stand there; none for what are none.
fn bytes(row: &Row<'_>, column: usize) -> Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => Vec::new(),
    })
}
