//! The evidence of one agreement: the cells its objectives can use, compact, sorted, duplicates settled.
//!
//! Built cell by cell in any order, from a file or from the store, and judged as often as wanted without being consumed.
//! Per distinct cell it keeps [`Cell`], eight bytes for each threshold of its probe, and, for each phase or value of which a
//! percentile or a mean is promised, its occupied buckets (twelve bytes for a single sample) or its exact sum (some twenty
//! bytes); for each ratio, ten bytes. Beside that it keeps what stretches of cells come to, of samples a byte or two a cell
//! and never more than the cells have: made when the next eight hours begin, so that the first verdict is as quick as the
//! others, and of what digests say of hours ([`Merged`]), where they say it. A cell that comes again with equal content
//! changes nothing; with different content it becomes a conflict, whichever came first.
//!
//! In reading order: `observed` (what is told), `wanted` (what of it an agreement asks), `series` (the cells of one probe of
//! one agent, in `block`s of eight hours), `samples` (what is kept of samples, as bytes) and `column` (those bytes of many
//! cells); `interned` has the numbers that stand for names.

mod block;
mod column;
mod interned;
mod observed;
mod samples;
mod series;
mod wanted;

pub(super) use block::{Reach, Stretch};
pub use observed::{Counts, Merged, Observed, Phases};
pub(super) use samples::{Keep, Pool};
pub use samples::{Total, merged_buckets, pass_buckets};
pub(super) use series::Series;
pub use series::{Added, Cell, Within};
pub use wanted::Asked;
pub(super) use wanted::Places;

use crate::contract::Agreement;
use crate::contract::model::Objective;
use crate::contract::period::Span;
use interned::Interned;
use probefleet_proto::label::{Labels, Selector};
use series::Kept;
use std::collections::{BTreeMap, HashMap};
use wanted::{Wanted, column_of};

/// Most cells that are held: a year of 60 s windows of nearly two hundred agents; beyond it, judge shorter periods.
pub const CELLS_MAX: usize = 100_000_000;
/// Most bytes of samples that are held: as much again as [`CELLS_MAX`] cells take.
pub const SAMPLES_MAX_BYTES: u64 = 6 << 30;
/// Most different label sets: each agent has one, and a new one whenever it is moved.
pub const LABEL_SETS_MAX: usize = 1_000_000;
/// Most series (agent, probe, spec).
pub const SERIES_MAX: usize = 1_000_000;

/// Widest window and longest interval, in s: a day. It also bounds for how many windows an outcome can be held.
pub const WINDOW_MAX_S: u32 = 86_400;
/// Latest start of a window, in s from 1970: the year 10000, where the calendar ends.
const START_MAX_S: u64 = 253_402_300_800;

/// The label that every agent has: its name.
pub const AGENT_LABEL: &str = "agent";

/// There is no room for more evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// More than [`CELLS_MAX`], [`SAMPLES_MAX_BYTES`], [`SERIES_MAX`] or [`LABEL_SETS_MAX`].
    #[error("too much evidence at once; judge fewer agents or a shorter stretch")]
    Full,
    /// A window that no fleet can have measured.
    #[error(
        "a window has a width and an interval of 1 s to a day, and begins before the year 10000"
    )]
    Window,
}

/// The labels of an agent, its name included.
pub(super) type LabelSet = Labels;

/// The evidence of one agreement.
#[derive(Clone, Debug)]
pub struct Windows {
    probes: Vec<Wanted>,
    probe_index: HashMap<String, u32>,
    agents: Interned<String>,
    label_sets: Interned<LabelSet>,
    series_index: HashMap<(u32, u32, [u8; 16]), usize>,
    series: Vec<Series>,
    cells: usize,
    sample_bytes: u64,
}

// === impl Windows ===

impl Windows {
    /// No evidence yet, for the probes and thresholds of an agreement.
    #[must_use]
    pub fn for_agreement(agreement: &Agreement) -> Self {
        let mut wanted: BTreeMap<&str, Wanted> = BTreeMap::new();
        for objective in agreement.objectives() {
            for probe in &objective.probes {
                let of_probe = wanted.entry(probe.as_str()).or_default();
                of_probe.name = probe.to_string();
                of_probe.columns.extend(column_of(objective));
            }
        }
        let thresholds = agreement.thresholds();
        for threshold in &thresholds {
            if let Some(of_probe) = wanted.get_mut(threshold.probe.as_str()) {
                of_probe.thresholds.push((threshold.phase.clone(), threshold.at_most));
            }
        }
        let mut probes: Vec<Wanted> = wanted.into_values().collect();
        for probe in &mut probes {
            probe.columns.sort();
            probe.columns.dedup();
        }
        let probe_index =
            (0..).zip(&probes).map(|(index, probe)| (probe.name.clone(), index)).collect();
        Self {
            probes,
            probe_index,
            agents: Interned::new(),
            label_sets: Interned::new(),
            series_index: HashMap::new(),
            series: Vec::new(),
            cells: 0,
            sample_bytes: 0,
        }
    }

