//! For fuzzing: what reads the bytes of strangers, each as a function of bytes alone.
//!
//! None of them may panic, or take more memory than its bounds permit, whatever the bytes are. Nothing else calls
//! them.

mod zone;

use crate::probe::sip;
use crate::probe::sip::digest::{Authorizer, Credentials};
use crate::probe::sip::framing::{Broken, Frame, Framing};
use crate::probe::sip::identity::{Identifiers, SEED_BYTES};
use crate::probe::sip::media::machine::{MediaMachine, MediaPlan};
use crate::probe::sip::media::tone::Codec;
use crate::probe::sip::message::{Message, NameAddr, Via, cseq, parameter, reply};
use crate::probe::sip::sdp::{self, Direction, MediaPlace};
use crate::probe::sip::transport::Transport;
use crate::probe::sip::uri::{Hop, Uri};
use crate::secret::Secret;
use std::hint::black_box;
use std::time::Duration;
use tokio::time::Instant;
pub use zone::zone;

/// Headers that a client or a server of calls reads.
const HEADERS: [&str; 10] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Record-Route",
    "Require",
    "Content-Type",
    "Content-Encoding",
];

/// A message, and everything that is read from one. What answers it must be readable.
///
/// # Panics
/// When it is not.
pub fn message(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    for name in HEADERS {
        message.first(name);
        for value in message.values(name) {
            header(value);
        }
    }
    black_box((message.tag("From"), message.tag("To"), message.only_via()));
    let source = Hop { host: "::1".to_owned(), port: 1, transport: Transport::Udp };
    if let Some(answer) = reply(&message, (200, "OK"), &source, Some("t")) {
        let answer = answer.empty();
        assert!(Message::parse(&answer).is_ok(), "what is answered cannot be read");
    }
    sdp(message.body);
}

/// A stream of messages, in pieces as long as its first byte says. What comes out must be the same however it was cut.
///
/// # Panics
/// When it is not.
pub fn stream(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let cut = usize::from(*cut).max(1);
    assert_eq!(frames([stream]), frames(stream.chunks(cut)), "cut at every {cut} bytes");
}

fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<Broken>) {
    let (mut framing, mut frames) = (Framing::default(), Vec::new());
    for piece in pieces {
        framing.push(piece);
        loop {
            match framing.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(broken) => return (frames, Some(broken)),
            }
        }
    }
    (frames, None)
}

/// A value of a header, as whatever it might be.
fn header(value: &[u8]) {
    if let Some(via) = Via::parse(value) {
        black_box((via.branch(), via.port(), parameter(via.parameters, "received")));
    }
    if let Some(named) = NameAddr::parse(value) {
        for name in ["tag", "q", "expires"] {
            parameter(named.parameters, name);
        }
        if let Some(uri) = Uri::parse(named.uri) {
            uri.hop();
            let asked = uri.as_request_uri().to_string();
            assert!(Uri::parse(asked.as_bytes()).is_some(), "what is asked is no URI: {asked}");
        }
    }
    cseq(value);
}

/// A description of media, as an answer and as an offer. What answers it must be one.
///
/// # Panics
/// When it is not.
pub fn sdp(bytes: &[u8]) {
    sdp::audio(bytes);
    let place = MediaPlace { address: "::1".to_owned(), port: 4_000 };
    if let Some(answer) = place.answer(bytes, 1) {
        let audio = sdp::audio(answer.as_bytes());
        assert!(audio.is_some_and(|audio| audio.place == place), "takes nothing: {answer}");
    }
}

/// An attempt whose other side does what the bytes say: answers, asks, is silent, sends noise.
///
/// # Panics
/// When it does not conclude in time, does not end, or leaves a call up.
pub fn attempt(bytes: &[u8]) {
    sip::fuzz::attempt(bytes);
}

/// Audio that comes: packets of data and control, each with its channel, its length and its distance to the last.
///
/// # Panics
/// When more packets are lost than were expected.
pub fn media(mut bytes: &[u8]) {
    let now = Instant::now();
    let ends_at = now + Duration::from_secs(60);
    let (codec, direction) = (Codec::Pcmu, Direction::SendRecv);
    let mut machine =
        MediaMachine::new(MediaPlan { codec, answered_at: now, ends_at, direction, seed: 1 }, now);
    let mut at = now;
    while let [channel, length, distance_ms, rest @ ..] = bytes {
        let (packet, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        at += Duration::from_millis(u64::from(*distance_ms));
        machine.fire(at);
        if channel % 2 == 0 {
            machine.data(packet, at);
        } else {
            machine.control(packet, at);
        }
        while black_box(machine.pop()).is_some() {}
    }
    machine.finish(at);
    let report = machine.report(at);
    assert!(report.reception.received <= report.reception.expected, "{report:?}");
    assert!(report.loss_ppm <= 1_000_000, "{report:?}");
}

/// The journal that a killed agent left: bodies of entries, each behind a byte that is its length, with the checksums that
/// they need.
///
/// # Panics
/// When what was read of it is longer than what was there.
pub fn journal(bytes: &[u8]) {
    let read = crate::journal::read_bodies(bytes);
    assert!(read <= bytes.len(), "{read} entries of {} bytes", bytes.len());
}

/// Challenges of a 401 (RFC 3261 §22): a line each. What answers them must stay one line.
///
/// # Panics
/// When it does not.
pub fn challenge(bytes: &[u8]) {
    let mut response = b"SIP/2.0 401 Unauthorized\r\n".to_vec();
    for line in bytes.split(|byte| *byte == b'\n') {
        response.extend_from_slice(b"WWW-Authenticate: ");
        response.extend(line.iter().filter(|byte| **byte != b'\r'));
        response.extend_from_slice(b"\r\n");
    }
    response.extend_from_slice(b"\r\n");
    let Ok(response) = Message::parse(&response) else { return };
    let password = Secret::new("secret".to_owned());
    let mut authorizer = Authorizer::new(Credentials { user: "probe".to_owned(), password });
    let mut identifiers = Identifiers::new([0; SEED_BYTES]);
    // Asked for ever, it gives up.
    while authorizer.challenged(&response).is_ok() {
        for (_, value) in authorizer.headers("INVITE", "sip:a@h", b"", &mut identifiers) {
            assert!(!value.contains(['\r', '\n']), "begins a line of its own: {value:?}");
        }
    }
}
