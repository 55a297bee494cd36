//! Histograms: encoding, and decoding into a sum, beside the `hdrhistogram` crate's V2 on the same samples.

use crate::table::{Table, figure};
use anyhow::ensure;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use probefleet_proto::histogram::{Histogram, INDEX_MAX, bucket_bounds_ns};
use probefleet_proto::record::PAYLOAD_MAX_BYTES;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Hdr = hdrhistogram::Histogram<u64>;

/// Samples a histogram: one attempt a minute, every ten seconds, every second, ten a second.
const SAMPLES: [usize; 4] = [1, 6, 60, 600];
/// Different histograms of each size, so that no branch is learnt by heart.
const HISTOGRAMS: usize = 64;
/// What both are made for, ns: an hour, three digits.
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Longest that hostile bytes may hold up whoever decodes them, ns.
const HOSTILE_MAX_NS: f64 = 1e6;
/// Figures of a row.
const FIGURES: u32 = 4;

/// The table.
pub fn measure(window: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        "Histograms, beside HdrHistogram V2 (1 ns to 1 h, 3 digits) on the same samples",
        &[
            "encode ns",
            "hdr ns",
            "x faster",
            "decode+merge ns",
            "hdr ns ",
            "x faster ",
            "bytes",
            "hdr bytes",
        ],
    );
    let share = window / FIGURES / u32::try_from(SAMPLES.len())?;
    for samples in SAMPLES {
        let pairs = Pairs::new(samples)?;
        let [encode, hdr_encode] = pairs.encode(share)?;
        let [merge, hdr_merge] = pairs.merge(share)?;
        let size =
            |all: &[Vec<u8>]| all.iter().map(Vec::len).sum::<usize>() as f64 / all.len() as f64;
        table.row(
            &format!("n = {samples}"),
            &[
                figure(encode, 0),
                figure(hdr_encode, 0),
                figure(hdr_encode / encode, 1),
                figure(merge, 0),
                figure(hdr_merge, 0),
                figure(hdr_merge / merge, 1),
                figure(size(&pairs.encoded), 0),
                figure(size(&pairs.hdr_encoded), 0),
            ],
        );
    }
    table.note(
        "each figure is for one histogram of n samples; merging adds it to the sum of 64 of them",
    );
    Ok(vec![table, hostile(window)?])
}

/// What a decoder may be given by somebody who wants it to hang: as much as fits into a payload, of every shape that
/// costs the most. The time that each may take is a promise, so the bench fails above it.
fn hostile(window: Duration) -> anyhow::Result<Table> {
    let title = "Hostile bytes, decoded or refused; more than a millisecond fails the bench";
    let mut table = Table::new(title, &["bytes", "us", "share of 1 ms"]);
    let shapes = hostile_shapes();
    let share = window / FIGURES / u32::try_from(shapes.len())?;
    for (name, decode, bytes) in shapes {
        let ns = repeat(share, |_| {
            black_box(decode(black_box(&bytes)));
            Ok(())
        })?;
        ensure!(cfg!(debug_assertions) || ns <= HOSTILE_MAX_NS, "{name} takes {ns:.0} ns");
        table.row(
            name,
            &[figure(bytes.len() as f64, 0), figure(ns / 1e3, 1), figure(ns / HOSTILE_MAX_NS, 3)],
        );
    }
    table.note("memory: at most half a MiB, by the number of buckets that exist");
    Ok(table)
}

