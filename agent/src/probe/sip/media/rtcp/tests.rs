//! Reports that go out and come in.

use super::*;
use proptest::prelude::*;

const INFO: SenderInfo =
    SenderInfo { ntp: 0x0001_0203_0405_0607, timestamp: 0x1122_3344, packets: 250, octets: 40_000 };
const BLOCK: Block = Block {
    ssrc: 7,
    fraction_lost: 25,
    cumulative_lost: -3,
    highest: 0x0001_fffe,
    jitter: 16,
    last_report: 0x0203_0405,
    delay: 65_536,
};

fn outgoing() -> Outgoing<'static> {
    Outgoing { ssrc: 9, sender: Some(INFO), block: Some(BLOCK), cname: "abc", goodbye: true }
}

#[test]
fn a_report_is_these_bytes() {
    #[rustfmt::skip]
    let expected = [
        0x81, 200, 0, 12, 0, 0, 0, 9,
        0, 1, 2, 3, 4, 5, 6, 7, 0x11, 0x22, 0x33, 0x44, 0, 0, 0, 250, 0, 0, 0x9c, 0x40,
        0, 0, 0, 7, 25, 0xff, 0xff, 0xfd, 0, 1, 0xff, 0xfe, 0, 0, 0, 16, 2, 3, 4, 5, 0, 1, 0, 0,
        0x81, 202, 0, 3, 0, 0, 0, 9, 1, 3, b'a', b'b', b'c', 0, 0, 0,
        0x81, 203, 0, 1, 0, 0, 0, 9,
    ];
    assert_eq!(outgoing().write(), expected);
    assert_eq!(INFO.middle(), BLOCK.last_report);
    let read = Compound::read(&expected).expect("is read");
    assert_eq!((read.ssrc, read.sender, read.blocks), (9, Some(INFO), vec![BLOCK]));
    assert!(read.goodbye);
    let without = Outgoing { sender: None, block: None, goodbye: false, ..outgoing() };
    let bytes = without.write();
    assert_eq!(bytes[..8], [0x80, 201, 0, 1, 0, 0, 0, 9]);
    let read = Compound::read(&bytes).expect("is read");
    assert!(read.sender.is_none() && read.blocks.is_empty() && !read.goodbye);
}

#[test]
fn times_are_those_of_ntp() {
    assert_eq!(ntp(Duration::from_millis(2_500)), 0x0002_8000_0000);
    assert_eq!(middle(ntp(Duration::from_millis(2_500))), 0x0002_8000);
}

#[test]
fn a_name_of_any_length_fits() {
    for length in [0, 1, 2, 3, 4, 255, 256, 1_000] {
        let cname = "n".repeat(length);
        let bytes = Outgoing { cname: &cname, ..outgoing() }.write();
        assert!(Compound::read(&bytes).is_ok_and(|read| read.goodbye), "{length}");
    }
}

#[test]
fn a_rating_of_the_other_side_is_read() {
    let mut bytes = Outgoing { goodbye: false, ..outgoing() }.write();
    let unknown = [7, 0, 0, 8];
    let mut body = [0; 32];
    (body[3], body[20], body[22], body[23]) = (5, 92, 43, 127);
    // An unknown block before it: 4 is a receiver's reference time, of two words.
    let blocks = [&[4, 0, 0, 2][..], &[0; 8], &unknown, &body].concat();
    let words = u8::try_from(blocks.len() / 4 + 1).expect("short");
    bytes.extend_from_slice(&[0x80, 207, 0, words, 0, 0, 0, 9]);
    bytes.extend_from_slice(&blocks);
    let read = Compound::read(&bytes).expect("is read");
    assert_eq!(read.voip, Some(VoipMetrics { ssrc: 5, r: Some(92), mos_cq_tenths: None }));
}

#[test]
fn what_is_no_compound_is_told_apart() {
    let sound = outgoing().write();
    let changed = |place: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[place] = byte;
        Compound::read(&bytes).expect_err("is none")
    };
    assert_eq!(changed(0, 0x41), NotRtcp::Version);
    assert_eq!(changed(0, 0xa1), NotRtcp::NoReport, "padding before the last");
    assert_eq!(changed(0, 0x82), NotRtcp::Length, "more blocks than there are");
    assert_eq!(changed(1, 202), NotRtcp::NoReport);
    assert_eq!(changed(3, 200), NotRtcp::Length);
    assert_eq!(changed(3, 0), NotRtcp::Length, "a report without a reporter");
    for end in 0..sound.len() {
        let whole = [52, 68].contains(&end);
        assert_eq!(Compound::read(&sound[..end]).is_ok(), whole, "{end} bytes");
    }
    let long = sound.repeat(20);
    assert!(long.len() > COMPOUND_MAX_BYTES);
    assert_eq!(Compound::read(&long), Err(NotRtcp::Length));
    // Somebody else leaves.
    let other = changed_goodbye(&sound, 10);
    assert!(!Compound::read(&other).expect("is read").goodbye);
}

fn changed_goodbye(sound: &[u8], ssrc: u8) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = ssrc;
    }
    bytes
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 200..=207_u8) {
        drop(Compound::read(&bytes));
        let mut likely = bytes;
        if let [flags, first, high, ..] = likely.as_mut_slice() {
            (*flags, *first, *high) = (*flags & 0x1f | 0x80, kind, 0);
        }
        drop(Compound::read(&likely));
    }

    #[test]
    fn what_is_written_is_read(
        (ssrc, of, jitter, delay) in any::<(u32, u32, u32, u32)>(),
        (fraction_lost, lost) in (any::<u8>(), -0x80_0000..0x80_0000_i32),
        with in any::<(bool, bool, bool)>(),
    ) {
        let block = Block { ssrc: of, fraction_lost, cumulative_lost: lost, jitter, delay, ..BLOCK };
        let outgoing = Outgoing {
            ssrc,
            sender: with.0.then_some(INFO),
            block: with.1.then_some(block),
            cname: "a name",
            goodbye: with.2,
        };
        let read = Compound::read(&outgoing.write()).expect("is read");
        prop_assert_eq!(
            (read.ssrc, read.sender, read.blocks.first().copied(), read.goodbye),
            (ssrc, outgoing.sender, outgoing.block, with.2)
        );
    }
}
