//! Parts of a period that are judged one by one before the whole is: the intervals of a mean success, and local days.
//!
//! A window belongs to the part in which it begins. Intervals are counted from the period's start, each that has an
//! eligible second once; one without attempts counts as all of them ok. Of days, those with a counted attempt count.

use super::evidence::Reach;
use super::span::Spans;
use super::verdict::{Intervals, Share};
use crate::contract::model::Measure;
use crate::contract::number::{self, Exact};
use crate::contract::period::Span;
use std::collections::BTreeMap;

/// How a period is cut.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// Not at all.
    Whole,
    /// Into intervals of so many seconds from an instant on.
    Intervals { from_s: i64, every_s: i64 },
    /// Into local dates, in order.
    Dates(Vec<Span>),
}

/// What was counted in each part.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    /// Parts of which some second has been eligible.
    pub(super) parts: u64,
    /// Those of them with a counted attempt, by number.
    attempted: BTreeMap<i64, Tally>,
}

/// The counted attempts of one part, and how many of them are good.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    all: u64,
    good: Reach,
}

// === impl Parts ===

impl Parts {
    /// The parts that a measure asks for; `dates` are those of the period.
    pub(super) fn of(measure: &Measure, period: Span, dates: impl FnOnce() -> Vec<Span>) -> Self {
        match measure {
            Measure::MeanSuccess { every_s } => Self::Intervals {
                from_s: period.from_s,
                every_s: i64::try_from(*every_s).unwrap_or(i64::MAX).max(1),
            },
            Measure::GoodDays { .. } => Self::Dates(dates()),
            Measure::Availability
            | Measure::Downtime
            | Measure::LongestOutage
            | Measure::Outages
            | Measure::Success
            | Measure::Within { .. }
            | Measure::Percentile { .. }
            | Measure::Mean { .. }
            | Measure::Ratio(_) => Self::Whole,
        }
    }

    /// The number of the part in which an instant lies.
    pub(super) fn part_of(&self, instant_s: i64) -> Option<i64> {
        match self {
            Self::Whole => None,
            Self::Intervals { from_s, every_s } => Some((instant_s - from_s).div_euclid(*every_s)),
            Self::Dates(dates) => {
                let date = dates.partition_point(|date| date.until_s <= instant_s);
                dates.get(date).filter(|date| date.from_s <= instant_s)?;
                i64::try_from(date).ok()
            }
        }
    }

    /// How many windows of that width, from one that begins at an instant on, begin in the same part.
    pub(super) fn alike(&self, instant_s: i64, width_s: i64) -> u64 {
        let until_s = match self {
            Self::Whole => return u64::MAX,
            Self::Intervals { from_s, every_s } => {
                from_s + ((instant_s - from_s).div_euclid(*every_s) + 1).saturating_mul(*every_s)
            }
            Self::Dates(dates) => {
                let date = dates.partition_point(|date| date.until_s <= instant_s);
                let next = |date: &Span| {
                    if date.from_s > instant_s { date.from_s } else { date.until_s }
                };
                dates.get(date).map_or(i64::MAX, next)
            }
        };
        until_s.abs_diff(instant_s).div_ceil(width_s.unsigned_abs().max(1))
    }

    /// How many parts have a second of that time.
    pub(super) fn begun(&self, time: &Spans) -> u64 {
        let (mut count, mut next) = (0, i64::MIN);
        for span in time.iter() {
            let ends = [span.from_s, span.until_s - 1].map(|instant_s| self.part_of(instant_s));
            let [Some(first), Some(last)] = ends else { continue };
            let first = first.max(next);
            if first <= last {
                count += last.abs_diff(first) + 1;
                next = last + 1;
            }
        }
        count
    }
}

// === impl Tallies ===

impl Tallies {
    /// Adds so many attempts to a part, and how many of them are good.
    pub(super) fn add(&mut self, part: i64, all: u64, good: Reach) {
        if all > 0 {
            let tally = self.attempted.entry(part).or_default();
            tally.all += all;
            tally.good.add(good);
        }
    }

