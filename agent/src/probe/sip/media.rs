//! Audio of a call: what is sent, what is counted of what comes, and what that says of how it sounds.
//!
//! The wire is `media/rtp.rs` and `media/rtcp.rs` (RFC 3550, G.711 as in RFC 3551), the counting `media/receiver.rs` on
//! `media/sequence.rs`, the rating `media/quality.rs` (E-model, ITU-T G.107). They know neither clock nor socket, nor
//! does `media/machine.rs`, which is one side of a call's audio; `media/session.rs` gives it both.

pub(crate) mod machine;
pub(crate) mod quality;
pub(crate) mod receiver;
pub(crate) mod rtcp;
pub(crate) mod rtp;
mod sequence;
pub(crate) mod session;
pub(crate) mod tone;

/// One tick of the RTP clock, ns: G.711 has 8000 samples a second (RFC 3551 §4.5.14).
pub(crate) const TICK_NS: i64 = 125_000;
/// Audio in one packet, ns: `ptime` 20, the default of RFC 3551 §4.5.
pub(crate) const PACKET_NS: u64 = 20_000_000;
/// Samples in one packet; in G.711 also bytes.
pub(crate) const PACKET_SAMPLES: usize = 160;
