//! What is lost, and what that costs: one message after the other of a call, to the millisecond.

use super::peer::{Desk, Reply, text};
use super::{Scenario as _, ms};
use crate::probe::sip::scenario::Outgoing;
use crate::probe::statuses::Statuses;
use std::time::Duration;
use tokio::time::Instant;

/// Messages of a call, by their direction and meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Invite,
    Ringing,
    Answer,
    Ack,
    Bye,
    Ended,
}

/// When the peer rings, answers, and answers a BYE.
const RINGS: Duration = ms(100);
const ANSWERS: Duration = ms(400);
const ENDS: Duration = ms(40);
/// When an answer without ACK is sent again (timer G of RFC 3261 §13.3.1.4), since the first.
const ANSWERS_AGAIN: [u64; 6] = [0, 500, 1_500, 3_500, 7_500, 11_500];

/// A call through a network that loses the first few messages of a kind.
struct Line {
    desk: Desk,
    lost: (Kind, usize),
    /// What the peer is going to send.
    waiting: Vec<(Instant, Kind, Vec<u8>)>,
    invited: bool,
    acknowledged: bool,
    ended: bool,
    acks: usize,
}

impl Line {
    /// Whether this one is lost.
    fn loses(&mut self, kind: Kind) -> bool {
        let loses = self.lost.0 == kind && self.lost.1 > 0;
        self.lost.1 -= usize::from(loses);
        loses
    }

    fn send(&mut self, after: Duration, kind: Kind, reply: &Reply) {
        self.waiting.push((self.desk.now + after, kind, reply.bytes()));
    }

    /// The peer has it.
    fn deliver(&mut self, outgoing: &Outgoing) {
        let method = text(&outgoing.bytes);
        let kind = match method.split(' ').next() {
            Some("INVITE") => Kind::Invite,
            Some("ACK") => Kind::Ack,
            _ => Kind::Bye,
        };
        self.acks += usize::from(kind == Kind::Ack);
        if self.loses(kind) {
            return;
        }
        match kind {
            Kind::Invite if !self.invited => {
                self.invited = true;
                self.send(RINGS, Kind::Ringing, &Reply::to(outgoing, 180).tag("b"));
                for again in ANSWERS_AGAIN {
                    let reply = Reply::to(outgoing, 200).tag("b").contact("sip:b@192.0.2.7");
                    self.send(ANSWERS + ms(again), Kind::Answer, &reply);
                }
            }
            Kind::Ack => self.acknowledged = true,
            Kind::Bye => {
                // A repetition is answered at once (§17.2.2).
                let after = if self.ended { Duration::ZERO } else { ENDS };
                self.ended = true;
                self.send(after, Kind::Ended, &Reply::to(outgoing, 200).tag("b"));
            }
            _ => {}
        }
    }

    /// Runs until the call has ended, whatever happens first: a timer, or a message.
    fn run(lost: (Kind, usize), hold: Duration) -> Self {
        let desk = Desk::with(Statuses::one(200), ms(60_000), hold);
        let (waiting, acks) = (Vec::new(), 0);
        let (invited, acknowledged, ended) = (false, false, false);
        let mut line = Self { desk, lost, waiting, invited, acknowledged, ended, acks };
        while line.desk.call.conclusion().is_none() {
            while let Some(outgoing) = line.desk.call.outbox().pop() {
                if let Some(stamp) = outgoing.stamp {
                    line.desk.call.sent(stamp, line.desk.now);
                }
                line.deliver(&outgoing);
            }
            line.waiting.sort_by_key(|(at, ..)| *at);
            let timer = line.desk.call.next_timer();
            let comes = line.waiting.first().map(|(at, ..)| *at);
            match (timer, comes) {
                (Some(timer), comes) if comes.is_none_or(|comes| timer < comes) => {
                    line.desk.now = timer;
                    line.desk.call.fire(timer);
                }
                (_, Some(comes)) => {
                    let (_, kind, bytes) = line.waiting.remove(0);
                    line.desk.now = comes;
                    let needless = kind == Kind::Answer && line.acknowledged;
                    if !needless && !line.loses(kind) {
                        line.desk.receive(ms(0), &bytes);
                    }
                }
                (_, None) => panic!("nothing would ever happen"),
            }
        }
        line
    }
}

#[test]
fn a_loss_costs_what_the_timers_say() {
    // What is lost, how often; the delays in ms: SRD, time to answer, SDD; retransmissions of ours, and ACKs.
    for (kind, lost, delays, retransmissions, acks) in [
        (Kind::Invite, 0, [100, 400, 40], 0, 1),
        (Kind::Invite, 1, [600, 900, 40], 1, 1),
        (Kind::Invite, 2, [1_600, 1_900, 40], 2, 1),
        (Kind::Invite, 3, [3_600, 3_900, 40], 3, 1),
        // Not sent again: the answer is the first that the caller hears.
        (Kind::Ringing, 1, [400, 400, 40], 0, 1),
        (Kind::Answer, 1, [100, 900, 40], 0, 1),
        (Kind::Answer, 2, [100, 1_900, 40], 0, 1),
        (Kind::Answer, 3, [100, 3_900, 40], 0, 1),
        (Kind::Ack, 1, [100, 400, 40], 0, 2),
        (Kind::Ack, 2, [100, 400, 40], 0, 3),
        (Kind::Ack, 3, [100, 400, 40], 0, 4),
        (Kind::Bye, 1, [100, 400, 540], 1, 1),
        (Kind::Bye, 2, [100, 400, 1_540], 2, 1),
        (Kind::Bye, 3, [100, 400, 3_540], 3, 1),
        (Kind::Ended, 1, [100, 400, 500], 1, 1),
        (Kind::Ended, 2, [100, 400, 1_500], 2, 1),
        (Kind::Ended, 3, [100, 400, 3_500], 3, 1),
    ] {
        let line = Line::run((kind, lost), ms(10_000));
        let conclusion = line.desk.conclusion();
        assert_eq!(conclusion.result, Ok(200), "{kind:?} {lost}");
        let measured: Vec<_> =
            conclusion.phases.iter().map(|(name, delay)| (*name, delay.as_millis())).collect();
        let [request, answer, disconnect] = delays;
        let expected = [
            ("session_request_delay", request),
            ("time_to_answer", answer),
            ("session_disconnect_delay", disconnect),
        ];
        assert_eq!(measured, expected, "{kind:?} {lost}");
        assert_eq!(line.desk.count("retransmissions"), retransmissions, "{kind:?} {lost}");
        assert_eq!(line.acks, acks, "{kind:?} {lost}");
        assert_eq!(line.desk.count("completed"), 1);
    }
}
