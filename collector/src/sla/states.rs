//! Which second had which state: the period's time as the verdict judged it, for whoever draws or lists it.

use super::span::Spans;
use super::verdict::Seconds;
use crate::contract::period::Span;

/// The time of one objective in its period, by state. What is eligible and neither known nor Down is Unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct States {
    /// Time that counts: it has passed, and nothing takes it out.
    pub eligible: Spans,
    /// Service time that is not eligible, because it is excluded.
    pub excluded: Spans,
    /// What of the eligible time the agents' voices tell.
    pub known: Spans,
    /// What of it lies in outages; an outage that bridges Unknown windows holds them too.
    pub down: Spans,
}

impl States {
    /// The seconds of a stretch by state.
    #[must_use]
    pub fn seconds(&self, stretch: Span) -> Seconds {
        let eligible = self.eligible.within(stretch).seconds();
        let down = self.down.within(stretch);
        let known = self.known.within(stretch);
        // Down time that bridges Unknown windows is known; what else is known and not Down is Up.
        let up = known.seconds() - down.meet(&known).seconds();
        let (down, excluded) = (down.seconds(), self.excluded.within(stretch).seconds());
        Seconds { eligible, up, down, unknown: eligible - up - down, excluded, remaining: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridged_gap_is_down_and_no_second_counts_twice() {
        let spans = |pairs: &[(i64, i64)]| {
            Spans::from_sorted(pairs.iter().map(|&(from_s, until_s)| Span { from_s, until_s }))
        };
        let states = States {
            eligible: spans(&[(0, 100)]),
            excluded: Spans::EMPTY,
            known: spans(&[(0, 40), (50, 80)]),
            down: spans(&[(30, 60)]),
        };
        let seconds = |from_s, until_s| {
            let Seconds { eligible, up, down, unknown, .. } =
                states.seconds(Span { from_s, until_s });
            (eligible, up, down, unknown)
        };
        assert_eq!(seconds(0, 100), (100, 50, 30, 20));
        assert_eq!(seconds(40, 50), (10, 0, 10, 0), "the bridge");
        assert_eq!(seconds(80, 120), (20, 0, 0, 20), "what is not eligible is in no state");
        assert_eq!(seconds(200, 300), (0, 0, 0, 0));
    }
}
