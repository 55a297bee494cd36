//! Nobody may be asked to cancel what he was not heard to have (RFC 3261 §9.1): what arrives where nothing is answered, or
//! too late.

use super::*;
use harness::sip_hostile::Heard;
use std::thread::scope;

/// When the first INVITE is answered, if it is: after the deadline, and while the end is still waited for.
const ANSWERS_AFTER: Duration = Duration::from_millis(1_700);

/// One attempt to let it ring, and everything that came of it.
fn rings(answer: impl Fn(&Asked<'_>) -> Vec<u8> + Send + Sync + 'static) -> Vec<Heard> {
    let peer = SipHostile::by_udp(move |asked| match asked.text.split(' ').next() {
        Some("INVITE") if asked.before == 0 => {
            let said = answer(asked);
            let late = Act::Wait(ANSWERS_AFTER);
            if said.is_empty() { Vec::new() } else { vec![late, Act::Send(said)] }
        }
        Some("CANCEL") => {
            let refused = String::from_utf8(bare(asked.text, "487 Request Terminated"));
            let refused = refused.expect("is text").replace(" CANCEL\r\n", " INVITE\r\n");
            vec![Act::Send(bare(asked.text, "200 OK")), Act::Send(refused.into_bytes())]
        }
        Some("BYE") => vec![Act::Send(bare(asked.text, "200 OK"))],
        _ => Vec::new(),
    });
    let sip = format!("uri: 'sip:echo@{}', mode: ring", peer.address);
    let (_, attempts) = tried(&sip, "1500ms", 1);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    let attempt = &attempts[0];
    assert_failed(attempt, "timeout", "invite");
    let total = phase_ms(attempt, "total").expect("total");
    assert!((1_500.0..1_550.0).contains(&total), "{attempt}");
    assert!(phase_ms(attempt, "session_request_delay").is_none(), "{attempt}");
    let expected = json!({"call_attempts": 1, "ineffective": 1, "retransmissions": 1, "invite_transactions": 1});
    assert_eq!(attempt["counters"], expected, "{attempt}");
    let heard = peer.heard();
    let invites = heard.iter().filter(|heard| heard.kind == "INVITE").count();
    assert_eq!(invites, 2, "at once and after 500 ms, none after the deadline: {heard:?}");
    heard
}

/// Everything but the INVITEs, in the order in which it came.
fn kinds(heard: &[Heard]) -> Vec<&str> {
    let others = heard.iter().map(|heard| heard.kind.as_str());
    others.filter(|kind| *kind != "INVITE").collect()
}

#[test]
fn nothing_is_cancelled_that_was_not_heard_of() {
    scope(|threads| {
        threads.spawn(|| {
            let heard = rings(|_| Vec::new());
            assert!(kinds(&heard).is_empty(), "nothing was answered: {heard:?}");
        });
        threads.spawn(|| {
            let heard = rings(|asked| bare(asked.text, "180 Ringing"));
            assert_eq!(kinds(&heard), ["CANCEL", "ACK"], "as soon as it rang: {heard:?}");
            let (invite, cancel) = (&heard[0], heard.iter().find(|heard| heard.kind == "CANCEL"));
            let cancel = cancel.expect("is there");
            assert!(cancel.at - invite.at >= ANSWERS_AFTER, "{heard:?}");
            for name in ["Via", "From", "To", "Call-ID"] {
                assert_eq!(header(&cancel.text, name), header(&invite.text, name), "{name}");
            }
        });
        threads.spawn(|| {
            let heard = rings(|asked| answer(asked.text, &format!("sip:hostile@{}", asked.local)));
            assert_eq!(kinds(&heard), ["ACK", "BYE"], "answered, it is ended: {heard:?}");
        });
    });
}
