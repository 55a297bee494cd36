//! Where URIs lead: by a zone that is written down here, and by a real server's.

mod dnsmasq;

use super::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// A zone: what is known of each name.
#[derive(Debug, Default)]
struct Zone {
    naptr: HashMap<&'static str, Result<Vec<Naptr>, NoRecords>>,
    srv: HashMap<&'static str, Result<Vec<Srv>, NoRecords>>,
    addresses: HashMap<&'static str, Result<Vec<IpAddr>, NoRecords>>,
    own: Vec<&'static str>,
    asked: RefCell<Vec<String>>,
}

fn absent() -> NoRecords {
    NoRecords::Absent(nowhere("nxdomain", String::new()))
}

fn broken() -> NoRecords {
    NoRecords::Broken(nowhere("servfail", String::new()))
}

fn silent() -> NoRecords {
    NoRecords::Silent(nowhere("dns_timeout", String::new()))
}

impl Zone {
    fn find<T: Clone>(
        &self,
        kind: &str,
        name: &str,
        records: &HashMap<&'static str, Result<T, NoRecords>>,
    ) -> Result<T, NoRecords> {
        self.asked.borrow_mut().push(format!("{kind} {name}"));
        records.get(name.trim_end_matches('.')).cloned().unwrap_or_else(|| Err(absent()))
    }

    fn rules(mut self, name: &'static str, rules: &[(u16, u16, &str, &str)]) -> Self {
        let rule = |(order, preference, services, replacement): &(u16, u16, &str, &str)| Naptr {
            order: *order,
            preference: *preference,
            flags: b"S".to_vec(),
            services: services.as_bytes().to_vec(),
            regexp: Vec::new(),
            replacement: (*replacement).to_owned(),
        };
        self.naptr.insert(name, Ok(rules.iter().map(rule).collect()));
        self
    }

    fn servers(mut self, name: &'static str, servers: &[(u16, u16, u16, &str)]) -> Self {
        let server = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority: *priority,
            weight: *weight,
            port: *port,
            target: (*target).to_owned(),
        };
        self.srv.insert(name, Ok(servers.iter().map(server).collect()));
        self
    }

    fn host(mut self, name: &'static str, addresses: &[&str]) -> Self {
        let parse = |text: &&str| text.parse().expect("an address");
        self.addresses.insert(name, Ok(addresses.iter().map(parse).collect()));
        self
    }
}

