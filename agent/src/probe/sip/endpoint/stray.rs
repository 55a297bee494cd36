//! What is said to messages of calls that nobody here is in: an attempt that has ended may still be asked. Pure.

use crate::probe::sip::identity::Identifiers;
use crate::probe::sip::message::{Message, StartLine, reply};
use crate::probe::sip::rate::{Rate, TO_STRANGERS_PER_S};
use crate::probe::sip::uri::Hop;
use tokio::time::Instant;

const OK: (u16, &str) = (200, "OK");
const NO_SUCH_CALL: (u16, &str) = (481, "Call/Transaction Does Not Exist");

/// Answers without remembering (RFC 3261 §8.2.7), and counts.
#[derive(Debug)]
pub(super) struct Strays {
    identifiers: Identifiers,
    rate: Rate,
    /// Messages of no call that is known here.
    pub(super) seen: u64,
}

impl Strays {
    pub(super) fn new(identifiers: Identifiers, now: Instant) -> Self {
        Self { identifiers, rate: Rate::new(TO_STRANGERS_PER_S, now), seen: 0 }
    }

    /// The answer to a request; never larger than the request, so that nobody can have more sent to somebody else than
    /// he sends himself. `None` where nothing is to be said.
    pub(super) fn answer(&mut self, bytes: &[u8], source: &Hop, now: Instant) -> Option<Vec<u8>> {
        self.seen = self.seen.saturating_add(1);
        if !self.rate.has_room(now) {
            return None;
        }
        let message = Message::parse(bytes).ok()?;
        let StartLine::Request { method, .. } = message.start else { return None };
        let status = match method {
            b"ACK" => return None,
            b"OPTIONS" => OK,
            _ => NO_SUCH_CALL,
        };
        // A repetition must get the same tag.
        let call_id = message.first("Call-ID")?;
        let tag = self.identifiers.of(&[call_id, message.tag("From").unwrap_or_default()]);
        let response = reply(&message, status, source, Some(&tag))?.empty();
        (response.len() <= bytes.len() && self.rate.admits(now)).then_some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::sip::identity::SEED_BYTES;
    use crate::probe::sip::transport::Transport;
    use std::time::Duration;

    fn strays(now: Instant) -> Strays {
        Strays::new(Identifiers::new([1; SEED_BYTES]), now)
    }

    fn request(method: &str, to: &str) -> String {
        format!(
            "{method} sip:probefleet@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>{to}\r\nCall-ID: gone\r\nCSeq: 7 {method}\r\n\
             User-Agent: a telephone of some make or other\r\nContent-Length: 0\r\n\r\n"
        )
    }

    fn source() -> Hop {
        Hop { host: "192.0.2.9".to_owned(), port: 5_060, transport: Transport::Udp }
    }

    fn answered(bytes: &[u8]) -> Option<String> {
        let now = Instant::now();
        let answer = strays(now).answer(bytes, &source(), now);
        answer.map(|bytes| String::from_utf8(bytes).expect("is text"))
    }

    #[test]
    fn a_late_bye_hears_that_the_call_is_over() {
        let answer = answered(request("BYE", ";tag=t").as_bytes()).expect("an answer");
        assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
        assert!(answer.contains("To: <sip:b@h>;tag=t\r\n"), "{answer}");
        let answer = answered(request("OPTIONS", "").as_bytes()).expect("an answer");
        assert!(answer.starts_with("SIP/2.0 200 OK\r\n") && answer.contains("<sip:b@h>;tag="));
    }

    #[test]
    fn nothing_is_said_to_what_is_no_question() {
        assert_eq!(answered(request("ACK", ";tag=t").as_bytes()), None);
        assert_eq!(answered(b"SIP/2.0 200 OK\r\nCall-ID: gone\r\n\r\n"), None);
        assert_eq!(answered(b"garbage"), None);
    }

    #[test]
    fn an_answer_is_never_larger_than_its_request() {
        let short = "OPTIONS sip:h SIP/2.0\r\nv:SIP/2.0/UDP h\r\nf:<sip:a@h>\r\nt:<sip:b@h>\r\ni:x\r\nCSeq:1 OPTIONS\r\n\r\n";
        assert_eq!(answered(short.as_bytes()), None);
    }

    #[test]
    fn answers_are_rationed() {
        let now = Instant::now();
        let mut strays = strays(now);
        let bye = request("BYE", ";tag=t");
        let mut ask = |at| strays.answer(bye.as_bytes(), &source(), at).is_some();
        assert_eq!((0..1_000).filter(|_| ask(now)).count(), 100);
        let later = now + Duration::from_millis(100);
        assert_eq!((0..1_000).filter(|_| ask(later)).count(), 10);
    }
}
