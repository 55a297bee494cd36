//! Percentiles and means, computed from the raw samples by their definitions alone.

use super::*;
use proptest::prelude::*;

/// Durations that are often equal, often beside a threshold, and often in the same bucket.
fn durations() -> impl Strategy<Value = Vec<u64>> {
    let near = (0_u64..3).prop_map(|by| 2 * S - 1 + by);
    let same_bucket = (0_u64..2_000_000).prop_map(|by| 1_999_000_000 + by);
    prop::collection::vec(prop_oneof![1_u64..5, near, same_bucket, 1_u64..10 * S], 0..12)
}

fn attempts() -> impl Strategy<Value = Vec<Attempted>> {
    let cell = (0_u8..3, durations(), 0_u32..3, 0_u32..2);
    prop::collection::vec(cell, 0..8).prop_map(|cells| {
        let numbered = cells.into_iter().zip(0_i64..);
        let attempted = numbered.map(|((agent, ns, failed, without), minute)| Attempted {
            agent: format!("agent-{agent}"),
            minute,
            ns,
            failed,
            without,
            uncounted: false,
        });
        attempted.collect()
    })
}

/// The percentile as RFC 2330 says it: the smallest x of which the share of values ≤ x is at least q; what has no
/// duration is infinite. In tenths of a percent, so that it is whole numbers.
fn by_definition(sorted: &[Option<u64>], tenths: u64) -> Option<u64> {
    let all = sorted.len() as u64;
    let share_is_enough = |x: &Option<u64>| {
        let at_most = sorted.iter().filter(|y| y.is_some() && (x.is_none() || *y <= x)).count();
        x.is_none() || at_most as u64 * 1_000 >= tenths * all
    };
    sorted.iter().find(|x| share_is_enough(x)).copied().flatten()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn verdicts_are_those_of_the_raw_samples(
        cells in attempts(), tenths in 1_u64..=1_000, strict in any::<bool>(), exclude in any::<bool>(),
        limit in prop_oneof![Just(2 * S), Just(2 * S - 1), Just(3), 1_u64..10 * S],
    ) {
        let (operator, failures) =
            (if strict { "<" } else { "<=" }, if exclude { "exclude" } else { "as_worst" });
        let q = format!("{}.{}%", tenths / 10, tenths % 10);
        let keys = format!(
            r#"measure: {{percentile: {q}, phase: total}}, target: "{operator} {limit}ns", failures: {failures}"#
        );
        let verdict = day(&keys, &cells);

        let mut raw: Vec<Option<u64>> = Vec::new();
        for cell in &cells {
            raw.extend(cell.ns.iter().map(|ns| Some(*ns)));
            let infinite = cell.without + if exclude { 0 } else { cell.failed };
            raw.extend((0..infinite).map(|_| None));
        }
        raw.sort_by_key(|ns| ns.unwrap_or(u64::MAX));
        if raw.is_empty() {
            prop_assert_eq!(verdict.status, Status::Inconclusive);
            return Ok(());
        }
        let expected = by_definition(&raw, tenths);
        let kept = expected.is_some_and(|ns| if strict { ns < limit } else { ns <= limit });
        let status = if kept { Status::Met } else { Status::Breached };
        prop_assert_eq!(verdict.status, status, "{} of {:?}", keys, raw);
        let Some(Measured::Percentile(it)) = verdict.value else { panic!("{verdict:?}") };
        prop_assert_eq!(it.all, raw.len() as u64);
        // What is shown is the upper end of the bucket of that very sample, at most 1/1024 above it.
        prop_assert_eq!(it.value.is_none(), expected.is_none());
        if let Some((shown, sample)) = it.value.zip(expected) {
            prop_assert!(shown >= sample && shown - sample <= sample / 1_024 + 1, "{} {}", shown, sample);
        }
    }

    /// Without counters a verdict is the same or open, never another.
    #[test]
    fn histograms_alone_never_contradict(cells in attempts(), tenths in 1_u64..=1_000) {
        let q = format!("{}.{}%", tenths / 10, tenths % 10);
        let uncounted: Vec<Attempted> =
            cells.iter().map(|cell| Attempted { uncounted: true, ..cell.clone() }).collect();
        let (exactly, roughly) =
            (day(&percentile(&q, "<= 2s"), &cells), day(&percentile(&q, "<= 2s"), &uncounted));
        prop_assert!(roughly.status == exactly.status || roughly.reason == Some(Reason::Resolution));
    }

    #[test]
    fn means_are_those_of_the_raw_samples(cells in attempts(), limit in 0_u64..3 * S) {
        let verdict = day(&mean(&format!("<= {limit}ns")), &cells);
        let raw: Vec<u128> = cells.iter().flat_map(|cell| &cell.ns).map(|ns| u128::from(*ns)).collect();
        let (sum, number) = (raw.iter().sum::<u128>(), raw.len() as u128);
        let status = match number {
            0 => Status::Inconclusive,
            _ if sum <= u128::from(limit) * number => Status::Met,
            _ => Status::Breached,
        };
        prop_assert_eq!(verdict.status, status);
        let expected = verdict.value.as_ref().map(|_| format!("{sum}/{number}"));
        prop_assert_eq!(expected.unwrap_or("none".to_owned()), exact(&verdict));
    }
}
