use super::*;
use hdrhistogram::Histogram as Reference;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use proptest::prelude::*;

const TWO_HOURS_NS: u64 = 7_200_000_000_000;
const ONE_HOUR_NS: u64 = 3_600_000_000_000;

fn reference() -> Reference<u64> {
    Reference::new_with_bounds(1, ONE_HOUR_NS, 3).expect("valid bounds")
}

fn of(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::new();
    values.iter().for_each(|value| {
        histogram.record(*value);
    });
    histogram
}

/// `count` values from 1 ns to 2 h, log-uniform, the same on every run.
fn log_uniform(count: usize) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // An octave of 0 … 42, then a place in it.
        let octave = 1_u64 << ((state >> 32) % 43);
        octave + state % octave
    })
    .filter(|value| *value <= TWO_HOURS_NS)
    .take(count)
}

fn every_edge() -> impl Iterator<Item = u64> {
    (0..=INDEX_MAX).flat_map(|index| {
        let (lowest, highest) = bucket_bounds_ns(index);
        [
            lowest.saturating_sub(1),
            lowest,
            lowest + 1,
            highest.saturating_sub(1),
            highest,
            highest + 1,
        ]
    })
}

#[test]
fn buckets_are_those_of_hdrhistogram() {
    let reference = reference();
    for value in every_edge().chain(log_uniform(1_000_000)) {
        let (index, clamped) = bucket_of(value);
        let (lowest, highest) = bucket_bounds_ns(index);
        assert_eq!(clamped, value > bucket_bounds_ns(INDEX_MAX).1, "{value}");
        if !clamped {
            assert_eq!(lowest, reference.lowest_equivalent(value), "{value}");
            assert_eq!(highest, reference.highest_equivalent(value), "{value}");
        }
    }
}

#[test]
fn counts_maximum_and_clamped_are_those_of_hdrhistogram() {
    let mut reference = reference();
    let mut ours = Histogram::new();
    let (mut clamped, mut reference_clamped, mut maximum) = (0_u64, 0_u64, 0_u64);
    for value in every_edge().chain(log_uniform(1_000_000)) {
        clamped += u64::from(ours.record(value));
        // The crate's array reaches beyond the highest trackable value, to the end of its power of two; ours ends there.
        reference_clamped += u64::from(value > reference.highest_equivalent(ONE_HOUR_NS));
        reference.record(value.min(ONE_HOUR_NS)).expect("trackable");
        maximum = maximum.max(value);
    }
    assert_eq!(clamped, reference_clamped);
    assert_eq!(ours.count(), reference.len());
    for (index, count) in ours.buckets() {
        assert_eq!(*count, reference.count_at(bucket_bounds_ns(*index).0), "bucket {index}");
    }
    let (last, _) = ours.buckets().last().expect("not empty");
    assert_eq!(bucket_bounds_ns(*last).1, reference.highest_equivalent(maximum.min(ONE_HOUR_NS)));
    for rank in [1, 2, ours.count() / 2, ours.count() - 1, ours.count()] {
        let mut seen = 0;
        let expected = reference.iter_recorded().find(|step| {
            seen += step.count_since_last_iteration();
            seen >= rank
        });
        let expected = expected.map(|step| reference.highest_equivalent(step.value_iterated_to()));
        assert_eq!(ours.value_at_rank_ns(rank), expected, "rank {rank}");
    }
}

#[test]
fn hdr_v2_is_lossless_both_ways() {
    let values: Vec<u64> = log_uniform(20_000).filter(|value| *value <= ONE_HOUR_NS).collect();
    let ours = of(&values);
    let mut reference = reference();
    values.iter().for_each(|value| reference.record(*value).expect("in range"));

    let mut theirs = Vec::new();
    V2Serializer::new().serialize(&reference, &mut theirs).expect("serialises");
    assert_eq!(Histogram::from_hdr_v2(&theirs), Ok(ours.clone()));

    let read: Reference<u64> =
        Deserializer::new().deserialize(&mut ours.to_hdr_v2().as_slice()).expect("reads ours");
    assert_eq!(read, reference);
    assert_eq!(Histogram::from_hdr_v2(&ours.to_hdr_v2()), Ok(ours));
}

#[test]
fn encoding_is_golden() {
    for (values, bytes) in [
        (&[][..], &[0][..]),
        (&[0], &[1, 0]),
        (&[0, 0, 0], &[1, 1, 1]),
        (&[5, 5, 7], &[2, 11, 0, 2]),
        (&[1_000_000], &[1, 0xc2, 0xae, 0x01]),
    ] {
        let mut encoded = Vec::new();
        of(values).encode(&mut encoded);
        assert_eq!(encoded, bytes, "{values:?}");
        assert_eq!(Histogram::decode(bytes), Ok(of(values)));
    }
}

