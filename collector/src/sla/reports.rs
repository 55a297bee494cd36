//! From cells to reports: what one agent and probe said of one evaluation window, or alike of many in a row.
//!
//! Cells narrower than the evaluation window are added up to it, and those of several specifications too. Windows that
//! follow each other and are alike are one report, because nearly all of them are: a month is judged in the time that its
//! changes take, not its minutes.

use super::evidence::{Cell, Series, Stretch};
use super::outage::Grid;
use super::verdict::Attempts;
use super::{JudgeError, Windows};
use crate::contract::model::{Measure, Objective};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Which cells are looked at.
pub(super) struct View<'a> {
    pub(super) windows: &'a Windows,
    pub(super) objective: &'a Objective,
    pub(super) grid: &'a Grid,
    /// Windows that end later do not exist.
    pub(super) as_of_s: Option<i64>,
    /// Only this agent.
    pub(super) only: Option<u32>,
}

/// What one agent and probe reported of evaluation windows that are alike.
#[derive(Clone, Debug, Default)]
pub(super) struct Report<'a> {
    /// The first window.
    pub(super) index: i64,
    /// How many follow it in a row, itself included.
    pub(super) windows: u64,
    /// Attempts of believed cells, in each window.
    pub(super) attempts: Attempts,
    /// The believed cells of all of them, as many of each window.
    cells: Option<Stretch<'a>>,
    /// Where they are in several stretches: the others.
    more: Vec<Stretch<'a>>,
    /// Cells of each window that a flag or a conflict spoiled.
    pub(super) flagged: u64,
    pub(super) conflicts: u64,
    /// Longest interval of the cells, in s.
    pub(super) interval_s: u32,
    /// The agent's labels.
    pub(super) labels: u32,
    /// Specifications of the cells; one but where the plan changed.
    pub(super) specs: SmallVec<[[u8; 16]; 1]>,
    /// Attempts of spoiled cells.
    spoiled_attempts: u64,
}

/// The believed cells of some windows in a row of a report.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    first: Option<Stretch<'a>>,
    more: &'a [Stretch<'a>],
    skip: usize,
    take: usize,
}

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) agent: u32,
    /// Index in the objective's probes.
    pub(super) probe: usize,
}

/// Walks the windows of one agent and probe, over all its specs.
pub(super) struct Reports<'a> {
    pub(super) source: Source,
    feeds: Vec<Feed<'a>>,
    /// The objective is of samples or counters, so that the cells themselves matter.
    of_cells: bool,
    view: &'a View<'a>,
}

/// The selected cells of one series.
struct Feed<'a> {
    spec: [u8; 16],
    stretches: Box<dyn Iterator<Item = Stretch<'a>> + 'a>,
    next: Option<Stretch<'a>>,
}

/// The reports of each agent and probe, sorted by agent.
pub(super) fn reports<'a>(view: &'a View<'a>) -> Vec<Reports<'a>> {
    let selected: Rc<[bool]> = view
        .windows
        .label_sets()
        .iter()
        .map(|labels| view.objective.agents.matches(labels))
        .collect();
    let mut by_source: BTreeMap<Source, Vec<Feed<'a>>> = BTreeMap::new();
    for (probe, name) in view.objective.probes.iter().enumerate() {
        for series in view.windows.of_probe(name.as_str()) {
            if view.only.is_none_or(|agent| agent == series.agent) {
                let source = Source { agent: series.agent, probe };
                by_source.entry(source).or_default().push(Feed::new(series, Rc::clone(&selected)));
            }
        }
    }
    let measure = &view.objective.measure;
    let of_cells = measure.phase().is_some() || matches!(measure, Measure::Ratio(_));
    by_source.into_iter().map(|(source, feeds)| Reports { source, feeds, of_cells, view }).collect()
}

// === impl View ===

impl View<'_> {
    /// The first window that does not exist.
    pub(super) fn end(&self) -> i64 {
        self.as_of_s.map_or(i64::MAX, |as_of_s| self.grid.index(as_of_s))
    }

    fn width_error(&self, source: Source, cell: &Cell) -> JudgeError {
        let probe = self.objective.probes.get(source.probe);
        JudgeError::WindowWidth {
            objective: self.objective.name.to_string(),
            agent: self.windows.agent_name(source.agent).to_owned(),
            probe: probe.map(ToString::to_string).unwrap_or_default(),
            measured_s: cell.width_s,
            wanted_s: self.objective.window.width_s,
        }
    }
}

// === impl Report ===

impl<'a> Report<'a> {
    /// Adds the one cell of a stretch.
    fn add(&mut self, one: Stretch<'a>, cell: &Cell, of_cells: bool) {
        self.labels = cell.labels;
        self.interval_s = self.interval_s.max(cell.interval_s);
        if cell.flagged || cell.conflicting {
            let counts = cell.counts;
            self.flagged += u64::from(cell.flagged);
            self.conflicts += u64::from(cell.conflicting);
            self.spoiled_attempts +=
                [counts.ok, counts.failed, counts.invalid].map(u64::from).iter().sum::<u64>();
            return;
        }
        self.attempts.add(cell.counts);
        if of_cells {
            self.put(one);
        }
    }

    fn put(&mut self, stretch: Stretch<'a>) {
        match self.cells {
            None => self.cells = Some(stretch),
            Some(_) => self.more.push(stretch),
        }
    }

