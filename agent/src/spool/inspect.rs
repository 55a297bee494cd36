//! A look at what is on disk, for people: nothing is locked or changed, so a running agent is not disturbed.

use super::SpoolError;
use super::disk::{Disk as _, FileSystem};
use super::files::{self, At as _, Name};
use super::scan::{Scan, report_of, stored_at};
use super::segment::HEADER_BYTES;
use probefleet_proto::record::{Kind, SpoolId};
use std::path::{Path, PathBuf};

/// What one spool's folder holds. What of it is acknowledged only the collector knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The folder.
    pub dir: PathBuf,
    /// Identity of the spool.
    pub spool_id: SpoolId,
    /// Files that hold records.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lowest sequence held; 0 = none.
    pub oldest_seq: u64,
    /// Sequence of the next record.
    pub next_seq: u64,
    /// Reports held.
    pub reports: u64,
    /// Events held.
    pub events: u64,
    /// Records that gaps stand for.
    pub lost: u64,
    /// First window of the reports held, Unix seconds.
    pub oldest_window_s: Option<u64>,
    /// Last window of the reports held, Unix seconds.
    pub newest_window_s: Option<u64>,
    /// Files of which something cannot be read; opening the spool would mend them.
    pub damaged: Vec<PathBuf>,
    /// Files that were set aside.
    pub quarantined: Vec<PathBuf>,
}

/// Looks at every spool in `dir` (`STATE/spool`) that is not set aside.
///
/// # Errors
/// [`SpoolError::Io`] when a folder or file cannot be read.
pub fn inspect(dir: &Path) -> Result<Vec<Inspection>, SpoolError> {
    files::live_spools(&FileSystem, dir)?
        .into_iter()
        .map(|(spool_id, dir)| inspect_one(spool_id, dir))
        .collect()
}

fn inspect_one(spool_id: SpoolId, dir: PathBuf) -> Result<Inspection, SpoolError> {
    let mut names = Vec::new();
    let mut found = Inspection {
        dir,
        spool_id,
        files: 0,
        bytes: 0,
        oldest_seq: 0,
        next_seq: 1,
        reports: 0,
        events: 0,
        lost: 0,
        oldest_window_s: None,
        newest_window_s: None,
        damaged: Vec::new(),
        quarantined: Vec::new(),
    };
    for file in FileSystem.list(&found.dir).at("list", &found.dir)? {
        let path = found.dir.join(&file);
        match Name::parse(&file) {
            Some(name) => names.push(name),
            None if files::is_quarantined(&path) => found.quarantined.push(path),
            None => {}
        }
    }
    names.sort_by_key(|name| name.first_seq());
    for (index, name) in names.iter().enumerate() {
        found.add(*name, names.get(index + 1).map(|next| next.first_seq()))?;
    }
    Ok(found)
}

impl Inspection {
    fn add(&mut self, name: Name, until_seq: Option<u64>) -> Result<(), SpoolError> {
        let path = self.dir.join(name.file_name());
        let bytes = files::read(&FileSystem, &path)?;
        let scan = Scan::of(&bytes, name.first_seq(), until_seq.unwrap_or(u64::MAX));
        let whole = until_seq.is_none_or(|until_seq| scan.next_seq() == Some(until_seq));
        if scan.damaged || !whole || bytes.len() < HEADER_BYTES {
            self.damaged.push(path);
        }
        self.files += 1;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        for span in &scan.spans {
            if self.oldest_seq == 0 {
                self.oldest_seq = span.seq;
            }
            match stored_at(&bytes, span).map(|stored| stored.kind) {
                Some(Kind::Report) => self.reports += 1,
                Some(Kind::Event) => self.events += 1,
                Some(Kind::Gap) => self.lost += span.seq_to - span.seq + 1,
                None => {}
            }
            if let Some(report) = report_of(&bytes, span) {
                let start_s = report.window_start_s;
                self.oldest_window_s =
                    Some(self.oldest_window_s.map_or(start_s, |oldest| oldest.min(start_s)));
                self.newest_window_s =
                    Some(self.newest_window_s.map_or(start_s, |newest| newest.max(start_s)));
            }
        }
        self.next_seq = scan.next_seq().unwrap_or(name.first_seq()).max(self.next_seq);
        Ok(())
    }
}
