//! A stretch of time from the store, for one agreement and without a running collector: from the digests of hours that have
//! them, from records elsewhere. It only reads: hours without a digest get theirs from the service. Whoever doubts the store has
//! the records alone read: nobody signs a digest, nor that an hour has any reports.

use super::{EvaluateError, add_record};
use crate::contract::Agreement;
use crate::contract::period::Span;
use crate::digest::{self, DigestError, Needs};
use crate::sla::Windows;
use crate::store::{
    AnyStore, Cursor, HOUR_S, HourCursor, KnownAgent, Store as _, StoredHour, StreamId, TenantScope,
};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Reads the windows of an agreement that begin in a stretch; `all` are the agreements that the store's collector judges,
/// because its digests say what those ask together. With `from_records` no digest is looked at, and not which hours there are.
///
/// # Errors
/// [`EvaluateError`] when the store cannot be read, or there is no room.
pub async fn read_stretch<'a>(
    (store, scope): (&AnyStore, &TenantScope),
    (agreement, all): (&Agreement, impl Iterator<Item = &'a Agreement>),
    (stretch, from_records): (Span, bool),
) -> Result<Windows, EvaluateError> {
    let known = store.agents(scope).await?;
    let seconds = |instant_s: i64| u64::try_from(instant_s).unwrap_or_default();
    let asked: Vec<_> = all.map(|one| Windows::for_agreement(one).asked()).collect();
    let mut reading = Reading {
        store,
        scope,
        needs: Needs::of(&asked),
        agents: known.into_iter().map(|known| (known.agent, known)).collect(),
        from_s: seconds(stretch.from_s),
        until_s: seconds(stretch.until_s),
        windows: [Windows::for_agreement(agreement)],
    };
    if from_records {
        let whole = (reading.from_s, reading.until_s);
        reading.records_between(whole, |_| true).await?;
    } else {
        reading.hours().await?;
    }
    let [windows] = reading.windows;
    Ok(windows)
}

/// A stretch that is being read.
struct Reading<'a> {
    store: &'a AnyStore,
    scope: &'a TenantScope,
    needs: Needs,
    agents: BTreeMap<Uuid, KnownAgent>,
    from_s: u64,
    until_s: u64,
    windows: [Windows; 1],
}

impl Reading<'_> {
    async fn hours(&mut self) -> Result<(), EvaluateError> {
        let mut cursor = HourCursor::before(self.from_s);
        let (mut begin_s, mut others) = (0, BTreeSet::new());
        loop {
            let page = self.store.hours_after(self.scope, cursor, self.until_s).await?;
            let Some(last) = page.last() else { break };
            cursor = HourCursor::from(last);
            for of in page {
                if of.hour_s != begin_s {
                    self.records(begin_s, &std::mem::take(&mut others)).await?;
                    begin_s = of.hour_s;
                }
                if !self.take_digest(&of)? {
                    others.insert(of.stream);
                }
            }
        }
        self.records(begin_s, &others).await
    }

    /// Takes the digest of a stream's hour, if there is one that holds and the stretch does not end within the hour.
    fn take_digest(&mut self, of: &StoredHour) -> Result<bool, EvaluateError> {
        let Some(agent) = self.agents.get(&of.agent) else { return Ok(false) };
        let basis = self.needs.basis(agent, of.hour_s);
        let holds = of.digest.as_ref().filter(|digest| digest.basis == basis);
        let Some(digest) = holds.filter(|_| of.hour_s + HOUR_S <= self.until_s) else {
            return Ok(false);
        };
        match digest::read(&digest.body, (agent, of.hour_s, self.from_s), &mut self.windows) {
            Ok(()) => Ok(true),
            Err(DigestError::TooLong) => Ok(false),
            Err(DigestError::Evidence(error)) => Err(error.into()),
            Err(error @ DigestError::Damaged(_)) => {
                tracing::warn!(agent = %agent.name, hour_s = of.hour_s, %error, "its records are read instead");
                Ok(false)
            }
        }
    }

    /// Reads the records of streams in an hour, as far as they lie in the stretch.
    async fn records(
        &mut self,
        begin_s: u64,
        streams: &BTreeSet<StreamId>,
    ) -> Result<(), EvaluateError> {
        if streams.is_empty() {
            return Ok(());
        }
        let within_s = (begin_s.max(self.from_s), self.until_s.min(begin_s + HOUR_S));
        self.records_between(within_s, |stream| streams.contains(&stream)).await
    }

    /// Reads the records of the streams that are wanted and of the windows that begin in `[from_s, until_s)`.
    async fn records_between(
        &mut self,
        (from_s, until_s): (u64, u64),
        is_wanted: impl Fn(StreamId) -> bool,
    ) -> Result<(), EvaluateError> {
        let mut cursor = Cursor::before(from_s);
        loop {
            let page = self.store.records_between(self.scope, cursor, until_s).await?;
            let Some(last) = page.last() else { return Ok(()) };
            cursor = Cursor::from(last);
            for record in page.iter().filter(|record| is_wanted(record.stream)) {
                if let Some(agent) = self.agents.get(&record.agent) {
                    add_record(&mut self.windows, agent, record)?;
                }
            }
        }
    }
}
