//! A disk in memory: what was written, and what of it a power cut leaves.
//!
//! Bytes and names are each held twice: as a process sees them, and as they are on the platter. `sync` and `sync_dir` bring
//! the second up to the first; a power cut brings the first back to the second, give or take what the kernel happened to
//! write by itself. After a failed `sync` the bytes in question are never written, whatever later calls say: the kernel has
//! marked their pages clean.

use probefleet_agent::simulation::Disk;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;

/// A file or folder, by number.
type Node = u64;
const ROOT: Node = 0;

#[derive(Clone, Debug, Default, Hash)]
struct File {
    bytes: Rc<Vec<u8>>,
    durable: Rc<Vec<u8>>,
    /// A `sync` failed: what is not durable now never will be.
    doomed: bool,
}

#[derive(Clone, Debug, Default, Hash)]
struct Folder {
    names: BTreeMap<OsString, Node>,
    durable: BTreeMap<OsString, Node>,
}

/// What a disk does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// After so many more operations that change something, some fail.
    pub fails_in: Option<u32>,
    /// So many.
    pub failures: u32,
    /// Likewise, but from then on all do: the process has died there, and does not know it yet.
    pub dies_in: Option<u32>,
    /// Nothing more can be written.
    pub is_full: bool,
    /// No file can be read.
    pub is_unreadable: bool,
    /// `sync` returns without having written anything: what the durability of everything hangs on is missing.
    pub lies: bool,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// An operation failed once, and not because the disk was full.
    pub failed: u64,
    /// It was a sync.
    pub sync_failed: u64,
    /// There was no room.
    pub was_full: u64,
    /// The process died within an operation.
    pub died: u64,
}

/// The disk: clones share it, as processes do that come one after the other.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Rc<Platter>);

#[derive(Clone, Debug)]
pub struct Platter {
    files: RefCell<BTreeMap<Node, File>>,
    folders: RefCell<BTreeMap<Node, Folder>>,
    next: Cell<Node>,
    seed: Cell<u64>,
    ids: Cell<u64>,
    trouble: Cell<Trouble>,
    happened: Cell<Happened>,
}

impl Deref for MemoryDisk {
    type Target = Platter;

    fn deref(&self) -> &Platter {
        &self.0
    }
}

impl MemoryDisk {
    /// A disk with that folder and nothing in it; `seed` makes its identities its own.
    pub fn new(seed: u64, dir: &Path) -> Self {
        let disk = Self(Rc::new(Platter {
            files: RefCell::default(),
            folders: RefCell::new(BTreeMap::from([(ROOT, Folder::default())])),
            next: Cell::new(ROOT + 1),
            seed: Cell::new(seed),
            ids: Cell::new(0),
            trouble: Cell::default(),
            happened: Cell::default(),
        }));
        disk.make_dir(dir).expect("a disk without trouble");
        disk.flush();
        disk
    }

    /// Another disk with all that is on this one.
    pub fn copy(&self) -> Self {
        Self(Rc::new(self.0.as_ref().clone()))
    }

    /// Likewise, which will give other identities.
    pub fn cloned(&self, seed: u64) -> Self {
        let copy = self.copy();
        copy.seed.set(seed);
        copy.happened.set(Happened::default());
        copy
    }
}

impl Platter {
    pub fn trouble(&self) -> Trouble {
        self.trouble.get()
    }

    pub fn set_trouble(&self, trouble: Trouble) {
        self.trouble.set(trouble);
    }

    pub fn happened(&self) -> Happened {
        self.happened.get()
    }

    /// The power goes and comes back. Of `n` bytes or names that were not synced, `survive(n)` of the first are there.
    pub fn power_cut(&self, mut survive: impl FnMut(usize) -> usize) {
        for file in self.files.borrow_mut().values_mut() {
            let safe = file.durable.len();
            let pending = file.bytes.len().saturating_sub(safe);
            let kept = if file.doomed || pending == 0 { 0 } else { survive(pending) };
            if file.bytes.starts_with(&file.durable) && kept > 0 {
                file.durable = Rc::new(file.bytes[..safe + kept].to_vec());
            }
            (file.bytes, file.doomed) = (Rc::clone(&file.durable), false);
        }
        for folder in self.folders.borrow_mut().values_mut() {
            if folder.names != folder.durable && survive(1) == 0 {
                folder.names = folder.durable.clone();
            } else {
                folder.durable = folder.names.clone();
            }
        }
        self.trouble.set(Trouble { lies: self.trouble.get().lies, ..Trouble::default() });
    }

