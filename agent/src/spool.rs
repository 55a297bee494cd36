//! The spool: sealed records, durable before they may be sent, until the collector has them.
//!
//! This text is the specification; `formats.md` §6 has the hashes.
//!
//! # Constraints
//! * A record is on disk before anyone may send it, so a number that left the machine is never given to other content.
//! * There is no ledger: everything is derived from the segments, so nothing can disagree with them.
//! * What cannot be read is never deleted, and never stops the agent: it is set aside, and a gap says what is missing.
//! * One process owns a spool; a thread of its own touches the files, so that a slow disk never delays a probe.
//! * Memory does not grow with an outage: about 100 bytes a segment, and one segment's bytes while it is read.
//!
//! # Layout
//! ```text
//! STATE/spool/lock                                 flock; the owner's process id
//! STATE/spool/<spool_id hex>/0000000001.seg        records 1 and on; a new segment every MiB
//! STATE/spool/<spool_id hex>/0000000205-0000000410.gap   one gap record in place of the segments that held these
//! STATE/spool/<spool_id hex>/*.quarantine          could not be read whole; for people
//! STATE/spool/<spool_id hex>/0000000207.refused.quarantine   a record that the collector never accepts, laid out as a segment of one
//! STATE/spool/<spool_id hex>.forked|.rolled-back|.damaged  left for another spool; for people
//! STATE/spool/<spool_id hex>.next                  a spool of one event, before it takes the place of one that is left
//!
//! file   = header, record*
//! header = "PFSPOOL\0" ‖ version u32 ‖ spool_id 16 ‖ first_seq u64 ‖ prev_hash 32 ‖ crc32c u32
//! record = len u32 ‖ crc32c u32 ‖ kind u8 ‖ seq u64 ‖ seq_to u64 ‖ prev_hash 32 ‖ signature 64 ‖ payload
//! ```
//! Integers are little-endian. A name holds the first sequence. `len` counts what follows the checksum; the checksum
//! covers `len` and what follows it. Each record is signed as it is sealed, gaps too, with the agent's
//! [evidence key](crate::evidence); a signature of zeros means unsigned, by a version that did not sign or by the recovery
//! below. The layout of the header never changes; another version of the rest is refused and left alone. At most one folder
//! has a bare identity as its name.
//!
//! # Write
//! Appends that wait together share one write and one fdatasync, and are answered after it. A full segment is left for a
//! new one: created, header written, fdatasync, fsync of the folder. If a write or a sync fails nothing is repeated on that
//! file: the group goes to a new segment, which takes over from its first sequence; what the old one holds behind that
//! point is ignored from then on. If the new segment fails too, the appends fail and their numbers stay free. The caller has
//! the records; what it must give up before anything can be written again becomes one gap under the next number.
//!
//! # Read
//! By sequence, a bounded number of bytes, each record checked by checksum and chain. What is not signed on disk is signed
//! then, each time alike: a spool that a version continued which does not sign can be delivered all the same. Damage that
//! appears while running is mended as below.
//!
//! # Delete
//! Whole segments, oldest first, once all their records are acknowledged and more than a quarter of the budget of such is
//! held (a collector restored from an older copy of itself can be served again). Over budget, what is acknowledged goes
//! first. Then the oldest unsent segments become a gap file with the sums of what they held: written and synced before the
//! segments are unlinked, and grown by replacing it with a longer one. A gap that replaces a record which the collector
//! already has would contradict it, so nothing is dropped among the first four unacknowledged segments: at most
//! [`IN_FLIGHT_MAX_BYTES`], less than two segments, is ever sent beyond what is acknowledged. The last segment is never
//! dropped.
//!
//! # Refuse
//! A record that the collector can never accept would hold up all that follow it for ever. It is set aside: first it is
//! written to a file of its own, for people, and synced; then its segment is written anew, under another name, with a gap of
//! the same sequence and with the counts of its probes in its place, synced, and given the segment's name. The gap ends with
//! the hash of the record, so that what follows chains as before, and whichever of the two is there after a crash, it
//! contradicts neither the other nor the collector. Counts are those of a record in which something is wrong; windows that are
//! not of the grid are not claimed, but those between the reports beside it. An event becomes a gap that counts nothing. At most
//! [`REFUSED_MAX`] records are kept at a time, and never a gap is set aside.
//!
//! # Recovery
//! 1. fsync of the folder and of the one above, and the last segment is written once more, so that what is read now is there after a power cut
//!    too. A sync would not do: after one that failed the kernel takes what it lost for written.
//! 2. An intact gap file outranks the files whose records it covers; those are deleted (the deletion was interrupted). A
//!    gap that is not intact is set aside: its segments are still there.
//! 3. Every segment is scanned up to where the next begins. In the last one, bytes behind the last intact record are cut
//!    off: a write that was never finished. Hence damage of the very last record cannot be told from a torn write; its
//!    number is given again, and if it had been sent the collector's chain shows it as a fork.
//! 4. Other damage: the records around it are kept in a new file, with one gap for exactly the missing numbers; the
//!    damaged file is renamed. A missing file becomes a gap too. Such gaps know no counts, and windows only from their
//!    neighbours, and are not signed on disk: whether the agent has the right key is not known yet.
//! 5. A spool that was to take the place of another does so if the other has lost its name already, or is deleted.
//! 6. Where the last hash cannot be known, or segments do not chain, the folder is set aside and a new spool begins; the
//!    collector then sees another spool, never a wrong record.
//!
//! 7. A spool whose newest record, gaps of recovery aside, is signed with another key than the agent's is left as it is, but
//!    for what was mended, and the agent does not run: a person must say which key is right.
//!
//! # Not yet
//! Events that lie among dropped reports go with them. Room is not made by force on a file system that others have filled:
//! appends fail until there is some, but for what acknowledged segments give back. A sync that fails while the spool is opened
//! is an error, not a reason to begin a new segment. Folders and files that were set aside are not counted in the budget.

