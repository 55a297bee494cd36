//! The collector: takes what agents measured, keeps it, judges it by the agreements, and shows the result.

pub mod contract;
pub mod sla;

pub mod store;

pub mod config;

pub mod fleet;
pub mod ingest;
pub mod tls;

pub mod evaluator;

pub mod metrics;
