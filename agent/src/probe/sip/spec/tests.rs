//! Blocks as people write them.

use super::*;
use probefleet_proto::yaml::Document;

fn decode(block: &str) -> Result<Spec, String> {
    let document = Document::parse("plan.yaml", block).expect("is YAML");
    let mut problems = Problems::new("plan.yaml");
    let spec = Spec::decode(&document.root, &mut problems);
    problems.into_result(spec).map_err(|problems| problems.to_string())
}

#[test]
fn defaults_are_filled_in() {
    for (block, canonical) in [
        (
            "uri: SIP:Echo@SBC.example",
            r#"{"uri":"sip:Echo@sbc.example","mode":"options","expect":{"codes":["200"]},"ip":"any"}"#,
        ),
        (
            "{uri: 'sip:+49@[::1]:5062;user=phone', mode: call, ip: 6, expect: {codes: [486, 200-202, 203]}}",
            r#"{"uri":"sip:+49@[::1]:5062;user=phone","mode":"call","hold":"1s","expect":{"codes":["200-203","486"]},"ip":"6"}"#,
        ),
        (
            "{uri: 'sips:h', mode: ring, account: trunk, failover: off, ca_file: /ca.pem}",
            r#"{"uri":"sips:h","mode":"ring","expect":{"codes":["487"]},"ip":"any","account":"trunk","ca_file":"/ca.pem","failover":"off"}"#,
        ),
        (
            "{uri: 'sip:h;transport=tcp', mode: register, failover: on}",
            r#"{"uri":"sip:h;transport=tcp","mode":"register","expect":{"codes":["200"]},"ip":"any"}"#,
        ),
        (
            "{uri: 'sip:h', mode: call, media: {}}",
            r#"{"uri":"sip:h","mode":"call","media":{"seconds":5},"expect":{"codes":["200"]},"ip":"any"}"#,
        ),
        (
            "{uri: 'sip:h;transport=UDP', mode: call, hold: 1500ms, expect: {codes: 603}}",
            r#"{"uri":"sip:h;transport=UDP","mode":"call","hold":"1.5s","expect":{"codes":["603"]},"ip":"any"}"#,
        ),
    ] {
        assert_eq!(decode(block).expect(block).canonical().to_string(), canonical);
    }
}

#[test]
fn hosts_are_what_the_network_will_see() {
    for (uri, host) in [
        ("sip:a@SBC.Example", "sbc.example"),
        ("sip:a@0x7f.1:5070", "127.0.0.1"),
        ("sip:a@2130706433", "127.0.0.1"),
        ("sip:a@[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
    ] {
        let target = decode(&format!("uri: '{uri}'")).expect(uri).target;
        assert_eq!(target.host, host);
    }
    let mapped = decode("uri: 'sip:a@[::ffff:127.0.0.1]'").expect("an address").target.address;
    assert_eq!(mapped, Some("127.0.0.1".parse().expect("an address")));
}

/// A block, and what is said of it.
const PROBLEMS: &[(&str, &str)] = &[
    ("{}", "1:1: missing-key: `uri` is missing; add `uri: …`"),
    ("uri: http://x/", "1:6: bad-uri: `http://x/`; write sip:user@host or sip:user@host:port"),
    ("uri: [a]", "1:6: bad-uri: a list; write a single SIP URI"),
    ("uri: sip:a@1.2.3.256", "1:6: bad-uri: `sip:a@1.2.3.256`; no host that can be asked"),
    (
        "uri: sip:a:geheim@h",
        "1:6: bad-uri: the URI; a plan has no credentials; leave out the password",
    ),
    (
        "uri: sip:a@h?Subject=x",
        "1:6: bad-uri: `sip:a@h?Subject=x`; leave out everything from the `?` on",
    ),
    (
        "uri: sip:a@h;maddr=10.0.0.1",
        "1:6: bad-uri: `sip:a@h;maddr=10.0.0.1`; leave out `maddr`; the host and `mode` say it",
    ),
    ("uri: sip:a@h;transport=ws", "1:6: unsupported: `transport=ws`; write udp, tcp or tls"),
    (
        "uri: sips:a@h;transport=udp",
        "1:6: unsupported: `sips:` by `transport=udp`; leave the transport out: `sips:` goes by TLS over TCP",
    ),
    (
        "{uri: 'sip:h', mode: dial}",
        "1:22: bad-value: `dial`; write one of options, register, ring, call",
    ),
    (
        "{uri: 'sip:h', account: Trunk!}",
        "1:25: bad-name: `Trunk!`; a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -",
    ),
    ("{uri: 'sip:h', failover: maybe}", "1:26: bad-value: `maybe`; write one of on, off"),
    (
        "{uri: 'sip:h', media: {}}",
        "1:23: bad-value: `media` without a call; write `mode: call`, or leave it out",
    ),
    (
        "{uri: 'sip:h', mode: call, hold: 1s, media: {seconds: 2}}",
        "1:34: bad-value: `hold` beside `media`; leave `hold` out: the call is held as long as there is audio",
    ),
    ("{uri: 'sip:h', mode: call, media: {seconds: 0}}", "1:45: bad-value: `0`; write 1 to 60"),
    (
        "{uri: 'sip:h', hold: 1s}",
        "1:22: bad-value: `hold` without a call; write `mode: call`, or leave it out",
    ),
    (
        "{uri: 'sip:h', mode: call, hold: 5}",
        "1:34: bad-duration: `5`; a duration needs its unit: 5s, 5ms …",
    ),
    (
        "{uri: 'sip:1.2.3.4', ip: 6}",
        "1:1: bad-value: the URI's address is not of the family in `ip`; leave `ip` out",
    ),
    (
        "{uri: 'sip:h', expect: {codes: [100]}}",
        "1:33: bad-status: `100`; write a final status of 200 to 699, or a range such as 200-299",
    ),
    (
        "{uri: 'sip:h', expect: {codes: []}}",
        "1:32: bad-status: no status, or too many; write 1 to 16 statuses or ranges, such as 200-299",
    ),
    (
        "{uri: 'sip:h', expect: {code: 200}}",
        "1:25: unknown-key: `code` is not known here; did you mean `codes`?",
    ),
    (
        "{uri: 'sip:h', hould: 1s}",
        "1:16: unknown-key: `hould` is not known here; did you mean `hold`?",
    ),
];

#[test]
fn every_problem_has_its_place_and_cure() {
    for (block, expected) in PROBLEMS {
        assert_eq!(decode(block).expect_err(block), format!("plan.yaml:{expected}"));
    }
    let long = format!("uri: sip:{}@h", "a".repeat(URI_MAX_BYTES));
    assert!(decode(&long).expect_err("long").ends_with("at most 256 bytes"));
    let both = decode("{uri: 'sip:h;transport=ws', mode: rign, account: X}").expect_err("wrong");
    assert_eq!(both.lines().count(), 3, "all in one run: {both}");
}
