//! The one who is called, on a clock of our own.

use super::*;
use crate::probe::sip::identity::SEED_BYTES;
use crate::probe::sip::transport::Transport;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A responder, and the time in its world.
struct Desk {
    answerer: Answerer,
    now: Instant,
}

const OFFER: &str = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\n";

fn request(method: &str, user: &str, call: &str, to_tag: &str, body: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:{user}@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:4000;branch=z9hG4bK{call};rport\r\n\
         From: <sip:a@h>;tag=a\r\nTo: <sip:{user}@h>{to_tag}\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\
         Record-Route: <sip:p1;lr>,<sip:p2;lr>\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        Self { answerer: Answerer::new(Identifiers::new([1; SEED_BYTES]), ms(200), now), now }
    }

    fn receive(&mut self, text: &str) -> Vec<String> {
        let source = Hop { host: "192.0.2.1".to_owned(), port: 5_555, transport: Transport::Udp };
        let media = MediaPlace { address: "192.0.2.9".to_owned(), port: 6_000 };
        self.answerer.receive(&Asked {
            bytes: text.as_bytes(),
            at: self.now,
            source: &source,
            local: "192.0.2.9:5060",
            media: &media,
            line: 3,
        });
        self.sent()
    }

    fn sent(&mut self) -> Vec<String> {
        let text = |one: Outgoing| String::from_utf8(one.bytes).expect("text");
        std::iter::from_fn(|| self.answerer.pop()).map(text).collect()
    }

    /// Lets time pass, timer by timer: what is sent, and after how many ms.
    fn wait(&mut self, time: Duration) -> Vec<(u128, String)> {
        let (from, until) = (self.now, self.now + time);
        let mut sent = Vec::new();
        while let Some(at) = self.answerer.next_timer().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.answerer.fire(self.now);
            let since = self.now.duration_since(from).as_millis();
            sent.extend(self.sent().into_iter().map(|text| (since, text)));
        }
        self.now = until;
        sent
    }

    fn counts(&self) -> Value {
        self.answerer.counts().to_json()
    }
}

use serde_json::{Value, json};

#[test]
fn a_line_is_told_of_a_call_from_its_200_to_its_end() {
    let mut desk = Desk::new();
    desk.receive(&request("INVITE", "echo", "1", "", OFFER));
    assert_eq!(desk.answerer.changed(), None, "it rings");
    let answered = desk.wait(ms(200));
    let Some(Change::Open { line: 3, call, party }) = desk.answerer.changed() else {
        panic!("{:?}", desk.answerer)
    };
    let at = |text: &str| text.parse().expect("an address");
    assert_eq!(party.place, Some(at("192.0.2.1:4000")));
    assert_eq!(party.signalling, Some(at("192.0.2.1:4000").ip()));
    assert!(party.listens);
    let tag = tag(&answered[0].1);
    desk.receive(&request("ACK", "echo", "1", &tag, ""));
    assert_eq!(desk.answerer.changed(), None, "told once");
    desk.receive(&request("BYE", "echo", "1", &tag, ""));
    assert_eq!(desk.answerer.changed(), Some(Change::Close { line: 3, call }));
    // Nobody acknowledges.
    desk.receive(&request("INVITE", "ring-0s", "2", "", ""));
    desk.wait(ms(40_000));
    let changes: Vec<Change> = std::iter::from_fn(|| desk.answerer.changed()).collect();
    assert!(
        matches!(&changes[..], [Change::Open { .. }, Change::Close { call: 2, .. }]),
        "{changes:?}"
    );
    // Cancelled, or refused: there is nothing to hear.
    desk.receive(&request("INVITE", "echo", "3", "", OFFER));
    desk.receive(&request("CANCEL", "echo", "3", "", ""));
    desk.receive(&request("INVITE", "busy", "4", "", OFFER));
    desk.wait(ms(40_000));
    assert_eq!(desk.answerer.changed(), None);
}

fn statuses(sent: &[String]) -> Vec<&str> {
    sent.iter().map(|text| text.get(8..11).expect("a status line")).collect()
}

