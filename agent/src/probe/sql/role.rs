//! What is said before the query: a transaction that reads only, our limits, and what the role may do.
//!
//! The role's own rights are the boundary. `READ ONLY` stops an honest mistake; it is not what keeps a statement that a
//! captured collector chose from writing, so a role that could write is not let in (`policy_denied`, `role`).

use super::error::Trouble;
use crate::probe::failure::Failure;
use probefleet_proto::name::InvalidReason;
use std::time::Duration;
use tokio_postgres::SimpleQueryMessage;

/// Most of the time that is left which is kept for the server's own limit to come first.
const MARGIN_MAX: Duration = Duration::from_millis(50);
/// And the part of it that the margin may be, as for the way there and back.
const MARGIN_PART: u32 = 20;
/// An open transaction that nobody goes on with ends by itself this long after the attempt's deadline.
const IDLE_AFTER: Duration = Duration::from_secs(1);
/// What a role that is let in looks like.
const CURE: &str = "CREATE ROLE probe LOGIN PASSWORD '…'; GRANT pg_read_all_data TO probe; or GRANT SELECT on the tables alone";

/// The limits that the server keeps for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    statement_ms: u128,
    lock_ms: u128,
    idle_ms: u128,
}

impl Limits {
    /// So that the server's limit comes before our deadline, and its word for it still reaches us: a lock that is not had
    /// first, then a statement that takes too long.
    pub(super) fn new(left: Duration, round_trip: Duration) -> Self {
        let part = left / MARGIN_PART;
        let margin = part.min(MARGIN_MAX);
        // One round trip until the query leaves, one for it and its answer.
        let way = round_trip.saturating_mul(2).min(part);
        let statement = left.saturating_sub(margin).saturating_sub(way);
        let lock = statement.saturating_sub(margin / 2);
        // Zero would be no limit at all.
        let ms = |limit: Duration| limit.as_millis().max(1);
        Self { statement_ms: ms(statement), lock_ms: ms(lock), idle_ms: ms(left + IDLE_AFTER) }
    }
}

/// Who is logged in, and the worst right that a probe must not have, in words. It reads the catalog alone, each table of it
/// once: where there are ten thousand tables, `has_table_privilege` for each takes half a second, and this a tenth.
///
/// `MEMBER`, not `USAGE`: a role that may `SET ROLE` has the other's rights one statement later. Who owns a table may write
/// it, or can grant that to himself. The grantee 0 is PUBLIC.
const ROLE: &str = "\
WITH reachable AS MATERIALIZED (
  SELECT oid, rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication,
    CASE WHEN rolname = session_user THEN '' ELSE 'may become ' || rolname || ', which ' END AS how
  FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
), grantee AS MATERIALIZED (
  SELECT oid, how FROM reachable WHERE NOT EXISTS (SELECT FROM reachable WHERE rolsuper)
  UNION ALL SELECT 0, ''
), writable AS (
  SELECT relowner AS role, oid AS relation FROM pg_catalog.pg_class
  UNION ALL SELECT acl.grantee, c.oid FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) acl
    WHERE acl.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
  UNION ALL SELECT acl.grantee, a.attrelid FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) acl
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND acl.privilege_type IN ('INSERT', 'UPDATE')
), found AS (
  SELECT 1 AS rank, how, 'is a superuser' AS what FROM reachable WHERE rolsuper
  UNION ALL SELECT 2, '', 'has the rights of ' || rolname FROM reachable WHERE rolname IN (
    'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_write_all_data')
  UNION ALL SELECT 3, how, 'may create roles' FROM reachable WHERE rolcreaterole
  UNION ALL SELECT 4, how, 'may create databases' FROM reachable WHERE rolcreatedb
  UNION ALL SELECT 5, how, 'may start replication' FROM reachable WHERE rolreplication
  UNION ALL (
    SELECT 6, g.how, 'may write ' || pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM grantee g JOIN writable w ON w.role = g.oid
      JOIN pg_catalog.pg_class c ON c.oid = w.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'f') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    LIMIT 1)
)
SELECT session_user, (SELECT how || what FROM found ORDER BY rank, how LIMIT 1)";

/// The text that opens the transaction. It reads, so that the transaction has its snapshot and can never be made
/// `READ WRITE` again (`SET TRANSACTION`, PostgreSQL 15).
///
/// The limits come last, less the time that the server itself took until then: it is not what the network takes, and where
/// there are many tables it is more than the margin.
pub(super) fn set_up(limits: Limits, ask_role: bool) -> String {
    let Limits { statement_ms, lock_ms, idle_ms } = limits;
    let role = if ask_role { ROLE } else { "" };
    let took_ms = "(extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.transaction_timestamp()) * 1000)::int8";
    // At least 1, because 0 is no limit; at most what was asked for, should the server's clock be set meanwhile.
    let limit = |name: &str, ms: u128| {
        format!(
            "pg_catalog.set_config('{name}', greatest(1, least({ms}, {ms} - {took_ms}))::text, true)"
        )
    };
    format!(
        "BEGIN READ ONLY; {role}; SELECT {}, {}, pg_catalog.set_config('idle_in_transaction_session_timeout', '{idle_ms}', true)",
        limit("statement_timeout", statement_ms),
        limit("lock_timeout", lock_ms),
    )
}

/// Judges what the server said about the role.
pub(super) fn check(answer: &[SimpleQueryMessage]) -> Result<(), Trouble> {
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let Some(row) = row else {
        return Err(refused("the server did not say what the role may do"));
    };
    match (row.get(0), row.get(1)) {
        (_, None) => Ok(()),
        (role, Some(right)) => {
            Err(refused(format!("the role {} {right}", role.unwrap_or_default())))
        }
    }
}

fn refused(what: impl Into<String>) -> Trouble {
    let failure = Failure::invalid(InvalidReason::PolicyDenied, "role", what);
    Trouble { failure, notes: vec![("cure", CURE.to_owned())] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_limits_come_first() {
        let ms = Duration::from_millis;
        for (left, round_trip, statement_ms, lock_ms) in [
            (10_000, 0, 9_950, 9_925),
            (10_000, 20, 9_910, 9_885),
            // A connection that took long leaves the query its time.
            (10_000, 3_000, 9_450, 9_425),
            (1_000, 1, 948, 923),
            (100, 0, 95, 92),
            (1, 0, 1, 1),
            (0, 0, 1, 1),
        ] {
            let limits = Limits::new(ms(left), ms(round_trip));
            assert_eq!(
                (limits.statement_ms, limits.lock_ms),
                (statement_ms, lock_ms),
                "{left} {round_trip}"
            );
            assert_eq!(limits.idle_ms, u128::from(left) + 1_000);
        }
    }
}
