//! Reading: at the start the digests of all hours that have one and the records of the others, then what is new. What hours
//! come to together is taken over as it is read ([`Docket::take_over`]), so that the first round judges at once.
//!
//! An hour without digests gets them when it is complete and settled: it has been over for a while, and its latest record
//! came a while ago. Records are read for what a digest does not say, too: the latest windows, which a page draws with
//! their histograms.

use super::{Case, Docket, EvaluateError, Evaluator, add_record};
use crate::digest::{self, DigestError, Draft, Needs};
use crate::sla::{Added, EvidenceError, Observed};
use crate::store::{
    AnyStore, Cursor, Digest, HOUR_S, HourCursor, KnownAgent, NewDigest, Store as _, StoreError,
    StoredHour, StoredRecord, StreamId, TenantScope,
};
use probefleet_proto::report::Cell;
use std::collections::BTreeMap;

/// How long after the end of an hour, and after its latest record, it is settled, s. Its digest is not wrong before that:
/// the next record would only undo the work.
const SETTLED_S: u64 = 600;
/// How often it looks for hours that have become due, s.
const LOOK_S: u64 = 600;
/// Most streams of an hour whose digests are made at once: at most 1 MiB each, some 20 KiB in practice. Those of the others
/// are made the next time.
const STREAMS_MAX: usize = 4_096;

/// What digests are made of, and which hour is looked at next.
#[derive(Debug)]
pub(super) struct Digesting {
    needs: Needs,
    /// Hours before this one have been looked at in this pass.
    looked_to_s: u64,
    /// When the next pass begins.
    next_s: u64,
}

/// What is read of an hour.
#[derive(Debug, Default)]
struct Hour {
    begin_s: u64,
    /// Streams that are to be read from their records, and whose they are.
    others: BTreeMap<StreamId, KnownAgent>,
}

/// Takes a record into the evidence and into the digest that is being made.
struct Both<'a, 'n> {
    cases: &'a mut [Case],
    draft: Option<&'a mut Draft<'n>>,
}

// === impl Digesting ===

impl Digesting {
    pub(super) fn of(cases: &[Case]) -> Self {
        let asked: Vec<_> = cases.iter().map(|case| case.windows.asked()).collect();
        Self { needs: Needs::of(&asked), looked_to_s: 0, next_s: 0 }
    }

    /// Reads the records of an hour into the evidence, but for those of streams whose digest was taken, and keeps digests of
    /// the others if the hour is settled. `ends` is where streams ended before that.
    async fn read_hour(
        &self,
        (store, scope, ends): (&AnyStore, &TenantScope, &BTreeMap<StreamId, u64>),
        hour: &Hour,
        now_s: u64,
        (cases, from_s): (&mut [Case], u64),
    ) -> Result<(), EvaluateError> {
        let until_s = hour.begin_s + HOUR_S;
        let drafted = hour.others.keys().take(STREAMS_MAX);
        let mut drafts: BTreeMap<StreamId, Draft<'_>> =
            drafted.map(|stream| (*stream, Draft::new(&self.needs, hour.begin_s))).collect();
        let (mut cursor, mut latest_s) = (Cursor::before(hour.begin_s), until_s);
        loop {
            let page = store.records_between(scope, cursor, until_s).await?;
            let Some(last) = page.last() else { break };
            cursor = Cursor::from(last);
            for record in &page {
                let Some(agent) = hour.others.get(&record.stream) else { continue };
                latest_s = latest_s.max(record.received_s);
                let asked = record.window_start_s >= from_s;
                let cases = if asked { &mut *cases } else { &mut [] };
                let mut both = Both { cases, draft: drafts.get_mut(&record.stream) };
                add_record(std::slice::from_mut(&mut both), agent, record)?;
            }
        }
        if latest_s + SETTLED_S > now_s {
            return Ok(());
        }
        let made = drafts.into_iter().filter_map(|(stream, draft)| {
            let read_to = ends.get(&stream).copied()?;
            let basis = self.needs.basis(hour.others.get(&stream)?, hour.begin_s).to_vec();
            Some(NewDigest { stream, read_to, digest: Digest { basis, body: draft.encode() } })
        });
        Ok(store.keep_digests(scope, hour.begin_s, made.collect()).await?)
    }
}

// === impl Both ===

impl Docket for Both<'_, '_> {
    fn take(&mut self, observed: &Observed<'_>, cell: &Cell) -> Result<Added, EvidenceError> {
        for case in &mut *self.cases {
            case.take(observed, cell)?;
        }
        self.draft.as_mut().map_or(Ok(Added::NotAsked), |draft| draft.take(observed, cell))
    }
}

impl Evaluator {
    /// Reads the windows of the periods that are shown.
    pub(super) async fn load(&mut self, now_s: u64) -> Result<(), EvaluateError> {
        self.from_s = self.earliest_s(now_s);
        // The ends first: what is committed while it is read comes again in the first round, and is a duplicate.
        let ends = self.store.stream_ends(&self.scope).await?;
        self.read_to = ends.into_iter().map(|end| (end.stream, end.last_seq)).collect();
        self.learn_agents().await?;
        let drawn_from_s = self.cases.iter().map(|case| case.timeline.drawn_from_s(now_s)).min();
        let until_s = drawn_from_s.unwrap_or(now_s) / HOUR_S * HOUR_S;
        self.load_hours(until_s, now_s).await?;
        let mut cursor = Cursor::before(until_s.max(self.from_s));
        loop {
            let page = self.store.records_between(&self.scope, cursor, u64::MAX).await?;
            let Some(last) = page.last() else { break };
            cursor = Cursor::from(last);
            for record in &page {
                self.add(record)?;
            }
        }
        self.loaded = true;
        Ok(())
    }

