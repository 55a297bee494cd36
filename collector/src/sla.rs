//! The verdict: a pure function of an agreement, the evidence and a question. No clock, no I/O, no float.
//!
//! In reading order: [`evidence`] (the cells), `exclusion` (time that does not count), `reports` (cells to what an agent says of a window), `window_state` (that to states), [`outage`] (states to outages), `measure`,
//! `counted` and `parts` (outages and attempts to a value), `outlook` (what may still come), `status` (a value to a judgement), [`burn`] (how fast a budget is being used up), `band` (how far
//! it is to the next credit), `credit` (judgements to money), `termination` (judgements to the right to leave), `uncertainty` (what sampling leaves open), `digest` (what it
//! was all made from), and [`verdict`] (what is said of it); then [`life`] (what is published of it, and when). [`states`] and `witnesses` say when, and who saw it, to those
//! who draw or list it.
//!
//! "Window" in an agreement's rules is the evaluation window of the objective: attempts count where it lies in eligible
//! time as a whole, and it overlaps Down time or ends after the as-of instant as a whole.

mod band;
pub mod burn;
mod counted;
mod credit;
mod digest;
pub mod evidence;
mod exclusion;
pub mod life;
mod measure;
mod observation;
pub mod outage;
mod outlook;
mod parts;
mod reports;
pub mod span;
pub mod states;
mod status;
mod termination;
pub mod uncertainty;
pub mod verdict;
mod window_state;
mod witnesses;

pub use evidence::{Added, Cell, Counts, EvidenceError, Observed, Phases, Total, Windows, Within};
pub use verdict::{ObjectiveVerdict, Status, Verdict};

use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::model::{Credit, CreditForm, Kind, Measure, Objective, PerOf, Vantages};
use crate::contract::number::Exact;
use crate::contract::period::{LabelError, PeriodLabel, Span};
use band::Due;
use measure::{Case, DownTime, Observation, Times};
use parts::Parts;
use span::Spans;
use std::collections::BTreeSet;
use termination::Closed;
use verdict::Reason;

/// Time after a period that is looked at: five weeks, so that there are service hours in it.
const BEYOND_S: i64 = 35 * 86_400;

/// So much later than a period measuring may have begun that it still covers it: an hour.
pub(crate) const LATE_S: i64 = 3_600;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The period.
    pub label: PeriodLabel,
    /// Windows that end later do not exist; `None`: the period is over.
    pub as_of_s: Option<i64>,
    /// The agreement was countersigned.
    pub signed: bool,
}

/// There is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No objective has such a period.
    #[error(
        "no objective of `{agreement}` has the period `{label}`: a {kind}; see each objective's `period`"
    )]
    LabelFitsNone {
        /// The agreement.
        agreement: String,
        /// The label.
        label: String,
        /// Its kind.
        kind: &'static str,
    },
    /// The label has no bounds.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A measured window does not fit into the objective's.
    #[error(
        "windows of {measured_s} s (agent `{agent}`, probe `{probe}`) cannot be added up to the {wanted_s} s of \
         objective `{objective}`; its `window: width` must be a multiple of the measured width"
    )]
    WindowWidth {
        /// The objective.
        objective: String,
        /// The agent.
        agent: String,
        /// The probe.
        probe: String,
        /// The measured width, in s.
        measured_s: u32,
        /// The objective's, in s.
        wanted_s: u32,
    },
}

