//! See `probefleet_agent::fuzz::journal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| probefleet_agent::fuzz::journal(bytes));
