//! The exclusion records of an agreement in a running collector: read anew when their file changes. A file with a problem
//! changes nothing, and is complained of until it is mended, by a restart too.

use crate::config::ExclusionsFile;
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use std::path::Path;
use std::time::SystemTime;

/// What tells that a file was written: when, and how long it is.
type Stamp = (Option<SystemTime>, u64);

/// The latest good records.
#[derive(Debug)]
pub(super) struct Records {
    file: Option<ExclusionsFile>,
    none: Exclusions,
    seen: Option<Stamp>,
    problem: Option<String>,
}

impl Records {
    pub(super) fn new(file: Option<ExclusionsFile>) -> Self {
        Self { file, none: Exclusions::default(), seen: None, problem: None }
    }

    pub(super) fn get(&self) -> &Exclusions {
        self.file.as_ref().map_or(&self.none, |file| &file.records)
    }

    /// What is wrong with the file as it is now.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Looks at the file; true when the records are others than before, or there is something else to complain of.
    pub(super) fn refresh(&mut self, agreement: &Agreement) -> bool {
        let Some(file) = &mut self.file else { return false };
        let stamp = stamp(&file.path);
        if stamp.is_some() && stamp == self.seen {
            return false;
        }
        self.seen = stamp;
        let before = self.problem.take();
        match file.read(agreement) {
            Ok((records, text)) => {
                if let Err(error) = file.keep(&text) {
                    tracing::warn!(%error, path = %file.kept.display(), "a restart would not know the exclusions of now");
                }
                let changed = records != file.records;
                file.records = records;
                if changed || before.is_some() {
                    let records = file.records.iter().count();
                    tracing::info!(agreement = %agreement.id(), records, "exclusions are read anew");
                }
                changed || before.is_some()
            }
            Err(problem) => {
                let said = before.as_deref() == Some(problem.as_str());
                if !said {
                    tracing::error!(agreement = %agreement.id(), "the exclusions stay as they were: {problem}");
                }
                self.problem = Some(problem);
                !said
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), metadata.len()))
}
