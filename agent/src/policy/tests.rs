use super::*;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

const POLICY: &str = "
allow:
  - {kind: http, to: [portal.example:443, 10.1.0.0/16, '[2001:db8::/32]:8443', intern.example]}
  - {kind: sql, to: [db.example:5432]}
  - {kind: sip, to: [any], calls_per_hour: 120, concurrent: 4, hold: 30s}
sql: {erp-readonly: {url_file: /run/credentials/erp}}
sip: {trunk: {user: probe, password_file: /run/x, from: 'sip:probe@acme.example', proxy: 'sip:sbc.example'}}
";

fn policy(to: &str) -> Policy {
    Policy::parse("p", &format!("allow: [{{kind: http, to: {to}}}]")).expect(to)
}

fn may(policy: &Policy, host: &str, address: &str) -> bool {
    let address: SocketAddr = address.parse().expect(address);
    let by_address = policy.check(Kind::Http, host, address).is_ok();
    // What may be dialled may also be resolved.
    assert!(!by_address || policy.check_host(Kind::Http, host, address.port()).is_ok());
    by_address
}

#[test]
fn a_policy_is_read() {
    let policy = Policy::parse("policy.yaml", POLICY).expect("valid");
    for (host, address, expected) in [
        ("portal.example", "192.0.2.1:443", true),
        ("PORTAL.example.", "192.0.2.1:443", true),
        ("portal.example", "192.0.2.1:80", false),
        ("other.example", "192.0.2.1:443", false),
        ("other.example", "10.1.255.1:1", true),
        ("other.example", "[::ffff:10.1.255.1]:1", true),
        ("other.example", "10.2.0.1:1", false),
        ("other.example", "[2001:db8::1]:8443", true),
        ("other.example", "[2001:db8::1]:443", false),
        // The name lifts the deny list for itself.
        ("intern.example", "127.0.0.1:80", true),
        ("intern.example", "169.254.169.254:80", true),
        ("portal.example", "127.0.0.1:80", false),
        ("127.0.0.1", "127.0.0.1:443", false),
    ] {
        assert_eq!(may(&policy, host, address), expected, "{host} {address}");
    }
    let db: SocketAddr = "192.0.2.1:5432".parse().expect("an address");
    assert!(policy.check(Kind::Sql, "db.example", db).is_ok());
    assert!(policy.check(Kind::Http, "db.example", db).is_err());
    assert!(policy.credentials(Kind::Sql, "erp-readonly").is_some());
    assert!(policy.credentials(Kind::Sip, "erp-readonly").is_none());
    let (entry, limits) = policy.call_limits("sbc.example", db).expect("limits");
    assert_eq!(entry, 0, "the first of its kind");
    assert_eq!(limits.hold_ns, Some(30_000_000_000));
    assert_eq!((limits.calls_per_hour, limits.concurrent), (Some(120), Some(4)));
}

#[test]
fn a_name_that_nothing_permits_is_not_even_resolved() {
    let by_name = policy("[portal.example:443]");
    assert!(by_name.check_host(Kind::Http, "portal.example", 443).is_ok());
    assert!(by_name.check_host(Kind::Http, "portal.example", 80).is_err());
    assert!(by_name.check_host(Kind::Http, "secret.exfil.example", 443).is_err());
    assert!(policy("['10.0.0.0/8:443']").check_host(Kind::Http, "x.example", 443).is_ok());
    assert!(policy("['10.0.0.0/8:443']").check_host(Kind::Http, "x.example", 80).is_err());
}

#[test]
fn what_is_explicit_lifts_the_deny_list_for_itself_alone() {
    let loopback = policy("[any, 127.0.0.0/8]");
    assert!(may(&loopback, "x", "127.0.0.1:80"));
    assert!(may(&loopback, "x", "[::ffff:127.0.0.1]:80"), "the same address");
    assert!(!may(&loopback, "x", "[::1]:80"));
    assert!(!may(&loopback, "x", "[2002:7f00:1::]:80"), "another way there is not listed");
    let port = policy("['127.0.0.1:8080', '[::1]:8080']");
    assert!(may(&port, "x", "127.0.0.1:8080"));
    assert!(may(&port, "x", "[::1]:8080"));
    assert!(!may(&port, "x", "127.0.0.1:80"));
    assert!(may(&policy("['::ffff:127.0.0.0/104']"), "x", "127.0.0.1:80"));
    assert!(may(&policy("[0x7f.1]"), "x", "127.0.0.1:80"));
}

