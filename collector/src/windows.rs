//! Windows as a file of lines (`.jsonl`): one cell a line, in any order, decoded straight into the evidence.
//!
//! A line that contradicts itself is an error with its place, never repaired: evidence is believed or refused.

mod content;
mod line;
mod once;
mod samples;

pub use content::{Content, Samples};

use crate::sla::{Added, EvidenceError, Windows};
use std::io::{BufRead, Read as _};

/// Longest line, in bytes: a cell with three full histograms in base64 is far shorter.
pub const LINE_MAX_BYTES: u64 = 4 << 20;

/// What became of the lines of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that are cells.
    pub cells: u64,
    /// Equal duplicates, which were ignored.
    pub duplicates: u64,
    /// Duplicates with different content, whose windows are Unknown.
    pub conflicts: u64,
    /// Cells of probes that no objective uses.
    pub not_asked: u64,
}

/// Windows that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WindowsError {
    /// The file cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no cell.
    #[error("{file}:{line}: bad-value: {problem}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no room for it.
    #[error("{file}:{line}: {source}")]
    Evidence {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// Why.
        source: EvidenceError,
    },
}

/// Reads all lines of a file into the evidence.
///
/// # Errors
/// [`WindowsError`] for the first line that is no cell; the lines before it were taken.
pub fn read(
    windows: &mut Windows,
    file: &str,
    mut input: impl BufRead,
) -> Result<Tally, WindowsError> {
    let mut tally = Tally::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let io = |source| WindowsError::Io { file: file.to_owned(), source };
        let read = input.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut bytes).map_err(io)?;
        if read == 0 {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let bad = |problem| WindowsError::Line { file: file.to_owned(), line, problem };
        if bytes.len() as u64 == LINE_MAX_BYTES && !bytes.ends_with(b"\n") {
            return Err(bad(format!("longer than {} MiB", LINE_MAX_BYTES >> 20)));
        }
        let cell = line::Cell::parse(&bytes).map_err(bad)?;
        let full = |source| WindowsError::Evidence { file: file.to_owned(), line, source };
        tally.count(windows.add(&cell.observed()).map_err(full)?);
    }
    Ok(tally)
}

impl Tally {
    fn count(&mut self, added: Added) {
        self.cells += 1;
        match added {
            Added::New => {}
            Added::Duplicate => self.duplicates += 1,
            Added::Conflict => self.conflicts += 1,
            Added::NotAsked => self.not_asked += 1,
        }
    }
}

#[cfg(test)]
mod tests;