type Shape = (&'static str, fn(&[u8]) -> bool, Vec<u8>);

fn hostile_shapes() -> Vec<Shape> {
    let ours: fn(&[u8]) -> bool = |bytes| Histogram::decode(bytes).is_ok();
    let hdr: fn(&[u8]) -> bool = |bytes| Histogram::from_hdr_v2(bytes).is_ok();
    let mut every_bucket = Histogram::new();
    (0..=INDEX_MAX).for_each(|index| {
        let ns = bucket_bounds_ns(index).0;
        let clamped = (0..2).filter(|_| every_bucket.record(ns)).count();
        assert_eq!(clamped, 0, "a bucket holds its own lower bound");
    });
    let (mut encoded, payload) = (Vec::new(), PAYLOAD_MAX_BYTES);
    every_bucket.encode(&mut encoded);
    let hdr_v2 = |piece: &[u8]| {
        let length = (payload - 40) / piece.len() * piece.len();
        let mut bytes = vec![0; 40];
        bytes[..4].copy_from_slice(&0x1c84_9313_u32.to_be_bytes());
        bytes[4..8].copy_from_slice(&u32::try_from(length).unwrap_or(0).to_be_bytes());
        bytes[12..16].copy_from_slice(&3_u32.to_be_bytes());
        bytes[16..24].copy_from_slice(&1_u64.to_be_bytes());
        bytes[24..32].copy_from_slice(&HIGHEST_NS.to_be_bytes());
        bytes[32..40].copy_from_slice(&1_f64.to_be_bytes());
        bytes.extend(piece.iter().copied().cycle().take(length));
        bytes
    };
    vec![
        ("every bucket", ours, encoded),
        ("a payload of ones", ours, vec![1; payload]),
        ("a payload of 0xff", ours, vec![0xff; payload]),
        ("HDR V2: a count each", hdr, hdr_v2(&[2])),
        ("HDR V2: only empty", hdr, hdr_v2(&[0])),
        ("HDR V2: long gaps", hdr, hdr_v2(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
    ]
}

/// The same samples in both.
struct Pairs {
    ours: Vec<Histogram>,
    hdr: Vec<Hdr>,
    encoded: Vec<Vec<u8>>,
    hdr_encoded: Vec<Vec<u8>>,
}

impl Pairs {
    fn new(samples: usize) -> anyhow::Result<Self> {
        let mut state = samples as u64;
        let mut pairs = Self { ours: vec![], hdr: vec![], encoded: vec![], hdr_encoded: vec![] };
        for _ in 0..HISTOGRAMS {
            let (mut ours, mut hdr) = (Histogram::new(), Hdr::new_with_bounds(1, HIGHEST_NS, 3)?);
            for _ in 0..samples {
                let ns = latency_ns(&mut state);
                ours.record(ns);
                hdr.record(ns)?;
            }
            let (mut encoded, mut hdr_encoded) = (Vec::new(), Vec::new());
            ours.encode(&mut encoded);
            V2Serializer::new().serialize(&hdr, &mut hdr_encoded)?;
            ensure!(Histogram::from_hdr_v2(&hdr_encoded)? == ours, "both hold the same samples");
            pairs.ours.push(ours);
            pairs.hdr.push(hdr);
            pairs.encoded.push(encoded);
            pairs.hdr_encoded.push(hdr_encoded);
        }
        Ok(pairs)
    }

    /// ns to encode one: ours and HdrHistogram's.
    fn encode(&self, share: Duration) -> anyhow::Result<[f64; 2]> {
        let (mut out, mut hdr_out) = (Vec::new(), Vec::new());
        let mut serializer = V2Serializer::new();
        let ours = repeat(share, |index| {
            out.clear();
            black_box(&self.ours[index]).encode(&mut out);
            Ok(())
        })?;
        let hdr = repeat(share, |index| {
            hdr_out.clear();
            serializer.serialize(black_box(&self.hdr[index]), &mut hdr_out)?;
            Ok(())
        })?;
        ensure!(self.encoded.contains(&out) && self.hdr_encoded.contains(&hdr_out));
        Ok([ours, hdr])
    }

    /// ns to decode one and add it to a sum: ours and HdrHistogram's.
    fn merge(&self, share: Duration) -> anyhow::Result<[f64; 2]> {
        // A round adds all, so both sums hold whole rounds of the same samples.
        let mut sum = Histogram::new();
        let mut rounds = 0_u64;
        let ours = repeat(share, |index| {
            if index == 0 {
                (sum, rounds) = (Histogram::new(), rounds + 1);
            }
            sum.merge(&Histogram::decode(black_box(&self.encoded[index]))?);
            Ok(())
        })?;
        let mut hdr_sum = Hdr::new_with_bounds(1, HIGHEST_NS, 3)?;
        let mut deserializer = Deserializer::new();
        let hdr = repeat(share, |index| {
            if index == 0 {
                hdr_sum.reset();
            }
            let one: Hdr = deserializer
                .deserialize(&mut black_box(self.hdr_encoded[index].as_slice()))
                .map_err(|error| anyhow::anyhow!("{error:?}"))?;
            hdr_sum.add(one)?;
            Ok(())
        })?;
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&hdr_sum, &mut bytes)?;
        ensure!(rounds > 0 && Histogram::from_hdr_v2(&bytes)? == sum, "both sums are the same");
        Ok([ours, hdr])
    }
}

/// Mean ns of a step, in whole rounds over all histograms.
fn repeat(
    share: Duration,
    mut step: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let (began, mut rounds) = (Instant::now(), 0_u32);
    while rounds == 0 || began.elapsed() < share {
        (0..HISTOGRAMS).try_for_each(&mut step)?;
        rounds += 1;
    }
    Ok(began.elapsed().as_nanos() as f64 / f64::from(rounds) / HISTOGRAMS as f64)
}

/// A latency as services have them: 20 ms and an exponential tail of 5 ms; the same in every run (splitmix64).
pub fn latency_ns(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let uniform = ((z >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    20_000_000 + (-uniform.ln() * 5e6) as u64
}