mod disk;
mod files;
mod gap;
mod health;
mod inspect;
mod recover;
mod scan;
mod segment;
mod store;
mod worker;

use self::disk::FileSystem;
use self::files::{At as _, Name};
use self::recover::{Recovery, Repairs};
use self::store::Found;
use self::worker::Command;
use crate::evidence::EvidenceKey;
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::record::{Hash, Kind, PAYLOAD_MAX_BYTES, Record, SpoolId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::disk::Disk;
pub use self::gap::Lost;
pub(crate) use self::gap::RECORD_REFUSED;
pub use self::health::{Failure, Health, Mishaps, RefusedRecord};
pub use self::inspect::{Inspection, inspect};
pub(crate) use self::segment::RECORD_OVERHEAD_BYTES;
pub(crate) use self::store::Store;

/// Most bytes, with what each record takes on disk beside its payload, that may be sent beyond what is acknowledged. The
/// spool relies on it: see "Delete" above.
pub const IN_FLIGHT_MAX_BYTES: usize = 256 << 10;

/// Most records of a spool that are set aside because the collector can never accept them, and whose files are still there. One that is malformed is
/// the work of a rare fault; a collector that refuses whatever comes is at fault itself, and must not make an agent give up
/// what it measured: behind these few, a person has to look, and move the files elsewhere, before more is replaced.
pub const REFUSED_MAX: u64 = 8;

/// Commands that wait for the thread: enough for every task of an agent to have one, few enough to push back.
const COMMANDS_MAX: usize = 64;
/// Segments of unacknowledged records that are never dropped: see "Delete" above.
const PINNED_SEGMENTS: u64 = 4;
const SEGMENT_MAX_BYTES: u64 = 1 << 20;
const SEGMENT_MIN_BYTES: u64 = 256 << 10;
/// Least budget: 16 of the smallest segments.
const TOTAL_MIN_BYTES: u64 = 16 * SEGMENT_MIN_BYTES;
/// Most of the budget that a file system's size gives by itself.
const TOTAL_DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// How much the spool may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    total_bytes: u64,
    segment_bytes: u64,
    in_flight_bytes: usize,
}

