//! Sets of time: sorted, disjoint, half-open stretches, with exact arithmetic on their seconds.

use crate::contract::period::Span;

/// How a stretch lies to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Every second of it is in the set.
    Inside,
    /// Some are, or it is in two stretches.
    Across,
    /// None is.
    Outside,
}

/// A set of seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// No time at all.
    pub const EMPTY: Self = Self(Vec::new());

    /// One stretch; nothing when it is empty.
    #[must_use]
    pub fn one(span: Span) -> Self {
        Self(if span.seconds() > 0 { vec![span] } else { Vec::new() })
    }

    /// The union of stretches that come sorted by beginning.
    #[must_use]
    pub fn from_sorted(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut set: Vec<Span> = Vec::new();
        for span in spans.into_iter().filter(|span| span.seconds() > 0) {
            match set.last_mut() {
                Some(last) if span.from_s <= last.until_s => {
                    last.until_s = last.until_s.max(span.until_s);
                }
                _ => set.push(span),
            }
        }
        Self(set)
    }

    /// The stretches, in order.
    pub fn iter(&self) -> impl Iterator<Item = Span> {
        self.0.iter().copied()
    }

    /// Seconds of all of them.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.0.iter().map(|span| span.seconds()).sum()
    }

    /// From the first to the last second.
    #[must_use]
    pub fn hull(&self) -> Option<Span> {
        Some(Span { from_s: self.0.first()?.from_s, until_s: self.0.last()?.until_s })
    }

    /// True when every second of `span` is in the set.
    #[must_use]
    pub fn covers(&self, span: Span) -> bool {
        self.at_or_after(span.from_s).next().is_some_and(|own| own.covers(span))
    }

    /// True when some second of `span` is in the set.
    #[must_use]
    pub fn overlaps(&self, span: Span) -> bool {
        self.at_or_after(span.from_s).next().is_some_and(|own| own.from_s < span.until_s)
    }

    /// How a stretch lies, and how many stretches as long, itself the first, follow it in a row and lie alike.
    #[must_use]
    pub fn lie(&self, span: Span) -> (Lie, u64) {
        let stretches = |until_s: i64| {
            until_s.saturating_sub(span.from_s).unsigned_abs() / span.seconds().max(1)
        };
        match self.at_or_after(span.from_s).next() {
            None => (Lie::Outside, u64::MAX),
            Some(own) if own.covers(span) => (Lie::Inside, stretches(own.until_s)),
            Some(own) if own.from_s < span.until_s => (Lie::Across, 1),
            Some(own) => (Lie::Outside, stretches(own.from_s)),
        }
    }

    /// What lies in both.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            both.push(a.meet(*b));
            if a.until_s <= b.until_s {
                left.next();
            } else {
                right.next();
            }
        }
        both.retain(|span| span.seconds() > 0);
        Self(both)
    }

    /// What lies in either.
    #[must_use]
    pub fn unite(&self, other: &Self) -> Self {
        let mut either: Vec<Span> = self.iter().chain(other.iter()).collect();
        either.sort();
        Self::from_sorted(either)
    }

    /// What lies in this one only.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut cuts = other.iter().peekable();
        for mut own in self.iter() {
            while cuts.next_if(|cut| cut.until_s <= own.from_s).is_some() {}
            while let Some(cut) = cuts.peek().filter(|cut| cut.from_s < own.until_s) {
                rest.push(Span { until_s: cut.from_s, ..own });
                own.from_s = cut.until_s.min(own.until_s);
                if cut.until_s > own.until_s {
                    break;
                }
                cuts.next();
            }
            rest.push(own);
        }
        Self::from_sorted(rest)
    }

    /// What lies in both, where the other is one stretch.
    #[must_use]
    pub fn within(&self, span: Span) -> Self {
        let inside = self.at_or_after(span.from_s).take_while(|own| own.from_s < span.until_s);
        Self(inside.map(|own| own.meet(span)).filter(|own| own.seconds() > 0).collect())
    }

    /// The last so many seconds of it; all of it where there are fewer.
    #[must_use]
    pub fn last_seconds(&self, seconds: u64) -> Self {
        let mut wanted = seconds;
        let mut last = Vec::new();
        for span in self.0.iter().rev() {
            let part_s = span.seconds().min(wanted);
            if part_s == 0 {
                break;
            }
            last.push(Span { from_s: span.until_s.saturating_sub_unsigned(part_s), ..*span });
            wanted -= part_s;
        }
        last.reverse();
        Self(last)
    }

    /// The stretches of which something lies at or after an instant.
    fn at_or_after(&self, instant_s: i64) -> impl Iterator<Item = Span> {
        let first = self.0.partition_point(|span| span.until_s <= instant_s);
        self.0.iter().skip(first).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(pairs: &[(i64, i64)]) -> Spans {
        Spans::from_sorted(pairs.iter().map(|&(from_s, until_s)| Span { from_s, until_s }))
    }

    #[test]
    fn touching_stretches_are_one() {
        assert_eq!(spans(&[(0, 5), (5, 5), (5, 9), (12, 15)]), spans(&[(0, 9), (12, 15)]));
        assert_eq!(spans(&[(0, 9), (12, 15)]).seconds(), 12);
        assert_eq!(spans(&[(3, 3)]), Spans::EMPTY);
    }

    #[test]
    fn covering_is_not_overlapping() {
        let set = spans(&[(0, 10), (20, 30)]);
        let span = |from_s, until_s| Span { from_s, until_s };
        assert!(set.covers(span(0, 10)) && set.covers(span(25, 30)));
        assert!(!set.covers(span(5, 11)) && !set.covers(span(5, 25)) && !set.covers(span(30, 31)));
        assert!(set.overlaps(span(5, 25)) && set.overlaps(span(9, 20)));
        assert!(!set.overlaps(span(10, 20)) && !set.overlaps(span(30, 40)));
    }

    proptest! {
        #[test]
        fn everything_is_per_second(a in bits(), b in bits(), from in 0_i64..64, width in 0_i64..64) {
            let both = of_bits(a).meet(&of_bits(b));
            prop_assert_eq!(&both, &of_bits(a & b));
            prop_assert_eq!(both.seconds(), u64::from((a & b).count_ones()));
            prop_assert_eq!(of_bits(a).unite(&of_bits(b)), of_bits(a | b));
            prop_assert_eq!(of_bits(a).without(&of_bits(b)), of_bits(a & !b));
            let span = Span { from_s: from, until_s: from + width };
            prop_assert_eq!(of_bits(a).within(span), of_bits(a).meet(&Spans::one(span)));
            let (last, length_s) = (of_bits(a).last_seconds(width.unsigned_abs()), width.unsigned_abs());
            prop_assert_eq!(last.seconds(), length_s.min(of_bits(a).seconds()));
            let from_s = last.hull().map_or(i64::MAX, |hull| hull.from_s);
            prop_assert_eq!(last, of_bits(a).within(Span { from_s, ..Span::ALWAYS }));
        }
    }

    fn bits() -> impl Strategy<Value = u64> {
        any::<u64>()
    }

    fn of_bits(bits: u64) -> Spans {
        let seconds = (0..64_i64).filter(|second| bits >> second & 1 == 1);
        Spans::from_sorted(seconds.map(|s| Span { from_s: s, until_s: s + 1 }))
    }
}
