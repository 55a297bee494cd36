//! The agent: probes on a schedule, and everything they need to be believed.
//!
//! Start at [`cli`]. In the way of the data: what is due ([`schedule`]), what is measured ([`probe`], within what
//! [`policy`] permits), how it is counted ([`window`]) and kept until it is sealed ([`journal`]), and how it is signed and
//! delivered ([`evidence`], [`spool`], [`uplink`]). [`runner`] drives the first three, [`service`] wires everything,
//! [`status`] says how it is. [`trial`] runs probes once for whoever sits at the keyboard,
//! [`respond`] is the other side, for measuring a way between two agents. [`fuzz`] feeds strangers' bytes to what reads them,
//! [`simulation`] steps delivery without the world.

pub mod cli;

pub mod config;
pub mod identity;
pub mod policy;
pub mod secret;

pub mod applied;
pub mod journal;
pub mod probe;
pub mod runner;
pub mod schedule;
pub mod task;
pub mod window;

pub mod backoff;
pub mod evidence;
pub mod spool;
pub mod uplink;

pub mod service;
pub mod status;

pub mod respond;
pub mod trial;

pub mod fuzz;
pub mod simulation;
