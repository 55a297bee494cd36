//! The statements about what was published. The schema itself refuses to change or to remove a row.

use super::sql::{damaged, int, unsigned};
use super::{PeriodKey, REVISIONS_MAX, TenantScope};
use crate::revision::{Basis, Cause, Revision};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

/// The version of the schema that brought the table: a file that is only read may be older.
const SINCE: i64 = 2;

/// Inserts the revision if it is the next one.
pub(super) fn publish(
    connection: &Connection,
    scope: &TenantScope,
    of: &PeriodKey,
    (revision, result): (&Revision, &str),
) -> Result<bool> {
    let basis = &revision.basis;
    let inserted = connection
        .prepare_cached(
            "INSERT INTO revision (tenant, agreement, kind, period, number, version, made_s, cause, after_final, inputs, terms, exclusions, payable, currency, delta, result)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
             WHERE (SELECT coalesce(max(number), 0) + 1 FROM revision WHERE tenant = ?1 AND agreement = ?2 AND period = ?4) = ?5",
        )?
        .execute(params![
            scope.as_str(),
            of.agreement,
            of.kind,
            of.period,
            int(revision.number)?,
            int(revision.version)?,
            revision.made_s,
            revision.cause.as_str(),
            revision.after_final,
            inputs_text(basis),
            basis.terms,
            basis.exclusions,
            revision.payable,
            revision.currency,
            revision.delta,
            result.as_bytes(),
        ])?;
    Ok(inserted == 1)
}

pub(super) fn revisions(
    connection: &Connection,
    scope: &TenantScope,
    agreement: &str,
    period: Option<&str>,
) -> Result<Vec<(String, Revision)>> {
    if is_older(connection)? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(
        "SELECT * FROM (
           SELECT period, number, version, made_s, cause, after_final, inputs, terms, exclusions, payable, currency, delta
           FROM revision WHERE tenant = ?1 AND agreement = ?2 AND (?3 IS NULL OR period = ?3)
           ORDER BY period DESC, number DESC LIMIT ?4)
         ORDER BY period, number",
    )?;
    let rows =
        statement.query_map(params![scope.as_str(), agreement, period, REVISIONS_MAX], revision)?;
    rows.collect()
}

/// The digest with the number of its form before it; the first form had none.
fn inputs_text(basis: &Basis) -> String {
    match basis.form {
        1 => basis.inputs.clone(),
        form => format!("{form} {}", basis.inputs),
    }
}

fn revision(row: &Row<'_>) -> Result<(String, Revision)> {
    let cause: String = row.get(4)?;
    let inputs: String = row.get(6)?;
    let numbered = inputs
        .split_once(' ')
        .and_then(|(form, digest)| Some((form.parse().ok()?, digest.to_owned())));
    let (form, inputs) = numbered.unwrap_or((1, inputs));
    let revision = Revision {
        number: unsigned(row, 1)?,
        version: unsigned(row, 2)?,
        made_s: row.get(3)?,
        cause: Cause::parse(&cause).ok_or_else(|| damaged(4, "unknown cause of a revision"))?,
        after_final: row.get(5)?,
        basis: Basis { form, inputs, terms: row.get(7)?, exclusions: row.get(8)? },
        payable: row.get(9)?,
        currency: row.get(10)?,
        delta: row.get(11)?,
    };
    Ok((row.get(0)?, revision))
}

pub(super) fn result(
    connection: &Connection,
    scope: &TenantScope,
    of: &PeriodKey,
    number: u64,
) -> Result<Option<String>> {
    if is_older(connection)? {
        return Ok(None);
    }
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT result FROM revision WHERE tenant = ?1 AND agreement = ?2 AND period = ?3 AND number = ?4",
        )?
        .query_row(params![scope.as_str(), of.agreement, of.period, int(number)?], |row| row.get(0))
        .optional()?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| damaged(0, "a result is not text"))
}

fn is_older(connection: &Connection) -> Result<bool> {
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(version < SINCE)
}
