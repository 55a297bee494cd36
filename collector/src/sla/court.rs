//! One question before all objectives of an agreement: what is seen of each, and how it is judged.
//!
//! The Down time of availabilities is looked at first, because other objectives ask for it. A right to terminate is asked
//! of earlier periods, too, each as a question of its own.

use super::band::Due;
use super::measure::{Case, DownTime, Observation, Times};
use super::parts::Parts;
use super::span::Spans;
use super::termination::{self, Closed};
use super::verdict::{ObjectiveVerdict, Reason, Status};
use super::{JudgeError, LATE_S, Question, Windows, exclusion, status};
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::model::{Credit, CreditForm, Kind, Measure, Objective, PerOf, Vantages};
use crate::contract::number::Exact;
use crate::contract::period::Span;
use std::collections::BTreeSet;

/// An objective with its judgement, and what that costs where somebody owes it.
pub(super) struct Judged<'a> {
    pub(super) objective: &'a Objective,
    pub(super) verdict: ObjectiveVerdict,
    pub(super) due: Due,
}

/// One question before all objectives.
#[derive(Clone, Copy)]
pub(super) struct Court<'a> {
    pub(super) agreement: &'a Agreement,
    pub(super) windows: &'a Windows,
    pub(super) question: &'a Question,
    pub(super) period: Span,
    /// Of each objective of the agreement. The same in every period, so a long look back does not walk the calendar for each.
    pub(super) answered: &'a [Answered],
}

/// The time for which the provider answers by an objective.
pub(super) struct Answered {
    /// Service time without what is excluded.
    pub(super) service: Spans,
    /// Service time that is excluded.
    excluded: Spans,
}

/// See [`Court::answered`]; the horizon is the time that anything is known of, the period, and some more.
pub(super) fn answered(
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
    pub(super) fn judged(&self) -> Result<Vec<Judged<'a>>, JudgeError> {
        let down_times = self.down_times()?;
        let judged = self.objectives().map(|objective| {
            let (verdict, due) = self.objective(objective, &down_times)?;
            Ok(Judged { objective, verdict, due })
        });
        judged.collect()
    }

    /// True when the customer may terminate after this period and the earlier ones that the windows cover.
    pub(super) fn termination_right(&self, judged: &[Judged<'_>]) -> Result<bool, JudgeError> {
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
