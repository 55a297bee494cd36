//! A request other than INVITE, and its transaction.

use crate::probe::sip::transaction::NonInviteTransaction;
use tokio::time::Instant;

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    method: &'static str,
    branch: String,
    /// The whole of it, for when it is sent again.
    pub(super) bytes: Vec<u8>,
    /// What has become of it.
    pub(super) transaction: NonInviteTransaction,
}

impl Request {
    /// Sent now for the first time.
    pub(super) fn new(method: &'static str, branch: String, bytes: Vec<u8>, now: Instant) -> Self {
        Self { method, branch, bytes, transaction: NonInviteTransaction::new(now) }
    }

    /// Whether a response is to it (RFC 3261 §17.1.3).
    pub(super) fn is_answered_by(&self, branch: &[u8], method: &[u8]) -> bool {
        self.branch.as_bytes() == branch && self.method.as_bytes() == method
    }
}
