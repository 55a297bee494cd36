//! From cells to states: what each agent says of an evaluation window, and what the service's state is by their voices.
//!
//! Cells narrower than the evaluation window are added up to it; an agent's probes are added up too, because an agent is
//! one vantage. Where a probe's interval is longer than the window, its outcome is held until its next attempt is due.
//! One sweep in the order of time, holding one window of each agent and probe, so that a year costs no more memory than
//! an hour.

use super::evidence::{Cell, Held, Series};
use super::outage::{Grid, Run, State};
use super::verdict::Attempts;
use super::{JudgeError, Windows};
use crate::contract::model::{Measure, Objective, Operator, Vantages};
use crate::contract::number::{self, Exact};
use std::collections::{BTreeMap, HashMap};
use std::iter::Peekable;
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

/// What one agent and probe reported of one evaluation window.
#[derive(Clone, Debug, Default)]
pub(super) struct Fresh<'a> {
    /// The window.
    pub(super) index: i64,
    /// Attempts of believed cells.
    pub(super) attempts: Attempts,
    /// The believed cells, where the objective is of their samples or counters.
    pub(super) cells: Vec<Held<'a>>,
    /// Cells that a flag or a conflict spoiled.
    pub(super) flagged: u64,
    pub(super) conflicts: u64,
    /// Longest interval of the cells, in s.
    pub(super) interval_s: u32,
    /// The agent's labels.
    pub(super) labels: u32,
    /// Specifications of the cells; one but where the plan changed.
    pub(super) specs: Vec<[u8; 16]>,
    /// Attempts of spoiled cells.
    spoiled_attempts: u64,
}

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) agent: u32,
    /// Index in the objective's probes.
    pub(super) probe: usize,
}

/// Sweeps all windows in order: hands each report to `on_report` and returns the runs of known state.
///
/// # Errors
/// [`JudgeError::WindowWidth`] when a cell does not fit into an evaluation window.
pub(super) fn sweep<'a>(
    view: &'a View<'a>,
    mut on_report: impl FnMut(Source, &Fresh<'a>),
) -> Result<Vec<Run>, JudgeError> {
    let mut cursors = cursors(view)?;
    let mut council = Council::new(view.objective);
    let mut runs: Vec<Run> = Vec::new();
    let mut next = cursors.iter().filter_map(Cursor::next_index).min();
    while let Some(index) = next {
        if !view.exists(index) {
            break;
        }
        council.open();
        for cursor in &mut cursors {
            if let Some(fresh) = cursor.take(index)? {
                on_report(cursor.source, &fresh);
                cursor.hold(&fresh, view);
                council.spoil(cursor.source.agent, fresh.spoiled());
            }
            council.hear(cursor.source.agent, cursor.held_at(index));
        }
        if let Some(state) = council.state() {
            extend(&mut runs, index, state);
        }
        next = cursors.iter().filter_map(|cursor| cursor.busy_after(index)).min();
    }
    Ok(runs)
}

fn extend(runs: &mut Vec<Run>, index: i64, state: State) {
    match runs.last_mut() {
        Some(run) if run.state == state && run.last + 1 == index => run.last = index,
        _ => runs.push(Run { first: index, last: index, state }),
    }
}

/// One cursor an agent and probe, sorted by agent.
fn cursors<'a>(view: &'a View<'a>) -> Result<Vec<Cursor<'a>>, JudgeError> {
    let selected: Rc<[bool]> = view
        .windows
        .label_sets()
        .iter()
        .map(|labels| view.objective.agents.matches(labels))
        .collect();
    let mut by_source: BTreeMap<Source, Vec<([u8; 16], Feed<'a>)>> = BTreeMap::new();
    for (probe, name) in view.objective.probes.iter().enumerate() {
        for series in view.windows.of_probe(name.as_str()) {
            if view.only.is_none_or(|agent| agent == series.agent) {
                let source = Source { agent: series.agent, probe };
                by_source
                    .entry(source)
                    .or_default()
                    .push((series.spec, feed(series, Rc::clone(&selected))));
            }
        }
    }
    by_source.into_iter().map(|(source, feeds)| Cursor::new(source, feeds, view)).collect()
}

/// The selected cells of one series.
type Feed<'a> = Peekable<Box<dyn Iterator<Item = Held<'a>> + 'a>>;

fn feed(series: &Series, selected: Rc<[bool]>) -> Feed<'_> {
    let chosen = move |labels: u32| {
        usize::try_from(labels).ok().and_then(|index| selected.get(index).copied()).unwrap_or(false)
    };
    let cells: Box<dyn Iterator<Item = Held<'_>> + '_> =
        Box::new(series.cells().filter(move |held| chosen(held.cell.labels)));
    cells.peekable()
}

