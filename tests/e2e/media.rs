//! Audio to and from the real responder: from a caller of the test's own, from SIPp and from baresip, which nobody here
//! wrote.

use harness::baresip::Baresip;
use harness::fleet::get;
use harness::process::{Process, eventually};
use harness::sip_caller::{SipCaller, heard, packet};
use harness::{program, root, sipp};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// How long the responder may take until it is up.
const UP: Duration = Duration::from_secs(10);
/// What a packet of G.711 lasts.
const PACKET: Duration = Duration::from_millis(20);
/// Silence that means that nothing more comes.
const SILENCE: Duration = Duration::from_millis(300);

struct Desk {
    _responder: Process,
    http: String,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let args = ["respond", "--http", "0", "--sip", "0", "--ring", "20ms"];
        let log = dir.path().join("responder.log");
        let mut responder = Process::start(&program("probefleet-agent"), &args, &log);
        let http = responder.wait_for_output("listening on http://", UP);
        let port = responder.wait_for_output("listening on sip:127.0.0.1:", UP);
        let port = port.parse().expect("a port");
        Self { _responder: responder, http, port, _dir: dir }
    }

    fn counts(&self) -> Value {
        let (status, body) = get(&self.http, "/requests");
        assert_eq!(status, 200);
        serde_json::from_str::<Value>(&body).expect(&body)["sip"].clone()
    }
}

/// A sender's report (RFC 3550 §6.4.1) with an empty description.
fn report(ssrc: u32, packets: u32) -> Vec<u8> {
    let words = [
        0x80c8_0006,
        ssrc,
        0x0102_0304,
        0x0506_0708,
        packets * 160,
        packets,
        packets * 160,
        0x81ca_0002,
        ssrc,
        0x0100_0000,
    ];
    words.iter().flat_map(|word: &u32| word.to_be_bytes()).collect()
}

