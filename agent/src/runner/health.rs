//! How the agent itself is, as each report says it.

use crate::spool::SpoolState;
use crate::uplink::ClockOffset;
use crate::window::Own;
use probefleet_proto::health::{CLOCK, CLOCK_ERROR_MAX_NS};
use probefleet_proto::v1;

/// Where the kernel counts what it dropped, and the counters of UDP over IPv4 and IPv6 in there. Those of the network
/// that this process is in.
const SNMP: &str = "/proc/self/net/snmp";
const SNMP6: &str = "/proc/self/net/snmp6";

/// What is remembered from one report to the next.
#[derive(Debug)]
pub(super) struct Vitals {
    spool_max_bytes: u64,
    dropped: Option<u64>,
}

impl Vitals {
    /// Before the first report.
    pub(super) fn new(spool_max_bytes: u64) -> Self {
        Self { spool_max_bytes, dropped: dropped_by_machine() }
    }

    /// How the agent is, now that a report of a window is sealed in which it did so.
    pub(super) fn health(
        &mut self,
        own: Own,
        spool: &SpoolState,
        offset: Option<ClockOffset>,
    ) -> v1::Health {
        let vague = offset.is_some_and(|offset| offset.error_ns > CLOCK_ERROR_MAX_NS);
        v1::Health {
            clock_offset_ns: offset.map_or(0, |offset| offset.offset_ns),
            clock_error_ns: offset.map_or(0, |offset| offset.error_ns),
            start_lag_max_ns: own.start_lag_max_ns,
            spool_bytes: spool.bytes,
            flags: own.flags | if vague { CLOCK } else { 0 },
            spool_max_bytes: self.spool_max_bytes,
            datagrams_dropped: self.newly_dropped(dropped_by_machine()),
            sockets_refused: own.sockets_refused,
            stall_max_ns: own.stall_max_ns,
        }
    }

    /// How many more than the last time; the counter of another network may be lower.
    fn newly_dropped(&mut self, dropped: Option<u64>) -> u64 {
        let before = std::mem::replace(&mut self.dropped, dropped);
        dropped.zip(before).map_or(0, |(now, before)| now.saturating_sub(before))
    }
}

/// Datagrams that the kernel dropped since it started, for want of room in a receive buffer.
fn dropped_by_machine() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = of_ipv4(&read(SNMP))?;
    Some(v4.saturating_add(of_ipv6(&read(SNMP6)).unwrap_or(0)))
}

/// A line of names and one of figures begin with `Udp:`.
fn of_ipv4(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let mut names = lines.next()?.split_whitespace();
    let place = names.position(|name| name == "RcvbufErrors")?;
    lines.next()?.split_whitespace().nth(place)?.parse().ok()
}

/// A name and a figure a line.
fn of_ipv6(snmp6: &str) -> Option<u64> {
    let line = snmp6.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::IN_FLIGHT_MAX_BYTES;

    const V4: &str = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
        Udp: 61 4 0 65 17 0\nUdpLite: InDatagrams NoPorts\nUdpLite: 0 0\n";
    const V6: &str = "Udp6InDatagrams                 \t9\nUdp6RcvbufErrors                \t3\n";

    #[test]
    fn the_kernels_counters_are_found() {
        assert_eq!((of_ipv4(V4), of_ipv6(V6)), (Some(17), Some(3)));
        assert_eq!((of_ipv4(""), of_ipv6(V4)), (None, None));
        assert!(dropped_by_machine().is_some(), "this machine counts");
    }

    #[test]
    fn a_vague_clock_is_flagged_and_an_unknown_one_is_not() {
        let mut vitals = Vitals::new(1 << 30);
        let spool = SpoolState {
            spool_id: [0; 16],
            oldest_seq: 0,
            next_seq: 1,
            head_hash: [0; 32],
            bytes: 72,
            unacked_bytes: 0,
            oldest_unsent_s: None,
            in_flight_max_bytes: IN_FLIGHT_MAX_BYTES,
        };
        let mut flags = |offset| vitals.health(Own::default(), &spool, offset).flags;
        let known = |error_ns| Some(ClockOffset { offset_ns: 3_600_000_000_000, error_ns });
        assert_eq!(flags(None), 0);
        assert_eq!(
            flags(known(CLOCK_ERROR_MAX_NS)),
            0,
            "which of the clocks is wrong, nobody knows"
        );
        assert_eq!(flags(known(CLOCK_ERROR_MAX_NS + 1)), CLOCK);
        vitals.dropped = Some(20);
        assert_eq!([25, 25, 3].map(|n| vitals.newly_dropped(Some(n))), [5, 0, 0]);
    }
}
