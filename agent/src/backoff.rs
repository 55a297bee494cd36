//! When to try again: exponential back-off with full jitter.
