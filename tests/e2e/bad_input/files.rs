//! What is wrong in a file is said with its line and column, for every kind of file.

use super::{AGENT, COLLECTOR, REFUSED_WITHIN, at, folder, write};
use harness::command::listing;
use std::time::Duration;

/// Runs a command on each text in turn: all must be refused with that code and fragment, in time, changing nothing.
fn refused(name: &str, line: &str, code: i32, table: &[(&str, &str)]) {
    let dir = folder();
    let mut missed = Vec::new();
    let mut slowest = Duration::ZERO;
    for (text, expected) in table {
        write(dir.path(), name, text.as_bytes());
        let before = listing(dir.path());
        let ran = at(dir.path(), line);
        slowest = slowest.max(ran.took);
        let expected = format!("{name}:{expected}");
        if ran.code != Some(code) || !ran.stderr.contains(&expected) {
            missed.push(format!(
                "{text:?}\n  not {code}, {expected}: {:?}, {}",
                ran.code, ran.stderr
            ));
        }
        if listing(dir.path()) != before {
            missed.push(format!("{text:?} has changed something on disk"));
        }
        assert!(ran.took < REFUSED_WITHIN, "{text:?} took {:?}", ran.took);
    }
    assert!(missed.is_empty(), "`{line}`:\n{}", missed.join("\n"));
    println!("`{line}`: {} files refused, the slowest in {slowest:?}", table.len());
}

#[test]
fn plans() {
    let probe = |block: &str| format!("probes:\n  - {{name: a, every: 30s, http: {block}}}\n");
    let url = |more: &str| probe(&format!("{{url: 'http://x.example/', {more}}}"));
    let blocks = [
        (probe("{url: 'ftp://x/'}"), "2:39: bad-url"),
        (probe("{url: 'http://me:s3cret@x/'}"), "2:39: bad-url"),
        (probe("{url: [a, b]}"), "2:39: bad-url"),
        (probe("[]"), "2:33: bad-value"),
        (url("method: BREW"), "2:68: bad-value"),
        (url("body: x"), "2:66: bad-value"),
        (url("redirects: 6"), "2:71: bad-value"),
        (url("headers: {host: b}"), "2:70: bad-header"),
        (url("ip: 5"), "2:64: bad-value"),
        (url("expect: {matches: '('}"), "2:78: bad-regex"),
        (url("expect: {json: {path: '$['}}"), "2:82: bad-path"),
        (url("expect: {status: [99]}"), "2:78: bad-status"),
        (
            url("expekt: {}"),
            "2:60: unknown-key: `expekt` is not known here; did you mean `expect`?",
        ),
    ];
    let mut table = vec![
        ("", "1:1: bad-yaml"),
        ("probes: [\n", "2:1: bad-yaml"),
        ("probes:\n\t- a\n", "2:2: bad-yaml"),
        ("probes: []\n---\nprobes: []\n", "3:1: bad-yaml"),
        ("a: &x [1]\nprobes: [*x, *x]\n", "1:4: bad-yaml: anchors"),
        ("probes: {}\n", "1:9: bad-value"),
        ("{}\n", "1:1: missing-key"),
        ("probes: []\nprobes: []\n", "2:1: duplicate-key"),
        ("probes:\n  - {name: A, every: 30s, http: {url: 'http://x/'}}\n", "2:12: bad-name"),
        ("probes:\n  - {name: a, every: 0s, http: {url: 'http://x/'}}\n", "2:22: bad-value"),
        ("probes:\n  - {name: a, every: 25h, http: {url: 'http://x/'}}\n", "2:22: bad-value"),
        ("probes:\n  - {name: a, every: 1.5s, http: {url: 'http://x/'}}\n", "2:22: bad-duration"),
        ("probes:\n  - {name: a, every: 30, http: {url: 'http://x/'}}\n", "2:22: bad-duration"),
        (
            "probes:\n  - {name: a, every: 30s, timeout: 28s, http: {url: 'http://x/'}}\n",
            "2:36: bad-value",
        ),
        (
            "probes:\n  - {name: a, every: 30s, timeout: 0s, http: {url: 'http://x/'}}\n",
            "2:36: bad-value",
        ),
        ("probes:\n  - {name: a, evry: 30s, http: {url: 'http://x/'}}\n", "2:15: unknown-key"),
        ("probes:\n  - {name: a, every: 30s}\n", "2:5: missing-key"),
        ("probes:\n  - {name: a, every: 30s, http: {}}\n", "2:33: missing-key"),
        ("probes:\n  - {name: a, every: 30s, dns: {name: x}}\n", "2:32: unknown-kind"),
        (
            "probes:\n  - {name: a, every: 30s, http: {url: 'http://x/'}, sql: {}}\n",
            "2:53: two-kinds",
        ),
        (
            "probes:\n  - {name: a, every: 30s, agents: {Si te: x}, http: {url: 'http://x/'}}\n",
            "2:36: bad-label",
        ),
        (
            "probes:\n  - {name: a, every: 30s, http: {url: 'http://x/'}}\n  - {name: a, every: 30s, http: {url: 'http://x/'}}\n",
            "3:33: duplicate-name",
        ),
    ];
    table.extend(blocks.iter().map(|(text, expected)| (text.as_str(), *expected)));
    refused("plan.yaml", "probefleet-agent try --check plan.yaml", 2, &table);
    // What is inside a probe's block is the agent's to know; all the rest the collector knows too.
    let known: Vec<_> = table
        .iter()
        .filter(|(text, at)| {
            !blocks.iter().any(|(of_block, _)| of_block == text)
                && !at.contains("unknown-kind")
                && !text.contains("http: {}")
        })
        .copied()
        .collect();
    refused("plan.yaml", "probefleet-collector run --config collector.yaml", 2, &known);
    refused("plan.yaml", "probefleet-collector contract init --plan plan.yaml", 2, &known);
}

