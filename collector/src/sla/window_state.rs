//! From reports to states: what each agent says of an evaluation window, and what the service's state is by their voices.
//!
//! An agent's probes are added up, because an agent is one vantage. Where a probe's interval is longer than the window, its
//! outcome is held until its next attempt is due. One sweep in the order of time, from change to change, that holds one
//! report of each agent and probe, so that a year costs no more memory than an hour.

use super::JudgeError;
use super::outage::{Run, State};
use super::reports::{Report, Reports, Source, View, reports};
use crate::contract::model::{Objective, Operator, Vantages};
use crate::contract::number::{self, Exact};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// Sweeps all windows in order: hands each report to `on_report`, those of one source in the order of time, and returns the
/// runs of known state.
///
/// # Errors
/// [`JudgeError::WindowWidth`] when a cell does not fit into an evaluation window.
pub(super) fn sweep<'a>(
    view: &'a View<'a>,
    mut on_report: impl FnMut(Source, &Report<'a>),
) -> Result<Vec<Run>, JudgeError> {
    let mut council = Council::new(view.objective);
    let mut agents = vantages(view);
    let mut changes = BinaryHeap::new();
    for (number, agent) in agents.iter_mut().enumerate() {
        agent.vote = agent.next_vote(&mut council.bad, &mut on_report)?;
        changes.extend(agent.vote.map(|vote| Reverse((vote.from, number))));
    }
    let mut runs: Vec<Run> = Vec::new();
    while let Some(Reverse((index, _))) = changes.peek().copied() {
        while let Some(number) = due(&mut changes, index) {
            let Some(agent) = agents.get_mut(number) else { continue };
            if agent.speaks {
                council.retract(agent.vote);
                agent.vote = agent.next_vote(&mut council.bad, &mut on_report)?;
                agent.speaks = false;
            }
            let Some(vote) = agent.vote else { continue };
            agent.speaks = vote.from == index;
            if agent.speaks {
                council.hear(vote);
            }
            changes.push(Reverse((if agent.speaks { vote.until } else { vote.from }, number)));
        }
        let until = changes.peek().map_or(index, |Reverse((next, _))| *next);
        if let Some(state) = council.state().filter(|_| until > index) {
            extend(&mut runs, Run { first: index, last: until - 1, state });
        }
    }
    Ok(runs)
}

/// An agent that changes at a window.
fn due(changes: &mut BinaryHeap<Reverse<(i64, usize)>>, index: i64) -> Option<usize> {
    let Reverse((next, number)) = *changes.peek()?;
    (next == index).then(|| changes.pop())?;
    Some(number)
}

fn extend(runs: &mut Vec<Run>, more: Run) {
    match runs.last_mut() {
        Some(run) if run.state == more.state && run.last + 1 == more.first => run.last = more.last,
        _ => runs.push(more),
    }
}

/// All agents with their probes.
fn vantages<'a>(view: &'a View<'a>) -> Vec<Vantage<'a>> {
    let mut agents: Vec<Vantage<'a>> = Vec::new();
    for reports in reports(view) {
        let (agent, probe) = (reports.source.agent, Timeline::new(reports, view));
        match agents.last_mut().filter(|last| last.agent == agent) {
            Some(last) => last.probes.push(probe),
            None => {
                let attempts = view.objective.window.attempts.max(1);
                let probes = vec![probe];
                let at = i64::MIN;
                agents.push(Vantage { agent, probes, attempts, at, vote: None, speaks: false });
            }
        }
    }
    agents
}

/// What one probe of an agent found, from change to change.
struct Timeline<'a> {
    reports: Reports<'a>,
    view: &'a View<'a>,
    /// Up to where stretches have been made.
    at: i64,
    /// The latest outcome, and until which window it holds.
    until: i64,
    ok: u64,
    failed: u64,
    /// In order; the first is the one under way.
    ready: VecDeque<Finding>,
    over: bool,
}

/// Windows in which a probe's outcome is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Finding {
    from: i64,
    until: i64,
    ok: u64,
    failed: u64,
    spoiled: bool,
}

/// An agent, and what it says now or next.
struct Vantage<'a> {
    agent: u32,
    probes: Vec<Timeline<'a>>,
    /// Fewer than so many say nothing.
    attempts: u64,
    /// Up to where it has voted.
    at: i64,
    vote: Option<Vote>,
    /// The vote is under way.
    speaks: bool,
}

/// What an agent says of windows in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Vote {
    from: i64,
    until: i64,
    down: bool,
}

/// What all agents say of one window.
struct Council {
    bad: ShareTest,
    quorum: ShareTest,
    at_least: u64,
    ups: u64,
    downs: u64,
}

