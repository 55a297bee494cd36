//! How far an attempt has come: its phases, stamped so that they add up to `total`.

use super::failure::Failure;
use super::{Attempt, Outcome, Phase, Sample};
use probefleet_proto::clock::saturating_ns;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::Instant;

/// The phase in which a name becomes an address.
pub(crate) const RESOLVE: &str = "resolve";
/// The phase in which a connection is made.
pub(crate) const CONNECT: &str = "connect";
/// The phase in which a connection is made private.
pub(crate) const TLS: &str = "tls";

/// An attempt under way. Each phase ends where the next begins, with one and the same instant; what is
/// [measured](Progress::measured) on its own stands beside them.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    boundary: Instant,
    phase: &'static str,
    phases_ns: Vec<(Phase, u64)>,
    /// Counts that are not outcomes, also of an attempt that fails.
    pub(crate) counters: Vec<(&'static str, u64)>,
    /// What was measured and is no duration.
    pub(crate) values: Vec<(&'static str, u64)>,
    /// What `try` shows beside the figures.
    pub(crate) detail: Map<String, Value>,
}

impl Progress {
    /// Nothing has happened yet.
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self {
            started: attempt.started,
            boundary: attempt.started,
            phase: RESOLVE,
            phases_ns: Vec::with_capacity(8),
            counters: Vec::new(),
            values: Vec::new(),
            detail: Map::new(),
        }
    }

    /// Which phase is under way, should the deadline pass in it.
    pub(crate) fn enter(&mut self, phase: &'static str) {
        self.phase = phase;
    }

    /// The phase under way.
    pub(crate) fn phase(&self) -> &'static str {
        self.phase
    }

    /// The phase under way is done, now.
    pub(crate) fn done(&mut self) {
        self.done_at(Instant::now());
    }

    /// The phase under way was done at that instant; the next begins there.
    pub(crate) fn done_at(&mut self, at: Instant) {
        let ns = saturating_ns(at.saturating_duration_since(self.boundary));
        self.phases_ns.push((self.phase.into(), ns));
        self.boundary = self.boundary.max(at);
    }

    /// A delay that was measured on its own, between instants of its protocol: it moves no boundary and may overlap others.
    pub(crate) fn measured(&mut self, phase: &'static str, delay: Duration) {
        self.phases_ns.push((phase.into(), saturating_ns(delay)));
    }

    /// Moves the boundary without a phase: what lies before belongs to none.
    pub(crate) fn skip_to(&mut self, at: Instant) {
        self.boundary = self.boundary.max(at);
    }

    /// Everything up to now was one phase of that name; starts over behind it.
    pub(crate) fn fold_into(&mut self, phase: &'static str) {
        let now = Instant::now();
        let ns = saturating_ns(now.saturating_duration_since(self.started));
        self.phases_ns.clear();
        self.phases_ns.push((phase.into(), ns));
        self.boundary = now;
    }

    /// What it means that the deadline has passed now.
    pub(crate) fn deadline_passed(&self) -> Failure {
        match self.phase {
            RESOLVE => Failure::resolve_timeout(),
            CONNECT => Failure::connect_timeout(),
            phase => Failure::timeout(phase),
        }
    }

    /// The attempt is over: `code` stands on an ok sample, a failure brings its own.
    pub(crate) fn finish(
        mut self,
        ended: Instant,
        result: Result<Option<super::Code>, Failure>,
    ) -> Sample {
        let total = saturating_ns(ended.saturating_duration_since(self.started));
        self.phases_ns.push(("total".into(), total));
        let (outcome, code) = match result {
            Ok(code) => (Outcome::Ok, code),
            Err(failure) => {
                self.detail.insert("error".to_owned(), failure.why.into());
                (failure.outcome, failure.code)
            }
        };
        Sample {
            outcome,
            code,
            phases_ns: self.phases_ns,
            counters: self.counters,
            values: self.values,
            detail: self.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up() {
        let started = Instant::now();
        let mut progress = Progress::new(Attempt {
            started,
            deadline: started + Duration::from_secs(1),
            detailed: true,
        });
        let at = |ms| started + Duration::from_millis(ms);
        for (phase, ms) in [(RESOLVE, 3), (CONNECT, 10), (TLS, 10), ("wait", 25)] {
            progress.enter(phase);
            progress.done_at(at(ms));
        }
        let sample = progress.finish(at(25), Ok(None));
        let ms: Vec<u64> = sample.phases_ns.iter().map(|(_, ns)| ns / 1_000_000).collect();
        assert_eq!(ms, [3, 7, 0, 15, 25]);
    }

    #[test]
    fn counters_and_values_outlast_a_failure() {
        let started = Instant::now();
        let mut progress = Progress::new(Attempt { started, deadline: started, detailed: true });
        progress.counters.push(("call_attempts", 1));
        progress.values.push(("loss_ppm", 250));
        let sample = progress.finish(started, Err(Failure::timeout("invite")));
        assert_eq!(sample.counters, [("call_attempts", 1)]);
        assert_eq!(sample.values, [("loss_ppm", 250)]);
    }

    #[test]
    fn an_instant_that_lies_back_makes_no_negative_phase() {
        let started = Instant::now();
        let mut progress = Progress::new(Attempt { started, deadline: started, detailed: true });
        progress.enter(CONNECT);
        progress.done_at(started + Duration::from_millis(5));
        progress.enter(TLS);
        progress.done_at(started);
        let sample = progress.finish(started + Duration::from_millis(5), Ok(None));
        assert_eq!(sample.phases_ns[1], ("tls".into(), 0));
    }
}
