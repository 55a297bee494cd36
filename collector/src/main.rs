//! The collector's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    probefleet_collector::cli::main(std::env::args_os())
}
