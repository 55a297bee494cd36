//! Floods: of what is no message, of answers to nobody, of requests within a call and within none.

use super::*;
use harness::sip_hostile::{Flood, within};

/// How long each lasts: longer than the call.
const LASTS: Duration = Duration::from_secs(1);
/// Likewise of one that answers a request which is sent again after 500 ms.
const LASTS_UNTIL_AGAIN: Duration = Duration::from_millis(400);
/// Of datagrams of 60 kB. The socket holds some 120 of them: so long may the agent have no turn on a busy machine.
const LARGE_PER_S: u32 = 250;
/// Of others; the socket holds thousands.
const SMALL_PER_S: u32 = 1_000;
/// What is said in a second to requests of no call.
const ANSWERS_PER_S: usize = 100;

/// Takes calls by UDP, and floods their caller as soon as they are up; `piece` has the ACK, and which one it is.
fn flooding(per_s: u32, piece: fn(&str, u64) -> Vec<u8>) -> SipHostile {
    SipHostile::by_udp(move |asked| match asked.text.split(' ').next() {
        Some("INVITE") => {
            let contact = format!("sip:hostile@{}", asked.local);
            vec![Act::Send(answer(asked.text, &contact))]
        }
        Some("ACK") => {
            let ack = asked.text.to_owned();
            let piece = Box::new(move |number| piece(&ack, number));
            vec![Act::Flood(Flood { piece, per_s, lasts: LASTS })]
        }
        Some("BYE") => vec![Act::Send(bare(asked.text, "200 OK"))],
        _ => Vec::new(),
    })
}

/// An answer to something that nobody has asked, of that call or of none.
fn answer_to_nobody(ack: &str, number: u64) -> String {
    let text = head(ack, "200 OK").replace(" ACK\r\n", " INVITE\r\n");
    let text = text.replace(";branch=", &format!(";branch=z9hG4bK{:x}", fastrand::u64(..)));
    if number.is_multiple_of(2) {
        return text;
    }
    let call_id = header(ack, "Call-ID").expect("a Call-ID");
    text.replace(&call_id, &format!("{:x}", fastrand::u64(..)))
}

/// How many answers of ours are in what a peer has heard.
fn answered(peer: &SipHostile, status: &str) -> usize {
    peer.of("SIP/2.0").iter().filter(|heard| heard.text.starts_with(status)).count()
}

fn many_discarded(attempt: &Value) {
    assert!(attempt["detail"]["discarded"].as_u64().is_some_and(|count| count >= 20), "{attempt}");
}

#[test]
fn large_datagrams_without_end() {
    if !has_sipp("large_datagrams_without_end") {
        return;
    }
    let garbage = SipHostile::by_udp(|_| {
        let piece = Box::new(|_| vec![0; 60_000]);
        vec![Act::Flood(Flood { piece, per_s: LARGE_PER_S, lasts: LASTS_UNTIL_AGAIN })]
    });
    let answers = flooding(LARGE_PER_S, |ack, number| {
        let text = answer_to_nobody(ack, number);
        format!("{text}X: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(59_000)).into_bytes()
    });
    try_all(&[
        row("garbage", (OPTIONS, garbage), "failed timeout options", many_discarded),
        row("large-answers", (BY_UDP, answers), "ok - sip:200", |attempt| {
            assert!(attempt["detail"]["discarded"].is_u64(), "{attempt}");
        }),
    ]);
}

#[test]
fn answers_to_what_nobody_asked() {
    if !has_sipp("answers_to_what_nobody_asked") {
        return;
    }
    let answers = flooding(SMALL_PER_S, |ack, number| {
        (answer_to_nobody(ack, number) + "Content-Length: 0\r\n\r\n").into_bytes()
    });
    try_all(&[row("answers", (BY_UDP, answers), "ok - sip:200", |attempt| {
        many_discarded(attempt);
        assert_eq!(attempt["counters"]["forked"], Value::Null, "none of them is a call: {attempt}");
    })]);
}

#[test]
fn requests_to_end_a_call() {
    if !has_sipp("requests_to_end_a_call") {
        return;
    }
    let rows = [
        row(
            "byes",
            (BY_UDP, flooding(SMALL_PER_S, |ack, number| within(ack, "BYE", "h", number))),
            "failed closed bye",
            |attempt| assert_eq!(attempt["counters"]["completed"], 1, "{attempt}"),
        ),
        row(
            "byes-of-no-call",
            (BY_UDP, flooding(SMALL_PER_S, |ack, number| within(ack, "BYE", "other", number))),
            "ok - sip:200",
            |attempt| assert_eq!(attempt["counters"]["completed"], 1, "{attempt}"),
        ),
    ];
    try_all(&rows);
    // One BYE ends a call; whatever follows is in none. Two calls and the socket that they share may say as much at once
    // as in a second, and one of the calls and the socket go on with that.
    let said = rows.each_ref().map(|row| {
        let [ended, unknown] =
            ["SIP/2.0 200 ", "SIP/2.0 481 "].map(|code| answered(&row.peer, code));
        println!("{:<20} 200 to {ended}, 481 to {unknown}", row.name);
        (ended, unknown)
    });
    let heard = rows.iter().flat_map(|row| row.peer.of("SIP/2.0")).map(|heard| heard.at);
    let (first, last) = (heard.clone().min().expect("some"), heard.max().expect("some"));
    let seconds = (last - first).as_secs_f64().ceil() as usize;
    let most = ANSWERS_PER_S * (3 + 2 * seconds);
    let [(ended, after), (none, unknown)] = said;
    assert_eq!((ended, none), (COUNT as usize, 0));
    assert!(after > 0 && unknown > 0, "{after} {unknown}");
    assert!(after + unknown <= most, "{after} and {unknown}, at most {most} in {seconds} s");
}
