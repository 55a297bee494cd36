//! Every timer of the client transactions, on a clock of our own.

use super::*;
use crate::probe::sip::message::Message;
use crate::probe::sip::transport::Transport;
use std::time::Duration;
use tokio::time::Instant;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs a transaction until it has no timer left: when it was sent again, and when it gave up, in ms from `start`.
fn run_out<T>(
    transaction: &mut T,
    start: Instant,
    next: impl Fn(&T) -> Option<Instant>,
    mut fire: impl FnMut(&mut T, Instant) -> (bool, bool),
) -> (Vec<u128>, Option<u128>) {
    let (mut resent, mut gave_up) = (Vec::new(), None);
    while let Some(at) = next(transaction) {
        let since = at.duration_since(start).as_millis();
        let (resend, timed_out) = fire(transaction, at);
        if resend {
            resent.push(since);
        }
        if timed_out {
            gave_up = Some(since);
        }
    }
    (resent, gave_up)
}

fn run_out_invite(
    transaction: &mut InviteTransaction,
    start: Instant,
) -> (Vec<u128>, Option<u128>) {
    run_out(transaction, start, InviteTransaction::next_timer, |transaction, at| {
        let fired = transaction.fire(at);
        (fired == InviteFired::Resend, fired == InviteFired::TimedOut)
    })
}

fn run_out_other(
    transaction: &mut NonInviteTransaction,
    start: Instant,
) -> (Vec<u128>, Option<u128>) {
    run_out(transaction, start, NonInviteTransaction::next_timer, |transaction, at| {
        let fired = transaction.fire(at);
        (fired == Fired::Resend, fired == Fired::TimedOut)
    })
}