fn word(bytes: &[u8], number: usize) -> u32 {
    let bytes = bytes.get(number * 4..number * 4 + 4).expect("long enough");
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

#[test]
fn what_is_said_comes_back_until_the_call_ends() {
    const SSRC: u32 = 0x5eed_0001;
    let desk = Desk::new();
    let mut caller = SipCaller::new(desk.port, "echo");
    let place = caller.call();
    let start = Instant::now();
    // The tenth and the twentieth are lost on the way there.
    let sent: Vec<u16> = (0..50).filter(|number| !matches!(number, 10 | 20)).collect();
    for number in &sent {
        let at = start + PACKET * u32::from(*number);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        caller.rtp.send_to(&packet(*number, SSRC), place.rtp).expect("sends");
    }
    let back = heard(&caller.rtp, SILENCE);
    assert_eq!(back.len(), sent.len());
    let ssrc = word(&back[0].1, 2);
    assert_ne!(ssrc, SSRC, "it is another that speaks (RFC 3550 §8.2)");
    for ((_, echoed), number) in back.iter().zip(&sent) {
        assert_eq!(echoed[..], packet(*number, ssrc), "as it was sent");
    }

    caller.rtcp.send_to(&report(SSRC, 48), place.rtcp).expect("sends");
    let [(_, answer)] = &heard(&caller.rtcp, SILENCE)[..] else { panic!("one report") };
    // A sender's report with one block about the caller: two of fifty lost, and whose report it answers.
    assert_eq!((word(answer, 0), word(answer, 1)), (0x81c8_000c, ssrc));
    assert_eq!((word(answer, 5), word(answer, 6)), (48, 48 * 160));
    assert_eq!((word(answer, 7), word(answer, 8)), (SSRC, (2 * 256 / 50) << 24 | 2));
    assert_eq!((word(answer, 9), word(answer, 11)), (49, 0x0304_0506));
    let jitter_ms = f64::from(word(answer, 10)) / 8.0;
    assert!(jitter_ms < 20.0, "{jitter_ms} ms");
    assert!(word(answer, 12) < 65_536, "answered within a second");

    caller.hang_up();
    for number in 50..55 {
        caller.rtp.send_to(&packet(number, SSRC), place.rtp).expect("sends");
    }
    caller.rtcp.send_to(&report(SSRC, 53), place.rtcp).expect("sends");
    assert_eq!(heard(&caller.rtp, SILENCE).len(), 0, "the call is over");
    assert_eq!(heard(&caller.rtcp, SILENCE).len(), 0, "the call is over");
    let media = json!({"echoed": 48, "unheard": 5, "reports": 1});
    assert_eq!(desk.counts()["media"], media);
}

#[test]
fn nobody_but_the_caller_hears_anything() {
    let desk = Desk::new();
    let mut caller = SipCaller::new(desk.port, "echo");
    let place = caller.call();
    caller.rtp.send_to(&packet(0, 1), place.rtp).expect("sends");
    assert_eq!(heard(&caller.rtp, SILENCE).len(), 1);
    // Another port, and another host.
    let neighbour = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let stranger = UdpSocket::bind("127.0.0.2:0").expect("a port");
    for socket in [&neighbour, &stranger] {
        for number in 1..5 {
            socket.send_to(&packet(number, 1), place.rtp).expect("sends");
        }
        socket.send_to(&report(1, 5), place.rtcp).expect("sends");
        assert_eq!(heard(socket, SILENCE).len(), 0);
    }
    // Garbage of the caller itself, and audio at the port of control.
    for bytes in [&b"garbage"[..], &[0x80], &[0; 1_500], &[0x80; 3_000]] {
        caller.rtp.send_to(bytes, place.rtp).expect("sends");
        caller.rtcp.send_to(bytes, place.rtcp).expect("sends");
    }
    caller.rtcp.send_to(&packet(1, 1), place.rtcp).expect("sends");
    assert_eq!(heard(&caller.rtp, SILENCE).len(), 0, "nobody else's audio either");
    assert_eq!(heard(&caller.rtcp, SILENCE).len(), 0);
    assert_eq!(desk.counts()["media"]["echoed"], 1);
    // A flood comes back as slowly as telephones speak: a second's worth at once, 100 a second at most.
    let start = Instant::now();
    for number in 1..=400 {
        caller.rtp.send_to(&packet(number, 1), place.rtp).expect("sends");
        std::thread::sleep(Duration::from_micros(100));
    }
    let back = heard(&caller.rtp, SILENCE).len();
    let most = 100 + (start.elapsed().as_secs_f64() * 100.0) as usize + 1;
    assert!((90..=most).contains(&back), "{back} of 400 came back, {most} at most");
    caller.hang_up();
}

#[test]
fn a_hundred_callers_hear_themselves() {
    let desk = Desk::new();
    let mut callers: Vec<_> = (0..100_u32)
        .map(|ssrc| {
            let mut caller = SipCaller::new(desk.port, "ring-0s");
            let place = caller.call();
            (caller, place, ssrc)
        })
        .collect();
    let start = Instant::now();
    for number in 0..25 {
        let at = start + PACKET * u32::from(number);
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        for (caller, place, ssrc) in &callers {
            caller.rtp.send_to(&packet(number, *ssrc), place.rtp).expect("sends");
        }
    }
    let all = eventually(Duration::from_secs(5), || {
        Some(desk.counts()).filter(|counts| counts["media"]["echoed"] == 2_500)
    });
    assert!(all.is_some(), "{}", desk.counts());
    let mut voices = std::collections::BTreeSet::new();
    for (caller, _, ssrc) in &mut callers {
        let back = heard(&caller.rtp, Duration::from_millis(10));
        assert_eq!(back.len(), 25, "caller {ssrc}");
        voices.extend(back.iter().map(|(_, bytes)| word(bytes, 2)));
        caller.hang_up();
    }
    assert_eq!(voices.len(), 100, "each has one of its own to speak with");
    assert_eq!(desk.counts()["media"]["unheard"], 0);
}

#[test]
fn sipp_hears_itself() {
    if !harness::has("sipp") {
        return harness::skip("sipp_hears_itself", "sip-tester");
    }
    let desk = Desk::new();
    let scenario = root().join("tests/e2e/sip/speaks.xml");
    let (good, said) = sipp::speak(desk.port, &scenario, 5, &[0xd5; 16_000]);
    assert!(good, "{said}");
    let counts = desk.counts();
    // Two seconds each: 100 packets of 160 bytes.
    assert_eq!(counts["ended"], 5, "{counts}");
    assert_eq!(counts["media"], json!({"echoed": 500, "unheard": 0, "reports": 0}));
}

#[test]
fn baresip_is_heard_and_told_so() {
    if !harness::has("baresip") {
        return harness::skip("baresip_is_heard_and_told_so", "baresip-core");
    }
    let desk = Desk::new();
    let caller = Baresip::calling(&format!("sip:echo@127.0.0.1:{}", desk.port));
    let told = eventually(Duration::from_secs(15), || {
        Some(desk.counts()).filter(|counts| counts["media"]["reports"] == 1)
    });
    let counts = told.unwrap_or_else(|| panic!("{}\n{}", desk.counts(), caller.output()));
    assert_eq!(counts["acknowledged"], 1);
    // Its first report comes after some five seconds.
    assert!(counts["media"]["echoed"].as_u64().expect("a count") >= 100, "{counts}");
    assert_eq!(counts["media"]["unheard"], 0, "{counts}");
}

#[test]
fn baresip_speaks_when_it_is_called() {
    if !harness::has("baresip") {
        return harness::skip("baresip_speaks_when_it_is_called", "baresip-core");
    }
    let baresip = Baresip::answering();
    let mut caller = SipCaller::new(baresip.port, "tone");
    let _place = caller.call();
    std::thread::sleep(Duration::from_secs(1));
    caller.hang_up();
    let back = heard(&caller.rtp, SILENCE);
    assert!((40..=60).contains(&back.len()), "{} packets\n{}", back.len(), baresip.output());
    let first = word(&back[0].1, 0);
    for (index, (_, bytes)) in (0..).zip(&back) {
        assert_eq!((bytes.len(), word(bytes, 2)), (172, word(&back[0].1, 2)));
        let number = (first & 0xffff).wrapping_add(index) & 0xffff;
        assert_eq!(word(bytes, 0) & 0xffff, number, "in a row");
        assert_eq!(word(bytes, 0) >> 16 & 0x7f, 0, "PCMU");
    }
}

#[test]
fn registrations_are_kept_and_told() {
    let desk = Desk::new();
    let caller = SipCaller::new(desk.port, "alice");
    let contact = "Contact: <sip:alice@192.0.2.1:5070>\r\nExpires: 300\r\n";
    let answer = caller.ask("REGISTER", 1, contact);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(answer.contains("\r\nContact: <sip:alice@192.0.2.1:5070>;expires=300\r\n"), "{answer}");
    let away = caller.ask("REGISTER", 2, "Contact: *\r\nExpires: 0\r\n");
    assert!(away.starts_with("SIP/2.0 200 ") && !away.contains("\r\nContact:"), "{away}");
    let refused = SipCaller::new(desk.port, "status-403").ask("REGISTER", 1, contact);
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    assert_eq!(desk.counts()["registered"], 2);
}
