//! Agreements: text that two parties signed, read into what it means. A text with a problem has no value.
//!
//! In reading order: [`number`] and [`money`] (exact quantities), [`period`] and [`calendar`] (time), [`model`] (what an
//! agreement says), `parse` (text to model, all problems in one run), [`exclusions`] (records that claim time), `levels`
//! (what is inherited), `chain` (what it rests on), `phases` (what agents measure), `lint` (what is legal but unwise), [`show`] (what it says, in plain
//! sentences) and [`schema`] (what editors check while somebody writes).
//!
//! A measure of samples names a phase, whose samples are durations, or a value, whose name ends with its unit: `_ppm` is
//! written as a percentage and good when low (`{mean: loss_ppm}`, `"<= 0.1%"`), `_centi` as a decimal of at most two places
//! and good when high. There `{percentile: 95%, phase: mos_centi}` with `">= 4.0"` says that at least 95 % of the attempts
//! have a MOS of at least 4.0, and `{within: 4.0, phase: mos_centi}` is the share of those that have. `{ratio: ser}` is by
//! the counters of calls ([`model::Ratio`]).

pub mod calendar;
pub mod exclusions;
pub mod model;
pub mod money;
pub mod number;
pub mod period;
pub mod schema;
pub mod show;

pub mod template;

mod chain;
mod levels;
mod lint;
mod parse;
mod phases;

pub use model::{Objective, Service, Terms};
pub use period::{PeriodLabel, Span};

use jiff::tz::TimeZone;
use levels::Head;
use period::PeriodKind;
use probefleet_proto::name::Name;
use probefleet_proto::plan::Plan;
use probefleet_proto::yaml::{Document, Position, Problems};
use std::fmt;

/// An agreement that was read and checked.
#[derive(Clone, Debug)]
pub struct Agreement {
    terms: Terms,
    zone: TimeZone,
    objectives: Vec<Objective>,
    texts: Vec<String>,
}

/// An agreement and what is unwise in it.
#[derive(Debug)]
pub struct Loaded {
    /// The agreement.
    pub agreement: Agreement,
    /// Warnings: legal, but probably not meant.
    pub warnings: Problems,
}

/// Where an objective stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Position,
    /// In another file.
    inherited: bool,
}