#[test]
fn a_password_in_a_url_is_never_printed() {
    let dir = folder();
    let text = "probes:\n  - {name: a, every: 30s, http: {url: 'http://me:s3cret@x/'}}\n";
    write(dir.path(), "plan.yaml", text.as_bytes());
    for line in
        ["probefleet-agent try plan.yaml", "probefleet-agent try http://me:s3cret@127.0.0.1:9/"]
    {
        let ran = at(dir.path(), line);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("s3cret"), "{}", ran.stderr);
    }
}

#[test]
fn policies() {
    let table = [
        ("allow: any\n", "1:8: bad-value"),
        ("alow: []\n", "1:1: unknown-key: `alow` is not known here; did you mean `allow`?"),
        ("allow:\n  - {kind: http}\n", "2:5: missing-key"),
        ("allow:\n  - {kind: ftp, to: [any]}\n", "2:12: bad-value"),
        ("allow:\n  - {kind: http, to: [10.0.0.1/8]}\n", "2:23: bad-destination"),
        ("allow:\n  - {kind: http, to: ['host:0']}\n", "2:23: bad-destination"),
        ("allow:\n  - {kind: http, to: ['a', 'host:99999']}\n", "2:28: bad-destination"),
        ("allow:\n  - {kind: http, to: ['*.example']}\n", "2:23: bad-destination"),
        ("allow:\n  - {kind: http, to: [any], calls_per_hour: 3}\n", "2:29: unknown-key"),
        ("allow:\n  - {kind: sip, to: [any], concurrent: many}\n", "2:40: bad-value"),
        ("allow: []\nsql: {a: b}\n", "2:10: bad-value"),
        ("allow: &a []\n", "1:8: bad-yaml"),
    ];
    refused("policy.yaml", "probefleet-agent run --config agent.yaml", 2, &table);
    refused("policy.yaml", "probefleet-agent run --config agent.yaml --check", 2, &table);
    refused("policy.yaml", "probefleet-agent try plan.yaml --policy policy.yaml", 2, &table);
}