#[test]
fn hostile_bytes_are_refused() {
    use HistogramError as E;
    for (bytes, error) in [
        (&[][..], E::Truncated),
        (&[1], E::Buckets),
        (&[0, 0], E::Trailing),
        (&[1, 0, 9], E::Trailing),
        (&[1, 1], E::Truncated),
        (&[0x80, 0], E::Varint),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], E::Varint),
        (&[0xff, 0xff, 0xff, 0x7f, 0, 0, 0], E::Buckets),
        (&[1, 0x9a, 0x8a, 0x04], E::Index),
        (&[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], E::Count),
        (&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], E::Count),
    ] {
        assert_eq!(Histogram::decode(bytes), Err(error), "{bytes:?}");
    }
}

/// As many buckets as a payload has room for, more than exist: refused before anything is allocated for them.
#[test]
fn more_buckets_than_exist_are_refused() {
    let mut bytes = Vec::new();
    write_varint(&mut bytes, u64::from(INDEX_MAX) + 2);
    bytes.resize(crate::record::PAYLOAD_MAX_BYTES, 0);
    assert_eq!(Histogram::decode(&bytes), Err(HistogramError::Buckets));
}

/// The bombs that make the stock decoder take gigabytes (a range or precision that needs them) or panic.
#[test]
fn hostile_hdr_v2_is_refused() {
    let header = |digits: u32, lowest: u64, highest: u64, counts: &[u8]| {
        let mut bytes = Vec::new();
        for word in [0x1c84_9313, u32::try_from(counts.len()).expect("short"), 0, digits] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(lowest.to_be_bytes());
        bytes.extend(highest.to_be_bytes());
        bytes.extend(1_f64.to_be_bytes());
        bytes.extend(counts);
        bytes
    };
    let good = |counts: &[u8]| header(3, 1, ONE_HOUR_NS, counts);
    assert_eq!(Histogram::from_hdr_v2(&header(5, 1, u64::MAX >> 1, &[2])), Err(HdrError::Layout));
    assert_eq!(Histogram::from_hdr_v2(&header(3, 0, ONE_HOUR_NS, &[2])), Err(HdrError::Layout));
    assert_eq!(
        Histogram::from_hdr_v2(b"not a histogram at all, is it? no: it is a text"),
        Err(HdrError::Cookie)
    );
    assert_eq!(Histogram::from_hdr_v2(&good(&[2])[..39]), Err(HdrError::Length));
    assert_eq!(Histogram::from_hdr_v2(&good(&[0x80])), Err(HdrError::Length));
    let minimum = [0xff; 9]; // ZigZag of i64::MIN
    assert_eq!(Histogram::from_hdr_v2(&good(&minimum)), Ok(Histogram::new()));
    assert_eq!(
        Histogram::from_hdr_v2(&good(&[&minimum[..], &minimum, &[2]].concat())),
        Err(HdrError::Index)
    );
    assert_eq!(
        Histogram::from_hdr_v2(&good(&[&[0xfe; 8][..], &[0xff, 2]].concat())),
        Err(HdrError::Count)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(histogram) = Histogram::decode(&bytes) {
            let mut again = Vec::new();
            histogram.encode(&mut again);
            prop_assert_eq!(&again, &bytes, "equal content has one encoding");
        }
        drop(Histogram::from_hdr_v2(&bytes));
    }

    #[test]
    fn encoding_is_lossless(values in proptest::collection::vec(0..TWO_HOURS_NS, 0..300)) {
        let histogram = of(&values);
        let mut bytes = Vec::new();
        histogram.encode(&mut bytes);
        prop_assert_eq!(Histogram::decode(&bytes), Ok(histogram));
    }

    #[test]
    fn merging_is_commutative_and_associative(
        a in proptest::collection::vec(0..TWO_HOURS_NS, 0..200),
        b in proptest::collection::vec(0..5_000_u64, 0..200),
        c in proptest::collection::vec(0..TWO_HOURS_NS, 0..5),
    ) {
        let merged = |parts: &[&Vec<u64>]| {
            let mut sum = Histogram::new();
            parts.iter().for_each(|part| sum.merge(&of(part)));
            sum
        };
        let all: Vec<u64> = [a.clone(), b.clone(), c.clone()].concat();
        prop_assert_eq!(merged(&[&a, &b, &c]), of(&all));
        prop_assert_eq!(merged(&[&c, &a, &b]), of(&all));
        let (mut left, mut right) = (of(&a), of(&b));
        left.merge(&of(&b));
        left.merge(&of(&c));
        right.merge(&of(&c));
        let mut outer = of(&a);
        outer.merge(&right);
        prop_assert_eq!(left, outer);
    }

    #[test]
    fn limits_bracket_the_truth(values in proptest::collection::vec(0..100_000_u64, 1..100), limit in 0..100_000_u64) {
        let (certain, possible) = of(&values).count_at_most(limit);
        let truth = values.iter().filter(|value| **value <= limit).count() as u64;
        prop_assert!(certain <= truth && truth <= possible);
    }
}
