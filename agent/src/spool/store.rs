//! The segments of one spool and what may be done with them. Blocking: only the spool's thread calls it.

mod leave;
mod refuse;

use super::disk::Disk;
use super::files::{self, At as _, Name};
use super::gap::{Lost, Place};
use super::scan::{Frame, Scan, mend, report_of, stored_at};
use super::segment::{Header, encode_record};
use super::{Limits, Mishaps, SpoolError, SpoolState};
use crate::evidence::EvidenceKey;
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most records in one answer: with payloads of a few bytes a limit in bytes alone would not bound it.
const READ_MAX_RECORDS: usize = 256;

/// One file: a segment, or the gap that replaced some.
#[derive(Clone, Debug, Hash)]
pub(super) struct Unit {
    /// Its name.
    pub(super) name: Name,
    /// Sequence behind its last record; `first_seq` while it is empty.
    pub(super) next_seq: u64,
    /// Hash of the record before its first.
    pub(super) prev_hash: Hash,
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Bytes of payloads.
    pub(super) payload_bytes: u64,
}

impl Unit {
    const fn first_seq(&self) -> u64 {
        self.name.first_seq()
    }

    const fn is_empty(&self) -> bool {
        self.next_seq == self.name.first_seq()
    }
}

/// One spool on disk.
#[derive(Debug)]
pub(crate) struct Store<D: Disk> {
    disk: D,
    /// The folder of all spools.
    root: PathBuf,
    limits: Limits,
    /// Signs what is sealed.
    key: Arc<EvidenceKey>,
    spool_id: SpoolId,
    /// Dense: each begins where the one before ends.
    units: VecDeque<Unit>,
    /// The last unit, open for appending; none until the next append makes a new one.
    active: Option<D::File>,
    next_seq: u64,
    head_hash: Hash,
    /// Highest sequence known to be acknowledged; none until the collector has said so.
    acked: Option<u64>,
    /// Payload bytes of acknowledged records in the unit that also holds others.
    acked_payload_bytes: u64,
    oldest_unsent_s: Option<u64>,
    /// The spool's folder has its name for good.
    is_named: bool,
    mishaps: Mishaps,
}

/// What recovery found of a spool that can be continued.
#[derive(Debug)]
pub(super) struct Found<F> {
    pub(super) spool_id: SpoolId,
    pub(super) units: VecDeque<Unit>,
    pub(super) active: Option<F>,
    pub(super) next_seq: u64,
    pub(super) head_hash: Hash,
}

impl<F> Found<F> {
    /// A spool that holds nothing yet.
    pub(super) fn nothing(spool_id: SpoolId) -> Self {
        let head_hash = genesis_hash(&spool_id);
        Self { spool_id, units: VecDeque::new(), active: None, next_seq: 1, head_hash }
    }
}

impl<D: Disk> Store<D> {
    pub(super) fn new(
        disk: D,
        root: &Path,
        limits: Limits,
        key: Arc<EvidenceKey>,
        found: Found<D::File>,
    ) -> Result<Self, SpoolError> {
        let mut store = Self {
            disk,
            root: root.to_owned(),
            limits,
            key,
            spool_id: found.spool_id,
            units: found.units,
            active: found.active,
            next_seq: found.next_seq,
            head_hash: found.head_hash,
            acked: None,
            acked_payload_bytes: 0,
            oldest_unsent_s: None,
            is_named: true,
            mishaps: Mishaps::default(),
        };
        store.refresh_unsent()?;
        Ok(store)
    }

    /// The same spool at the same point, on a copy of its disk.
    pub(crate) fn copy_onto(&self, disk: D) -> Self
    where
        D::File: Clone,
    {
        Self {
            disk,
            root: self.root.clone(),
            key: Arc::clone(&self.key),
            units: self.units.clone(),
            active: self.active.clone(),
            ..*self
        }
    }

    /// Where it lives.
    pub(crate) const fn disk(&self) -> &D {
        &self.disk
    }

    /// What went wrong since it was opened.
    pub(super) const fn mishaps(&self) -> Mishaps {
        self.mishaps
    }

    /// Most bytes that it may hold.
    pub(super) const fn budget_bytes(&self) -> u64 {
        self.limits.total_bytes
    }

