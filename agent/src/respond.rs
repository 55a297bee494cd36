//! The responder: an honest other side that counts what it was asked, so that a way can be measured between two agents
//! and a test can compare both ends.

mod content;
mod http;
mod sip;

pub use http::HttpResponder;
pub use sip::SipResponder;

use crate::cli::{EXIT_ENVIRONMENT, block_on, complain};
use clap::ArgGroup;
use probefleet_proto::units::parse_duration_ns;
use sip::RING_MAX_NS;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

const EXAMPLES: &str = "\
Examples:
  probefleet-agent respond --http 8080           answer on 127.0.0.1, port 8080
  probefleet-agent respond --http 127.0.0.1:0    answer on a free port, and say which
  probefleet-agent respond --http 0.0.0.0:8080   answer everybody
  probefleet-agent respond --sip 5060            answer calls over UDP, after 200 ms of ringing
  probefleet-agent respond --http 8080 --sip 5060 --ring 2s

HTTP, by path:
  /                 200, `ok`
  /json             200, {\"status\":\"ok\"}
  /status/503       that status
  /delay/500ms      200 after that time, at most 2m
  /bytes/1MiB       200 with that many bytes, at most 1GiB
  /redirect/3       302 to /redirect/2, and so on to 200
  /echo             200 with the request as it came
  /requests         how often each path was asked: {\"requests\":{\"/\":7}}; does not count itself.
                    With --sip also calls: {\"sip\":{\"calls\":7,\"answered\":7,\"ended\":7, …}}

SIP, by user part; OPTIONS and REGISTER are answered at once, a call (INVITE) with 100 and 180, then with 200.
What is said in a call (G.711) comes back to the caller, packet for packet:
  sip:echo@…        200, a call after --ring; so does every other user part
  sip:ring-500ms@…  200, a call after that time, at most 2m
  sip:busy@…        486
  sip:gone@…        404
  sip:over@…        503
  sip:status-603@…  that status, 300 to 699
  sip:silent@…      nothing
Without --http, what was counted is printed at the end.";

/// What `respond` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").args(["http", "sip"]).required(true).multiple(true))]
pub struct Args {
    /// Where to answer HTTP: a port of 127.0.0.1, or address:port
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    http: Option<SocketAddr>,
    /// Where to answer SIP over UDP: a port of 127.0.0.1, or address:port
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    sip: Option<SocketAddr>,
    /// How long a call rings before it is answered, such as 500ms
    #[arg(long, value_name = "D", default_value = "200ms", value_parser = parse_ring)]
    ring: Duration,
}

/// A bare port means this machine alone: to answer others must be said.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = bare.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| "write a port, or address:port such as 127.0.0.1:8080".to_owned())
}

fn parse_ring(text: &str) -> Result<Duration, String> {
    let ring_ns = parse_duration_ns(text).map_err(|error| error.to_string())?;
    if ring_ns <= RING_MAX_NS {
        Ok(Duration::from_nanos(ring_ns))
    } else {
        Err("at most 2m".to_owned())
    }
}

/// Runs the command.
pub fn main(args: &Args) -> ExitCode {
    block_on(async {
        match run(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), EXIT_ENVIRONMENT),
        }
    })
}

async fn run(args: &Args) -> io::Result<()> {
    // Signals first: whoever reads the lines below may already send one.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sip = match args.sip {
        Some(address) => {
            let bound = SipResponder::bind(address, args.ring).await;
            Some(bound.map_err(|error| cannot_answer(address, &error))?)
        }
        None => None,
    };
    let calls = sip.as_ref().map(SipResponder::counts);
    let http = match args.http {
        Some(address) => {
            let bound = HttpResponder::bind(address).await;
            Some(bound.map_err(|error| cannot_answer(address, &error))?.with_calls(calls.clone()))
        }
        None => None,
    };
    announce(http.as_ref(), sip.as_ref())?;
    let print = calls.filter(|_| http.is_none());
    let (stop, stopped) = watch::channel(false);
    let stopped = || {
        let mut stopped = stopped.clone();
        async move { drop(stopped.wait_for(|stopped| *stopped).await) }
    };
    let (http_stopped, sip_stopped) = (stopped(), stopped());
    let answer_http = async {
        if let Some(http) = http {
            http.serve(http_stopped).await;
        }
    };
    let answer_sip = async {
        if let Some(sip) = sip {
            sip.serve(sip_stopped).await;
        }
    };
    let wait = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    };
    tokio::join!(answer_http, answer_sip, wait);
    match print {
        Some(calls) => say(&serde_json::json!({"sip": calls.to_json()}).to_string()),
        None => Ok(()),
    }
}

fn announce(http: Option<&HttpResponder>, sip: Option<&SipResponder>) -> io::Result<()> {
    if let Some(http) = http {
        say(&format!("listening on http://{}", http.address()?))?;
    }
    match sip {
        Some(sip) => say(&format!("listening on sip:{}", sip.address()?)),
        None => Ok(()),
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")?;
    io::stdout().flush()
}

fn cannot_answer(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot answer on {address}: {error}"))
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
