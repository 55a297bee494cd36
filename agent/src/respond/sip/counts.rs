//! What was asked and answered, so that both ends of a way can be compared.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// OPTIONS, each time it came.
    pub(super) options: Count,
    /// Calls that were begun: INVITEs, but for those that came again.
    pub(super) calls: Count,
    /// Calls that were answered with 200.
    pub(super) answered: Count,
    /// Answered calls whose ACK has come.
    pub(super) acknowledged: Count,
    /// Acknowledged calls that were ended by BYE.
    pub(super) ended: Count,
    /// Calls that were cancelled before they were answered.
    pub(super) cancelled: Count,
    /// REGISTERs that were accepted, each time they came.
    pub(super) registered: Count,
    /// Packets of audio that were sent back.
    pub(super) echoed: Count,
    /// Packets at a port for audio that were not: of no caller, after the call, too many, or no audio.
    pub(super) unheard: Count,
    /// Reports (RTCP) that were answered with one.
    pub(super) reports: Count,
    /// Datagrams that were no request, or too many at once.
    pub(super) discarded: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// All of them.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "options": self.options.get(),
            "calls": self.calls.get(),
            "answered": self.answered.get(),
            "acknowledged": self.acknowledged.get(),
            "ended": self.ended.get(),
            "cancelled": self.cancelled.get(),
            "registered": self.registered.get(),
            "media": {
                "echoed": self.echoed.get(),
                "unheard": self.unheard.get(),
                "reports": self.reports.get(),
            },
            "discarded": self.discarded.get(),
        })
    }
}
