//! x
pub mod backoff;
pub mod identity;
pub mod spool;
pub mod uplink;
