//! What leaves the spool: acknowledged segments, what there is no room for, and a history that forked.

use super::{Store, Unit, len_u64, set_aside_name, write_gap};
use crate::evidence::EvidenceKey;
use crate::spool::disk::Disk;
use crate::spool::files::{self, At as _, Name};
use crate::spool::gap::{COLLECTOR_ROLLBACK, Place, SPOOL_FULL, Totals};
use crate::spool::scan::{report_of, stored_at};
use crate::spool::segment::{Header, encode_record};
use crate::spool::{Retire, SpoolError};
use probefleet_proto::record::{Hash, Kind, Record, SpoolId, genesis_hash};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl<D: Disk> Store<D> {
    /// The collector has everything up to `seq`, and nothing beyond. A quarter of the budget of what it has is kept, in
    /// case it is restored from an older copy of itself.
    pub(crate) fn release(&mut self, seq: u64) -> Result<(), SpoolError> {
        self.acked = Some(seq.min(self.next_seq - 1));
        self.drop_acknowledged(self.limits.retained_bytes())?;
        self.refresh_unsent()
    }

    /// Unlinks acknowledged segments, oldest first, until at most `keep_bytes` of them are left.
    pub(super) fn drop_acknowledged(&mut self, keep_bytes: u64) -> Result<(), SpoolError> {
        let Some(acked) = self.acked else { return Ok(()) };
        let last = self.units.len().saturating_sub(1);
        let whole = self.units.iter().take(last).take_while(|unit| unit.next_seq <= acked + 1);
        let mut held: u64 = whole.clone().map(|unit| unit.bytes).sum();
        let mut gone = Vec::new();
        for unit in whole {
            if held <= keep_bytes {
                break;
            }
            held -= unit.bytes;
            gone.push(self.path(unit.name));
        }
        self.forget(0, &gone)
    }

    /// Unlinks the files of as many units, which begin at `index`.
    fn forget(&mut self, index: usize, paths: &[PathBuf]) -> Result<(), SpoolError> {
        for path in paths {
            files::unlink(&self.disk, path)?;
            self.units.remove(index);
        }
        if paths.is_empty() { Ok(()) } else { files::sync_dir(&self.disk, &self.dir()) }
    }

    /// Comes back below the budget: first what is acknowledged goes, then the oldest of what was surely never sent becomes
    /// a gap, or grows the one before it.
    pub(in crate::spool) fn enforce_budget(&mut self) -> Result<(), SpoolError> {
        while self.bytes() > self.limits.total_bytes {
            let excess = self.bytes() - self.limits.total_bytes;
            let acknowledged: u64 =
                self.bytes() - self.unacked_units().map(|unit| unit.bytes).sum::<u64>();
            let before = self.units.len();
            self.drop_acknowledged(acknowledged.saturating_sub(excess))?;
            if self.units.len() < before {
                continue;
            }
            let Some(range) = self.droppable() else { return Ok(()) };
            self.collapse(range)?;
        }
        Ok(())
    }

    /// The units that become one gap: the first that lies beyond all that may have been sent, and, if that is a gap
    /// already, the one behind it. Never the last one, which is being written.
    fn droppable(&self) -> Option<Range<usize>> {
        let mut ahead = if self.acked.is_some() {
            self.limits.pinned_bytes()
        } else {
            self.limits.pinned_bytes() + self.limits.retained_bytes()
        };
        let acked = self.acked.unwrap_or(0);
        let mut index = 0;
        while ahead > 0 {
            let unit = self.units.get(index)?;
            if unit.next_seq > acked + 1 {
                ahead = ahead.saturating_sub(unit.bytes);
            }
            index += 1;
        }
        let is_gap = matches!(self.units.get(index)?.name, Name::Gap { .. });
        let end = index + 1 + usize::from(is_gap);
        (end < self.units.len()).then_some(index..end)
    }

    fn collapse(&mut self, range: Range<usize>) -> Result<(), SpoolError> {
        let (mut totals, mut reports) = (Totals::default(), 0);
        for index in range.clone() {
            let (bytes, scan) = self.load(index)?;
            for stored in scan.spans.iter().filter_map(|span| stored_at(&bytes, span)) {
                reports += u64::from(stored.kind == Kind::Report);
                totals.add(stored.kind, stored.payload);
            }
        }
        let (first, behind) = (&self.units[range.start], &self.units[range.end]);
        let place = Place {
            seq: first.first_seq(),
            seq_to: behind.first_seq() - 1,
            prev_hash: first.prev_hash,
            to_hash: behind.prev_hash,
        };
        tracing::warn!(
            from = place.seq,
            to = place.seq_to,
            "the spool is full: unsent records became a gap"
        );
        let dir = self.dir();
        let mut record = totals.into_record(place, SPOOL_FULL);
        self.key.sign(&mut record, &self.spool_id);
        let unit = write_gap(&self.disk, &dir, self.spool_id, place, &record)?;
        let gone: Vec<_> =
            self.units.drain(range.clone()).map(|unit| dir.join(unit.name.file_name())).collect();
        self.units.insert(range.start, unit);
        self.mishaps.dropped_reports += reports;
        for path in gone {
            files::unlink(&self.disk, &path)?; // what stays behind is covered by the gap, and goes at the next opening
        }
        files::sync_dir(&self.disk, &dir)?;
        self.refresh_unsent()
    }

    /// The collector has everything up to `seq`, which ends with `hash`, and what follows is no longer held here: a gap
    /// fills the hole.
    pub(crate) fn bridge(&mut self, seq: u64, hash: Hash) -> Result<(), SpoolError> {
        let (held, to_hash) = self
            .units
            .front()
            .map_or((self.next_seq, self.head_hash), |unit| (unit.first_seq(), unit.prev_hash));
        if seq.saturating_add(1) < held {
            let place = Place { seq: seq + 1, seq_to: held - 1, prev_hash: hash, to_hash };
            let until_s = self.oldest_window()?.unwrap_or(0);
            let totals = Totals::of_windows((until_s > 0).then_some((0, until_s)));
            let mut record = totals.into_record(place, COLLECTOR_ROLLBACK);
            self.key.sign(&mut record, &self.spool_id);
            let unit = write_gap(&self.disk, &self.dir(), self.spool_id, place, &record)?;
            self.units.push_front(unit);
        }
        self.release(seq)
    }

    fn oldest_window(&mut self) -> Result<Option<u64>, SpoolError> {
        let Some(index) = self.units.iter().position(|unit| !unit.is_empty()) else {
            return Ok(None);
        };
        let (bytes, scan) = self.load(index)?;
        Ok(scan
            .spans
            .iter()
            .find_map(|span| report_of(&bytes, span))
            .map(|report| report.window_start_s))
    }

    /// Takes the name of a spool from this one; gives the one that it has then. An earlier try may have come as far as that,
    /// for another reason perhaps, and not back.
    fn give_up_name(&self, reason: Retire) -> Result<PathBuf, SpoolError> {
        let old = self.dir();
        let name = |reason: Retire| self.root.join(set_aside_name(&self.spool_id, reason.suffix()));
        let earlier = Retire::ALL.map(name).into_iter().find(|aside| self.disk.exists(aside));
        if let Some(aside) = earlier.filter(|_| !self.disk.exists(&old)) {
            return Ok(aside);
        }
        let aside = name(reason);
        self.disk.rename(&old, &aside).at("rename", &old)?;
        Ok(aside)
    }

    /// Leaves this spool, kept under another name, for a new one that begins with an event saying so.
    ///
    /// The new one is whole before the old one loses its name: whenever the process ends, one of the two is found, and
    /// nothing that was acknowledged here is left behind without a word.
    pub(crate) fn retire(&mut self, reason: Retire, event: Vec<u8>) -> Result<(), SpoolError> {
        let successor = Successor::make(&self.disk, &self.root, &self.key, event)?;
        let (old, aside) = (self.dir(), self.give_up_name(reason)?);
        let named = files::sync_dir(&self.disk, &self.root)
            .and_then(|()| successor.take_place(&self.disk, &self.root));
        if let Err(error) = named {
            // Back to the old name; where not even that succeeds, nothing can be written until the next try.
            if self.disk.rename(&aside, &old).is_err() {
                self.active = None;
            }
            return Err(error);
        }
        (self.spool_id, self.active) = (successor.spool_id, Some(successor.file));
        (self.next_seq, self.head_hash) = (successor.unit.next_seq, successor.head_hash);
        self.units = VecDeque::from([successor.unit]);
        (self.acked, self.acked_payload_bytes, self.oldest_unsent_s) = (None, 0, None);
        self.is_named = false;
        files::sync_dir(&self.disk, &self.root)?;
        self.is_named = true;
        Ok(())
    }
}

