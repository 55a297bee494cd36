//! Closed periods that are no longer in memory: restated all the same when reports come for them, or when records of
//! excluded time change that matter to them.
//!
//! An agent that was cut off for weeks delivers what its spool holds, and each of those windows may belong to a period that
//! was published long ago. Such a period is read from the store, judged, published if it differs, and let go: one at a time,
//! some pages a round, so that neither memory nor what is shown of open periods suffers. Whatever comes for it meanwhile
//! has it read once more.
//!
//! What nobody was there to notice is found at the start: late reports of the last day of each stream, and published
//! periods whose records of excluded time are others now.

use super::closing::{Closed, File, QUIET_S, key};
use super::{Case, EvaluateError, Evaluator, add_record, with_context};
use crate::contract::Agreement;
use crate::contract::period::{PeriodKind, PeriodLabel, Span};
use crate::revision::Revision;
use crate::sla::life::{self, Closing, Heard, Stage};
use crate::sla::{Windows, exclusions_of};
use crate::store::{Cursor, PAGE_ROWS, Store as _, StoreError, StoredRecord, StreamId};
use probefleet_proto::record::Kind;
use probefleet_proto::report::Report;
use std::collections::BTreeMap;

/// Pages of records that are read of an older period in a round: some 16,000 windows of agents.
const PAGES_A_ROUND: usize = 32;
/// Agreements whose published periods are looked through in a round.
const SURVEYS_A_ROUND: usize = 16;
/// Most older periods of an agreement that wait: a year of days.
const OLDER_MAX: usize = 366;
/// How long after a period was final it is restated, s: a year. Whoever finds something later than that settles it apart.
const RESTATED_S: i64 = 366 * 86_400;
/// How far back in a stream late reports are looked for at the start, s: whoever ran before had a day for the rest.
const RECALL_S: u64 = 86_400;
/// Most pages of a stream that are looked through at the start: three months of minutes that came in one day.
const RECALL_PAGES_MAX: usize = 256;
/// A revision holds what was received so long before it, s: a round reads all that was there when it began.
const HELD_AFTER_S: i64 = 60;

/// What came for older periods of an agreement.
#[derive(Debug, Default)]
pub(super) struct Older {
    /// For each kind of period, where those in memory begin; nothing before they were judged for the first time.
    kept_from: Vec<(PeriodKind, i64)>,
    waiting: BTreeMap<PeriodLabel, Came>,
    /// Its records of excluded time were compared with those that periods were published with.
    surveyed: bool,
}

/// What came for an older period.
#[derive(Clone, Copy, Debug)]
struct Came {
    heard: Heard,
    /// When the latest of it came, s since 1970.
    at_s: i64,
}

/// An older period that is being judged anew.
#[derive(Debug)]
pub(super) struct Reopened {
    /// The agreement's place among all.
    case: usize,
    closed: Closed,
    looks_at: Span,
    windows: Windows,
    cursor: Cursor,
    all_read: bool,
}

/// Streams whose end is yet to be looked through.
#[derive(Debug, Default)]
pub(super) struct Recall(Option<Vec<(StreamId, u64)>>);

// === impl Older ===

impl Older {
    /// Takes note of the periods that are in memory.
    pub(super) fn keep(&mut self, kept: impl Iterator<Item = (PeriodKind, i64)>) {
        self.kept_from.clear();
        for (kind, from_s) in kept {
            match self.kept_from.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, first_s)) => *first_s = from_s.min(*first_s),
                None => self.kept_from.push((kind, from_s)),
            }
        }
    }

    /// Takes note of a period that is let go while what came for it may not have been published yet.
    pub(super) fn take_over(&mut self, agreement: &Agreement, gone: &Closed) {
        if let Some(at_s) = gone.disturbed_s() {
            self.wait(agreement, gone.label, Came { heard: gone.heard(), at_s });
        }
    }

    /// Windows that begin from here on belong to periods in memory only.
    pub(super) fn recent_s(&self) -> i64 {
        self.kept_from.iter().map(|(_, from_s)| *from_s).max().unwrap_or(i64::MIN)
    }

    /// The records of excluded time are others now.
    pub(super) fn survey_anew(&mut self) {
        self.surveyed = false;
    }

    /// Takes note that a window which begins at an instant has come: for its own period, and for those in whose context it
    /// lies.
    fn hear(&mut self, agreement: &Agreement, start_s: i64, at_s: i64) {
        let late = Came { heard: Heard { late: true, exclusions: false }, at_s };
        for (kind, kept_s) in self.kept_from.clone() {
            let mut instant_s = start_s;
            while instant_s < kept_s {
                let label = PeriodLabel::at(kind, agreement.zone(), instant_s);
                let Some(label) = label else { break };
                let Ok(period) = label.span(agreement.zone()) else { break };
                if with_context(period).from_s > start_s || period.until_s <= instant_s {
                    break;
                }
                self.wait(agreement, label, late);
                instant_s = period.until_s;
            }
        }
    }

    fn wait(&mut self, agreement: &Agreement, label: PeriodLabel, came: Came) {
        let full = self.waiting.len() >= OLDER_MAX;
        match self.waiting.get_mut(&label) {
            Some(before) => {
                before.heard.late |= came.heard.late;
                before.heard.exclusions |= came.heard.exclusions;
                before.at_s = before.at_s.max(came.at_s);
            }
            None if full => not_taken(agreement, label, "too many other periods wait for it"),
            None => drop(self.waiting.insert(label, came)),
        }
    }

    /// One for which nothing has come for a while.
    fn next(&mut self, now_s: i64) -> Option<(PeriodLabel, Came)> {
        let quiet = |came: &Came| came.at_s.saturating_add(QUIET_S) <= now_s;
        let label = self.waiting.iter().find(|(_, came)| quiet(came)).map(|(label, _)| *label)?;
        self.waiting.remove_entry(&label)
    }
}

