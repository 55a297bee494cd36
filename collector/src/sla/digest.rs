//! The fingerprint of everything a verdict was made from, so that anybody can tell whether two of them had the same
//! inputs.

use super::{Question, Windows};
use crate::contract::Agreement;
use crate::contract::exclusions::{Exclusion, Exclusions};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Begins the hashed bytes: a change of their form is another number. Since 2 cells are hashed in blocks of eight hours,
/// so that what was hashed once is not hashed again for every verdict.
const DOMAIN: &[u8] = b"probefleet evaluation inputs v2\0";

/// The form of the digests of inputs and exclusions: whoever changes what is hashed, or how, raises it. It is kept with
/// what was published, so that no period looks as if late data had come ([`super::life`]) only because the program was
/// replaced. Since 2, records of excluded time that cannot matter to the period are not hashed.
pub(super) const FORM: u32 = 2;

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
        for (from_s, block) in series.blocks() {
            hash.number(from_s);
            hash.0.update(block.digest(question.as_of_s));
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

/// `sha256:…` over these exclusion records.
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
}
