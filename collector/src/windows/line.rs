//! One line: its form, its checks, and its samples.

use super::content;
use crate::contract::period::instant_s;
use crate::sla::evidence::WINDOW_MAX_S;
use crate::sla::{Counts, Observed, Phases, Total, Within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use probefleet_proto::histogram::{Histogram, INDEX_MAX, bucket_bounds_ns};
use probefleet_proto::label::Labels;
use probefleet_proto::name::{FailureClass, InvalidReason, MissedReason, Name};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

/// Most names of wire codes in a cell; a seventeenth is `other`.
const CODES_MAX: usize = 17;
/// Most phases of a cell: an HTTP journey of a hundred steps has fewer.
const PHASES_MAX: usize = 128;

/// A line as it is written.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    agent: Cow<'a, str>,
    #[serde(default)]
    labels: Once<String>,
    #[serde(borrow)]
    probe: Cow<'a, str>,
    #[serde(borrow, default)]
    spec: Cow<'a, str>,
    #[serde(borrow)]
    start: Cow<'a, str>,
    width_s: u32,
    interval_s: u32,
    scheduled: Option<u32>,
    ok: u32,
    #[serde(default)]
    failed: Once<u32>,
    #[serde(default)]
    invalid: Once<u32>,
    #[serde(default)]
    missed: Once<u32>,
    #[serde(default)]
    codes: Once<u64>,
    #[serde(default)]
    counters: Once<u64>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    phases: Once<PhaseLine>,
}

/// A phase as it is written: every sample, or a histogram.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseLine {
    ns: Option<Vec<u64>>,
    histogram: Option<String>,
    sum_ns: Option<u128>,
    #[serde(default)]
    at_most_ns: Once<u64>,
}

/// A mapping in which no key stands twice.
struct Once<T>(BTreeMap<String, T>);

/// A line that is a cell.
pub(super) struct Cell<'a> {
    agent: Cow<'a, str>,
    labels: Labels,
    probe: Cow<'a, str>,
    spec: [u8; 16],
    start_s: i64,
    width_s: u32,
    interval_s: u32,
    counts: Counts,
    flagged: bool,
    content: [u8; 16],
    phases: BTreeMap<String, Samples>,
}

/// The samples of a phase.
enum Samples {
    /// Every one, sorted.
    Each(Vec<u64>),
    /// A histogram, and exact counts of samples at most a threshold.
    Counted { histogram: Histogram, sum_ns: u128, at_most_ns: BTreeMap<u64, u32> },
}

// === impl Cell ===

impl<'a> Cell<'a> {
    /// Reads and checks a line.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let line: Line<'a> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        for name in [&line.agent, &line.probe] {
            Name::new(name).map_err(|error| format!("`{name}`: {error}"))?;
        }
        let start_s = start(&line)?;
        let counts = counts(&line)?;
        let flagged = flagged(&line.flags)?;
        if line.codes.0.len() > CODES_MAX || line.phases.0.len() > PHASES_MAX {
            return Err(format!("more than {CODES_MAX} codes or {PHASES_MAX} phases"));
        }
        let (codes, counters) = (line.codes.0, line.counters.0);
        let mut phases = BTreeMap::new();
        for (name, phase) in line.phases.0 {
            let samples =
                Samples::read(phase).map_err(|problem| format!("phase `{name}`: {problem}"))?;
            samples.check(&name, counts).map_err(|problem| format!("phase `{name}`: {problem}"))?;
            phases.insert(name, samples);
        }
        let mut cell = Self {
            agent: line.agent,
            labels: line.labels.0,
            probe: line.probe,
            spec: spec(&line.spec),
            start_s,
            width_s: line.width_s,
            interval_s: line.interval_s,
            counts,
            flagged,
            content: [0; 16],
            phases,
        };
        let outcomes = [&line.failed.0, &line.invalid.0, &line.missed.0];
        cell.content = cell.digest(outcomes, [&codes, &counters], &line.flags);
        Ok(cell)
    }

    /// The cell as evidence.
    pub(super) fn observed(&self) -> Observed<'_> {
        Observed {
            agent: &self.agent,
            labels: &self.labels,
            probe: &self.probe,
            spec: self.spec,
            start_s: self.start_s,
            width_s: self.width_s,
            interval_s: self.interval_s,
            counts: self.counts,
            flagged: self.flagged,
            content: self.content,
            phases: self,
        }
    }

    /// A digest of everything beside agent, probe, spec and start, in one order whatever the order of the line.
    fn digest(
        &self,
        outcomes: [&BTreeMap<String, u32>; 3],
        tallies: [&BTreeMap<String, u64>; 2],
        flags: &[String],
    ) -> [u8; 16] {
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.sort_unstable();
        flags.dedup();
        let phases = self.phases.iter().map(|(name, samples)| (name.as_str(), samples.said()));
        let content = content::Content {
            labels: &self.labels,
            width_s: self.width_s,
            interval_s: self.interval_s,
            ok: self.counts.ok,
            outcomes,
            tallies,
            flags: &flags,
            phases: phases.collect(),
        };
        content.digest()
    }
}

