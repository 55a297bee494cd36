//! `contract check`, `contract show`, `contract init` and `contract schema`: agreements before anybody signs them.

use super::evaluate::{Format, unreadable};
use super::{EXIT_BAD_INPUT, EXIT_ENVIRONMENT, EXIT_NO};
use crate::contract::show::Reading;
use crate::contract::{Agreement, Loaded, Rejected, schema, template};
use probefleet_proto::plan::Plan;
use probefleet_proto::yaml::{Problems, read_text};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What `contract` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Checks agreements: exit code 0 when they are clean, 1 when they have errors.
    Check(CheckArgs),
    /// Says in plain sentences what an agreement promises, with what it inherits.
    Show(ShowArgs),
    /// Writes an agreement to begin with, for the probes of a plan.
    Init(InitArgs),
    /// Prints the JSON Schema of agreements, by which editors check and complete them.
    Schema(SchemaArgs),
}

/// What `contract check` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector contract check agreement.yaml
  probefleet-collector contract check agreement.yaml --plan plan.yaml    # and that it names real probes
  probefleet-collector contract check agreement.yaml --format json       # for scripts

Exit codes: 0 no errors, 1 errors, 2 a file cannot be read or the plan is wrong.")]
pub struct CheckArgs {
    /// Agreements; one that names a `parent` is checked with it, when its file is given too.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The plan whose probes the agreements name.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What `contract show` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector contract show agreement.yaml
  probefleet-collector contract show agreement.yaml --format markdown    # to put before those who sign

Exit codes: 0 shown, 1 the agreement has errors, 2 a file cannot be read.")]
pub struct ShowArgs {
    /// The agreement, and those that it inherits from.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print it.
    #[arg(long, value_enum, default_value = "text")]
    format: ShowFormat,
}

/// How an agreement is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ShowFormat {
    /// For a terminal.
    Text,
    /// For documents.
    Markdown,
    /// For programs: every clause with its number.
    Json,
}

/// What `contract init` is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector contract init --plan plan.yaml                        # to look at
  probefleet-collector contract init --plan plan.yaml --out agreement.yaml   # to go on with")]
pub struct InitArgs {
    /// The plan whose probes are promised.
    #[arg(long, value_name = "PLAN")]
    plan: PathBuf,
    /// Where to write; standard output when left out. A file that exists is not overwritten.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `contract schema` is asked: nothing yet.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  probefleet-collector contract schema > agreement.schema.json

Then tell the editor. Where the YAML language server runs (VS Code with the extension YAML, Neovim,
Helix, Emacs), begin the agreement with this line, whose path is seen from the agreement:
  # yaml-language-server: $schema=agreement.schema.json

or name all agreements in the settings of VS Code:
  \"yaml.schemas\": {\"./agreement.schema.json\": \"agreements/*.yaml\"}

JetBrains: Settings, Languages & Frameworks, Schemas and DTDs, JSON Schema Mappings.

The schema (draft 2020-12) knows keys, words and the form of values. What two places decide
together, `contract check` finds.")]
pub struct SchemaArgs {}

/// Runs a `contract` command.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Check(args) => check(&args),
        Command::Show(args) => show(&args),
        Command::Init(args) => init(&args),
        Command::Schema(SchemaArgs {}) => print_schema(),
    }
}

/// What was found in the files.
#[derive(Default)]
struct Findings {
    errors: Vec<Problems>,
    warnings: Vec<Problems>,
}

fn check(args: &CheckArgs) -> ExitCode {
    let plan = match args.plan.as_deref().map(read_plan).transpose() {
        Ok(plan) => plan,
        Err(problem) => return bad_input(&problem),
    };
    let mut findings = Findings::default();
    let texts = match read_agreements(&args.files, &mut findings) {
        Ok(texts) => texts,
        Err(problem) => return bad_input(&problem),
    };
    let files = named(&texts);
    for number in 0..files.len() {
        match Agreement::load_among(&files, number, plan.as_ref()) {
            Ok(loaded) => findings.warnings.push(loaded.warnings),
            Err(rejected) => findings.add_errors(rejected.0),
        }
    }
    findings.answer(args.format, args.files.len())
}

fn show(args: &ShowArgs) -> ExitCode {
    let mut findings = Findings::default();
    let texts = match read_agreements(&args.files, &mut findings) {
        Ok(texts) => texts,
        Err(problem) => return bad_input(&problem),
    };
    let refused =
        |findings: &Findings| findings.answer(args.format.of_findings(), args.files.len());
    if !findings.errors.is_empty() {
        return refused(&findings);
    }
    let agreement = match Agreement::load(&named(&texts)) {
        Ok(Loaded { agreement, .. }) => agreement,
        Err(Rejected(errors)) => {
            findings.add_errors(errors);
            return refused(&findings);
        }
    };
    let reading = Reading::of(&agreement);
    let text = match args.format {
        ShowFormat::Text => reading.to_text(),
        ShowFormat::Markdown => reading.to_markdown(),
        ShowFormat::Json => format!("{}\n", reading.to_json()),
    };
    super::print("the agreement", &text)
}

