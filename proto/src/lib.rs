//! What agent and collector must agree on, and nothing else.
//!
//! In reading order: the words ([`name`], [`label`], [`units`]), what people write ([`yaml`], [`plan`]), the time grid
//! ([`window`], [`clock`]), the numbers ([`histogram`], [`extras`]), and what travels and is kept ([`report`], [`health`],
//! [`record`], [`evidence`], [`v1`], counted by [`codec`] before it is decoded).

pub mod hex;
pub mod label;
pub mod name;
pub mod units;

pub mod plan;
pub mod yaml;

pub mod clock;
pub mod window;

pub mod codec;
pub mod evidence;
pub mod extras;
pub mod health;
pub mod histogram;
pub mod record;
pub mod report;

/// The wire, generated from `v1/fleet.proto`.
#[expect(
    unused_qualifications,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    clippy::missing_errors_doc,
    reason = "generated code keeps its own style"
)]
pub mod v1 {
    tonic::include_proto!("probefleet.v1");
}
