//! The agent: probes on a schedule, and everything they need to be believed.
//!
//! Targets are touched by [`probe`] alone, within what [`policy`] permits.

pub mod policy;
pub mod probe;
