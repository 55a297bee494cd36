//! From a name to its servers, and from one that cannot be had to the next (RFC 3263 §4.3), in a network with names of
//! its own.

use super::*;
use harness::dnsmasq::Dnsmasq;
use harness::kamailio::{self, Kamailio};
use harness::namespace::is_within;
use harness::ports::free_port;
use harness::sip_hostile::{Act, SipHostile, bare};

/// How long the first server of a name thinks before it refuses: less than T1, so that nothing is sent again.
const THINKS: Duration = Duration::from_millis(300);

/// The records of a service with two servers, the first of which is to be asked first.
fn service(name: &str, first: u16, second: u16) -> [String; 2] {
    let record =
        |host, port, priority| format!("--srv-host={name},{host}.test,{port},{priority},1");
    [record("first", first, 10), record("second", second, 20)]
}

/// The addresses of all servers.
fn hosts() -> Vec<String> {
    ["first", "second"].map(|host| format!("--host-record={host}.test,127.0.0.1")).to_vec()
}

/// One attempt at a name.
fn asked(uri: &str, keys: &str, timeout: &str) -> Value {
    let (_, mut attempts) = tried(&format!("uri: '{uri}', {keys}"), timeout, 1);
    assert_eq!(attempts.len(), 1, "one sample: {attempts:?}");
    attempts.remove(0)
}

const CALL: &str = "mode: call, hold: 20ms";

/// A call that the server at that port has taken, after so many INVITEs.
#[track_caller]
fn assert_taken(attempt: &Value, port: u16, invites: u64) {
    assert_ok(attempt);
    assert_eq!(attempt["detail"]["address"], format!("127.0.0.1:{port}"), "{attempt}");
    let expected = json!({"call_attempts": 1, "established": 1, "effective": 1, "completed": 1, "invite_transactions": invites});
    assert_eq!(attempt["counters"], expected, "{attempt}");
    assert!(phase_ms(attempt, "resolve").is_some(), "{attempt}");
}

/// A call that nobody has taken, after so many INVITEs, the last of them to the server at that port.
#[track_caller]
fn assert_lost(attempt: &Value, (class, code): (&str, &str), port: u16, invites: u64) {
    assert_failed(attempt, class, code);
    assert_eq!(attempt["detail"]["address"], format!("127.0.0.1:{port}"), "{attempt}");
    let mut expected = json!({"call_attempts": 1, "ineffective": 1});
    if invites > 0 {
        expected["invite_transactions"] = json!(invites);
    }
    let mut counters = attempt["counters"].clone();
    counters.as_object_mut().expect("counters").remove("retransmissions");
    assert_eq!(counters, expected, "{attempt}");
}

#[test]
fn the_next_server_of_a_name_is_asked_by_udp() {
    const TEST: &str = "sip::failover::the_next_server_of_a_name_is_asked_by_udp";
    if !has_sipp(TEST) || !is_within(TEST) {
        return;
    }
    let refuses = SipHostile::by_udp(|asked| match asked.text.starts_with("ACK ") {
        true => Vec::new(),
        false => vec![Act::Wait(THINKS), Act::Send(bare(asked.text, "503 Service Unavailable"))],
    });
    let silent = SipHostile::by_udp(|_| Vec::new());
    let unasked = SipHostile::by_udp(|asked| vec![Act::Send(bare(asked.text, "200 OK"))]);
    let mut sipp = Sipp::uas(2);
    let (dead, gone) = (free_port(), free_port());
    let at = |peer: &SipHostile| peer.address.port();
    let services = [
        service("_sip._udp.refuses.test", at(&refuses), sipp.port),
        service("_sip._udp.dead.test", dead, sipp.port),
        service("_sip._udp.silent.test", at(&silent), at(&unasked)),
        service("_sip._udp.gone.test", dead, gone),
        service("_sip._udp.refuses-options.test", at(&refuses), at(&unasked)),
        service("_sip._udp.dead-options.test", dead, at(&unasked)),
    ];
    let _names = Dnsmasq::start(&[hosts(), services.concat()].concat());

    // Only the first, where the plan says so.
    let off = format!("{CALL}, failover: off");
    let attempt = asked("sip:echo@refuses.test", &off, "5s");
    assert_lost(&attempt, ("status", "sip:503"), at(&refuses), 1);
    assert_near(&attempt, "session_request_delay_failed", THINKS.as_secs_f64() * 1e3);
    let attempt = asked("sip:echo@dead.test", &off, "5s");
    assert_lost(&attempt, ("refused", "econnrefused"), dead, 1);
    assert!(phase_ms(&attempt, "session_request_delay_failed").is_none(), "{attempt}");

    // The delay begins with the first INVITE, whoever answers in the end.
    let attempt = asked("sip:echo@refuses.test", CALL, "5s");
    assert_taken(&attempt, sipp.port, 2);
    assert_near(&attempt, "session_request_delay", THINKS.as_secs_f64() * 1e3);
    let acks = refuses.of("ACK");
    assert_eq!((refuses.of("INVITE").len(), acks.len()), (2, 2), "each 503 is acknowledged");
    let call_id = attempt["detail"]["call_id"].as_str().map(str::to_owned);
    assert_eq!(header(&acks[1].text, "Call-ID"), call_id, "one call, whoever is asked");
    let attempt = asked("sip:echo@dead.test", CALL, "5s");
    assert_taken(&attempt, sipp.port, 2);
    assert!(phase_ms(&attempt, "session_request_delay").expect("rang") < 200.0, "{attempt}");
    assert!(sipp.is_satisfied(SATISFIED), "{}", sipp.output());

    // Nobody is left.
    let attempt = asked("sip:echo@gone.test", CALL, "5s");
    assert_lost(&attempt, ("refused", "econnrefused"), gone, 2);
    assert!(phase_ms(&attempt, "total").expect("total") < 1_000.0, "at once: {attempt}");

    // A silent server has 64·T1: less than that, and the next is not asked.
    let attempt = asked("sip:echo@silent.test", CALL, "2s");
    assert_lost(&attempt, ("timeout", "invite"), at(&silent), 1);
    assert_eq!(attempt["counters"]["retransmissions"], 2, "after 500 and 1,500 ms: {attempt}");
    let total = phase_ms(&attempt, "total").expect("total");
    assert!((2_000.0..2_050.0).contains(&total), "{total} ms");
    assert!(unasked.heard().is_empty() && silent.heard().len() == 3);

    // What is no call, likewise.
    for uri in ["sip:refuses-options.test", "sip:dead-options.test"] {
        let attempt = asked(uri, "mode: options", "5s");
        assert_ok(&attempt);
        assert_eq!(attempt["detail"]["address"], unasked.address.to_string(), "{attempt}");
        if uri.contains("refuses") {
            assert_near(&attempt, "options_request_delay", THINKS.as_secs_f64() * 1e3);
        }
    }
}

