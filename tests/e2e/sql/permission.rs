//! Who may log in, from where, with which password; and that no password is ever printed.

use super::{Desk, PASSWORD, PASSWORD_IN_URL, assert_no_password, assert_outcome, detail};
use harness::evidence::{cells, records, reports};
use harness::fleet::Fleet;
use harness::process::eventually;
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

#[test]
fn a_bare_url_needs_no_file() {
    let Some(desk) = Desk::new("a_bare_url_needs_no_file") else { return };
    let port = desk.postgres.port;
    let url = format!("postgres://probe@127.0.0.1:{port}/postgres");
    let by_environment = desk
        .command(&format!("PGPASSWORD='{PASSWORD}' probefleet-agent try --format json '{url}'"));
    assert_eq!(by_environment.code, Some(0), "{:?}", by_environment.attempts);
    assert_eq!(by_environment.attempts[0]["detail"]["rows"], 1);
    assert!(
        detail(&by_environment.attempts[0], "server_version")
            .starts_with(|c: char| c.is_ascii_digit())
    );
    let shown =
        desk.ran(&format!("PGPASSWORD='{PASSWORD}' probefleet-agent try '{url}?sslmode=prefer'"));
    assert!(shown.stdout.contains(&format!("{url}?sslmode=prefer  SELECT 1")), "{}", shown.stdout);

    let without = desk.command(&format!("probefleet-agent try --format json '{url}'"));
    assert_outcome(&without.attempts[0], "invalid agent_error password");
    assert!(detail(&without.attempts[0], "error").contains(".pgpass"), "{:?}", without.attempts);
    // HOME is the folder.
    desk.write(".pgpass", &format!("127.0.0.1:{port}:*:probe:{PASSWORD}\n"), 0o600);
    let by_file = desk.command(&format!("probefleet-agent try --format json '{url}'"));
    assert_outcome(&by_file.attempts[0], "ok");
    desk.write(".pgpass", &format!("127.0.0.1:{port}:*:probe:{PASSWORD}\n"), 0o644);
    let open = desk.command(&format!("probefleet-agent try --format json '{url}'"));
    assert_outcome(&open.attempts[0], "invalid agent_error password");
    assert!(detail(&open.attempts[0], "error").contains("chmod 600"), "{:?}", open.attempts);

    let in_url = format!("postgres://probe:{PASSWORD_IN_URL}@127.0.0.1:{port}/postgres");
    let refused = desk.ran(&format!("probefleet-agent try '{in_url}'"));
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("PGPASSWORD"), "{}", refused.stderr);
}

#[test]
fn a_file_that_others_can_read_is_not_taken() {
    let Some(desk) = Desk::new("a_file_that_others_can_read_is_not_taken") else { return };
    let file = desk.dir().join("erp.url");
    for (mode, expected) in [
        (0o600, "ok"),
        (0o400, "ok"),
        (0o644, "invalid policy_denied url_file"),
        (0o602, "invalid policy_denied url_file"),
    ] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("is ours");
        assert_outcome(&desk.attempt("SELECT 1"), expected);
    }
    for (content, expected) in [
        ("", "is empty"),
        ("postgres://probe@/postgres", "no host"),
        ("postgres://probe:S3cret%2FPa55word@127.0.0.1/x?sslmod=1", "`sslmod` is not known"),
        ("S3cret/Pa55word", "write postgres://"),
    ] {
        desk.write("erp.url", content, 0o600);
        let attempt = desk.attempt("SELECT 1");
        assert_eq!(attempt["reason"], "agent_error", "{attempt}");
        assert!(detail(&attempt, "error").contains(expected), "{attempt}");
    }
    std::fs::remove_file(&file).expect("was there");
    assert_outcome(&desk.attempt("SELECT 1"), "invalid agent_error url_file");
}

#[test]
fn the_policy_says_who_and_where() {
    let Some(desk) = Desk::new("the_policy_says_who_and_where") else { return };
    let port = desk.postgres.port;
    let by_name = json!({"source": "erp", "query": "SELECT 1"});
    let by_file = json!({"url_file": "erp.url", "query": "SELECT 1"});
    let sql = "sql: {erp: {url_file: erp.url}, broken: {url_fil: x}}\n";
    let allowed = format!("allow: [{{kind: sql, to: ['127.0.0.1:{port}']}}]\n{sql}");
    for (policy, block, expected, error) in [
        (allowed.clone(), &by_name, "ok", ""),
        (
            format!("allow: [{{kind: sql, to: ['127.0.0.1:1']}}]\n{sql}"),
            &by_name,
            "invalid policy_denied target",
            "is not in the policy",
        ),
        (
            format!("allow: [{{kind: http, to: ['127.0.0.1:{port}']}}]\n{sql}"),
            &by_name,
            "invalid policy_denied target",
            "",
        ),
        (
            format!("allow: [{{kind: sql, to: any}}]\n{sql}"),
            &by_name,
            "invalid policy_denied target",
            "loopback",
        ),
        (
            allowed.clone(),
            &json!({"source": "crm", "query": "SELECT 1"}),
            "invalid policy_denied source",
            "no `sql: {crm: …}`",
        ),
        (
            allowed.clone(),
            &json!({"source": "broken", "query": "SELECT 1"}),
            "invalid agent_error source",
            "did you mean `url_file`?",
        ),
        (allowed.clone(), &by_file, "invalid policy_denied source", "never a file"),
    ] {
        desk.write("policy.yaml", &policy, 0o600);
        let tried = desk.tries("2s", block.clone(), "--policy policy.yaml");
        assert_outcome(&tried.attempts[0], expected);
        assert!(detail(&tried.attempts[0], "error").contains(error), "{:?}", tried.attempts);
    }
    let tried = desk.tries("2s", by_name, "");
    assert_outcome(&tried.attempts[0], "invalid policy_denied source");
    assert!(detail(&tried.attempts[0], "error").contains("--policy FILE"), "{:?}", tried.attempts);
}

