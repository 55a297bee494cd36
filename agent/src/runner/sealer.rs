//! The sealer: closed windows become durable records, off the runner's way.

use super::Recovery;
use super::health::Vitals;
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
        /// Which: `start`, `stop`, `agent_down`, `clock_step`, `journal_failed`, `journal_recovered`.
        what: &'static str,
        /// When, Unix ns.
        wall_time_ns: u64,
        /// For people.
        detail: String,
    },
}

/// What comes to the sealer, and what it says of that.
#[derive(Debug)]
pub struct Desk {
    /// Closed windows and events.
    pub seals: mpsc::Receiver<Seal>,
    /// How many of these windows are durable.
    pub kept: watch::Sender<u64>,
    /// How far the clock is from the collector's.
    pub offset: watch::Receiver<Option<ClockOffset>>,
    /// How much the spool may hold.
    pub spool_max_bytes: u64,
}

/// Puts the account of the downtime on record, then everything that comes, until the senders are gone. True when all of
/// it is durable.
pub async fn run(spool: SpoolHandle, recovery: Recovery, desk: Desk) -> bool {
    let Desk { mut seals, kept, offset, spool_max_bytes } = desk;
    let mut office = Office { spool, offset, vitals: Vitals::new(spool_max_bytes) };
    for sealed in recovery {
        if office.keep(Seal::Window(sealed)).await.is_err() {
            return false;
        }
    }
    while let Some(seal) = seals.recv().await {
        let is_window = matches!(seal, Seal::Window(_));
        if office.keep(seal).await.is_err() {
            return false;
        }
        kept.send_modify(|kept| *kept += u64::from(is_window));
    }
    true
}

/// The spool has ended: there is nowhere to keep anything.
struct Closed;

/// What a record is made with.
struct Office {
    spool: SpoolHandle,
    offset: watch::Receiver<Option<ClockOffset>>,
    vitals: Vitals,
}

impl Office {
    async fn keep(&mut self, seal: Seal) -> Result<(), Closed> {
        match seal {
            Seal::Window(sealed) => {
                let offset = *self.offset.borrow();
                let state = self.spool.state().borrow().clone();
                let head = Head {
                    window_start_s: sealed.window_start_s,
                    window_s: sealed.window_s,
                    plan_hash: sealed.plan_hash,
                    health: self.vitals.health(sealed.own, &state, offset),
                    stragglers_follow: sealed.stragglers_follow,
                };
                for payload in encode(&head, &sealed.cells) {
                    append(&self.spool, Kind::Report, payload).await?;
                }
                Ok(())
            }
            Seal::Event { what, wall_time_ns, detail } => {
                let event = v1::Event { what: what.to_owned(), wall_time_ns, detail };
                append(&self.spool, Kind::Event, event.encode_to_vec()).await
            }
        }
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
