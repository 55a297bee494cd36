use super::*;
use probefleet_proto::record::{Record, genesis_hash};
use proptest::prelude::*;

const SPOOL: SpoolId = [7; 16];

/// A segment of reports with payloads of these lengths, from sequence 1; and the hash that comes behind.
fn segment(lengths: &[usize]) -> (Vec<u8>, Hash) {
    let mut prev_hash = genesis_hash(&SPOOL);
    let mut bytes = Header { spool_id: SPOOL, first_seq: 1, prev_hash }.encode().to_vec();
    for (seq, length) in (1..).zip(lengths) {
        let report = v1::Report {
            window_start_s: seq * 60,
            window_s: 60,
            plan_hash: vec![9; *length],
            ..v1::Report::default()
        };
        let payload = report.encode_to_vec();
        let record =
            Record { seq, seq_to: seq, kind: Kind::Report, prev_hash, payload, signature: vec![] };
        encode_record(&record, &mut bytes);
        prev_hash = record.content_hash(&SPOOL);
    }
    (bytes, prev_hash)
}

/// Scans a damaged segment that another follows, mends it, and checks that what comes out is dense, chained, and holds
/// nothing but what was written. Returns how many sequences a gap stands for.
fn mend_and_check(damaged: &[u8], original: &[u8], count: u64, behind: Hash) -> u64 {
    let header = Header::decode(damaged).ok();
    let frame = Frame {
        spool_id: SPOOL,
        first_seq: 1,
        prev_hash: Some(header.map_or(genesis_hash(&SPOOL), |header| header.prev_hash)),
        behind: Some((count + 1, behind)),
    };
    let scan = Scan::of(damaged, 1, count + 1);
    let (_, mended) = mend(damaged, &scan, &frame).expect("a frame on both sides");
    let good = Scan::of(original, 1, count + 1);
    let scan = Scan::of(&mended, 1, count + 1);
    assert!(!scan.damaged && scan.end == mended.len());
    assert_eq!(scan.next_seq(), Some(count + 1), "dense");
    let (mut prev_hash, mut lost) = (genesis_hash(&SPOOL), 0);
    for span in &scan.spans {
        let stored = stored_at(&mended, span).expect("intact");
        assert_eq!(stored.prev_hash, prev_hash, "chained");
        prev_hash = stored.to_record().hash(&SPOOL).expect("a hash");
        if stored.kind == Kind::Gap {
            lost += stored.seq_to - stored.seq + 1;
        } else {
            let written = good.spans.iter().find(|good| good.seq == span.seq).expect("written");
            assert_eq!(stored_at(original, written), Some(stored), "as written");
        }
    }
    assert_eq!(prev_hash, behind);
    lost
}

#[test]
fn an_intact_segment_is_whole() {
    let (bytes, behind) = segment(&[1, 0, 300]);
    let scan = Scan::of(&bytes, 1, u64::MAX);
    assert!(!scan.damaged && scan.end == bytes.len() && scan.next_seq() == Some(4));
    assert_eq!(scan.last_hash(&bytes, &SPOOL), Some(behind));
    assert_eq!(scan.newest_window(&bytes), Some((180, 60)));
}

#[test]
fn each_flipped_bit_is_seen_and_costs_at_most_one_record() {
    let (original, behind) = segment(&[3, 40, 0, 7]);
    let mut bytes = original.clone();
    for bit in HEADER_BYTES * 8..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let scan = Scan::of(&bytes, 1, 5);
        assert!(scan.damaged || scan.next_seq() != Some(5), "bit {bit} is not seen");
        assert_eq!(mend_and_check(&bytes, &original, 4, behind), 1, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_gap_says_between_which_windows_it_lies() {
    let (mut bytes, behind) = segment(&[1, 1, 1]);
    let spans = Scan::of(&bytes, 1, 4).spans;
    bytes[spans[1].bytes.start + 4] ^= 1;
    let frame = Frame {
        spool_id: SPOOL,
        first_seq: 1,
        prev_hash: Some(genesis_hash(&SPOOL)),
        behind: Some((4, behind)),
    };
    let (_, mended) = mend(&bytes, &Scan::of(&bytes, 1, 4), &frame).expect("mended");
    let gap = Scan::of(&mended, 1, 4).spans[1].clone();
    let gap = v1::Gap::decode(stored_at(&mended, &gap).expect("a gap").payload).expect("a gap");
    assert_eq!((gap.reason.as_str(), gap.from_s, gap.until_s), (SPOOL_DAMAGE, 60, 240));
}

#[test]
fn without_any_hash_in_front_the_segment_begins_at_its_first_intact_record() {
    let (mut bytes, behind) = segment(&[1, 1, 1]);
    bytes[..HEADER_BYTES + 10].fill(0);
    let (prev_hash, behind) = (None, Some((4, behind)));
    let frame = Frame { spool_id: SPOOL, first_seq: 1, prev_hash, behind };
    let (header, mended) = mend(&bytes, &Scan::of(&bytes, 1, 4), &frame).expect("mended");
    assert_eq!(header.first_seq, 2);
    assert_eq!(Scan::of(&mended, 2, 4).next_seq(), Some(4));
    let nothing = Scan::of(&[], 1, 4);
    assert!(mend(&[], &nothing, &frame).is_none());
}

proptest! {
    #[test]
    fn a_torn_or_zero_filled_tail_keeps_what_lies_before(
        lengths in prop::collection::vec(0_usize..200, 1..8), cut in 0_usize..2000, zeros in 0_usize..300,
    ) {
        let (original, _) = segment(&lengths);
        let cut = cut.min(original.len());
        let whole = Scan::of(&original, 1, u64::MAX).spans.iter().filter(|span| span.bytes.end <= cut).count();
        let mut torn = original[..cut].to_vec();
        torn.resize(cut + zeros, 0);
        let scan = Scan::of(&torn, 1, u64::MAX);
        prop_assert!(!scan.damaged);
        prop_assert_eq!(scan.spans.len(), whole);
        prop_assert!(scan.end <= cut.max(HEADER_BYTES));
    }

    #[test]
    fn whatever_is_overwritten_nothing_foreign_is_read(
        lengths in prop::collection::vec(0_usize..200, 1..8),
        holes in prop::collection::vec((0_usize..2000, prop::collection::vec(any::<u8>(), 1..40)), 0..4),
    ) {
        let (original, behind) = segment(&lengths);
        let mut bytes = original.clone();
        for (at, junk) in holes {
            for (byte, junk) in bytes.iter_mut().skip(HEADER_BYTES + at).zip(junk) {
                *byte = junk;
            }
        }
        let count = u64::try_from(lengths.len()).expect("few");
        mend_and_check(&bytes, &original, count, behind);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), first in any::<u64>(), until in any::<u64>()) {
        let scan = Scan::of(&bytes, first, until);
        prop_assert!(scan.spans.is_empty());
        prop_assert_eq!(Header::decode(&bytes).is_ok(), false);
    }
}
