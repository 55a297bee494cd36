//! Sequence numbers of one source: what was lost, came twice, or came late (RFC 3550 A.1 and A.3). Pure.

/// So far a number may jump ahead: a minute of packets (A.1).
const DROPOUT_MAX: u16 = 3_000;
/// So far a number may lie behind the highest: 2 s of packets (A.1).
const MISORDER_MAX: u16 = 100;
/// Numbers whose fate is still open; more than may lie behind.
const WINDOW: u64 = 128;
/// Where the extended numbers begin, so that none below the first is negative.
const CYCLE: u64 = 1 << 16;

/// What a number is among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Higher than all.
    Ahead,
    /// One that was missing (RFC 4737 §3.3: less than the next that was expected).
    Reordered,
    /// One that was there already.
    Again,
    /// Before the first that was counted.
    Before,
    /// Too far from all others to be believed, yet.
    Astray,
    /// The second in a row so far away: the sender has begun anew.
    Restart,
}

/// The numbers of a source that is valid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    /// The first that counts.
    base: u64,
    highest: u64,
    /// The number that would prove a restart.
    proof: Option<u16>,
    /// Packets, those that came twice too (A.1).
    arrived: u64,
    /// Numbers that came.
    came: u64,
    /// Of the highest number and those below it: the lowest bit is the highest number.
    seen: u128,
    /// The same, without those that came too late to be played.
    played: u128,
    settled: Runs,
}

/// Losses in the order of the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Numbers that were not played.
    pub(super) missing: u64,
    /// Runs of such numbers.
    pub(super) runs: u64,
    in_run: bool,
}

impl Sequence {
    /// Begins with a packet that was in time.
    pub(super) fn new(first: u16) -> Self {
        let base = CYCLE + u64::from(first);
        let (seen, settled) = (1, Runs::default());
        Self { base, highest: base, proof: None, arrived: 1, came: 1, seen, played: seen, settled }
    }

    /// Whether a number is higher than all before it.
    pub(super) fn is_ahead(&self, number: u16) -> bool {
        (1..DROPOUT_MAX).contains(&self.ahead(number))
    }

    fn ahead(&self, number: u16) -> u16 {
        let [.., high, low] = self.highest.to_be_bytes();
        number.wrapping_sub(u16::from_be_bytes([high, low]))
    }

    /// A packet has come.
    pub(super) fn receive(&mut self, number: u16, in_time: bool) -> Place {
        let ahead = self.ahead(number);
        let behind = ahead.wrapping_neg();
        let place = if ahead == 0 {
            Place::Again
        } else if ahead < DROPOUT_MAX {
            (0..ahead).for_each(|_| self.advance());
            Place::Ahead
        } else if behind >= MISORDER_MAX {
            return self.astray(number);
        } else if u64::from(behind) > self.highest - self.base {
            Place::Before
        } else if self.seen >> behind & 1 == 1 {
            Place::Again
        } else {
            Place::Reordered
        };
        self.proof = None;
        self.arrived += 1;
        if matches!(place, Place::Ahead | Place::Reordered) {
            let bit = if place == Place::Ahead { 1 } else { 1 << behind };
            self.came += 1;
            self.seen |= bit;
            self.played |= if in_time { bit } else { 0 };
        }
        place
    }

    fn astray(&mut self, number: u16) -> Place {
        if self.proof == Some(number) {
            return Place::Restart;
        }
        self.proof = Some(number.wrapping_add(1));
        Place::Astray
    }

    /// The window moves on by one number; the oldest is settled.
    fn advance(&mut self) {
        if self.highest - self.base >= WINDOW - 1 {
            self.settled.settle(self.played >> (WINDOW - 1) & 1 == 1);
        }
        self.highest += 1;
        self.seen <<= 1;
        self.played <<= 1;
    }

