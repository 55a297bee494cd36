//! Suites against real processes on loopback.

/// Every attempt is accounted for, whoever is killed when: against the schedule recomputed from the plan alone.
mod accounting;
/// A thousand probes every second from one core.
mod load;