/// Judges one period of an agreement.
///
/// # Errors
/// [`JudgeError`] when the question does not fit the agreement, or the evidence does not fit an objective.
pub fn judge(
    agreement: &Agreement,
    windows: &Windows,
    exclusions: &Exclusions,
    question: &Question,
) -> Result<Verdict, JudgeError> {
    let question = &Question { label: agreement.meant(question.label), ..*question };
    let period = question.label.span(agreement.zone())?;
    let exclusions = &exclusion::that_matter(agreement, exclusions, seen(windows, period));
    let horizon = horizon(windows, period);
    let answered = answered(agreement, exclusions, question.as_of_s, horizon);
    let answered = &answered;
    let court = Court { agreement, windows, question, period, answered };
    let mut judged = court.judged()?;
    if judged.is_empty() {
        return Err(JudgeError::LabelFitsNone {
            agreement: agreement.id().to_string(),
            label: question.label.to_string(),
            kind: question.label.kind().as_str(),
        });
    }
    let credits = credit::settle(agreement, question.label, question.signed, &mut judged);
    let termination_right = court.termination_right(&judged)?;
    Ok(Verdict {
        agreement: agreement.id().to_string(),
        version: agreement.version(),
        title: agreement.title().to_owned(),
        signed: question.signed,
        label: question.label.to_string(),
        period,
        as_of_s: question.as_of_s,
        objectives: judged.into_iter().map(|judged| judged.verdict).collect(),
        claims: exclusion::claims(agreement, period, (exclusions, question.as_of_s)),
        credits,
        termination_right,
        inputs_digest: digest::inputs(agreement, windows, exclusions, question),
    })
}

/// From when on burn rates of a period that is open at an instant want to see windows, s since 1970: never before the period
/// before it.
///
/// # Errors
/// [`LabelError`] when the period has no bounds.
pub fn burn_from_s(
    agreement: &Agreement,
    exclusions: &Exclusions,
    (label, as_of_s): (PeriodLabel, i64),
) -> Result<i64, LabelError> {
    let zone = agreement.zone();
    let period = label.span(zone)?;
    let before = label.previous().and_then(|before| before.span(zone).ok());
    let from_s = before.map_or(period.from_s, |before| before.from_s);
    let looked_at = Span { from_s, until_s: period.until_s };
    let exclusions = exclusion::that_matter(agreement, exclusions, looked_at);
    let answered = answered(agreement, &exclusions, Some(as_of_s), looked_at);
    let begins =
        agreement.objectives().iter().zip(&answered).filter_map(|(objective, answered)| {
            let whole_s = answered.service.within(period).seconds();
            let longest_s = burn::longest_s(objective, whole_s);
            let longest_s = longest_s.filter(|_| objective.period == label.kind())?;
            let past = answered.service.within(Span { from_s, until_s: as_of_s });
            let hull = past.last_seconds(longest_s).hull()?;
            // A window that begins before may reach into it.
            Some(hull.from_s.saturating_sub(i64::from(objective.window.width_s)))
        });
    Ok(begins.min().map_or(period.from_s, |begins_s| begins_s.max(from_s).min(period.from_s)))
}

/// The stretch in which service hours matter: where there are windows, the period, and what may still confirm an outage
/// that is going on at its end.
fn horizon(windows: &Windows, period: Span) -> Span {
    let seen = seen(windows, period);
    Span { until_s: seen.until_s.saturating_add(BEYOND_S), ..seen }
}

/// The period, and the stretch where there are windows. Time beyond both changes nothing: what nobody measured is unknown,
/// excluded or not.
fn seen(windows: &Windows, period: Span) -> Span {
    let seen = windows.extent().unwrap_or(period);
    Span { from_s: seen.from_s.min(period.from_s), until_s: seen.until_s.max(period.until_s) }
}

/// The records of excluded time that can matter to a verdict which looks at a stretch of time.
#[must_use]
pub fn exclusions_of(agreement: &Agreement, exclusions: &Exclusions, looks_at: Span) -> Exclusions {
    exclusion::that_matter(agreement, exclusions, looks_at)
}

/// An objective with its judgement, and what that costs where somebody owes it.
struct Judged<'a> {
    objective: &'a Objective,
    verdict: ObjectiveVerdict,
    due: Due,
}

/// One question before all objectives.
#[derive(Clone, Copy)]
struct Court<'a> {
    agreement: &'a Agreement,
    windows: &'a Windows,
    question: &'a Question,
    period: Span,
    /// Of each objective of the agreement. The same in every period, so a long look back does not walk the calendar for each.
    answered: &'a [Answered],
}

