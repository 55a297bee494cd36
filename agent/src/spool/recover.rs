//! What a spool's folder holds after whatever happened to it.

use super::SpoolError;
use super::disk::Disk;
use super::files::{self, At as _, Name};
use super::gap::{Place, SPOOL_DAMAGE, Totals};
use super::scan::{Frame, Scan, mend, stored_at};
use super::segment::{HEADER_BYTES, Header, HeaderError};
use super::store::{Found, Unit, replace, write_gap};
use probefleet_proto::record::{Hash, Kind, SpoolId};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

/// What recovery did beside reading.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    /// Bytes cut off the last segment.
    pub(super) torn_bytes: u64,
    /// Files set aside.
    pub(super) quarantined: Vec<PathBuf>,
}

/// Reads the folder of one spool, and mends what can be mended. It signs nothing: that the agent's key is the one that belongs
/// to the spool is checked behind it, and what a wrong one had signed would stay.
pub(super) struct Recovery<'a, D> {
    disk: &'a D,
    dir: &'a Path,
    spool_id: SpoolId,
    repairs: &'a mut Repairs,
    units: VecDeque<Unit>,
    /// Where the chain ends so far: the next sequence, and the hash that it must chain to.
    chain: Option<(u64, Hash)>,
}

/// A segment as it was found.
struct Segment {
    name: Name,
    bytes: Vec<u8>,
    /// What its header says it chains to; none where the header is damaged, or another's.
    prev_hash: Option<Hash>,
}

impl<'a, D: Disk> Recovery<'a, D> {
    pub(super) fn new(
        disk: &'a D,
        dir: &'a Path,
        spool_id: SpoolId,
        repairs: &'a mut Repairs,
    ) -> Self {
        Self { disk, dir, spool_id, repairs, units: VecDeque::new(), chain: None }
    }

    /// The spool as it can be continued; none where its last hash cannot be known.
    pub(super) fn run(mut self) -> Result<Option<Found<D::File>>, SpoolError> {
        let names = self.names()?;
        files::sync_dir(self.disk, self.dir)?;
        for (index, name) in names.iter().enumerate() {
            let segment = self.segment(*name)?;
            let continued = match names.get(index + 1) {
                Some(next) => self.take(&segment, Some(*next))?,
                None => self.take_last(&segment)?,
            };
            if !continued {
                return Ok(None);
            }
        }
        self.finish().map(Some)
    }

    fn path(&self, name: Name) -> PathBuf {
        self.dir.join(name.file_name())
    }

    fn finish(mut self) -> Result<Found<D::File>, SpoolError> {
        let Some((next_seq, head_hash)) = self.chain else {
            return Ok(Found::nothing(self.spool_id));
        };
        let active = match self.units.back().map(|unit| unit.name) {
            Some(name @ Name::Segment { .. }) => {
                self.end_at(name, next_seq)?;
                let path = self.path(name);
                Some(self.disk.open(&path).at("open", &path)?)
            }
            _ => None,
        };
        Ok(Found { spool_id: self.spool_id, units: self.units, active, next_seq, head_hash })
    }

    /// Cuts off what the last segment holds behind its last record: a write that failed, and whose successor is gone too.
    /// What is appended there would be read in its stead.
    fn end_at(&mut self, name: Name, next_seq: u64) -> Result<(), SpoolError> {
        let path = self.path(name);
        let mut bytes = files::read(self.disk, &path)?;
        let end = Scan::of(&bytes, name.first_seq(), next_seq).end;
        if end < bytes.len() {
            bytes.truncate(end);
            self.disk.rewrite(&path, &bytes).at("write", &path)?;
            if let Some(unit) = self.units.back_mut() {
                unit.bytes = u64::try_from(end).unwrap_or(u64::MAX);
            }
        }
        Ok(())
    }

