//! Times of RFC 3261 (table 4), of datagrams; of a stream, A, D, E and K are nothing. Pure: how long, never when.

use std::time::Duration;

/// Estimate of the round trip: the first wait before a request is sent again (timers A, E, G).
pub(crate) const T1: Duration = Duration::from_millis(500);
/// Longest wait before a request other than INVITE, or a response, is sent again.
pub(crate) const T2: Duration = Duration::from_secs(4);
/// How long the network may hold a message.
pub(crate) const T4: Duration = Duration::from_secs(5);
/// 64·T1: timers B and F (no answer), H (no ACK), J (an answer is kept), and L and M of RFC 6026.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(32);
/// Timer D: how long a failure is acknowledged again; 32 s at least, whatever T1 is.
pub(crate) const D: Duration = Duration::from_secs(32);
/// Timer K: how long an answer may come again.
pub(crate) const K: Duration = T4;

/// The wait after `before` of a timer that doubles up to T2 (E, G).
pub(crate) fn doubled_to_t2(before: Duration) -> Duration {
    before.saturating_mul(2).min(T2)
}
