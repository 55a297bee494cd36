//! Whatever comes in whatever order: no panic, one conclusion by the deadline, and no call left up.

use super::peer::{Desk, Reply, text};
use super::{Scenario as _, ms};
use crate::probe::failure::Failure;
use crate::probe::sip::scenario::Outgoing;
use crate::probe::statuses::Statuses;
use probefleet_proto::name::FailureClass;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[derive(Clone, Debug)]
enum Event {
    /// A response to one of the requests that were sent.
    Answer {
        which: prop::sample::Index,
        status: u16,
        tag: u8,
    },
    /// One of the messages that were sent comes back, as if the other side had sent it.
    Echo(prop::sample::Index),
    Noise(Vec<u8>),
    Unreachable,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let status =
        prop_oneof![Just(100), Just(180), Just(183), Just(200), Just(202), Just(486), 100..700_u16];
    prop_oneof![
        6 => (any::<prop::sample::Index>(), status, 0..4_u8)
            .prop_map(|(which, status, tag)| Event::Answer { which, status, tag }),
        1 => any::<prop::sample::Index>().prop_map(Event::Echo),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Event::Noise),
        1 => Just(Event::Unreachable),
        3 => (0..4_000_u64).prop_map(Event::Wait),
    ]
}

/// Takes everything that is to be sent.
fn collect(desk: &mut Desk, sent: &mut Vec<Outgoing>) {
    while let Some(outgoing) = desk.call.outbox().pop() {
        if let Some(stamp) = outgoing.stamp {
            desk.call.sent(stamp, desk.now);
        }
        sent.push(outgoing);
    }
}

fn happen(desk: &mut Desk, event: Event, sent: &mut Vec<Outgoing>) {
    match event {
        Event::Answer { which, status, tag } => {
            let reply = Reply::to(which.get(sent), status);
            let reply = if tag == 0 { reply } else { reply.tag(&tag.to_string()) };
            desk.answer(ms(1), &reply.contact("sip:uas@192.0.2.7"));
        }
        Event::Echo(which) => {
            let bytes = which.get(sent).bytes.clone();
            desk.receive(ms(1), &bytes);
        }
        Event::Noise(bytes) => desk.receive(ms(1), &bytes),
        Event::Unreachable => {
            let failure = Failure::failed(FailureClass::Refused, "econnrefused", "");
            desk.call.unreachable(failure, desk.now);
        }
        Event::Wait(time) => desk.wait(ms(time)),
    }
    collect(desk, sent);
}

/// The tags of the requests of a method.
fn tags(sent: &[Outgoing], method: &str) -> BTreeSet<String> {
    let of = |one: &&Outgoing| text(&one.bytes).starts_with(method);
    let to = |one: &Outgoing| {
        text(&one.bytes).lines().find(|line| line.starts_with("To:")).map(str::to_owned)
    };
    sent.iter().filter(of).filter_map(to).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_call_concludes_and_is_ended(
        events in prop::collection::vec(event(), 0..60),
        hold in 0..4_000_u64,
        late in prop::collection::vec(event(), 0..20),
    ) {
        let mut desk = Desk::with(Statuses::one(200), ms(10_000), ms(hold));
        let mut sent = Vec::new();
        collect(&mut desk, &mut sent);
        for event in events {
            happen(&mut desk, event, &mut sent);
            if desk.now >= desk.deadline {
                break;
            }
        }
        desk.hang_up();
        collect(&mut desk, &mut sent);
        let concluded = desk.conclusion().clone();
        for event in late {
            happen(&mut desk, event, &mut sent);
        }
        prop_assert_eq!(desk.conclusion(), &concluded, "concluded once");
        let answered = desk.call.dialogs.iter().filter(|dialog| !dialog.ended_by_peer).count();
        prop_assert_eq!(tags(&sent, "BYE").len(), answered, "every answered call is hung up");
        let refused_or_accepted = tags(&sent, "ACK").len();
        prop_assert!(refused_or_accepted >= answered, "and was acknowledged");
        prop_assert!(desk.call.dialogs.iter().all(|dialog| !dialog.is_up()));
        for (_, delay) in &concluded.phases {
            prop_assert!(*delay <= ms(60_000));
        }
        // Left alone, everything is over after the longest timers.
        desk.wait(ms(40_000));
        for _ in 0..100 {
            collect(&mut desk, &mut sent);
            desk.wait(ms(40_000));
        }
        prop_assert!(desk.call.is_over());
    }
}