    /// The files that count, in order: without those whose place another has taken already.
    fn names(&mut self) -> Result<Vec<Name>, SpoolError> {
        let mut names = BTreeSet::new();
        for file in self.disk.list(self.dir).at("list", self.dir)? {
            let mended = file.to_str().and_then(|name| name.strip_suffix(files::MENDED_SUFFIX));
            if let Some(target) = mended {
                files::finish_mending(self.disk, &self.dir.join(target))?;
                names.extend(Name::parse(target.as_ref()));
            }
            names.extend(Name::parse(&file));
        }
        let gaps: Vec<_> = names
            .iter()
            .filter_map(|name| match *name {
                Name::Gap { first_seq, last_seq } => Some((*name, first_seq..=last_seq)),
                Name::Segment { .. } => None,
            })
            .collect();
        // The longest first, so that a gap that was grown takes the place of what it grew from.
        for (name, range) in gaps.iter().rev() {
            if names.contains(name) && self.is_intact_gap(*name)? {
                let covered = |other: &Name| other != name && range.contains(&other.first_seq());
                self.keep_before_others_go(*name, names.iter().any(covered))?;
                for other in names.extract_if(.., covered).collect::<Vec<_>>() {
                    files::unlink(self.disk, &self.path(other))?;
                }
            } else if names.remove(name) {
                self.set_aside(*name)?;
            }
        }
        let mut ordered: Vec<_> = names.into_iter().collect();
        ordered.sort_by_key(|name| name.first_seq());
        Ok(ordered)
    }

    /// A gap is written once more before what it stands for is deleted: its sync may have failed.
    fn keep_before_others_go(&self, name: Name, others: bool) -> Result<(), SpoolError> {
        if !others {
            return Ok(());
        }
        let path = self.path(name);
        let bytes = files::read(self.disk, &path)?;
        self.disk.rewrite(&path, &bytes).at("write", &path)?;
        files::sync_dir(self.disk, self.dir)
    }

    fn is_intact_gap(&self, name: Name) -> Result<bool, SpoolError> {
        let Name::Gap { first_seq, last_seq } = name else { return Ok(false) };
        let segment = self.segment(name)?;
        let scan = Scan::of(&segment.bytes, first_seq, last_seq.saturating_add(1));
        let gap = scan.spans.first().and_then(|span| stored_at(&segment.bytes, span));
        Ok(segment.prev_hash.is_some()
            && gap.is_some_and(|gap| {
                gap.kind == Kind::Gap && (gap.seq, gap.seq_to) == (first_seq, last_seq)
            }))
    }

    fn segment(&self, name: Name) -> Result<Segment, SpoolError> {
        let path = self.path(name);
        let bytes = files::read(self.disk, &path)?;
        let prev_hash = match Header::decode(&bytes) {
            Ok(header)
                if (header.spool_id, header.first_seq) == (self.spool_id, name.first_seq()) =>
            {
                Some(header.prev_hash)
            }
            Err(HeaderError::Version(version)) => {
                return Err(SpoolError::Version { path, version });
            }
            Ok(_) | Err(HeaderError::Damaged) => None,
        };
        Ok(Segment { name, bytes, prev_hash })
    }

    fn set_aside(&mut self, name: Name) -> Result<(), SpoolError> {
        let aside = files::quarantine(self.disk, &self.path(name))?;
        tracing::error!(file = %aside.display(), "a file of the spool cannot be read and was set aside");
        self.repairs.quarantined.push(aside);
        Ok(())
    }

    /// Takes the last segment: whatever lies behind its last record was never finished.
    fn take_last(&mut self, segment: &Segment) -> Result<bool, SpoolError> {
        let path = self.path(segment.name);
        let scan = Scan::of(&segment.bytes, segment.name.first_seq(), u64::MAX);
        if segment.prev_hash.is_none() && scan.spans.is_empty() {
            return self.drop_headless(segment);
        }
        if segment.prev_hash.is_none() || scan.damaged {
            return self.take(segment, None);
        }
        let torn = segment.bytes.len() - scan.end;
        self.repairs.torn_bytes = u64::try_from(torn).unwrap_or(u64::MAX);
        let bytes = segment.bytes[..scan.end].to_vec();
        // What is only in memory of the kernel can be read here and be gone after a power cut, and where a sync failed, no
        // other one will write it: the kernel takes those pages for written.
        self.disk.rewrite(&path, &bytes).at("write", &path)?;
        self.take(&Segment { bytes, ..*segment }, None)
    }

    /// A last segment without a header and without a record: the roll that made it was never finished, or it is lost.
    fn drop_headless(&mut self, segment: &Segment) -> Result<bool, SpoolError> {
        let unfinished = segment.bytes.len() <= HEADER_BYTES;
        if unfinished {
            files::unlink(self.disk, &self.path(segment.name))?;
        } else {
            self.set_aside(segment.name)?;
        }
        files::sync_dir(self.disk, self.dir)?;
        let expected = self.chain.map_or(1, |(next_seq, _)| next_seq);
        Ok(segment.name.first_seq() == expected && (unfinished || self.chain.is_some()))
    }

