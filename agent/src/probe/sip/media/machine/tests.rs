//! Two sides on a clock of our own, and a network that does what it is told.

use super::*;
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn plan(now: Instant, time: Duration, seed: u64) -> MediaPlan {
    let (codec, direction) = (Codec::Pcmu, Direction::SendRecv);
    MediaPlan { codec, answered_at: now, ends_at: now + time, direction, seed }
}

/// A datagram on its way, and to which side.
type Flying = (Instant, u64, usize, Channel, Vec<u8>);

/// Two sides and what is between them.
struct Call {
    sides: [MediaMachine; 2],
    now: Instant,
    flying: Vec<Flying>,
    count: u64,
    /// One way.
    delay: Duration,
    /// Whether the n-th datagram of data to a side is lost.
    loses: fn(usize, u64) -> bool,
    data: [u64; 2],
}

impl Call {
    fn new(time: Duration, delay: Duration, loses: fn(usize, u64) -> bool) -> Self {
        let now = Instant::now();
        let sides = [1, 2].map(|seed| MediaMachine::new(plan(now, time, seed), now));
        Self { sides, now, flying: Vec::new(), count: 0, delay, loses, data: [0; 2] }
    }

    fn collect(&mut self) {
        for from in 0..2 {
            let to = 1 - from;
            while let Some((channel, bytes)) = self.sides[from].pop() {
                self.count += 1;
                let number = self.data[to];
                self.data[to] += u64::from(channel == Channel::Rtp);
                if channel == Channel::Rtcp || !(self.loses)(to, number) {
                    self.flying.push((self.now + self.delay, self.count, to, channel, bytes));
                }
            }
        }
        self.flying.sort_by(|one, other| other.0.cmp(&one.0).then(other.1.cmp(&one.1)));
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let arrival = self.flying.last().map(|flying| flying.0);
            let timers = self.sides.iter().filter_map(MediaMachine::next_timer);
            let next = timers.chain(arrival).min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            while self.flying.last().is_some_and(|flying| flying.0 <= self.now) {
                let Some((at, _, to, channel, bytes)) = self.flying.pop() else { break };
                match channel {
                    Channel::Rtp => self.sides[to].data(&bytes, at),
                    Channel::Rtcp => self.sides[to].control(&bytes, at),
                }
            }
            let now = self.now;
            self.sides.iter_mut().for_each(|side| side.fire(now));
            self.collect();
        }
        self.now = until;
    }
}

#[test]
fn a_call_without_fault_is_rated_as_such() {
    let mut call = Call::new(ms(10_000), ms(30), |_, _| false);
    call.run(ms(10_100));
    for side in &call.sides {
        let report = side.report(call.now);
        assert_eq!((report.sent, report.skipped), (500, 0));
        assert_eq!((report.reception.expected, report.lost(), report.loss_ppm), (500, 0, 0));
        assert_eq!(report.media_setup_ns, Some(30_000_000));
        assert_eq!(report.reception.jitter_ns, 0);
        let rtt_ns = report.rtt_ns.expect("reports came back");
        assert!(rtt_ns.abs_diff(60_000_000) < 16_000, "within a 65536th of a second: {rtt_ns}");
        // 20 ms in the packet, 60 ms in the buffer, 30 ms on the way: Idd of 110 ms is next to nothing.
        assert_eq!(report.rating, Some(Rating { r_centi: 9_320, mos_centi: 441 }));
        assert_eq!((report.remote_loss_ppm, report.remote_jitter_ns), (Some(0), Some(0)));
    }
}

#[test]
fn loss_of_one_way_is_told_apart_from_that_of_the_other() {
    let mut call = Call::new(ms(20_000), ms(20), |to, number| to == 0 && number % 50 == 49);
    call.run(ms(20_000));
    let now = call.now;
    call.sides.iter_mut().for_each(|side| side.finish(now));
    call.collect();
    call.run(ms(100));
    let [first, second] = call.sides.each_ref().map(|side| side.report(now));
    // The last of all is lost too, and with it the knowledge of it.
    assert_eq!((first.reception.expected, first.lost()), (999, 19));
    assert_eq!((first.loss_ppm, first.remote_loss_ppm), (19_019, Some(0)));
    assert_eq!((second.loss_ppm, second.lost()), (0, 0));
    let told = second.remote_loss_ppm.expect("a report");
    assert!((18_000..=20_000).contains(&told), "{told}");
    let mos = |report: &MediaReport| report.rating.expect("audio came").mos_centi;
    assert!(mos(&first) < mos(&second), "{first:?} {second:?}");
}

#[test]
fn what_is_sent_is_a_telephones() {
    let now = Instant::now();
    let mut machine = MediaMachine::new(plan(now, ms(1_000), 3), now);
    let mut packets = Vec::new();
    while let Some(at) = machine.next_timer() {
        machine.fire(at);
        packets.extend(std::iter::from_fn(|| machine.pop()).map(|(channel, bytes)| {
            assert_eq!((channel, bytes.len()), (Channel::Rtp, 172));
            (at, bytes)
        }));
    }
    assert_eq!(packets.len(), 50);
    let read = |index: usize| Packet::read(&packets[index].1).expect("is read").header;
    for index in 1..50 {
        let (before, after) = (read(index - 1), read(index));
        assert_eq!(packets[index].0 - packets[index - 1].0, ms(20));
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(160));
        assert_eq!((before.marker, after.marker), (index == 1, false));
    }
}

