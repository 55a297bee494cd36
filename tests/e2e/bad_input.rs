//! Bad input gets a precise error, and changes nothing.

use harness::command::{Ran, Unprivileged, is_root, listing, run, shell};
use std::net::{IpAddr, TcpListener, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Longest time until a file is refused that is too large, or would grow.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// Longest time for a file just below the limit that has to be read to its end: it takes half a second, on a machine
/// that does nothing else.
const READ_WITHIN: Duration = Duration::from_secs(4);
/// When a command is given up.
const ENDS: Duration = Duration::from_secs(10);

const PLAN: &str = "probes:\n  - {name: a, every: 30s, http: {url: 'http://127.0.0.1:9/'}}\n";
const POLICY: &str = "allow:\n  - {kind: http, to: ['127.0.0.1:9']}\n";
const AGENT: &str =
    "collector: http://127.0.0.1:9\nstate_dir: state\npolicy: policy.yaml\nname: a\n";
const COLLECTOR: &str =
    "state_dir: state\nplan: plan.yaml\nlisten: 127.0.0.1:0\nportal: 127.0.0.1:0\n";

/// A folder with one good file of each kind, whose `state` nobody has made yet.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("plan.yaml", PLAN),
        ("policy.yaml", POLICY),
        ("agent.yaml", AGENT),
        ("collector.yaml", COLLECTOR),
    ] {
        write(dir.path(), name, text.as_bytes());
    }
    let made =
        at(dir.path(), "probefleet-collector contract init --plan plan.yaml --out agreement.yaml");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let with_agreement = format!("{COLLECTOR}agreements: [{{file: agreement.yaml}}]\n");
    write(dir.path(), "with-agreement.yaml", with_agreement.as_bytes());
    dir
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
}

fn at(dir: &Path, line: &str) -> Ran {
    run(&mut shell(dir, line), "", ENDS)
}

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

// === size ===

/// A command that reads a file, the file, and the exit code that refuses it.
const READERS: [(&str, &str, i32); 6] = [
    ("plan.yaml", "probefleet-agent try --check plan.yaml", 2),
    ("plan.yaml", "probefleet-collector run --config collector.yaml", 2),
    ("policy.yaml", "probefleet-agent run --config agent.yaml", 2),
    ("agent.yaml", "probefleet-agent run --config agent.yaml", 2),
    ("collector.yaml", "probefleet-collector run --config collector.yaml", 2),
    ("agreement.yaml", "probefleet-collector contract check agreement.yaml", 1),
];

#[test]
fn large_and_wicked_files_are_refused_at_once() {
    let mebibytes = |text: &str, size: usize| text.repeat((size << 20) / text.len());
    let laughs: String = (1..10)
        .map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 10].join(", ")))
        .collect();
    let too_large = [
        ("ten megabytes of text", "a".repeat(10_000_000)),
        ("ten megabytes of keys", (0..700_000).map(|n| format!("key-{n}: {n}\n")).collect()),
        // Cut inside a character, so that it is no text up to the limit.
        ("ten megabytes of wide letters", format!("a{}", "ä".repeat(5_000_000))),
    ];
    let wicked = [
        ("a billion laughs", format!("l0: &l0 lol\n{laughs}")),
        ("deep lists", "[".repeat(1 << 20)),
        ("deep mappings", mebibytes("{a: ", 1)),
        ("deep blocks", mebibytes("- ", 1)),
    ];
    let long = [
        ("many empty items", format!("probes:\n{}", mebibytes("  - {}\n", 3))),
        ("many keys", (0..250_000).map(|n| format!("k{n}: 1\n")).collect()),
        ("many equal keys", mebibytes("a: 1\n", 3)),
        ("one long line", format!("a: [{}]\n", mebibytes("b, ", 3))),
        ("no end of a quote", format!("a: \"{}", mebibytes("b\\n", 3))),
    ];
    let at_once = too_large.iter().chain(&wicked).map(|file| (file, REFUSED_WITHIN));
    let files: Vec<_> = at_once.chain(long.iter().map(|file| (file, READ_WITHIN))).collect();
    let mut slowest = (Duration::ZERO, "", "");
    for (file, line, code) in READERS {
        let dir = folder();
        for ((what, text), within) in &files {
            write(dir.path(), file, text.as_bytes());
            let before = listing(dir.path());
            let ran = at(dir.path(), line);
            let said: String = ran.stderr.chars().take(300).collect();
            assert_eq!(ran.code, Some(code), "{what}: `{line}`: {said}");
            assert!(ran.stderr.contains(&format!("{file}:")), "{what}: `{line}`: {said}");
            assert!(ran.stderr.len() < 64 << 10, "{what}: `{line}` says {} B", ran.stderr.len());
            assert!(ran.took < *within, "{what}: `{line}` took {:?}", ran.took);
            assert_eq!(listing(dir.path()), before, "{what}: `{line}` has changed something");
            slowest = slowest.max((ran.took, what, line));
        }
    }
    let endless = at(Path::new("/"), "probefleet-agent try --check /dev/zero");
    assert_eq!(endless.code, Some(2), "{}", endless.stderr);
    assert!(endless.took < REFUSED_WITHIN, "an endless file took {:?}", endless.took);
    println!("{} refusals, the slowest {slowest:?}", files.len() * READERS.len());
}

