//! An agreement in plain sentences, as it holds after inheritance: what a lawyer reads aloud before anybody signs.
//!
//! Every value that moves money or a verdict stands in a clause, also where the file leaves it out and a default holds.
//! Numbers are written exactly, never rounded. Clauses are numbered, so that two people can speak about the same one.

mod credit;
mod frame;
mod lineage;
mod objective;
mod render;
mod time;
mod words;

use super::Agreement;
use lineage::Lineage;

/// An agreement as clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    agreement: String,
    version: u64,
    title: String,
    sections: Vec<Section>,
}

/// Clauses of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section {
    /// Stable, for programs: `parties`, `objectives.availability`.
    name: String,
    /// For people.
    heading: String,
    clauses: Vec<Clause>,
}

/// A sentence or two, and what they list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clause {
    text: String,
    items: Vec<String>,
}

impl Reading {
    /// Reads an agreement aloud.
    #[must_use]
    pub fn of(agreement: &Agreement) -> Self {
        let terms = agreement.terms();
        let lineage = Lineage::of(agreement.texts());
        let mut sections = vec![
            frame::parties(terms, &lineage),
            frame::scope(terms),
            frame::term(agreement),
            frame::services(agreement),
            time::hours(agreement, &lineage),
            time::excluded(terms),
        ];
        let promises = agreement.objectives().iter();
        sections.extend(promises.map(|promise| objective::section(agreement, promise, &lineage)));
        sections.extend([
            frame::removed(&lineage),
            credit::rules(agreement),
            credit::termination(terms),
            frame::close(terms),
        ]);
        sections.retain(|section| !section.clauses.is_empty());
        Self {
            agreement: terms.id.to_string(),
            version: terms.version,
            title: words::plain(&terms.title),
            sections,
        }
    }
}

impl Section {
    fn new(name: impl Into<String>, heading: impl Into<String>) -> Self {
        Self { name: name.into(), heading: heading.into(), clauses: Vec::new() }
    }

    /// Adds a clause.
    fn say(&mut self, text: impl Into<String>) {
        self.clauses.push(Clause { text: text.into(), items: Vec::new() });
    }

    /// Adds a clause that ends in a list.
    fn list(&mut self, text: impl Into<String>, items: Vec<String>) {
        self.clauses.push(Clause { text: text.into(), items });
    }
}

#[cfg(test)]
mod tests;