// === impl Evaluator ===

impl Evaluator {
    /// Takes note of a report for periods that are no longer in memory.
    pub(super) fn hear_late(&mut self, record: &StoredRecord, received_s: i64) {
        let start_s = i64::try_from(record.window_start_s).unwrap_or(i64::MAX);
        if start_s >= self.late_before_s || record.kind != Kind::Report {
            return;
        }
        let Ok(report) = Report::decode(&record.payload) else { return };
        for case in &mut self.cases {
            let mut objectives = case.agreement.objectives().iter();
            let asked = objectives.any(|objective| {
                let mut probes = objective.probes.iter();
                probes.any(|probe| report.cells.iter().any(|cell| cell.probe == probe.as_str()))
            });
            if asked {
                case.older.hear(&case.agreement, start_s, received_s);
            }
        }
    }

    /// A step towards the restatement of older periods: finds them, or reads on in the one that is open again. True when
    /// that is there to be judged.
    pub(super) async fn reopen(&mut self, now_s: u64) -> Result<bool, EvaluateError> {
        if !self.loaded {
            return Ok(false);
        }
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        self.recall().await?;
        self.survey(now_s).await?;
        if self.reopened.is_none() {
            self.reopened = self.next_older(now_s).await?;
        }
        self.read_older().await?;
        Ok(self.reopened.as_ref().is_some_and(|reopened| reopened.all_read))
    }

    /// Judges the older period that was read.
    pub(super) fn judge_reopened(&mut self) {
        let Some(reopened) = &mut self.reopened else { return };
        let Some(case) = self.cases.get(reopened.case) else { return };
        let judged = reopened.closed.verdict(File {
            agreement: &case.agreement,
            windows: &reopened.windows,
            exclusions: case.exclusions.get(),
            countersigned: case.countersigned,
            known_since_s: i64::MIN,
        });
        if let Err(error) = judged {
            not_taken(&case.agreement, reopened.closed.label, &error);
        }
    }

    /// Publishes what is due of the older period that was judged, and lets it go.
    pub(super) async fn publish_reopened(&mut self, now_s: u64) -> Result<(), StoreError> {
        let now_s = i64::try_from(now_s).unwrap_or(i64::MAX);
        let Some(mut reopened) = self.reopened.take() else { return Ok(()) };
        let Some(case) = self.cases.get_mut(reopened.case) else { return Ok(()) };
        let label = reopened.closed.label;
        let published =
            reopened.closed.publish(&case.agreement, (&self.store, &self.scope), now_s).await;
        if published.is_err() {
            // Again, when the store is well.
            let came = Came { heard: reopened.closed.heard(), at_s: now_s };
            case.older.wait(&case.agreement, label, came);
        }
        published.map(|_| ())
    }

    /// The next older period that is to be restated, if that may be.
    async fn next_older(&mut self, now_s: i64) -> Result<Option<Reopened>, StoreError> {
        for (number, case) in self.cases.iter_mut().enumerate() {
            while let Some((label, came)) = case.older.next(now_s) {
                let Ok(period) = label.span(case.agreement.zone()) else { continue };
                let key = key(&case.agreement, label);
                let read =
                    self.store.revisions(&self.scope, &key.agreement, Some(&key.period)).await;
                let revisions: Vec<Revision> = match read {
                    Ok(read) => read.into_iter().map(|(_, revision)| revision).collect(),
                    Err(error) => {
                        case.older.wait(&case.agreement, label, came);
                        return Err(error);
                    }
                };
                if is_settled(&revisions, came) {
                    continue;
                }
                if let Some(why) = refusal(case, period, (&revisions, now_s)) {
                    not_taken(&case.agreement, label, why);
                    continue;
                }
                let looks_at = with_context(period);
                return Ok(Some(Reopened {
                    case: number,
                    closed: Closed::reopened((label, period), came.heard, revisions),
                    looks_at,
                    windows: Windows::for_agreement(&case.agreement),
                    cursor: Cursor::before(u64::try_from(looks_at.from_s).unwrap_or_default()),
                    all_read: false,
                }));
            }
        }
        Ok(None)
    }