    /// The mean share of good attempts; `None` when there was no attempt at all.
    pub(super) fn mean(&self) -> Option<Intervals> {
        let attempted = u64::try_from(self.attempted.len()).ok().filter(|count| *count > 0)?;
        let all = self.parts.max(attempted);
        let empty = all - attempted;
        // Intervals with as many attempts have one denominator, so that sums stay short.
        let mut by_attempts: BTreeMap<u64, u128> = BTreeMap::new();
        for tally in self.attempted.values() {
            *by_attempts.entry(tally.all).or_default() += u128::from(tally.good.certain);
        }
        let sums: Vec<Exact> =
            by_attempts.into_iter().filter_map(|(all, good)| number::ratio(good, all)).collect();
        let mean = (sum(&sums) + number::whole(empty)) / number::whole(all);
        Some(Intervals { exact: mean.clone(), mean, all, empty })
    }

    /// The share of the days with an attempt on which a share of them is good.
    pub(super) fn good_days(&self, at: &Exact) -> Option<Share> {
        let days = |good: fn(&Reach) -> u64| {
            let enough = |tally: &&Tally| {
                number::ratio(good(&tally.good), tally.all).is_some_and(|share| share >= *at)
            };
            u64::try_from(self.attempted.values().filter(enough).count()).unwrap_or(u64::MAX)
        };
        let all = u64::try_from(self.attempted.len()).unwrap_or(u64::MAX);
        Share::new(days(|good| good.certain), days(|good| good.possible), all)
    }
}

/// The sum of fractions, by halves: the long denominators meet only at the end.
fn sum(fractions: &[Exact]) -> Exact {
    match fractions {
        [] => number::whole(0),
        [one] => one.clone(),
        several => {
            let (left, right) = several.split_at(several.len() / 2);
            sum(left) + sum(right)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(pairs: &[(i64, i64)]) -> Spans {
        Spans::from_sorted(pairs.iter().map(|&(from_s, until_s)| Span { from_s, until_s }))
    }

    #[test]
    fn an_interval_is_counted_once_however_it_is_cut() {
        let parts = Parts::Intervals { from_s: 50, every_s: 100 };
        assert_eq!([49, 50, 149, 150].map(|s| parts.part_of(s)), [-1, 0, 0, 1].map(Some));
        for (time, count) in [
            (&[][..], 0),
            (&[(50, 51)], 1),
            (&[(50, 150)], 1),
            (&[(50, 151)], 2),
            (&[(60, 70), (80, 90)], 1),
            (&[(60, 70), (140, 160), (180, 190)], 2),
            (&[(60, 70), (900, 910)], 2),
        ] {
            assert_eq!(parts.begun(&spans(time)), count, "{time:?}");
        }
        assert_eq!(Parts::Whole.begun(&spans(&[(0, 10)])), 0);
    }

    #[test]
    fn a_date_is_the_part_of_its_seconds() {
        let span = |from_s, until_s| Span { from_s, until_s };
        let parts = Parts::Dates(vec![span(0, 10), span(10, 19), span(19, 30)]);
        assert_eq!(
            [-1, 0, 9, 10, 18, 19, 29, 30].map(|s| parts.part_of(s)),
            [None, Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]
        );
    }

    /// T17: of 10 of 100, 0 of 900 and nothing at all.
    #[test]
    fn an_empty_interval_has_no_errors() {
        let reach = |count| Reach { certain: count, possible: count };
        let mut tallies = Tallies { parts: 3, ..Tallies::default() };
        assert_eq!(tallies.mean(), None);
        tallies.add(0, 60, reach(50));
        tallies.add(0, 40, reach(40));
        tallies.add(1, 900, reach(900));
        tallies.add(2, 0, reach(0));
        let mean = Exact::new(29.into(), 30.into());
        let expected = Intervals { exact: mean.clone(), mean, all: 3, empty: 1 };
        assert_eq!(tallies.mean(), Some(expected));
    }

    #[test]
    fn fractions_of_all_denominators_add_up() {
        let halves: Vec<Exact> =
            (1..=200_u32).filter_map(|n| number::ratio(1, n * (n + 1))).collect();
        assert_eq!(sum(&halves), Exact::new(200.into(), 201.into()));
    }
}