/// Walks the windows of one agent and probe, over all its specs.
struct Cursor<'a> {
    source: Source,
    feeds: Vec<([u8; 16], Feed<'a>)>,
    next: Option<Fresh<'a>>,
    outcome: Outcome,
    /// The objective is of samples or counters, so that the cells themselves matter.
    of_cells: bool,
    view: &'a View<'a>,
}

/// The latest outcome, and until which window it holds.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    until: i64,
    ok: u64,
    failed: u64,
}

/// What all agents say of one window.
struct Council<'a> {
    objective: &'a Objective,
    bad: ShareTest,
    quorum: ShareTest,
    at_least: u64,
    current: Option<Voice>,
    ups: u64,
    downs: u64,
}

/// What one agent says of one window.
#[derive(Clone, Copy, Debug)]
struct Voice {
    agent: u32,
    ok: u64,
    failed: u64,
    spoiled: bool,
}

/// Compares `part / whole` with a share, exactly; remembers the answers, because nearly all windows look alike.
struct ShareTest {
    operator: Operator,
    limit: Exact,
    known: HashMap<(u64, u64), bool>,
}

// === impl View ===

impl View<'_> {
    fn exists(&self, index: i64) -> bool {
        self.as_of_s.is_none_or(|as_of_s| self.grid.span(index, index).until_s <= as_of_s)
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

// === impl Fresh ===

impl<'a> Fresh<'a> {
    fn add(&mut self, held: Held<'a>, of_cells: bool) {
        let cell = held.cell;
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
            self.cells.push(held);
        }
    }

    fn spoiled(&self) -> bool {
        self.flagged + self.conflicts > 0
    }

    /// An attempt was started, whatever came of it.
    fn has_attempt(&self) -> bool {
        self.attempts.ok + self.attempts.failed + self.attempts.invalid + self.spoiled_attempts > 0
    }
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn new(
        source: Source,
        feeds: Vec<([u8; 16], Feed<'a>)>,
        view: &'a View<'a>,
    ) -> Result<Self, JudgeError> {
        let outcome = Outcome { until: i64::MIN, ..Outcome::default() };
        let measure = &view.objective.measure;
        let of_cells = measure.phase().is_some() || matches!(measure, Measure::Ratio(_));
        let mut cursor = Self { source, feeds, next: None, outcome, of_cells, view };
        cursor.next = cursor.read()?;
        Ok(cursor)
    }

    fn next_index(&self) -> Option<i64> {
        self.next.as_ref().map(|fresh| fresh.index)
    }

    /// The next window in which it has something to say.
    fn busy_after(&self, index: i64) -> Option<i64> {
        let held = (self.outcome.until > index + 1).then_some(index + 1);
        held.into_iter().chain(self.next_index()).min()
    }

    /// The report of that window, if there is one.
    fn take(&mut self, index: i64) -> Result<Option<Fresh<'a>>, JudgeError> {
        if self.next_index() != Some(index) {
            return Ok(None);
        }
        let fresh = self.next.take();
        self.next = self.read()?;
        Ok(fresh)
    }

    /// Adds up the next window's cells of all specs.
    fn read(&mut self) -> Result<Option<Fresh<'a>>, JudgeError> {
        let start_s = self
            .feeds
            .iter_mut()
            .filter_map(|(_, feed)| feed.peek().map(|held| held.cell.start_s))
            .min();
        let Some(start_s) = start_s else { return Ok(None) };
        let index = self.view.grid.index(start_s);
        let window = self.view.grid.span(index, index);
        let mut fresh = Fresh { index, ..Fresh::default() };
        for (spec, feed) in &mut self.feeds {
            let inside = |held: &Held<'_>| held.cell.start_s < window.until_s;
            if feed.peek().is_some_and(inside) {
                fresh.specs.push(*spec);
            }
            while let Some(held) = feed.next_if(inside) {
                let cell = held.cell;
                if cell.end_s() > window.until_s
                    || !self.view.objective.window.width_s.is_multiple_of(cell.width_s)
                {
                    return Err(self.view.width_error(self.source, cell));
                }
                fresh.add(held, self.of_cells);
            }
        }
        Ok(Some(fresh))
    }

    /// Holds the outcome of a window that had an attempt; a spoiled one is held as Unknown.
    fn hold(&mut self, fresh: &Fresh<'_>, view: &View<'_>) {
        if !fresh.has_attempt() {
            return;
        }
        let windows = i64::from(fresh.interval_s.div_ceil(view.objective.window.width_s).max(1));
        let believed = if fresh.spoiled() { Attempts::default() } else { fresh.attempts };
        let (ok, failed) = (believed.ok, believed.failed);
        self.outcome = Outcome { until: fresh.index + windows, ok, failed };
    }

    fn held_at(&self, index: i64) -> Option<Outcome> {
        (index < self.outcome.until).then_some(self.outcome)
    }
}