fn tag(text: &str) -> String {
    let message = Message::parse(text.as_bytes()).expect("is read");
    String::from_utf8(message.tag("To").expect("a tag").to_vec()).expect("text")
}

#[test]
fn a_call_rings_is_answered_and_ended() {
    let mut desk = Desk::new();
    let invite = request("INVITE", "echo", "1", "", OFFER);
    let sent = desk.receive(&invite);
    assert_eq!(statuses(&sent), ["100", "180"]);
    assert!(!sent[0].contains("To: <sip:echo@h>;tag="), "100 has no tag: {}", sent[0]);
    assert_eq!(desk.receive(&invite), [sent[1].clone()], "asked again, answered alike");
    let answered = desk.wait(ms(200));
    let [(200, ok)] = answered.as_slice() else { panic!("{answered:?}") };
    for line in [
        "SIP/2.0 200 OK\r\n",
        "\r\nVia: SIP/2.0/UDP 192.0.2.1:4000;branch=z9hG4bK1;rport=5555;received=192.0.2.1\r\n",
        "\r\nRecord-Route: <sip:p1;lr>,<sip:p2;lr>\r\n",
        "\r\nContact: <sip:192.0.2.9:5060>\r\n",
        "\r\nm=audio 6000 RTP/AVP 0\r\n",
    ] {
        assert!(ok.contains(line), "{line:?} in {ok}");
    }
    let tag = tag(ok);
    assert_eq!(tag, self::tag(&sent[1]));
    assert!(
        desk.receive(&request("ACK", "echo", "1", &tag, "").replace("z9hG4bK1", "z9hG4bKack"))
            .is_empty()
    );
    assert_eq!(desk.wait(ms(60_000)), []);
    assert_eq!(statuses(&desk.receive(&request("INVITE", "echo", "1", &tag, OFFER))), ["488"]);
    let bye = request("BYE", "echo", "1", &tag, "").replace("z9hG4bK1", "z9hG4bKbye");
    assert_eq!(statuses(&desk.receive(&bye)), ["200"]);
    assert_eq!(statuses(&desk.receive(&bye)), ["200"], "asked again");
    assert_eq!(
        desk.counts(),
        json!({
            "options": 0, "calls": 1, "answered": 1, "acknowledged": 1, "ended": 1, "cancelled": 0, "registered": 0,
            "media": {"echoed": 0, "unheard": 0, "reports": 0}, "discarded": 0
        })
    );
    desk.wait(ms(32_000));
    assert_eq!(statuses(&desk.receive(&bye)), ["481"], "forgotten after timer J");
    assert_eq!(desk.answerer.next_timer(), None);
}