/// Files that are no agreement: the problems of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected(pub Vec<Problems>);

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problems) in self.0.iter().enumerate() {
            let separator = if index > 0 { "\n" } else { "" };
            write!(f, "{separator}{problems}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejected {}

/// A number of samples that agents must count exactly, because an objective turns on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold {
    /// The probe.
    pub probe: Name,
    /// The phase or value.
    pub phase: String,
    /// Samples of at most so much are counted: ns of a phase, the value's own unit of a value.
    pub at_most: u64,
}

impl Agreement {
    /// Reads an agreement from `(file name, text)` pairs: it, and the ones that it inherits from. The one that no other
    /// names as its parent is the agreement.
    ///
    /// # Errors
    /// [`Rejected`] with every problem of every file.
    pub fn load(files: &[(&str, &str)]) -> Result<Loaded, Rejected> {
        Self::load_with_plan(files, None)
    }

    /// Like [`Agreement::load`], and checks names and intervals against the probes of a plan.
    ///
    /// # Errors
    /// [`Rejected`] with every problem of every file.
    pub fn load_with_plan(files: &[(&str, &str)], plan: Option<&Plan>) -> Result<Loaded, Rejected> {
        let documents = documents(files)?;
        let heads: Vec<Head> = documents.iter().map(|document| Head::of(&document.root)).collect();
        let lineage = levels::lineage(&heads, None).map_err(|fault| at_file(files, fault))?;
        if let Some(stranger) = (0..files.len()).find(|index| !lineage.contains(index)) {
            let fault = heads[stranger].stranger();
            return Err(at_file(files, (stranger, fault)));
        }
        Self::load_lineage(files, &documents, &lineage, plan).map(|(loaded, _)| loaded)
    }

    /// Like [`Agreement::load_with_plan`], of the file with that number; the others are there to inherit from.
    ///
    /// # Errors
    /// [`Rejected`] with every problem of that file and of those that it inherits from.
    pub fn load_among(
        files: &[(&str, &str)],
        number: usize,
        plan: Option<&Plan>,
    ) -> Result<Loaded, Rejected> {
        let read: Vec<Result<Document, Problems>> =
            files.iter().map(|(name, text)| Document::parse(name, text)).collect();
        if let Some(Err(problems)) = read.get(number) {
            return Err(Rejected(vec![problems.clone()]));
        }
        // A file that is no YAML is nobody's parent; it is reported where it is asked for itself.
        let readable: Vec<usize> = (0..files.len()).filter(|index| read[*index].is_ok()).collect();
        let files: Vec<(&str, &str)> = readable.iter().map(|index| files[*index]).collect();
        let documents: Vec<Document> = read.into_iter().flatten().collect();
        let heads: Vec<Head> = documents.iter().map(|document| Head::of(&document.root)).collect();
        let judged = readable.iter().position(|index| *index == number);
        let lineage = levels::lineage(&heads, judged).map_err(|fault| at_file(&files, fault))?;
        let (loaded, places) = Self::load_lineage(&files, &documents, &lineage, plan)?;
        let name = judged.and_then(|judged| files.get(judged)).map_or("", |(name, _)| *name);
        let mut problems = Problems::new(name);
        let given = |id: &Name| {
            let found = heads.iter().position(|head| head.is(id))?;
            let lineage = levels::lineage(&heads, Some(found)).ok()?;
            Some(Self::load_lineage(&files, &documents, &lineage, None).ok()?.0.agreement)
        };
        chain::check(&loaded.agreement, &places, given, &mut problems);
        problems.into_result(Some(loaded)).map_err(|problems| Rejected(vec![problems]))
    }

    /// Reads an agreement after those that it inherits from, the eldest first.
    fn load_lineage(
        files: &[(&str, &str)],
        documents: &[Document],
        lineage: &[usize],
        plan: Option<&Plan>,
    ) -> Result<(Loaded, Vec<Place>), Rejected> {
        let mut parent: Option<parse::Read> = None;
        let (mut texts, mut warnings) = (Vec::new(), Problems::default());
        for (index, last) in lineage.iter().zip((0..lineage.len()).rev()) {
            let Some(((name, text), document)) = files.get(*index).zip(documents.get(*index))
            else {
                continue;
            };
            let mut problems = Problems::new(name);
            warnings = Problems::new(name);
            let read = parse::agreement(&document.root, parent.as_ref(), &mut problems);
            if let Some(read) = read.as_ref().filter(|_| last == 0) {
                lint::check(read, plan, &mut problems, &mut warnings);
            }
            parent = Some(problems.into_result(read).map_err(|problems| Rejected(vec![problems]))?);
            texts.push((*text).to_owned());
        }
        let Some(read) = parent else { return Err(Rejected(vec![none_given()])) };
        let place = |placed: &parse::Placed| Place { at: placed.at, inherited: placed.inherited };
        let places = read.objectives.iter().map(place).collect();
        let objectives = read.objectives.into_iter().map(|placed| placed.objective).collect();
        let agreement = Self { terms: read.terms, zone: read.zone, objectives, texts };
        Ok((Loaded { agreement, warnings }, places))
    }

    /// Everything beside the objectives.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &Name {
        &self.terms.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.terms.version
    }

    /// Its title.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.terms.title
    }

    /// The zone of all its dates.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Its objectives, in the order of the file.
    #[must_use]
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// The service of an objective.
    #[must_use]
    pub fn service_of(&self, objective: &Objective) -> Option<&Service> {
        self.terms.services.get(objective.service)
    }

    /// The texts it was read from, as they were given.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// What agents must count exactly for it, sorted, each once.
    #[must_use]
    pub fn thresholds(&self) -> Vec<Threshold> {
        let mut thresholds = Vec::new();
        for objective in &self.objectives {
            let Some(phase) = objective.measure.phase() else { continue };
            let limits = objective.thresholds();
            thresholds.extend(objective.probes.iter().flat_map(|probe| {
                limits.iter().map(|at_most| Threshold {
                    probe: probe.clone(),
                    phase: phase.to_owned(),
                    at_most: *at_most,
                })
            }));
        }
        thresholds.sort();
        thresholds.dedup();
        thresholds
    }

    /// The period that a label means: of a month, the one that begins in it on the billing day, where there is one.
    #[must_use]
    pub fn meant(&self, label: PeriodLabel) -> PeriodLabel {
        let billing_day = self.objectives.iter().find_map(|objective| match objective.period {
            PeriodKind::Billing(day) => Some(day),
            _ => None,
        });
        billing_day.map_or(label, |day| label.billed(day))
    }

    /// The period of the agreement in which an instant lies. `None` outside the calendar.
    #[must_use]
    pub fn period_at(&self, instant_s: i64) -> Option<PeriodLabel> {
        PeriodLabel::at(self.terms.period, &self.zone, instant_s)
    }
}

/// Reads files as YAML; where that fails, what is wrong with the others is said too.
fn documents(files: &[(&str, &str)]) -> Result<Vec<Document>, Rejected> {
    let read: Vec<Result<Document, Problems>> =
        files.iter().map(|(name, text)| Document::parse(name, text)).collect();
    if files.is_empty() {
        return Err(Rejected(vec![none_given()]));
    }
    if read.iter().all(Result::is_ok) {
        return Ok(read.into_iter().flatten().collect());
    }
    let rejected = read.into_iter().zip(files).filter_map(|(read, (name, _))| match read {
        Err(problems) => Some(problems),
        Ok(document) if Head::of(&document.root).is_root() => {
            let mut problems = Problems::new(name);
            let read = parse::agreement(&document.root, None, &mut problems);
            problems.into_result(read).err()
        }
        Ok(_) => None,
    });
    Err(Rejected(rejected.collect()))
}

fn at_file(files: &[(&str, &str)], (index, fault): (usize, levels::Fault)) -> Rejected {
    let name = files.get(index).map_or("", |(name, _)| *name);
    Rejected(vec![fault.of_file(name)])
}

fn none_given() -> Problems {
    let mut problems = Problems::new("");
    let cure = "give one with all its objectives, or with those that it inherits from";
    problems.report::<()>(Position::default(), "missing-key", "no agreement was given", cure);
    problems
}

#[cfg(test)]
mod tests;