    /// Everything that was written is written through, as the kernel does in its own time.
    pub fn flush(&self) {
        for file in self.files.borrow_mut().values_mut().filter(|file| !file.doomed) {
            file.durable = Rc::clone(&file.bytes);
        }
        for folder in self.folders.borrow_mut().values_mut() {
            folder.durable = folder.names.clone();
        }
    }

    /// Whether a power cut would take anything.
    pub fn is_flushed(&self) -> bool {
        self.files.borrow().values().all(|file| file.bytes == file.durable)
            && self.folders.borrow().values().all(|folder| folder.names == folder.durable)
    }

    /// All that the next process will see, now or after a power cut. Files are named by content: which number they have is
    /// nobody's concern.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        let (files, folders) = (self.files.borrow(), self.folders.borrow());
        for folder in folders.values() {
            for names in [&folder.names, &folder.durable] {
                for (name, node) in names {
                    (name, files.get(node)).hash(hasher);
                }
            }
        }
        self.ids.get().hash(hasher);
    }

    /// The segments of a folder, in order.
    pub fn segments(&self, dir: &Path) -> Vec<OsString> {
        let Ok(node) = self.folder(dir) else { return Vec::new() };
        let is_segment =
            |name: &&OsString| Path::new(name).extension().is_some_and(|ending| ending == "seg");
        self.folders.borrow()[&node].names.keys().filter(is_segment).cloned().collect()
    }

    /// Flips a bit of a file. Of `n`, `pick(n)` chooses which.
    pub fn rot(&self, path: &Path, mut pick: impl FnMut(usize) -> usize) {
        let Ok(node) = self.node(path) else { return };
        let mut files = self.files.borrow_mut();
        let Some(file) = files.get_mut(&node).filter(|file| !file.bytes.is_empty()) else { return };
        let (at, bit) = (pick(file.bytes.len()), pick(8));
        for copy in [&mut file.bytes, &mut file.durable] {
            if let Some(byte) = Rc::make_mut(copy).get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    fn folder(&self, path: &Path) -> io::Result<Node> {
        let folders = self.folders.borrow();
        path.iter().skip_while(|part| *part == "/").try_fold(ROOT, |node, part| {
            let child = folders.get(&node).and_then(|folder| folder.names.get(part)).copied();
            child.filter(|child| folders.contains_key(child)).ok_or_else(missing)
        })
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let (dir, name) = place(path)?;
        let folder = self.folder(dir)?;
        self.folders.borrow()[&folder].names.get(&name).copied().ok_or_else(missing)
    }

    fn add(&self, dir: Node, name: OsString) -> Node {
        let node = self.next.get();
        self.next.set(node + 1);
        if let Some(folder) = self.folders.borrow_mut().get_mut(&dir) {
            folder.names.insert(name, node);
        }
        node
    }

    /// Forgets files that no name leads to any more, not even after a power cut.
    fn collect(&self) {
        let folders = self.folders.borrow();
        let named = |node: &Node| {
            let leads =
                |names: &BTreeMap<OsString, Node>| names.values().any(|named| named == node);
            folders.values().any(|folder| leads(&folder.names) || leads(&folder.durable))
        };
        self.files.borrow_mut().retain(|node, _| named(node));
    }

    /// Whether an operation that changes something fails, and how.
    fn disturb(&self, is_sync: bool) -> io::Result<()> {
        let (mut trouble, mut happened) = (self.trouble.get(), self.happened.get());
        let dead = match &mut trouble.dies_in {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        let failed = !dead && trouble.fails_in == Some(0);
        match &mut trouble.fails_in {
            Some(0) if trouble.failures > 1 => trouble.failures -= 1,
            Some(0) => trouble.fails_in = None,
            Some(left) => *left -= 1,
            None => {}
        }
        happened.died += u64::from(dead);
        happened.failed += u64::from(failed);
        happened.sync_failed += u64::from(failed && is_sync);
        self.trouble.set(trouble);
        self.happened.set(happened);
        if dead || failed { Err(io::Error::other("the disk fails")) } else { Ok(()) }
    }

    fn room(&self) -> io::Result<()> {
        if self.trouble.get().is_full {
            let mut happened = self.happened.get();
            happened.was_full += 1;
            self.happened.set(happened);
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&self, node: Node, change: impl FnOnce(&mut File)) -> io::Result<()> {
        self.files.borrow_mut().get_mut(&node).map(change).ok_or_else(missing)
    }
}

/// A path's folder and its name in it.
fn place(path: &Path) -> io::Result<(&Path, OsString)> {
    let name = path.file_name().ok_or_else(missing)?;
    Ok((path.parent().ok_or_else(missing)?, name.to_owned()))
}

fn missing() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Disk for MemoryDisk {
    type File = Node;

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        if self.folder(dir).is_ok() {
            return Ok(());
        }
        self.disturb(false)?;
        let (above, name) = place(dir)?;
        self.make_dir(above)?;
        let above = self.folder(above)?;
        let node = self.add(above, name);
        self.folders.borrow_mut().insert(node, Folder::default());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let node = self.folder(dir)?;
        Ok(self.folders.borrow()[&node].names.keys().cloned().collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.node(path).is_ok()
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        if self.trouble.get().is_unreadable {
            return Err(io::Error::other("the disk cannot be read"));
        }
        let node = self.node(path)?;
        let files = self.files.borrow();
        let bytes = &files.get(&node).ok_or_else(missing)?.bytes;
        let end = bytes.len().min(usize::try_from(max_bytes).unwrap_or(usize::MAX));
        Ok(bytes[..end].to_vec())
    }

    fn create(&self, path: &Path) -> io::Result<Node> {
        if self.exists(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.disturb(false)?;
        self.room()?;
        let (dir, name) = place(path)?;
        let dir = self.folder(dir)?;
        let node = self.add(dir, name);
        self.files.borrow_mut().insert(node, File::default());
        Ok(node)
    }

    fn open(&self, path: &Path) -> io::Result<Node> {
        self.node(path)
    }

    fn append(&self, file: &mut Node, bytes: &[u8]) -> io::Result<()> {
        let fits = self.disturb(false).and_then(|()| self.room());
        // A write that fails may have written any part; half of it is as good as another.
        let written = if fits.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.change(*file, |file| Rc::make_mut(&mut file.bytes).extend_from_slice(written))?;
        fits
    }

    fn sync(&self, file: &Node) -> io::Result<()> {
        if let Err(error) = self.disturb(true) {
            self.change(*file, |file| file.doomed |= file.bytes != file.durable)?;
            return Err(error);
        }
        if self.trouble.get().lies {
            return Ok(());
        }
        self.change(*file, |file| {
            if !file.doomed {
                file.durable = Rc::clone(&file.bytes);
            }
        })
    }

    fn rewrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let node = self.node(path)?;
        self.disturb(false)?;
        self.change(node, |file| {
            file.bytes = Rc::new(bytes.to_vec());
            (file.durable, file.doomed) = (Rc::clone(&file.bytes), false);
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disturb(true)?;
        let node = self.folder(dir)?;
        if self.trouble.get().lies {
            return Ok(());
        }
        if let Some(folder) = self.folders.borrow_mut().get_mut(&node) {
            folder.durable = folder.names.clone();
        }
        self.collect();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disturb(false)?;
        let node = self.node(from)?;
        let ((dir, old), (_, new)) = (place(from)?, place(to)?);
        let dir = self.folder(dir)?;
        if let Some(folder) = self.folders.borrow_mut().get_mut(&dir) {
            folder.names.remove(&old);
            folder.names.insert(new, node);
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.node(path)?;
        self.disturb(false)?;
        let (dir, name) = place(path)?;
        let dir = self.folder(dir)?;
        if let Some(folder) = self.folders.borrow_mut().get_mut(&dir) {
            folder.names.remove(&name);
        }
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disturb(false)?;
        let (above, name) = place(dir)?;
        let above = self.folder(above)?;
        if let Some(folder) = self.folders.borrow_mut().get_mut(&above) {
            folder.names.remove(&name);
        }
        Ok(())
    }

    fn new_id(&self) -> io::Result<[u8; 16]> {
        self.ids.set(self.ids.get() + 1);
        Ok(((u128::from(self.seed.get()) << 64) | u128::from(self.ids.get())).to_be_bytes())
    }
}
