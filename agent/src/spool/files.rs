//! What the spool does to files, each with its name and path in the error, and how they are called.

use super::SpoolError;
use super::disk::Disk;
use probefleet_proto::hex::hex;
use probefleet_proto::record::SpoolId;
use rustix::fs::FlockOperation;
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// Most bytes of a segment that are read: more than any segment that this program writes, so that a file that grew
/// without end costs no memory. What lies behind counts as damaged.
const SEGMENT_READ_MAX_BYTES: u64 = 4 << 20;
const LOCK_FILE: &str = "lock";
const SEGMENT: &str = "seg";
const GAP: &str = "gap";
/// Ends the name of a mended segment that has not yet taken the damaged one's place.
pub(super) const MENDED_SUFFIX: &str = ".new";
/// Ends the name of a spool's folder that has not yet taken the place of one that is left.
const SUCCESSOR_SUFFIX: &str = ".next";
/// Ends the name of a file that could not be read whole, or that the collector refused. Nothing here ever deletes one.
const QUARANTINE_SUFFIX: &str = ".quarantine";

/// Gives an I/O error its place.
pub(super) trait At<T> {
    /// Names what was done to which file.
    fn at(self, what: &'static str, path: &Path) -> Result<T, SpoolError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, SpoolError> {
        self.map_err(|source| SpoolError::Io { what, path: path.to_owned(), source })
    }
}

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    /// Records `first_seq` and on.
    Segment { first_seq: u64 },
    /// One gap in place of the segments that held these records.
    Gap { first_seq: u64, last_seq: u64 },
}

impl Name {
    pub(super) fn parse(name: &OsStr) -> Option<Self> {
        let (stem, kind) = name.to_str()?.rsplit_once('.')?;
        let parsed = match kind {
            SEGMENT => Self::Segment { first_seq: stem.parse().ok()? },
            GAP => {
                let (first, last) = stem.split_once('-')?;
                Self::Gap { first_seq: first.parse().ok()?, last_seq: last.parse().ok()? }
            }
            _ => return None,
        };
        (name.to_str() == Some(parsed.file_name().as_str())).then_some(parsed)
    }

    pub(super) fn file_name(self) -> String {
        match self {
            Self::Segment { first_seq } => format!("{first_seq:010}.{SEGMENT}"),
            Self::Gap { first_seq, last_seq } => format!("{first_seq:010}-{last_seq:010}.{GAP}"),
        }
    }

    pub(super) const fn first_seq(self) -> u64 {
        match self {
            Self::Segment { first_seq } | Self::Gap { first_seq, .. } => first_seq,
        }
    }
}

/// The lock on a spool's folder; given up when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says which process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, SpoolError> {
        let path = dir.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut owner = String::new();
                (&file).take(32).read_to_string(&mut owner).at("read", &path)?;
                let owner = owner.trim().parse().ok();
                return Err(SpoolError::Locked { dir: dir.to_owned(), owner });
            }
            Err(errno) => return Err(io::Error::from(errno)).at("lock", &path),
        }
        // Who owns it is for people: an agent must come up on a disk that is full.
        let named = file.set_len(0).and_then(|()| file.rewind());
        if let Err(error) = named.and_then(|()| writeln!(file, "{}", std::process::id())) {
            tracing::warn!(%error, path = %path.display(), "the lock does not say who has it");
        }
        Ok(Self { _file: file })
    }
}

/// Makes a folder, durably.
pub(super) fn make_dir(disk: &impl Disk, dir: &Path) -> Result<(), SpoolError> {
    disk.make_dir(dir).at("make", dir)?;
    dir.parent().map_or(Ok(()), |above| sync_dir(disk, above))
}

/// Makes the entries of a folder durable.
pub(super) fn sync_dir(disk: &impl Disk, dir: &Path) -> Result<(), SpoolError> {
    disk.sync_dir(dir).at("sync", dir)
}

/// Makes a file that was not there, with these bytes, durable with its name.
pub(super) fn create<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> Result<D::File, SpoolError> {
    let mut file = disk.create(path).at("make", path)?;
    disk.append(&mut file, bytes).at("write", path)?;
    disk.sync(&file).at("sync", path)?;
    path.parent().map_or(Ok(()), |dir| sync_dir(disk, dir))?;
    Ok(file)
}

/// The bytes of a segment, as many as any segment may have.
pub(super) fn read(disk: &impl Disk, path: &Path) -> Result<Vec<u8>, SpoolError> {
    disk.read(path, SEGMENT_READ_MAX_BYTES).at("read", path)
}

/// Deletes a file that is no longer needed; one that is already gone is no error.
pub(super) fn unlink(disk: &impl Disk, path: &Path) -> Result<(), SpoolError> {
    match disk.unlink(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("delete", path),
    }
}

