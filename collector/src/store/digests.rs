//! Digests by hour and stream, and the statements about them. The table has a row for each hour in which a stream has reports; the schema lets go of
//! its digest when one comes.

use super::sql::{int, unsigned, uuid};
use super::{StreamId, TenantScope};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};
use uuid::Uuid;

/// The time of a digest, s: it begins at a multiple of it.
pub const HOUR_S: u64 = 3_600;
/// Most hours of streams that one read returns, each with a digest of at most [`crate::digest::BODY_MAX_BYTES`]: 64 MiB
/// at worst.
pub const HOURS_PAGE: u32 = 64;

/// A place in the order (hour, stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HourCursor {
    hour_s: u64,
    stream: StreamId,
}

impl HourCursor {
    /// Before every stream's hour that contains `from_s`.
    #[must_use]
    pub const fn before(from_s: u64) -> Self {
        Self { hour_s: from_s / HOUR_S * HOUR_S, stream: StreamId(0) }
    }
}

impl From<&StoredHour> for HourCursor {
    fn from(hour: &StoredHour) -> Self {
        Self { hour_s: hour.hour_s, stream: hour.stream }
    }
}

/// An hour in which a stream has reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHour {
    /// Its beginning, Unix seconds.
    pub hour_s: u64,
    /// The stream.
    pub stream: StreamId,
    /// Its agent.
    pub agent: Uuid,
    /// What all of its reports come to; `None` where that is not known, or no longer.
    pub digest: Option<Digest>,
}

/// A digest ([`crate::digest`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// What it was made from beside the records.
    pub basis: Vec<u8>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// A digest of a stream's hour that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDigest {
    /// The stream.
    pub stream: StreamId,
    /// The last sequence of which is known whether it belongs to the hour.
    pub read_to: u64,
    /// The digest.
    pub digest: Digest,
}

// === statements ===

pub(super) fn hours_after(
    connection: &Connection,
    scope: &TenantScope,
    after: HourCursor,
    until_s: u64,
) -> Result<Vec<StoredHour>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.hour_s, d.stream, a.uuid, d.basis, d.body
         FROM digest d CROSS JOIN stream s ON s.id = d.stream CROSS JOIN agent a ON a.id = s.agent
         WHERE (d.hour_s, d.stream) > (?1, ?2) AND d.hour_s < ?3 AND a.tenant = ?4
         ORDER BY d.hour_s, d.stream LIMIT ?5",
    )?;
    let until_s = int(until_s.min(u64::MAX >> 1))?;
    let bounds = params![int(after.hour_s)?, after.stream.0, until_s, scope.as_str(), HOURS_PAGE];
    statement.query_map(bounds, stored_hour)?.collect()
}

fn stored_hour(row: &Row<'_>) -> Result<StoredHour> {
    let (basis, body): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(3)?, row.get(4)?);
    Ok(StoredHour {
        hour_s: unsigned(row, 0)?,
        stream: StreamId(row.get(1)?),
        agent: uuid(row, 2)?,
        digest: basis.zip(body).map(|(basis, body)| Digest { basis, body }),
    })
}

/// The first hour of a stretch that has a stream without a digest.
pub(super) fn hour_due(
    connection: &Connection,
    scope: &TenantScope,
    from_s: u64,
    until_s: u64,
) -> Result<Option<u64>> {
    connection
        .prepare_cached(
            "SELECT d.hour_s FROM digest d CROSS JOIN stream s ON s.id = d.stream CROSS JOIN agent a ON a.id = s.agent
             WHERE d.body IS NULL AND d.hour_s >= ?1 AND d.hour_s < ?2 AND a.tenant = ?3 ORDER BY d.hour_s LIMIT 1",
        )?
        .query_row(params![int(from_s)?, int(until_s)?, scope.as_str()], |row| unsigned(row, 0))
        .optional()
}

/// Keeps a digest, unless the hour has a record that it was not made from.
pub(super) fn keep_digests(
    connection: &Connection,
    scope: &TenantScope,
    hour_s: u64,
    digests: &[NewDigest],
) -> Result<()> {
    // The plus signs keep it to the stream's latest records, of which there are few.
    let mut statement = connection.prepare_cached(
        "UPDATE digest SET basis = ?1, body = ?2 WHERE hour_s = ?3 AND stream = ?4
           AND (SELECT tenant FROM agent JOIN stream ON agent.id = stream.agent WHERE stream.id = ?4) = ?5
           AND NOT EXISTS (SELECT 1 FROM record WHERE stream = ?4 AND seq > ?6 AND +window_start_s >= ?3 AND +window_start_s < ?3 + ?7)",
    )?;
    for NewDigest { stream, read_to, digest } in digests {
        let Digest { basis, body } = digest;
        let place = (int(hour_s)?, stream.0, scope.as_str(), int(*read_to)?, int(HOUR_S)?);
        statement.execute(params![basis, body, place.0, place.1, place.2, place.3, place.4])?;
    }
    Ok(())
}
