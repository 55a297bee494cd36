//! What one call counts for the ratios of RFC 6076 §4.6–4.10: once for the whole of it, however many INVITEs it took.

use crate::probe::sip::scenario::RETRANSMISSIONS;

/// Statuses besides 2xx with which the network has done its part (RFC 6076 §4.7).
const EFFECTIVE: [u16; 4] = [480, 486, 600, 603];
/// Statuses that are the network's failure (RFC 6076 §4.8).
const INEFFECTIVE: [u16; 4] = [408, 500, 503, 504];
/// What a timeout is to a client (RFC 3261 §8.1.3.1).
pub(super) const TIMED_OUT: u16 = 408;
/// What a transport that fails is to a client (RFC 3261 §8.1.3.1).
pub(super) const UNREACHABLE: u16 = 503;

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// The final response, or what stands for one.
    pub(super) last: Option<u16>,
    /// We have cancelled it.
    pub(super) cancelled: bool,
    /// It was set up and has ended in due form.
    pub(super) completed: bool,
    pub(super) teardown_failed: bool,
    /// Calls beside the first.
    pub(super) forked: u64,
    pub(super) redirects: u64,
    pub(super) invite_transactions: u64,
}

impl Tally {
    /// Everything that is not 0, and the attempt itself.
    pub(super) fn counters(&self, retransmits: u32) -> Vec<(&'static str, u64)> {
        let last = self.last.unwrap_or_default();
        let established = (200..300).contains(&last);
        let effective = established
            || EFFECTIVE.contains(&last)
            // Rung, and taken back by nobody but us.
            || (last == 487 && self.cancelled);
        let counted = [
            ("established", u64::from(established)),
            ("redirected", u64::from((300..400).contains(&last))),
            ("effective", u64::from(effective)),
            ("ineffective", u64::from(INEFFECTIVE.contains(&last))),
            ("completed", u64::from(self.completed)),
            (RETRANSMISSIONS, u64::from(retransmits)),
            ("forked", self.forked),
            ("teardown_failed", u64::from(self.teardown_failed)),
            ("redirects", self.redirects),
            ("invite_transactions", self.invite_transactions),
        ];
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        [("call_attempts", 1)].into_iter().chain(counted).collect()
    }
}