    /// Everything that it knows beside what is on disk.
    pub(crate) fn digest(&self, hasher: &mut impl Hasher) {
        (self.spool_id, &self.units, self.active.is_some()).hash(hasher);
        (self.next_seq, self.head_hash, self.acked).hash(hasher);
        (self.acked_payload_bytes, self.oldest_unsent_s).hash(hasher);
    }

    fn dir(&self) -> PathBuf {
        self.root.join(files::id_text(&self.spool_id))
    }

    fn path(&self, name: Name) -> PathBuf {
        self.dir().join(name.file_name())
    }

    pub(crate) fn state(&self) -> SpoolState {
        let payload: u64 = self.unacked_units().map(|unit| unit.payload_bytes).sum();
        SpoolState {
            spool_id: self.spool_id,
            oldest_seq: self.oldest_seq(),
            next_seq: self.next_seq,
            head_hash: self.head_hash,
            bytes: self.bytes(),
            unacked_bytes: payload.saturating_sub(self.acked_payload_bytes),
            oldest_unsent_s: self.oldest_unsent_s,
            in_flight_max_bytes: self.limits.in_flight_bytes,
        }
    }

    fn oldest_seq(&self) -> u64 {
        self.units.iter().find(|unit| !unit.is_empty()).map_or(0, Unit::first_seq)
    }

    fn bytes(&self) -> u64 {
        self.units.iter().map(|unit| unit.bytes).sum()
    }

    fn unacked_units(&self) -> impl Iterator<Item = &Unit> {
        let acked = self.acked.unwrap_or(0);
        self.units.iter().filter(move |unit| unit.next_seq > acked.saturating_add(1))
    }

    /// Appends records as below, and comes back below the budget.
    pub(crate) fn append_within_budget(
        &mut self,
        items: &[(Kind, Vec<u8>)],
    ) -> Result<Vec<(u64, Hash)>, SpoolError> {
        let appended = self.append(items);
        self.try_to_enforce_budget();
        appended
    }

    /// Likewise a gap for what was given up before it had a number.
    pub(super) fn append_lost(&mut self, lost: &Lost) -> Result<(u64, Hash), SpoolError> {
        let seq = self.next_seq;
        let (mut gap, hash) = lost.to_record(seq, self.head_hash, &self.spool_id);
        self.key.sign(&mut gap, &self.spool_id);
        let mut bytes = Vec::new();
        encode_record(&gap, &mut bytes);
        let appended = self.put(&bytes, &[(seq, hash)], len_u64(&gap.payload));
        if appended.is_ok() {
            self.mishaps.unwritten_reports += lost.reports();
        }
        self.try_to_enforce_budget();
        appended.map(|()| (seq, hash))
    }

    fn try_to_enforce_budget(&mut self) {
        if let Err(error) = self.enforce_budget() {
            tracing::error!(%error, "the spool cannot be brought below its budget");
        }
    }

    /// Appends records and makes them durable; all of them or none.
    ///
    /// A write or sync that failed is never repeated on that file: the kernel may have marked the lost pages clean. The
    /// records go to a new segment instead, which takes over from the first of them, and what the old one holds behind
    /// that point is ignored from then on. If that fails too the caller is told, and the numbers stay free: nothing of it
    /// was sent.
    pub(super) fn append(
        &mut self,
        items: &[(Kind, Vec<u8>)],
    ) -> Result<Vec<(u64, Hash)>, SpoolError> {
        let (bytes, sealed, payload_bytes) = self.seal(items);
        self.put(&bytes, &sealed, payload_bytes)?;
        Ok(sealed)
    }

    /// Writes the bytes of the next records.
    fn put(
        &mut self,
        bytes: &[u8],
        sealed: &[(u64, Hash)],
        payload_bytes: u64,
    ) -> Result<(), SpoolError> {
        if let Err(first) = self.write(bytes) {
            self.mishaps.failed_writes += 1;
            if self.active.is_some() {
                tracing::error!(error = %first, "a write to the spool failed; trying a new segment");
            }
            self.abandon_active();
            if first.is_full() {
                self.drop_acknowledged(0)?;
            }
            if let Err(second) = self.write(bytes) {
                self.abandon_active();
                return Err(second);
            }
        }
        if let Some((seq, hash)) = sealed.last() {
            (self.next_seq, self.head_hash) = (seq + 1, *hash);
        }
        if let Some(unit) = self.units.back_mut() {
            unit.next_seq = self.next_seq;
            unit.bytes = unit.bytes.saturating_add(len_u64(bytes));
            unit.payload_bytes = unit.payload_bytes.saturating_add(payload_bytes);
        }
        // The records are on disk: who is told that they are not appends them again, and they count twice.
        if self.oldest_unsent_s.is_none()
            && let Err(error) = self.refresh_unsent()
        {
            tracing::warn!(%error, "the oldest window that is not delivered is not known");
        }
        Ok(())
    }