    /// Reads on in the period that is open again; lets it go where something has come for it meanwhile.
    async fn read_older(&mut self) -> Result<(), StoreError> {
        let Some(reopened) = &mut self.reopened else { return Ok(()) };
        let Some(case) = self.cases.get(reopened.case) else { return Ok(()) };
        let until_s = u64::try_from(reopened.looks_at.until_s).unwrap_or_default();
        for _ in 0..PAGES_A_ROUND {
            let page = self.store.records_between(&self.scope, reopened.cursor, until_s).await?;
            let Some(last) = page.last() else {
                reopened.all_read = true;
                break;
            };
            reopened.cursor = Cursor::from(last);
            for record in &page {
                let Some(agent) = self.agents.get(&record.agent) else { continue };
                let into = std::slice::from_mut(&mut reopened.windows);
                if let Err(error) = add_record(into, agent, record) {
                    not_taken(&case.agreement, reopened.closed.label, &error.to_string());
                    self.reopened = None;
                    return Ok(());
                }
            }
        }
        if case.older.waiting.contains_key(&reopened.closed.label) {
            self.reopened = None;
        }
        Ok(())
    }

    /// Looks through the end of one stream for late reports that nobody may have taken note of.
    async fn recall(&mut self) -> Result<(), StoreError> {
        let all = || self.read_to.iter().map(|(stream, last_seq)| (*stream, *last_seq)).collect();
        let Some((stream, last_seq)) = self.recall.0.get_or_insert_with(all).pop() else {
            return Ok(());
        };
        let (mut to, mut newest_s) = (last_seq, None);
        for _ in 0..RECALL_PAGES_MAX {
            let after = to.saturating_sub(u64::from(PAGE_ROWS));
            let page = self.store.records_after(&self.scope, stream, after).await?;
            let page: Vec<&StoredRecord> = page.iter().filter(|it| it.seq <= to).collect();
            let Some((first, last)) = page.first().zip(page.last()) else { break };
            let since_s = newest_s.get_or_insert(last.received_s).saturating_sub(RECALL_S);
            for record in page.iter().filter(|record| record.received_s >= since_s) {
                let received_s = i64::try_from(record.received_s).unwrap_or(i64::MAX);
                self.hear_late(record, received_s);
            }
            if first.received_s < since_s || after == 0 {
                break;
            }
            to = after;
        }
        Ok(())
    }

    /// Looks which published periods were judged by other records of excluded time than there are now.
    async fn survey(&mut self, now_s: i64) -> Result<(), StoreError> {
        let due = self.cases.iter_mut().filter(|case| !case.older.surveyed);
        for case in due.take(SURVEYS_A_ROUND) {
            let id = case.agreement.id().as_str();
            let mut latest: BTreeMap<String, Revision> = BTreeMap::new();
            latest.extend(self.store.revisions(&self.scope, id, None).await?);
            case.older.surveyed = true;
            for (label, revision) in latest {
                let Ok(label) = PeriodLabel::parse(&label) else { continue };
                let label = case.agreement.meant(label);
                let Ok(period) = label.span(case.agreement.zone()) else { continue };
                let kept = case.closed.iter().any(|closed| closed.label == label);
                let agreement = &case.agreement;
                let own = exclusions_of(agreement, case.exclusions.get(), with_context(period));
                if !kept && life::excludes_other_time(&revision, &own) {
                    let heard = Heard { late: false, exclusions: true };
                    let came = Came { heard, at_s: now_s.saturating_sub(QUIET_S) };
                    case.older.wait(&case.agreement, label, came);
                }
            }
        }
        Ok(())
    }
}

/// There is nothing to restate: nothing was published, or what came is in it already.
fn is_settled(revisions: &[Revision], came: Came) -> bool {
    let held = |revision: &Revision| came.at_s.saturating_add(HELD_AFTER_S) < revision.made_s;
    revisions.last().is_none_or(|latest| !came.heard.exclusions && held(latest))
}

/// Why a published period is not restated.
fn refusal(
    case: &Case,
    period: Span,
    (revisions, now_s): (&[Revision], i64),
) -> Option<&'static str> {
    let latest = revisions.last()?;
    if latest.basis.terms != life::terms(&case.agreement, case.countersigned) {
        return Some(
            "the agreement has changed since it was published, and it is not judged by another one",
        );
    }
    match Closing::of(&case.agreement, period).stage(now_s, revisions) {
        Stage::Final { since_s } if since_s.saturating_add(RESTATED_S) <= now_s => {
            Some("it has been final for more than a year")
        }
        _ => None,
    }
}

fn not_taken(agreement: &Agreement, period: PeriodLabel, why: &str) {
    tracing::warn!(
        agreement = %agreement.id(), %period,
        "what came for a published period does not restate it: {why}; `report` says what would be due"
    );
}