impl Limits {
    /// A budget in bytes; at least 4 MiB.
    #[must_use]
    pub fn new(total_bytes: u64) -> Self {
        let total_bytes = total_bytes.max(TOTAL_MIN_BYTES);
        let segment_bytes = (total_bytes / 16).clamp(SEGMENT_MIN_BYTES, SEGMENT_MAX_BYTES);
        Self { total_bytes, segment_bytes, in_flight_bytes: IN_FLIGHT_MAX_BYTES }
    }

    /// The default for a folder that exists: the smaller of 1 GiB and a tenth of its file system.
    ///
    /// # Errors
    /// [`SpoolError::Io`] when the file system does not say how large it is.
    pub fn of_file_system(dir: &Path) -> Result<Self, SpoolError> {
        Ok(Self::new((files::file_system_bytes(dir)? / 10).min(TOTAL_DEFAULT_MAX_BYTES)))
    }

    /// These limits, however small.
    pub(crate) const fn exact(total_bytes: u64, segment_bytes: u64) -> Self {
        Self { total_bytes, segment_bytes, in_flight_bytes: IN_FLIGHT_MAX_BYTES }
    }

    /// The same with another bound on what may be sent beyond what is acknowledged, for segments that are smaller than any
    /// that a configuration gives.
    #[must_use]
    pub const fn sending_ahead(self, in_flight_bytes: usize) -> Self {
        Self { in_flight_bytes, ..self }
    }

    /// The budget, in bytes.
    #[must_use]
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    const fn pinned_bytes(&self) -> u64 {
        PINNED_SEGMENTS * self.segment_bytes
    }

    const fn retained_bytes(&self) -> u64 {
        self.total_bytes / 4
    }
}

/// What was found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Identity of the spool.
    pub spool_id: SpoolId,
    /// Sequence of the next record.
    pub next_seq: u64,
    /// Lowest sequence held; 0 = none.
    pub oldest_seq: u64,
    /// Hash of record `next_seq - 1`.
    pub head_hash: Hash,
    /// Newest window of the newest reports: start in Unix seconds, width in seconds.
    pub last_sealed_window: Option<(u64, u32)>,
    /// No spool was there, or none that could be continued: this one starts at 1.
    pub was_new: bool,
    /// Bytes cut off the end: records whose write had not been finished.
    pub torn_bytes: u64,
    /// Files and folders that could not be read whole and were set aside.
    pub quarantined: Vec<PathBuf>,
}

/// What the spool holds right now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpoolState {
    /// Identity; changes when a fork makes the agent start another spool.
    pub spool_id: SpoolId,
    /// Lowest sequence held; 0 = none.
    pub oldest_seq: u64,
    /// Sequence of the next record; every lower one is durable.
    pub next_seq: u64,
    /// Hash of record `next_seq - 1`.
    pub head_hash: Hash,
    /// Bytes on disk.
    pub bytes: u64,
    /// Payload bytes not known to be acknowledged.
    pub unacked_bytes: u64,
    /// Window start of the oldest report not known to be acknowledged, Unix seconds.
    pub oldest_unsent_s: Option<u64>,
    /// Most bytes, with what each record takes on disk beside its payload, that may be sent beyond what is acknowledged.
    pub in_flight_max_bytes: usize,
}

