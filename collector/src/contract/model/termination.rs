//! When a customer may terminate.

use crate::contract::number::Exact;
use probefleet_proto::name::Name;

/// What opens the right to terminate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminationRule {
    /// So many of the last periods that have a verdict are breached.
    OfLast {
        /// Breached ones.
        breached: u64,
        /// Of so many.
        of_last: u64,
    },
    /// So many in a row are breached.
    Consecutive(u64),
    /// A mean over the last periods is below a share.
    MeanBelow {
        /// Whose values.
        objective: Name,
        /// The share.
        below: Exact,
        /// Over so many periods.
        over: u64,
        /// Which mean.
        combine: MeanOf,
    },
}

/// How the values of several periods make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeanOf {
    /// The mean of the periods' values.
    Periods,
    /// The sum of their numerators over the sum of their denominators.
    Pooled,
}
