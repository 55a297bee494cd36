//! Attempts that count for a measure, and how many of them are on the good side of its thresholds.

use super::evidence::{Places, Pool, Reach};
use super::reports::Cells;
use super::verdict::Attempts;
use crate::contract::model::{Failures, Good, Measure, Objective};

/// Attempts that count for the measure.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub(super) all: u64,
    /// Those on the good side of each of the objective's thresholds; the ok ones, where it has none.
    pub(super) good: Vec<Reach>,
    /// The samples that the value is made of.
    pub(super) samples: Pool,
}

// === impl Counted ===

impl Counted {
    /// The attempts on the good side of the target.
    pub(super) fn of_target(&self) -> Reach {
        self.reach(0)
    }

    /// The attempts on the good side of a threshold.
    pub(super) fn reach(&self, threshold: usize) -> Reach {
        self.good.get(threshold).copied().unwrap_or_default()
    }

    /// Counts attempts, and their cells where the measure is of those.
    pub(super) fn count(
        &mut self,
        objective: &Objective,
        (attempts, cells): (&Attempts, Cells<'_>),
        places: Option<&Places>,
    ) {
        if matches!(objective.measure, Measure::Ratio(_)) {
            let mut counted = Pool::default();
            if let Some(column) = places.and_then(|places| places.column) {
                cells.stretches().for_each(|stretch| stretch.pool(&mut counted, column));
            }
            self.all += counted.all;
            self.add(0, Reach { certain: counted.good, possible: counted.good });
            return;
        }
        let Attempts { ok, failed, .. } = *attempts;
        let compared = match objective.measure {
            Measure::Within { .. } | Measure::Percentile { .. } | Measure::GoodDays { .. } => true,
            Measure::Availability
            | Measure::Downtime
            | Measure::LongestOutage
            | Measure::Outages
            | Measure::Success
            | Measure::Mean { .. }
            | Measure::Ratio(_)
            | Measure::MeanSuccess { .. } => false,
        };
        self.all += match objective.failures {
            Failures::Exclude if compared => ok,
            Failures::Exclude | Failures::AsWorst => ok + failed,
        };
        if !compared {
            self.add(0, Reach { certain: ok, possible: ok });
            return;
        }
        let thresholds = places.map_or(&[][..], |places| &places.thresholds);
        for (number, place) in thresholds.iter().enumerate() {
            let Some(place) = *place else { continue };
            let mut reach = Reach::default();
            cells.stretches().for_each(|stretch| reach.add(stretch.reach(place)));
            self.add(number, reach);
        }
    }

    fn add(&mut self, threshold: usize, more: Reach) {
        if self.good.len() <= threshold {
            self.good.resize(threshold + 1, Reach::default());
        }
        if let Some(reach) = self.good.get_mut(threshold) {
            reach.add(more);
        }
    }

    /// The sample of that rank from the good end, as the bad end of its histogram bucket.
    pub(super) fn value_at(&self, good: Good, rank: u64) -> Option<u64> {
        let samples = &self.samples;
        match good {
            Good::Low => samples.at_rank(rank).map(|(_, highest)| highest),
            Good::High => {
                let from_below =
                    (samples.samples() + 1).checked_sub(rank).filter(|rank| *rank > 0)?;
                samples.at_rank(from_below).map(|(lowest, _)| lowest)
            }
        }
    }

    /// Adds the samples of cells.
    pub(super) fn pool(&mut self, cells: Cells<'_>, places: Option<&Places>) {
        if let Some(column) = places.and_then(|places| places.column) {
            cells.stretches().for_each(|stretch| stretch.pool(&mut self.samples, column));
        }
    }
}