    /// Takes a segment that ends where `next` begins. False where the chain cannot be followed.
    fn take(&mut self, segment: &Segment, next: Option<Name>) -> Result<bool, SpoolError> {
        let first_seq = segment.name.first_seq();
        let until_seq = next.map_or(u64::MAX, Name::first_seq);
        let scan = Scan::of(&segment.bytes, first_seq, until_seq);
        if !self.bridge_to(segment, &scan)? {
            return Ok(false);
        }
        let whole = next.is_none() || scan.next_seq() == Some(until_seq);
        if segment.prev_hash.is_some() && whole && !scan.damaged {
            return Ok(self.push(segment, &scan));
        }
        let behind = match next {
            Some(next) => self.chained_to(next)?.map(|hash| (until_seq, hash)),
            None => None,
        };
        let prev_hash = segment.prev_hash.or(self.chain.map(|(_, hash)| hash));
        let frame = Frame { spool_id: self.spool_id, first_seq, prev_hash, behind };
        let Some((header, mended)) = mend(&segment.bytes, &scan, &frame) else { return Ok(false) };
        let name = self.swap(segment.name, header.first_seq, &mended)?;
        let scan = Scan::of(&mended, header.first_seq, until_seq);
        Ok(self.push(&Segment { name, bytes: mended, prev_hash: Some(header.prev_hash) }, &scan))
    }

    /// Puts a mended segment where the damaged one was.
    fn swap(&mut self, name: Name, first_seq: u64, mended: &[u8]) -> Result<Name, SpoolError> {
        if name.first_seq() == first_seq {
            self.repairs.quarantined.push(replace(self.disk, &self.path(name), mended)?);
            return Ok(name);
        }
        let shorter = Name::Segment { first_seq };
        drop(files::create(self.disk, &self.path(shorter), mended)?);
        self.set_aside(name)?;
        files::sync_dir(self.disk, self.dir)?;
        Ok(shorter)
    }

    /// Checks that a segment chains to the one before, and writes a gap for what is missing between them.
    fn bridge_to(&mut self, segment: &Segment, scan: &Scan) -> Result<bool, SpoolError> {
        let first_seq = segment.name.first_seq();
        let Some((next_seq, hash)) = self.chain else { return Ok(true) };
        let prev_hash = segment.prev_hash.or_else(|| chain_start(scan, first_seq));
        if next_seq == first_seq {
            return Ok(prev_hash.is_none_or(|prev_hash| prev_hash == hash));
        }
        let Some(to_hash) = prev_hash.filter(|_| next_seq < first_seq) else { return Ok(false) };
        let place = Place { seq: next_seq, seq_to: first_seq - 1, prev_hash: hash, to_hash };
        tracing::error!(from = place.seq, to = place.seq_to, "records are missing from the spool");
        let record = Totals::default().into_record(place, SPOOL_DAMAGE);
        self.units.push_back(write_gap(self.disk, self.dir, self.spool_id, place, &record)?);
        self.chain = Some((first_seq, to_hash));
        Ok(true)
    }

    /// The hash that a segment's first record chains to.
    fn chained_to(&self, name: Name) -> Result<Option<Hash>, SpoolError> {
        let segment = self.segment(name)?;
        let first_seq = name.first_seq();
        let start = || chain_start(&Scan::of(&segment.bytes, first_seq, first_seq + 1), first_seq);
        Ok(segment.prev_hash.or_else(start))
    }

    fn push(&mut self, segment: &Segment, scan: &Scan) -> bool {
        let last_hash = match scan.spans.last() {
            Some(_) => scan.last_hash(&segment.bytes, &self.spool_id),
            None => segment.prev_hash,
        };
        let (Some(prev_hash), Some(last_hash)) = (segment.prev_hash, last_hash) else {
            return false;
        };
        let next_seq = scan.next_seq().unwrap_or(segment.name.first_seq());
        self.units.push_back(Unit {
            name: segment.name,
            next_seq,
            prev_hash,
            bytes: u64::try_from(segment.bytes.len()).unwrap_or(u64::MAX),
            payload_bytes: scan.payload_bytes(),
        });
        self.chain = Some((next_seq, last_hash));
        true
    }
}

fn chain_start(scan: &Scan, first_seq: u64) -> Option<Hash> {
    scan.spans.first().filter(|span| span.seq == first_seq).map(|span| span.prev_hash)
}