#[test]
fn a_plan_shows_every_mistake_with_its_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let text = "probes:\n  - {name: a, every: 30s, sql: {source: erp, sesion: kept}}\n  - {name: b, every: 30s, sql: {url_file: x, source: y, query: '', expect: {rows: -1, max_bytes: 1GiB, checksum: z}}}\n";
    std::fs::write(dir.path().join("plan.yaml"), text).expect("writes");
    let ran = harness::command::run(
        &mut harness::command::shell(dir.path(), "probefleet-agent try --check plan.yaml"),
        "",
        super::ENDS,
    );
    assert_eq!(ran.code, Some(2));
    let begins: Vec<String> = ran
        .stderr
        .lines()
        .map(|line| line.split(':').take(4).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        begins,
        [
            "plan.yaml:2:32: missing-key",
            "plan.yaml:2:46: unknown-key",
            "plan.yaml:3:43: bad-value",
            "plan.yaml:3:64: bad-query",
            "plan.yaml:3:83: bad-value",
            "plan.yaml:3:98: bad-value",
            "plan.yaml:3:114: bad-value",
        ],
        "{}",
        ran.stderr
    );
}

#[test]
fn the_samples_work_as_they_stand() {
    let Some(desk) = Desk::new("the_samples_work_as_they_stand") else { return };
    let (port, file) = (desk.postgres.port.to_string(), desk.dir().join("erp.url"));
    for (name, mode) in [("plan-sql.yaml", 0o644), ("policy.yaml", 0o644)] {
        let text = std::fs::read_to_string(harness::root().join("deploy").join(name));
        let text = text.expect("is there").replace("5432", &port);
        let text =
            text.replace("/run/credentials/probefleet-agent/erp", &file.display().to_string());
        desk.write(name, &text, mode);
    }
    let line = "probefleet-agent try plan-sql.yaml --policy policy.yaml --format json --count 2 --every 0s";
    let tried = desk.command(line);
    assert_eq!(tried.code, Some(0), "{:?} {}", tried.attempts, tried.stderr);
    assert_eq!(tried.attempts.len(), 4, "each probe twice");
}

/// A fleet whose one agent has that policy for SQL.
fn fleet(desk: &Desk, block: &serde_json::Value) -> Fleet {
    let probe = json!({"name": "erp", "every": "1s", "timeout": "800ms", "sql": block});
    let mut fleet = Fleet::new(&json!({"probes": [probe]}).to_string(), &[]);
    let addresses = fleet.start_collector();
    fleet.add_agent("desk", "berlin", &addresses.agents, "");
    let policy = format!(
        "allow: [{{kind: sql, to: ['127.0.0.1:{}']}}]\nsql: {{erp: {{url_file: {}}}}}\n",
        desk.postgres.port,
        desk.dir().join("erp.url").display()
    );
    let path = fleet.dir().join("desk/policy.yaml");
    std::fs::write(&path, policy).expect("writes");
    fleet.start_agent("desk");
    fleet
}

#[test]
fn an_agent_measures_for_its_collector_and_never_tells_the_password() {
    let Some(desk) = Desk::new("an_agent_measures_for_its_collector_and_never_tells_the_password")
    else {
        return;
    };
    let fleet = fleet(
        &desk,
        &json!({"source": "erp", "query": "SELECT count(*) FROM facts", "session": "kept", "expect": {"first": "5"}}),
    );
    let store = fleet.store();
    let ok = eventually(Duration::from_secs(40), || {
        let stored = records(&store);
        let cells = cells(&reports(&stored));
        cells.values().find(|cell| cell.ok >= 5 && cell.failed + cell.invalid == 0).cloned()
    });
    let log = std::fs::read_to_string(fleet.dir().join("desk.log")).unwrap_or_default();
    println!("{:?}", ok.unwrap_or_else(|| panic!("no window with attempts that are ok:\n{log}")));
    // Neither what is said, nor what is kept, nor what was delivered.
    for path in harness::command::listing(fleet.dir()).keys() {
        if let Ok(bytes) = std::fs::read(path) {
            assert_no_password(&String::from_utf8_lossy(&bytes));
        }
    }
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'probefleet'";
    assert_eq!(desk.postgres.sql(sessions), "1", "one session is kept");
    drop(fleet);
    desk.postgres.wait_until(sessions, "0", Duration::from_secs(5));
}

#[test]
fn a_collector_cannot_say_which_file_is_read() {
    let Some(desk) = Desk::new("a_collector_cannot_say_which_file_is_read") else { return };
    let fleet = fleet(&desk, &json!({"url_file": desk.dir().join("erp.url"), "query": "SELECT 1"}));
    let log = fleet.dir().join("desk.log");
    let refused = eventually(Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.lines().find(|line| line.contains("not applied")).map(str::to_owned)
    });
    let line = refused.expect("the plan is refused");
    assert!(line.contains("`url_file` in a plan that a collector hands out"), "{line}");
    assert!(line.contains("write `source: NAME`"), "{line}");
}
