//! What one call counts for the ratios of RFC 6076 §4.6–4.9: once for the whole of it, however many INVITEs it took.

use crate::probe::sip::scenario::RETRANSMISSIONS;

/// Statuses besides 2xx with which the network has done its part (RFC 6076 §4.7).
const EFFECTIVE: [u16; 4] = [480, 486, 600, 603];
/// Statuses that are the network's failure (RFC 6076 §4.8).
const INEFFECTIVE: [u16; 4] = [408, 500, 503, 504];
/// Answers to a BYE by somebody on its way that say that nobody else has answered: such a session has not completed, any
/// other answered one has (RFC 6076 §4.9).
pub(super) const NOBODY_ANSWERED: [u16; 2] = [408, 504];
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
    /// It was set up, and its end was answered, whatever the answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_count_as_rfc_6076_has_them() {
        for (last, cancelled, expected) in [
            (200, false, vec!["established", "effective"]),
            (202, false, vec!["established", "effective"]),
            (302, false, vec!["redirected"]),
            (401, false, vec![]),
            (407, false, vec![]),
            (404, false, vec![]),
            (420, false, vec![]),
            (408, false, vec!["ineffective"]),
            (480, false, vec!["effective"]),
            (486, false, vec!["effective"]),
            (487, false, vec![]),
            (487, true, vec!["effective"]),
            (500, false, vec!["ineffective"]),
            (503, false, vec!["ineffective"]),
            (504, false, vec!["ineffective"]),
            (600, false, vec!["effective"]),
            (603, false, vec!["effective"]),
            (604, false, vec![]),
        ] {
            let tally = Tally { last: Some(last), cancelled, ..Tally::default() };
            let counted = tally.counters(0);
            assert_eq!(counted[0], ("call_attempts", 1));
            let names: Vec<_> = counted[1..].iter().map(|(name, _)| *name).collect();
            assert_eq!(names, expected, "{last}");
        }
    }
}
