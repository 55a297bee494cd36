//! The files of the journal: one that is written to, those of before, and what is read of them at a start.

use super::entry::{Entry, FORMAT_VERSION, HEADER_BYTES, Reader, header, version};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{error, warn};

const SUFFIX: &str = "log";
/// Most that is read of a file: more than is ever written to one.
const READ_MAX_BYTES: u64 = 8 << 20;

/// A file that is written to.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    handle: Arc<fs::File>,
    /// How long it is.
    pub(super) bytes: u64,
    dirty: bool,
}

/// A file that is not written to any more.
#[derive(Debug)]
pub(super) struct Past {
    path: PathBuf,
    bytes: u64,
    /// The windows that it holds something of, which is not sealed.
    pub(super) windows: BTreeSet<u64>,
}

impl File {
    /// Makes the file of a number, and writes its header.
    pub(super) fn create(dir: &Path, number: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join(file_name(number));
        let mut handle = fs::OpenOptions::new().append(true).create_new(true).open(&path)?;
        let header = header();
        if let Err(error) = handle.write_all(&header) {
            // Nothing is in it, and another is tried soon.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        Ok(Self { path, handle: Arc::new(handle), bytes: header.len() as u64, dirty: true })
    }

    /// Writes behind the last byte.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dirty = true;
        self.bytes += bytes.len() as u64;
        self.handle.as_ref().write_all(bytes)
    }

    /// Nothing stands behind its header.
    pub(super) const fn is_empty(&self) -> bool {
        self.bytes <= HEADER_BYTES as u64
    }

    /// Something was written since the last sync.
    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// To be synced, if something was written since the last time.
    pub(super) fn unsynced(&mut self) -> Option<Arc<fs::File>> {
        std::mem::take(&mut self.dirty).then(|| Arc::clone(&self.handle))
    }

    /// Writes nothing more. Returns what is to be synced too.
    pub(super) fn leave(mut self, windows: BTreeSet<u64>) -> (Past, Option<Arc<fs::File>>) {
        let handle = self.unsynced();
        (Past { path: self.path, bytes: self.bytes, windows }, handle)
    }
}

impl Past {
    /// How long it is.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }
}

/// Reads all files of a folder in order. Returns those that can be read, and the number of the next; what cannot be read
/// is left where it is, for people.
pub(super) fn read_all(dir: &Path, mut take: impl FnMut(&Entry) -> bool) -> (Vec<Past>, u64) {
    let listed = list(dir).unwrap_or_else(|error| {
        error!(folder = %dir.display(), %error, "the journal cannot be read: what it holds is missed");
        Vec::new()
    });
    let next_number = listed.last().map_or(1, |(number, _)| number.saturating_add(1));
    let read = listed.into_iter().filter_map(|(_, path)| read(path, &mut take));
    (read.collect(), next_number)
}

fn read(path: PathBuf, take: &mut impl FnMut(&Entry) -> bool) -> Option<Past> {
    let mut content = Vec::new();
    let all =
        fs::File::open(&path).and_then(|file| file.take(READ_MAX_BYTES).read_to_end(&mut content));
    if let Err(error) = all {
        error!(file = %path.display(), %error, "cannot be read: what it holds is missed");
        return None;
    }
    let mut windows = BTreeSet::new();
    match version(&content) {
        Some(FORMAT_VERSION) => {}
        Some(other) => {
            warn!(file = %path.display(), version = other, "is of another version, and left alone: what it holds is missed");
            return None;
        }
        // Killed before its header was whole: there was nothing behind it.
        None => return Some(Past { path, bytes: content.len() as u64, windows }),
    }
    let mut reader = Reader::new(&content);
    for entry in reader.by_ref() {
        if take(&entry) {
            windows.insert(entry.window_start_s());
        }
    }
    let torn_bytes = reader.left_bytes();
    if torn_bytes > 0 {
        warn!(file = %path.display(), torn_bytes, "its end is damaged: what stood there is missed");
    }
    Some(Past { path, bytes: content.len() as u64, windows })
}

/// Deletes all files: everything is sealed.
///
/// # Errors
/// What the system says.
pub fn clear(dir: &Path) -> io::Result<()> {
    for (_, path) in list(dir)? {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The files of a folder, ascending; none where there is no folder.
fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut listed = Vec::new();
    for entry in entries {
        let path = entry?.path();
        listed.extend(number(&path).map(|number| (number, path)));
    }
    listed.sort();
    Ok(listed)
}

fn file_name(number: u64) -> String {
    format!("{number:010}.{SUFFIX}")
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let number = name.strip_suffix(SUFFIX)?.strip_suffix('.')?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}
