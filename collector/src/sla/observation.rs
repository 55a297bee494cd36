//! What was seen of one objective, and the value that it comes to: its seconds by state, its outages, its attempts.
//!
//! A percentile is that of all counted attempts of all windows, agents and probes together: samples are merged, never
//! percentiles averaged. Whether it keeps its target is counted, not read from the merged histogram: `<= T` holds when at
//! least ⌈q·n⌉ attempts are at most T (RFC 2330 §11.3), and failed ones are worse than any T (RFC 2681 §4.1). Where high is
//! good, as of a MOS, `>= T` holds when at least ⌈q·n⌉ attempts are at least T: ranks count from the good end.

use super::burn::Recent;
use super::counted::Counted;
use super::measure::Times;
use super::parts::Tallies;
use super::reports::Source;
use super::span::Spans;
use super::states::States;
use super::uncertainty::rank_interval;
use super::verdict::{Attempts, Mean, Measured, Outage, Percentile, Seconds, Share};
use crate::contract::model::{ExclusionRule, Good, Measure, Objective, UnknownAs};
use crate::contract::number::{self, Exact};
use probefleet_proto::units::NS_PER_S;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Observation {
    pub(super) seconds: Seconds,
    pub(super) states: States,
    /// The outages, as far as they lie in the period.
    pub(super) outages: Vec<Outage>,
    /// Down time in or out of the period.
    pub(super) down: Spans,
    /// The same if all that is Unknown or to come is Down; empty once the period is over.
    pub(super) down_at_worst: Spans,
    /// Seconds that count as Up, but are Down if all that is Unknown or to come is; zero once the period is over.
    pub(super) undecided_s: u64,
    /// Service time to come that is excluded.
    pub(super) excluded_to_come_s: u64,
    /// Local days whose own value misses the target, where a credit counts them.
    pub(super) failed_days: u64,
    pub(super) attempts: Attempts,
    /// Attempts that count for the measure.
    pub(super) counted: Counted,
    /// The same by the parts of the period that are judged one by one.
    pub(super) tallies: Tallies,
    /// Those of them that a later window may still turn into attempts of an outage, which do not count.
    pub(super) revocable: Counted,
    /// What was seen just before the as-of instant, in or out of the period.
    pub(super) recent: Recent,
    pub(super) flagged: u64,
    pub(super) conflicts: u64,
    /// Agents with a window in the period.
    pub(super) agents: BTreeSet<u32>,
    /// Specifications of each probe.
    pub(super) specs: BTreeMap<usize, BTreeSet<[u8; 16]>>,
    /// Latest interval of each agent and probe, in s.
    pub(super) intervals_s: BTreeMap<Source, u32>,
}

/// How many of so many attempts a percentile asks for: ⌈q·n⌉, and one at least.
fn needed(share: &Exact, all: u64) -> u64 {
    let rank = (share * number::whole(all)).ceil().to_integer();
    u64::try_from(rank).unwrap_or(all).max(1)
}

/// Seconds in the unit of durations.
pub(super) fn in_ns(seconds: u64) -> Exact {
    number::whole(seconds) * number::whole(NS_PER_S)
}

// === impl Observation ===

impl Observation {
    /// Nothing was seen: all of the time is Unknown.
    pub(super) fn unseen(times: &Times) -> Self {
        let (eligible, remaining) =
            (times.eligible.seconds(), times.remaining.as_ref().map(Spans::seconds));
        let excluded = times.excluded.seconds();
        let seconds =
            Seconds { eligible, unknown: eligible, excluded, remaining, ..Seconds::default() };
        let states = States {
            eligible: times.eligible.clone(),
            excluded: times.excluded.clone(),
            ..States::default()
        };
        let excluded_to_come_s = times.excluded_to_come_s;
        Self { seconds, states, excluded_to_come_s, ..Self::default() }
    }

    /// Most distinct specifications of one probe.
    pub(super) fn specs(&self) -> u64 {
        let specs = self.specs.values().map(BTreeSet::len).max().unwrap_or(0);
        u64::try_from(specs).unwrap_or(u64::MAX)
    }

    /// What is compared with the target; `None` when there is nothing to measure by.
    pub(super) fn measured(&self, objective: &Objective) -> Option<Measured> {
        self.as_measured(objective).map(|measured| measured.rounded(objective))
    }

