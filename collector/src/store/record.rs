//! Records: what is committed, what became of that, and what is read again.

use super::{Head, StoreError, StreamId};
use probefleet_proto::record::{Hash, Kind, Record};
use uuid::Uuid;

/// A record that is to be committed, with what was read of its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// As it came, but for the first sequence of a gap that reaches back over records that are held.
    pub record: Record,
    /// Its first sequence as it was sealed.
    pub sealed_seq: u64,
    /// What the next record chains to.
    pub hash: Hash,
    /// Width of the window, s; 0 for anything but a report.
    pub window_s: u32,
    /// Start of the window, or when it happened, Unix seconds.
    pub window_start_s: u64,
}

/// Records that follow each other, and the head they follow.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The stream.
    pub stream: StreamId,
    /// The head that the first record chains to; its session must still be the newest.
    pub expected: Head,
    /// In order, without a hole.
    pub records: Vec<NewRecord>,
    /// Now, Unix seconds.
    pub received_s: u64,
}

/// What became of a commit.
#[derive(Debug)]
pub enum Outcome {
    /// Durable.
    Committed,
    /// The head was elsewhere, or a newer session exists; nothing was written.
    Conflict,
    /// The store cannot say: read the head again.
    Unknown(StoreError),
}

/// A committed record's place and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// First sequence.
    pub seq: u64,
    /// Last sequence.
    pub seq_to: u64,
    /// What the next record chains to.
    pub hash: Hash,
}

/// A committed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its stream.
    pub stream: StreamId,
    /// Its agent.
    pub agent: Uuid,
    /// First sequence.
    pub seq: u64,
    /// Last sequence.
    pub seq_to: u64,
    /// What the payload is.
    pub kind: Kind,
    /// Start of the window, or when it happened, Unix seconds.
    pub window_start_s: u64,
    /// When it was committed, Unix seconds.
    pub received_s: u64,
    /// As the agent encoded it.
    pub payload: Vec<u8>,
}

/// A place in the order (window start, stream, sequence).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(super) window_start_s: u64,
    pub(super) stream: StreamId,
    pub(super) seq: u64,
}

impl Cursor {
    /// Before every record of the windows that start at `from_s` or later.
    #[must_use]
    pub const fn before(from_s: u64) -> Self {
        Self { window_start_s: from_s, stream: StreamId(0), seq: 0 }
    }
}

impl From<&StoredRecord> for Cursor {
    fn from(record: &StoredRecord) -> Self {
        Self { window_start_s: record.window_start_s, stream: record.stream, seq: record.seq }
    }
}

/// A stream and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// The stream.
    pub stream: StreamId,
    /// Highest committed sequence; 0 = none.
    pub last_seq: u64,
}
