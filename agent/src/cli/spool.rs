//! `spool`: what is on disk, for whoever wonders whether anything waits.

use super::{EXIT_ENVIRONMENT, complain};
use crate::spool::{Inspection, inspect};
use jiff::Timestamp;
use probefleet_proto::hex::hex;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  probefleet-agent spool --state-dir /var/lib/probefleet-agent
  probefleet-agent spool --state-dir /var/lib/probefleet-agent --format json

Nothing is locked or changed: a running agent is not disturbed. What of the records the collector has acknowledged, only
the collector knows; acknowledged ones stay for a while, for a collector that is restored from a backup.";

/// What `spool` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The agent's state directory, as its configuration names it
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Text for people, or one JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Runs the command.
pub(super) fn main(args: &Args) -> ExitCode {
    let dir = args.state_dir.join("spool");
    let found = match inspect(&dir) {
        Ok(found) => found,
        Err(error) => return complain(&error.to_string(), EXIT_ENVIRONMENT),
    };
    if found.is_empty() {
        return complain(&format!("no spool in {}: no agent has run with it", dir.display()), 0);
    }
    let mut out = anstream::stdout();
    let written = found.iter().try_for_each(|spool| match args.format {
        Format::Text => writeln!(out, "{}", text(spool)),
        Format::Json => writeln!(out, "{}", to_json(spool)),
    });
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ENVIRONMENT) }
}

fn text(spool: &Inspection) -> String {
    let held = if spool.oldest_seq == 0 {
        "none".to_owned()
    } else {
        format!("{} … {}", spool.oldest_seq, spool.next_seq.saturating_sub(1))
    };
    let windows = match (spool.oldest_window_s, spool.newest_window_s) {
        (Some(oldest_s), Some(newest_s)) => {
            format!("{} … {}", instant(oldest_s), instant(newest_s))
        }
        _ => "none".to_owned(),
    };
    let mut text = format!(
        "spool {}\n  folder   {}\n  size     {} bytes in {} files\n  records  {held} ({} reports, {} events)\n  windows  {windows}",
        hex(&spool.spool_id),
        spool.dir.display(),
        spool.bytes,
        spool.files,
        spool.reports,
        spool.events,
    );
    if spool.lost > 0 {
        text.push_str(&format!("\n  lost     {} records, which gaps stand for", spool.lost));
    }
    for path in &spool.damaged {
        text.push_str(&format!(
            "\n  damaged  {} (a restart of the agent mends it)",
            path.display()
        ));
    }
    for path in &spool.quarantined {
        text.push_str(&format!("\n  aside    {}", path.display()));
    }
    text
}

fn to_json(spool: &Inspection) -> Value {
    json!({
        "spool_id": hex(&spool.spool_id),
        "dir": spool.dir,
        "files": spool.files,
        "bytes": spool.bytes,
        "oldest_seq": spool.oldest_seq,
        "next_seq": spool.next_seq,
        "reports": spool.reports,
        "events": spool.events,
        "lost": spool.lost,
        "oldest_window_s": spool.oldest_window_s,
        "newest_window_s": spool.newest_window_s,
        "damaged": spool.damaged,
        "quarantined": spool.quarantined,
    })
}

/// Unix seconds as people read them.
fn instant(unix_s: u64) -> String {
    let instant = i64::try_from(unix_s).ok().and_then(|unix_s| Timestamp::from_second(unix_s).ok());
    instant.map_or_else(|| unix_s.to_string(), |instant| instant.to_string())
}
