//! Sessions that outlive an attempt: each waits for the next attempt of its probe, and for its own end.

use super::session::Session;
use super::spec::Spec;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Most sessions that wait: each holds a socket here and a process of the server. A further one ends with its attempt.
const WAITING_MAX: usize = 1_024;
/// How soon it is noticed that a probe is in no plan any more.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The sessions that wait, each under the place of its probe's spec in memory. That place is not given to another spec as
/// long as the session waits, because a [`Weak`] waits with it.
#[derive(Default)]
pub(crate) struct Sessions {
    waiting: Mutex<HashMap<usize, Waiting>>,
}

/// A session that waits. Dropping this ends it.
struct Waiting {
    wanted: oneshot::Sender<()>,
    waiter: JoinHandle<Option<Session>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("waiting", &self.lock().len()).finish()
    }
}

impl Sessions {
    /// The session that waits for that probe, if it still stands. Nobody else has it then.
    pub(super) async fn take(&self, spec: &Arc<Spec>) -> Option<Session> {
        let Waiting { wanted, waiter } = self.lock().remove(&place(spec))?;
        wanted.send(()).ok()?;
        waiter.await.ok().flatten()
    }

    /// Lets a session wait for the next attempt.
    pub(super) async fn keep(&self, spec: &Arc<Spec>, session: Session) {
        if !self.has_room() {
            return session.farewell().await;
        }
        let (wanted, asked) = oneshot::channel();
        let waiter = tokio::spawn(wait(session, asked, Arc::downgrade(spec)));
        self.lock().insert(place(spec), Waiting { wanted, waiter });
    }

    fn has_room(&self) -> bool {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            waiting.retain(|_, waiting| !waiting.waiter.is_finished());
        }
        waiting.len() < WAITING_MAX
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(spec: &Arc<Spec>) -> usize {
    Arc::as_ptr(spec).addr()
}

/// Waits until the session is wanted again; `None` when it has ended before.
async fn wait(
    mut session: Session,
    mut asked: oneshot::Receiver<()>,
    probe: Weak<Spec>,
) -> Option<Session> {
    loop {
        let wanted = tokio::select! {
            biased;
            () = session.ended() => return None,
            wanted = &mut asked => Some(wanted.is_ok()),
            () = sleep(LOOK_EVERY) => (probe.strong_count() == 0).then_some(false),
        };
        match wanted {
            Some(true) => return Some(session),
            Some(false) => {
                session.farewell().await;
                return None;
            }
            None => {}
        }
    }
}
