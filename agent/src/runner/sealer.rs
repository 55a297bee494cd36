//! The sealer: closed windows become durable records, off the runner's way.

use super::Recovery;
use crate::spool::{SpoolError, SpoolHandle};
use crate::uplink::ClockOffset;
use crate::window::Sealed;
use probefleet_proto::record::Kind;
use probefleet_proto::report::{Head, encode};
use probefleet_proto::v1;
use prost::Message as _;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tracing::{debug, error};

/// Wait before a record is appended again after the disk failed.
const RETRY: Duration = Duration::from_secs(1);

/// Something to put on record.
#[derive(Debug)]
pub enum Seal {
    /// Closed cells of a window.
    Window(Sealed),
    /// Something an auditor should know.
    Event {
        /// Which: `start`, `stop`, `agent_down`, `clock_step`.
        what: &'static str,
        /// When, Unix ns.
        wall_time_ns: u64,
        /// For people.
        detail: String,
    },
}

/// Puts the account of the downtime on record, then everything that comes, until the senders are gone.
pub async fn run(
    spool: SpoolHandle,
    recovery: Recovery,
    mut seals: mpsc::Receiver<Seal>,
    offset: watch::Receiver<Option<ClockOffset>>,
) {
    for sealed in recovery {
        if keep(&spool, Seal::Window(sealed), &offset).await.is_err() {
            return;
        }
    }
    while let Some(seal) = seals.recv().await {
        if keep(&spool, seal, &offset).await.is_err() {
            return;
        }
    }
}

/// The spool has ended: there is nowhere to keep anything.
struct Closed;

async fn keep(
    spool: &SpoolHandle,
    seal: Seal,
    offset: &watch::Receiver<Option<ClockOffset>>,
) -> Result<(), Closed> {
    match seal {
        Seal::Window(sealed) => {
            let health = health(&sealed, spool, *offset.borrow());
            let head = Head {
                window_start_s: sealed.window_start_s,
                window_s: sealed.window_s,
                plan_hash: sealed.plan_hash,
                health,
                stragglers_follow: sealed.stragglers_follow,
            };
            for payload in encode(&head, &sealed.cells) {
                append(spool, Kind::Report, payload).await?;
            }
            Ok(())
        }
        Seal::Event { what, wall_time_ns, detail } => {
            let event = v1::Event { what: what.to_owned(), wall_time_ns, detail };
            append(spool, Kind::Event, event.encode_to_vec()).await
        }
    }
}

fn health(sealed: &Sealed, spool: &SpoolHandle, offset: Option<ClockOffset>) -> v1::Health {
    v1::Health {
        clock_offset_ns: offset.map_or(0, |offset| offset.offset_ns),
        clock_error_ns: offset.map_or(0, |offset| offset.error_ns),
        start_lag_max_ns: sealed.start_lag_max_ns,
        spool_bytes: spool.state().borrow().bytes,
        flags: 0,
    }
}

/// Appends until it succeeds: meanwhile windows wait in memory, counted.
async fn append(spool: &SpoolHandle, kind: Kind, payload: Vec<u8>) -> Result<(), Closed> {
    loop {
        match spool.append(kind, payload.clone()).await {
            Ok(_) => return Ok(()),
            Err(SpoolError::Closed) => {
                error!("the spool is closed: a record is not kept");
                return Err(Closed);
            }
            Err(error) => {
                debug!(%error, "the spool cannot be written; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
