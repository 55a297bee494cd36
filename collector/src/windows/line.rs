//! One line: its form, its checks, and its samples.

use super::content;
use super::once::Once;
use super::samples::{PhaseLine, Samples, ValueLine};
use crate::contract::period::instant_s;
use crate::sla::evidence::WINDOW_MAX_S;
use crate::sla::{Counts, Observed, Phases, Total, Within};
use probefleet_proto::extras::{self, COUNTERS_MAX, VALUES_MAX, ValueUnit};
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use probefleet_proto::name::{FailureClass, InvalidReason, MissedReason, Name};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

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
    #[serde(default)]
    values: Once<ValueLine>,
}

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
    counters: BTreeMap<String, u64>,
    phases: BTreeMap<String, Samples>,
    values: BTreeMap<String, Samples>,
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
        let mut phases = BTreeMap::new();
        for (name, phase) in line.phases.0 {
            let samples = Samples::read(phase.into())
                .and_then(|samples| samples.check(&name, counts).map(|()| samples))
                .map_err(|problem| format!("phase `{name}`: {problem}"))?;
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
            counters: counters(line.counters.0, counts)?,
            phases,
            values: values(line.values.0, counts)?,
        };
        let outcomes = [&line.failed.0, &line.invalid.0, &line.missed.0];
        cell.content = cell.digest(outcomes, &line.codes.0, &line.flags);
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
        codes: &BTreeMap<String, u64>,
        flags: &[String],
    ) -> [u8; 16] {
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        flags.sort_unstable();
        flags.dedup();
        let content = content::Content {
            labels: &self.labels,
            width_s: self.width_s,
            interval_s: self.interval_s,
            ok: self.counts.ok,
            outcomes,
            tallies: [codes, &self.counters],
            flags: &flags,
            phases: said(&self.phases),
            values: said(&self.values),
        };
        content.digest()
    }
}

impl Cell<'_> {
    fn samples(&self, name: &str) -> Option<&Samples> {
        match ValueUnit::of_name(name) {
            None => self.phases.get(name),
            Some(_) => self.values.get(name),
        }
    }
}

/// Samples by name, as they are hashed.
fn said(samples: &BTreeMap<String, Samples>) -> BTreeMap<&str, content::Samples<'_>> {
    samples.iter().map(|(name, samples)| (name.as_str(), samples.said())).collect()
}

impl Phases for Cell<'_> {
    fn at_most(&self, phase: &str, threshold_ns: u64) -> Option<Within> {
        self.samples(phase).map(|samples| samples.at_most(threshold_ns))
    }

    fn histogram(&self, phase: &str) -> Option<Cow<'_, Histogram>> {
        self.samples(phase).map(Samples::histogram)
    }

    fn total(&self, phase: &str) -> Option<Total> {
        self.samples(phase).map(Samples::total)
    }

    fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or_default()
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

/// Counters, which count attempts that were ok or failed.
fn counters(
    counters: BTreeMap<String, u64>,
    counts: Counts,
) -> Result<BTreeMap<String, u64>, String> {
    if counters.len() > COUNTERS_MAX {
        return Err(format!("more than {COUNTERS_MAX} counters"));
    }
    for (name, count) in &counters {
        if !extras::is_name(name) {
            return Err(format!("counter `{name}`: write a-z, then a-z, 0-9 and _, 63 at most"));
        }
        if *count > 0 && counts.ok == 0 && counts.failed == 0 {
            return Err(format!("counter `{name}`: no attempt was ok or failed"));
        }
    }
    Ok(counters)
}

/// Values, which ok attempts have.
fn values(
    lines: BTreeMap<String, ValueLine>,
    counts: Counts,
) -> Result<BTreeMap<String, Samples>, String> {
    if lines.len() > VALUES_MAX {
        return Err(format!("more than {VALUES_MAX} values"));
    }
    let mut values = BTreeMap::new();
    for (name, line) in lines {
        if !extras::is_value_name(&name) {
            return Err(format!("value `{name}`: the name ends with its unit, _ppm or _centi"));
        }
        let samples = Samples::read(line.into())
            .and_then(|samples| samples.check_value(counts.ok).map(|()| samples))
            .map_err(|problem| format!("value `{name}`: {problem}"))?;
        values.insert(name, samples);
    }
    Ok(values)
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
