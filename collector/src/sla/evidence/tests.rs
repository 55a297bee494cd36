use super::series::{Added, Cell, Series, Within};
use super::{Counts, Kept, Labels, Observed, Phases, Total};
use probefleet_proto::histogram::Histogram;
use proptest::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;

struct Nothing;

impl Phases for Nothing {
    fn at_most(&self, _: &str, _: u64) -> Option<Within> {
        None
    }

    fn histogram(&self, _: &str) -> Option<Cow<'_, Histogram>> {
        None
    }

    fn total(&self, _: &str) -> Option<Total> {
        None
    }

    fn counter(&self, _: &str) -> u64 {
        0
    }
}

fn cell(start_s: i64, ok: u32, content: u8) -> Cell {
    let observed = Observed {
        agent: "a",
        labels: &Labels::new(),
        probe: "p",
        spec: [0; 16],
        start_s,
        width_s: 60,
        interval_s: 60,
        counts: Counts { ok, ..Counts::default() },
        flagged: false,
        content: [content; 16],
        phases: &Nothing,
    };
    Cell::new(&observed, 0)
}

/// What a verdict holds of a cell in memory.
#[test]
fn a_cell_with_one_threshold_fits_in_its_budget() {
    assert!(size_of::<Cell>() + size_of::<Within>() <= 64, "{}", size_of::<Cell>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Chunks or not, a series is a sorted map of starts.
    #[test]
    fn a_series_is_a_sorted_map(
        starts in prop::collection::vec((0_i64..3_000, 0_u8..3), 0..4_000), cut in 0_i64..3_000,
    ) {
        let mut series = Series::new(0, 0, [0; 16]);
        let mut model: BTreeMap<i64, (u8, bool)> = BTreeMap::new();
        for (start, content) in starts {
            let within = [Within::exactly(content.into()), Within::exactly(7)];
            // Of every length, and none.
            let samples = [vec![content; usize::from(content)], vec![]];
            let added = series.add(
                cell(start, 1, content),
                Kept { within: &within, samples: &samples, columns: &[] },
            );
            let expected = match model.get_mut(&start) {
                None => {
                    model.insert(start, (content, false));
                    Added::New
                }
                Some(known) if known.0 == content => Added::Duplicate,
                Some(known) => {
                    *known = (known.0.min(content), true);
                    Added::Conflict
                }
            };
            prop_assert_eq!(added, expected);
        }
        series.forget_before(cut);
        model.retain(|start, _| *start >= cut);
        prop_assert_eq!(series.len(), model.len());
        let held: Vec<_> = series.cells().map(|held| {
            prop_assert!(held.samples(1).is_empty() && held.samples(2).is_empty());
            let (cell, within) = (held.cell, held.within.iter().map(|w| w.certain).collect());
            Ok((cell.start_s, cell.content[0], cell.conflicting, within, held.samples(0).to_vec()))
        }).collect::<Result<_, TestCaseError>>()?;
        let expected: Vec<_> = model.iter().map(|(start, (content, conflict))| {
            let (within, samples) = (vec![u32::from(*content), 7], vec![*content; usize::from(*content)]);
            (*start, *content, *conflict, within, samples)
        }).collect();
        prop_assert_eq!(held, expected);
    }
}