    /// Adds a cell, or settles it as a duplicate.
    ///
    /// # Errors
    /// [`EvidenceError`] when there is no room or no fleet can have such a window; no cell is changed then.
    pub fn add(&mut self, observed: &Observed<'_>) -> Result<Added, EvidenceError> {
        let Some(&probe) = self.probe_index.get(observed.probe) else { return Ok(Added::NotAsked) };
        let lengths = [observed.width_s, observed.interval_s];
        let in_bounds = lengths.iter().all(|length_s| (1..=WINDOW_MAX_S).contains(length_s));
        if !in_bounds || observed.start_s.unsigned_abs() > START_MAX_S {
            return Err(EvidenceError::Window);
        }
        if self.cells >= CELLS_MAX || self.sample_bytes >= SAMPLES_MAX_BYTES {
            return Err(EvidenceError::Full);
        }
        let series = self.series_of(observed, probe)?;
        let labels = self.label_set(observed, series)?;
        let Some(wanted) = usize::try_from(probe).ok().and_then(|index| self.probes.get(index))
        else {
            return Ok(Added::NotAsked);
        };
        let (within, samples) = (wanted.within(observed), wanted.samples(observed));
        let Some(series) = self.series.get_mut(series) else { return Err(EvidenceError::Full) };
        let kept = Kept { within: &within, samples: &samples, columns: &wanted.columns };
        let added = series.add(Cell::new(observed, labels), kept);
        if added == Added::New {
            self.cells += 1;
            self.sample_bytes += samples.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        }
        Ok(added)
    }

    /// Takes over what cells come to together, right after they were added.
    pub fn take_over(&mut self, merged: &Merged<'_>) {
        let place = |probe: u32| {
            let agent = self.agent_number(merged.agent)?;
            self.series_index.get(&(agent, probe, merged.spec)).copied()
        };
        let Some(&probe) = self.probe_index.get(merged.probe) else { return };
        let wanted = usize::try_from(probe).ok().and_then(|index| self.probes.get(index));
        let Some((series, wanted)) = place(probe).zip(wanted) else { return };
        if wanted.columns.is_empty() {
            return;
        }
        let samples = wanted.merged(merged.samples);
        if let Some(series) = self.series.get_mut(series) {
            series.take_over(merged, samples);
        }
    }

    /// Lets go of the cells whose windows begin before an instant, for a service that keeps evidence for long.
    pub fn forget_before(&mut self, instant_s: i64) {
        for series in &mut self.series {
            series.forget_before(instant_s);
        }
        self.cells = self.series.iter().map(Series::len).sum();
        self.sample_bytes = self.series.iter().map(|series| series.sample_bytes() as u64).sum();
    }

    /// A copy of what was measured in the windows that begin in a stretch: just as if nothing else had come.
    ///
    /// # Errors
    /// [`EvidenceError`] when there is no room; there is for a part of what is held.
    pub fn within(&self, stretch: Span) -> Result<Self, EvidenceError> {
        let mut part = Self {
            probes: self.probes.clone(),
            probe_index: self.probe_index.clone(),
            agents: Interned::new(),
            label_sets: self.label_sets.clone(),
            series_index: HashMap::new(),
            series: Vec::new(),
            cells: 0,
            sample_bytes: 0,
        };
        for series in &self.series {
            let mut cut = series.within(stretch);
            if cut.len() == 0 {
                continue;
            }
            let name = self.agent_name(series.agent).to_owned();
            cut.agent = part.agents.number(name, SERIES_MAX)?;
            part.series_index.insert((cut.agent, cut.probe, cut.spec), part.series.len());
            part.cells += cut.len();
            part.sample_bytes += cut.sample_bytes() as u64;
            part.series.push(cut);
        }
        Ok(part)
    }

