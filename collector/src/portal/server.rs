//! The portal's listener: HTTP/1.1 with a bound on everything that a stranger can make us hold.

use super::{Portal, router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Most connections at once: browsers hold a few each.
const CONNECTIONS_MAX: usize = 256;
/// How long a request's head may take, and how long a connection may idle between requests.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// How long a connection lasts at most, whatever it does: answers are small and made at once.
const CONNECTION_MAX: Duration = Duration::from_secs(300);
/// Largest head of a request.
const HEAD_MAX_BYTES: usize = 16 << 10;
/// How long to wait when the system has no more file descriptors, instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Serves pages until the collector stops.
pub async fn serve(listener: TcpListener, portal: Portal, stop: watch::Receiver<bool>) {
    let app = router(portal);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stopped = crate::ingest::service::stopped(stop.clone());
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!("too many connections to the portal");
            continue;
        };
        tokio::spawn(serve_one(stream, app.clone(), place, stop.clone()));
    }
}

async fn serve_one(
    stream: TcpStream,
    app: axum::Router,
    _place: OwnedSemaphorePermit,
    stop: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let ended = tokio::select! {
        ended = connection => ended,
        () = crate::ingest::service::stopped(stop) => return,
        () = tokio::time::sleep(CONNECTION_MAX) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the portal broke off");
    }
}
