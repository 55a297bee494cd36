//! The agent: probes on a schedule, and everything they need to be believed.
//!
//! Start at [`cli`]. Targets are touched by [`probe`] alone, within what [`policy`] permits; [`trial`] runs probes once
//! for whoever sits at the keyboard, [`respond`] is the other side, for measuring a way between two agents.

pub mod cli;
pub mod policy;
pub mod probe;
pub mod respond;
pub mod trial;
