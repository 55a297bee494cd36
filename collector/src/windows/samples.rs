//! Samples of a line: of a phase in ns, of a value in its own unit.

use super::content;
use super::once::Once;
use crate::sla::{Counts, Total, Within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use probefleet_proto::histogram::{Histogram, INDEX_MAX, bucket_bounds_ns};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A phase as it is written: every sample, or a histogram.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhaseLine {
    ns: Option<Vec<u64>>,
    histogram: Option<String>,
    sum_ns: Option<u128>,
    #[serde(default)]
    at_most_ns: Once<u64>,
}

/// A value as it is written: the same, in its own unit.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ValueLine {
    n: Option<Vec<u64>>,
    histogram: Option<String>,
    sum: Option<u128>,
    #[serde(default)]
    at_most: Once<u64>,
}

/// What was written, and under which keys.
pub(super) struct Written {
    each: Option<Vec<u64>>,
    histogram: Option<String>,
    sum: Option<u128>,
    at_most: BTreeMap<String, u64>,
    keys: &'static Keys,
}

/// The keys of samples, for messages.
struct Keys {
    each: &'static str,
    sum: &'static str,
    at_most: &'static str,
    unit: &'static str,
}

impl From<PhaseLine> for Written {
    fn from(line: PhaseLine) -> Self {
        const KEYS: Keys =
            Keys { each: "ns", sum: "sum_ns", at_most: "at_most_ns", unit: "nanoseconds" };
        Self {
            each: line.ns,
            histogram: line.histogram,
            sum: line.sum_ns,
            at_most: line.at_most_ns.0,
            keys: &KEYS,
        }
    }
}

impl From<ValueLine> for Written {
    fn from(line: ValueLine) -> Self {
        const KEYS: Keys = Keys { each: "n", sum: "sum", at_most: "at_most", unit: "numbers" };
        Self {
            each: line.n,
            histogram: line.histogram,
            sum: line.sum,
            at_most: line.at_most.0,
            keys: &KEYS,
        }
    }
}

/// The samples of a phase or value.
pub(super) enum Samples {
    /// Every one, sorted.
    Each(Vec<u64>),
    /// A histogram, and exact counts of samples at most a threshold.
    Counted { histogram: Histogram, sum: u128, at_most: BTreeMap<u64, u32> },
}

impl Samples {
    pub(super) fn read(written: Written) -> Result<Self, String> {
        let Written { each, histogram, sum, at_most, keys } = written;
        match (each, histogram) {
            (Some(mut each), None) if sum.is_none() && at_most.is_empty() => {
                each.sort_unstable();
                Ok(Self::Each(each))
            }
            (None, Some(encoded)) => {
                let bytes =
                    STANDARD.decode(encoded).map_err(|error| format!("histogram: {error}"))?;
                let histogram = Histogram::from_hdr_v2(&bytes)
                    .map_err(|error| format!("histogram: {error}"))?;
                let missing = || format!("{} is missing beside the histogram", keys.sum);
                let sum = sum.ok_or_else(missing)?;
                check_sum(sum, &histogram, keys)?;
                let at_most = thresholds(&at_most, &histogram, keys)?;
                Ok(Self::Counted { histogram, sum, at_most })
            }
            _ => {
                let Keys { each, sum, at_most, .. } = keys;
                Err(format!("write either {each}, or histogram with {sum} and {at_most}"))
            }
        }
    }

    /// A value has at most one sample an ok attempt.
    pub(super) fn check_value(&self, ok: u32) -> Result<(), String> {
        let count = self.total().samples;
        if count > u64::from(ok) {
            return Err(format!("{count} samples of {ok} attempts"));
        }
        Ok(())
    }

