//! The shell round [`crate::sla`]: reads what came in, judges, and publishes a snapshot that never changes.
//!
//! The evidence of the current and the last closed period of every agreement stays in memory, compact; each round adds
//! only what was committed since the last one ([`reading`]). It can be thrown away at any time: the records are the truth. So can the
//! [`crate::timeline`] that is filled beside it, for pages to draw. What stays is what is published of closed periods
//! ([`crate::sla::life`]): it goes into the store.

mod closing;
mod evidence;
mod older;
mod reading;
mod records;
mod rounds;
mod stretch;

pub use closing::key;
pub use evidence::{Docket, add_record};
pub use rounds::run;
pub use stretch::read_stretch;

use closing::{Closed, File};
use older::{Older, Recall, Reopened};
use reading::Digesting;
use records::Records;

use crate::config::Signed;
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::{PeriodKind, PeriodLabel, Span};
use crate::sla::evidence::Merged;
use crate::sla::life::{Life, Stage};
use crate::sla::{Added, EvidenceError, JudgeError, Observed, Question, Verdict, Windows};
use crate::store::{AnyStore, KnownAgent, StoreError, StreamId, TenantScope};
use crate::timeline::{Picture, Timeline};
use probefleet_proto::report::Cell;
use probefleet_proto::window;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// How long after its end a window is expected to have arrived, s: agents seal after one second.
const SETTLE_S: u64 = 5;
/// How far before a period windows are looked at, s: an outage that began before it needs its beginning.
const CONTEXT_S: i64 = 86_400;

/// What is known of all agreements at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was made, Unix seconds; 0 = never yet.
    pub made_s: u64,
    /// When the evaluator last had nothing to complain of, Unix seconds.
    pub fresh_s: u64,
    /// The instant that open periods are judged at, Unix seconds: windows that end later do not exist.
    pub as_of_s: u64,
    /// Why the last round failed.
    pub failure: Option<String>,
    /// The agreements in the order of the configuration.
    pub agreements: Vec<AgreementNow>,
}

/// What is known of an agreement.
#[derive(Clone, Debug)]
pub struct AgreementNow {
    /// The agreement.
    pub agreement: Arc<Agreement>,
    /// The operator declares that it is countersigned.
    pub countersigned: bool,
    /// For each kind of period: the one that is open, then the last closed one.
    pub periods: Vec<PeriodNow>,
    /// Closed periods before those that take late reports still, or did so a moment ago; without pictures.
    pub waiting: Vec<PeriodNow>,
    /// What is wrong with its file of exclusions: the last good one is used.
    pub complaint: Option<String>,
}

/// What is known of a period of an agreement.
#[derive(Clone, Debug)]
pub struct PeriodNow {
    /// Its label.
    pub label: PeriodLabel,
    /// It is not over yet.
    pub open: bool,
    /// Where it stands, and what was published of it.
    pub life: Life,
    /// The verdict, or why there is none.
    pub verdict: Result<Arc<Verdict>, String>,
    /// What is drawn of each objective of the verdict, in its order.
    pub pictures: Arc<[Picture]>,
}

/// The evaluator cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is too much of it.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// The instant at which an open period is judged: the end of the last window that had time to arrive, Unix seconds.
#[must_use]
pub fn as_of_s(now_s: u64, window_s: u32) -> u64 {
    window::start_s(now_s.saturating_sub(SETTLE_S), window_s)
}

// === the evidence in memory ===

/// The evidence of all agreements, and how far it has been read.
#[derive(Debug)]
struct Evaluator {
    store: AnyStore,
    scope: TenantScope,
    window_s: u32,
    cases: Vec<Case>,
    agents: BTreeMap<Uuid, KnownAgent>,
    read_to: BTreeMap<StreamId, u64>,
    from_s: u64,
    digesting: Digesting,
    loaded: bool,
    judged_at: Option<u64>,
    /// Windows that begin before may belong to periods that are no longer in memory.
    late_before_s: i64,
    recall: Recall,
    reopened: Option<Reopened>,
}

/// An agreement with its evidence.
#[derive(Debug)]
struct Case {
    agreement: Arc<Agreement>,
    countersigned: bool,
    exclusions: Records,
    /// The closed periods that are kept.
    closed: Vec<Closed>,
    /// What came for those that are not.
    older: Older,
    windows: Windows,
    timeline: Timeline,
    /// When the records at hand were read, s since 1970: the timeline draws nothing much later.
    now_s: i64,
}

impl Evaluator {
    fn new(store: AnyStore, scope: TenantScope, agreements: Vec<Signed>, window_s: u32) -> Self {
        let cases = agreements.into_iter().map(|signed| Case {
            windows: Windows::for_agreement(&signed.agreement),
            timeline: Timeline::for_agreement(&signed.agreement),
            now_s: 0,
            agreement: Arc::new(signed.agreement),
            countersigned: signed.countersigned,
            exclusions: Records::new(signed.exclusions),
            closed: Vec::new(),
            older: Older::default(),
        });
        let cases: Vec<Case> = cases.collect();
        Self {
            store,
            scope,
            window_s,
            digesting: Digesting::of(&cases),
            cases,
            agents: BTreeMap::new(),
            read_to: BTreeMap::new(),
            from_s: 0,
            loaded: false,
            judged_at: None,
            late_before_s: i64::MIN,
            recall: Recall::default(),
            reopened: None,
        }
    }