// === rights ===

#[test]
fn a_policy_that_others_could_have_written_is_refused() {
    let user = Unprivileged::new();
    user.write("plan.yaml", PLAN, 0o600);
    user.write("agent.yaml", AGENT, 0o600);
    let refuse = |mode: u32, said: &str| {
        let policy = user.write("policy.yaml", POLICY, mode);
        for arguments in [
            ["run", "--config", "agent.yaml"].as_slice(),
            &["run", "--config", "agent.yaml", "--check"],
            &["try", "plan.yaml", "--policy", "policy.yaml"],
        ] {
            let before = listing(user.dir());
            let ran = run(user.command("probefleet-agent").args(arguments), "", ENDS);
            assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
            let after = listing(user.dir());
            assert!(
                before.keys().all(|path| after.contains_key(path))
                    && !user.dir().join("state").exists()
            );
        }
        policy
    };
    refuse(0o620, "policy.yaml can be written by group or others; `chmod go-w policy.yaml`");
    refuse(0o602, "policy.yaml can be written by group or others; `chmod go-w policy.yaml`");
    refuse(0o200, "policy.yaml: Permission denied");
    // The cure helps.
    let policy = user.write("policy.yaml", POLICY, 0o622);
    let cured = std::process::Command::new("chmod").arg("go-w").arg(&policy).status();
    assert!(cured.expect("runs").success());
    let check = ["run", "--config", "agent.yaml", "--check"];
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    if !is_root() {
        harness::skip(
            "a_policy_that_others_could_have_written_is_refused",
            "root, to give files away",
        );
        return;
    }
    // A third user's.
    std::os::unix::fs::chown(&policy, Some(65_533), Some(65_533)).expect("is ours to give");
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o644)).expect("is ours");
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("belongs to user 65533")
            && ran.stderr.contains("`chown root policy.yaml`"),
        "{}",
        ran.stderr
    );
    std::os::unix::fs::chown(&policy, Some(0), Some(0)).expect("is ours to give");
    let ran = run(user.command("probefleet-agent").args(check), "", ENDS);
    assert_eq!(ran.code, Some(0), "root's is good: {}", ran.stderr);
}

#[test]
fn a_folder_that_cannot_be_written_is_the_machines_fault() {
    let user = Unprivileged::new();
    for (name, text) in [
        ("plan.yaml", PLAN),
        ("policy.yaml", POLICY),
        ("agent.yaml", AGENT),
        ("collector.yaml", COLLECTOR),
    ] {
        user.write(name, text, 0o600);
    }
    for (program, config) in
        [("probefleet-agent", "agent.yaml"), ("probefleet-collector", "collector.yaml")]
    {
        let mut command = user.command(program);
        let closed = std::fs::Permissions::from_mode(0o500);
        std::fs::set_permissions(user.dir(), closed).expect("is ours");
        let ran = run(command.args(["run", "--config", config]), "", ENDS);
        let open = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(user.dir(), open).expect("is ours");
        assert_eq!(ran.code, Some(3), "{program}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("state") && ran.stderr.contains("Permission denied"),
            "{program}: {}",
            ran.stderr
        );
        println!("{program}: {}", ran.stderr.trim());
    }
}

// === no packet ===

/// An address of this machine beyond the loopback, if it has one. Nothing is sent to find it.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn without_tls_an_agent_says_nothing_to_another_machine() {
    let Some(ip) = own_address() else {
        harness::skip(
            "without_tls_an_agent_says_nothing_to_another_machine",
            "an address beyond the loopback",
        );
        return;
    };
    let listener = TcpListener::bind((ip, 0)).expect("is ours");
    listener.set_nonblocking(true).expect("can");
    let address = listener.local_addr().expect("bound");
    let nobody_came = |what: &str| {
        let came = listener.accept();
        assert!(came.is_err(), "{what}: a connection came: {came:?}");
    };
    let dir = folder();
    let config = |host: &str| AGENT.replace("127.0.0.1:9", &format!("{host}:{}", address.port()));
    write(dir.path(), "agent.yaml", config(&ip.to_string()).as_bytes());
    let ran = at(dir.path(), "probefleet-agent run --config agent.yaml");
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("agent.yaml:1:12: bad-url: the collector's URL: it is another machine"),
        "{}",
        ran.stderr
    );
    assert!(!dir.path().join("state").exists(), "nothing is made");
    nobody_came("by its address");

    // A name is refused when it is known where it leads.
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux").trim().to_owned();
    let found =
        (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|to| to.ip()).collect::<Vec<_>>());
    if !found.is_ok_and(|found| found == [ip]) {
        println!("the machine's name {name} does not lead to {ip}: only the address was tried");
        return;
    }
    write(dir.path(), "agent.yaml", config(&name).as_bytes());
    let command = shell(dir.path(), "exec probefleet-agent run --config agent.yaml");
    let mut agent = harness::process::Process::start_command(command, &dir.path().join("log"));
    agent.wait_for_output("without TLS nothing is sent to another", ENDS);
    assert!(agent.terminate(ENDS).1, "ends well:\n{}", agent.output());
    nobody_came("by its name");
}