impl Lookup for Zone {
    fn is_own(&self, name: &str) -> bool {
        self.own.contains(&name)
    }

    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, NoRecords> {
        self.find("NAPTR", name, &self.naptr)
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, NoRecords> {
        self.find("SRV", name, &self.srv)
    }

    async fn addresses(&self, name: &str, _: Family) -> Result<Vec<IpAddr>, NoRecords> {
        self.find("A", name, &self.addresses)
    }
}

const ALL: Wanted = Wanted { family: Family::Any, most: LOCATED_MAX };

async fn run(lookup: &impl Lookup, uri: &str, wanted: Wanted) -> Result<Vec<Located>, Failure> {
    let uri = Uri::parse(uri.as_bytes()).expect(uri);
    locate(&uri, wanted, lookup, &mut Rng::with_seed(1)).await
}

/// As text, such as `udp h 192.0.2.1:5060`; a failure as its code.
fn text(found: Result<Vec<Located>, Failure>) -> Vec<String> {
    let server = |located: Located| {
        let transport = located.transport.via().to_ascii_lowercase();
        format!("{transport} {} {}", located.host, located.address)
    };
    match found {
        Ok(servers) => servers.into_iter().map(server).collect(),
        Err(failure) => vec![failure.code.expect("resolve has codes").into_owned()],
    }
}

/// Where a URI leads, and what was asked on the way.
async fn lead(zone: &Zone, uri: &str) -> (Vec<String>, Vec<String>) {
    zone.asked.borrow_mut().clear();
    let found = text(run(zone, uri, ALL).await);
    (found, zone.asked.borrow().clone())
}

/// The domain of RFC 3263 §4.1.
fn example() -> Zone {
    Zone::default()
        .rules(
            "example.com",
            &[
                (100, 50, "SIP+D2U", "_sip._udp.example.com."),
                (90, 50, "SIP+D2T", "_sip._tcp.example.com."),
                (50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
            ],
        )
        .servers("_sips._tcp.example.com", &[(0, 0, 5_061, "s.example.com.")])
        .servers("_sip._tcp.example.com", &[(0, 0, 5_062, "s.example.com.")])
        .servers("_sip._udp.example.com", &[(0, 0, 5_063, "s.example.com.")])
        .host("s.example.com", &["192.0.2.1"])
        .host("example.com", &["192.0.2.9", "192.0.2.10"])
}

#[tokio::test]
async fn each_kind_of_uri_takes_its_way() {
    let zone = example();
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("sip:a@192.0.2.7", &["udp 192.0.2.7 192.0.2.7:5060"], &[]),
        ("sips:a@192.0.2.7", &["tls 192.0.2.7 192.0.2.7:5061"], &[]),
        ("sip:192.0.2.7:5070;transport=TCP", &["tcp 192.0.2.7 192.0.2.7:5070"], &[]),
        ("sip:[2001:db8::1]:5070", &["udp 2001:db8::1 [2001:db8::1]:5070"], &[]),
        ("sip:[::ffff:192.0.2.7]", &["udp ::ffff:192.0.2.7 192.0.2.7:5060"], &[]),
        ("sip:a@example.com;maddr=192.0.2.8", &["udp 192.0.2.8 192.0.2.8:5060"], &[]),
        (
            "sip:a@example.com:5060",
            &["udp example.com 192.0.2.9:5060", "udp example.com 192.0.2.10:5060"],
            &["A example.com"],
        ),
        (
            "sips:a@example.com:5071",
            &["tls example.com 192.0.2.9:5071", "tls example.com 192.0.2.10:5071"],
            &["A example.com"],
        ),
        (
            "sip:a@EXAMPLE.com;transport=udp",
            &["udp s.example.com 192.0.2.1:5063"],
            &["SRV _sip._udp.example.com.", "A s.example.com."],
        ),
        (
            "sip:a@example.com;transport=tcp",
            &["tcp s.example.com 192.0.2.1:5062"],
            &["SRV _sip._tcp.example.com.", "A s.example.com."],
        ),
        (
            "sip:a@example.com;transport=tls",
            &["tls s.example.com 192.0.2.1:5061"],
            &["SRV _sips._tcp.example.com.", "A s.example.com."],
        ),
        (
            "sips:a@example.com;transport=tcp",
            &["tls s.example.com 192.0.2.1:5061"],
            &["SRV _sips._tcp.example.com.", "A s.example.com."],
        ),
        (
            "sip:a@example.com.",
            &["tls s.example.com 192.0.2.1:5061"],
            &["NAPTR example.com.", "SRV _sips._tcp.example.com.", "A s.example.com."],
        ),
    ];
    for (uri, found, asked) in cases {
        let (really_found, really_asked) = lead(&zone, uri).await;
        assert_eq!(really_found, found, "{uri}");
        assert_eq!(really_asked, asked, "{uri}");
    }
}

#[tokio::test]
async fn rules_that_do_not_apply_are_passed_over() {
    let mut zone = example().rules(
        "example.com",
        &[
            (1, 1, "SIP+D2S", "_sip._sctp.example.com."),
            (1, 2, "E2U+sip", "_sip._tcp.example.com."),
            (1, 3, "SIPS+D2U", "_sips._udp.example.com."),
            (1, 4, "sip+d2t", "."),
            (2, 9, "SIP+D2T", "_sip._tcp.example.com."),
            (2, 8, "sip+d2u", "_sip._udp.example.com."),
        ],
    );
    assert_eq!(lead(&zone, "sip:a@example.com").await.0, ["udp s.example.com 192.0.2.1:5063"]);
    // None is left for a URI that must be private: as if there were none.
    let (found, asked) = lead(&zone, "sips:a@example.com").await;
    assert_eq!(found, ["tls s.example.com 192.0.2.1:5061"]);
    assert_eq!(asked[1], "SRV _sips._tcp.example.com.");
    // Rules that compute the next name, or lead to something else than servers, are of other applications.
    let Some(Ok(rules)) = zone.naptr.get_mut("example.com") else { panic!("rules") };
    rules[5].flags = b"a".to_vec();
    rules[4].regexp = b"!^.*$!sip:x@y!".to_vec();
    let (found, asked) = lead(&zone, "sip:a@example.com").await;
    assert_eq!(found, ["udp s.example.com 192.0.2.1:5063"]);
    assert_eq!(asked[1], "SRV _sip._udp.example.com.", "guessed, UDP first");
}

#[tokio::test]
async fn without_rules_the_services_are_guessed() {
    let mut zone = example();
    zone.naptr.clear();
    for (lost, expected) in [
        (None, "udp s.example.com 192.0.2.1:5063"),
        (Some("_sip._udp.example.com"), "tcp s.example.com 192.0.2.1:5062"),
        (Some("_sip._tcp.example.com"), "tls s.example.com 192.0.2.1:5061"),
        (Some("_sips._tcp.example.com"), "udp example.com 192.0.2.9:5060"),
    ] {
        lost.map(|lost| zone.srv.remove(lost));
        assert_eq!(lead(&zone, "sip:a@example.com").await.0[0], expected, "{lost:?}");
    }
    let (found, asked) = lead(&zone, "sips:a@example.com").await;
    assert_eq!(found[0], "tls example.com 192.0.2.9:5061");
    assert_eq!(asked, ["NAPTR example.com.", "SRV _sips._tcp.example.com.", "A example.com"]);
    assert_eq!(
        lead(&zone, "sip:a@example.com;transport=tcp").await.0[0],
        "tcp example.com 192.0.2.9:5060"
    );
}

#[tokio::test]
async fn what_is_missing_on_the_way_is_told_apart() {
    let name = "example.com";
    // A server that does not know these kinds of records, or says that it cannot tell.
    for none in [absent(), broken()] {
        let mut zone = example();
        zone.naptr.insert(name, Err(none.clone()));
        assert_eq!(lead(&zone, "sip:a@example.com").await.0, ["udp s.example.com 192.0.2.1:5063"]);
        for service in ["_sip._udp.example.com", "_sip._tcp.example.com", "_sips._tcp.example.com"]
        {
            zone.srv.insert(service, Err(none.clone()));
        }
        let (found, asked) = lead(&zone, "sip:a@example.com").await;
        assert_eq!(found[0], "udp example.com 192.0.2.9:5060");
        assert_eq!(asked.len(), 5);
        zone.addresses.insert(name, Err(none.clone()));
        let code = none.into_failure().code.expect("has one");
        assert_eq!(lead(&zone, "sip:a@example.com").await.0, [code]);
    }
    // A server that says nothing is not asked the next question.
    for questions in 1..=3 {
        let mut zone = example();
        match questions {
            1 => drop(zone.naptr.insert(name, Err(silent()))),
            2 => drop(zone.srv.insert("_sips._tcp.example.com", Err(silent()))),
            _ => drop(zone.addresses.insert("s.example.com", Err(silent()))),
        }
        let (found, asked) = lead(&zone, "sip:a@example.com").await;
        assert_eq!((found, asked.len()), (vec!["dns_timeout".to_owned()], questions));
    }
    // A service that the domain itself has named must be there.
    let mut zone = example();
    zone.srv.insert("_sips._tcp.example.com", Err(broken()));
    assert_eq!(lead(&zone, "sip:a@example.com").await.0, ["servfail"]);
    // If none is, the domain's own addresses are asked by the transport that it prefers (RFC 3263 §4.2).
    zone.srv.clear();
    assert_eq!(lead(&zone, "sip:a@example.com").await.0[0], "tls example.com 192.0.2.9:5061");
}

#[tokio::test]
async fn a_service_that_is_denied_is_not_asked_for() {
    let mut zone = example().servers("_sips._tcp.example.com", &[(0, 0, 0, ".")]);
    assert_eq!(lead(&zone, "sip:a@example.com").await.0, ["tcp s.example.com 192.0.2.1:5062"]);
    assert_eq!(lead(&zone, "sips:a@example.com").await.0, ["nodata"]);
    zone.naptr.clear();
    zone = zone.servers("_sip._udp.example.com", &[(0, 0, 0, ".")]);
    zone.srv.remove("_sip._tcp.example.com");
    let (found, asked) = lead(&zone, "sip:a@example.com").await;
    assert_eq!(found, ["nodata"]);
    assert!(!asked.contains(&"A example.com".to_owned()), "it has said so: {asked:?}");
}

#[tokio::test]
async fn a_name_of_this_machine_is_asked_about_nowhere_else() {
    let mut zone = example().host("sbc", &["10.0.0.1"]).host("sbc.lan", &["10.0.0.2"]);
    zone.own.push("sbc.lan");
    for (uri, found, asked) in [
        ("sip:a@sbc", "udp sbc 10.0.0.1:5060", "A sbc"),
        ("sips:a@sbc", "tls sbc 10.0.0.1:5061", "A sbc"),
        ("sip:a@sbc.lan", "udp sbc.lan 10.0.0.2:5060", "A sbc.lan"),
    ] {
        let result = lead(&zone, uri).await;
        assert_eq!(result, (vec![found.to_owned()], vec![asked.to_owned()]), "{uri}");
    }
}

#[tokio::test]
async fn all_servers_are_found_in_their_order() {
    let mut zone = example().servers(
        "_sip._udp.example.com",
        &[
            (20, 0, 5_060, "last.example.com."),
            (10, 0, 5_070, "first.example.com."),
            (15, 5, 5_060, "gone.example.com."),
            (15, 0, 0, "s.example.com."),
        ],
    );
    zone = zone
        .host("first.example.com", &["192.0.2.1", "2001:db8::1", "192.0.2.1"])
        .host("last.example.com", &["192.0.2.3"]);
    let uri = "sip:a@example.com;transport=udp";
    assert_eq!(
        lead(&zone, uri).await.0,
        [
            "udp first.example.com 192.0.2.1:5070",
            "udp first.example.com [2001:db8::1]:5070",
            "udp last.example.com 192.0.2.3:5060"
        ]
    );
    // Who tries but one does not look up the others.
    zone.asked.borrow_mut().clear();
    let found = run(&zone, uri, Wanted { most: 1, ..ALL }).await.expect("is there");
    assert_eq!((found.len(), zone.asked.borrow().len()), (1, 2));
    // A server that has none of its own does not hide those that have been found.
    zone.addresses.insert("gone.example.com", Err(silent()));
    assert_eq!(lead(&zone, uri).await.0.len(), 2, "but nobody waits for it twice");
    zone.addresses.clear();
    assert_eq!(lead(&zone, uri).await.0, ["nxdomain"]);
}

#[tokio::test]
async fn there_is_a_bound_for_everything() {
    let addresses: Vec<String> = (0..40).map(|last| format!("192.0.2.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let zone = example().host("example.com", &addresses);
    assert_eq!(lead(&zone, "sip:example.com:5060").await.0.len(), LOCATED_MAX);
    let servers: Vec<_> = (0..40).map(|port| (0, 0, port + 1, "gone.example.com.")).collect();
    let zone = zone.servers("_sip._udp.example.com", &servers);
    let (found, asked) = lead(&zone, "sip:example.com;transport=udp").await;
    assert_eq!((found, asked.len()), (vec!["nxdomain".to_owned()], 1 + HOSTS_MAX));
    let rules: Vec<_> =
        (0..40).map(|order| (order, 0, "SIP+D2U", "_sip._udp.gone.example.com.")).collect();
    let zone = zone.rules("example.com", &rules);
    let (found, asked) = lead(&zone, "sip:example.com").await;
    assert_eq!((found.len(), asked.len()), (LOCATED_MAX, 1 + SERVICES_MAX + 1));
}

#[test]
fn equals_share_as_their_weights_say() {
    let record = |priority, weight, port| Srv { priority, weight, port, target: "h.".to_owned() };
    let records =
        [record(1, 60, 1), record(1, 30, 2), record(1, 10, 3), record(1, 0, 4), record(0, 7, 5)];
    let mut random = Rng::with_seed(7);
    let mut seconds = HashMap::new();
    const DRAWS: u32 = 10_000;
    for _ in 0..DRAWS {
        let ordered = in_order(records.to_vec(), &mut random);
        assert_eq!(ordered.len(), records.len());
        assert_eq!(ordered[0].port, 5, "the lowest priority, whatever its weight");
        *seconds.entry(ordered[1].port).or_insert(0_u32) += 1;
    }
    for (port, percent) in [(1, 59), (2, 30), (3, 10), (4, 1)] {
        let share = seconds[&port] * 100 / DRAWS;
        assert!(share.abs_diff(percent) <= 1, "{port}: {share} % of {percent} %");
    }
    let zeros: Vec<_> = (1..=3).map(|port| record(0, 0, port)).collect();
    assert_eq!(in_order(zeros.clone(), &mut random).len(), 3);
}
