//! Nothing is ever written, whatever the statement and whoever the role.

use super::{Desk, PASSWORD, assert_outcome, detail};
use harness::postgres::Postgres;
use serde_json::{Value, json};

/// How many rows anybody has written where nobody may.
fn written(postgres: &Postgres) -> String {
    postgres.sql("SELECT count(*) FROM ledger")
}

fn desk(test: &str) -> Option<Desk> {
    let desk = Desk::new(test)?;
    desk.postgres.sql(
        "CREATE TABLE ledger (id int); CREATE SEQUENCE numbers; GRANT ALL ON SEQUENCE numbers TO probe;
         CREATE FUNCTION book() RETURNS int LANGUAGE sql VOLATILE SECURITY DEFINER AS 'INSERT INTO ledger VALUES (1) RETURNING id';
         CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; INSERT INTO ledger VALUES (1); END'",
    );
    Some(desk)
}

#[test]
fn no_statement_writes() {
    let Some(desk) = desk("no_statement_writes") else { return };
    for (query, expected) in [
        // Two statements are one too many.
        ("COMMIT; INSERT INTO ledger VALUES (1)", "failed status sqlstate:42601"),
        ("SELECT 1; SELECT 2", "failed status sqlstate:42601"),
        ("INSERT INTO ledger VALUES (1)", "failed status sqlstate:25006"),
        ("SELECT book()", "failed status sqlstate:25006"),
        ("SELECT nextval('numbers')", "failed status sqlstate:25006"),
        ("CREATE TABLE mine (id int)", "failed status sqlstate:25006"),
        ("CREATE TEMP TABLE mine (id int)", "failed status sqlstate:25006"),
        ("SELECT * INTO mine FROM facts", "failed status sqlstate:25006"),
        ("CALL commits()", "failed status sqlstate:2D000"),
        ("DO 'BEGIN COMMIT; INSERT INTO ledger VALUES (1); END'", "failed status sqlstate:2D000"),
        // The transaction cannot be made one that writes.
        ("SET TRANSACTION READ WRITE", "failed status sqlstate:25001"),
        (
            "SELECT set_config('transaction_read_only', 'off', true), book()",
            "failed status sqlstate:25001",
        ),
        (
            "SELECT set_config('transaction_read_only', 'off', false), book()",
            "failed status sqlstate:25001",
        ),
        // What may be said does nothing.
        ("SELECT set_config('default_transaction_read_only', 'off', false)", "ok"),
        (
            "SELECT set_config('statement_timeout', '0', false), pg_sleep(30)",
            "failed timeout sqlstate:57014",
        ),
        ("COMMIT", "ok"),
        ("SELECT pg_notify('a', 'b')", "ok"),
        ("VACUUM ledger", "failed status sqlstate:25001"),
    ] {
        let attempt = desk.attempt(query);
        assert_outcome(&attempt, expected);
        assert_eq!(written(&desk.postgres), "0", "{query} has written");
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relname = 'mine'";
    assert_eq!(desk.postgres.sql(tables), "0");
}

#[test]
fn a_lock_of_a_statement_ends_with_its_attempt() {
    let Some(desk) = desk("a_lock_of_a_statement_ends_with_its_attempt") else { return };
    for session in ["fresh", "kept"] {
        let block = json!({"query": "SELECT pg_advisory_lock(42)", "session": session});
        // Where one attempt's lock outlived it, nobody else could have it.
        let tried = desk.tries("2s", block, "--count 3 --every 0s");
        assert!(
            tried.attempts.iter().all(|attempt| attempt["outcome"] == "ok"),
            "{:?}",
            tried.attempts
        );
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
        desk.postgres.wait_until(locks, "0", std::time::Duration::from_secs(2));
    }
}

/// An attempt of a role that was made for it; `sql` says what it may do.
fn attempt_as(desk: &Desk, sql: &str) -> Value {
    desk.postgres.sql(&format!("CREATE ROLE other LOGIN PASSWORD '{PASSWORD}'; {sql}"));
    let port = desk.postgres.port;
    desk.write(
        "erp.url",
        &format!("host=127.0.0.1 port={port} user=other password='{PASSWORD}' dbname=postgres"),
        0o600,
    );
    let attempt = desk.attempt("SELECT 1");
    let clerk = desk.postgres.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'clerk'") == "1";
    let others = if clerk { "other, clerk" } else { "other" };
    desk.postgres.sql(&format!("DROP OWNED BY {others}; DROP ROLE {others}"));
    attempt
}

#[test]
fn a_role_that_could_write_is_not_let_in() {
    let Some(desk) = desk("a_role_that_could_write_is_not_let_in") else { return };
    desk.postgres.sql("CREATE VIEW book_view AS SELECT * FROM ledger; CREATE SCHEMA \"Shop 1\"; CREATE TABLE \"Shop 1\".orders (a int, b int)");
    for (sql, right) in [
        ("ALTER ROLE other SUPERUSER", "is a superuser"),
        ("ALTER ROLE other CREATEROLE", "may create roles"),
        ("ALTER ROLE other CREATEDB", "may create databases"),
        ("ALTER ROLE other REPLICATION", "may start replication"),
        ("GRANT INSERT ON ledger TO other", "may write public.ledger"),
        ("GRANT UPDATE ON ledger TO other", "may write public.ledger"),
        ("GRANT DELETE ON ledger TO other", "may write public.ledger"),
        ("GRANT TRUNCATE ON ledger TO other", "may write public.ledger"),
        ("GRANT UPDATE (b) ON \"Shop 1\".orders TO other", "may write \"Shop 1\".orders"),
        ("GRANT INSERT ON book_view TO other", "may write public.book_view"),
        ("CREATE TABLE own (id int); ALTER TABLE own OWNER TO other", "may write public.own"),
        ("GRANT pg_write_all_data TO other", "has the rights of pg_write_all_data"),
        ("GRANT pg_read_server_files TO other", "has the rights of pg_read_server_files"),
        ("GRANT pg_write_server_files TO other", "has the rights of pg_write_server_files"),
        ("GRANT pg_execute_server_program TO other", "has the rights of pg_execute_server_program"),
        ("GRANT pg_signal_backend TO other", "has the rights of pg_signal_backend"),
        // One SET ROLE away.
        (
            "CREATE ROLE clerk; GRANT INSERT ON ledger TO clerk; ALTER ROLE other NOINHERIT; GRANT clerk TO other",
            "may become clerk, which may write public.ledger",
        ),
        ("GRANT postgres TO other", "may become postgres, which is a superuser"),
    ] {
        let attempt = attempt_as(&desk, &format!("{sql}; GRANT SELECT ON facts TO other"));
        assert_outcome(&attempt, "invalid policy_denied role");
        assert_eq!(detail(&attempt, "error"), format!("the role other {right}"), "{sql}");
        assert!(detail(&attempt, "cure").contains("GRANT pg_read_all_data TO probe"), "{attempt}");
        assert_eq!(attempt["phases_ns"].get("query"), None, "it was not asked anything");
    }
    for sql in [
        "GRANT pg_read_all_data TO other",
        "GRANT pg_monitor TO other",
        "ALTER ROLE other BYPASSRLS",
        "GRANT SELECT, REFERENCES, TRIGGER ON ledger TO other",
    ] {
        assert_outcome(&attempt_as(&desk, sql), "ok");
    }
    desk.postgres.sql("GRANT INSERT ON ledger TO PUBLIC");
    assert_outcome(&attempt_as(&desk, ""), "invalid policy_denied role");
}

#[test]
fn only_the_policy_lets_a_role_in_that_may_write_and_even_then_nothing_is_written() {
    let Some(desk) =
        desk("only_the_policy_lets_a_role_in_that_may_write_and_even_then_nothing_is_written")
    else {
        return;
    };
    desk.postgres.sql("GRANT INSERT ON ledger TO probe");
    assert_outcome(&desk.attempt("SELECT 1"), "invalid policy_denied role");
    let allow = format!("allow: [{{kind: sql, to: ['127.0.0.1:{}']}}]\n", desk.postgres.port);
    for (may_write, query, expected) in [
        ("", "SELECT 1", "invalid policy_denied role"),
        (", role_may_write: false", "SELECT 1", "invalid policy_denied role"),
        (", role_may_write: true", "SELECT 1", "ok"),
        (", role_may_write: true", "INSERT INTO ledger VALUES (1)", "failed status sqlstate:25006"),
    ] {
        let policy = format!("{allow}sql: {{erp: {{url_file: erp.url{may_write}}}}}\n");
        desk.write("policy.yaml", &policy, 0o600);
        let tried =
            desk.tries("2s", json!({"source": "erp", "query": query}), "--policy policy.yaml");
        assert_outcome(&tried.attempts[0], expected);
    }
    // A plan cannot say so itself.
    let tried = desk.tries(
        "2s",
        json!({"url_file": "erp.url", "query": "SELECT 1", "role_may_write": true}),
        "",
    );
    assert_eq!(tried.code, Some(2));
    assert!(tried.stderr.contains("unknown-key: `role_may_write`"), "{}", tried.stderr);
    assert_eq!(written(&desk.postgres), "0");
}