    /// What is compared where nothing is rounded.
    fn as_measured(&self, objective: &Objective) -> Option<Measured> {
        let (counted, good) = (&self.counted, self.counted.of_target());
        match &objective.measure {
            Measure::Availability => {
                let (up, whole) = self.up_and_whole(objective);
                Share::new(up, up, whole).map(Measured::Share)
            }
            // Of time of which nothing is known, nothing is measured.
            Measure::Downtime => {
                let (_, whole) = self.up_and_whole(objective);
                (whole > 0).then(|| Measured::Amount(in_ns(self.down_s(objective))))
            }
            Measure::LongestOutage => {
                let amount = || Measured::Amount(in_ns(self.longest_outage_s()));
                self.is_known().then(amount)
            }
            Measure::Outages => {
                self.is_known().then(|| Measured::Amount(number::whole(self.outages.len())))
            }
            Measure::Success | Measure::Within { .. } => {
                Share::new(good.certain, good.possible, counted.all).map(Measured::Share)
            }
            Measure::Percentile { share, .. } if counted.all > 0 => {
                let needed = needed(share, counted.all);
                Some(Measured::Percentile(Percentile {
                    good: good.certain,
                    good_most: good.possible,
                    all: counted.all,
                    needed,
                    value: counted.value_at(objective.measure.scale().good, needed),
                    rank_interval: rank_interval(share, counted.all),
                }))
            }
            Measure::Percentile { .. } => None,
            Measure::Mean { .. } => {
                let total = counted.samples.total;
                let mean = number::ratio(total.sum_ns, total.samples)?;
                let (sum, samples) = (total.sum_ns, total.samples);
                Some(Measured::Mean(Mean { sum, samples, mean }))
            }
            Measure::Ratio(ratio) => {
                let counted_ones = match ratio.good() {
                    Good::High => good.certain,
                    Good::Low => counted.all.saturating_sub(good.certain),
                };
                Share::new(counted_ones, counted_ones, counted.all).map(Measured::Share)
            }
            Measure::MeanSuccess { .. } => self.tallies.mean().map(Measured::Intervals),
            Measure::GoodDays { at, .. } => self.tallies.good_days(at).map(Measured::Share),
        }
    }

    /// Some second of the period is Up or Down.
    fn is_known(&self) -> bool {
        self.seconds.up + self.seconds.down > 0
    }

    /// The Down time of the longest outage, in s.
    pub(super) fn longest_outage_s(&self) -> u64 {
        self.outages.iter().map(|outage| outage.seconds).max().unwrap_or(0)
    }

    /// Down time in the period, in s: with what is Unknown where that counts as Down.
    pub(super) fn down_s(&self, objective: &Objective) -> u64 {
        let Seconds { down, unknown, .. } = self.seconds;
        down + if objective.unknown.counts_as == UnknownAs::Down { unknown } else { 0 }
    }

    /// The seconds that an availability adds to Up and to the whole for excluded time that has passed.
    pub(super) fn excluded_as_up_s(&self, objective: &Objective) -> u64 {
        if objective.exclusions == ExclusionRule::AsUp { self.seconds.excluded } else { 0 }
    }

    fn up_and_whole(&self, objective: &Objective) -> (u64, u64) {
        let Seconds { up, down, unknown: x, .. } = self.seconds;
        let up = up + self.excluded_as_up_s(objective);
        match objective.unknown.counts_as {
            UnknownAs::Removed => (up, up + down),
            UnknownAs::Up => (up + x, up + down + x),
            UnknownAs::Down => (up, up + down + x),
        }
    }

    /// Most attempts that may still be started in the period, by the intervals seen so far.
    pub(super) fn attempts_to_come(&self, to_come: &Spans) -> u64 {
        let of_interval = |interval_s: &u32| -> u64 {
            to_come.iter().map(|span| span.seconds().div_ceil(u64::from(*interval_s))).sum()
        };
        self.intervals_s.values().map(of_interval).sum()
    }

    /// Seconds that may still become Down: what is Unknown, to come, or Up only as long as nothing else is known.
    pub(super) fn undecided_at_most_s(&self) -> u64 {
        self.seconds.unknown + self.seconds.remaining.unwrap_or(0) + self.undecided_s
    }

    /// Bounds of the true Down time: sampling sees neither the beginning nor the end of an outage exactly.
    pub(super) fn downtime_bracket_s(&self, width_s: u32) -> Option<[u64; 2]> {
        let step_s = u64::from(self.intervals_s.values().copied().fold(width_s, u32::max));
        let least = self.outages.iter().map(|outage| outage.seconds.saturating_sub(step_s)).sum();
        let most = self.outages.iter().map(|outage| outage.seconds + step_s).sum();
        (!self.outages.is_empty()).then_some([least, most])
    }
}
