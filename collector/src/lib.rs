//! The collector: takes what agents measured, keeps it, judges it by the agreements, and shows the result.
//!
//! ```text
//! agents ──mTLS──▶ ingest ──▶ store ──▶ evaluator ──▶ portal (pages, metrics)
//!    ▲                │                     ▲
//!    └──── fleet ◀────┘       contract, sla, verdict (pure)
//! ```
//! In reading order: what was promised ([`contract`]), how it is judged ([`sla`], [`verdict`]) and from which files
//! ([`windows`]); where records and
//! what was published live ([`store`], [`revision`]); who agents are and how their records get there ([`tls`], [`fleet`],
//! [`ingest`], [`evidence`], their [`text`]), and whether they are still what the agents sealed ([`audit`]); what comes of it ([`digest`], [`evaluator`], [`timeline`], [`portal`], [`metrics`]); and the shell round it all
//! ([`config`], [`service`], [`cli`]). [`fuzz`] feeds files of all kinds to what reads them, [`simulation`] helps a store to stand
//! in for ours.

pub mod contract;
pub mod sla;

pub mod verdict;
pub mod windows;

pub mod revision;
pub mod store;

pub mod evidence;
pub mod fleet;
pub mod ingest;
pub mod text;
pub mod tls;

pub mod audit;

pub mod digest;
pub mod evaluator;
pub mod timeline;

pub mod metrics;
pub mod portal;

pub mod cli;
pub mod config;
pub mod fuzz;
pub mod service;
pub mod simulation;
