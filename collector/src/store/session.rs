//! Sessions: who opens one, what is known of the agent, and where its stream ends.

use super::{Evidence, StoreError, StreamId};
use probefleet_proto::evidence::PublicKey;
use probefleet_proto::label::Labels;
use probefleet_proto::name::Name;
use probefleet_proto::record::{Hash, SpoolId};
use std::fmt;
use uuid::Uuid;

/// Who opens a session, and what is used of it when the agent is seen for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The agent, from its certificate.
    pub agent: Uuid,
    /// The spool that it speaks of.
    pub spool_id: SpoolId,
    /// Name at first sight.
    pub proposed_name: Name,
    /// Labels at first sight.
    pub proposed_labels: Labels,
    /// The key that it names, and from which sequence on it signs by it; pinned to the spool if none is yet.
    pub evidence: Option<Evidence>,
    /// Now, Unix seconds.
    pub now_s: u64,
    /// A stream may begin, if the spool is not known.
    pub may_begin: bool,
}

/// The end of what is committed of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Highest committed sequence; 0 = none.
    pub last_seq: u64,
    /// Its hash; of an empty stream, the hash that record 1 chains to.
    pub last_hash: Hash,
    /// The session that may commit: the newest.
    pub session: u64,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.last_hash;
        write!(f, "{} {a:02x}{b:02x}{c:02x}{d:02x}… session {}", self.last_seq, self.session)
    }
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The spool's stream.
    pub stream: StreamId,
    /// Where it ends, and this session's number.
    pub head: Head,
    /// The agent's name: the proposed one only if it was free when the agent was first seen.
    pub name: Name,
    /// The labels in force.
    pub labels: Labels,
    /// This was the first sight of the agent.
    pub first_sight: bool,
    /// The key that is pinned to the stream.
    pub evidence: Option<Evidence>,
    /// It was pinned just now, and the agent's stream before has this other one.
    pub key_before: Option<PublicKey>,
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The spool was first seen with another agent: a copied disk.
    #[error("this spool belongs to another agent: a spool is not copied from one agent to another")]
    ForeignSpool,
    /// Another key is pinned to the spool than the one that the agent names.
    #[error(
        "the records of this spool are signed with the key {pinned}, this agent has {offered}: its state directory was copied or restored, or its evidence.key swapped. Put back the evidence.key that belongs here; if it is lost, stop the agent and move the folder `spool` beside it away: a new spool begins with the new key"
    )]
    OtherKey {
        /// The one that is pinned.
        pinned: PublicKey,
        /// The one that the agent names.
        offered: PublicKey,
    },
    /// The agent's id is known under another tenant.
    #[error("this agent belongs to another tenant")]
    ForeignAgent,
    /// The spool is not known, and no stream may begin.
    #[error(
        "this agent has begun many streams lately, each with a new spool: is its state directory kept over a restart? The next may begin in a while"
    )]
    NewSpool,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An agent as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownAgent {
    /// Its identity.
    pub agent: Uuid,
    /// Its name.
    pub name: Name,
    /// When it was first seen, Unix seconds.
    pub first_seen_s: u64,
    /// Its labels, each with the Unix second from which they hold, ascending; never empty.
    pub labels: Vec<(u64, Labels)>,
    /// End of the window of its newest report, Unix seconds.
    pub last_report_end_s: Option<u64>,
    /// The different keys that were pinned to its streams, oldest first.
    pub evidence_keys: Vec<PublicKey>,
}

impl KnownAgent {
    /// The labels in force at a Unix second; before the first sight, the first ones: an agent may have measured
    /// for days before it reached its collector.
    #[must_use]
    pub fn labels_at(&self, unix_s: u64) -> Option<&Labels> {
        let valid = self.labels.iter().rev().find(|(from_s, _)| *from_s <= unix_s);
        valid.or_else(|| self.labels.first()).map(|(_, labels)| labels)
    }
}
