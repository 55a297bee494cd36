//! The agent: probes on a schedule, and everything they need to be believed.
//!
//! Start at [`cli`]. Targets are touched by [`probe`] alone, within what [`policy`] permits; [`trial`] runs probes once
//! for whoever sits at the keyboard, [`respond`] is the other side, for measuring a way between two agents. As a service
//! the way is [`schedule`] → [`probe`] → [`window`].

pub mod cli;
pub mod policy;
pub mod probe;
pub mod respond;
pub mod schedule;
pub mod trial;
pub mod window;