#[test]
fn an_invite_without_an_answer_is_sent_seven_times_in_32_s() {
    // Timer A doubles from T1, B ends it after 64·T1 (§17.1.1.2).
    let start = Instant::now();
    let mut invite = InviteTransaction::new(Transport::Udp, start);
    let (resent, gave_up) = run_out_invite(&mut invite, start);
    assert_eq!(resent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(gave_up, Some(32_000));
    assert!(invite.is_terminated());
    assert_eq!(invite.receive(200, start + ms(33_000)), InviteHeard::Nothing);
}

#[test]
fn a_provisional_response_stops_timers_a_and_b() {
    let start = Instant::now();
    let mut invite = InviteTransaction::new(Transport::Udp, start);
    assert_eq!(invite.fire(start + ms(499)), InviteFired::Nothing);
    assert_eq!(invite.receive(100, start + ms(499)), InviteHeard::Provisional);
    assert_eq!((invite.next_timer(), invite.is_proceeding()), (None, true));
    assert_eq!(invite.fire(start + ms(60_000)), InviteFired::Nothing);
    assert_eq!(invite.receive(183, start + ms(60_000)), InviteHeard::Provisional);
    assert_eq!(invite.receive(200, start + ms(120_000)), InviteHeard::Accepted);
}

#[test]
fn an_accepted_invite_hears_every_2xx_until_timer_m() {
    // RFC 6026 §7.2.
    let start = Instant::now();
    let mut invite = InviteTransaction::new(Transport::Udp, start);
    assert_eq!(invite.receive(200, start + ms(10)), InviteHeard::Accepted);
    assert_eq!(invite.receive(200, start + ms(500)), InviteHeard::Accepted);
    assert_eq!(invite.receive(180, start + ms(500)), InviteHeard::Nothing);
    assert_eq!(invite.receive(486, start + ms(500)), InviteHeard::Nothing);
    assert_eq!(invite.next_timer(), Some(start + ms(32_010)));
    assert_eq!(invite.fire(start + ms(32_009)), InviteFired::Nothing);
    assert_eq!(invite.receive(202, start + ms(32_009)), InviteHeard::Accepted);
    assert_eq!(invite.fire(start + ms(32_010)), InviteFired::Nothing);
    assert!(invite.is_terminated());
    assert_eq!(invite.receive(200, start + ms(32_010)), InviteHeard::Nothing);
}

#[test]
fn a_refused_invite_acknowledges_again_until_timer_d() {
    for refusal in [302, 404, 503, 603] {
        let start = Instant::now();
        let mut invite = InviteTransaction::new(Transport::Udp, start);
        invite.receive(180, start);
        assert_eq!(invite.receive(refusal, start + ms(5)), InviteHeard::Refused);
        assert_eq!(invite.receive(refusal, start + ms(505)), InviteHeard::RefusedAgain);
        assert_eq!(invite.receive(200, start + ms(505)), InviteHeard::Nothing);
        assert_eq!(invite.next_timer(), Some(start + ms(32_005)));
        assert_eq!(invite.fire(start + ms(32_005)), InviteFired::Nothing);
        assert_eq!(invite.receive(refusal, start + ms(32_005)), InviteHeard::Nothing);
    }
}

#[test]
fn an_invite_that_nobody_waits_for_is_not_sent_again() {
    let start = Instant::now();
    let mut invite = InviteTransaction::new(Transport::Udp, start);
    invite.stop_sending(start + ms(400));
    assert_eq!(invite.fire(start + ms(5_000)), InviteFired::Nothing);
    assert_eq!(invite.receive(200, start + ms(5_000)), InviteHeard::Accepted);
}

#[test]
fn another_request_is_sent_again_at_t2_at_most() {
    // Timer E doubles up to T2, F ends it after 64·T1 (§17.1.2.2).
    let start = Instant::now();
    let mut bye = NonInviteTransaction::new(Transport::Udp, start);
    let (resent, gave_up) = run_out_other(&mut bye, start);
    assert_eq!(resent, [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    assert_eq!(gave_up, Some(32_000));
    assert!(!bye.is_pending());
}

#[test]
fn a_provisional_response_slows_timer_e_to_t2() {
    let start = Instant::now();
    let mut bye = NonInviteTransaction::new(Transport::Udp, start);
    assert_eq!(bye.receive(100, start + ms(100)), Heard::Provisional);
    let (resent, gave_up) = run_out_other(&mut bye, start);
    assert_eq!(resent, [500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500]);
    assert_eq!(gave_up, Some(32_000));
}

#[test]
fn an_answer_is_heard_once_until_timer_k() {
    for status in [200, 481, 503] {
        let start = Instant::now();
        let mut bye = NonInviteTransaction::new(Transport::Udp, start);
        assert_eq!(bye.receive(status, start + ms(20)), Heard::Final);
        assert_eq!(bye.receive(status, start + ms(30)), Heard::Nothing);
        assert_eq!(bye.next_timer(), Some(start + ms(5_020)));
        assert_eq!(run_out_other(&mut bye, start), (Vec::new(), None));
    }
}

#[test]
fn a_reliable_transport_sends_nothing_again() {
    // Neither A nor E; D and K are 0; B, F and M stay (§17.1.1.2, §17.1.2.2, RFC 6026 §8.4).
    for transport in [Transport::Tcp, Transport::Tls] {
        let start = Instant::now();
        let mut invite = InviteTransaction::new(transport, start);
        assert_eq!(run_out_invite(&mut invite, start), (Vec::new(), Some(32_000)));
        let mut bye = NonInviteTransaction::new(transport, start);
        assert_eq!(run_out_other(&mut bye, start), (Vec::new(), Some(32_000)));
        let mut bye = NonInviteTransaction::new(transport, start);
        assert_eq!(bye.receive(100, start + ms(10)), Heard::Provisional);
        assert_eq!(bye.next_timer(), Some(start + ms(32_000)));
        assert_eq!(bye.receive(200, start + ms(20)), Heard::Final);
        assert_eq!(bye.next_timer(), Some(start + ms(20)));
        let mut invite = InviteTransaction::new(transport, start);
        assert_eq!(invite.receive(486, start + ms(20)), InviteHeard::Refused);
        assert_eq!(invite.fire(start + ms(20)), InviteFired::Nothing);
        assert!(invite.is_terminated());
        let mut invite = InviteTransaction::new(transport, start);
        assert_eq!(invite.receive(200, start), InviteHeard::Accepted);
        assert_eq!(invite.next_timer(), Some(start + ms(32_000)));
    }
}

#[test]
fn the_same_request_gets_the_same_answer_until_timer_j() {
    let start = Instant::now();
    let request = |branch: &str, method: &str| {
        format!("{method} sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\n\r\n")
            .into_bytes()
    };
    let mut answered = AnsweredRequests::default();
    let bye = request("1", "BYE");
    let bye = Message::parse(&bye).expect("a request");
    assert_eq!(answered.find(&bye, start), None);
    answered.keep(&bye, b"yes".to_vec(), start);
    assert_eq!(answered.find(&bye, start + ms(31_999)), Some(&b"yes"[..]));
    assert_eq!(answered.find(&bye, start + ms(32_000)), None);
    let other = request("1", "INFO");
    assert_eq!(answered.find(&Message::parse(&other).expect("a request"), start), None);
    for number in 0..100 {
        let next = request(&number.to_string(), "OPTIONS");
        answered.keep(&Message::parse(&next).expect("a request"), b"no".to_vec(), start);
    }
    assert_eq!(answered.find(&bye, start), None, "the oldest has made room");
}
