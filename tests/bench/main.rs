//! The bench: what the programs cost, beside a peer or a limit that is measured in the same run.
//!
//! A bench prints and never fails on speed. It fails when what it measured did not really happen: attempts are counted
//! by the target as well, and records by the store. Limits that are not kept it names; with `--strict` it fails on them.

mod herd;
mod histogram;
mod http;
mod ingest;
mod machine;
mod page;
mod sip;
mod sip_truth;
mod table;
mod verdicts;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use machine::Machine;
use std::time::Duration;
use table::{Table, json, text};

const TEACHING: &str = "\
Subjects:
  http       HTTP attempts on one core, beside Debian's prometheus-blackbox-exporter and wrk
  sip        1,000 calls a second, 10,000 up at once, beside SIPp's own calling side
  sip-truth  delays of calls as they are reported, beside what tcpdump saw pass, at 500 calls a second
  ingest     windows that one core of the collector takes in, beside append + fdatasync of the same bytes
  herd       sessions over mutual TLS that come at once and come back after kill -9, and an agent that floods beside others
  verdicts   a month of an agreement judged from a file, from what is held and from digests; a thousand for now
  page       the portal's pages with a day of history and with thirty
  histogram  encoding and merging histograms, beside the hdrhistogram crate's V2

How to read it:
  The measured program has core 0 to itself; everything around it (target, load, collector) shares core 1.
  `us/attempt` is processor time, user and system, as the kernel accounts for it; `busy` is how much of its core the
  program used: below 95 % something around it was the limit, and `us/attempt` says more than the rate.
  Columns `of …` are ratios: 2.00 of wrk means twice as much per second of processor time as wrk.
  A peer that is not installed shows as `skipped: needs …`; tests/run installs them all. tcpdump needs root, too.
  `sip`, `sip-truth`, `herd` and `verdicts` have limits, which they print; with --strict the bench fails where one is not kept.
  Other load on the machine shows in the figures: run it on an idle one.

Examples:
  cargo run --release -p probefleet-tests --bin bench
  cargo run --release -p probefleet-tests --bin bench -- http --seconds 20
  cargo run --release -p probefleet-tests --bin bench -- --format json | jq .tables";

/// Measures what Probefleet costs, beside peers and limits on the same machine.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = TEACHING, max_term_width = 120)]
struct Args {
    /// Only that subject; all without it
    #[arg(value_enum)]
    subject: Option<Subject>,
    /// How long each row is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many agents a herd has
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=9_000))]
    agents: u32,
    /// Fail when a limit is not kept; without it that is only said
    #[arg(long)]
    strict: bool,
    /// Tables for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Subject {
    Http,
    Sip,
    SipTruth,
    Ingest,
    Herd,
    Verdicts,
    Page,
    Histogram,
}

impl Subject {
    const ALL: [Self; 8] = [
        Self::Http,
        Self::Sip,
        Self::SipTruth,
        Self::Ingest,
        Self::Herd,
        Self::Verdicts,
        Self::Page,
        Self::Histogram,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let machine = Machine::look();
    if args.subject != Some(Subject::Histogram) {
        // Built before this process has only one core left.
        harness::program("probefleet-agent");
    }
    let pinned = machine.keep_to_the_other_core();
    if args.format == Format::Text {
        println!("{machine}");
        if cfg!(debug_assertions) {
            println!("NOT optimised: run it with --release");
        }
    }
    let mut tables = Vec::new();
    for subject in Subject::ALL {
        if args.subject.is_some_and(|only| only != subject) {
            continue;
        }
        let measured = measure(subject, &args, pinned)
            .with_context(|| format!("{subject:?} was not measured"))?;
        if args.format == Format::Text {
            measured.iter().for_each(|table| println!("\n{}", text(table)));
        }
        tables.extend(measured);
    }
    if args.format == Format::Json {
        println!("{}", json(&machine, &tables));
    }
    let missed: Vec<&str> = tables.iter().flat_map(Table::missed).map(String::as_str).collect();
    let missed = missed.join("\n  ");
    if args.format == Format::Text && !missed.is_empty() {
        println!("\nlimits were not kept:\n  {missed}");
    }
    ensure!(missed.is_empty() || !args.strict, "limits were not kept");
    Ok(())
}

fn measure(subject: Subject, args: &Args, pinned: bool) -> anyhow::Result<Vec<Table>> {
    let window = Duration::from_secs(args.seconds);
    match subject {
        Subject::Histogram => histogram::measure(window),
        Subject::Page => page::measure(window),
        Subject::Http if pinned => http::measure(window),
        Subject::Sip if pinned => sip::measure(window),
        Subject::SipTruth if pinned => sip_truth::measure(window),
        Subject::Ingest if pinned => ingest::measure(window),
        Subject::Herd if pinned => herd::measure(window, args.agents),
        Subject::Verdicts if pinned => verdicts::measure(window),
        Subject::Http
        | Subject::Sip
        | Subject::SipTruth
        | Subject::Ingest
        | Subject::Herd
        | Subject::Verdicts => {
            let mut table = Table::new(&format!("{subject:?}").to_lowercase(), &[]);
            table.skip("everything", "two cores and taskset");
            Ok(vec![table])
        }
    }
}
