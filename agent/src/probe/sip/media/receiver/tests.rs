//! Streams of packets whose counts are known beforehand.

use super::*;
use proptest::prelude::*;

/// A stream on a clock of its own: packets of 20 ms, each sent at its time and some ms on its way.
struct Stream {
    receiver: Receiver,
    start: Instant,
}

const SSRC: u32 = 7;

impl Stream {
    fn new() -> Self {
        Self { receiver: Receiver::new(0), start: Instant::now() }
    }

    fn header(number: u32) -> Header {
        let [.., high, low] = number.to_be_bytes();
        Header {
            marker: false,
            payload_type: 0,
            sequence: u16::from_be_bytes([high, low]),
            timestamp: number.wrapping_mul(160),
            ssrc: SSRC,
        }
    }

    fn at(&self, number: u32, delay_us: u64) -> Instant {
        self.start + Duration::from_millis(20) * number + Duration::from_micros(delay_us)
    }

    /// The n-th packet comes, so long after it was sent.
    fn packet(&mut self, number: u32, delay_us: u64) -> bool {
        let at = self.at(number, delay_us);
        self.header_at(Self::header(number), at)
    }

    /// So many come, each at its time.
    fn packets(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.packet(number, 0);
        }
    }

    fn header_at(&mut self, header: Header, at: Instant) -> bool {
        self.receiver.receive(&Packet { header, payload: &[0; 160] }, at)
    }

    fn reception(&self) -> Reception {
        self.receiver.reception(self.receiver.last_at.unwrap_or(self.start))
    }
}

#[test]
fn an_even_stream_is_whole() {
    let mut stream = Stream::new();
    for number in 0..250 {
        stream.packet(number, 5_000);
    }
    let expected = Reception {
        first_at: Some(stream.at(0, 5_000)),
        expected: 250,
        received: 250,
        gap_max_ns: 20_000_000,
        ..Reception::default()
    };
    assert_eq!(stream.reception(), expected);
    assert_eq!(stream.receiver.ssrc(), Some(SSRC));
}

#[test]
fn two_in_a_row_prove_a_source() {
    let mut stream = Stream::new();
    assert!(!stream.packet(0, 0));
    assert!(!stream.packet(2, 0));
    assert_eq!(stream.reception().first_at, None, "nobody knows yet");
    assert!(stream.packet(3, 0));
    let reception = stream.reception();
    assert_eq!((reception.expected, reception.received, reception.astray), (2, 2, 1));
    assert_eq!(reception.first_at, Some(stream.at(2, 0)));
}

#[test]
fn jitter_is_that_of_appendix_a_8() {
    // Transit 0, 8, 0, 8 … ms: |D| is 8 ms each time. In 16ths of a nanosecond, by A.8:
    // J += 8 000 000 − (J + 8 >> 4), from 0.
    let mut stream = Stream::new();
    let mut expected = [0_u64; 6];
    let mut scaled = 0_u64;
    for (number, jitter) in (0..6).zip(expected.iter_mut()) {
        stream.packet(number, u64::from(number % 2) * 8_000);
        if number > 0 {
            scaled = scaled + 8_000_000 - ((scaled + 8) >> 4);
        }
        *jitter = scaled >> 4;
    }
    assert_eq!(expected[1..4], [500_000, 968_750, 1_408_203]);
    assert_eq!(stream.reception().jitter_ns, expected[5]);
    // For long enough, it is 8 ms: 64 ticks.
    for number in 6..2_000 {
        stream.packet(number, u64::from(number % 2) * 8_000);
    }
    let jitter_ns = stream.reception().jitter_ns;
    assert!((7_999_000..=8_000_000).contains(&jitter_ns), "{jitter_ns}");
    assert_eq!(stream.receiver.block(stream.start).map(|block| block.jitter), Some(63));
}

#[test]
fn timestamps_run_over() {
    let mut stream = Stream::new();
    for number in 0..10_u32 {
        let timestamp = (u32::MAX - 800).wrapping_add(number * 160);
        let at = stream.at(number, 0);
        stream.header_at(Header { timestamp, ..Stream::header(number) }, at);
    }
    let reception = stream.reception();
    assert_eq!((reception.jitter_ns, reception.late, reception.received), (0, 0, 10));
}

#[test]
fn losses_doubles_and_order_are_told_apart() {
    let mut stream = Stream::new();
    for (turn, number) in (0..).zip([0, 1, 2, 4, 3, 4, 8, 9]) {
        let at = stream.at(turn, 0);
        stream.header_at(Stream::header(number), at);
    }
    let reception = stream.reception();
    assert_eq!((reception.expected, reception.received, reception.loss_runs), (10, 7, 1));
    assert_eq!((reception.duplicates, reception.reordered), (1, 1));
}