/// The time for which the provider answers by an objective.
struct Answered {
    /// Service time without what is excluded.
    service: Spans,
    /// Service time that is excluded.
    excluded: Spans,
}

/// See [`Court::answered`]; the horizon is the time that anything is known of, the period, and some more.
fn answered(
    agreement: &Agreement,
    exclusions: &Exclusions,
    as_of_s: Option<i64>,
    horizon: Span,
) -> Vec<Answered> {
    let of = |objective: &Objective| {
        let active = agreement.service_of(objective).map_or(Span::ALWAYS, |service| service.active);
        let agreed = agreement.terms().term.meet(active);
        let service = match &objective.hours {
            None => Spans::one(agreed),
            Some(hours) => {
                let stretch = horizon.meet(agreed);
                Spans::from_sorted(hours.hours_in(stretch, agreement.zone())).within(stretch)
            }
        };
        let excluded = exclusion::excluded(agreement, objective, &service, (exclusions, as_of_s));
        Answered { service: service.without(&excluded), excluded }
    };
    agreement.objectives().iter().map(of).collect()
}

impl<'a> Court<'a> {
    /// The objectives whose periods are of the label's kind.
    fn objectives(&self) -> impl Iterator<Item = &'a Objective> {
        let kind = self.question.label.kind();
        self.agreement.objectives().iter().filter(move |objective| objective.period == kind)
    }

    /// Every objective with its judgement.
    fn judged(&self) -> Result<Vec<Judged<'a>>, JudgeError> {
        let down_times = self.down_times()?;
        let judged = self.objectives().map(|objective| {
            let (verdict, due) = self.objective(objective, &down_times)?;
            Ok(Judged { objective, verdict, due })
        });
        judged.collect()
    }

    /// True when the customer may terminate after this period and the earlier ones that the windows cover.
    fn termination_right(&self, judged: &[Judged<'_>]) -> Result<bool, JudgeError> {
        let terms = self.agreement.terms();
        let owed = self.question.signed && terms.kind != Kind::Ola;
        if !owed || terms.termination.is_empty() {
            return Ok(false);
        }
        let is_over =
            |span: Span| self.question.as_of_s.is_none_or(|as_of_s| span.until_s <= as_of_s);
        let closed = |judged: &[Judged<'_>]| {
            Closed::new(judged.iter().map(|judged| (judged.objective, &judged.verdict)))
        };
        let mut row = Vec::new();
        if is_over(self.period) {
            row.push(closed(judged));
        }
        let mut label = self.question.label;
        while !termination::is_long_enough(&terms.termination, &row) {
            let Some(earlier) = label.previous() else { break };
            let period = earlier.span(self.agreement.zone())?;
            let question = &Question { label: earlier, ..*self.question };
            let court = Court { question, period, ..*self };
            if !court.is_covered() {
                break;
            }
            if is_over(period) {
                row.push(closed(&court.judged()?));
            }
            label = earlier;
        }
        Ok(termination::is_open(&terms.termination, &row))
    }

    /// True when windows were measured from the beginning of the period on: from the first time that is eligible for an
    /// objective of it.
    fn is_covered(&self) -> bool {
        let Some(extent) = self.windows.extent() else { return false };
        let firsts =
            self.objectives().filter_map(|objective| self.times(objective).eligible.hull());
        firsts
            .map(|hull| hull.from_s)
            .min()
            .is_some_and(|first_s| extent.from_s <= first_s.saturating_add(LATE_S))
    }

    /// The time that matters to an objective.
    fn times(&self, objective: &Objective) -> Times {
        let mut all = self.agreement.objectives().iter().zip(self.answered);
        let found = all.find(|(known, _)| known.name == objective.name);
        let (service, excluded) = match found {
            Some((_, answered)) => (answered.service.clone(), &answered.excluded),
            None => (Spans::EMPTY, &Spans::EMPTY),
        };
        let (in_period, excluded) = (service.within(self.period), excluded.within(self.period));
        match self.question.as_of_s.filter(|as_of_s| *as_of_s < self.period.until_s) {
            None => Times {
                service,
                eligible: in_period,
                remaining: None,
                excluded,
                excluded_to_come_s: 0,
            },
            Some(as_of_s) => {
                let past = Span { until_s: as_of_s, ..Span::ALWAYS };
                let future = Span { from_s: as_of_s, ..Span::ALWAYS };
                Times {
                    service,
                    eligible: in_period.within(past),
                    remaining: Some(in_period.within(future)),
                    excluded: excluded.within(past),
                    excluded_to_come_s: excluded.within(future).seconds(),
                }
            }
        }
    }

    /// The Down time of every availability objective, whatever its period.
    fn down_times(&self) -> Result<Vec<DownTime<'a>>, JudgeError> {
        let mut down_times = Vec::new();
        let availability = |objective: &&Objective| objective.measure == Measure::Availability;
        for objective in self.agreement.objectives().iter().filter(availability) {
            let times = self.times(objective);
            let agents = match &objective.vantages {
                Vantages::Quorum { .. } => vec![None],
                Vantages::Each(names) if names.is_empty() => {
                    self.windows.agents().map(Some).collect()
                }
                Vantages::Each(names) => names
                    .iter()
                    .filter_map(|name| self.windows.agent_number(name))
                    .map(Some)
                    .collect(),
            };
            for only in agents {
                let seen = self.case(objective, &times, only).observe(&[])?;
                down_times.push(DownTime { objective, only, seen });
            }
        }
        Ok(down_times)
    }

    /// What is seen of an objective; for an availability that was looked at already, that.
    fn observe(
        &self,
        objective: &Objective,
        times: &Times,
        only: Option<u32>,
        down_times: &[DownTime<'_>],
    ) -> Result<Observation, JudgeError> {
        let known =
            |down: &&DownTime<'_>| down.objective.name == objective.name && down.only == only;
        let mut seen = match down_times.iter().find(known) {
            Some(down) => down.seen.clone(),
            None => self.case(objective, times, only).observe(down_times)?,
        };
        if objective.credit.as_ref().is_some_and(counts_days) {
            seen.failed_days = self.failed_days(objective, times, only, down_times)?;
        }
        Ok(seen)
    }

    /// How many local days of the period have a value of their own that misses the target.
    fn failed_days(
        &self,
        objective: &Objective,
        times: &Times,
        only: Option<u32>,
        down_times: &[DownTime<'_>],
    ) -> Result<u64, JudgeError> {
        let mut failed = 0;
        for date in self.question.label.dates(self.agreement.zone()) {
            let eligible = times.eligible.within(date);
            if eligible.seconds() == 0 {
                continue;
            }
            let excluded = times.excluded.within(date);
            let day = Times { eligible, excluded, remaining: None, ..times.clone() };
            let seen = self.case(objective, &day, only).observe(down_times)?;
            let measured = seen.measured(objective);
            failed += u64::from(measured.is_some_and(|value| !value.meets(&objective.target).1));
        }
        Ok(failed)
    }

    fn case<'b>(&self, objective: &'b Objective, times: &'b Times, only: Option<u32>) -> Case<'b>
    where
        'a: 'b,
    {
        let dates = || self.question.label.dates(self.agreement.zone()).collect();
        let parts = Parts::of(&objective.measure, self.period, dates);
        let (windows, as_of_s) = (self.windows, self.question.as_of_s);
        Case { windows, objective, times, as_of_s, only, parts }
    }

    /// Judges one objective: all vantages together, or the worst of each alone.
    fn objective(
        &self,
        objective: &Objective,
        down_times: &[DownTime<'_>],
    ) -> Result<(ObjectiveVerdict, Due), JudgeError> {
        let times = self.times(objective);
        let Vantages::Each(names) = &objective.vantages else {
            let seen = self.observe(objective, &times, None, down_times)?;
            return Ok(self.verdict(objective, &times, &seen));
        };
        let names =
            if names.is_empty() { self.agents_seen(objective, &times)? } else { names.clone() };
        let mut worst: Option<(ObjectiveVerdict, Due)> = None;
        for name in names {
            let seen = match self.windows.agent_number(&name) {
                Some(agent) => self.observe(objective, &times, Some(agent), down_times)?,
                None => Observation::unseen(&times),
            };
            let (mut verdict, due) = self.verdict(objective, &times, &seen);
            if seen.agents.is_empty() && verdict.status == Status::Inconclusive {
                verdict.reason = Some(Reason::NoWindows);
            }
            verdict.agent = Some(name);
            if worst.as_ref().is_none_or(|(worst, _)| severity(&verdict) < severity(worst)) {
                worst = Some((verdict, due));
            }
        }
        Ok(worst.unwrap_or_else(|| self.verdict(objective, &times, &Observation::unseen(&times))))
    }

    /// The names of the agents with a window in the period, sorted.
    fn agents_seen(&self, objective: &Objective, times: &Times) -> Result<Vec<String>, JudgeError> {
        let seen = self.case(objective, times, None).observe(&[])?;
        let names: BTreeSet<&str> =
            seen.agents.iter().map(|agent| self.windows.agent_name(*agent)).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    fn verdict(
        &self,
        objective: &Objective,
        times: &Times,
        seen: &Observation,
    ) -> (ObjectiveVerdict, Due) {
        let value = seen.measured(objective).filter(|_| seen.seconds.eligible > 0);
        let to_come = times.remaining.as_ref().map(|_| self.to_come(objective, times));
        let standing = status::standing(objective, seen, value.as_ref(), to_come.as_ref());
        let of_time = objective.measure.is_of_time();
        let bracket = seen.downtime_bracket_s(objective.window.width_s).filter(|_| of_time);
        let verdict = ObjectiveVerdict {
            name: objective.name.to_string(),
            agent: None,
            status: standing.status,
            reason: standing.reason,
            target: objective.target.text.clone(),
            measure: objective.measure.clone(),
            limit: objective.target.limit.clone(),
            value,
            round: objective.round,
            band: standing.band,
            coverage: standing.coverage,
            seconds: seen.seconds,
            states: seen.states.clone(),
            outages: of_time.then(|| seen.outages.clone()),
            attempts: seen.attempts,
            downtime_bracket_s: bracket,
            budget_left: standing.budget_left,
            burn: standing.burn,
            agents: u64::try_from(seen.agents.len()).unwrap_or(u64::MAX),
            specs: seen.specs(),
            flagged: seen.flagged,
            conflicts: seen.conflicts,
            credit: None,
            next_band: None,
        };
        (verdict, standing.due)
    }

    /// Eligible time whose windows do not exist yet: the window in progress belongs to it.
    fn to_come(self, objective: &Objective, times: &Times) -> Spans {
        let width_s = i64::from(objective.window.width_s);
        let as_of_s = self.question.as_of_s.unwrap_or(self.period.until_s);
        let from_s = as_of_s.div_euclid(width_s) * width_s;
        times.service.within(self.period).within(Span { from_s, ..Span::ALWAYS })
    }
}

/// True for a credit by failed days.
fn counts_days(credit: &Credit) -> bool {
    matches!(&credit.form, CreditForm::Per(per) if per.of == PerOf::FailedDays)
}

/// The worst first: by status, then value, then name.
fn severity(verdict: &ObjectiveVerdict) -> (u8, Option<(bool, Exact)>, &str) {
    let status = match verdict.status {
        Status::Breached | Status::BreachCertain => 0,
        Status::AtRisk => 1,
        Status::Inconclusive | Status::Pending => 2,
        Status::OnTrack => 3,
        Status::Met | Status::MetCertain => 4,
        Status::NotApplicable => 5,
    };
    let value = verdict.value.as_ref().map(|value| value.goodness(verdict.measure.scale().good));
    (status, value, verdict.agent.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
