//! The figures of many attempts of one probe.

use crate::probe::{Outcome, Phase, Sample};
use std::collections::BTreeMap;

/// What was seen of one probe.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Attempts by outcome, with class and code.
    pub(super) outcomes: BTreeMap<String, u64>,
    /// Durations of ok attempts by phase, ns, in the order of the phases.
    pub(super) phases_ns: Vec<(Phase, Vec<u64>)>,
    /// Counters of all attempts, added up.
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Values of ok attempts by name.
    pub(super) values: BTreeMap<&'static str, Vec<u64>>,
    /// All attempts.
    pub(super) attempts: u64,
    /// Attempts that were ok.
    pub(super) ok: u64,
}

/// The figures of a phase (ns) or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) min: u64,
    pub(super) median: u64,
    pub(super) max: u64,
}

impl Summary {
    /// Takes an attempt in.
    pub(super) fn add(&mut self, sample: &Sample) {
        self.attempts += 1;
        for (name, count) in &sample.counters {
            let sum = self.counters.entry(name).or_default();
            *sum = sum.saturating_add(*count);
        }
        if sample.outcome != Outcome::Ok {
            *self.outcomes.entry(outcome_text(sample)).or_default() += 1;
            return;
        }
        self.ok += 1;
        for (name, value) in &sample.values {
            self.values.entry(name).or_default().push(*value);
        }
        for (phase, ns) in &sample.phases_ns {
            match self.phases_ns.iter_mut().find(|(known, _)| known == phase) {
                Some((_, all)) => all.push(*ns),
                None => self.phases_ns.push((phase.clone(), vec![*ns])),
            }
        }
        // A phase that first happens in a later attempt still stands before `total`.
        self.phases_ns.sort_by_key(|(phase, _)| phase == "total");
    }
}

/// The figures of a phase or a value; `None` when it never happened. The median is the lower of two.
pub(super) fn figures(all: &[u64]) -> Option<Figures> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    let median = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some(Figures { min: *sorted.first()?, median: *median, max: *sorted.last()? })
}

/// An outcome with its class and code, such as `failed status 503`.
pub(super) fn outcome_text(sample: &Sample) -> String {
    let code = sample.code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    match sample.outcome {
        Outcome::Ok => format!("ok{code}"),
        Outcome::Failed(class) => format!("failed {class}{code}"),
        Outcome::Invalid(reason) => format!("invalid {reason}{code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_samples() {
        assert_eq!(figures(&[]), None);
        assert_eq!(figures(&[5]), Some(Figures { min: 5, median: 5, max: 5 }));
        assert_eq!(figures(&[9, 1, 4, 2]), Some(Figures { min: 1, median: 2, max: 9 }));
    }

    #[test]
    fn attempts_add_up_and_total_stays_the_last_phase() {
        let sample = |names: &[&'static str]| Sample {
            outcome: Outcome::Ok,
            code: None,
            phases_ns: names.iter().map(|name| ((*name).into(), 1)).collect(),
            counters: vec![("retransmissions", 2)],
            values: vec![("mos_centi", 438)],
            detail: serde_json::Map::new(),
        };
        let mut summary = Summary::default();
        summary.add(&sample(&["connect", "total"]));
        summary.add(&sample(&["connect", "wait", "total"]));
        let names: Vec<&str> = summary.phases_ns.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["connect", "wait", "total"]);
        let failed = Outcome::Failed(probefleet_proto::name::FailureClass::Timeout);
        summary.add(&Sample { outcome: failed, ..sample(&["total"]) });
        assert_eq!(summary.counters["retransmissions"], 6, "of every attempt");
        assert_eq!(summary.values["mos_centi"], [438, 438], "of ok attempts");
    }
}
