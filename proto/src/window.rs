//! The time grid: windows and scheduled instants (`formats.md` §3, §5).

use crate::units::NS_PER_S;
use sha2::{Digest as _, Sha256};

/// Widths a fleet may choose, in seconds: each divides 900, so every local midnight of the world is on the grid.
pub const WIDTHS_S: [u32; 6] = [10, 15, 30, 60, 300, 900];
/// Shortest interval of a probe, in seconds.
pub const EVERY_MIN_S: u64 = 1;
/// Longest interval of a probe, in seconds.
pub const EVERY_MAX_S: u64 = 86_400;
/// Longest timeout of an attempt, in ns.
pub const TIMEOUT_MAX_NS: u64 = 120 * NS_PER_S;
/// Timeout where none is given, in ns, unless 9/10 of the interval is shorter.
pub const TIMEOUT_DEFAULT_NS: u64 = 10 * NS_PER_S;
/// An attempt that starts later than this after its instant says nothing about the provider, in ns.
pub const START_LAG_MAX_NS: u64 = 100_000_000;
/// How long after a window's end its closed cells are sealed, in ns.
pub const SEAL_AFTER_NS: u64 = NS_PER_S;
/// How far back a restarted agent accounts for what it missed, in seconds.
pub const AGENT_DOWN_MAX_S: u64 = 86_400;

const PHASE_DOMAIN: &[u8] = b"probefleet phase v1\0";

/// The longest timeout for an interval: 9/10 of it, at most [`TIMEOUT_MAX_NS`]; so an attempt has ended before the next
/// is due, and a provider can never cause an overrun.
#[must_use]
pub fn timeout_limit_ns(every_s: u64) -> u64 {
    (every_s.saturating_mul(NS_PER_S) / 10 * 9).min(TIMEOUT_MAX_NS)
}

/// Phase of a probe on an agent, in ns: `0 <= phase < every`. Survives restarts and spreads load.
#[must_use]
pub fn phase_ns(agent_id: &[u8; 16], probe: &str, every_s: u64) -> u64 {
    let digest = Sha256::new()
        .chain_update(PHASE_DOMAIN)
        .chain_update(agent_id)
        .chain_update(probe)
        .finalize();
    let head = digest.iter().take(8).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    head % every_s.max(1).saturating_mul(NS_PER_S)
}

/// The scheduled instants of one probe on one agent: phase + k·every, Unix ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Interval, ns; at least one second.
    pub every_ns: u64,
    /// Offset of the grid, ns; less than `every_ns`.
    pub phase_ns: u64,
}

impl Grid {
    /// The grid of a probe on an agent.
    #[must_use]
    pub fn new(agent_id: &[u8; 16], probe: &str, every_s: u64) -> Self {
        let every_ns = every_s.max(1).saturating_mul(NS_PER_S);
        Self { every_ns, phase_ns: phase_ns(agent_id, probe, every_s) }
    }

    /// The first instant at or after `from_ns`.
    #[must_use]
    pub fn at_or_after(&self, from_ns: u64) -> u64 {
        let steps = from_ns.saturating_sub(self.phase_ns).div_ceil(self.every_ns);
        self.phase_ns.saturating_add(steps.saturating_mul(self.every_ns))
    }

    /// How many instants lie in `[from_ns, until_ns)`.
    #[must_use]
    pub fn count(&self, from_ns: u64, until_ns: u64) -> u64 {
        let before = |ns: u64| ns.saturating_sub(self.phase_ns).div_ceil(self.every_ns);
        before(until_ns).saturating_sub(before(from_ns))
    }
}

/// Start of the window that holds a Unix second, for a width in seconds.
#[must_use]
pub fn start_s(unix_s: u64, width_s: u32) -> u64 {
    let width_s = u64::from(width_s.max(1));
    unix_s / width_s * width_s
}

/// Start of the first window at or after a Unix ns, in seconds.
#[must_use]
pub fn edge_at_or_after_s(unix_ns: u64, width_s: u32) -> u64 {
    let width_s = u64::from(width_s.max(1));
    unix_ns.div_ceil(width_s * NS_PER_S) * width_s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_golden() {
        // Computed with Python's hashlib.
        assert_eq!(phase_ns(&[1; 16], "portal-login", 30), 18_658_086_828);
        assert_eq!(phase_ns(&[2; 16], "portal-login", 30), 912_811_421);
    }

    #[test]
    fn counts_are_those_of_the_instants() {
        let grid = Grid { every_ns: 7 * NS_PER_S, phase_ns: 3 * NS_PER_S };
        for from_s in 0..30 {
            for until_s in from_s..40 {
                let (from, until) = (from_s * NS_PER_S, until_s * NS_PER_S);
                let mut instants = 0;
                let mut at = grid.at_or_after(from);
                while at < until {
                    instants += 1;
                    at += grid.every_ns;
                }
                assert_eq!(grid.count(from, until), instants, "[{from_s}, {until_s})");
            }
        }
    }

    #[test]
    fn timeouts_end_before_the_next_attempt() {
        assert_eq!(timeout_limit_ns(1), 900_000_000);
        assert_eq!(timeout_limit_ns(86_400), TIMEOUT_MAX_NS);
    }

    #[test]
    fn edges() {
        assert_eq!(start_s(119, 60), 60);
        assert_eq!(edge_at_or_after_s(60 * NS_PER_S, 60), 60);
        assert_eq!(edge_at_or_after_s(60 * NS_PER_S + 1, 60), 120);
    }
}
