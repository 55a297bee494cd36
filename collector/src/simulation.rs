//! For models and simulation: what a store that stands in for ours needs. Nothing else uses it.
//!
//! [`crate::ingest`] is stepped as it is: [`crate::ingest::open`] and [`crate::ingest::accept`] take any store.

use crate::store::StreamId;

/// The stream of that number, in a store that gives numbers itself.
#[must_use]
pub const fn stream(number: i64) -> StreamId {
    StreamId(number)
}
