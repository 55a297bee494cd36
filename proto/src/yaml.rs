//! The decoder of files that people write: YAML 1.2 into checked values, with every problem of a file in one run.
//!
//! [`Document::parse`] makes a tree in which each value knows its line and column and each scalar keeps its text, so
//! that numbers are read exactly. Decoding functions have the shape `fn(&Node, &mut Problems) -> Option<T>`: `None`
//! means that a problem was reported. A mapping is opened as [`Map`], read key by key, and closed by [`Map::finish`],
//! which reports the keys that nobody asked for.
//!
//! Bounds: [`FILE_MAX_BYTES`], [`DEPTH_MAX`], [`PROBLEMS_MAX`]; anchors and aliases are refused, so a small file
//! cannot grow into a large tree.

mod decode;
mod tree;

pub use decode::{Map, each, list, one_or_many, scalar};
pub use tree::{Document, Node, Value};

use std::fmt;
use std::io::{self, Read};

/// Largest file that is read: a contract of a thousand pages is far smaller.
pub const FILE_MAX_BYTES: usize = 4 << 20;
/// Deepest nesting: twice what any of our files needs.
pub const DEPTH_MAX: usize = 32;
/// Most problems that are kept: nobody reads more before mending the first.
pub const PROBLEMS_MAX: usize = 100;

/// The text of an open file, read no further than [`Document::parse`] needs to refuse one that is too large.
///
/// # Errors
/// What the system says, or that the file is no UTF-8.
pub fn read_text(file: impl Read) -> io::Result<String> {
    let limit = u64::try_from(FILE_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text)?;
    // A character may have been cut in two: the file is too large then, and that is what should be said of it.
    if text.len() > FILE_MAX_BYTES {
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    String::from_utf8(text)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// Where something stands in a file, both counted from 1. Line 0 means "not in a file".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// Stable code such as `unknown-key`, for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be accepted; empty when the message says it.
    pub cure: String,
}

/// All that is wrong in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    /// No problem yet in the file of that name.
    #[must_use]
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    /// Reports a problem. Returns `None`, so that a decoder can end with it.
    pub fn report<T>(
        &mut self,
        at: Position,
        code: &'static str,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Option<T> {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(Problem { at, code, message: message.into(), cure: cure.into() });
        }
        None
    }

    /// True when nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The problems in the order of the file.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<&Problem> = self.list.iter().collect();
        sorted.sort_by_key(|problem| problem.at);
        sorted
    }

    /// The value, or all problems: a file with a problem has no value.
    ///
    /// # Errors
    /// The problems, when there are any or when there is no value.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    /// One line a problem: `file:line:column: code: message; cure`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.sorted().into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.file)?;
            if problem.at.line > 0 {
                write!(f, "{}:{}:", problem.at.line, problem.at.column)?;
            }
            write!(f, " {}: {}", problem.code, problem.message)?;
            if !problem.cure.is_empty() {
                write!(f, "; {}", problem.cure)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