    /// Numbers from the first to the highest (A.3).
    pub(super) fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    /// Packets, those that came twice too (A.3).
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Numbers that came, each counted once.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// The highest number, with how often the 16 bits have run over (§6.4.1).
    pub(super) fn extended(&self) -> u32 {
        let [.., a, b, c, d] = (self.highest - CYCLE).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// What was not played, as if nothing came any more.
    pub(super) fn runs(&self) -> Runs {
        let mut runs = self.settled;
        for behind in (0..WINDOW.min(self.expected())).rev() {
            runs.settle(self.played >> behind & 1 == 1);
        }
        runs
    }
}

impl Runs {
    fn settle(&mut self, played: bool) {
        self.missing += u64::from(!played);
        self.runs += u64::from(!played && !self.in_run);
        self.in_run = !played;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(numbers: impl IntoIterator<Item = u16>) -> (Sequence, Vec<Place>) {
        let mut numbers = numbers.into_iter();
        let mut sequence = Sequence::new(numbers.next().expect("one"));
        let places = numbers.map(|number| sequence.receive(number, true)).collect();
        (sequence, places)
    }

    #[test]
    fn numbers_run_over() {
        let (sequence, places) = of([65_534, 65_535, 0, 2]);
        assert_eq!(places, [Place::Ahead; 3]);
        assert_eq!((sequence.expected(), sequence.came(), sequence.extended()), (5, 4, 65_538));
        let long =
            of((0..200_000_u64).map(|number| u16::try_from(number % CYCLE).expect("fits"))).0;
        assert_eq!((long.expected(), long.came()), (200_000, 200_000));
        assert_eq!((long.extended(), long.runs().missing), (199_999, 0));
    }

    #[test]
    fn each_number_has_its_place() {
        let (sequence, places) = of([10, 12, 11, 12, 11, 9, 13]);
        assert_eq!(
            places,
            [
                Place::Ahead,
                Place::Reordered,
                Place::Again,
                Place::Again,
                Place::Before,
                Place::Ahead
            ]
        );
        // 7 packets, of which A.3 counts two twice and one from before the first.
        assert_eq!((sequence.expected(), sequence.arrived(), sequence.came()), (4, 7, 4));
    }

    #[test]
    fn the_limits_of_appendix_a_1() {
        for (number, place) in [
            (1_000 + DROPOUT_MAX - 1, Place::Ahead),
            (1_000 + DROPOUT_MAX, Place::Astray),
            (1_000 - MISORDER_MAX + 1, Place::Reordered),
            (1_000 - MISORDER_MAX, Place::Astray),
        ] {
            assert_eq!(of([800, 1_000, number]).1[1], place, "{number}");
        }
        let (_, places) = of([800, 20_000, 20_001]);
        assert_eq!(places, [Place::Astray, Place::Restart]);
        let (_, places) = of([800, 20_000, 801, 20_001]);
        assert_eq!(places, [Place::Astray, Place::Ahead, Place::Astray], "not two in a row");
    }

    #[test]
    fn runs_are_counted_in_the_order_of_the_numbers() {
        // Missing: 2; 4, 5; 8 to 10.
        let (sequence, _) = of([1, 3, 7, 6, 11]);
        let runs = sequence.runs();
        assert_eq!((runs.missing, runs.runs), (6, 3));
        let mut late = Sequence::new(1);
        for number in 2..=300 {
            late.receive(number, number % 100 >= 3);
        }
        assert_eq!((late.came(), late.runs().missing, late.runs().runs), (300, 8, 4));
    }

    proptest! {
        /// Whatever gets lost, doubled or swapped nearby is counted as a list of all numbers would count it.
        #[test]
        fn it_counts_as_a_list_would(
            first in any::<u16>(),
            fates in prop::collection::vec((0..4_u8, 0..50_usize), 2..400),
        ) {
            let mut order: Vec<(usize, u16)> = vec![(0, first)];
            let mut number = first;
            for (index, (fate, shift)) in fates.iter().enumerate() {
                number = number.wrapping_add(1);
                let place = (index + 1) * 10;
                match fate {
                    0 => {}
                    1 => order.push((place + shift * 10 + 5, number)),
                    2 => order.extend([(place, number), (place + shift * 10 + 5, number)]),
                    _ => order.push((place, number)),
                }
            }
            order.sort_unstable();
            let (sequence, places) = of(order.iter().map(|(_, number)| *number));
            let offsets: BTreeSet<u16> = order.iter().map(|(_, n)| n.wrapping_sub(first)).collect();
            let last = *offsets.last().expect("one");
            prop_assert_eq!(sequence.expected(), u64::from(last) + 1);
            prop_assert_eq!(sequence.came(), offsets.len() as u64);
            prop_assert_eq!(sequence.arrived(), order.len() as u64);
            let again = places.iter().filter(|place| **place == Place::Again).count();
            prop_assert_eq!(again, order.len() - offsets.len());
            let missing: Vec<u16> = (0..last).filter(|offset| !offsets.contains(offset)).collect();
            let runs = missing.iter().filter(|offset| offsets.contains(&(*offset - 1))).count();
            prop_assert_eq!(sequence.runs().missing, missing.len() as u64);
            prop_assert_eq!(sequence.runs().runs, runs as u64);
        }
    }
}
