//! What failed for whom: counts of failure classes and wire codes by window and agent, as long as there is room.

use crate::contract::period::Span;
use std::collections::BTreeMap;

/// Most windows of agents in which something failed that are kept of an objective, about 2 MiB: two and a half days of
/// 10 s windows in which one agent never succeeds. The oldest go first; their number of failures stays in the evidence.
const PLACES_MAX: usize = 20_000;
/// Most different failures that are told apart: the outcome table has some sixty, servers may invent more.
const KINDS_MAX: usize = 256;
/// Stands for every failure beyond [`KINDS_MAX`].
const OTHER: &str = "other";

/// Kinds of failure with how many attempts failed so, the most frequent first.
pub type Told = Vec<(String, u64)>;

/// The failures of one objective.
#[derive(Debug, Default)]
pub struct Failures {
    /// By the window's start and the agent's number: number and count of each kind.
    places: BTreeMap<(i64, u32), Vec<(u16, u32)>>,
    agents: Names,
    kinds: Names,
    /// Start of the latest window that was let go for want of room.
    forgotten_s: Option<i64>,
}

/// Names by number, in the order in which they came.
#[derive(Debug, Default)]
struct Names {
    numbers: BTreeMap<String, u32>,
    names: Vec<String>,
}

// === impl Failures ===

impl Failures {
    /// Adds attempts of an agent in a window (its start in s since 1970) that failed with this class and code.
    pub(super) fn add(&mut self, place: (i64, &str), failure: (&str, &str), count: u32) {
        let (start_s, agent) = place;
        let agent = self.agents.number(agent);
        let kind = self.kind(failure);
        let counts = self.places.entry((start_s, agent)).or_default();
        match counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known = known.saturating_add(count),
            None => counts.push((kind, count)),
        }
        while self.places.len() > PLACES_MAX {
            let oldest = self.places.pop_first().map(|((start_s, _), _)| start_s);
            self.forgotten_s = self.forgotten_s.max(oldest);
        }
    }

    /// The failures of a stretch.
    pub(super) fn told(&self, stretch: Span) -> Told {
        let mut sum: BTreeMap<u16, u64> = BTreeMap::new();
        for (_, counts) in self.within(stretch) {
            add_all(&mut sum, counts);
        }
        self.spell(sum)
    }

    /// The failures of a stretch by the agents that met them.
    pub(super) fn by_agent(&self, stretch: Span) -> BTreeMap<&str, Told> {
        let mut sums: BTreeMap<u32, BTreeMap<u16, u64>> = BTreeMap::new();
        for (agent, counts) in self.within(stretch) {
            add_all(sums.entry(agent).or_default(), counts);
        }
        sums.into_iter().map(|(agent, sum)| (self.agents.name(agent), self.spell(sum))).collect()
    }

    /// True when a window that begins at this instant or later had to be let go.
    pub(super) fn forgotten_since(&self, instant_s: i64) -> bool {
        self.forgotten_s.is_some_and(|forgotten_s| forgotten_s >= instant_s)
    }

    pub(super) fn forget_before(&mut self, instant_s: i64) {
        self.places = self.places.split_off(&(instant_s, 0));
    }

    fn within(&self, stretch: Span) -> impl Iterator<Item = (u32, &[(u16, u32)])> {
        let places = self.places.range((stretch.from_s, 0)..(stretch.until_s, 0));
        places.map(|((_, agent), counts)| (*agent, counts.as_slice()))
    }

    fn kind(&mut self, (class, code): (&str, &str)) -> u16 {
        let name = match code {
            "" => class.to_owned(),
            code => format!("{class} ({code})"),
        };
        let full = self.kinds.names.len() >= KINDS_MAX && !self.kinds.numbers.contains_key(&name);
        let number = self.kinds.number(if full { OTHER } else { &name });
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    fn spell(&self, sum: BTreeMap<u16, u64>) -> Told {
        let named = sum.into_iter().map(|(kind, count)| {
            let name = self.kinds.name(kind.into());
            (name.to_owned(), count)
        });
        let mut told: Told = named.collect();
        told.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        told
    }
}

fn add_all(sum: &mut BTreeMap<u16, u64>, counts: &[(u16, u32)]) {
    for (kind, count) in counts {
        *sum.entry(*kind).or_default() += u64::from(*count);
    }
}

// === impl Names ===

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        number
    }

    fn name(&self, number: u32) -> &str {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.names.get(index).map_or(OTHER, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_s: i64, until_s: i64) -> Span {
        Span { from_s, until_s }
    }

    #[test]
    fn failures_are_told_by_agent_and_kind() {
        let mut failures = Failures::default();
        failures.add((0, "berlin"), ("timeout", "wait"), 2);
        failures.add((10, "berlin"), ("status", "503"), 3);
        failures.add((10, "tokyo"), ("connect_timeout", ""), 1);
        failures.add((20, "tokyo"), ("timeout", "wait"), 7);
        let kinds = |told: &Told| {
            told.iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let told = failures.told(span(0, 20));
        assert_eq!(kinds(&told), "status (503) 3, timeout (wait) 2, connect_timeout 1");
        let by_agent = failures.by_agent(span(10, 30));
        assert_eq!(kinds(&by_agent["berlin"]), "status (503) 3");
        assert_eq!(kinds(&by_agent["tokyo"]), "timeout (wait) 7, connect_timeout 1");
        failures.forget_before(20);
        assert_eq!(kinds(&failures.told(span(0, 30))), "timeout (wait) 7");
    }

    #[test]
    fn memory_has_a_bound_and_says_what_it_lost() {
        let mut failures = Failures::default();
        for start_s in 0..25_000_i64 {
            failures.add((start_s, "berlin"), ("status", &start_s.to_string()), 1);
        }
        assert_eq!(failures.places.len(), PLACES_MAX);
        assert_eq!(failures.kinds.names.len(), KINDS_MAX + 1);
        assert_eq!(failures.told(span(24_990, 25_000)), [(OTHER.to_owned(), 10)]);
        assert!(failures.forgotten_since(4_999) && !failures.forgotten_since(5_000));
    }
}
