//! Transactions: when a request is sent again, when it is over, which response is whose (RFC 3261 §17.1, RFC 6026). Pure.
//!
//! The two client machines are the RFC's figures 5 (as RFC 6026 §8.4 has it) and 6, over datagrams and streams. Each says when its next
//! timer fires; whoever owns it asks [`fire`](InviteTransaction::fire) then, and tells it what was received.

mod invite;
mod non_invite;
mod server;

pub(crate) use invite::{InviteFired, InviteHeard, InviteTransaction};
pub(crate) use non_invite::{Fired, Heard, NonInviteTransaction};
pub(crate) use server::AnsweredRequests;

#[cfg(test)]
mod tests;
