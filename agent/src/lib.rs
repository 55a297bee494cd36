//! The agent.

pub mod backoff;
pub mod identity;
pub mod probe;
pub mod schedule;
pub mod spool;
pub mod uplink;
pub mod window;