#[test]
fn what_comes_too_late_is_lost_to_the_listener() {
    let mut stream = Stream::new();
    for number in 0..100 {
        let delay_us = match number {
            10 | 11 => 60_001,
            20 => 60_000,
            _ => 0,
        };
        stream.packet(number, delay_us);
    }
    let reception = stream.reception();
    assert_eq!((reception.received, reception.late, reception.loss_runs), (100, 2, 1));
    // Audio that begins again later, and says so, is in time.
    let header = Header { marker: true, ..Stream::header(100) };
    let at = stream.at(100, 500_000);
    stream.header_at(header, at);
    stream.packet(101, 500_000);
    assert_eq!(stream.reception().late, 2);
    // What comes again, later still, begins nothing.
    let at = stream.at(101, 600_000);
    stream.header_at(header, at);
    stream.packet(102, 570_000);
    assert_eq!(stream.reception().late, 3);
}

#[test]
fn another_source_takes_over() {
    let mut stream = Stream::new();
    (0..10).for_each(|number| assert!(stream.packet(number, 0) || number == 0));
    for number in 10..20 {
        let header = Header { ssrc: 8, ..Stream::header(number) };
        let at = stream.at(number, 0);
        stream.header_at(header, at);
    }
    // And the same one begins anew.
    for number in 20..30 {
        let sequence = Stream::header(number).sequence + 9_000;
        let header = Header { ssrc: 8, sequence, ..Stream::header(number) };
        let at = stream.at(number, 0);
        stream.header_at(header, at);
    }
    let reception = stream.reception();
    assert_eq!((reception.source_changes, reception.astray), (2, 1));
    assert_eq!((reception.expected, reception.received), (29, 29));
    assert_eq!((reception.jitter_ns, reception.gap_max_ns), (0, 40_000_000));
    assert_eq!(stream.receiver.ssrc(), Some(8));
}

#[test]
fn another_codec_is_counted_and_not_timed() {
    let mut stream = Stream::new();
    stream.packets(0..10);
    let event = Header { payload_type: 101, timestamp: 0, ..Stream::header(10) };
    let at = stream.at(10, 0);
    assert!(stream.header_at(event, at));
    stream.packet(11, 0);
    let reception = stream.reception();
    assert_eq!((reception.other_payload, reception.jitter_ns, reception.late), (1, 0, 0));
    assert_eq!((reception.expected, reception.received), (12, 12));
}

#[test]
fn a_report_is_of_what_came_since_the_last() {
    let mut stream = Stream::new();
    assert_eq!(stream.receiver.block(stream.start), None);
    stream.packets((0..100).filter(|number| number % 10 != 5));
    let info = SenderInfo { ntp: 0x0001_0002_0003_0004, timestamp: 0, packets: 0, octets: 0 };
    stream.receiver.reported(SSRC, &info, stream.at(99, 0));
    let now = stream.at(99, 250_000);
    let block = stream.receiver.block(now).expect("a source");
    let expected = Block {
        ssrc: SSRC,
        fraction_lost: 25,
        cumulative_lost: 10,
        highest: 99,
        jitter: 0,
        last_report: 0x0002_0003,
        delay: 16_384,
    };
    assert_eq!(block, expected, "a tenth lost is 25 of 256; a quarter of a second");
    stream.packets(100..200);
    let block = stream.receiver.block(now).expect("a source");
    assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest), (0, 10, 199));
    stream.packets([199; 30]);
    let block = stream.receiver.block(now).expect("a source");
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -20), "doubles (A.3)");
}

#[test]
fn silence_at_the_end_is_a_gap() {
    let mut stream = Stream::new();
    stream.packets(0..10);
    let reception = stream.receiver.reception(stream.at(9, 3_000_000));
    assert_eq!(reception.gap_max_ns, 3_000_000_000);
}

proptest! {
    /// Whatever headers come: no panic, and the counts agree with each other.
    #[test]
    fn counts_agree(
        packets in prop::collection::vec(
            (any::<bool>(), 0..3_u8, any::<u16>(), any::<u32>(), 0..2_u32, 0..100_u64),
            0..200,
        ),
        near in any::<bool>(),
    ) {
        let mut stream = Stream::new();
        let mut at = stream.start;
        for (marker, payload_type, sequence, timestamp, ssrc, ms) in packets {
            let sequence = if near { sequence % 150 } else { sequence };
            at += Duration::from_millis(ms);
            stream.header_at(Header { marker, payload_type, sequence, timestamp, ssrc }, at);
            let all = stream.reception();
            prop_assert!(all.received <= all.expected);
            prop_assert!(all.late <= all.received);
            prop_assert!(all.loss_runs <= all.expected - all.received + all.late);
            prop_assert!(stream.receiver.block(at).is_some() == stream.receiver.ssrc().is_some());
        }
    }
}
