//! The program: everything is in the library, so that other programs can run an agent too.

use std::process::ExitCode;

fn main() -> ExitCode {
    probefleet_agent::cli::main(std::env::args_os())
}