#[test]
fn the_next_server_of_a_name_is_asked_by_tcp() {
    const TEST: &str = "sip::failover::the_next_server_of_a_name_is_asked_by_tcp";
    if !has_sipp(TEST) || !is_within(TEST) {
        return;
    }
    let by_tcp = || Sipp::scenario_by_tcp(&scenario("answers"));
    let (mut guessed, mut told) = (by_tcp(), by_tcp());
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("signs");
    let identity = (identity.cert.pem(), identity.signing_key.serialize_pem());
    let manners = kamailio::Manners { algorithm: "MD5", near: told.port, far: told.port, identity };
    let Some(kamailio) = Kamailio::start(&manners) else {
        return harness::skip(TEST, "kamailio and kamailio-tls-modules");
    };
    let (dead, gone) = (free_port(), free_port());
    let rule = |order: u16, service: &str, leads_to: &str| {
        format!("--naptr-record=told.test,{order},1,s,{service},,{leads_to}")
    };
    let services = [
        // It has no service by UDP, so that TCP is asked for next.
        service("_sip._tcp.dead.test", dead, guessed.port),
        service("_sip._tcp.gone.test", dead, gone),
        service("_sip._tcp.servers.test", kamailio.port, told.port),
        // What a domain says comes before what might be guessed, and the lower order before the higher.
        service("_sip._udp.told.test", dead, gone),
        service("_sip._udp.servers.test", dead, gone),
        [
            rule(20, "SIP+D2U", "_sip._udp.servers.test"),
            rule(10, "SIP+D2T", "_sip._tcp.servers.test"),
        ],
    ];
    let _names = Dnsmasq::start(&[hosts(), services.concat()].concat());

    let off = format!("{CALL}, failover: off");
    let attempt = asked("sip:over@told.test", &off, "5s");
    assert_lost(&attempt, ("status", "sip:503"), kamailio.port, 1);
    let attempt = asked("sip:echo@dead.test", &off, "5s");
    assert_lost(&attempt, ("refused", "econnrefused"), dead, 0);

    // The proxy says 503 by TCP: the next server is asked by a connection of its own.
    let attempt = asked("sip:over@told.test", CALL, "5s");
    assert_taken(&attempt, told.port, 2);
    assert_eq!(attempt["detail"]["timestamps"], "user", "by TCP: {attempt}");
    assert!(phase_ms(&attempt, "connect").is_some(), "that of the first: {attempt}");
    assert!(told.is_satisfied(SATISFIED), "{}", told.output());

    // Where there is no connection no request was sent.
    let attempt = asked("sip:echo@dead.test", CALL, "5s");
    assert_taken(&attempt, guessed.port, 1);
    assert!(phase_ms(&attempt, "connect").is_some(), "that of the second: {attempt}");
    assert!(guessed.is_satisfied(SATISFIED), "{}", guessed.output());
    let attempt = asked("sip:echo@gone.test", CALL, "5s");
    assert_lost(&attempt, ("refused", "econnrefused"), gone, 0);
}
