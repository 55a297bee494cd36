//! Round after round: reads, judges, publishes, and says what came of it.

use super::{Evaluator, Snapshot};
use crate::config::Signed;
use crate::store::{AnyStore, TenantScope};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks for new records.
const ROUND: Duration = Duration::from_secs(2);
/// A round that took long is followed by a pause of so many times its length, so that judging never takes more than a
/// fifth of a core.
const PAUSE_FACTOR: u32 = 4;

/// Judges until nobody listens any more. The first snapshot comes when the evidence is loaded.
pub async fn run(
    store: AnyStore,
    scope: TenantScope,
    (agreements, window_s): (Vec<Signed>, u32),
    snapshots: watch::Sender<Arc<Snapshot>>,
) {
    let mut evaluator = Evaluator::new(store, scope, agreements, window_s);
    loop {
        let started = tokio::time::Instant::now();
        let mut snapshot = snapshots.borrow().as_ref().clone();
        let Some(back) = round(evaluator, &mut snapshot).await else {
            tracing::error!("judging has panicked; figures stand still until a restart");
            return;
        };
        evaluator = back;
        drop(snapshots.send_replace(Arc::new(snapshot)));
        let pause = ROUND.max(started.elapsed() * PAUSE_FACTOR);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = snapshots.closed() => return,
        }
    }
}

/// Reads, judges and publishes; `None` when judging has panicked.
async fn round(mut evaluator: Evaluator, snapshot: &mut Snapshot) -> Option<Evaluator> {
    let now_s = unix_now_ns() / NS_PER_S;
    match evaluator.read(now_s).await {
        Err(error) => {
            snapshot.failure = Some(failed("agreements could not be judged", &error));
            return Some(evaluator);
        }
        Ok(false) => {}
        Ok(true) => {
            (evaluator, *snapshot) = apart(evaluator, move |it| it.judge(now_s)).await?;
        }
    }
    snapshot.failure = match evaluator.publish(snapshot, now_s).await {
        Ok(published) => {
            snapshot.made_s = if published { now_s } else { snapshot.made_s };
            None
        }
        Err(error) => Some(failed(NOT_PUBLISHED, &error)),
    };
    match evaluator.reopen(now_s).await {
        Ok(false) => {}
        Ok(true) => {
            (evaluator, ()) = apart(evaluator, Evaluator::judge_reopened).await?;
            if let Err(error) = evaluator.publish_reopened(now_s).await {
                snapshot.failure = Some(failed(NOT_PUBLISHED, &error));
            }
        }
        Err(error) => {
            snapshot.failure = Some(failed("older periods could not be looked at", &error));
        }
    }
    snapshot.fresh_s = now_s;
    Some(evaluator)
}

/// What is said when the store does not take it.
const NOT_PUBLISHED: &str = "what is due could not be published";

/// Logs a failure; how pages tell it.
fn failed(what: &str, error: &dyn std::fmt::Display) -> String {
    tracing::warn!(%error, "{what}");
    format!("{what}: {error}")
}

/// Judging is work for a thread that may be kept busy.
async fn apart<T: Send + 'static>(
    mut evaluator: Evaluator,
    work: impl FnOnce(&mut Evaluator) -> T + Send + 'static,
) -> Option<(Evaluator, T)> {
    let worked = tokio::task::spawn_blocking(move || {
        let made = work(&mut evaluator);
        (evaluator, made)
    });
    worked.await.ok()
}