    /// Reads what there is to read; true when it is time to judge.
    async fn read(&mut self, now_s: u64) -> Result<bool, EvaluateError> {
        let instant_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        self.cases.iter_mut().for_each(|case| case.now_s = instant_s);
        let news = if self.loaded {
            let news = self.read_news().await?;
            self.digest_next(now_s).await?;
            news
        } else {
            self.load(now_s).await?;
            true
        };
        let news = self.cases.iter_mut().fold(news, |news, case| case.refresh() || news);
        Ok(news || self.judged_at != Some(as_of_s(now_s, self.window_s)))
    }

    /// The first second that any shown period looks at.
    fn earliest_s(&self, now_s: u64) -> u64 {
        let starts = self.cases.iter().flat_map(|case| {
            let labels = kept_periods(&case.agreement, now_s);
            labels.into_iter().filter_map(|(label, _)| label.span(case.agreement.zone()).ok())
        });
        let earliest_s = starts.map(|span| span.from_s.saturating_sub(CONTEXT_S)).min();
        earliest_s.and_then(|from_s| u64::try_from(from_s).ok()).unwrap_or(now_s)
    }

    /// Lets go of what no shown period looks at any more.
    fn forget(&mut self, now_s: u64) {
        let from_s = self.earliest_s(now_s);
        if from_s <= self.from_s {
            return;
        }
        self.from_s = from_s;
        let instant_s = i64::try_from(from_s).unwrap_or(i64::MAX);
        for case in &mut self.cases {
            case.windows.forget_before(instant_s);
            case.timeline.forget_before(instant_s);
        }
    }

    fn judge(&mut self, now_s: u64) -> Snapshot {
        let as_of_s = as_of_s(now_s, self.window_s);
        self.judged_at = Some(as_of_s);
        self.forget(as_of_s);
        let first_seen = self.agents.values().map(|agent| agent.first_seen_s).min();
        let known_since_s = first_seen.and_then(|at_s| i64::try_from(at_s).ok());
        let known_since_s = known_since_s.unwrap_or(i64::MAX);
        let judged = self.cases.iter_mut().map(|case| case.judge(as_of_s, known_since_s));
        let agreements = judged.collect();
        let recent = self.cases.iter().map(|case| case.older.recent_s());
        self.late_before_s = recent.max().unwrap_or(i64::MIN);
        Snapshot { made_s: now_s, fresh_s: now_s, as_of_s, failure: None, agreements }
    }

    /// Publishes what is due of closed periods, and says in the snapshot where they stand; true when anything has changed.
    async fn publish(&mut self, snapshot: &mut Snapshot, now_s: u64) -> Result<bool, StoreError> {
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        let mut changed = false;
        for case in &mut self.cases {
            for closed in &mut case.closed {
                let into = (&self.store, &self.scope);
                changed |= closed.publish(&case.agreement, into, now_s).await?;
            }
        }
        for (case, now) in self.cases.iter().zip(&mut snapshot.agreements) {
            for period in now.periods.iter_mut().chain(&mut now.waiting) {
                let closed = case.closed.iter().find(|closed| closed.label == period.label);
                let Some(closed) = closed.filter(|_| !period.open) else { continue };
                let life = closed.life(&case.agreement, now_s);
                changed |= life != period.life;
                period.life = life;
            }
        }
        Ok(changed)
    }
}

impl Docket for Case {
    fn take(&mut self, observed: &Observed<'_>, cell: &Cell) -> Result<Added, EvidenceError> {
        let added = self.windows.add(observed)?;
        if added == Added::New {
            self.timeline.add(observed, cell, self.now_s);
        }
        if matches!(added, Added::New | Added::Conflict) {
            self.closed.iter_mut().for_each(|closed| closed.hear(observed.start_s, self.now_s));
        }
        Ok(added)
    }

    fn take_over(&mut self, merged: &Merged<'_>) {
        self.windows.take_over(merged);
    }
}

impl Case {
    /// Looks whether the records of excluded time have changed; true when they have.
    fn refresh(&mut self) -> bool {
        let changed = self.exclusions.refresh(&self.agreement);
        if changed {
            self.closed.iter_mut().for_each(Closed::forget_verdict);
            self.older.survey_anew();
        }
        changed
    }