/// Why a spool cannot be used, or an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The spool has been closed.
    #[error("the spool is closed")]
    Closed,
    /// Another process has it open.
    #[error("another agent ({}) owns the spool {}: stop it, or give this one a state folder of its own", owner_text(*.owner), dir.display())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The owner's process id, if it says.
        owner: Option<u32>,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A newer program wrote it.
    #[error("{} has format {version}, which this version does not read: run the version that wrote it, or a newer one", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// More than one folder could be the spool.
    #[error("{} and {} are both spools: move the one that is not this agent's away", .0.display(), .1.display())]
    Several(PathBuf, PathBuf),
    /// Another key than this agent's has signed it.
    #[error(
        "the newest record in {} was signed with another key than this agent's evidence.key ({key}): the key was swapped, or the state directory restored or copied by halves. Put back the evidence.key that belongs here; if it is lost, move {} away: a new spool begins with the new key, and what was not delivered stays behind", dir.display(), dir.display()
    )]
    OtherKey {
        /// The folder of spools.
        dir: PathBuf,
        /// This agent's key.
        key: PublicKey,
    },
    /// A report must be split before it grows that large.
    #[error("the payload has {0} bytes, more than {PAYLOAD_MAX_BYTES}")]
    PayloadSize(usize),
    /// Only the spool itself knows what a gap stands for.
    #[error("a gap cannot be appended")]
    GapAppended,
    /// Neither the old nor a new segment could take the records.
    #[error("not written: {0}")]
    NotWritten(String),
    /// That sequence is not the first of a record that is held.
    #[error("no record begins with sequence {0} here")]
    NotHeld(u64),
    /// A record does not chain to the one before.
    #[error("record {0} does not chain to the one before")]
    Chain(u64),
}

impl SpoolError {
    /// What a person can do about it.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        use std::io::ErrorKind::{
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
        };
        match self {
            Self::Io { source, .. } => match source.kind() {
                StorageFull | QuotaExceeded => {
                    "make room on the file system of the state directory"
                }
                ReadOnlyFilesystem => {
                    "mount the file system of the state directory for writing again; the kernel's log says why it was not"
                }
                PermissionDenied => "give the state directory back to the agent's user",
                _ => "look at the kernel's log: the disk may be failing",
            },
            _ => "restart the agent; if that does not help, move the spool's folder away",
        }
    }

    /// The disk failed, as opposed to a question that has no answer.
    const fn is_of_disk(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

fn owner_text(owner: Option<u32>) -> String {
    owner.map_or_else(|| "process unknown".to_owned(), |pid| format!("process {pid}"))
}

/// What became of a record that the collector can never accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is kept in that file, and a gap stands for it.
    SetAside(PathBuf),
    /// It is a gap itself: nothing can stand for what it stands for. It stays.
    IsGap,
    /// [`REFUSED_MAX`] were set aside before, and their files are still there. It stays.
    TooMany,
}

/// Why a spool is left for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    /// The collector holds another content under our numbers.
    Forked,
    /// The collector holds more than we ever wrote: this folder is an old copy.
    RolledBack,
}

impl Retire {
    pub(in crate::spool) const ALL: [Self; 2] = [Self::Forked, Self::RolledBack];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Forked => "forked",
            Self::RolledBack => "rolled-back",
        }
    }

    /// What the event is called that begins the next spool.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Forked => "spool_forked",
            Self::RolledBack => "spool_rolled_back",
        }
    }
}

/// A handle on the thread that owns the files; clones share it. The thread ends when it is closed or the last is dropped.
#[derive(Clone, Debug)]
pub struct SpoolHandle {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<SpoolState>,
    health: watch::Receiver<Health>,
}

/// The spool of an agent.
#[derive(Debug)]
pub struct Spool;

/// A folder of spools that is this process's alone, still to be opened.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    lock: files::Lock,
}

impl Spool {
    /// Opens the spool in `dir` (`STATE/spool`), or makes one, and starts the thread that owns it. Blocks while segments
    /// are scanned.
    ///
    /// # Errors
    /// [`SpoolError`]: another process owns it, a newer program wrote it, the disk fails.
    pub fn open(
        dir: &Path,
        limits: Limits,
        key: Arc<EvidenceKey>,
    ) -> Result<(SpoolHandle, Recovered), SpoolError> {
        Self::lock(dir)?.open(limits, key)
    }

    /// Makes sure that no other process has the folder, and that none gets it.
    ///
    /// # Errors
    /// [`SpoolError`]: another process owns it, the disk fails.
    pub fn lock(dir: &Path) -> Result<Locked, SpoolError> {
        files::make_dir(&FileSystem, dir)?;
        let lock = files::Lock::take(dir)?;
        Ok(Locked { dir: dir.to_owned(), lock })
    }
}

