//! What goes wrong in a simulation, and how often it did.

use std::fmt;

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The agent's process is killed; what it wrote stays.
    Kill,
    /// The agent's machine loses power; of what was not synced some is there, cut anywhere.
    PowerCut,
    /// Either of them within an operation of the spool.
    DieInside,
    /// A copy of the agent's disk begins to run beside it.
    Clone,
    /// A message is lost, and the connection lives on.
    Lose,
    /// A message comes twice.
    Duplicate,
    /// A message overtakes those before it.
    Reorder,
    /// A message takes seconds.
    Delay,
    /// A connection breaks; what was under way still arrives at the collector, or does not.
    Reset,
    /// A connection delivers nothing any more, and nobody is told.
    Partition,
    /// The collector's process is killed and comes back.
    CollectorKill,
    /// The collector says goodbye to everybody first.
    GoAway,
    /// The collector comes back with an older copy of its store.
    Restore,
    /// The store refuses everything for a while.
    StoreDown,
    /// A commit is durable, and nobody says so.
    DoubtDone,
    /// A commit is not, and nobody says so.
    DoubtUndone,
    /// Likewise, and the head cannot be read.
    DoubtBlind,
    /// The collector answers late.
    SlowStore,
    /// The spool answers late: windows wait for it.
    SlowDisk,
    /// The agent's disk is full for a while.
    DiskFull,
    /// A sync fails, and what it was about is never written.
    SyncFails,
    /// Another operation of the disk fails.
    DiskFails,
    /// A bit of a closed segment flips.
    BitRot,
    /// The agent's clock is set.
    ClockStep,
    /// The spool had to drop what nobody has.
    Drop,
    /// The collector can never accept the report of a window.
    Poison,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Kill,
        Self::PowerCut,
        Self::DieInside,
        Self::Clone,
        Self::Lose,
        Self::Duplicate,
        Self::Reorder,
        Self::Delay,
        Self::Reset,
        Self::Partition,
        Self::CollectorKill,
        Self::GoAway,
        Self::Restore,
        Self::StoreDown,
        Self::DoubtDone,
        Self::DoubtUndone,
        Self::DoubtBlind,
        Self::SlowStore,
        Self::SlowDisk,
        Self::DiskFull,
        Self::SyncFails,
        Self::DiskFails,
        Self::BitRot,
        Self::ClockStep,
        Self::Drop,
        Self::Poison,
    ];
}

/// How often each fault fired: it had an effect, not merely an intention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fired([u64; Fault::ALL.len()]);

impl Fired {
    pub fn count(&mut self, fault: Fault) {
        self.add(fault, 1);
    }

    pub fn add(&mut self, fault: Fault, times: u64) {
        self.0[fault as usize] += times;
    }

    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// Those that never did.
    pub fn missing(&self) -> Vec<Fault> {
        Fault::ALL.into_iter().filter(|fault| self.of(*fault) == 0).collect()
    }
}

impl fmt::Display for Fired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in Fault::ALL {
            writeln!(f, "{:>12}  {fault:?}", self.of(fault))?;
        }
        Ok(())
    }
}
