//! Agreements: text that two parties signed, read into what it means. A text with a problem has no value.
//!
//! In reading order: [`number`] and [`money`] (exact quantities), [`period`] and [`calendar`] (time), [`model`] (what an
//! agreement says), `parse` (text to model, all problems in one run), [`exclusions`] (records that
//! claim time) and `lint` (what is legal but unwise). What the language has and
//! this program cannot judge yet is refused with the code `not-supported-yet`, never passed over.
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

pub mod template;

mod lint;
mod parse;

pub use model::{Objective, Service, Terms};
pub use period::{PeriodLabel, Span};

use jiff::tz::TimeZone;
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
    /// Reads an agreement from `(file name, text)` pairs. Inheritance is not supported yet, so there is one file.
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
        let mut rejected: Vec<Problems> = Vec::new();
        let mut loaded = Vec::new();
        for (name, text) in files {
            match Self::load_one(name, text, plan) {
                Ok(one) => loaded.push(one),
                Err(problems) => rejected.push(problems),
            }
        }
        if !rejected.is_empty() {
            return Err(Rejected(rejected));
        }
        match (loaded.pop(), loaded.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => Err(Rejected(vec![one_file_expected(files, last.is_none())])),
        }
    }

    fn load_one(name: &str, text: &str, plan: Option<&Plan>) -> Result<Loaded, Problems> {
        let document = Document::parse(name, text)?;
        let mut problems = Problems::new(name);
        let mut warnings = Problems::new(name);
        let read = parse::agreement(&document.root, &mut problems);
        if let Some(read) = &read {
            lint::check(read, plan, &mut problems, &mut warnings);
        }
        let read = problems.into_result(read)?;
        let objectives = read.objectives.into_iter().map(|placed| placed.objective).collect();
        let agreement =
            Self { terms: read.terms, zone: read.zone, objectives, texts: vec![text.to_owned()] };
        Ok(Loaded { agreement, warnings })
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

    /// The period of the agreement in which an instant lies. `None` outside the calendar.
    #[must_use]
    pub fn period_at(&self, instant_s: i64) -> Option<PeriodLabel> {
        PeriodLabel::at(self.terms.period, &self.zone, instant_s)
    }
}

fn one_file_expected(files: &[(&str, &str)], none: bool) -> Problems {
    let name = files.last().map_or("", |(name, _)| *name);
    let mut problems = Problems::new(name);
    let (code, message) = if none {
        ("missing-key", "no agreement was given")
    } else {
        ("not-supported-yet", "several agreements: inheritance by `parent` cannot be judged yet")
    };
    problems.report::<()>(
        Position::default(),
        code,
        message,
        "give one agreement with all its objectives",
    );
    problems
}

#[cfg(test)]
mod tests;
