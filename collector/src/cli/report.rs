//! `report`: judges an agreement over a period from the store, whether the service runs or not; shows what was published.

mod revisions;

use super::Failure;
use crate::config::{Config, Signed};
use crate::contract::Agreement;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::{PeriodLabel, Span};
use crate::evaluator::{EvaluateError, as_of_s, judge, key, looks_at, read_stretch};
use crate::revision::Revision;
use crate::sla::life::Life;
use crate::sla::{JudgeError, Verdict, Windows};
use crate::store::{AnyStore, SqliteStore, Store as _, TenantScope};
use crate::verdict::text::{Paint, render};
use crate::verdict::{csv, life};
use probefleet_proto::clock::unix_now_ns;
use probefleet_proto::units::NS_PER_S;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// What `report` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector report --agreement acme-voice --period 2026-04
  probefleet-collector report --agreement acme-voice --period 2026-04-17 --format json
  probefleet-collector report --agreement acme-voice             # the period that is open now
  probefleet-collector report --agreement acme-voice --revisions # what was published, and what changed

Exit codes: 0 there is a verdict, whatever it is; 2 the question is wrong; 3 the store cannot be read.")]
pub struct Args {
    /// The agreement's name.
    #[arg(long, value_name = "ID")]
    pub agreement: String,
    /// The period: a month such as 2026-04, or a day such as 2026-04-17; left out: the one that is open.
    #[arg(long, value_name = "LABEL")]
    pub period: Option<String>,
    /// List what was published, of all periods or of the one that is named.
    #[arg(long)]
    pub revisions: bool,
    /// Show the result of this revision of the period, to the last byte as it was published (JSON).
    #[arg(long, value_name = "N", requires = "period", conflicts_with = "revisions")]
    pub revision: Option<u64>,
    /// Believe only the records, which `verify` checks, and no digest of them: slower.
    #[arg(long, conflicts_with_all = ["revisions", "revision"])]
    pub from_records: bool,
    /// The configuration of the collector.
    #[arg(long, value_name = "FILE", default_value = "collector.yaml")]
    pub config: PathBuf,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: stable and documented, as that of `evaluate`.
    Json,
    /// For spreadsheets: one objective a line.
    Csv,
}

/// Runs `report`: exit code 0 with a verdict, whatever it is.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let text = match make(args) {
        Ok(text) => text,
        Err(failure) => return failure.told(),
    };
    super::print("the report", &text)
}

/// The text of a report. Not to be called from within a runtime: it waits.
///
/// # Errors
/// [`Failure`] when the question is wrong or the store cannot be read.
pub fn make(args: &Args) -> Result<String, Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::Input(error.to_string()))?;
    let signed = choose(&config, &args.agreement)?;
    if let Some(problem) = signed.exclusions.as_ref().and_then(|file| file.problem.as_ref()) {
        anstream::eprintln!("the exclusions are those of the last good file: {problem}");
    }
    let agreement = &signed.agreement;
    let as_of_s = as_of_s(unix_now_ns() / NS_PER_S, config.window_s);
    let label = match &args.period {
        Some(text) => PeriodLabel::parse(text)
            .map_err(|error| Failure::Input(format!("--period: {error}")))?,
        None => agreement
            .period_at(i64::try_from(as_of_s).unwrap_or(i64::MAX))
            .ok_or_else(|| Failure::Input("now lies outside the calendar".to_owned()))?,
    };
    let label = agreement.meant(label);
    let period = label.span(agreement.zone()).map_err(|error| Failure::Input(error.to_string()))?;

    let environment = |error: &dyn std::fmt::Display| {
        Failure::Environment(format!("{}: {error}", config.store_path().display()))
    };
    let store = SqliteStore::open_read_only(&config.store_path()).map_err(|e| environment(&e))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| environment(&error))?;
    let store = AnyStore::Sqlite(store);
    let told = runtime.block_on(revisions::answer(args, &store, (signed, label)))?;
    if let Some(text) = told {
        return Ok(text);
    }
    let none = Exclusions::default();
    let exclusions = signed.exclusions.as_ref().map_or(&none, |file| &file.records);
    let input = |error: JudgeError| Failure::Input(error.to_string());
    let stretch = looks_at(agreement, exclusions, (label, as_of_s)).map_err(input)?;
    let all = config.agreements.iter().map(|signed| &signed.agreement);
    let read = (stretch, args.from_records);
    let known = runtime.block_on(known(&store, (agreement, all), label, read));
    let (windows, revisions) = known.map_err(|error| environment(&error))?;
    let question = (label, as_of_s, signed.countersigned);
    let verdict = judge(agreement, &windows, exclusions, question).map_err(input)?;
    let now_s = i64::try_from(as_of_s).unwrap_or(i64::MAX);
    let life = Life::of(agreement, period, now_s, revisions);
    Ok(print(args.format, signed, (&verdict, &life), now_s))
}

/// What the store has of a period: what it is judged from, and what was published of it. `all` are the agreements that are
/// judged there; `read` is what is looked at, and whether in the records alone.
async fn known<'a>(
    store: &AnyStore,
    (agreement, all): (&Agreement, impl Iterator<Item = &'a Agreement>),
    label: PeriodLabel,
    read: (Span, bool),
) -> Result<(Windows, Arc<[Revision]>), EvaluateError> {
    let (key, scope) = (key(agreement, label), TenantScope::default());
    let windows = read_stretch((store, &scope), (agreement, all), read).await?;
    let revisions = store.revisions(&scope, &key.agreement, Some(&key.period)).await?;
    Ok((windows, revisions.into_iter().map(|(_, revision)| revision).collect()))
}

fn choose<'a>(config: &'a Config, id: &str) -> Result<&'a Signed, Failure> {
    let named = config.agreements.iter().find(|signed| signed.agreement.id().as_str() == id);
    named.ok_or_else(|| {
        let known: Vec<&str> =
            config.agreements.iter().map(|signed| signed.agreement.id().as_str()).collect();
        Failure::Input(match known.as_slice() {
            [] => format!("--agreement `{id}`: the configuration names no agreement"),
            known => format!("--agreement `{id}`: there is {}", known.join(", ")),
        })
    })
}

fn print(
    format: Format,
    signed: &Signed,
    (verdict, life): (&Verdict, &Life),
    now_s: i64,
) -> String {
    match format {
        Format::Json => format!("{}\n", life::to_json(verdict, life)),
        Format::Csv => csv::render(verdict),
        Format::Text => {
            let (zone, paint) = (signed.agreement.zone(), Paint::terminal());
            let text = render(verdict, zone, &paint, |_| true);
            text + &life::lines(verdict, life, now_s, zone, &paint)
        }
    }
}
