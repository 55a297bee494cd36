//! What the spool asks of the machine: the few file operations that its promises rest on.
//!
//! Everything that the spool does to files goes through here, so that a model of a disk can stand in for one.

use probefleet_proto::record::SpoolId;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// A file system, and a source of identities. Each operation either did all of what it says, or returns an error after
/// any part of it.
pub trait Disk {
    /// A file that is open for appending.
    type File: fmt::Debug;

    /// Makes a folder and those above it. Durable with [`Disk::sync_dir`] of the one above.
    ///
    /// # Errors
    /// What the system says.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;

    /// Whether there is a file or folder of that name.
    fn exists(&self, path: &Path) -> bool;

    /// The first bytes of a file.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>>;

    /// Makes a file that was not there. Durable with [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::AlreadyExists`] changes nothing.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens a file that is there.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Writes all bytes behind the last. Durable with [`Disk::sync`].
    ///
    /// # Errors
    /// What the system says; any part of the bytes may have been written.
    fn append(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    ///
    /// # Errors
    /// What the system says; what was written since the last success may then be lost, even if a later call succeeds.
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// Writes all of a file once more, in its place and durably, and ends it there. The bytes must be those that it begins
    /// with: then nothing is at risk while it happens.
    ///
    /// # Errors
    /// What the system says.
    fn rewrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Gives a file or folder another name. Durable with [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Deletes a file. Durable with [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::NotFound`] where there is none.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Deletes a folder and the files in it. Durable with [`Disk::sync_dir`] of the one above.
    ///
    /// # Errors
    /// What the system says; any part of it may be gone.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// 16 bytes that no other spool has.
    ///
    /// # Errors
    /// What the system says.
    fn new_id(&self) -> io::Result<SpoolId>;
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileSystem;

impl Disk for FileSystem {
    type File = File;

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rewrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        file.write_all(bytes)?;
        file.set_len(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        file.sync_all()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    /// From the kernel's generator.
    fn new_id(&self) -> io::Result<SpoolId> {
        let mut id = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut id)?;
        Ok(id)
    }
}
