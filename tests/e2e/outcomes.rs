//! The outcome table (`formats.md` §9) as the real program meets it. Nothing else runs beside these tests, so time and
//! memory are asserted here.

/// Targets that misbehave.
mod hostile;
/// A network of the test's own that is broken in each way.
mod network;