impl Locked {
    /// Opens the spool in it, or makes one, and starts the thread that owns it; `key` signs what is sealed. Blocks while
    /// segments are scanned.
    ///
    /// # Errors
    /// [`SpoolError`]: a newer program wrote it, the disk fails.
    pub fn open(
        self,
        limits: Limits,
        key: Arc<EvidenceKey>,
    ) -> Result<(SpoolHandle, Recovered), SpoolError> {
        let Self { dir, lock } = self;
        let (store, recovered) = open_store(FileSystem, &dir, limits, key)?;
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (publish_state, state) = watch::channel(store.state());
        let (publish_health, health) = watch::channel(Health::of(&store));
        let views = worker::Views { state: publish_state, health: publish_health };
        std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || worker::run((store, lock), inbox, &views))
            .map_err(|source| SpoolError::Io { what: "start a thread for", path: dir, source })?;
        Ok((SpoolHandle { commands, state, health }, recovered))
    }
}

/// A spool without a thread, for simulation: it lives as long as what is returned beside its handle is polled.
pub(crate) fn open_here<D: Disk>(
    disk: D,
    dir: &Path,
    limits: Limits,
    key: Arc<EvidenceKey>,
) -> Result<(SpoolHandle, impl Future<Output = ()> + use<D>), SpoolError> {
    let (store, _) = open_store(disk, dir, limits, key)?;
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (publish_state, state) = watch::channel(store.state());
    let (publish_health, health) = watch::channel(Health::of(&store));
    let views = worker::Views { state: publish_state, health: publish_health };
    Ok((SpoolHandle { commands, state, health }, worker::run_here(store, inbox, views)))
}

/// Opens the spool in a folder that nobody else has open, or makes one.
pub(crate) fn open_store<D: Disk>(
    disk: D,
    dir: &Path,
    limits: Limits,
    key: Arc<EvidenceKey>,
) -> Result<(Store<D>, Recovered), SpoolError> {
    settle_succession(&disk, dir)?;
    let mut repairs = Repairs::default();
    let known = match files::live_spools(&disk, dir)?.as_slice() {
        [] => None,
        [(spool_id, path)] => {
            // The sync that made its name durable may have failed, or the process may have died before it.
            files::sync_dir(&disk, dir)?;
            let found = Recovery::new(&disk, path, *spool_id, &mut repairs).run()?;
            if found.is_none() {
                let aside = store::set_aside(&disk, dir, spool_id, "damaged")?;
                tracing::error!(folder = %aside.display(), "the spool cannot be continued; a new one begins");
                repairs.quarantined.push(aside);
            }
            found
        }
        [(_, first), (_, second), ..] => {
            return Err(SpoolError::Several(first.clone(), second.clone()));
        }
    };
    let was_new = known.is_none();
    let found = match known {
        Some(found) => found,
        None => {
            let spool_id = disk.new_id().at("make an identity in", dir)?;
            files::make_dir(&disk, &dir.join(files::id_text(&spool_id)))?;
            Found::nothing(spool_id)
        }
    };
    let mut store = Store::new(disk, dir, limits, key, found)?;
    store.check_key()?;
    let state = store.state();
    let recovered = Recovered {
        spool_id: state.spool_id,
        next_seq: state.next_seq,
        oldest_seq: state.oldest_seq,
        head_hash: state.head_hash,
        last_sealed_window: store.newest_window()?,
        was_new,
        torn_bytes: repairs.torn_bytes,
        quarantined: repairs.quarantined,
    };
    Ok((store, recovered))
}

/// Where one spool was to take the place of another when the process ended, it does if the other has lost its name.
fn settle_succession(disk: &impl Disk, dir: &Path) -> Result<(), SpoolError> {
    let successors = files::successors(disk, dir)?;
    if successors.is_empty() {
        return Ok(());
    }
    let mut has_spool = !files::live_spools(disk, dir)?.is_empty();
    for (spool_id, path) in successors {
        let whole = path.join(Name::Segment { first_seq: 1 }.file_name());
        if has_spool || !disk.exists(&whole) {
            disk.remove_dir(&path).at("delete", &path)?;
        } else {
            disk.rename(&path, &dir.join(files::id_text(&spool_id))).at("rename", &path)?;
            has_spool = true;
        }
    }
    files::sync_dir(disk, dir)
}

