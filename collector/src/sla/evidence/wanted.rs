//! What an agreement wants of the cells of a probe: counts at its thresholds, and the samples that its values are made of.

use super::series::Within;
use super::{Keep, Observed, Phases};
use crate::contract::model::{Good, Measure, Objective, Scale};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// What the evidence of an agreement asks [`Phases`] of the cells of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Phases and thresholds, as [`Phases::at_most`] takes them.
    pub thresholds: BTreeSet<(String, u64)>,
    /// Phases of which the histogram is asked.
    pub buckets: BTreeSet<String>,
    /// Phases of which the number and sum of samples is asked.
    pub totals: BTreeSet<String>,
    /// Counters.
    pub counters: BTreeSet<String>,
}

/// A probe that an objective uses, and what is kept of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) thresholds: Vec<(String, u64)>,
    pub(super) columns: Vec<(String, Keep)>,
}

/// Where in the cells of a probe the figures of an objective stand.
#[derive(Clone, Debug, Default)]
pub(in crate::sla) struct Places {
    /// Of each of its thresholds.
    pub(in crate::sla) thresholds: Vec<Option<usize>>,
    /// Of the samples that its value is made of.
    pub(in crate::sla) column: Option<(Keep, usize)>,
}

/// The samples that an objective's value is made of.
pub(super) fn column_of(objective: &Objective) -> Option<(String, Keep)> {
    match &objective.measure {
        Measure::Percentile { phase, .. } => Some((phase.clone(), Keep::Buckets)),
        Measure::Mean { phase } => Some((phase.clone(), Keep::Total)),
        Measure::Ratio(ratio) => Some((String::new(), Keep::Ratio(*ratio))),
        Measure::Availability
        | Measure::Downtime
        | Measure::LongestOutage
        | Measure::Outages
        | Measure::Success
        | Measure::Within { .. }
        | Measure::MeanSuccess { .. }
        | Measure::GoodDays { .. } => None,
    }
}

// === impl Wanted ===

impl Wanted {
    /// What a cell has on the good side of each threshold: never more than its ok attempts, whatever its sender claims.
    pub(super) fn within(&self, observed: &Observed<'_>) -> Vec<Within> {
        let most = observed.counts.ok;
        let of_threshold = |(phase, at_most): &(String, u64)| {
            let low = observed.phases.at_most(phase, *at_most).unwrap_or_default();
            let within = match Scale::of_samples(phase).good {
                Good::Low => low,
                Good::High => {
                    // Of the samples themselves: an ok attempt without one is not good.
                    let all = observed.phases.total(phase).unwrap_or_default().samples;
                    let all = u32::try_from(all).unwrap_or(u32::MAX);
                    Within {
                        certain: all.saturating_sub(low.possible),
                        possible: all.saturating_sub(low.certain),
                    }
                }
            };
            Within { certain: within.certain.min(most), possible: within.possible.min(most) }
        };
        self.thresholds.iter().map(of_threshold).collect()
    }

    /// All that [`Self::within`] and [`Self::samples`] ask.
    pub(super) fn asked(&self) -> Asked {
        let mut asked = Asked::default();
        for (phase, at_most) in &self.thresholds {
            asked.thresholds.insert((phase.clone(), *at_most));
            if Scale::of_samples(phase).good == Good::High {
                asked.totals.insert(phase.clone());
            }
        }
        for (phase, keep) in &self.columns {
            match keep {
                Keep::Buckets => asked.buckets.extend([phase.clone()]),
                Keep::Total => asked.totals.extend([phase.clone()]),
                Keep::Ratio(ratio) => {
                    let names = RefCell::new(&mut asked.counters);
                    // It looks at all that it is made of, because there is one of each.
                    let _figures = ratio.good_of_all(1, |name| {
                        names.borrow_mut().insert(name.to_owned());
                        1
                    });
                }
            }
        }
        asked
    }

    /// What of [`Self::samples`] is known of several cells together.
    pub(super) fn merged(&self, samples: &dyn Phases) -> Vec<Option<Vec<u8>>> {
        let of_column = |(phase, keep): &(String, Keep)| {
            let mut bytes = Vec::new();
            match keep {
                Keep::Buckets => samples.write_buckets(phase, &mut bytes),
                Keep::Total => samples.total(phase).into_iter().for_each(|it| it.write(&mut bytes)),
                // Bounded cell by cell.
                Keep::Ratio(_) => return None,
            }
            Some(bytes)
        };
        self.columns.iter().map(of_column).collect()
    }

    pub(super) fn samples(&self, observed: &Observed<'_>) -> Vec<Vec<u8>> {
        self.columns.iter().map(|(phase, keep)| keep.encode(observed, phase)).collect()
    }
}
