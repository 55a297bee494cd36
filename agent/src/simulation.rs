//! For models and simulation: an agent's side of delivery without socket, thread, clock or disk. Nothing else uses it.
//!
//! `tests/models` steps it through all that can happen within small bounds, `tests/simulate` through more than that at
//! random.

pub use crate::spool::{Disk, Limits, Recovered, Retire, SpoolError, SpoolState};
pub use crate::uplink::UplinkConfig;
pub use crate::uplink::simulation::{Agent, Comings, Wish};

/// Limits of a spool of a few kilobytes, whose files are read and written in no time. Its session is honest about what it
/// may have sent only if the collector's credit stays below four segments.
#[must_use]
pub const fn limits(total_bytes: u64, segment_bytes: u64) -> Limits {
    Limits::exact(total_bytes, segment_bytes)
}
