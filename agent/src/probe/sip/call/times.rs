//! When what happened, and the delays of RFC 6076 between.

use crate::probe::sip::scenario::Stamp;
use std::time::Duration;
use tokio::time::Instant;

/// Instants of one call. The first of each counts: t1 is not moved by what is sent again (RFC 6076 §3), t4 not by what
/// comes again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    invited: Option<Instant>,
    trying: Option<Instant>,
    /// The first response that says what becomes of the call.
    indicated: Option<Instant>,
    accepted: Option<Instant>,
    /// The refusal, and whether it is a failure of RFC 6076 §4.3.2.
    refused: Option<(Instant, bool)>,
    bye: Option<Instant>,
    /// The answer to BYE, and whether it was a 2xx.
    disconnected: Option<(Instant, bool)>,
}

impl Times {
    /// Whether an INVITE has left.
    pub(super) fn have_begun(&self) -> bool {
        self.invited.is_some()
    }

    pub(super) fn sent(&mut self, stamp: Stamp, at: Instant) {
        match stamp {
            Stamp::Request => self.invited.get_or_insert(at),
            Stamp::Bye => self.bye.get_or_insert(at),
        };
    }

    /// 100 says nothing but that the next hop has it, 199 that one branch of many has ended (RFC 6228); any other tells
    /// the caller something (RFC 6076 §4.3.1).
    pub(super) fn provisional(&mut self, status: u16, at: Instant) {
        match status {
            100 => self.trying.get_or_insert(at),
            199 => return,
            _ => self.indicated.get_or_insert(at),
        };
    }

    pub(super) fn accepted(&mut self, at: Instant) {
        self.indicated.get_or_insert(at);
        self.accepted.get_or_insert(at);
    }

    pub(super) fn refused(&mut self, status: u16, at: Instant) {
        self.indicated.get_or_insert(at);
        // Redirections and demands for credentials or payment are not failures of a session (RFC 6076 §4.3.2).
        let failure = status >= 400 && !matches!(status, 401 | 402 | 407);
        self.refused.get_or_insert((at, failure));
    }

    pub(super) fn disconnected(&mut self, well: bool, at: Instant) {
        self.disconnected.get_or_insert((at, well));
    }

    /// Every delay that has a beginning and an end. `ok` is the status of an attempt that came out as expected.
    pub(super) fn phases(&self, ok: Option<u16>) -> Vec<(&'static str, Duration)> {
        let since =
            |from: Option<Instant>, to: Option<Instant>| Some(to?.saturating_duration_since(from?));
        let request = match self.refused {
            Some((_, true)) if ok.is_none() => Some("session_request_delay_failed"),
            Some((_, false)) if ok.is_none() => None,
            _ => Some("session_request_delay"),
        };
        let disconnect = match self.disconnected {
            Some((_, false)) => "session_disconnect_delay_failed",
            _ => "session_disconnect_delay",
        };
        let disconnected = self.disconnected.map(|(at, _)| at);
        [
            (Some("trying"), since(self.invited, self.trying)),
            (request, since(self.invited, self.indicated)),
            (Some("time_to_answer"), since(self.invited, self.accepted)),
            (Some(disconnect), since(self.bye, disconnected)),
        ]
        .into_iter()
        .filter_map(|(phase, delay)| Some((phase?, delay?)))
        .collect()
    }
}
