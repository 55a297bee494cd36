//! See `probefleet_collector::fuzz::windows`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| probefleet_collector::fuzz::windows(bytes));