    /// The bytes of the next records, signed, with their numbers and hashes. One that is not written was never sent: its
    /// number is given to another.
    fn seal(&self, items: &[(Kind, Vec<u8>)]) -> (Vec<u8>, Vec<(u64, Hash)>, u64) {
        let (mut bytes, mut sealed, mut payload_bytes) = (Vec::new(), Vec::new(), 0_u64);
        let (mut seq, mut prev_hash) = (self.next_seq, self.head_hash);
        for (kind, payload) in items {
            let (payload, signature) = (payload.clone(), Vec::new());
            let mut record =
                Record { seq, seq_to: seq, kind: *kind, prev_hash, payload, signature };
            self.key.sign(&mut record, &self.spool_id);
            encode_record(&record, &mut bytes);
            payload_bytes = payload_bytes.saturating_add(len_u64(&record.payload));
            prev_hash = record.content_hash(&self.spool_id);
            sealed.push((seq, prev_hash));
            seq += 1;
        }
        (bytes, sealed, payload_bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        if !self.is_named {
            files::sync_dir(&self.disk, &self.root)?;
            self.is_named = true;
        }
        let full = self.units.back().is_some_and(|unit| {
            !unit.is_empty()
                && unit.bytes.saturating_add(len_u64(bytes)) > self.limits.segment_bytes
        });
        if full {
            self.active = None;
        }
        let name = match (&self.active, self.units.back()) {
            (Some(_), Some(unit)) => unit.name,
            _ => self.roll()?,
        };
        let path = self.path(name);
        let Some(active) = &mut self.active else { return Err(SpoolError::Closed) };
        self.disk.append(active, bytes).at("write", &path)?;
        self.disk.sync(active).at("sync", &path)
    }

    /// Begins a new segment at `next_seq`.
    fn roll(&mut self) -> Result<Name, SpoolError> {
        let name = Name::Segment { first_seq: self.next_seq };
        let header =
            Header { spool_id: self.spool_id, first_seq: self.next_seq, prev_hash: self.head_hash };
        let bytes = header.encode();
        let path = self.path(name);
        // A file of that name is what a failed write left, and could not be deleted then: nothing in it was promised.
        files::unlink(&self.disk, &path)?;
        let file = match files::create(&self.disk, &path, &bytes) {
            Ok(file) => file,
            Err(error) => {
                // Half a header holds nothing.
                if let Err(kept) = files::unlink(&self.disk, &path) {
                    tracing::warn!(error = %kept, "an unfinished segment stays behind");
                }
                return Err(error);
            }
        };
        self.units.push_back(Unit {
            name,
            next_seq: self.next_seq,
            prev_hash: self.head_hash,
            bytes: len_u64(&bytes),
            payload_bytes: 0,
        });
        self.active = Some(file);
        Ok(name)
    }

    /// Never writes to the active segment again. One without a durable record holds nothing that was promised, and its
    /// name is needed.
    fn abandon_active(&mut self) {
        if self.active.take().is_none() {
            return;
        }
        if let Some(unit) = self.units.pop_back_if(|unit| unit.is_empty())
            && let Err(error) = files::unlink(&self.disk, &self.path(unit.name))
        {
            tracing::warn!(%error, "a segment that could not be written stays behind");
        }
    }

    /// Durable records from `seq` on, signed whether or not they are on disk: to what they chain is the same either way.
    pub(crate) fn read_from(
        &mut self,
        seq: u64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, SpoolError> {
        let Some(index) = self.unit_of(seq) else {
            return if seq == self.next_seq {
                Ok(Vec::new())
            } else {
                Err(SpoolError::NotHeld(seq))
            };
        };
        let (bytes, scan) = self.load(index)?;
        let (mut records, mut total) = (Vec::new(), 0_usize);
        let mut expected: Option<Hash> = None;
        for span in scan.spans.iter().skip_while(|span| span.seq < seq) {
            let stored = stored_at(&bytes, span).ok_or(SpoolError::NotHeld(span.seq))?;
            let mut record = stored.to_record();
            total = total.saturating_add(record.payload.len());
            if !records.is_empty() && (total > max_bytes || records.len() >= READ_MAX_RECORDS) {
                break;
            }
            if expected.is_some_and(|hash| hash != record.prev_hash) {
                return Err(SpoolError::Chain(record.seq));
            }
            expected =
                Some(record.hash(&self.spool_id).map_err(|_| SpoolError::Chain(record.seq))?);
            // Recovery does not sign, and neither did earlier versions: one that ran for a while would block the spool.
            if record.signature.is_empty() {
                self.key.sign(&mut record, &self.spool_id);
            }
            records.push(record);
        }
        match records.first() {
            Some(first) if first.seq == seq => Ok(records),
            _ => Err(SpoolError::NotHeld(seq)),
        }
    }

    /// Hash of the record that ends at `seq`.
    pub(crate) fn hash_of(&mut self, seq: u64) -> Result<Option<Hash>, SpoolError> {
        let behind = seq.saturating_add(1);
        if behind == self.next_seq {
            return Ok(Some(self.head_hash));
        }
        let Some(index) = self.unit_of(behind) else { return Ok(None) };
        if self.units[index].first_seq() == behind {
            return Ok(Some(self.units[index].prev_hash));
        }
        let (_, scan) = self.load(index)?;
        Ok(scan.spans.iter().find(|span| span.seq == behind).map(|span| span.prev_hash))
    }

    fn unit_of(&self, seq: u64) -> Option<usize> {
        self.units.iter().position(|unit| (unit.first_seq()..unit.next_seq).contains(&seq))
    }

    /// The bytes of a unit and its records. Damage since the spool was opened is mended first, as at opening.
    fn load(&mut self, index: usize) -> Result<(Vec<u8>, Scan), SpoolError> {
        for _ in 0..2 {
            let unit = &self.units[index];
            let path = self.path(unit.name);
            if !self.disk.exists(&path) {
                // It was set aside, and the disk failed before the mended one had its name.
                files::finish_mending(&self.disk, &path)?;
            }
            let bytes = files::read(&self.disk, &path)?;
            let scan = Scan::of(&bytes, unit.first_seq(), unit.next_seq);
            if !scan.damaged && scan.next_seq() == Some(unit.next_seq) {
                return Ok((bytes, scan));
            }
            self.mend(index, &bytes, &scan)?;
        }
        Err(SpoolError::NotHeld(self.units[index].first_seq()))
    }

    fn mend(&mut self, index: usize, bytes: &[u8], scan: &Scan) -> Result<(), SpoolError> {
        let unit = &self.units[index];
        let behind = self.units.get(index + 1).map_or(self.head_hash, |next| next.prev_hash);
        let frame = Frame {
            spool_id: self.spool_id,
            first_seq: unit.first_seq(),
            prev_hash: Some(unit.prev_hash),
            behind: Some((unit.next_seq, behind)),
        };
        let path = self.path(unit.name);
        let (_, mended) = mend(bytes, scan, &frame).ok_or(SpoolError::NotHeld(unit.first_seq()))?;
        if index + 1 == self.units.len() {
            self.active = None;
        }
        replace(&self.disk, &path, &mended)?;
        self.mishaps.mended_segments += 1;
        let scan = Scan::of(&mended, frame.first_seq, self.units[index].next_seq);
        let unit = &mut self.units[index];
        (unit.bytes, unit.payload_bytes) = (len_u64(&mended), scan.payload_bytes());
        Ok(())
    }

    /// Makes sure that no other key has signed the newest record: what two keys have signed, no collector takes. A gap that
    /// is not signed says nothing of that: recovery wrote it.
    pub(super) fn check_key(&mut self) -> Result<(), SpoolError> {
        for index in (0..self.units.len()).rev() {
            if self.units[index].is_empty() {
                continue;
            }
            let (bytes, scan) = self.load(index)?;
            let records = scan.spans.iter().rev().filter_map(|span| stored_at(&bytes, span));
            let mut records = records.map(|stored| stored.to_record());
            let newest =
                records.find(|record| record.kind != Kind::Gap || !record.signature.is_empty());
            let Some(newest) = newest else { continue };
            if newest.signature.is_empty() || self.key.has_signed(&newest, &self.spool_id) {
                return Ok(());
            }
            return Err(SpoolError::OtherKey { dir: self.root.clone(), key: self.key.public() });
        }
        Ok(())
    }

    /// The newest window that a report of this spool speaks of: start and width in seconds.
    pub(super) fn newest_window(&mut self) -> Result<Option<(u64, u32)>, SpoolError> {
        for index in (0..self.units.len()).rev() {
            if self.units[index].is_empty() {
                continue;
            }
            let (bytes, scan) = self.load(index)?;
            if let Some(window) = scan.newest_window(&bytes) {
                return Ok(Some(window));
            }
        }
        Ok(None)
    }

    /// Finds the oldest report that is not acknowledged, and how much of its segment is.
    fn refresh_unsent(&mut self) -> Result<(), SpoolError> {
        let acked = self.acked.unwrap_or(0);
        (self.acked_payload_bytes, self.oldest_unsent_s) = (0, None);
        let start =
            self.units.iter().position(|unit| unit.next_seq > acked + 1 && !unit.is_empty());
        let Some(start) = start else { return Ok(()) };
        for index in start..self.units.len() {
            if self.units[index].is_empty() {
                continue;
            }
            let (bytes, scan) = self.load(index)?;
            if index == start {
                let done = scan.spans.iter().take_while(|span| span.seq_to <= acked);
                self.acked_payload_bytes = done.map(|span| span.payload_bytes).sum();
            }
            let mut open = scan.spans.iter().filter(|span| span.seq_to > acked);
            if let Some(report) = open.find_map(|span| report_of(&bytes, span)) {
                self.oldest_unsent_s = Some(report.window_start_s);
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Puts a mended segment in a damaged one's place, and returns where the damaged one is now. A crash at any point leaves
/// either the damaged one under its name or the whole of the mended one.
pub(super) fn replace(disk: &impl Disk, path: &Path, mended: &[u8]) -> Result<PathBuf, SpoolError> {
    let new = files::mended(path);
    files::unlink(disk, &new)?;
    files::create(disk, &new, mended)?;
    let aside = files::quarantine(disk, path)?;
    disk.rename(&new, path).at("rename", &new)?;
    path.parent().map_or(Ok(()), |dir| files::sync_dir(disk, dir))?;
    tracing::error!(file = %aside.display(), "a damaged segment was set aside; a gap stands for what is lost");
    Ok(aside)
}

/// Writes a gap as a file of its own. One that could not be made durable does not stay: it would outrank the records that
/// it was to replace.
pub(super) fn write_gap(
    disk: &impl Disk,
    dir: &Path,
    spool_id: SpoolId,
    place: Place,
    record: &Record,
) -> Result<Unit, SpoolError> {
    let name = Name::Gap { first_seq: place.seq, last_seq: place.seq_to };
    let mut bytes =
        Header { spool_id, first_seq: place.seq, prev_hash: place.prev_hash }.encode().to_vec();
    encode_record(record, &mut bytes);
    let path = dir.join(name.file_name());
    files::unlink(disk, &path)?;
    if let Err(error) = files::create(disk, &path, &bytes) {
        if let Err(kept) = files::unlink(disk, &path) {
            tracing::warn!(error = %kept, "an unfinished gap stays behind");
        }
        return Err(error);
    }
    Ok(Unit {
        name,
        next_seq: place.seq_to + 1,
        prev_hash: place.prev_hash,
        bytes: len_u64(&bytes),
        payload_bytes: len_u64(&record.payload),
    })
}

/// Gives a spool's folder a name under which it is never opened again.
pub(super) fn set_aside(
    disk: &impl Disk,
    root: &Path,
    spool_id: &SpoolId,
    suffix: &str,
) -> Result<PathBuf, SpoolError> {
    let path = root.join(files::id_text(spool_id));
    let target = root.join(set_aside_name(spool_id, suffix));
    disk.rename(&path, &target).at("rename", &path)?;
    files::sync_dir(disk, root)?;
    Ok(target)
}

fn set_aside_name(spool_id: &SpoolId, suffix: &str) -> String {
    format!("{}.{suffix}", files::id_text(spool_id))
}

fn len_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Store<super::disk::FileSystem> {
    /// From now on each write to the active segment fails as on a full disk.
    pub(super) fn break_active(&mut self) {
        self.active =
            Some(std::fs::OpenOptions::new().append(true).open("/dev/full").expect("a device"));
    }
}
