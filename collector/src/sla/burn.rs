//! How fast the budget of an open period is being used up: burn rates over pairs of a long and a short window.
//!
//! A rate of 1 uses up just the budget in just the period. A pair fires while both of its rates reach its factor: the long
//! window says that it matters, the short one that it still goes on. The factor is the rate at which the long window takes
//! its share of the period's budget, whatever the period's length, and never below 1 (Google, The Site Reliability Workbook,
//! chapter 5, "Multiwindow, Multi-Burn-Rate Alerts").
//!
//! A window is so much service time that is not excluded, up to the end of the last evaluation window: nights outside
//! service hours and maintenance make it neither shorter nor better. It reaches back over the period's beginning, because
//! whoever is to be woken does not care for the first of a month.

use super::measure::{Observation, Times};
use super::outlook::{self, Outlook};
use super::span::Spans;
use super::states::States;
use super::verdict::Seconds;
use crate::contract::model::{Measure, Objective};
use crate::contract::number::{self, Exact};
use crate::contract::period::Span;

/// A pair of windows, in s, and what per cent of the period's budget the long one takes at the rate at which it fires.
#[derive(Clone, Copy, Debug)]
struct Pair {
    long_s: u64,
    short_s: u64,
    budget_percent: u64,
}

/// The pairs of the Workbook, the fastest first. Its rates 14.4, 6 and 1 are these shares of a budget of 30 days.
const PAIRS: [Pair; 3] = [
    Pair { long_s: 3_600, short_s: 300, budget_percent: 2 },
    Pair { long_s: 21_600, short_s: 1_800, budget_percent: 5 },
    Pair { long_s: 259_200, short_s: 21_600, budget_percent: 10 },
];

/// One pair of windows of an objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burn {
    /// The long window.
    pub long: Rate,
    /// The short one.
    pub short: Rate,
    /// The pair fires while both rates are at least this.
    pub factor: Exact,
    /// In how much more eligible time the budget is gone at the rate of the long window, in s: zero when it is gone, `None`
    /// when it lasts until the period's end.
    pub gone_in_s: Option<u64>,
}

/// How fast the budget was used in one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Length of the window, in s of eligible time.
    pub window_s: u64,
    /// So many times as fast as it would last for the period; `None` where nothing that counts is known.
    pub rate: Option<Exact>,
    /// Enough of the window is known, by the objective's floor.
    pub covered: bool,
}

/// What was seen in the windows that burn rates are of; nothing where an objective has none.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// The shortest first.
    stretches: Vec<Stretch>,
}

/// What was seen in one window.
#[derive(Clone, Debug)]
struct Stretch {
    length_s: u64,
    time: Spans,
    seconds: Seconds,
    /// Counted attempts, and those of them that may be good.
    all: u64,
    good: u64,
}

/// The burn rates of an objective while its period is open, as far as that has begun; none without a budget.
pub(super) fn burn(objective: &Objective, seen: &Observation, outlook: &Outlook) -> Vec<Burn> {
    let whole_s = seen.seconds.eligible + seen.seconds.remaining.unwrap_or(0);
    let promise = outlook::promise(objective).filter(|_| has_budget(&objective.measure));
    let Some(promise) = promise.filter(|_| seen.seconds.eligible > 0) else { return Vec::new() };
    let share = promise.budget(whole_s) / number::whole(whole_s);
    if share <= number::whole(0) {
        return Vec::new();
    }
    let budget = promise.budget(outlook.all);
    let left = &budget - number::whole(outlook.bad_so_far);
    let rate = |window_s| seen.recent.rate(objective, window_s, &share);
    let burn = |pair: Pair| {
        let long = rate(pair.long_s);
        let used_a_second = |rate: &Exact| rate * &budget / number::whole(whole_s);
        let gone_in_s = long.rate.as_ref().and_then(|rate| seconds_of(&left, &used_a_second(rate)));
        Burn {
            factor: pair.factor(whole_s),
            gone_in_s: gone_in_s.filter(|s| *s == 0 || *s < seen.seconds.remaining.unwrap_or(0)),
            short: rate(pair.short_s),
            long,
        }
    };
    pairs_of(whole_s).map(burn).collect()
}

/// The length of a window as people write it: `5m`, `6h`, `3d`.
#[must_use]
pub fn length_text(window_s: u64) -> String {
    match window_s {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s => probefleet_proto::units::seconds_text(s),
    }
}

/// The pairs of a period with so much eligible time: none whose long window is longer.
fn pairs_of(whole_s: u64) -> impl Iterator<Item = Pair> {
    PAIRS.into_iter().filter(move |pair| pair.long_s <= whole_s)
}

/// The longest window that is looked at of an objective in a period with so much eligible time.
pub(super) fn longest_s(objective: &Objective, whole_s: u64) -> Option<u64> {
    let pairs = pairs_of(whole_s).filter(|_| has_budget(&objective.measure));
    pairs.map(|pair| pair.long_s.max(pair.short_s)).max()
}

/// How long something lasts, in whole seconds; `None` where it never ends.
fn seconds_of(left: &Exact, used_a_second: &Exact) -> Option<u64> {
    let zero = number::whole(0);
    if *left <= zero {
        return Some(0);
    }
    let seconds = (*used_a_second > zero).then(|| left / used_a_second)?;
    u64::try_from(seconds.floor().to_integer()).ok()
}

/// So much may go wrong, by the second or by the attempt.
fn has_budget(measure: &Measure) -> bool {
    match measure {
        Measure::Availability
        | Measure::Downtime
        | Measure::Success
        | Measure::Within { .. }
        | Measure::Percentile { .. }
        | Measure::Ratio(_) => true,
        Measure::LongestOutage
        | Measure::Outages
        | Measure::Mean { .. }
        | Measure::MeanSuccess { .. }
        | Measure::GoodDays { .. } => false,
    }
}

