//! Collects what agents measured, and judges agreements by it.

pub mod contract;
pub mod sla;

pub mod verdict;
pub mod windows;

pub mod cli;