#[test]
fn a_200_is_sent_again_until_its_ack_or_for_32_s() {
    let mut desk = Desk::new();
    desk.receive(&request("INVITE", "ring-0s", "1", "", OFFER));
    let at: Vec<u128> = desk.wait(ms(100_000)).into_iter().map(|(at, _)| at).collect();
    assert_eq!(at, [0, 500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!((desk.answerer.calls.len(), desk.answerer.pending), (0, 0));
    let counts = desk.counts();
    assert_eq!((&counts["answered"], &counts["acknowledged"]), (&json!(1), &json!(0)));
}

#[test]
fn a_refusal_is_sent_again_until_its_ack() {
    for (user, status) in [("busy", "486"), ("gone", "404"), ("over", "503"), ("status-603", "603")]
    {
        let mut desk = Desk::new();
        let invite = request("INVITE", user, "1", "", OFFER);
        let sent = desk.receive(&invite);
        assert_eq!(statuses(&sent), [status]);
        assert_eq!(desk.wait(ms(500)).len(), 1, "timer G");
        let tag = tag(&sent[0]);
        assert!(desk.receive(&request("ACK", user, "1", &tag, "")).is_empty());
        assert_eq!(desk.wait(ms(4_000)), []);
        assert!(desk.receive(&request("ACK", user, "1", &tag, "")).is_empty());
        assert_eq!(statuses(&desk.receive(&invite)), [status], "until timer I");
    }
}

#[test]
fn a_call_that_rings_can_be_cancelled() {
    let mut desk = Desk::new();
    desk.receive(&request("INVITE", "ring-2m", "1", "", OFFER));
    let cancel = request("CANCEL", "ring-2m", "1", "", "");
    let sent = desk.receive(&cancel);
    assert_eq!(statuses(&sent), ["200", "487"]);
    assert!(sent[1].contains("CSeq: 1 INVITE"), "{}", sent[1]);
    assert_eq!(statuses(&desk.receive(&cancel)), ["200"], "asked again");
    desk.receive(&request("ACK", "ring-2m", "1", &tag(&sent[1]), ""));
    assert_eq!(desk.wait(ms(200_000)), []);
    assert_eq!(statuses(&desk.receive(&cancel)), ["481"]);
    assert_eq!((&desk.counts()["cancelled"], &desk.counts()["answered"]), (&json!(1), &json!(0)));
    // Too late: there is nothing to cancel any more, and that is no error.
    desk.receive(&request("INVITE", "ring-0s", "2", "", OFFER));
    desk.wait(ms(0));
    assert_eq!(statuses(&desk.receive(&request("CANCEL", "ring-0s", "2", "", ""))), ["200"]);
}

#[test]
fn other_requests_have_their_answers() {
    let mut desk = Desk::new();
    for (method, user, expected) in [
        ("OPTIONS", "echo", &["200"][..]),
        ("OPTIONS", "over", &["503"]),
        ("OPTIONS", "silent", &[]),
        ("REGISTER", "echo", &["200"]),
        ("REGISTER", "status-403", &["403"]),
        ("REGISTER", "silent", &[]),
        ("MESSAGE", "echo", &["405"]),
        ("FOO", "echo", &["405"]),
        ("BYE", "echo", &["481"]),
        ("CANCEL", "echo", &["481"]),
        ("ACK", "echo", &[]),
    ] {
        let sent = desk.receive(&request(method, user, "1", "", ""));
        assert_eq!(statuses(&sent), expected, "{method} {user}");
        assert_eq!(sent, desk.receive(&request(method, user, "1", "", "")), "alike");
    }
    // Without an offer the answer has one; an offer without G.711 is refused.
    desk.receive(&request("INVITE", "ring-0s", "2", "", ""));
    let sent = desk.wait(ms(0));
    assert!(sent[0].1.contains("m=audio 6000 RTP/AVP 0 8"), "{}", sent[0].1);
    let video = "v=0\r\nm=video 1 RTP/AVP 31\r\n";
    assert_eq!(statuses(&desk.receive(&request("INVITE", "echo", "3", "", video))), ["488"]);
    assert_eq!(statuses(&desk.receive(&request("INVITE", "echo", "4", "", OFFER))), ["100", "180"]);
    let other_way = request("INVITE", "echo", "4", "", OFFER).replace("z9hG4bK4", "z9hG4bKx");
    assert_eq!(statuses(&desk.receive(&other_way)), ["482"], "merged (§8.2.2.2)");
    assert_eq!(desk.counts()["calls"], json!(3), "what came again is not counted again");
}

#[test]
fn answers_go_where_they_should() {
    // RFC 3261 §18.2.2, RFC 3581 §4: the address is the one that was seen, the port what the sender says.
    for (via, port) in [
        ("192.0.2.77:4000;branch=z9hG4bK1;rport", 5_555),
        ("192.0.2.77:4000;branch=z9hG4bK1", 4_000),
        ("192.0.2.77;branch=z9hG4bK1", 5_060),
    ] {
        let mut desk = Desk::new();
        let text = request("OPTIONS", "echo", "1", "", "");
        let text = text.replace("192.0.2.1:4000;branch=z9hG4bK1;rport", via);
        let source = Hop { host: "192.0.2.1".to_owned(), port: 5_555, transport: Transport::Udp };
        let media = MediaPlace { address: "192.0.2.9".to_owned(), port: 6_000 };
        let (bytes, at) = (text.as_bytes(), desk.now);
        let asked = Asked { bytes, at, source: &source, local: "h:1", media: &media, line: 0 };
        desk.answerer.receive(&asked);
        let sent = desk.answerer.pop().expect("an answer");
        assert_eq!(sent.to, Hop { host: "192.0.2.1".to_owned(), port, transport: Transport::Udp });
    }
}

#[test]
fn a_flood_is_answered_within_bounds() {
    let mut desk = Desk::new();
    let mut sent = 0;
    for number in 0..10_000 {
        sent += desk.receive(&request("INVITE", "ring-2m", &number.to_string(), "", OFFER)).len();
    }
    let rate = usize::try_from(REQUESTS_PER_S).expect("small");
    assert_eq!(
        sent,
        2 * PENDING_MAX + (rate - PENDING_MAX),
        "100 and 180 for some, 503 for others"
    );
    assert_eq!(desk.answerer.calls.len(), PENDING_MAX);
    assert_eq!(desk.counts()["discarded"], json!(10_000 - REQUESTS_PER_S));
    // Whoever says nothing takes memory, within a bound, and nothing else.
    let mut desk = Desk::new();
    for number in 0..10_000 {
        assert!(
            desk.receive(&request("INVITE", "silent", &number.to_string(), "", OFFER)).is_empty()
        );
        desk.now += ms(1);
    }
    assert_eq!(desk.answerer.calls.len(), REMEMBERED_MAX);
    assert_eq!(desk.answerer.timers.len(), REMEMBERED_MAX);
}

#[test]
fn what_is_no_request_gets_nothing() {
    let mut desk = Desk::new();
    let sound = request("OPTIONS", "echo", "1", "", "");
    for text in [
        String::new(),
        "garbage".to_owned(),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n".to_owned(),
        sound.replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
        sound.replace("Call-ID", "Call"),
        sound.replace("From", "Form"),
        sound.replace("Via: SIP/2.0", "Via: X"),
        sound.replace("sip:echo@h SIP", "tel:1 SIP"),
        sound.replace("Content-Length: 0", "Content-Length: 9"),
        sound.replace("Call-ID: 1", &format!("Call-ID: {}", "x".repeat(REQUEST_MAX_BYTES))),
    ] {
        assert!(desk.receive(&text).is_empty(), "{text}");
    }
    assert_eq!(desk.counts()["discarded"], json!(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever comes in whatever order: no panic, every call counted in its place, and in the end nothing is left.
    #[test]
    fn nothing_is_left_in_the_end(steps in prop::collection::vec((0..7_usize, 0..4_u8, 0..5_usize, 0..2_000_u64), 0..80)) {
        let mut desk = Desk::new();
        let mut tags = vec![String::new(); 4];
        let mut open = std::collections::BTreeSet::new();
        for (method, call, user, time) in steps {
            let method = ["INVITE", "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "FOO"][method];
            let user = ["echo", "busy", "silent", "ring-0s", "ring-1s"][user];
            let to_tag = if method == "INVITE" || method == "CANCEL" { "" } else { &tags[usize::from(call)] };
            let text = request(method, user, &call.to_string(), to_tag, OFFER);
            for sent in desk.receive(&text) {
                let message = Message::parse(sent.as_bytes()).expect("is read");
                if let Some(tag) = message.tag("To") {
                    tags[usize::from(call)] = String::from_utf8(tag.to_vec()).expect("text");
                }
            }
            desk.wait(ms(time));
            let pending = desk.answerer.calls.values().filter(|call| call.stage.is_pending()).count();
            let over = desk.answerer.calls.values().filter(|call| call.stage.is_over()).count();
            prop_assert_eq!((desk.answerer.pending, desk.answerer.over), (pending, over));
            prop_assert_eq!(desk.answerer.timers.len(), desk.answerer.calls.len());
            while let Some(change) = desk.answerer.changed() {
                match change {
                    Change::Open { call, .. } => prop_assert!(open.insert(call)),
                    Change::Close { call, .. } => prop_assert!(open.remove(&call)),
                }
            }
            let heard = desk.answerer.calls.values().filter(|call| call.stage.is_heard()).count();
            prop_assert_eq!(open.len(), heard);
        }
        desk.wait(ms(4_000_000));
        prop_assert_eq!((desk.answerer.calls.len(), desk.answerer.timers.len()), (0, 0));
        prop_assert_eq!((desk.answerer.pending, desk.answerer.over), (0, 0));
    }
}