    /// A phase has at most one sample an attempt of its outcome.
    pub(super) fn check(&self, phase: &str, counts: Counts) -> Result<(), String> {
        let most = match phase {
            "start_lag" => {
                u64::from(counts.ok) + u64::from(counts.failed) + u64::from(counts.invalid)
            }
            phase if phase.ends_with("_failed") => {
                // A call that was set up is ok, even where its end failed.
                u64::from(counts.ok) + u64::from(counts.failed)
            }
            _ => u64::from(counts.ok),
        };
        let count = self.total().samples;
        if count > most {
            return Err(format!("{count} samples of {most} attempts"));
        }
        Ok(())
    }

    pub(super) fn at_most(&self, threshold: u64) -> Within {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match self {
            Self::Each(each) => {
                Within::exactly(count(each.partition_point(|sample| *sample <= threshold) as u64))
            }
            Self::Counted { histogram, at_most, .. } => match at_most.get(&threshold) {
                Some(exactly) => Within::exactly(*exactly),
                None => {
                    let (certain, possible) = histogram.count_at_most(threshold);
                    Within { certain: count(certain), possible: count(possible) }
                }
            },
        }
    }

    pub(super) fn histogram(&self) -> Cow<'_, Histogram> {
        match self {
            Self::Each(each) => {
                let mut histogram = Histogram::new();
                for sample in each {
                    histogram.record(*sample);
                }
                Cow::Owned(histogram)
            }
            Self::Counted { histogram, .. } => Cow::Borrowed(histogram),
        }
    }

    pub(super) fn total(&self) -> Total {
        match self {
            Self::Each(each) => Total {
                samples: each.len() as u64,
                sum_ns: each.iter().copied().map(u128::from).sum(),
            },
            Self::Counted { histogram, sum, .. } => {
                Total { samples: histogram.count(), sum_ns: *sum }
            }
        }
    }

    pub(super) fn said(&self) -> content::Samples<'_> {
        match self {
            Self::Each(each) => content::Samples::Each(each),
            Self::Counted { histogram, sum, at_most } => {
                let at_most = at_most.iter().map(|(limit, count)| (*limit, *count));
                content::Samples::Counted(histogram, *sum, at_most.collect())
            }
        }
    }
}

/// A mean is made of the sum, which must be possible by the histogram beside it.
fn check_sum(sum: u128, histogram: &Histogram, keys: &Keys) -> Result<(), String> {
    let (mut least, mut most) = (0_u128, Some(0_u128));
    for (index, count) in histogram.buckets() {
        let (lowest, highest) = bucket_bounds_ns(*index);
        least += u128::from(lowest) * u128::from(*count);
        // The last bucket also holds everything larger.
        let highest = Some(u128::from(highest) * u128::from(*count)).filter(|_| *index < INDEX_MAX);
        most = most.zip(highest).map(|(most, highest)| most + highest);
    }
    if sum < least || most.is_some_and(|most| sum > most) {
        return Err(format!("{} {sum} is no sum that the histogram can have", keys.sum));
    }
    Ok(())
}

/// Exact counts, which must be possible by the histogram beside them.
fn thresholds(
    written: &BTreeMap<String, u64>,
    histogram: &Histogram,
    keys: &Keys,
) -> Result<BTreeMap<u64, u32>, String> {
    let (mut counts, key) = (BTreeMap::new(), keys.at_most);
    for (threshold, count) in written {
        let canonical = threshold.bytes().all(|byte| byte.is_ascii_digit());
        let limit: u64 = threshold
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or_else(|| format!("{key} `{threshold}`: write whole {}", keys.unit))?;
        let (certain, possible) = histogram.count_at_most(limit);
        if !(certain..=possible).contains(count) {
            return Err(format!(
                "{key} {threshold} counts {count}, but the histogram has {certain} to {possible}"
            ));
        }
        let count = u32::try_from(*count).map_err(|_| "too many samples".to_owned())?;
        if counts.insert(limit, count).is_some() {
            return Err(format!("{key} {threshold} stands twice"));
        }
    }
    Ok(counts)
}
