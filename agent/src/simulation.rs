//! For models and simulation: an agent's side of delivery without socket, thread, clock or disk. Nothing else uses it.
//!
//! `tests/models` steps it through all that can happen within small bounds, `tests/simulate` through more than that at
//! random.

pub use crate::evidence::EvidenceKey;
pub use crate::spool::{
    Disk, Limits, REFUSED_MAX, Recovered, Refused, Retire, SpoolError, SpoolHandle, SpoolState,
};
pub use crate::uplink::simulation::{Agent, Comings, Wish};
pub use crate::uplink::{Dial, DialError, Links, Uplink, UplinkConfig};
use std::path::Path;
use std::sync::Arc;

/// The evidence key of a seed: none where no key comes of it.
#[must_use]
pub fn evidence_key(seed: &[u8; 32]) -> Option<EvidenceKey> {
    EvidenceKey::of_seed(seed)
}

/// Limits of a spool of a few kilobytes, whose files are read and written in no time. Its session is honest about what it
/// may have sent only if the collector's credit, or [`Limits::sending_ahead`], keeps that below three segments.
#[must_use]
pub const fn limits(total_bytes: u64, segment_bytes: u64) -> Limits {
    Limits::exact(total_bytes, segment_bytes)
}

/// Opens a spool that is served by whoever polls what is returned beside its handle.
///
/// # Errors
/// [`SpoolError`], as from [`crate::spool::Spool::open`].
pub fn open_spool<D: Disk>(
    disk: D,
    dir: &Path,
    limits: Limits,
    key: Arc<EvidenceKey>,
) -> Result<(SpoolHandle, impl Future<Output = ()> + use<D>), SpoolError> {
    crate::spool::open_here(disk, dir, limits, key)
}