/// A spool of one event that is to take the place of another.
struct Successor<F> {
    spool_id: SpoolId,
    unit: Unit,
    head_hash: Hash,
    file: F,
}

impl<F> Successor<F> {
    /// Makes it, durably, under a name that is not yet a spool's.
    fn make<D: Disk<File = F>>(
        disk: &D,
        root: &Path,
        key: &EvidenceKey,
        event: Vec<u8>,
    ) -> Result<Self, SpoolError> {
        let spool_id = disk.new_id().at("make an identity in", root)?;
        let prev_hash = genesis_hash(&spool_id);
        let (seq, seq_to, kind, signature) = (1, 1, Kind::Event, Vec::new());
        let mut record = Record { seq, seq_to, kind, prev_hash, payload: event, signature };
        key.sign(&mut record, &spool_id);
        let mut bytes = Header { spool_id, first_seq: seq, prev_hash }.encode().to_vec();
        encode_record(&record, &mut bytes);
        let dir = files::successor(root, &spool_id);
        let name = Name::Segment { first_seq: seq };
        let made = files::make_dir(disk, &dir)
            .and_then(|()| files::create(disk, &dir.join(name.file_name()), &bytes));
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                // Many tries on a disk that is full leave nothing behind; what does stay goes at the next opening.
                drop(disk.remove_dir(&dir));
                return Err(error);
            }
        };
        let unit = Unit {
            name,
            next_seq: seq + 1,
            prev_hash,
            bytes: len_u64(&bytes),
            payload_bytes: len_u64(&record.payload),
        };
        Ok(Self { spool_id, unit, head_hash: record.content_hash(&spool_id), file })
    }

    fn take_place(&self, disk: &impl Disk, root: &Path) -> Result<(), SpoolError> {
        let dir = files::successor(root, &self.spool_id);
        disk.rename(&dir, &root.join(files::id_text(&self.spool_id))).at("rename", &dir)
    }
}
