//! What the runner keeps on disk of windows that are not sealed, and until when.
//!
//! Windows reach the spool in the order in which they are handed to the sealer, so one number says which of them are
//! durable: how many.

use crate::journal::{Journal, Notice};
use crate::probe::Sample;
use crate::window::{Sealed, SeriesSpec, Suspect};
use probefleet_proto::name::MissedReason;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;

/// The journal, and which of its windows wait for the spool.
#[derive(Debug)]
pub(super) struct Logbook {
    journal: Journal,
    /// How many windows that were handed over are durable.
    kept: watch::Receiver<u64>,
    /// How many were handed over.
    handed: u64,
    /// Those that were handed over to the last cell: as the how manieth, and their starts (Unix s).
    waiting: VecDeque<(u64, u64)>,
    /// Start of the window that was open at the start (Unix s), until the account of the downtime is durable.
    opened_s: Option<u64>,
}

impl Logbook {
    /// For an agent whose account of the downtime ends at a window's start (Unix s).
    pub(super) fn new(journal: Journal, kept: watch::Receiver<u64>, opened_s: u64) -> Self {
        let (waiting, opened_s) = (VecDeque::new(), Some(opened_s));
        Self { journal, kept, handed: 0, waiting, opened_s }
    }

    /// An attempt has ended; `place` is its window (Unix s) and instant (Unix ns).
    pub(super) fn ended(
        &mut self,
        series: &Arc<SeriesSpec>,
        place: (u64, u64),
        lag_ns: u64,
        sample: &Sample,
    ) {
        self.journal.ended(series, place, lag_ns, sample);
    }

    /// An attempt was due and never started.
    pub(super) fn missed(
        &mut self,
        series: &Arc<SeriesSpec>,
        place: (u64, u64),
        reason: MissedReason,
    ) {
        self.journal.missed(series, place, reason);
    }

    /// A window is not to be trusted.
    pub(super) fn suspect(&mut self, suspect: &Suspect) {
        self.journal.suspect(suspect);
    }

    /// Writes what has landed.
    pub(super) fn flush(&mut self) {
        self.journal.flush(Instant::now());
    }

    /// A window was handed to the sealer.
    pub(super) fn handed_over(&mut self, sealed: &Sealed) {
        self.handed += 1;
        if !sealed.stragglers_follow {
            self.waiting.push_back((self.handed, sealed.window_start_s));
        }
    }

    /// Lets go of what is durable elsewhere, and has the rest synced in time.
    pub(super) fn tend(&mut self) {
        let kept = *self.kept.borrow();
        // The sealer puts the account of the downtime on record before anything else.
        if let Some(opened_s) = self.opened_s.take_if(|_| kept > 0) {
            self.journal.sealed_before(opened_s);
        }
        while let Some((_, start_s)) = self.waiting.pop_front_if(|(handed, _)| *handed <= kept) {
            self.journal.sealed(start_s);
        }
        self.journal.tend(Instant::now());
    }

    /// When to tend it next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.journal.next()
    }

    /// What an auditor should know, once.
    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.journal.take_notice()
    }
}