    fn judge(&mut self, as_of_s: u64, known_since_s: i64) -> AgreementNow {
        let agreement = Arc::clone(&self.agreement);
        let (mut periods, mut waiting) = (Vec::new(), Vec::new());
        let mut before = std::mem::take(&mut self.closed);
        let mut kept = Vec::new();
        for (label, place) in kept_periods(&agreement, as_of_s) {
            let Ok(period) = label.span(agreement.zone()) else { continue };
            kept.push((label.kind(), period.from_s));
            let verdict = if place == Place::Open {
                let question = (label, as_of_s, self.countersigned);
                let verdict = judge(&agreement, &self.windows, self.exclusions.get(), question);
                verdict.map(Arc::new).map_err(|error| error.to_string())
            } else {
                let known = before.iter().position(|closed| closed.label == label);
                let known = known.map(|index| before.swap_remove(index));
                let mut closed = known.unwrap_or_else(|| Closed::new(label, period));
                let verdict = closed.verdict(File {
                    agreement: &agreement,
                    windows: &self.windows,
                    exclusions: self.exclusions.get(),
                    countersigned: self.countersigned,
                    known_since_s,
                });
                self.closed.push(closed);
                verdict
            };
            let open = place == Place::Open;
            let life = Life::of(&agreement, period, self.now_s.max(0), Arc::default());
            let life = if open { Life { stage: Stage::Open, ..life } } else { life };
            let drawn = verdict.iter().filter(|_| place != Place::Waiting);
            let pictures = drawn.flat_map(|verdict| self.pictures(verdict, open)).collect();
            let list = if place == Place::Waiting { &mut waiting } else { &mut periods };
            list.push(PeriodNow { label, open, life, verdict, pictures });
        }
        self.older.keep(kept.into_iter());
        for gone in before {
            self.older.take_over(&agreement, &gone);
        }
        AgreementNow {
            countersigned: self.countersigned,
            complaint: self.exclusions.problem().map(str::to_owned),
            agreement,
            periods,
            waiting,
        }
    }

    /// What is drawn of a verdict's objectives.
    fn pictures(&mut self, verdict: &Verdict, open: bool) -> Vec<Picture> {
        let as_of_s = verdict.as_of_s.filter(|_| open);
        let all = self.agreement.objectives();
        let pictures = verdict.objectives.iter().map(|judged| {
            let mut numbered = all.iter().enumerate();
            match numbered.find(|(_, objective)| objective.name.as_str() == judged.name) {
                Some(of) => self.timeline.picture(of, &self.windows, judged, as_of_s),
                None => Picture::default(),
            }
        });
        pictures.collect()
    }
}

/// Judges a period: at an instant while it is open, as a whole once it is over. What is asked: the period, that instant,
/// Unix seconds, and whether the agreement is countersigned.
///
/// # Errors
/// [`JudgeError`] when the label does not fit the agreement.
pub fn judge(
    agreement: &Agreement,
    windows: &Windows,
    exclusions: &Exclusions,
    (label, as_of_s, signed): (PeriodLabel, u64, bool),
) -> Result<Verdict, JudgeError> {
    let as_of_s = i64::try_from(as_of_s).unwrap_or(i64::MAX);
    let until_s = label.span(agreement.zone())?.until_s;
    let question = Question { label, as_of_s: (as_of_s < until_s).then_some(as_of_s), signed };
    crate::sla::judge(agreement, windows, exclusions, &question)
}

/// The windows that a period's verdict looks at: its own, and those in which an outage may have begun.
#[must_use]
pub fn with_context(period: Span) -> Span {
    Span { from_s: period.from_s.saturating_sub(CONTEXT_S), until_s: period.until_s }
}

/// The windows that a period's verdict looks at, and while it is open at an instant (Unix seconds) those of burn rates,
/// which reach back over its beginning. A running collector has them: it keeps the period before.
///
/// # Errors
/// [`JudgeError`] when the period has no bounds.
pub fn looks_at(
    agreement: &Agreement,
    exclusions: &Exclusions,
    (label, as_of_s): (PeriodLabel, u64),
) -> Result<Span, JudgeError> {
    let span = with_context(label.span(agreement.zone())?);
    let as_of_s = i64::try_from(as_of_s).unwrap_or(i64::MAX);
    if as_of_s >= span.until_s {
        return Ok(span);
    }
    let burn_s = crate::sla::burn_from_s(agreement, exclusions, (label, as_of_s))?;
    Ok(Span { from_s: span.from_s.min(burn_s), ..span })
}

/// Why a period is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is not over.
    Open,
    /// It is the last closed one.
    Last,
    /// It takes late reports still, or did so a moment ago.
    Waiting,
}

/// For each kind of period of an agreement: the open one and those before that matter, where they lie in the term.
fn kept_periods(agreement: &Agreement, now_s: u64) -> Vec<(PeriodLabel, Place)> {
    let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
    let mut kinds: Vec<PeriodKind> = Vec::new();
    for objective in agreement.objectives() {
        if !kinds.contains(&objective.period) {
            kinds.push(objective.period);
        }
    }
    let mut periods = Vec::new();
    for kind in kinds {
        let Some(open) = PeriodLabel::at(kind, agreement.zone(), now_s) else { continue };
        periods.push((open, Place::Open));
        let last = open.previous().filter(|label| {
            let span = label.span(agreement.zone());
            span.is_ok_and(|span| span.meet(agreement.terms().term).seconds() > 0)
        });
        let Some(last) = last else { continue };
        periods.push((last, Place::Last));
        let waiting = closing::waiting(agreement, last, now_s);
        periods.extend(waiting.into_iter().map(|label| (label, Place::Waiting)));
    }
    periods
}

// === the service ===

#[cfg(test)]
mod tests;