    /// The believed cells of so many windows, from one of them on, where the objective is of their samples or counters.
    pub(super) fn cells(&self, index: i64, windows: u64) -> Cells<'_> {
        let (first, more) = (self.cells, self.more.as_slice());
        let all: usize = first.iter().chain(more).map(Stretch::len).sum();
        let a_window = (all as u64).checked_div(self.windows).unwrap_or(0);
        let place = |windows: u64| usize::try_from(windows * a_window).unwrap_or(usize::MAX);
        Cells { first, more, skip: place(index.abs_diff(self.index)), take: place(windows) }
    }

    /// The first window that it says nothing of.
    pub(super) fn end(&self) -> i64 {
        self.index.saturating_add_unsigned(self.windows)
    }

    /// Something spoiled its cells.
    pub(super) fn spoiled(&self) -> bool {
        self.flagged + self.conflicts > 0
    }

    /// An attempt was started, whatever came of it.
    pub(super) fn has_attempt(&self) -> bool {
        self.attempts.ok + self.attempts.failed + self.attempts.invalid + self.spoiled_attempts > 0
    }
}

// === impl Cells ===

impl<'a> Cells<'a> {
    /// The cells, in stretches: of several windows there is one, because they are alike.
    pub(super) fn stretches(self) -> impl Iterator<Item = Stretch<'a>> {
        let Self { first, more, mut skip, mut take } = self;
        first.into_iter().chain(more.iter().copied()).map(move |stretch| {
            let part = stretch.skip(skip).take(take);
            skip -= skip.min(stretch.len());
            take -= part.len();
            part
        })
    }
}

// === impl Reports ===

impl<'a> Reports<'a> {
    /// The next report.
    ///
    /// # Errors
    /// [`JudgeError::WindowWidth`] when a cell does not fit into an evaluation window.
    pub(super) fn next(&mut self) -> Result<Option<Report<'a>>, JudgeError> {
        let grid = self.view.grid;
        let index_of = |feed: &Feed<'_>| feed.cell().map(|cell| grid.index(cell.start_s));
        let indexes = || self.feeds.iter().filter_map(index_of);
        let Some(index) = indexes().min() else { return Ok(None) };
        if index >= self.view.end() {
            return Ok(None);
        }
        let others = indexes().filter(|other| *other > index);
        let until = others.min().unwrap_or(i64::MAX).min(self.view.end());
        if indexes().filter(|own| *own == index).count() == 1
            && let Some(report) = self.alike(index, until)
        {
            return Ok(Some(report));
        }
        self.one(index).map(Some)
    }

    /// Whole windows that are alike, from `index` on and before `until`; `None` where the next one is not of one stretch.
    fn alike(&mut self, index: i64, until: i64) -> Option<Report<'a>> {
        let (grid, width_s) = (self.view.grid, self.view.objective.window.width_s);
        let begins = |feed: &&mut Feed<'a>| {
            feed.cell().is_some_and(|cell| grid.index(cell.start_s) == index)
        };
        let feed = self.feeds.iter_mut().find(begins)?;
        let (cell, stretch) = (feed.cell()?, feed.next?);
        let fits =
            width_s.is_multiple_of(cell.width_s) && cell.start_s == grid.span(index, index).from_s;
        let a_window = usize::try_from(width_s / cell.width_s).ok().filter(|_| fits)?;
        let most = usize::try_from(until.saturating_sub(index)).unwrap_or(usize::MAX);
        let windows = Some((stretch.len() / a_window).min(most)).filter(|windows| *windows > 0)?;
        let mut report = Report { index, specs: smallvec![feed.spec], ..Report::default() };
        report.add(stretch, cell, false);
        report.attempts = report.attempts.times(u64::try_from(a_window).ok()?);
        if self.of_cells && !report.spoiled() {
            report.put(stretch.take(windows * a_window));
        }
        report.windows = u64::try_from(windows).ok()?;
        feed.skip(windows * a_window);
        Some(report)
    }

    /// One window, of whatever cells there are.
    fn one(&mut self, index: i64) -> Result<Report<'a>, JudgeError> {
        let (width_s, window) =
            (self.view.objective.window.width_s, self.view.grid.span(index, index));
        let mut report = Report { index, windows: 1, ..Report::default() };
        for feed in &mut self.feeds {
            let inside = |cell: &&Cell| cell.start_s < window.until_s;
            if feed.cell().is_some_and(|cell| inside(&cell)) {
                report.specs.push(feed.spec);
            }
            while let (Some(next), Some(cell)) = (feed.next, feed.cell()) {
                if !inside(&cell) {
                    break;
                }
                if cell.end_s() > window.until_s || !width_s.is_multiple_of(cell.width_s) {
                    return Err(self.view.width_error(self.source, cell));
                }
                report.add(next.take(1), cell, self.of_cells);
                feed.skip(1);
            }
        }
        Ok(report)
    }
}

// === impl Feed ===

impl<'a> Feed<'a> {
    fn new(series: &'a Series, selected: Rc<[bool]>) -> Self {
        let chosen = move |stretch: &Stretch<'_>| {
            let labels = stretch.cell().and_then(|cell| usize::try_from(cell.labels).ok());
            labels.and_then(|index| selected.get(index).copied()).unwrap_or(false)
        };
        let mut stretches = Box::new(series.stretches().filter(chosen));
        let next = stretches.next();
        Self { spec: series.spec, stretches, next }
    }

    fn cell(&self) -> Option<&'a Cell> {
        self.next?.cell()
    }

    fn skip(&mut self, cells: usize) {
        self.next = self.next.map(|next| next.skip(cells));
        if self.next.is_some_and(|next| next.len() == 0) {
            self.next = self.stretches.next();
        }
    }
}