/// Compares `part / whole` with a share, exactly; remembers the answers, because nearly all windows look alike.
struct ShareTest {
    operator: Operator,
    limit: Exact,
    known: HashMap<(u64, u64), bool>,
}

// === impl Timeline ===

impl<'a> Timeline<'a> {
    fn new(reports: Reports<'a>, view: &'a View<'a>) -> Self {
        let (at, until) = (i64::MIN, i64::MIN);
        Self { reports, view, at, until, ok: 0, failed: 0, ready: VecDeque::new(), over: false }
    }

    /// What it found in the windows from `at` on, or next after that.
    fn finding(
        &mut self,
        at: i64,
        on_report: &mut impl FnMut(Source, &Report<'a>),
    ) -> Result<Option<Finding>, JudgeError> {
        self.forget_until(at);
        while self.ready.is_empty() && !self.over {
            match self.reports.next()? {
                Some(report) => {
                    on_report(self.reports.source, &report);
                    self.take(&report);
                }
                None => {
                    self.over = true;
                    self.hold_until(self.view.end(), false);
                }
            }
            self.forget_until(at);
        }
        Ok(self.ready.front().copied())
    }

    fn forget_until(&mut self, at: i64) {
        while self.ready.front().is_some_and(|first| first.until <= at) {
            self.ready.pop_front();
        }
    }

    /// Holds the outcome of windows that had an attempt; a spoiled one is held as Unknown.
    fn take(&mut self, report: &Report<'_>) {
        self.hold_until(report.index, false);
        self.at = report.index;
        if report.has_attempt() {
            let width_s = self.view.objective.window.width_s;
            let windows = i64::from(report.interval_s.div_ceil(width_s).max(1));
            let believed = if report.spoiled() {
                (0, 0)
            } else {
                (report.attempts.ok, report.attempts.failed)
            };
            (self.ok, self.failed) = believed;
            self.until = report.end() - 1 + windows;
        }
        self.hold_until(report.end(), report.spoiled());
        // Where nothing is held any more, it is spoiled all the same.
        if report.spoiled() && self.at < report.end() {
            self.push(report.end(), (0, 0), true);
        }
        self.at = report.end();
    }

    /// The held outcome up to a window.
    fn hold_until(&mut self, index: i64, spoiled: bool) {
        let until = self.until.min(index).min(self.view.end());
        if until > self.at {
            self.push(until, (self.ok, self.failed), spoiled);
        }
    }

    fn push(&mut self, until: i64, (ok, failed): (u64, u64), spoiled: bool) {
        let finding = Finding { from: self.at, until, ok, failed, spoiled };
        self.ready.push_back(finding);
        self.at = until;
    }
}

// === impl Vantage ===

impl<'a> Vantage<'a> {
    /// The next windows in which it says something.
    fn next_vote(
        &mut self,
        bad: &mut ShareTest,
        on_report: &mut impl FnMut(Source, &Report<'a>),
    ) -> Result<Option<Vote>, JudgeError> {
        loop {
            let (at, mut until) = (self.at, i64::MAX);
            let (mut ok, mut failed, mut spoiled) = (0, 0, false);
            for probe in &mut self.probes {
                let Some(found) = probe.finding(at, on_report)? else { continue };
                if found.from > at {
                    until = until.min(found.from);
                    continue;
                }
                until = until.min(found.until);
                (ok, failed, spoiled) =
                    (ok + found.ok, failed + found.failed, spoiled || found.spoiled);
            }
            if until == i64::MAX {
                return Ok(None);
            }
            self.at = until;
            if !spoiled && ok + failed >= self.attempts {
                return Ok(Some(Vote { from: at, until, down: bad.holds(failed, ok + failed) }));
            }
        }
    }
}

// === impl Council ===

impl Council {
    fn new(objective: &Objective) -> Self {
        let (share, at_least) = match &objective.vantages {
            Vantages::Quorum { share, at_least } => (share.clone(), *at_least),
            Vantages::Each(_) => (number::whole(1), 1),
        };
        Self {
            bad: ShareTest::new(objective.window.bad_operator, objective.window.bad_share.clone()),
            quorum: ShareTest::new(Operator::AtLeast, share),
            at_least: at_least.max(1),
            ups: 0,
            downs: 0,
        }
    }

    fn hear(&mut self, vote: Vote) {
        *self.side(vote.down) += 1;
    }

    fn retract(&mut self, vote: Option<Vote>) {
        if let Some(vote) = vote {
            let side = self.side(vote.down);
            *side = side.saturating_sub(1);
        }
    }

    fn side(&mut self, down: bool) -> &mut u64 {
        if down { &mut self.downs } else { &mut self.ups }
    }

    fn state(&mut self) -> Option<State> {
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
