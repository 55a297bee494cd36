//! How agents are themselves, by their newest reports. What an agent has not said is left out, never a zero.

use super::{OfAgent, number_of};
use crate::fleet::AgentNow;
use probefleet_proto::v1::Health;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

type Seconds = Family<OfAgent, Gauge<f64, AtomicU64>>;

/// The figures of all agents, by metric.
#[derive(Default)]
struct Figures {
    offset: Seconds,
    offset_error: Seconds,
    start_lag: Seconds,
    stall: Seconds,
    spool: Family<OfAgent, Gauge>,
    spool_limit: Family<OfAgent, Gauge>,
    datagrams: Family<OfAgent, Gauge>,
    sockets: Family<OfAgent, Gauge>,
    suspects: Family<OfAgent, Counter>,
}

/// Registers what is known of agents.
pub(super) fn register(board: &[AgentNow], registry: &mut Registry) {
    let figures = Figures::default();
    for agent in board {
        let labels = OfAgent { agent: agent.name.to_string() };
        figures.suspects.get_or_create(&labels).inc_by(agent.suspect_reports);
        if let Some(health) = &agent.health {
            figures.add(&labels, health);
        }
    }
    figures.register(registry);
}

impl Figures {
    fn add(&self, labels: &OfAgent, health: &Health) {
        if health.clock_error_ns > 0 {
            self.offset.get_or_create(labels).set(seconds(health.clock_offset_ns));
            self.offset_error.get_or_create(labels).set(seconds(number_of(health.clock_error_ns)));
        }
        for (family, ns) in
            [(&self.start_lag, health.start_lag_max_ns), (&self.stall, health.stall_max_ns)]
        {
            family.get_or_create(labels).set(seconds(number_of(ns)));
        }
        let limit =
            (health.spool_max_bytes > 0).then_some((&self.spool_limit, health.spool_max_bytes));
        let whole = [
            (&self.spool, health.spool_bytes),
            (&self.datagrams, health.datagrams_dropped),
            (&self.sockets, health.sockets_refused),
        ];
        for (family, figure) in whole.into_iter().chain(limit) {
            family.get_or_create(labels).set(number_of(figure));
        }
    }

    fn register(self, registry: &mut Registry) {
        for (name, help, family) in [
            (
                "probefleet_agent_clock_offset_seconds",
                "Clock of an agent minus the collector's",
                self.offset,
            ),
            (
                "probefleet_agent_clock_error_seconds",
                "Bound on the error of that offset",
                self.offset_error,
            ),
            (
                "probefleet_agent_start_lag_seconds",
                "Latest start of an attempt after its instant, in an agent's newest report",
                self.start_lag,
            ),
            (
                "probefleet_agent_stall_seconds",
                "Longest time that an agent was held up, in its newest report",
                self.stall,
            ),
        ] {
            registry.register(name, help, family);
        }
        for (name, help, family) in [
            ("probefleet_agent_spool_bytes", "What the spool of an agent holds", self.spool),
            (
                "probefleet_agent_spool_limit_bytes",
                "What the spool of an agent may hold",
                self.spool_limit,
            ),
            (
                "probefleet_agent_datagrams_dropped",
                "Datagrams that an agent's machine dropped for want of room before its newest report",
                self.datagrams,
            ),
            (
                "probefleet_agent_sockets_refused",
                "Attempts of an agent's newest report for which its machine had no socket",
                self.sockets,
            ),
        ] {
            registry.register(name, help, family);
        }
        registry.register(
            "probefleet_agent_suspect_reports",
            "Reports that an agent did not trust itself, which count for nobody, since the collector started",
            self.suspects,
        );
    }
}

/// Nanoseconds as seconds, exact to the last digit that a float has.
fn seconds(ns: i64) -> f64 {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    format!("{sign}{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000).parse().unwrap_or(f64::NAN)
}
