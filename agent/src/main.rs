//! The program: everything is in the library, so that other programs can run an agent too.

use std::process::ExitCode;

/// A thousand calls a second are a hundred thousand small allocations: with the system's allocator a fifth of the
/// processor time and a quarter of the memory (`bench -- sip`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    probefleet_agent::cli::main(std::env::args_os())
}
