//! The responder: an honest other side that counts what it was asked, so that a way can be measured between two agents
//! and a test can compare both ends.

mod content;
mod http;

pub use http::HttpResponder;

use crate::cli::{EXIT_ENVIRONMENT, block_on, complain};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "\
Examples:
  probefleet-agent respond --http 8080           answer on 127.0.0.1, port 8080
  probefleet-agent respond --http 127.0.0.1:0    answer on a free port, and say which
  probefleet-agent respond --http 0.0.0.0:8080   answer everybody

Paths:
  /                 200, `ok`
  /json             200, {\"status\":\"ok\"}
  /status/503       that status
  /delay/500ms      200 after that time, at most 2m
  /bytes/1MiB       200 with that many bytes, at most 1GiB
  /redirect/3       302 to /redirect/2, and so on to 200
  /echo             200 with the request as it came
  /requests         how often each path was asked: {\"requests\":{\"/\":7}}; does not count itself";

/// What `respond` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to answer HTTP: a port of 127.0.0.1, or address:port
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    http: SocketAddr,
}

/// A bare port means this machine alone: to answer others must be said.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = bare.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| "write a port, or address:port such as 127.0.0.1:8080".to_owned())
}

/// Runs the command.
pub fn main(args: &Args) -> ExitCode {
    block_on(async {
        match run(args.http).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("cannot answer on {}: {error}", args.http), EXIT_ENVIRONMENT)
            }
        }
    })
}

async fn run(address: SocketAddr) -> io::Result<()> {
    // Signals first: whoever reads the line below may already send one.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let responder = HttpResponder::bind(address).await?;
    writeln!(io::stdout(), "listening on http://{}", responder.address()?)?;
    io::stdout().flush()?;
    responder
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_is_for_this_machine_alone() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(
                parse_address(text).map(|address| address.to_string()),
                Ok(address.to_owned())
            );
        }
        for text in ["", "localhost", "127.0.0.1", "99999"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