#[test]
fn what_is_late_is_left_out() {
    let now = Instant::now();
    let mut machine = MediaMachine::new(plan(now, ms(1_000), 3), now);
    machine.fire(now);
    machine.fire(now + ms(111));
    machine.fire(now + ms(111));
    assert_eq!(machine.next_timer(), Some(now + ms(120)), "still on the grid");
    machine.fire(now + ms(120));
    let headers: Vec<Header> = std::iter::from_fn(|| machine.pop())
        .map(|(_, bytes)| Packet::read(&bytes).expect("is read").header)
        .collect();
    assert_eq!(headers.len(), 3);
    assert_eq!(headers[1].sequence, headers[0].sequence.wrapping_add(1), "nothing was lost");
    assert_eq!(headers[1].timestamp, headers[0].timestamp.wrapping_add(5 * 160));
    assert!(headers[1].marker && !headers[2].marker);
    assert_eq!(machine.report(now).skipped, 4);
    machine.fire(now + ms(1_000));
    assert_eq!((machine.pop(), machine.next_timer()), (None, None), "it is over");
}

#[test]
fn silence_is_no_audio() {
    let now = Instant::now();
    let mut machine = MediaMachine::new(plan(now, ms(1_000), 3), now);
    machine.data(b"garbage", now);
    machine.control(b"garbage", now);
    let report = machine.report(now + ms(1_000));
    assert_eq!((report.media_setup_ns, report.rating, report.rtt_ns), (None, None, None));
    assert_eq!((report.loss_ppm, report.remote_loss_ppm), (0, None));
    assert!(report.no_audio);
    let agreed = MediaPlan { direction: Direction::RecvOnly, ..plan(now, ms(1_000), 3) };
    assert!(!MediaMachine::new(agreed, now).report(now).no_audio, "as agreed");
    // Whoever neither spoke nor heard says no goodbye (§6.3.7).
    let mute = MediaPlan { direction: Direction::SendOnly, ..plan(now, ms(1_000), 3) };
    let mut mute = MediaMachine::new(mute, now);
    mute.fire(now);
    mute.finish(now);
    assert_eq!(mute.pop(), None);
}

#[test]
fn reports_that_cannot_be_true_are_not_believed() {
    let now = Instant::now();
    let mut machine = MediaMachine::new(plan(now, ms(10_000), 3), now);
    machine.fire(now);
    machine.fire(now + ms(2_500));
    let report = machine.reports.front().copied().expect("a report");
    let told = |highest: u32, delay: u32| {
        let block =
            Block { ssrc: machine.ssrc, highest, last_report: report.0, delay, ..Block::default() };
        let (sender, cname) = (None, "");
        Outgoing { ssrc: 1, sender, block: Some(block), cname, goodbye: false }.write()
    };
    let first = u32::from(machine.first_number);
    let (never, future, sound) = (told(first + 2, 0), told(first, 65_536), told(first + 1, 0));
    machine.control(&never, now + ms(2_600));
    assert_eq!(machine.report(now).remote_loss_ppm, None, "two packets were sent, not three");
    machine.control(&future, now + ms(2_600));
    assert_eq!(machine.report(now).rtt_ns, None, "held longer than it took");
    machine.control(&sound, now + ms(2_600));
    assert_eq!(machine.report(now).rtt_ns, Some(100_000_000));
}

proptest! {
    /// §6.2: reports are at least 5 s apart in the mean, the first comes within 2.5 s.
    #[test]
    fn reports_come_when_they_should(seed in any::<u64>()) {
        let now = Instant::now();
        let mut machine = MediaMachine::new(plan(now, ms(60_000), seed), now);
        let mut reports = Vec::new();
        while let Some(at) = machine.next_timer() {
            machine.fire(at);
            let sent = std::iter::from_fn(|| machine.pop());
            reports.extend(sent.filter(|(channel, _)| *channel == Channel::Rtcp).map(|_| at));
        }
        prop_assert!(reports[0] - now < ms(2_500));
        for pair in reports.windows(2) {
            let apart = pair[1] - pair[0];
            prop_assert!(apart > ms(2_050) && apart < ms(6_200), "{:?}", apart);
        }
        prop_assert!((9..=29).contains(&reports.len()));
    }

    /// Whatever comes: no panic, and not a packet more than agreed.
    #[test]
    fn nothing_makes_it_send_more(
        datagrams in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..100), 0..100_u64),
            0..100,
        ),
    ) {
        let now = Instant::now();
        let mut machine = MediaMachine::new(plan(now, ms(2_000), 5), now);
        let (mut at, mut sent) = (now, 0_u64);
        for (data, bytes, wait_ms) in datagrams {
            at += ms(wait_ms);
            machine.fire(at);
            match data {
                true => machine.data(&bytes, at),
                false => machine.control(&bytes, at),
            }
            sent += std::iter::from_fn(|| machine.pop()).count() as u64;
            let slots = saturating_ns(at - now) / PACKET_NS + 1;
            prop_assert!(sent <= slots + 1);
        }
        prop_assert!(machine.report(at).loss_ppm <= 1_000_000);
    }
}
