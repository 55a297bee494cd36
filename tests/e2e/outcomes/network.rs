//! A network namespace of the test's own, broken in each way that the outcome table knows: who is to blame for what.

use harness::command::run;
use harness::{has, program, skip};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Runs as the first process of the namespace; `$AGENT` is the program. Prints `NAME JSON` for each attempt.
const SCRIPT: &str = r##"
set -eu
ip link set lo up
try() { name=$1; shift; "$@" "$AGENT" try plan.yaml --format json | sed "s/^/$name /" || true; }
plan() { printf 'probes:\n  - {name: a, every: 10s, timeout: 500ms, http: {url: "http://%s/"}}\n' "$1" > plan.yaml; }

# --- names, by a real server on loopback
mount --bind resolv.conf /etc/resolv.conf
# --no-daemon, because it keeps the user and group that it has: here there is only one.
dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces \
  --local=/test/ --host-record=known.test,127.0.0.1 --txt-record=text.test,only 2> dns.log & dns=$!
"$AGENT" respond --http 127.0.0.1:80 > respond.log & responder=$!
until plan known.test && "$AGENT" try plan.yaml > known.log 2>&1; do kill -0 $dns; sleep 0.05; done
plan known.test;   try known env
plan unknown.test; try nxdomain env
plan text.test;    try nodata env
plan else.where;   try servfail env
kill -STOP $dns
plan known.test;   try silent env
kill -KILL $dns

# --- routes and firewalls
plan 10.9.0.1;     try no-route env
ip route add unreachable 10.1.0.0/16; plan 10.1.0.1; try unreachable-route env
ip route add prohibit 10.2.0.0/16;    plan 10.2.0.1; try prohibited env
ip route add blackhole 10.3.0.0/16;   plan 10.3.0.1; try blackhole env
nft add table t
nft 'add chain t in { type filter hook input priority 0; }'
nft add rule t in tcp dport 81 reject with icmp type host-unreachable
nft add rule t in tcp dport 82 reject with icmp type net-unreachable
nft add rule t in tcp dport 83 drop
plan 127.0.0.1:81; try icmp-host-unreachable env
plan 127.0.0.1:82; try icmp-net-unreachable env
plan 127.0.0.1:83; try dropped env

# --- want of files and of ports: the least number of files with which the program starts at all
files=6
plan 127.0.0.1
while :; do
  files=$((files + 1))
  [ $files -lt 64 ]
  if prlimit --nofile=$files:$files "$AGENT" try plan.yaml --format json > files.log 2>/dev/null; [ -s files.log ]; then break; fi
done
sed 's/^/no-files /' files.log
echo 5000 5000 > /proc/sys/net/ipv4/ip_local_port_range
cat > plan.yaml <<'YAML'
probes:
  - {name: first, every: 10s, http: {url: 'http://127.0.0.1/delay/400ms'}}
  - {name: second, every: 10s, http: {url: 'http://127.0.0.1/delay/400ms'}}
YAML
try one-port env
kill $responder
"##;

fn attempts(dir: &Path) -> Vec<(String, Value)> {
    std::fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\n").expect("writes");
    let mut command = Command::new("unshare");
    command
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            SCRIPT,
        ])
        .env("AGENT", program("probefleet-agent"))
        .current_dir(dir);
    let ran = run(&mut command, "", Duration::from_secs(60));
    assert_eq!(ran.code, Some(0), "the namespace: {}\n{}", ran.stdout, ran.stderr);
    let lines = ran.stdout.lines().filter_map(|line| line.split_once(" {"));
    let parse =
        |json: &str| serde_json::from_str(&format!("{{{json}")).expect("a JSON object a line");
    lines.map(|(name, json)| (name.to_owned(), parse(json))).collect()
}

#[test]
fn who_is_to_blame_for_a_broken_network() {
    const TEST: &str = "who_is_to_blame_for_a_broken_network";
    if let Some(missing) =
        ["unshare", "ip", "nft", "dnsmasq", "prlimit"].into_iter().find(|name| !has(name))
    {
        return skip(TEST, &format!("{missing} (tests/run installs it)"));
    }
    if !run(Command::new("unshare").args(["-rnm", "true"]), "", Duration::from_secs(5))
        .code
        .eq(&Some(0))
    {
        return skip(TEST, "the right to make a network namespace");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let attempts = attempts(dir.path());
    let hangs = Duration::from_millis(500)..=Duration::from_millis(550);
    for (name, expected) in [
        ("known", "ok - 200"),
        ("nxdomain", "failed resolve nxdomain"),
        ("nodata", "failed resolve nodata"),
        ("servfail", "failed resolve servfail"),
        ("silent", "failed resolve dns_timeout"),
        ("no-route", "invalid local_network enetunreach"),
        ("unreachable-route", "failed unreachable ehostunreach"),
        ("prohibited", "invalid local_network eacces"),
        ("blackhole", "invalid local_network einval"),
        ("icmp-host-unreachable", "failed unreachable ehostunreach"),
        ("icmp-net-unreachable", "failed unreachable enetunreach"),
        ("dropped", "failed connect_timeout -"),
        ("no-files", "invalid local_network emfile"),
    ] {
        let (_, line) = attempts
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("{name}: no attempt"));
        let total = harness::attempts::total(line);
        println!("{name:<22} {expected:<34} {total:?}");
        assert_eq!(harness::attempts::verdict(line), expected, "{name}: {line}");
        if ["silent", "dropped"].contains(&name) {
            assert!(hangs.contains(&total), "{name}: {line}");
        } else {
            assert!(total <= *hangs.end(), "{name}: {line}");
        }
    }
    let mut one_port: Vec<String> = attempts
        .iter()
        .filter(|(name, _)| name == "one-port")
        .map(|(_, line)| harness::attempts::verdict(line))
        .collect();
    one_port.sort();
    assert_eq!(
        one_port,
        ["invalid local_network eaddrnotavail", "ok - 200"],
        "one local port for two attempts"
    );
}
