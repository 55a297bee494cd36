//! The agent.

pub mod probe;
pub mod schedule;
pub mod window;
