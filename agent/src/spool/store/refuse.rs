//! A record that the collector can never accept: its bytes are kept for people, and a gap takes its place.

use super::{Store, len_u64};
use crate::spool::disk::Disk;
use crate::spool::files::{self, At as _};
use crate::spool::gap::{Place, RECORD_REFUSED, Totals};
use crate::spool::scan::{Scan, stored_at, windows_around, with_gap};
use crate::spool::segment::{Header, Stored, encode_record};
use crate::spool::{REFUSED_MAX, Refused, SpoolError};
use probefleet_proto::record::{Kind, Record};
use std::path::{Path, PathBuf};

impl<D: Disk> Store<D> {
    /// The collector can never accept the record that begins with `seq`, and does not have it.
    ///
    /// The file is durable before the segment is touched, and a crash leaves the segment with the record or with the gap;
    /// as both end with the same hash, it does not matter to anybody which of them is sent after it.
    pub(crate) fn refuse(&mut self, seq: u64) -> Result<Refused, SpoolError> {
        let index = self.unit_of(seq).ok_or(SpoolError::NotHeld(seq))?;
        let (bytes, scan) = self.load(index)?;
        let span = scan.spans.iter().find(|span| span.seq == seq);
        let stored = span.and_then(|span| stored_at(&bytes, span));
        let stored = stored.ok_or(SpoolError::NotHeld(seq))?;
        if stored.kind == Kind::Gap {
            return Ok(Refused::IsGap);
        }
        let kept = self.refused_files()?;
        // Its own file is what a try left that was interrupted.
        let others = kept.iter().filter(|(known, _)| *known != seq).count();
        if u64::try_from(others).is_ok_and(|others| others >= REFUSED_MAX) {
            return Ok(Refused::TooMany);
        }
        let file = self.keep_for_people(stored)?;
        let gap = self.gap_for(stored, windows_around(&bytes, &scan, seq));
        self.substitute(index, &with_gap(&bytes, &scan, &gap))?;
        self.try_to_enforce_budget(); // a gap may be longer than a short record
        if let Err(error) = self.refresh_unsent() {
            tracing::warn!(%error, "the oldest window that is not delivered is not known");
        }
        Ok(Refused::SetAside(file))
    }

    /// The records that are kept for people, by sequence.
    pub(crate) fn refused_files(&self) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
        files::refused_files(&self.disk, &self.dir())
    }

    /// Writes a record to a file of its own. One of that name is what an earlier try left: the record is still in its
    /// segment, so nothing is lost with that file.
    fn keep_for_people(&self, stored: Stored<'_>) -> Result<PathBuf, SpoolError> {
        let path = self.dir().join(files::refused_name(stored.seq));
        let (spool_id, first_seq) = (self.spool_id, stored.seq);
        let header = Header { spool_id, first_seq, prev_hash: stored.prev_hash };
        let mut bytes = header.encode().to_vec();
        encode_record(&stored.to_record(), &mut bytes);
        self.make_anew(&path, &bytes)?;
        Ok(path)
    }

    fn make_anew(&self, path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
        files::unlink(&self.disk, path)?;
        if let Err(error) = files::create(&self.disk, path, bytes) {
            if let Err(kept) = files::unlink(&self.disk, path) {
                tracing::warn!(error = %kept, "an unfinished file stays behind");
            }
            return Err(error);
        }
        Ok(())
    }

    /// The gap that stands for a record.
    fn gap_for(&self, stored: Stored<'_>, around: Option<(u64, u64)>) -> Record {
        let place = Place {
            seq: stored.seq,
            seq_to: stored.seq_to,
            prev_hash: stored.prev_hash,
            to_hash: stored.to_record().content_hash(&self.spool_id),
        };
        let totals = Totals::of_refused(stored.kind, stored.payload, around);
        let mut gap = totals.into_record(place, RECORD_REFUSED);
        self.key.sign(&mut gap, &self.spool_id);
        gap
    }

    /// Puts other bytes in the place of a segment's, at once.
    fn substitute(&mut self, index: usize, bytes: &[u8]) -> Result<(), SpoolError> {
        let name = self.units[index].name;
        let path = self.path(name);
        let new = files::mended(&path);
        self.make_anew(&new, bytes)?;
        if index + 1 == self.units.len() {
            self.active = None; // what is appended from now on to the file that is open would be lost with it
        }
        self.disk.rename(&new, &path).at("rename", &new)?;
        self.mishaps.refused_records += 1;
        let unit = &mut self.units[index];
        let scan = Scan::of(bytes, unit.first_seq(), unit.next_seq);
        (unit.bytes, unit.payload_bytes) = (len_u64(bytes), scan.payload_bytes());
        if let Err(error) = files::sync_dir(&self.disk, &self.dir()) {
            // A power cut may bring the record back: where the collector has the gap by then, it has the hash of both.
            tracing::warn!(%error, "a segment with a gap for a refused record may not be durable yet");
        }
        Ok(())
    }
}