#[test]
fn configurations_of_agents() {
    let with = |collector: &str, more: &str| {
        format!("collector: {collector}\nstate_dir: state\npolicy: policy.yaml\nname: a\n{more}")
    };
    let tls = "tls: {ca: ca.pem, cert: agent.pem, key: agent.key}\n";
    let texts = [
        (
            with("http://10.0.0.1:7400", ""),
            "1:12: bad-url: the collector's URL: it is another machine",
        ),
        (
            with("'http://[fd00::1]:7400'", ""),
            "1:12: bad-url: the collector's URL: it is another machine",
        ),
        (
            with("https://127.0.0.1:7400", ""),
            "1:12: bad-url: the collector's URL: https needs tls files",
        ),
        (
            with("http://127.0.0.1:7400", tls),
            "1:12: bad-url: the collector's URL: http does not use tls",
        ),
        (with("http://127.0.0.1:7400/x", ""), "1:12: bad-url: the collector's URL: it has a path"),
        (with("http://me@127.0.0.1:7400", ""), "1:12: bad-url: the collector's URL: it has a user"),
        (with("127.0.0.1:7400", ""), "1:12: bad-url"),
        (with("''", ""), "1:12: bad-value"),
        (
            with("http://127.0.0.1:9", "label: {}\n"),
            "5:1: unknown-key: `label` is not known here; did you mean `labels`?",
        ),
        (with("http://127.0.0.1:9", "labels: {site: [a]}\n"), "5:16: bad-value"),
        (with("http://127.0.0.1:9", "spool: {max_size: 1KiB}\n"), "5:19: bad-value"),
        (with("http://127.0.0.1:9", "spool: {max_size: lots}\n"), "5:19: bad-size"),
        (with("https://127.0.0.1:9", "tls: {ca: a, cert: b}\n"), "5:6: missing-key"),
        ("collector: http://127.0.0.1:9\n".to_owned(), "1:1: missing-key"),
        ("name: a: b\n".to_owned(), "1:8: bad-yaml"),
    ];
    let table: Vec<_> = texts.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    refused("agent.yaml", "probefleet-agent run --config agent.yaml", 2, &table);
    refused("agent.yaml", "probefleet-agent run --config agent.yaml --check", 2, &table);
}

#[test]
fn certificates_that_name_no_agent() {
    let dir = folder();
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["agent".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signs");
    write(dir.path(), "nameless.pem", certificate.pem().as_bytes());
    write(dir.path(), "junk.pem", b"no certificate");
    for (cert, said) in [
        ("none.pem", "none.pem: No such file"),
        ("junk.pem", "junk.pem: no PEM certificate is in it"),
        ("nameless.pem", "nameless.pem: its first certificate names no agent"),
    ] {
        let text =
            AGENT.replace("http:", "https:") + &format!("tls: {{ca: a, cert: {cert}, key: b}}\n");
        write(dir.path(), "agent.yaml", text.as_bytes());
        let before = listing(dir.path());
        let ran = at(dir.path(), "probefleet-agent run --config agent.yaml");
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
        assert_eq!(listing(dir.path()), before, "{cert}: nothing is changed");
    }
}

#[test]
fn configurations_of_collectors() {
    let table = [
        (
            "state_dir: state\nplan: plan.yaml\nlisten: 0.0.0.0:0\n",
            "3:9: needs-tls: agents reach 0.0.0.0:0 without TLS; add `tls:",
        ),
        ("state_dir: state\nplan: plan.yaml\nlisten: '[::]:0'\n", "3:9: needs-tls"),
        ("state_dir: state\nplan: plan.yaml\nlisten: 192.0.2.1:0\n", "3:9: needs-tls"),
        ("state_dir: state\nplan: plan.yaml\nportal: 0.0.0.0:0\n", "3:9: needs-portal-public"),
        ("state_dir: state\nplan: plan.yaml\nlisten: localhost:0\n", "3:9: bad-value"),
        ("state_dir: state\nplan: plan.yaml\nwindow: 45s\n", "3:9: bad-value"),
        ("state_dir: state\nplan: plan.yaml\ndeployment: a b\n", "3:13: bad-value"),
        ("state_dir: state\nplan: none.yaml\n", "2:7: unreadable-file"),
        (
            "state_dir: state\nplan: plan.yaml\nagreements: [{file: none.yaml}]\n",
            "3:21: unreadable-file",
        ),
        ("state_dir: state\nplan: plan.yaml\nagreements: [{fil: a}]\n", "3:15: unknown-key"),
        (
            "state_dir: state\nplan: plan.yaml\nagreements: [{file: agreement.yaml, countersigned: maybe}]\n",
            "3:52: bad-value",
        ),
        (
            "state_dir: state\nplan: plan.yaml\nagreements: [{file: agreement.yaml}, {file: agreement.yaml}]\n",
            "3:45: duplicate-name",
        ),
        ("state_dir: state\nplan: plan.yaml\ntls: {ca: a}\n", "3:6: missing-key"),
        ("plan: plan.yaml\n", "1:1: missing-key"),
        ("state_dir: state\nplan: plan.yaml\nstate_dir: other\n", "3:1: duplicate-key"),
        ("state_dir: state\nplan: plan.yaml\ncolour: red\n", "3:1: unknown-key"),
    ];
    refused("collector.yaml", "probefleet-collector run --config collector.yaml", 2, &table);
    refused("collector.yaml", "probefleet-collector report --agreement a", 2, &table);
    let dir = folder();
    let text = format!("{COLLECTOR}tls: {{ca: none.pem, cert: b, key: c}}\n");
    write(dir.path(), "collector.yaml", text.as_bytes());
    let before = listing(dir.path());
    let ran = at(dir.path(), "probefleet-collector run");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("none.pem: "), "{}", ran.stderr);
    assert_eq!(listing(dir.path()), before, "nothing is changed");
}

