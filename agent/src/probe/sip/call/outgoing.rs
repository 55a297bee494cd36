//! Requests other than INVITE, and their transactions; and what becomes of those that no stream could be had for.

use super::Call;
use super::dialog::{Remote, Says, Written};
use crate::probe::sip::caller::Caller;
use crate::probe::sip::digest::Authorizer;
use crate::probe::sip::scenario::Stamp;
use crate::probe::sip::transaction::NonInviteTransaction;
use tokio::time::Instant;

/// A request under way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) written: Written,
    /// What has become of it.
    pub(super) transaction: NonInviteTransaction,
}

impl Request {
    /// Sent now for the first time.
    pub(super) fn new(written: Written, now: Instant) -> Self {
        let transaction = NonInviteTransaction::new(written.path.transport, now);
        Self { written, transaction }
    }

    /// A request in a dialog that says so, with credentials, sent now for the first time.
    pub(super) fn within(
        remote: &Remote,
        caller: &mut Caller,
        authorizer: Option<&mut Authorizer>,
        mut says: Says,
        now: Instant,
    ) -> Self {
        if let Some(authorizer) = authorizer {
            let (uri, body) = (remote.uri(), says.body.as_bytes());
            let identifiers = &mut caller.identifiers;
            says.headers.extend(authorizer.headers(says.method, &uri, body, identifiers));
        }
        Self::new(remote.write(caller, says), now)
    }

    /// Whether a response is to it (RFC 3261 §17.1.3).
    pub(super) fn is_answered_by(&self, branch: &[u8], method: &[u8]) -> bool {
        self.written.branch.as_bytes() == branch && self.written.says.method.as_bytes() == method
    }

    /// The same as a datagram; `None` where no answer is waited for, or a datagram would have carried it at once.
    fn as_datagram(&self, remote: &mut Remote, caller: &mut Caller, now: Instant) -> Option<Self> {
        let waits = self.transaction.is_pending();
        let written = waits.then(|| remote.as_datagram(caller, &self.written)).flatten()?;
        Some(Self::new(written, now))
    }
}

impl Call {
    /// No stream could be had for something: what is in a dialog, and went by one only because it is too large for a
    /// datagram, is tried as one all the same (RFC 3261 §18.1.1). False where there is no such thing.
    pub(super) fn send_as_datagrams(&mut self, now: Instant) -> bool {
        let (caller, outbox) = (&mut self.caller, &mut self.outbox);
        let mut found = false;
        let mut replace = |before: &Written, after: &Written, stamp| {
            outbox.withdraw(&before.bytes);
            outbox.push(&after.path, after.bytes.clone(), stamp);
            found = true;
        };
        for early in &mut self.early {
            let Some(prack) = &mut early.prack else { continue };
            let Some(again) = prack.as_datagram(&mut early.remote, caller, now) else { continue };
            replace(&prack.written, &again.written, None);
            *prack = again;
        }
        for (index, dialog) in self.dialogs.iter_mut().enumerate() {
            if let Some(again) = dialog.remote.as_datagram(caller, &dialog.ack) {
                replace(&dialog.ack, &again, None);
                dialog.ack = again;
            }
            let Some(bye) = &mut dialog.bye else { continue };
            let Some(again) = bye.as_datagram(&mut dialog.remote, caller, now) else { continue };
            replace(&bye.written, &again.written, (index == 0).then_some(Stamp::Bye));
            **bye = again;
        }
        found
    }
}
