//! `verify`: whether what the store holds is still what the agents sealed and signed ([`crate::audit`]).

mod print;

use super::{EXIT_NO, Failure};
use crate::audit::{Account, Auditor};
use crate::config::Config;
use crate::store::{AnyStore, SqliteStore, Store as _, StoreError, StreamInfo, TenantScope};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use probefleet_proto::evidence::Fingerprint;
use std::path::PathBuf;
use std::process::ExitCode;

/// A word on stderr after so many records: some ten seconds.
const PROGRESS_RECORDS: u64 = 100_000;

/// What `verify` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Of every record the hash is computed anew, from the stored bytes, its place and the record before;
its signature is checked by the key that was pinned when the agent first came; its payload is read.
So a record that was changed, added, removed or moved shows, and one that its agent did not sign.

Whose key that is, only the agent can say: its log names it at each start, evidence_key=3b6a-27bc-…
Have whoever runs the agent read it out, and give it with --key. Then no record may be unsigned:
that some may be, only the store says. If the agent did not sign at first, give with --signed-from
from which record on it does: next_seq beside the first evidence_key in its log, or what an earlier
verify told (all signed from record).

Who can write the store can also take the newest records away: note the end that is told here
(sequence and hash); every later store must still have it.

Verdicts may come from digests of hours, which nobody signs: check them by `report --from-records`,
which believes only records. Names and labels of agents are the collector's own word.

Examples:
  probefleet-collector verify                   # everything; beside a collector that runs, too
  probefleet-collector verify --agent berlin-1 --from 2026-04-01 --until 2026-05-01
  probefleet-collector verify --format json

Exit codes: 0 all is as it was sealed; 1 it is not; 2 the question is wrong; 3 the store cannot be read.")]
pub struct Args {
    /// The configuration of the collector.
    #[arg(long, value_name = "FILE", default_value = "collector.yaml")]
    pub config: PathBuf,
    /// Look at this agent only.
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// From the first record of a window that starts at or after this: a day (UTC) or an instant (RFC 3339).
    #[arg(long, value_name = "DATE", value_parser = instant_s)]
    pub from: Option<u64>,
    /// Until the last record of a window that starts before this.
    #[arg(long, value_name = "DATE", value_parser = instant_s)]
    pub until: Option<u64>,
    /// Every record must be signed, and by the key with this fingerprint.
    #[arg(long, value_name = "FINGERPRINT")]
    pub key: Option<Fingerprint>,
    /// With --key: the records before this one may be unsigned.
    #[arg(long, value_name = "SEQ", requires = "key", value_parser = clap::value_parser!(u64).range(1..))]
    pub signed_from: Option<u64>,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A day in UTC, or an instant, as Unix seconds.
fn instant_s(text: &str) -> Result<u64, String> {
    let whole_day = || {
        let day: Date = text.parse().ok().filter(|_| text.len() == "2026-04-01".len())?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let instant = text.parse::<Timestamp>().ok().or_else(whole_day);
    let instant = instant
        .ok_or("write a day such as 2026-04-01, or an instant such as 2026-04-01T12:00:00Z")?;
    u64::try_from(instant.as_second()).map_err(|_| "lies before 1970".to_owned())
}

/// Runs `verify`.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let checked = match check(args) {
        Ok(checked) => checked,
        Err(failure) => return failure.told(),
    };
    let text = match args.format {
        Format::Text => print::text(&checked),
        Format::Json => print::json(&checked),
    };
    let printed = super::print("the result", &text);
    let is_sound = checked.iter().all(|(_, account)| account.problems == 0);
    if printed == ExitCode::SUCCESS && !is_sound { ExitCode::from(EXIT_NO) } else { printed }
}

/// Looks at all that is asked for. Not to be called from within a runtime: it waits.
///
/// # Errors
/// [`Failure`] when the question is wrong or the store cannot be read.
pub fn check(args: &Args) -> Result<Vec<(StreamInfo, Account)>, Failure> {
    if let (Some(from_s), Some(until_s)) = (args.from, args.until)
        && from_s >= until_s
    {
        return Err(Failure::Input("--until: must be later than --from".to_owned()));
    }
    let config = Config::load(&args.config).map_err(|error| Failure::Input(error.to_string()))?;
    let path = config.store_path();
    let environment = |error: &dyn std::fmt::Display| {
        Failure::Environment(format!("{}: {error}", path.display()))
    };
    let store = SqliteStore::open_read_only(&path).map_err(|error| environment(&error))?;
    let store = AnyStore::Sqlite(store);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| environment(&error))?;
    let scope = TenantScope::default();
    let streams = runtime.block_on(store.streams(&scope)).map_err(|error| environment(&error))?;
    let streams = choose(streams, args.agent.as_deref())?;
    let whole: u64 = streams.iter().map(|info| info.last_seq).sum();
    let mut checked = Vec::new();
    let mut progress = Progress { seen: 0, whole };
    for info in streams {
        let account = stream(&store, &scope, (&info, args), &mut progress);
        checked
            .push((info.clone(), runtime.block_on(account).map_err(|error| environment(&error))?));
    }
    Ok(checked)
}

fn choose(mut streams: Vec<StreamInfo>, agent: Option<&str>) -> Result<Vec<StreamInfo>, Failure> {
    let Some(agent) = agent else { return Ok(streams) };
    let mut known: Vec<String> = streams.iter().map(|info| info.name.clone()).collect();
    known.dedup();
    streams.retain(|info| info.name == agent);
    if !streams.is_empty() {
        return Ok(streams);
    }
    Err(Failure::Input(match known.as_slice() {
        [] => format!("--agent `{agent}`: no agent has come yet"),
        known => format!("--agent `{agent}`: there is {}", known.join(", ")),
    }))
}

/// How far it is.
struct Progress {
    seen: u64,
    whole: u64,
}

impl Progress {
    fn step(&mut self) {
        self.seen += 1;
        if self.seen.is_multiple_of(PROGRESS_RECORDS) {
            anstream::eprintln!("{} records of at most {}", self.seen, self.whole);
        }
    }
}

/// Looks at a stream, or at the part that is asked for, page by page. It is read as it was when it was listed: what comes
/// meanwhile is not looked at.
async fn stream(
    store: &AnyStore,
    scope: &TenantScope,
    (info, args): (&StreamInfo, &Args),
    progress: &mut Progress,
) -> Result<Account, StoreError> {
    let mut auditor = Auditor::new(info);
    if let Some(key) = args.key {
        auditor.expect(key, args.signed_from);
    }
    let is_part = args.from.is_some() || args.until.is_some();
    let (mut seq, last) = if is_part {
        let within_s = (args.from.unwrap_or(0), args.until.unwrap_or(u64::MAX));
        let Some((before, last)) = store.stretch(scope, info.stream, within_s).await? else {
            return Ok(auditor.end(None));
        };
        if before > 0 {
            let anchor = store.sealed_from(scope, info.stream, before).await?;
            anchor.iter().take(1).for_each(|record| auditor.begin_behind(record));
        }
        (before + 1, last)
    } else {
        (0, info.last_seq)
    };
    'all: loop {
        let page = store.sealed_from(scope, info.stream, seq).await?;
        if page.is_empty() {
            break;
        }
        for record in &page {
            if record.seq > last {
                break 'all;
            }
            auditor.take(record);
            progress.step();
            seq = record.seq.saturating_add(1);
        }
    }
    let head = (info.last_seq, info.last_hash.as_slice());
    Ok(auditor.end((!is_part).then_some(head)))
}

#[cfg(test)]
mod tests;