#[test]
fn agreements() {
    let good = {
        let dir = folder();
        std::fs::read_to_string(dir.path().join("agreement.yaml")).expect("was made")
    };
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let texts = [
        (with("agreement: first-agreement ", "agreement: First "), "3:12: bad-name"),
        (with("version: 1 ", "version: 0 "), "4:10: bad-value"),
        (with("kind: sla ", "kind: treaty "), "5:7: bad-value"),
        (with("time_zone: Etc/UTC ", "time_zone: Europe/Atlantis "), "15:12: unknown-zone"),
        (with("currency: EUR", "currency: euro"), "16:11: bad-value"),
        (with("until: 2029-01-01", "until: 2025-01-01"), "17:7: term-empty"),
        (with("from: 2026-01-01", "from: 2026-13-01"), "17:14: bad-date"),
        (with("period: month ", "period: fortnight "), "18:9: bad-value"),
        (with("\"1000.00\"", "1000.00"), "20:49: bad-value"),
        (with("service: service", "service: other"), "23:14: unknown-service"),
        (with("probe: a", "probe: b"), "24:12: unknown-probe"),
        (with("measure: availability", "measure: speed"), "25:14: bad-value"),
        (with("\">= 99.5%\"", "\">= 3s\""), "26:13: measure-target-mismatch"),
        (with("quorum: 51%", "quorum: 0%"), "27:24: bad-value"),
        (with("rate: 25%", "rate: 5%"), "31:14: band-order"),
        (with("cap: 30%", "cap: 130%"), "38:30: percent-over-100"),
        (with("close: ", "clothes: "), "39:1: unknown-key: `clothes` is not known here"),
        (good.clone() + "credits: {}\n", "40:1: duplicate-key"),
        (good.clone() + "x: &a {}\n", "40:4: bad-yaml"),
    ];
    let table: Vec<_> = texts.iter().map(|(text, expected)| (text.as_str(), *expected)).collect();
    let check = "probefleet-collector contract check agreement.yaml --plan plan.yaml";
    refused("agreement.yaml", check, 1, &table);
    let service = "probefleet-collector run --config with-agreement.yaml";
    refused("agreement.yaml", service, 2, &table);
}