/// Where a mended segment is written that is to take the place of this one.
pub(super) fn mended(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(MENDED_SUFFIX);
    PathBuf::from(name)
}

/// A mended segment takes the damaged one's place if that was set aside already; else the mending begins again.
pub(super) fn finish_mending(disk: &impl Disk, path: &Path) -> Result<(), SpoolError> {
    let new = mended(path);
    if disk.exists(path) { unlink(disk, &new) } else { disk.rename(&new, path).at("rename", &new) }
}

/// Sets a file aside under a name of its own, and returns that. Durable with the next [`sync_dir`].
pub(super) fn quarantine(disk: &impl Disk, path: &Path) -> Result<PathBuf, SpoolError> {
    let mut name = path.as_os_str().to_owned();
    name.push(QUARANTINE_SUFFIX);
    let mut target = PathBuf::from(&name);
    let mut copy = 1_u32;
    while disk.exists(&target) {
        copy = copy.saturating_add(1);
        let mut numbered = name.clone();
        numbered.push(format!("{copy}"));
        target = PathBuf::from(numbered);
    }
    disk.rename(path, &target).at("rename", path)?;
    Ok(target)
}

/// What a record is kept as that was set aside by itself.
pub(super) fn refused_name(seq: u64) -> String {
    format!("{seq:010}.refused{QUARANTINE_SUFFIX}")
}

/// The files of one spool that are kept as [`refused_name`], with the sequences of their records, ascending.
pub(super) fn refused_files(
    disk: &impl Disk,
    dir: &Path,
) -> Result<Vec<(u64, PathBuf)>, SpoolError> {
    let names = disk.list(dir).at("list", dir)?;
    let seq = |name: &OsString| {
        let seq = name.to_str()?.strip_suffix(QUARANTINE_SUFFIX)?.strip_suffix(".refused")?;
        seq.parse().ok()
    };
    let mut found: Vec<(u64, PathBuf)> =
        names.iter().filter_map(|name| Some((seq(name)?, dir.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// Whether a file was set aside, by [`quarantine`] or under a [`refused_name`].
pub(super) fn is_quarantined(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.contains(QUARANTINE_SUFFIX))
}

/// The folders of live spools under the spool's folder, with their identities.
pub(super) fn live_spools(
    disk: &impl Disk,
    dir: &Path,
) -> Result<Vec<(SpoolId, PathBuf)>, SpoolError> {
    let names = disk.list(dir).at("list", dir)?;
    let id = |name: &OsString| name.to_str().and_then(parse_id);
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((id(name)?, dir.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// The folders of spools that were to take the place of another, with their identities.
pub(super) fn successors(
    disk: &impl Disk,
    dir: &Path,
) -> Result<Vec<(SpoolId, PathBuf)>, SpoolError> {
    let names = disk.list(dir).at("list", dir)?;
    let id = |name: &OsString| parse_id(name.to_str()?.strip_suffix(SUCCESSOR_SUFFIX)?);
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((id(name)?, dir.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// The folder of a spool that is to take the place of another.
pub(super) fn successor(dir: &Path, spool_id: &SpoolId) -> PathBuf {
    dir.join(format!("{}{SUCCESSOR_SUFFIX}", id_text(spool_id)))
}

/// An identity as a folder's name.
pub(super) fn id_text(spool_id: &SpoolId) -> String {
    hex(spool_id)
}

fn parse_id(text: &str) -> Option<SpoolId> {
    let bytes = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    (id_text(&bytes) == text).then_some(bytes)
}

/// Bytes of the file system that holds a folder.
pub(super) fn file_system_bytes(dir: &Path) -> Result<u64, SpoolError> {
    let stat = rustix::fs::statvfs(dir).map_err(io::Error::from).at("measure", dir)?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            Name::Segment { first_seq: 1 },
            Name::Segment { first_seq: u64::MAX },
            Name::Gap { first_seq: 3, last_seq: 12_345_678_901 },
        ] {
            assert_eq!(Name::parse(OsStr::new(&name.file_name())), Some(name));
        }
        for other in ["1.seg", "0000000001.seg.new", "0000000001.seg.quarantine", "lock", "x.gap"] {
            assert_eq!(Name::parse(OsStr::new(other)), None, "{other}");
        }
        assert_eq!(parse_id(&id_text(&[0xa5; 16])), Some([0xa5; 16]));
        assert_eq!(parse_id("a5.forked"), None);
    }

    #[test]
    fn a_second_owner_is_told_the_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let lock = Lock::take(dir.path()).expect("free");
        let refused = Lock::take(dir.path()).expect_err("taken").to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(lock);
        Lock::take(dir.path()).expect("free again");
    }
}