    /// Reads the hours that end by an instant, from digests where they have them.
    async fn load_hours(&mut self, until_s: u64, now_s: u64) -> Result<(), EvaluateError> {
        let mut cursor = HourCursor::before(self.from_s);
        let mut hour = Hour::default();
        loop {
            let page = self.store.hours_after(&self.scope, cursor, until_s).await?;
            let Some(last) = page.last() else { break };
            cursor = HourCursor::from(last);
            for of_stream in page {
                if of_stream.hour_s != hour.begin_s {
                    let before = std::mem::take(&mut hour);
                    self.load_others(&before, now_s).await?;
                    hour.begin_s = of_stream.hour_s;
                }
                self.take_digest(of_stream, &mut hour)?;
            }
        }
        self.load_others(&hour, now_s).await
    }

    /// Takes the digest of a stream's hour, or notes that its records are to be read.
    fn take_digest(&mut self, of: StoredHour, hour: &mut Hour) -> Result<(), EvaluateError> {
        let Some(agent) = self.agents.get(&of.agent) else { return Ok(()) };
        let basis = self.digesting.needs.basis(agent, of.hour_s);
        let Some(digest) = of.digest.filter(|digest| digest.basis == basis) else {
            hour.others.insert(of.stream, agent.clone());
            return Ok(());
        };
        let place = (agent, of.hour_s, self.from_s);
        match digest::read(&digest.body, place, &mut self.cases) {
            Ok(()) => {}
            Err(DigestError::TooLong) => drop(hour.others.insert(of.stream, agent.clone())),
            Err(DigestError::Evidence(error)) => return Err(error.into()),
            Err(error @ DigestError::Damaged(_)) => {
                tracing::warn!(agent = %agent.name, hour_s = of.hour_s, %error, "its records are read instead");
                hour.others.insert(of.stream, agent.clone());
            }
        }
        Ok(())
    }

    /// Reads the records of those whose digest was not taken.
    async fn load_others(&mut self, hour: &Hour, now_s: u64) -> Result<(), EvaluateError> {
        if hour.others.is_empty() {
            return Ok(());
        }
        let from = (&self.store, &self.scope, &self.read_to);
        let into = (self.cases.as_mut_slice(), self.from_s);
        self.digesting.read_hour(from, hour, now_s, into).await
    }

    /// Makes the digests of the next hour that is due, if there is one.
    pub(super) async fn digest_next(&mut self, now_s: u64) -> Result<(), EvaluateError> {
        if now_s < self.digesting.next_s {
            return Ok(());
        }
        let settled_s = now_s.saturating_sub(HOUR_S + SETTLED_S - 1);
        let from_s = self.digesting.looked_to_s.max(self.from_s / HOUR_S * HOUR_S);
        let Some(begin_s) = self.store.hour_due(&self.scope, from_s, settled_s).await? else {
            (self.digesting.looked_to_s, self.digesting.next_s) = (0, now_s + LOOK_S);
            return Ok(());
        };
        let mut hour = Hour { begin_s, ..Hour::default() };
        let mut cursor = HourCursor::before(begin_s);
        loop {
            let page = self.store.hours_after(&self.scope, cursor, begin_s + HOUR_S).await?;
            let Some(last) = page.last() else { break };
            cursor = HourCursor::from(last);
            for of in page {
                let agent = self.agents.get(&of.agent).filter(|_| of.digest.is_none());
                hour.others.extend(agent.map(|agent| (of.stream, agent.clone())));
            }
        }
        // What they say is in the evidence already.
        let from = (&self.store, &self.scope, &self.read_to);
        self.digesting.read_hour(from, &hour, now_s, (&mut [], self.from_s)).await?;
        self.digesting.looked_to_s = begin_s + HOUR_S;
        Ok(())
    }

    /// Adds what was committed since; true when there was anything.
    pub(super) async fn read_news(&mut self) -> Result<bool, EvaluateError> {
        let mut news = false;
        for end in self.store.stream_ends(&self.scope).await? {
            let mut read_to = self.read_to.get(&end.stream).copied().unwrap_or_default();
            while read_to < end.last_seq {
                let page = self.store.records_after(&self.scope, end.stream, read_to).await?;
                let Some(last) = page.last() else { break };
                read_to = last.seq_to;
                if page.iter().any(|record| !self.agents.contains_key(&record.agent)) {
                    self.learn_agents().await?;
                }
                for record in &page {
                    self.add(record)?;
                }
                self.read_to.insert(end.stream, read_to);
                news = true;
            }
        }
        Ok(news)
    }

    async fn learn_agents(&mut self) -> Result<(), StoreError> {
        let known = self.store.agents(&self.scope).await?;
        self.agents = known.into_iter().map(|known| (known.agent, known)).collect();
        Ok(())
    }

    fn add(&mut self, record: &StoredRecord) -> Result<(), EvidenceError> {
        self.hear_late(record, self.cases.first().map_or(0, |case| case.now_s));
        let Some(agent) = self.agents.get(&record.agent) else { return Ok(()) };
        if record.window_start_s < self.from_s {
            return Ok(());
        }
        add_record(&mut self.cases, agent, record)
    }
}