impl SpoolHandle {
    /// Appends a report or an event and resolves when it is on disk: its sequence and hash. Appends that are under way
    /// together share one fdatasync. Dropping the future does not undo the append.
    ///
    /// # Errors
    /// [`SpoolError`]; then the record is not in the spool and may be appended again.
    pub async fn append(&self, kind: Kind, payload: Vec<u8>) -> Result<(u64, Hash), SpoolError> {
        if kind == Kind::Gap {
            return Err(SpoolError::GapAppended);
        }
        if payload.len() > PAYLOAD_MAX_BYTES {
            return Err(SpoolError::PayloadSize(payload.len()));
        }
        self.ask(|reply| Command::Append { kind, payload, reply }).await
    }

    /// Appends a gap for records that were given up before they had numbers, and resolves as [`SpoolHandle::append`] does.
    ///
    /// # Errors
    /// [`SpoolError`]; then the gap is not in the spool and may be appended again.
    pub async fn append_lost(&self, lost: Lost) -> Result<(u64, Hash), SpoolError> {
        self.ask(|reply| Command::AppendLost { lost, reply }).await
    }

    /// Durable records from `seq` on, in order, of at most `max_bytes` payload, but at least one where there is one.
    ///
    /// # Errors
    /// [`SpoolError::NotHeld`] when `seq` is neither the first of a record held here nor the next to be sealed; others
    /// when the disk fails.
    pub async fn read_from(&self, seq: u64, max_bytes: usize) -> Result<Vec<Record>, SpoolError> {
        self.ask(|reply| Command::Read { seq, max_bytes, reply }).await
    }

    /// Hash of the record that ends at `seq`, if that is still known here.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn hash_of(&self, seq: u64) -> Result<Option<Hash>, SpoolError> {
        self.ask(|reply| Command::HashOf { seq, reply }).await
    }

    /// The collector has committed everything up to `seq`, and nothing beyond that we know of.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn released(&self, seq: u64) -> Result<(), SpoolError> {
        self.ask(|reply| Command::Release { seq, reply }).await
    }

    /// The collector has everything up to `seq`, which ends with `hash`, but not what came next and is no longer held: a
    /// gap record takes the place of that.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn bridge(&self, seq: u64, hash: Hash) -> Result<(), SpoolError> {
        self.ask(|reply| Command::Bridge { seq, hash, reply }).await
    }

    /// The collector can never accept the record that begins with `seq`, which it does not have: a gap takes its place, and
    /// the record is kept in a file. `why` is told to whoever asks how the spool is.
    ///
    /// # Errors
    /// [`SpoolError::NotHeld`] when no record begins there; others when the disk fails. Then either the record is still in
    /// its place or the gap is.
    pub async fn refused(&self, seq: u64, why: String) -> Result<Refused, SpoolError> {
        self.ask(|reply| Command::Refuse { seq, why, reply }).await
    }

    /// Leaves this spool, which is kept under another name, for a new one whose first record is `event`.
    ///
    /// # Errors
    /// [`SpoolError`] when the disk fails.
    pub async fn retire(&self, reason: Retire, event: Vec<u8>) -> Result<(), SpoolError> {
        self.ask(|reply| Command::Retire { reason, event, reply }).await
    }

    /// What the spool holds, as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SpoolState> {
        self.state.clone()
    }

    /// How the spool and the disk under it are, as that changes; there is no sender once its thread has ended.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Ends the thread and gives up the lock, after everything asked before is done.
    ///
    /// # Errors
    /// [`SpoolError::Closed`] when it was closed before.
    pub async fn close(&self) -> Result<(), SpoolError> {
        self.ask(|reply| Command::Close { reply }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(worker::Reply<T>) -> Command,
    ) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::Closed)?
    }
}

#[cfg(test)]
mod tests;
