//! What a connection may send without saying anything.
//!
//! HTTP/2 has frames that cost the receiver work and mean nothing: PING, SETTINGS, a stream that is reset at once, a header
//! that never ends, a message in pieces of one byte. The library bounds what memory each of them takes, not for how long
//! they come. But an agent says something with most of what it sends: so each connection has a budget of bytes, every
//! message that was understood refills it, and a connection that has used it up is closed. Whatever the next kind of such
//! frames will be called, it is bounded too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What a connection begins with, and can have at most: four of the largest messages, and what their frames take beside it.
const BUDGET_BYTES: i64 = 2 << 20;
/// What a message refills beside its own length: PINGs, window updates and acknowledgements of settings between two of them.
const MESSAGE_BYTES: i64 = 4 << 10;
/// How often its length: in frames of a few hundred bytes it is read as little more than once, never twice.
const MESSAGE_FACTOR: i64 = 2;

/// The budget of a connection, shared by who reads bytes and who understands messages.
#[derive(Clone)]
pub struct Budget(Arc<AtomicI64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(BUDGET_BYTES)))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({})", self.0.load(Ordering::Relaxed))
    }
}

impl Budget {
    /// So many bytes were read. False when that is too much.
    #[must_use]
    pub fn spend(&self, bytes: usize) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.0.fetch_sub(bytes, Ordering::Relaxed) >= bytes
    }

    /// A message of that length was understood.
    pub fn earn(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(BUDGET_BYTES).min(BUDGET_BYTES);
        let earned = MESSAGE_BYTES + bytes * MESSAGE_FACTOR;
        let refilled = |left: i64| Some(left.saturating_add(earned).min(BUDGET_BYTES));
        let _always_refilled = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refilled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_something_can_go_on_for_ever() {
        let budget = Budget::default();
        for _ in 0..10_000 {
            assert!(budget.spend(9_000));
            budget.earn(8_000);
            assert!(budget.spend(200), "what lies between two messages");
        }
    }

    #[test]
    fn who_only_sends_is_stopped() {
        let budget = Budget::default();
        let frames = (0..).take_while(|_| budget.spend(17)).count();
        assert_eq!(i64::try_from(frames).expect("few"), BUDGET_BYTES / 17);
        budget.earn(100);
        assert!(budget.spend(1_000), "the message that was under way counts");
    }

    #[test]
    fn nothing_is_saved_up() {
        let budget = Budget::default();
        (0..1_000).for_each(|_| budget.earn(256 << 10));
        assert!(budget.spend(2 << 20) && !budget.spend(1));
    }
}
