//! `evaluate`: judges an agreement over a period, from files alone. No store, no network, no clock: the same bytes in
//! give the same bytes out.

use super::EXIT_BAD_INPUT;
use crate::contract::exclusions::Exclusions;
use crate::contract::period::{PeriodLabel, instant_s};
use crate::contract::{Agreement, Loaded};
use crate::sla::{Question, Verdict, Windows, judge};
use crate::verdict::text::{Paint, render};
use crate::windows;
use probefleet_proto::yaml::read_text;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes read of a windows file at once: a few hundred lines.
const READ_BUFFER_BYTES: usize = 256 << 10;

/// What `evaluate` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector evaluate --agreement acme.yaml --windows w.jsonl --period 2026-03-29
  probefleet-collector evaluate --agreement acme.yaml --windows w.jsonl --period 2026-03-29 --signed

Exit codes: 0 there is a verdict, whatever it is; 2 the input is wrong.")]
pub struct Args {
    /// The agreement; given again, those that it inherits from.
    #[arg(long, value_name = "FILE", required = true)]
    agreement: Vec<PathBuf>,
    /// Measured windows, one JSON object a line.
    #[arg(long, value_name = "FILE", required = true)]
    windows: Vec<PathBuf>,
    /// Treat the agreement as countersigned, so that breaches have credits.
    #[arg(long)]
    signed: bool,
    /// The period: 2026-04-17, 2026-W16, 2026-04, 2026-Q2, 2026-H1 or 2026.
    #[arg(long, value_name = "LABEL")]
    period: String,
    /// Judge as of this instant (RFC 3339); without it the period is over.
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<String>,
    /// Show only this objective; all of them are computed.
    #[arg(long, value_name = "NAME")]
    objective: Option<String>,
    /// Records of time that is to be excluded, and of who approved it.
    #[arg(long, value_name = "FILE")]
    exclusions: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: stable and documented.
    Json,
}

/// Runs `evaluate`: exit code 0 with a verdict, whatever it is; 2 when the input is wrong.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let (agreement, verdict) = match evaluate(args) {
        Ok(done) => done,
        Err(problem) => {
            anstream::eprintln!("{problem}");
            return ExitCode::from(EXIT_BAD_INPUT);
        }
    };
    let shown = |name: &str| args.objective.as_deref().is_none_or(|wanted| wanted == name);
    let text = match args.format {
        Format::Json => format!("{}\n", verdict.to_json_of(|objective| shown(&objective.name))),
        Format::Text => {
            let paint = Paint::terminal();
            render(&verdict, agreement.zone(), &paint, |objective| shown(&objective.name))
        }
    };
    super::print("the result", &text)
}

fn evaluate(args: &Args) -> Result<(Agreement, Verdict), String> {
    let label = PeriodLabel::parse(&args.period).map_err(|error| format!("--period: {error}"))?;
    let as_of_s = match &args.as_of {
        None => None,
        Some(text) => Some(instant_s(text).ok_or_else(|| {
            format!("--as-of `{text}`: write an instant such as 2026-04-17T12:00:00+02:00")
        })?),
    };
    let agreement = agreement(&args.agreement)?;
    if let Some(name) = &args.objective {
        let known: Vec<&str> =
            agreement.objectives().iter().map(|objective| objective.name.as_str()).collect();
        if !known.contains(&name.as_str()) {
            return Err(format!("--objective `{name}`: the agreement has {}", known.join(", ")));
        }
    }
    let mut evidence = Windows::for_agreement(&agreement);
    for path in &args.windows {
        read_windows(&mut evidence, path)?;
    }
    let exclusions = match &args.exclusions {
        Some(path) => exclusions(path, &agreement)?,
        None => Exclusions::default(),
    };
    let question = Question { label, as_of_s, signed: args.signed };
    let verdict =
        judge(&agreement, &evidence, &exclusions, &question).map_err(|error| error.to_string())?;
    Ok((agreement, verdict))
}

fn agreement(paths: &[PathBuf]) -> Result<Agreement, String> {
    let mut files = Vec::new();
    for path in paths {
        let text = File::open(path).and_then(read_text);
        let text = text.map_err(|error| unreadable(path, &error))?;
        files.push((path.display().to_string(), text));
    }
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let Loaded { agreement, warnings } =
        Agreement::load(&files).map_err(|error| error.to_string())?;
    if !warnings.is_empty() {
        anstream::eprintln!("{warnings}");
    }
    Ok(agreement)
}

fn exclusions(path: &Path, agreement: &Agreement) -> Result<Exclusions, String> {
    let text = File::open(path).and_then(read_text);
    let text = text.map_err(|error| unreadable(path, &error))?;
    let name = path.display().to_string();
    Exclusions::parse(&name, &text, agreement).map_err(|problems| problems.to_string())
}

fn read_windows(evidence: &mut Windows, path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    let name = path.display().to_string();
    windows::read(evidence, &name, input).map(|_| ()).map_err(|error| error.to_string())
}

/// What is said of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be read: {error}", path.display())
}