impl Phases for Cell<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        self.phases.get(phase).map(|samples| samples.at_most(threshold_ns))
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        self.phases.get(phase).map(Samples::histogram)
    }

    fn total(&self, phase: &str) -> Option<Total> {
        self.phases.get(phase).map(Samples::total)
    }
}

fn start(line: &Line<'_>) -> Result<i64, String> {
    let start_s = instant_s(&line.start).ok_or_else(|| {
        format!("start `{}`: write RFC 3339 with whole seconds and offset", line.start)
    })?;
    let lengths = [line.width_s, line.interval_s];
    if !lengths.iter().all(|length_s| (1..=WINDOW_MAX_S).contains(length_s)) {
        return Err(format!("width_s and interval_s are 1 to {WINDOW_MAX_S}"));
    }
    if start_s.rem_euclid(i64::from(line.width_s)) != 0 {
        return Err(format!("start `{}` is no multiple of width_s {}", line.start, line.width_s));
    }
    Ok(start_s)
}

/// The outcomes, whose sum must be what was scheduled.
fn counts(line: &Line<'_>) -> Result<Counts, String> {
    let failed = sum("failed", &line.failed.0, |name| FailureClass::parse(name).is_some())?;
    let invalid = sum("invalid", &line.invalid.0, |name| InvalidReason::parse(name).is_some())?;
    let missed = sum("missed", &line.missed.0, |name| MissedReason::parse(name).is_some())?;
    let all = [line.ok, failed, invalid, missed];
    let total = all
        .iter()
        .try_fold(0_u32, |sum, count| sum.checked_add(*count))
        .ok_or("too many attempts")?;
    if let Some(scheduled) = line.scheduled.filter(|scheduled| *scheduled != total) {
        return Err(format!(
            "scheduled is {scheduled}, but ok + failed + invalid + missed is {total}"
        ));
    }
    Ok(Counts { ok: line.ok, failed, invalid, missed })
}

fn sum(
    what: &str,
    counts: &BTreeMap<String, u32>,
    known: impl Fn(&str) -> bool,
) -> Result<u32, String> {
    if let Some(name) = counts.keys().find(|name| !known(name)) {
        return Err(format!("`{name}` is no name for {what} attempts"));
    }
    let sum = counts.values().try_fold(0_u32, |sum, count| sum.checked_add(*count));
    sum.ok_or_else(|| format!("too many {what} attempts"))
}

fn flagged(flags: &[String]) -> Result<bool, String> {
    match flags.iter().find(|flag| !matches!(flag.as_str(), "agent_suspect" | "clock")) {
        Some(flag) => Err(format!("`{flag}` is no flag; there are agent_suspect and clock")),
        None => Ok(!flags.is_empty()),
    }
}

/// 32 hexadecimal digits are the bytes; any other text stands for itself.
fn spec(text: &str) -> [u8; 16] {
    if text.is_empty() {
        return [0; 16];
    }
    let hexadecimal = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if hexadecimal => number.to_be_bytes(),
        _ => {
            let digest: [u8; 32] = Sha256::digest(text).into();
            std::array::from_fn(|index| digest[index])
        }
    }
}

// === impl Samples ===

impl Samples {
    fn read(phase: PhaseLine) -> Result<Self, String> {
        match (phase.ns, phase.histogram) {
            (Some(mut ns), None) if phase.sum_ns.is_none() && phase.at_most_ns.0.is_empty() => {
                ns.sort_unstable();
                Ok(Self::Each(ns))
            }
            (None, Some(encoded)) => {
                let bytes =
                    STANDARD.decode(encoded).map_err(|error| format!("histogram: {error}"))?;
                let histogram = Histogram::from_hdr_v2(&bytes)
                    .map_err(|error| format!("histogram: {error}"))?;
                let sum_ns = phase.sum_ns.ok_or("sum_ns is missing beside the histogram")?;
                check_sum(sum_ns, &histogram)?;
                let at_most_ns = thresholds(&phase.at_most_ns.0, &histogram)?;
                Ok(Self::Counted { histogram, sum_ns, at_most_ns })
            }
            _ => Err("write either ns, or histogram with sum_ns and at_most_ns".to_owned()),
        }
    }

