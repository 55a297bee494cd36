//! First values, checksums, and what else a result must be.

use super::{Desk, assert_outcome, detail};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Values of every type that is written here, as SQL has them.
const VALUES: [&str; 52] = [
    "true",
    "false",
    "(-32768)::int2",
    "2147483647",
    "(-9223372036854775808)::int8",
    "4294967295::oid",
    "0::float8",
    "1::float8",
    "(-1.5)::float8",
    "1e15::float8",
    "123456789012345::float8",
    "1e-5::float8",
    "0.0001::float8",
    "1.7976931348623157e308::float8",
    "5e-324::float8",
    "0.1::float8",
    "'NaN'::float8",
    "'-Infinity'::float8",
    "1e6::float4",
    "0.1::float4",
    "123456::float4",
    "3.4e38::float4",
    "0::numeric",
    "0.00::numeric",
    "12345.678900::numeric",
    "(-0.000012)::numeric",
    "1e20::numeric",
    "1e-20::numeric",
    "'NaN'::numeric",
    "99999999.9999::numeric",
    "'Infinity'::numeric",
    "'plain'::text",
    "''::text",
    "'grün'::varchar",
    "'a'::char(4)",
    "'a name'::name",
    "'{\"a\":  1}'::json",
    "'{\"a\":  1}'::jsonb",
    "'x'",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid",
    "'\\x00ff'::bytea",
    "'2024-02-29'::date",
    "'0001-01-01'::date",
    "'infinity'::date",
    "'9999-12-31'::date",
    "'2024-02-29 12:34:56'::timestamp",
    "'1999-12-31 23:59:59.999999'::timestamp",
    "'2024-01-01 00:00:00.5+02'::timestamptz",
    "'-infinity'::timestamptz",
    "'00:00:00'::time",
    "'23:59:59.000001'::time",
    "xmlelement(name a)",
];

#[test]
fn values_are_written_as_the_server_writes_them() {
    let Some(desk) = Desk::new("values_are_written_as_the_server_writes_them") else { return };
    desk.postgres.sql("ALTER DATABASE postgres SET timezone = 'UTC'");
    // All in one plan: each is asked for as it is, and must be what the server casts it to.
    let probes: Vec<_> = VALUES
        .iter()
        .enumerate()
        .map(|(index, value)| {
            let text = desk.postgres.sql(&format!("SELECT ({value})::text"));
            let sql = json!({"url_file": "erp.url", "query": format!("SELECT {value}"), "expect": {"first": text}});
            json!({"name": format!("v{index}"), "every": "60s", "sql": sql})
        })
        .collect();
    desk.write("plan.yaml", &json!({"probes": probes}).to_string(), 0o600);
    let tried = desk.command("probefleet-agent try plan.yaml --format json");
    assert_eq!(tried.attempts.len(), VALUES.len(), "{}", tried.stderr);
    for attempt in &tried.attempts {
        let index: usize =
            attempt["probe"].as_str().expect("a name")[1..].parse().expect("a number");
        assert_eq!(attempt["outcome"], "ok", "{}: {attempt}", VALUES[index]);
    }
}

#[test]
fn what_cannot_be_compared_says_what_to_write() {
    let Some(desk) = Desk::new("what_cannot_be_compared_says_what_to_write") else { return };
    desk.postgres.sql("CREATE TYPE mood AS ENUM ('sad', 'happy')");
    for (query, first, expected, error) in [
        (
            "SELECT '1 day'::interval",
            "1 day",
            "failed assertion value",
            "the first value is of type interval: write `::text` behind it",
        ),
        ("SELECT ARRAY[1]", "{1}", "failed assertion value", "of type _int4"),
        ("SELECT NULL::int", "", "failed assertion value", "the first value is NULL"),
        ("SELECT 1 WHERE false", "1", "failed assertion value", "there is no row"),
        ("SELECT", "1", "failed assertion value", "a row without columns"),
        ("SELECT 2", "1", "failed assertion value", "the first value is `2`, not `1`"),
        ("SELECT '1 day'::interval::text", "1 day", "ok", ""),
        // A type of the database's own is not even read: the library would ask the server about it meanwhile.
        (
            "SELECT 1, 'sad'::mood AS feeling",
            "1",
            "invalid agent_error type",
            "the column `feeling`",
        ),
        ("SELECT 'sad'::mood::text", "sad", "ok", ""),
    ] {
        let attempt = desk.attempt_of(json!({"query": query, "expect": {"first": first}}));
        assert_outcome(&attempt, expected);
        assert!(detail(&attempt, "error").contains(error), "{query}: {attempt}");
    }
}

/// The definition of `agent/PROBES.md`, recomputed from it alone.
#[test]
fn the_checksum_is_what_it_is_said_to_be() {
    let Some(desk) = Desk::new("the_checksum_is_what_it_is_said_to_be") else { return };
    let query = "SELECT id, name, NULL FROM facts ORDER BY id LIMIT 2";
    let mut bytes = Vec::new();
    for id in 1..=2_i32 {
        let name = format!("fact {id}");
        bytes.extend(3_u16.to_be_bytes());
        bytes.extend(4_i32.to_be_bytes());
        bytes.extend(id.to_be_bytes());
        bytes.extend(i32::try_from(name.len()).expect("short").to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend((-1_i32).to_be_bytes());
    }
    let checksum: String =
        Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = desk.attempt(query);
    assert_eq!(detail(&shown, "checksum"), checksum, "{shown}");
    let same =
        desk.attempt_of(json!({"query": query, "expect": {"checksum": checksum, "rows": 2}}));
    assert_outcome(&same, "ok");
    let changed = json!({"query": format!("{query} OFFSET 1"), "expect": {"checksum": checksum}});
    assert_outcome(&desk.attempt_of(changed), "failed assertion value");
    let fewer = json!({"query": "SELECT id FROM facts", "expect": {"rows": 4}});
    let fewer = desk.attempt_of(fewer);
    assert_outcome(&fewer, "failed assertion rows");
    assert_eq!(detail(&fewer, "error"), "5 rows, not 4");
    assert!(fewer["phases_ns"]["query"].as_u64().is_some(), "the query itself did end: {fewer}");
}
