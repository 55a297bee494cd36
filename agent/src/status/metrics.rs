//! `/metrics`: what was seen at the last look, as OpenMetrics or in the text format before it.
//!
//! `probefleet_fault` has one series for each fault that there can be, 1 while it is one: an alert can name them. What is
//! not known is left out, never a zero.

use super::Report;
use crate::uplink::LinkState;
use probefleet_proto::health::FaultName;
use probefleet_proto::units::NS_PER_S;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFault {
    fault: &'static str,
}

/// The same in the text format before OpenMetrics (version 0.0.4): there a counter's family has the name of its samples.
pub(super) fn classic(open: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open.len()), None);
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' '))
        {
            let ending = if kind == "counter" { "_total" } else { "" };
            let help = help.map_or("", |(_, help)| help);
            text.push_str(&format!("# HELP {name}{ending} {help}\n# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Everything, in the text format of OpenMetrics.
pub(super) fn render(report: &Report, now_ns: u64) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::default();
    register_faults(report, &mut registry);
    register_spool(report, now_ns / NS_PER_S, &mut registry);
    register_uplink(report, &mut registry);
    gauge(
        &mut registry,
        "probefleet_plan_in_force",
        "Whether there is a plan",
        report.has_plan.into(),
    );
    let probes = count(report.probes);
    gauge(&mut registry, "probefleet_probes", "Probes of the plan that have run", probes);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register_faults(report: &Report, registry: &mut Registry) {
    let family: Family<OfFault, Gauge> = Family::default();
    for name in FaultName::ALL.iter().copied() {
        let holds = report.faults.iter().any(|fault| fault.what == name);
        family.get_or_create(&OfFault { fault: name.as_str() }).set(i64::from(holds));
    }
    registry.register("probefleet_fault", "1 while something does not work", family);
}

fn register_spool(report: &Report, now_s: u64, registry: &mut Registry) {
    let spool = &report.spool;
    let records = if spool.oldest_seq == 0 { 0 } else { spool.next_seq - spool.oldest_seq };
    for (name, help, value) in [
        ("probefleet_spool_bytes", "Bytes that the spool has on disk", spool.bytes),
        ("probefleet_spool_records", "Records that it holds", records),
        (
            "probefleet_spool_unsent_bytes",
            "Payload bytes that the collector has not acknowledged",
            spool.unacked_bytes,
        ),
        (
            "probefleet_spool_waiting_bytes",
            "Bytes in memory that wait to be written to it",
            u64::try_from(report.waiting.bytes).unwrap_or(u64::MAX),
        ),
        (
            "probefleet_spool_set_aside_files",
            "Files that were damaged when the spool was opened",
            u64::try_from(report.set_aside).unwrap_or(u64::MAX),
        ),
    ] {
        gauge(registry, name, help, number(value));
    }
    if let Some(oldest_s) = spool.oldest_unsent_s {
        let age_s = now_s.saturating_sub(oldest_s);
        let help = "Time since the beginning of the oldest window that is not delivered";
        gauge(registry, "probefleet_spool_oldest_unsent_age_seconds", help, number(age_s));
    }
    let Some(health) = &report.health else { return };
    let help = "Bytes that it may have on disk";
    gauge(registry, "probefleet_spool_max_bytes", help, number(health.budget_bytes));
    let writable = i64::from(health.append.is_none());
    gauge(registry, "probefleet_spool_writable", "Whether the last write succeeded", writable);
    for (name, help, value) in [
        (
            "probefleet_spool_failed_writes",
            "Writes that failed, so that another file was tried",
            health.mishaps.failed_writes,
        ),
        (
            "probefleet_spool_mended_segments",
            "Segments that were damaged while the agent ran, each mended by a gap",
            health.mishaps.mended_segments,
        ),
        (
            "probefleet_spool_dropped_reports",
            "Reports that were dropped because the spool was full; gaps count them",
            health.mishaps.dropped_reports,
        ),
        (
            "probefleet_spool_unwritten_reports",
            "Reports that were lost because nothing could be written; gaps count them",
            health.mishaps.unwritten_reports,
        ),
        (
            "probefleet_spool_refused_records",
            "Records that the collector can never accept, each kept in a file and counted in a gap",
            health.mishaps.refused_records,
        ),
    ] {
        counter(registry, name, help, value);
    }
}

fn register_uplink(report: &Report, registry: &mut Registry) {
    let connected = i64::from(report.link == LinkState::Up);
    gauge(registry, "probefleet_uplink_connected", "Whether a session stands", connected);
    counter(registry, "probefleet_uplink_sessions", "Sessions so far", report.sessions);
    let released = report.health.as_ref().and_then(|health| health.released);
    if let Some(at) = released {
        let age_s = report.at.0.saturating_duration_since(at).as_secs();
        let help = "Time since the collector last acknowledged anything";
        gauge(registry, "probefleet_uplink_last_ack_age_seconds", help, number(age_s));
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