/// Every spelling that a URL may have of an address nobody means by "any".
const FORBIDDEN: [&str; 78] = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "0177.1",
    "017700000001",
    "0x7f.0x0.0x0.0x1",
    "127.0.0.1.",
    "１２７.0.0.1",
    "127。0。0。1",
    "0.0.0.0",
    "0",
    "0x0",
    "00",
    "0.1",
    "0.255.255.255",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "0xa9.254.0xa9.0376",
    "169.254.43518",
    "169.16689662",
    "169.254.0.1",
    "169.254.170.2",
    "224.0.0.1",
    "239.255.255.255",
    "0xe0000001",
    "255.255.255.255",
    "4294967295",
    "0xffffffff",
    "240.0.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[::0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[::ffff:0.0.0.0]",
    "[::ffff:255.255.255.255]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::169.254.169.254]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::127.0.0.1]",
    "[64:ff9b:1:fffe::a9fe:a9fe]",
    "[2002:7f00:1::]",
    "[2002:7f00:1::1]",
    "[2002:a9fe:a9fe::]",
    "[2002:a9fe:a9fe:1::5]",
    "[2001:0:7f00:1::]",
    "[2001:0:c000:201:0:0:80ff:fffe]",
    "[2001::c000:201:0:0:5601:5601]",
    "[2001:db8::5efe:127.0.0.1]",
    "[2001:db8::200:5efe:a9fe:a9fe]",
    "[fe80::1]",
    "[febf::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[ff05::2]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0:0::0254]",
    "[fd20:ce::254]",
];

#[test]
fn no_spelling_passes_any() {
    let any = policy("[any]");
    for host in FORBIDDEN {
        let url = url::Url::parse(&format!("http://{host}/")).expect(host);
        let address = match url.host().expect(host) {
            url::Host::Ipv4(address) => IpAddr::V4(address),
            url::Host::Ipv6(address) => IpAddr::V6(address),
            url::Host::Domain(name) => panic!("{host} stayed the name {name}"),
        };
        let denied = any.check(Kind::Http, host, SocketAddr::new(address, 80));
        assert!(matches!(denied, Err(Denied::BuiltIn { .. })), "{host} = {address}: {denied:?}");
    }
}

#[test]
fn ordinary_addresses_pass_any() {
    let any = policy("[any]");
    for address in [
        "192.0.2.1:80",
        "10.0.0.1:80",
        "172.16.0.1:80",
        "192.168.1.1:80",
        "100.64.0.1:80",
        "1.1.1.1:80",
        "[2001:db8::1]:80",
        "[fd00::1]:80",
        "[2002:c000:201::]:80",
        "[64:ff9b::c000:201]:80",
        "[::ffff:192.0.2.1]:80",
    ] {
        assert!(may(&any, "x", address), "{address}");
    }
}

#[test]
fn every_problem_has_its_place_and_cure() {
    let text = "allow:\n  - {kind: htp, to: any}\n  - {kind: http, to: [0.0.0.0/0, 10.0.0.1/8, 'a:99999', '*.x', '']}\n  - {kind: http, calls_per_hour: 1, to: any}\nsqk: {}\n";
    let problems = Policy::parse("policy.yaml", text).expect_err("wrong").to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(
        lines,
        [
            "policy.yaml:2:12: bad-value: `htp`; write one of http, sql, sip",
            "policy.yaml:3:23: bad-destination: `0.0.0.0/0`; covers every address; write `any`, which keeps the built-in deny list",
            "policy.yaml:3:34: bad-destination: `10.0.0.1/8`; has bits behind the prefix; write 10.0.0.0/8",
            "policy.yaml:3:46: bad-destination: `a:99999`; a port is 1 to 65535; write `host:443`",
            "policy.yaml:3:57: bad-destination: `*.x`; write a host, host:port, a CIDR or any",
            "policy.yaml:3:64: bad-destination: nothing; write a host, host:port, a CIDR or any",
            "policy.yaml:4:18: unknown-key: `calls_per_hour` is not known here; known here: kind, to",
            "policy.yaml:5:1: unknown-key: `sqk` is not known here; did you mean `sql`?",
        ]
    );
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.yaml");
    std::fs::write(&path, POLICY).expect("written");
    for (mode, accepted) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        let loaded = Policy::load(&path);
        assert_eq!(loaded.is_ok(), accepted, "{mode:o}");
        if let Err(error) = loaded {
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
    }
    assert!(Policy::load(&folder.path().join("absent")).is_err());
}

#[test]
fn no_entry_permits_the_agents_own_listener() {
    let to = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut policy = policy("['127.0.0.1:9464', '127.0.0.1:80']");
    assert!(may(&policy, "127.0.0.1", "127.0.0.1:9464"));
    policy.deny_own(to("127.0.0.1:9464"));
    for own in ["127.0.0.1:9464", "[::ffff:127.0.0.1]:9464", "0.0.0.0:9464"] {
        let denied = policy.check(Kind::Http, "127.0.0.1", to(own));
        assert!(matches!(denied, Err(Denied::Own(_))), "{own}: {denied:?}");
    }
    assert_eq!(policy.check(Kind::Http, "127.0.0.1", to("127.0.0.1:80")), Ok(()));
    policy.deny_own(to("0.0.0.0:80"));
    let denied = policy.check(Kind::Http, "127.0.0.1", to("127.0.0.1:80"));
    assert!(matches!(denied, Err(Denied::Own(_))), "every address of this machine: {denied:?}");
}