    /// A phase has at most one sample an attempt of its outcome.
    fn check(&self, phase: &str, counts: Counts) -> Result<(), String> {
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

    fn at_most(&self, threshold_ns: u64) -> Within {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match self {
            Self::Each(ns) => {
                Within::exactly(count(ns.partition_point(|sample| *sample <= threshold_ns) as u64))
            }
            Self::Counted { histogram, at_most_ns, .. } => match at_most_ns.get(&threshold_ns) {
                Some(exactly) => Within::exactly(*exactly),
                None => {
                    let (certain, possible) = histogram.count_at_most(threshold_ns);
                    Within { certain: count(certain), possible: count(possible) }
                }
            },
        }
    }

    fn histogram(&self) -> Cow<'_, Histogram> {
        match self {
            Self::Each(ns) => {
                let mut histogram = Histogram::new();
                for sample in ns {
                    histogram.record(*sample);
                }
                Cow::Owned(histogram)
            }
            Self::Counted { histogram, .. } => Cow::Borrowed(histogram),
        }
    }

    fn total(&self) -> Total {
        match self {
            Self::Each(ns) => {
                Total { samples: ns.len() as u64, sum_ns: ns.iter().copied().map(u128::from).sum() }
            }
            Self::Counted { histogram, sum_ns, .. } => {
                Total { samples: histogram.count(), sum_ns: *sum_ns }
            }
        }
    }

    fn said(&self) -> content::Samples<'_> {
        match self {
            Self::Each(ns) => content::Samples::Each(ns),
            Self::Counted { histogram, sum_ns, at_most_ns } => {
                let at_most = at_most_ns.iter().map(|(limit_ns, count)| (*limit_ns, *count));
                content::Samples::Counted(histogram, *sum_ns, at_most.collect())
            }
        }
    }
}

/// A mean is made of the sum, which must be possible by the histogram beside it.
fn check_sum(sum_ns: u128, histogram: &Histogram) -> Result<(), String> {
    let (mut least, mut most) = (0_u128, Some(0_u128));
    for (index, count) in histogram.buckets() {
        let (lowest, highest) = bucket_bounds_ns(*index);
        least += u128::from(lowest) * u128::from(*count);
        // The last bucket also holds everything larger.
        let highest = Some(u128::from(highest) * u128::from(*count)).filter(|_| *index < INDEX_MAX);
        most = most.zip(highest).map(|(most, highest)| most + highest);
    }
    if sum_ns < least || most.is_some_and(|most| sum_ns > most) {
        return Err(format!("sum_ns {sum_ns} is no sum that the histogram can have"));
    }
    Ok(())
}

/// Exact counts, which must be possible by the histogram beside them.
fn thresholds(
    written: &BTreeMap<String, u64>,
    histogram: &Histogram,
) -> Result<BTreeMap<u64, u32>, String> {
    let mut counts = BTreeMap::new();
    for (threshold, count) in written {
        let canonical = threshold.bytes().all(|byte| byte.is_ascii_digit());
        let threshold_ns: u64 = threshold
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or_else(|| format!("at_most_ns `{threshold}`: write whole nanoseconds"))?;
        let (certain, possible) = histogram.count_at_most(threshold_ns);
        if !(certain..=possible).contains(count) {
            return Err(format!(
                "at_most_ns {threshold} counts {count}, but the histogram has {certain} to {possible}"
            ));
        }
        let count = u32::try_from(*count).map_err(|_| "too many samples".to_owned())?;
        if counts.insert(threshold_ns, count).is_some() {
            return Err(format!("at_most_ns {threshold} stands twice"));
        }
    }
    Ok(counts)
}

// === impl Once ===

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Once<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnceVisitor(PhantomData))
    }
}

struct OnceVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OnceVisitor<T> {
    type Value = Once<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, T>()? {
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) => {
                    return Err(A::Error::custom(format!("`{}` stands twice", place.key())));
                }
            }
        }
        Ok(Once(map))
    }
}
