//! The same calls by TCP, by IPv6, reliably ringing, cancelled, and with audio that nobody sends.

use super::*;

fn one(mut sipp: Sipp, uri: &str, keys: &str) -> Value {
    let sip = format!("uri: '{}', {keys}", uri.replace("PORT", &sipp.port.to_string()));
    let attempt = tried(&sip, "5s", 1).1.pop().expect("one attempt");
    assert!(sipp.is_satisfied(SATISFIED), "{attempt}\n{}", sipp.output());
    attempt
}

#[test]
fn calls_go_by_tcp_and_by_ipv6() {
    if !has_sipp("calls_go_by_tcp_and_by_ipv6") {
        return;
    }
    let call = "mode: call, hold: 50ms";
    let by_tcp = one(
        Sipp::scenario_by_tcp(&scenario("answers")),
        "sip:echo@127.0.0.1:PORT;transport=tcp",
        call,
    );
    assert_ok(&by_tcp);
    assert_eq!(by_tcp["detail"]["timestamps"], "user");
    for phase in ["connect", "session_request_delay", "time_to_answer", "session_disconnect_delay"]
    {
        assert!(phase_ms(&by_tcp, phase).is_some(), "{phase}: {by_tcp}");
    }
    let by_ipv6 = one(Sipp::uas_by_ipv6(1), "sip:echo@[::1]:PORT", call);
    assert_ok(&by_ipv6);
    assert_eq!(by_ipv6["counters"]["completed"], 1, "{by_ipv6}");
}

#[test]
fn reliable_ringing_is_acknowledged() {
    if !has_sipp("reliable_ringing_is_acknowledged") {
        return;
    }
    let sipp = Sipp::scenario(&scenario("reliable"), 200);
    let attempt = one(sipp, "sip:echo@127.0.0.1:PORT", "mode: call, hold: 50ms");
    assert_ok(&attempt);
    assert!(attempt["counters"]["retransmissions"].is_null(), "{attempt}");
    assert_near(&attempt, "time_to_answer", 100.0);
}

#[test]
fn what_rings_is_cancelled_in_the_transaction_of_its_invite() {
    if !has_sipp("what_rings_is_cancelled_in_the_transaction_of_its_invite") {
        return;
    }
    let sipp = Sipp::scenario(&scenario("rings"), 200);
    let relay = SipRelay::start(sipp.port, Manners::default());
    let uri = format!("sip:echo@{}", relay.address);
    let attempt = one(sipp, &uri, "mode: ring");
    let expected = (&json!("ok"), &json!("sip:487"));
    assert_eq!((&attempt["outcome"], &attempt["code"]), expected, "{attempt}");
    assert_eq!(attempt["counters"]["effective"], 1, "{attempt}");
    let (invites, cancels) = (relay.of("INVITE"), relay.of("CANCEL"));
    assert_eq!((invites.len(), cancels.len()), (1, 1));
    assert_eq!(header(&cancels[0].text, "Via"), header(&invites[0].text, "Via"));
    let rang = relay.passed().iter().position(|passed| passed.kind == "180 INVITE");
    let cancelled = relay.passed().iter().position(|passed| passed.kind == "CANCEL");
    assert!(rang < cancelled, "not before it rang");
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    if !has_sipp("an_answer_that_crosses_the_cancel_is_acknowledged_and_ended") {
        return;
    }
    let sipp = Sipp::scenario(&scenario("crosses"), 200);
    let attempt = one(sipp, "sip:echo@127.0.0.1:PORT", "mode: ring");
    assert_failed(&attempt, "status", "sip:200");
    assert_eq!(attempt["counters"]["established"], 1, "somebody pays for it: {attempt}");
}

#[test]
fn a_call_in_which_nothing_is_to_be_heard_has_failed() {
    if !has_sipp("a_call_in_which_nothing_is_to_be_heard_has_failed") {
        return;
    }
    let sipp = Sipp::scenario(&scenario("answers"), 200);
    let attempt = one(sipp, "sip:echo@127.0.0.1:PORT", "mode: call, media: {seconds: 1}");
    assert_failed(&attempt, "media", "no_audio");
    assert_eq!(attempt["counters"]["established"], 1, "{attempt}");
    assert!(attempt["values"].is_null() && phase_ms(&attempt, "media_setup").is_none());
}

#[test]
fn a_telephone_is_heard() {
    if !harness::has("baresip") {
        return harness::skip("a_telephone_is_heard", "baresip-core");
    }
    let baresip = harness::baresip::Baresip::answering();
    let sip =
        format!("uri: 'sip:tone@127.0.0.1:{}', mode: call, media: {{seconds: 3}}", baresip.port);
    let attempt = tried(&sip, "10s", 1).1.pop().expect("one attempt");
    assert_ok(&attempt);
    assert_eq!(attempt["values"]["loss_ppm"], 0, "{attempt}");
    let mos = attempt["values"]["mos_centi"].as_u64().expect("rated");
    assert!((430..=450).contains(&mos), "{attempt}");
    // It begins to speak when it has its ACK, and paces its packets by 20 ms.
    assert!(phase_ms(&attempt, "media_setup").is_some_and(|ms| ms < 500.0), "{attempt}");
    assert!(phase_ms(&attempt, "jitter").is_some_and(|ms| ms < 10.0), "{attempt}");
    let received = attempt["detail"]["audio"]["received"].as_u64().expect("counted");
    assert!((130..=151).contains(&received), "50 a second: {attempt}");
}
