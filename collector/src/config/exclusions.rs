//! The file of excluded time of an agreement, and the copy of its last good text that a collector keeps in its folder.
//!
//! A file that somebody is editing must change nothing, least of all what was published; neither must a restart meanwhile.
//! So the last good text is judged by until the file is mended. Without one there is nothing to stand on, and the
//! configuration is refused.

use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use std::io;
use std::path::{Path, PathBuf};

/// A file of exclusion records of one agreement, and what stood in it.
#[derive(Clone, Debug)]
pub struct ExclusionsFile {
    /// The file.
    pub path: PathBuf,
    /// The copy of its last good text.
    pub kept: PathBuf,
    /// The last good records.
    pub records: Exclusions,
    /// What is wrong with the file as it was when the configuration was read.
    pub problem: Option<String>,
}

impl ExclusionsFile {
    /// A file that was not read yet, of an agreement of the collector with that folder.
    #[must_use]
    pub fn new(path: PathBuf, state_dir: &Path, agreement: &Agreement) -> Self {
        let kept = state_dir.join("exclusions").join(format!("{}.yaml", agreement.id()));
        Self { path, kept, records: Exclusions::default(), problem: None }
    }

    /// With the records of the file, or else of its last good text; `None` when there are neither.
    pub(super) fn load(&self, agreement: &Agreement) -> Option<Self> {
        let (records, problem) = match self.read(agreement) {
            Ok((records, _)) => (records, None),
            Err(problem) => (read(&self.kept, agreement).ok()?.0, Some(problem)),
        };
        Some(Self { records, problem, ..self.clone() })
    }

    /// The records that stand in the file now, and its text.
    ///
    /// # Errors
    /// Every problem of the file, with its place.
    pub fn read(&self, agreement: &Agreement) -> Result<(Exclusions, String), String> {
        read(&self.path, agreement)
    }

    /// Keeps a good text, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, text: &str) -> io::Result<()> {
        if std::fs::read_to_string(&self.kept).is_ok_and(|before| before == text) {
            return Ok(());
        }
        if let Some(folder) = self.kept.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let fresh = self.kept.with_extension("yaml.new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(&fresh, &self.kept)
    }
}

fn read(path: &Path, agreement: &Agreement) -> Result<(Exclusions, String), String> {
    let text = super::read(path)?;
    let name = path.display().to_string();
    let records = Exclusions::parse(&name, &text, agreement);
    records.map(|records| (records, text)).map_err(|problems| problems.to_string())
}
