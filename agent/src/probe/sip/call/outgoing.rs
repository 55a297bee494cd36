//! A request other than INVITE, and its transaction.

use super::dialog::{Remote, Within};
use crate::probe::sip::caller::Caller;
use crate::probe::sip::digest::Authorizer;
use crate::probe::sip::scenario::Path;
use crate::probe::sip::transaction::NonInviteTransaction;
use tokio::time::Instant;

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    method: &'static str,
    branch: String,
    /// The whole of it, for when it is sent again.
    pub(super) bytes: Vec<u8>,
    /// How it goes.
    pub(super) path: Path,
    /// What has become of it.
    pub(super) transaction: NonInviteTransaction,
}

impl Request {
    /// The CANCEL of the INVITE with that branch, sent now for the first time.
    pub(super) fn cancel(branch: String, bytes: Vec<u8>, path: Path, now: Instant) -> Self {
        let transaction = NonInviteTransaction::new(path.transport, now);
        Self { method: "CANCEL", branch, bytes, path, transaction }
    }

    /// A request in a dialog, of that method, with headers and a body of its own, sent now for the first time.
    pub(super) fn within(
        remote: &Remote,
        caller: &mut Caller,
        authorizer: Option<&mut Authorizer>,
        (method, headers, body): (&'static str, &[(&'static str, String)], &str),
        now: Instant,
    ) -> Self {
        let branch = caller.identifiers.branch();
        let mut headers = headers.to_vec();
        if let Some(authorizer) = authorizer {
            let identifiers = &mut caller.identifiers;
            headers.extend(authorizer.headers(method, &remote.uri(), body.as_bytes(), identifiers));
        }
        let (sequence, headers) = (remote.sequence, headers.as_slice());
        let within = Within { method, branch: &branch, sequence, headers, body };
        let (bytes, path) = remote.request(caller, within);
        let transaction = NonInviteTransaction::new(path.transport, now);
        Self { method, branch, bytes, path, transaction }
    }

    /// Whether a response is to it (RFC 3261 §17.1.3).
    pub(super) fn is_answered_by(&self, branch: &[u8], method: &[u8]) -> bool {
        self.branch.as_bytes() == branch && self.method.as_bytes() == method
    }
}
