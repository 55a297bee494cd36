//! What is looked at in a fleet that runs: its agents, its database, its page, its metrics.

use super::place::{Place, Running, arguments_of, children};
use super::{AGENTS, ENDS, JUDGED, OBJECTIVES};
use harness::command::run;
use harness::fleet::get;
use harness::process::eventually;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Whether a process holds an established connection to a port of the loopback.
fn is_connected(id: u32, port: u16) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{id}/fd")) else { return false };
    let links = open.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let sockets: BTreeSet<String> = links
        .filter_map(|link| {
            let name = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(name.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    // local, remote, state (01 is established), …, inode
    table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|line| {
        line[2] == format!("0100007F:{port:04X}") && line[3] == "01" && sockets.contains(line[9])
    })
}

/// Each agent is a process of its own with a connection to the collector, and the collector speaks nothing but TLS.
pub(super) fn check_agents(running: &Running) {
    let address = running.agents_address();
    let port = address.rsplit(':').next().expect("a port").parse().expect("a number");
    for site in AGENTS {
        let config = format!("agents/{site}/agent.yaml");
        let agent = running.children.iter().find(|id| {
            let words = arguments_of(**id);
            words.iter().any(|word| word == "run")
                && words.iter().any(|word| word.ends_with(&config))
        });
        let agent = *agent.unwrap_or_else(|| panic!("{site} has a process"));
        let connected = eventually(ENDS, || is_connected(agent, port).then_some(()));
        assert!(connected.is_some(), "{site} (process {agent}) is connected to {address}");
        let config = std::fs::read_to_string(running.data.join(&config)).expect("reads");
        assert!(config.contains(&format!("https://{address}")), "{config}");
    }
    let mut plain = TcpStream::connect(&address).expect("listens");
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("writes");
    plain.set_read_timeout(Some(ENDS)).expect("a timeout");
    let mut answer = Vec::new();
    let _closed_or_reset = plain.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "an alert of TLS or nothing: {answer:?}");
}

/// Folders of PostgreSQL clusters that the quickstart has made as root.
pub(super) fn cluster_folders() -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/tmp").expect("a folder").flatten();
    let ours = |name: &str| name.starts_with("probefleet-quickstart-");
    let names = entries.filter(|entry| entry.file_name().to_str().is_some_and(ours));
    names.map(|entry| entry.path()).collect()
}

/// The database asks for the password that only this user can read, and runs as nobody who matters.
pub(super) fn check_database(running: &Running) {
    let ports = std::fs::read(running.data.join("ports.json")).expect("reads");
    let ports: Value = serde_json::from_slice(&ports).expect("JSON");
    let role = running.children.iter().find(|id| arguments_of(**id).contains(&"postgres".into()));
    let server = children(*role.expect("a part"))[0];
    assert!(arguments_of(server)[0].ends_with("/postgres"), "{:?}", arguments_of(server));
    let user = std::fs::metadata(format!("/proc/{server}")).expect("Linux").uid();
    assert_ne!(user, 0, "PostgreSQL as root");
    for file in ["postgres-password", "agents/berlin/shop.url"] {
        let mode = std::fs::metadata(running.data.join(file)).expect("is there").mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    // A start-up message of version 3.0 for the role: 10 with mechanism SCRAM, never 0 (trust).
    let mut stream =
        TcpStream::connect(format!("127.0.0.1:{}", ports["database"])).expect("listens");
    let body = b"\0\x03\0\0user\0probe\0\0";
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    stream.write_all(&[&length[..], body].concat()).expect("writes");
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).expect("answers");
    assert_eq!((answer[0], answer[8]), (b'R', 10), "asks for SCRAM: {answer:?}");
}

/// What the page says is what the report says, as soon as both are of the same moment.
pub(super) fn check_page(place: &Place, running: &Running) {
    let same = |page: &str, report: &Value| {
        let objectives = report["objectives"].as_array().expect("a list");
        assert_eq!(objectives.len(), OBJECTIVES, "{report}");
        objectives.iter().all(|objective| {
            let text = |key: &str| objective[key].as_str().unwrap_or("–").replace('>', "&#62;");
            let card = page
                .split("<article")
                .find(|card| card.contains(&format!("<h3>{}</h3>", text("name"))));
            let card = card.unwrap_or_else(|| panic!("{} is on the page:\n{page}", text("name")));
            assert!(card.contains(&text("target")), "{} in {card}", text("target"));
            let value = format!("<span class=\"value\">{}</span>", text("value"));
            let due = format!("{} due: ", objective["attempts"]["scheduled"]);
            card.contains(&value) && card.contains(&due)
        })
    };
    let compared = eventually(JUDGED, || {
        let (status, page) = get(&running.portal, "/agreements/quickstart-shop");
        assert_eq!(status, 200);
        let report = place.report();
        same(&page, &report).then_some((page, report))
    });
    let (page, report) = compared.expect("page and report agree");
    let link = page.split("href=\"").find(|link| link.contains("report.json")).expect("a link");
    let (status, shown) = get(&running.portal, link.split('"').next().expect("an end"));
    assert_eq!(status, 200);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    for (at, objective) in report["objectives"].as_array().expect("a list").iter().enumerate() {
        assert_eq!(shown["objectives"][at]["name"], objective["name"]);
        assert_eq!(shown["objectives"][at]["target"], objective["target"]);
    }
    println!("page and report agree on {}", report["objectives"]);
}

/// Attempts of all objectives that were due so far.
pub(super) fn attempts(report: &Value) -> u64 {
    let objectives = report["objectives"].as_array().expect("a list");
    objectives.iter().filter_map(|objective| objective["attempts"]["scheduled"].as_u64()).sum()
}

pub(super) fn check_metrics(running: &Running) {
    if !harness::has("promtool") {
        harness::skip("a_whole_fleet_in_one_command", "promtool (Debian: prometheus)");
        return;
    }
    let (_, metrics) = get(&running.portal, "/metrics");
    let mut promtool = std::process::Command::new("promtool");
    let ran = run(promtool.args(["check", "metrics"]), &metrics, ENDS);
    assert_eq!(ran.code, Some(0), "{}{}\n{metrics}", ran.stdout, ran.stderr);
    println!("promtool has read {} lines", metrics.lines().count());
    check_alerts();
}

/// The sample rules are rules, and of metrics that there are; some have no series before enough is known.
fn check_alerts() {
    let path = harness::root().join("deploy/alerts.yaml");
    let mut promtool = std::process::Command::new("promtool");
    let ran = run(promtool.args(["check", "rules"]).arg(&path), "", ENDS);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let rules = std::fs::read_to_string(path).expect("reads");
    let said = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = said.flat_map(|line| line.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()));
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("probefleet_")).collect();
    assert!(names.len() >= 4, "{rules}");
    let files = [
        "collector/src/metrics.rs",
        "collector/src/portal/scrape.rs",
        "collector/src/portal/scrape/periods.rs",
        "agent/src/status/metrics.rs",
    ];
    let read = files.map(|file| std::fs::read_to_string(harness::root().join(file)));
    let scrape: String = read.into_iter().map(|text| text.expect("reads")).collect();
    for name in names {
        // A counter gets its suffix from OpenMetrics.
        let own = format!("\"{}\"", name.trim_end_matches("_total"));
        assert!(scrape.contains(&own), "{name} is no metric of ours");
    }
}
