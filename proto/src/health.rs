//! How an agent is: why it does not trust what it measured itself, the bits of `Health.flags` (`fleet.proto`), and what of
//! itself does not work.

use crate::name::vocabulary;

/// An attempt began, or the agent was held up, more than [`crate::window::START_LAG_MAX_NS`].
pub const LAG: u32 = 1;
/// Attempts were passed over because the agent did not run.
pub const SUSPENDED: u32 = 2;
/// The clock was set meanwhile, or its distance from the collector's is known no better than [`CLOCK_ERROR_MAX_NS`].
pub const CLOCK: u32 = 4;

/// Bits of which any, a later version's too, says that the report is not to be trusted.
const SUSPECT: u32 = 0xffff;

/// A step of the wall clock beyond this spoils the windows in which it happened, ns.
pub const CLOCK_STEP_NS: u64 = 1_000_000_000;
/// An offset whose error may be larger says nothing, ns: a tenth of the narrowest window. One that is not known at all,
/// because no collector is there, is no reason for distrust.
pub const CLOCK_ERROR_MAX_NS: u64 = 1_000_000_000;

/// Whether a report with these flags is not to be trusted.
#[must_use]
pub const fn is_suspect(flags: u32) -> bool {
    flags & SUSPECT != 0
}

/// The flags as files of windows have them, sorted.
#[must_use]
pub fn words(flags: u32) -> Vec<&'static str> {
    let suspect = (flags & SUSPECT & !CLOCK != 0).then_some("agent_suspect");
    suspect.into_iter().chain((flags & CLOCK != 0).then_some("clock")).collect()
}

vocabulary! {
    /// What of an agent does not work, as `Fault.what` names it. The name becomes a label of a metric, so the set is closed.
    FaultName {
        /// Nothing is scheduled any more.
        Runner = "runner",
        /// There is no plan, or the newest cannot be run.
        Plan = "plan",
        /// The spool's disk fails.
        Disk = "disk",
        /// It hangs.
        DiskSlow = "disk_slow",
        /// Reports were dropped for want of room.
        SpoolFull = "spool_full",
        /// The collector can never accept a record: a gap stands for it.
        RecordRefused = "record_refused",
        /// The collector refuses this agent.
        Refused = "refused",
        /// The collector is away.
        Uplink = "uplink",
        /// It acknowledges nothing.
        Delivery = "delivery",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_distrusted_and_what_only_informs_is_not() {
        for (flags, suspect, said) in [
            (0, false, &[][..]),
            (LAG, true, &["agent_suspect"]),
            (CLOCK, true, &["clock"]),
            (LAG | SUSPENDED | CLOCK, true, &["agent_suspect", "clock"]),
            (1 << 15, true, &["agent_suspect"]),
            (1 << 16, false, &[]),
        ] {
            assert_eq!((is_suspect(flags), words(flags).as_slice()), (suspect, said), "{flags:#x}");
        }
    }
}