    /// What is asked of the cells of each probe; others are not.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, Asked> {
        self.probes.iter().map(|probe| (probe.name.clone(), probe.asked())).collect()
    }

    /// The start of the first window, in s since 1970: how far back the evidence reaches.
    #[must_use]
    pub fn first_start_s(&self) -> Option<i64> {
        self.extent().map(|extent| extent.from_s)
    }

    /// Distinct cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells
    }

    /// True when there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells == 0
    }

    /// The end of the latest window, in s since 1970: how far the evidence reaches.
    #[must_use]
    pub fn latest_end_s(&self) -> Option<i64> {
        self.series.iter().filter_map(|series| series.last().map(|cell| cell.end_s())).max()
    }

    /// From the first window's start to the last one's end.
    pub(super) fn extent(&self) -> Option<Span> {
        let from_s = self
            .series
            .iter()
            .filter_map(|series| series.first())
            .map(|cell| cell.start_s)
            .min()?;
        Some(Span { from_s, until_s: self.latest_end_s()? })
    }

    /// The series of one probe, by agent name.
    pub(super) fn of_probe(&self, probe: &str) -> impl Iterator<Item = &Series> {
        let index = self.probe_index.get(probe).copied();
        self.series.iter().filter(move |series| Some(series.probe) == index)
    }

    /// Where the figures of an objective stand, for each of its probes.
    pub(super) fn places(&self, objective: &Objective) -> Vec<Places> {
        let limits = objective.thresholds();
        let column = column_of(objective);
        let of_probe = |name: &str| {
            let index = self.probe_index.get(name).and_then(|index| usize::try_from(*index).ok());
            let wanted = index.and_then(|index| self.probes.get(index))?;
            let threshold = |limit: &u64| {
                let known = |(phase, at_most): &(String, u64)| {
                    Some(phase.as_str()) == objective.measure.phase() && at_most == limit
                };
                wanted.thresholds.iter().position(known)
            };
            let number = wanted.columns.iter().position(|known| Some(known) == column.as_ref());
            let column = column.as_ref().map(|(_, keep)| *keep).zip(number);
            Some(Places { thresholds: limits.iter().map(threshold).collect(), column })
        };
        objective.probes.iter().map(|name| of_probe(name.as_str()).unwrap_or_default()).collect()
    }

    /// The name of an agent.
    pub(super) fn agent_name(&self, agent: u32) -> &str {
        self.agents.get(agent).map_or("", String::as_str)
    }

    /// All agents.
    pub(super) fn agents(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.agents.items).map(|(number, _)| number)
    }

    /// The number of an agent.
    pub(super) fn agent_number(&self, name: &str) -> Option<u32> {
        self.agents.numbers.get(name).copied()
    }

    /// A label set.
    pub(super) fn labels(&self, number: u32) -> Option<&LabelSet> {
        self.label_sets.get(number)
    }

    /// True when an agent with that label set is chosen.
    pub(super) fn has_labels(&self, number: u32, selector: &Selector) -> bool {
        self.labels(number).is_some_and(|labels| selector.matches(labels))
    }

    /// All series with their agents' and probes' names, in the order of agent, probe, spec.
    pub(super) fn sorted_series(&self) -> Vec<(&str, &str, &Series)> {
        let mut sorted: Vec<(&str, &str, &Series)> = Vec::with_capacity(self.series.len());
        for series in &self.series {
            let probe = usize::try_from(series.probe).ok().and_then(|index| self.probes.get(index));
            let probe = probe.map_or("", |probe| probe.name.as_str());
            sorted.push((self.agent_name(series.agent), probe, series));
        }
        sorted.sort_by_key(|(agent, probe, series)| (*agent, *probe, series.spec));
        sorted
    }

    /// All label sets, in the order of their numbers.
    pub(super) fn label_sets(&self) -> &[LabelSet] {
        &self.label_sets.items
    }

    /// The number of the cell's labels: mostly that of the series' cell before it.
    fn label_set(&mut self, observed: &Observed<'_>, series: usize) -> Result<u32, EvidenceError> {
        let last = self.series.get(series).and_then(Series::last).map(|cell| cell.labels);
        let same = |number: &u32| self.labels(*number).is_some_and(|set| says(set, observed));
        if let Some(number) = last.filter(same) {
            return Ok(number);
        }
        let mut labels = observed.labels.clone();
        labels.insert(AGENT_LABEL.to_owned(), observed.agent.to_owned());
        self.label_sets.number(labels, LABEL_SETS_MAX)
    }

    fn series_of(&mut self, observed: &Observed<'_>, probe: u32) -> Result<usize, EvidenceError> {
        let agent = match self.agents.numbers.get(observed.agent) {
            Some(agent) => *agent,
            None => self.agents.number(observed.agent.to_owned(), SERIES_MAX)?,
        };
        let key = (agent, probe, observed.spec);
        if let Some(index) = self.series_index.get(&key) {
            return Ok(*index);
        }
        if self.series.len() >= SERIES_MAX {
            return Err(EvidenceError::Full);
        }
        self.series_index.insert(key, self.series.len());
        self.series.push(Series::new(agent, probe, observed.spec));
        Ok(self.series.len() - 1)
    }
}

/// True when a set is just the cell's labels and its agent's name.
fn says(set: &LabelSet, observed: &Observed<'_>) -> bool {
    let named = usize::from(!observed.labels.contains_key(AGENT_LABEL));
    let known = |key: &str, value: &str| set.get(key).is_some_and(|own| own == value);
    set.len() == observed.labels.len() + named
        && known(AGENT_LABEL, observed.agent)
        && observed.labels.iter().all(|(key, value)| key == AGENT_LABEL || known(key, value))
}

#[cfg(test)]
mod tests;
