//! What each agent saw in a stretch of time, for whoever asks on which evidence a service was Down.

use super::evidence::Windows;
use super::verdict::Attempts;
use crate::contract::model::Objective;
use crate::contract::period::Span;
use std::collections::BTreeMap;

impl Windows {
    /// The attempts of an objective in the windows that begin in a stretch, by the agents that made them. Those of
    /// spoiled cells count here too: it is what was seen, not what was believed.
    #[must_use]
    pub fn seen_by_agent(&self, objective: &Objective, stretch: Span) -> BTreeMap<&str, Attempts> {
        let mut seen: BTreeMap<&str, Attempts> = BTreeMap::new();
        for probe in &objective.probes {
            for series in self.of_probe(probe.as_str()) {
                let cells = series.cells_from(stretch.from_s);
                let cells = cells.take_while(|cell| cell.start_s < stretch.until_s);
                for cell in cells.filter(|cell| self.has_labels(cell.labels, &objective.agents)) {
                    seen.entry(self.agent_name(series.agent)).or_default().add(cell.counts);
                }
            }
        }
        seen
    }
}
