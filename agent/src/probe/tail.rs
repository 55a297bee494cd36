//! What an attempt still owes the other side after it has ended, such as the end of a call or the cancel request of a query
//! that nobody waits for any longer: never measured, and over soon.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest tail: enough for a connection across the world, or to send a lost BYE again once (T1 is 500 ms); short enough
/// that it ends before most next attempts.
pub(crate) const TAIL_MAX: Duration = Duration::from_secs(1);
/// Most tails at once: each may hold a socket or two. Where all hang, a further attempt just closes its own.
const TAILS_MAX: u32 = 1_024;

/// The tails of all attempts.
#[derive(Debug)]
pub(crate) struct Tails {
    slots: Arc<Semaphore>,
}

impl Default for Tails {
    fn default() -> Self {
        Self { slots: Arc::new(Semaphore::new(TAILS_MAX as usize)) }
    }
}

impl Tails {
    /// Runs a tail in the background; drops it where there are too many, and where no runtime is left to run it.
    pub(crate) fn run(&self, tail: impl Future<Output = ()> + Send + 'static) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        // Detached: whoever ends the program waits for `settle`.
        drop(runtime.spawn(async move {
            drop(timeout(TAIL_MAX, tail).await);
            drop(slot);
        }));
    }

    /// Waits until no tail is left: at most as long as one may take.
    pub(crate) async fn settle(&self) {
        drop(timeout(TAIL_MAX, self.slots.acquire_many(TAILS_MAX)).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    #[tokio::test]
    async fn tails_are_waited_for_but_not_for_ever() {
        let tails = Tails::default();
        let began = Instant::now();
        tails.run(sleep(Duration::from_millis(30)));
        tails.settle().await;
        assert!((Duration::from_millis(30)..TAIL_MAX).contains(&began.elapsed()));
        tails.run(std::future::pending());
        tails.settle().await;
        assert!(began.elapsed() >= Duration::from_millis(30) + TAIL_MAX);
    }

    #[tokio::test]
    async fn tails_are_bounded() {
        let tails = Tails::default();
        for _ in 0..=TAILS_MAX {
            tails.run(std::future::pending());
        }
        assert_eq!(tails.slots.available_permits(), 0);
        tails.settle().await;
        tails.settle().await;
        assert_eq!(tails.slots.available_permits(), TAILS_MAX as usize, "each ended in time");
    }
}
