//! What a cell says, as a digest: the same for a line of a file and for a record of the store, so that a verdict has
//! the same fingerprint wherever its cells came from.

use crate::sla::evidence::AGENT_LABEL;
use probefleet_proto::histogram::Histogram;
use probefleet_proto::label::Labels;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Begins the bytes that a cell's content is hashed from.
const DOMAIN: &[u8] = b"probefleet window line v1\0";

/// Everything that a cell says beside agent, probe, spec and start; each mapping in the order of its keys.
pub struct Content<'a> {
    /// The agent's labels; its name need not be among them.
    pub labels: &'a Labels,
    /// The window's width, in s.
    pub width_s: u32,
    /// The probe's interval, in s.
    pub interval_s: u32,
    /// Good attempts.
    pub ok: u32,
    /// Failed attempts by class, invalid and missed ones by reason.
    pub outcomes: [&'a BTreeMap<String, u32>; 3],
    /// Wire codes, and counters.
    pub tallies: [&'a BTreeMap<String, u64>; 2],
    /// Why it is not to be trusted, sorted, each once.
    pub flags: &'a [&'a str],
    /// Samples by phase.
    pub phases: BTreeMap<&'a str, Samples<'a>>,
    /// Samples by value, in its own unit.
    pub values: BTreeMap<&'a str, Samples<'a>>,
}

/// The samples of a phase.
pub enum Samples<'a> {
    /// Every one, in ns, sorted.
    Each(&'a [u64]),
    /// Counted by bucket, with the exact sum in ns and the samples at most each threshold in ns.
    Counted(&'a Histogram, u128, Vec<(u64, u32)>),
}

// === impl Content ===

impl Content<'_> {
    /// The digest.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hash = Hash(Sha256::new());
        hash.0.update(DOMAIN);
        // Every agent has its name as a label, written or not.
        let labels = || self.labels.iter().filter(|(key, _)| *key != AGENT_LABEL);
        hash.number(labels().count() as u128);
        for (key, value) in labels() {
            hash.text(key);
            hash.text(value);
        }
        for number in [self.width_s, self.interval_s, self.ok] {
            hash.number(number.into());
        }
        for outcome in self.outcomes {
            hash.counts(outcome);
        }
        for tally in self.tallies {
            hash.counts(tally);
        }
        hash.number(self.flags.len() as u128);
        for flag in self.flags {
            hash.text(flag);
        }
        hash.number(self.phases.len() as u128);
        for (phase, samples) in &self.phases {
            hash.text(phase);
            hash.samples(samples);
        }
        // What has none is hashed as it was before there were any.
        if !self.values.is_empty() {
            hash.number(self.values.len() as u128);
            for (value, samples) in &self.values {
                hash.text(value);
                hash.samples(samples);
            }
        }
        let digest: [u8; 32] = hash.0.finalize().into();
        std::array::from_fn(|index| digest[index])
    }
}

/// A hash of values that cannot run into each other.
struct Hash(Sha256);

// === impl Hash ===

impl Hash {
    fn number(&mut self, number: u128) {
        self.0.update(number.to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u128);
        self.0.update(text);
    }

    fn counts<N: Copy + Into<u128>>(&mut self, counts: &BTreeMap<String, N>) {
        self.number(counts.len() as u128);
        for (name, count) in counts {
            self.text(name);
            self.number((*count).into());
        }
    }

    fn samples(&mut self, samples: &Samples<'_>) {
        match samples {
            Samples::Each(ns) => {
                self.number(ns.len() as u128);
                for sample in *ns {
                    self.number((*sample).into());
                }
            }
            Samples::Counted(histogram, sum_ns, at_most) => {
                let mut encoded = Vec::new();
                histogram.encode(&mut encoded);
                self.number(encoded.len() as u128);
                self.0.update(&encoded);
                self.number(*sum_ns);
                self.number(at_most.len() as u128);
                for (threshold_ns, count) in at_most {
                    self.number((*threshold_ns).into());
                    self.number((*count).into());
                }
            }
        }
    }
}
