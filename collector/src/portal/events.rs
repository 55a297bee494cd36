//! Server-sent events (HTML Living Standard §9.2): pages follow them to learn when there is something new to show.
//!
//! An event says no figures, only marks: a page that was made from another mark is fetched again and changes in place. So
//! there is one way to make a page, with or without script, and a page that missed an event catches up with the next.

use super::Portal;
use super::pages::stands_still;
use crate::evaluator::Snapshot;
use crate::fleet::Fleet;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// Most pages that follow at once: half of the portal's connections, so that pages can still be fetched.
const FOLLOWERS_MAX: usize = 128;
/// How often an event is sent when nothing happens, s: the page sees that it is still connected, and ages grow.
const BEAT_S: u64 = 15;
/// How soon a page comes back when it lost its connection: at once, but not all of them together.
const RETRY: Duration = Duration::from_secs(2);
/// Followers come back so far apart.
const RETRY_STEP: Duration = Duration::from_millis(50);

/// Places for those who follow the events.
#[must_use]
pub fn places_for_followers() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(FOLLOWERS_MAX))
}

/// What pages were made from. Equal marks, equal pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    /// Of pages with verdicts.
    pub(super) verdicts: String,
    /// Of the agents' board.
    pub(super) agents: String,
}

impl Marks {
    pub(super) fn of(snapshot: &Snapshot, fleet: &Fleet, now_s: u64) -> Self {
        let trouble = match (&snapshot.failure, stands_still(snapshot, now_s)) {
            (Some(_), _) => "failed",
            (None, true) => "still",
            (None, false) => "fine",
        };
        let verdicts = format!("{}-{trouble}", snapshot.made_s);
        // The board shows ages, which grow while nothing happens.
        let agents = format!("{verdicts}-{}-{}", fleet.revision(), now_s / BEAT_S);
        Self { verdicts, agents }
    }

    fn event(&self) -> Event {
        Event::default().data(json!({"verdicts": self.verdicts, "agents": self.agents}).to_string())
    }
}

/// Tells a page of new marks until it goes or the collector stops.
pub(super) async fn follow(State(portal): State<Portal>) -> Response {
    let Ok(place) = Arc::clone(&portal.followers).try_acquire_owned() else {
        let text = "too many pages follow already; load the page anew to see the latest\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], text)
            .into_response();
    };
    let others = FOLLOWERS_MAX.saturating_sub(portal.followers.available_permits());
    let retry = RETRY + RETRY_STEP * u32::try_from(others).unwrap_or(u32::MAX);
    // One event at a time: a reader that does not read is not told more.
    let (tell, told) = mpsc::channel(1);
    tokio::spawn(tell_news(portal, tell, retry, place));
    Sse::new(ReceiverStream::new(told)).into_response()
}

async fn tell_news(
    mut portal: Portal,
    tell: mpsc::Sender<Result<Event, Infallible>>,
    retry: Duration,
    _place: OwnedSemaphorePermit,
) {
    let mut before: Option<Marks> = None;
    let mut beat = Instant::now();
    loop {
        let snapshot = portal.snapshots.borrow_and_update().clone();
        let marks = Marks::of(&snapshot, &portal.fleet, unix_now_ns() / NS_PER_S);
        if beat <= Instant::now() || before.as_ref() != Some(&marks) {
            let first = before.is_none();
            let event = if first { marks.event().retry(retry) } else { marks.event() };
            if tell.send(Ok(event)).await.is_err() {
                return;
            }
            before = Some(marks);
            beat = Instant::now() + Duration::from_secs(BEAT_S);
        }
        tokio::select! {
            changed = portal.snapshots.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(beat) => {}
            () = tell.closed() => return,
        }
    }
}