// === impl Pair ===

impl Pair {
    /// The rate at which the long window takes its share of the budget of so many seconds; where that is below 1, in
    /// periods that are short, it is 1: at a lower rate the budget lasts for the period, and nobody is to be woken.
    fn factor(self, whole_s: u64) -> Exact {
        let share = number::whole(self.budget_percent) / number::whole(100);
        (share * number::whole(whole_s) / number::whole(self.long_s)).max(number::whole(1))
    }
}

// === impl Burn ===

impl Burn {
    /// Too little is known of a window: the pair neither fires nor does it give the all-clear.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        [&self.long, &self.short].iter().any(|rate| !rate.covered || rate.rate.is_none())
    }

    /// Both windows use the budget too fast.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        let reached = |rate: &Rate| rate.rate.as_ref().is_some_and(|rate| *rate >= self.factor);
        !self.is_frozen() && reached(&self.long) && reached(&self.short)
    }
}

// === impl Recent ===

impl Recent {
    /// The windows of an objective that end at an instant; none where the period is over or nothing has a budget.
    pub(super) fn new(objective: &Objective, times: &Times, until_s: i64) -> Self {
        let remaining = times.remaining.as_ref().filter(|_| has_budget(&objective.measure));
        let Some(remaining) = remaining else { return Self::default() };
        let whole_s = times.eligible.seconds() + remaining.seconds();
        let mut lengths: Vec<u64> =
            pairs_of(whole_s).flat_map(|pair| [pair.long_s, pair.short_s]).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let past = times.service.within(Span { until_s, ..Span::ALWAYS });
        let stretch = |length_s| Stretch {
            length_s,
            time: past.last_seconds(length_s),
            seconds: Seconds::default(),
            all: 0,
            good: 0,
        };
        Self { stretches: lengths.into_iter().map(stretch).collect() }
    }

    /// True when some window reaches into an evaluation window.
    pub(super) fn reaches(&self, window: Span) -> bool {
        self.stretches.last().is_some_and(|longest| longest.time.overlaps(window))
    }

    /// How many evaluation windows, from one on, lie alike to all windows.
    pub(super) fn alike(&self, window: Span) -> u64 {
        self.stretches.iter().map(|stretch| stretch.time.lie(window).1).min().unwrap_or(u64::MAX)
    }

    /// Adds the attempts of an evaluation window: to all that reach into it, because attempts are not cut.
    pub(super) fn add(&mut self, window: Span, all: u64, good: u64) {
        for stretch in self.stretches.iter_mut().filter(|it| it.time.overlaps(window)) {
            stretch.all += all;
            stretch.good += good;
        }
    }

    /// Takes what is known of the time, and what of it was Down.
    pub(super) fn settle(&mut self, known: &Spans, down: &Spans) {
        for stretch in &mut self.stretches {
            let Some(hull) = stretch.time.hull() else { continue };
            let states = States {
                eligible: stretch.time.clone(),
                excluded: Spans::EMPTY,
                known: stretch.time.meet(&known.within(hull)),
                down: stretch.time.meet(&down.within(hull)),
            };
            stretch.seconds = states.seconds(Span::ALWAYS);
        }
    }

    /// How fast a budget of so large a share was used in a window. Before there was service for so long, the rest of the
    /// window counts as not known.
    fn rate(&self, objective: &Objective, window_s: u64, share: &Exact) -> Rate {
        let stretch = self.stretches.iter().find(|stretch| stretch.length_s == window_s);
        let Some(stretch) = stretch else { return Rate { window_s, rate: None, covered: false } };
        let Seconds { up, down, .. } = stretch.seconds;
        let errors = match objective.measure.is_of_time() {
            true => number::ratio(down, up + down),
            // A report may claim more samples than attempts; it is not believed beyond them.
            false => number::ratio(stretch.all.saturating_sub(stretch.good), stretch.all),
        };
        let known = number::ratio(up + down, window_s);
        Rate {
            window_s,
            rate: errors.map(|errors| errors / share),
            covered: known.is_some_and(|known| known >= objective.unknown.coverage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_takes_the_same_share_of_every_period() {
        for (days, factors) in [
            (30, vec!["14.4", "6", "1"]),
            (31, vec!["14.88", "6.2", "1.033333"]),
            (28, vec!["13.44", "5.6", "1"]),
            (90, vec!["43.2", "18", "3"]),
            // A day has no window of three days; 0.48 and 0.2 would wake somebody for a budget that lasts.
            (1, vec!["1", "1"]),
        ] {
            let whole_s = days * 86_400;
            let found: Vec<String> =
                pairs_of(whole_s).map(|pair| number::short(&pair.factor(whole_s))).collect();
            assert_eq!(found, factors, "{days} days");
        }
        assert_eq!(pairs_of(3_599).count(), 0);
    }

    #[test]
    fn lengths_are_as_people_write_them() {
        let texts = [300, 1_800, 3_600, 21_600, 259_200].map(length_text);
        assert_eq!(texts, ["5m", "30m", "1h", "6h", "3d"]);
    }

    #[test]
    fn a_budget_lasts_for_whole_seconds() {
        let exact = |n: i64, d: i64| Exact::new(n.into(), d.into());
        assert_eq!(seconds_of(&exact(10, 1), &exact(3, 1)), Some(3));
        assert_eq!(seconds_of(&exact(10, 1), &exact(0, 1)), None);
        assert_eq!(seconds_of(&exact(0, 1), &exact(0, 1)), Some(0));
        assert_eq!(seconds_of(&exact(-1, 1), &exact(3, 1)), Some(0));
    }
}
