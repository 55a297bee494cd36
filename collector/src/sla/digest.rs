//! The fingerprint of everything a verdict was made from, so that anybody can tell whether two of them had the same
//! inputs.

use super::evidence::{Cell, Within};
use super::{Question, Windows};
use crate::contract::Agreement;
use crate::contract::exclusions::{Exclusion, Exclusions};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Begins the hashed bytes: a change of their form is another number.
const DOMAIN: &[u8] = b"probefleet evaluation inputs v1\0";

/// `sha256:…` over the agreement as it was given, the question, the cells in the order of agent, probe, spec, start, and
/// the exclusion records in the order of their beginning.
pub(super) fn inputs(
    agreement: &Agreement,
    windows: &Windows,
    exclusions: &Exclusions,
    question: &Question,
) -> String {
    let mut hash = Hash(Sha256::new());
    hash.0.update(DOMAIN);
    for text in agreement.texts() {
        hash.text(text);
    }
    hash.text(&question.label.to_string());
    hash.0.update([u8::from(question.signed), u8::from(question.as_of_s.is_some())]);
    hash.number(question.as_of_s.unwrap_or(0));
    for (agent, probe, series) in windows.sorted_series() {
        hash.text(agent);
        hash.text(probe);
        hash.0.update(series.spec);
        let mut labels = None;
        let exists = |cell: &Cell| question.as_of_s.is_none_or(|as_of_s| cell.end_s() <= as_of_s);
        for held in series.cells().filter(|held| exists(held.cell)) {
            let cell = held.cell;
            if labels.replace(cell.labels) != Some(cell.labels) {
                hash.labels(windows, cell.labels);
            }
            // All its samples are in the cell's own digest.
            hash.cell(cell, held.within);
        }
    }
    exclusions.at(question.as_of_s).for_each(|record| hash.exclusion(record));
    hash.text_of()
}

/// `sha256:…` over the agreement as it was given, and whether it is countersigned.
pub(super) fn terms(agreement: &Agreement, signed: bool) -> String {
    let mut hash = Hash(Sha256::new());
    hash.0.update(b"probefleet terms v1\0");
    for text in agreement.texts() {
        hash.text(text);
    }
    hash.0.update([u8::from(signed)]);
    hash.text_of()
}

/// `sha256:…` over all exclusion records.
pub(super) fn exclusions(exclusions: &Exclusions) -> String {
    let mut hash = Hash(Sha256::new());
    hash.0.update(b"probefleet exclusions v1\0");
    exclusions.iter().for_each(|record| hash.exclusion(record));
    hash.text_of()
}

/// A hash of values that cannot run into each other.
struct Hash(Sha256);

impl Hash {
    fn text_of(self) -> String {
        let mut text = "sha256:".to_owned();
        for byte in self.0.finalize() {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text
    }

    fn text(&mut self, text: &str) {
        self.0.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(text);
    }

    fn number(&mut self, number: i64) {
        self.0.update(number.to_be_bytes());
    }

    fn labels(&mut self, windows: &Windows, number: u32) {
        self.0.update(b"L");
        for (key, value) in windows.labels(number).into_iter().flatten() {
            self.text(key);
            self.text(value);
        }
    }

    fn exclusion(&mut self, record: &Exclusion) {
        self.0.update(b"E");
        self.number(record.span.from_s);
        self.number(record.span.until_s);
        self.text(record.reason.as_str());
        let flags = [record.announced_s.is_some(), record.approved].map(u8::from);
        self.0.update(flags);
        self.number(record.announced_s.unwrap_or(0));
        let names = i64::try_from(record.objectives.len()).unwrap_or(i64::MAX);
        self.number(names);
        record.objectives.iter().for_each(|name| self.text(name.as_str()));
    }

    fn cell(&mut self, cell: &Cell, within: &[Within]) {
        self.0.update(b"C");
        self.number(cell.start_s);
        self.0.update(cell.content);
        let counts = cell.counts;
        for count in
            [counts.ok, counts.failed, counts.invalid, counts.missed, cell.width_s, cell.interval_s]
        {
            self.0.update(count.to_be_bytes());
        }
        self.0.update([u8::from(cell.flagged), u8::from(cell.conflicting)]);
        for count in within {
            self.0.update(count.certain.to_be_bytes());
            self.0.update(count.possible.to_be_bytes());
        }
    }
}