// === impl Council ===

impl<'a> Council<'a> {
    fn new(objective: &'a Objective) -> Self {
        let (share, at_least) = match &objective.vantages {
            Vantages::Quorum { share, at_least } => (share.clone(), *at_least),
            Vantages::Each(_) => (number::whole(1), 1),
        };
        Self {
            objective,
            bad: ShareTest::new(objective.window.bad_operator, objective.window.bad_share.clone()),
            quorum: ShareTest::new(Operator::AtLeast, share),
            at_least: at_least.max(1),
            current: None,
            ups: 0,
            downs: 0,
        }
    }

    fn open(&mut self) {
        (self.current, self.ups, self.downs) = (None, 0, 0);
    }

    fn spoil(&mut self, agent: u32, spoiled: bool) {
        self.voice(agent).spoiled |= spoiled;
    }

    fn hear(&mut self, agent: u32, outcome: Option<Outcome>) {
        let Some(outcome) = outcome else { return };
        let voice = self.voice(agent);
        voice.ok += outcome.ok;
        voice.failed += outcome.failed;
    }

    /// The voice of an agent; those of one agent come one after the other.
    fn voice(&mut self, agent: u32) -> &mut Voice {
        if self.current.is_some_and(|voice| voice.agent != agent) {
            self.count();
        }
        self.current.get_or_insert(Voice { agent, ok: 0, failed: 0, spoiled: false })
    }

    fn count(&mut self) {
        let Some(voice) = self.current.take() else { return };
        let attempts = voice.ok + voice.failed;
        if voice.spoiled || attempts < self.objective.window.attempts.max(1) {
            return;
        }
        if self.bad.holds(voice.failed, attempts) {
            self.downs += 1;
        } else {
            self.ups += 1;
        }
    }

    fn state(&mut self) -> Option<State> {
        self.count();
        let voices = self.ups + self.downs;
        if voices < self.at_least {
            return None;
        }
        Some(if self.quorum.holds(self.downs, voices) { State::Down } else { State::Up })
    }
}

// === impl ShareTest ===

impl ShareTest {
    fn new(operator: Operator, limit: Exact) -> Self {
        Self { operator, limit, known: HashMap::new() }
    }

    fn holds(&mut self, part: u64, whole: u64) -> bool {
        let (operator, limit) = (self.operator, &self.limit);
        *self.known.entry((part, whole)).or_insert_with(|| {
            number::ratio(part, whole).is_some_and(|share| operator.holds(&share, limit))
        })
    }
}