/// The names and texts of agreements; files that are no text are among the findings.
fn read_agreements(
    paths: &[PathBuf],
    findings: &mut Findings,
) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::new();
    for path in paths {
        match std::fs::File::open(path).and_then(read_text) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                findings.errors.push(not_text(path));
            }
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    Ok(texts)
}

fn named(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

fn not_text(path: &Path) -> Problems {
    let mut problems = Problems::new(&path.display().to_string());
    let at = probefleet_proto::yaml::Position { line: 1, column: 1 };
    problems.report::<()>(at, "bad-yaml", "the file is no UTF-8 text", "save it as UTF-8");
    problems
}

fn bad_input(problem: &str) -> ExitCode {
    anstream::eprintln!("{problem}");
    ExitCode::from(EXIT_BAD_INPUT)
}

fn read_plan(path: &Path) -> Result<Plan, String> {
    let text = std::fs::File::open(path).and_then(read_text);
    let text = text.map_err(|error| unreadable(path, &error))?;
    Plan::parse(&path.display().to_string(), &text).map_err(|problems| problems.to_string())
}

fn init(args: &InitArgs) -> ExitCode {
    let plan = match read_plan(&args.plan) {
        Ok(plan) => plan,
        Err(problem) => return bad_input(&problem),
    };
    if plan.probes.is_empty() {
        return bad_input(&format!("{}: the plan has no probe to promise", args.plan.display()));
    }
    let text = template::agreement(&plan);
    let Some(path) = &args.out else { return super::print("the agreement", &text) };
    let written =
        std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bad_input(&format!("{}: exists already; name another file", path.display()))
        }
        Err(error) => {
            anstream::eprintln!("the agreement cannot be written: {error}");
            ExitCode::from(EXIT_ENVIRONMENT)
        }
    }
}

fn print_schema() -> ExitCode {
    super::print("the schema", &format!("{:#}\n", schema::agreement()))
}

// === impl ShowFormat ===

impl ShowFormat {
    /// How errors are printed instead.
    fn of_findings(self) -> Format {
        match self {
            Self::Text | Self::Markdown => Format::Text,
            Self::Json => Format::Json,
        }
    }
}

// === impl Findings ===

impl Findings {
    /// Errors of a parent are found with each of its children, and said once.
    fn add_errors(&mut self, errors: Vec<Problems>) {
        for problems in errors {
            if !self.errors.contains(&problems) {
                self.errors.push(problems);
            }
        }
    }

    /// Prints them, and says with the exit code whether there are errors.
    fn answer(&self, format: Format, files: usize) -> ExitCode {
        let printed = match format {
            Format::Json => self.print_json(),
            Format::Text => self.print_text(files),
        };
        match printed {
            Err(error) => {
                anstream::eprintln!("the findings cannot be written: {error}");
                ExitCode::from(EXIT_ENVIRONMENT)
            }
            Ok(()) if self.errors.is_empty() => ExitCode::SUCCESS,
            Ok(()) => ExitCode::from(EXIT_NO),
        }
    }

    fn print_text(&self, files: usize) -> std::io::Result<()> {
        let (bad, unwise) =
            (anstyle::AnsiColor::Red.on_default(), anstyle::AnsiColor::Yellow.on_default());
        let mut stderr = anstream::stderr();
        for problems in &self.errors {
            for line in problems.to_string().lines() {
                writeln!(stderr, "{bad}error{bad:#}: {line}")?;
            }
        }
        for problems in &self.warnings {
            for line in problems.to_string().lines() {
                writeln!(stderr, "{unwise}warning{unwise:#}: {line}")?;
            }
        }
        if self.errors.is_empty() {
            let noun = if files == 1 { "agreement" } else { "agreements" };
            writeln!(anstream::stdout(), "{files} {noun} checked: no errors")?;
        }
        Ok(())
    }

    fn print_json(&self) -> std::io::Result<()> {
        let findings = json!({"errors": listed(&self.errors), "warnings": listed(&self.warnings)});
        writeln!(anstream::stdout(), "{findings}")
    }
}

fn listed(all: &[Problems]) -> Vec<Value> {
    let one = |problems: &Problems| -> Vec<Value> {
        let file = problems.file();
        let found = problems.sorted().into_iter().map(|problem| {
            json!({
                "file": file,
                "line": problem.at.line,
                "column": problem.at.column,
                "code": problem.code,
                "message": problem.message,
                "cure": problem.cure,
            })
        });
        found.collect()
    };
    all.iter().flat_map(one).collect()
}
