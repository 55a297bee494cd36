//! What sampling leaves open: by which ranks the true percentile is bracketed, and between which shares the true share of
//! good attempts lies. It is stated beside a verdict, and decides nothing.
//!
//! Of n independent attempts, those below the true q-quantile are Binomial(n, q) in number. So the attempts of ranks l and
//! u bracket it in at least 95 % of all cases, where l is the largest and u the smallest with P(fewer than l) and
//! P(u or more) of at most 2.5 % each (David & Nagaraja, Order Statistics, §7.1). Too few attempts have no upper end: 72 are
//! needed at 95 %, 368 at 99 %.
//!
//! Of n independent attempts with k good ones, the true share lies between the largest p with P(k or more) and the smallest
//! with P(k or fewer) of at most 2.5 % each, in at least 95 % of all cases, however few there are (Clopper & Pearson 1934). Both ends
//! are found on a grid of [`SHARE_PARTS`], outwards, by exact sums.

use crate::contract::number::{self, Exact};
use num_bigint::BigInt;

/// Each tail is one part in so many: 2.5 %.
const TAIL: u32 = 40;
/// Bits of the largest weight: far finer than two tails can need, so that what is cut off them does not matter.
const WEIGHT_BITS: u32 = 128;

/// Most attempts that are bracketed: the work grows with their root, and beyond a hundred million the bracket is narrower
/// than a histogram bucket.
const ATTEMPTS_MAX: u64 = 100_000_000;

/// Parts of a share: a percentage of six places, as it is shown.
pub const SHARE_PARTS: u64 = 100_000_000;

/// The ends of the interval in which the true share lies, in [`SHARE_PARTS`], of so many good attempts: certainly, which
/// decides the lower end, and possibly, which decides the upper one. `None` for no attempt, or more than [`ATTEMPTS_MAX`].
#[must_use]
pub fn share_interval([certain, possible]: [u64; 2], attempts: u64) -> Option<[u64; 2]> {
    if attempts == 0 || attempts > ATTEMPTS_MAX || certain > possible || possible > attempts {
        return None;
    }
    // As the share grows, k or more become likelier, k or fewer less likely.
    let lower = match certain {
        0 => 0,
        k => first_part(|part| !in_tail(part, attempts, |good| good >= k)) - 1,
    };
    let upper = match possible {
        k if k == attempts => SHARE_PARTS,
        k => first_part(|part| in_tail(part, attempts, |good| good <= k)),
    };
    Some([lower, upper])
}

/// The first part of which something holds that goes on holding, and holds in the end.
fn first_part(holds: impl Fn(u64) -> bool) -> u64 {
    let (mut fails, mut known) = (0, SHARE_PARTS);
    while known - fails > 1 {
        let middle = u64::midpoint(fails, known);
        if holds(middle) { known = middle } else { fails = middle }
    }
    known
}

/// Whether such numbers of good attempts are so unlikely that they fit into a tail together.
fn in_tail(part: u64, attempts: u64, counts: impl Fn(u64) -> bool) -> bool {
    let Some(share) = number::ratio(part, SHARE_PARTS) else { return false };
    let (first, weights) = weights(&share, attempts);
    let (mut total, mut tail) = (BigInt::ZERO, BigInt::ZERO);
    for (good, weight) in (first..).zip(&weights) {
        total += weight;
        if counts(good) {
            tail += weight;
        }
    }
    tail * TAIL <= total
}

/// The lower and the upper rank, from 1, each `None` where too few attempts have none. `None` for more than
/// [`ATTEMPTS_MAX`].
pub(super) fn rank_interval(share: &Exact, attempts: u64) -> Option<[Option<u64>; 2]> {
    if attempts > ATTEMPTS_MAX {
        return None;
    }
    let (first, weights) = weights(share, attempts);
    let total: BigInt = weights.iter().sum();
    let in_tail = |sum: &BigInt| sum * TAIL <= total;
    let below = reach(weights.iter(), in_tail);
    let above = reach(weights.iter().rev(), in_tail);
    // P(X < lower) is within the tail, and so is P(X >= upper).
    let (lower, upper) = (first + below, first + weights.len() as u64 - above);
    Some([(lower >= 1).then_some(lower), (upper <= attempts).then_some(upper)])
}

/// How many of the first weights fit into a tail together.
fn reach<'a>(weights: impl Iterator<Item = &'a BigInt>, in_tail: impl Fn(&BigInt) -> bool) -> u64 {
    let mut sum = BigInt::ZERO;
    let fits = weights.take_while(|weight| {
        sum += *weight;
        in_tail(&sum)
    });
    fits.count() as u64
}

/// The probabilities of Binomial(n, q), times an unknown factor, from the first number of successes that has any weight.
/// Outwards from the most likely one, each from its neighbour: w(k + 1) / w(k) = (n − k)/(k + 1) · q/(1 − q).
fn weights(share: &Exact, attempts: u64) -> (u64, Vec<BigInt>) {
    let (good, bad) = (share.numer().clone(), share.denom() - share.numer());
    let mode = (share * number::whole(attempts)).floor().to_integer();
    let mode = u64::try_from(mode).unwrap_or(attempts).min(attempts);
    let peak = BigInt::from(1) << WEIGHT_BITS;
    let (mut weight, mut upwards) = (peak.clone(), Vec::new());
    for k in mode..attempts {
        weight = weight * (attempts - k) * &good / (BigInt::from(k + 1) * &bad);
        if weight == BigInt::ZERO {
            break;
        }
        upwards.push(weight.clone());
    }
    let (mut weight, mut downwards) = (peak.clone(), Vec::new());
    for k in (1..=mode).rev() {
        weight = weight * k * &bad / (BigInt::from(attempts - k + 1) * &good);
        if weight == BigInt::ZERO {
            break;
        }
        downwards.push(weight.clone());
    }
    let first = mode - downwards.len() as u64;
    downwards.reverse();
    (first, downwards.into_iter().chain(std::iter::once(peak)).chain(upwards).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(q: &str, attempts: u64) -> [Option<u64>; 2] {
        rank_interval(&number::percentage(q).expect("valid"), attempts).expect("not too many")
    }

    /// n with q^n at most 2.5 %: the fewest attempts with an upper end.
    #[test]
    fn few_attempts_have_no_upper_end() {
        for (q, fewest) in [("95%", 72), ("99%", 368), ("99.9%", 3_688)] {
            assert_eq!(interval(q, fewest - 1)[1], None, "{q}");
            assert_eq!(interval(q, fewest)[1], Some(fewest), "{q}");
        }
        // The other end of the scale is the same.
        assert_eq!(interval("5%", 71)[0], None);
        assert_eq!(interval("5%", 72)[0], Some(1));
        assert_eq!(interval("50%", 1), [None, None]);
        assert_eq!(interval("100%", 50), [Some(50), None]);
    }

    /// The median of n attempts: l and n + 1 − l, from tables of the sign test.
    #[test]
    fn the_median_has_the_ranks_of_the_sign_test() {
        for (attempts, lower) in
            [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (20, 6), (25, 8), (30, 10), (50, 18)]
        {
            let expected = [Some(lower), Some(attempts + 1 - lower)];
            assert_eq!(interval("50%", attempts), expected, "{attempts}");
        }
    }

    /// Sums of exact probabilities, for all small cases.
    #[test]
    fn every_small_case_by_the_definition() {
        for attempts in 1_u64..=40 {
            for (q, n, d) in [("5%", 1_u64, 20_u64), ("50%", 1, 2), ("90%", 9, 10), ("95%", 19, 20)]
            {
                let power = |base: u64, exponent: u64| {
                    BigInt::from(base).pow(u32::try_from(exponent).expect("small"))
                };
                let choose =
                    |k: u64| (0..k).fold(BigInt::from(1), |c, i| c * (attempts - i) / (i + 1));
                let p = |k: u64| choose(k) * power(n, k) * power(d - n, attempts - k);
                let whole = power(d, attempts);
                let tail = |ks: std::ops::Range<u64>| ks.map(p).sum::<BigInt>() * 40 <= whole;
                let lower = (1..=attempts).filter(|l| tail(0..*l)).max();
                let upper = (1..=attempts).find(|u| tail(*u..attempts + 1));
                assert_eq!(interval(q, attempts), [lower, upper], "{q} of {attempts}");
            }
        }
    }

    fn share(good: u64, attempts: u64) -> [u64; 2] {
        share_interval([good, good], attempts).expect("not too many")
    }

    /// Newcombe 1998, Statistics in Medicine 17:857, table I, method 5, to four places.
    #[test]
    fn shares_are_those_of_the_table() {
        for (good, attempts, table) in [
            (81, 263, [2_527, 3_676]),
            (15, 148, [578, 1_617]),
            (0, 20, [0, 1_684]),
            (1, 29, [9, 1_776]),
        ] {
            let rounded = share(good, attempts).map(|part| (part + 5_000) / 10_000);
            assert_eq!(rounded, table, "{good} of {attempts}");
        }
    }

    /// The ends of all or nothing have a closed form: 1 − 0.025^(1/n).
    #[test]
    fn nothing_and_everything_leave_one_end_open() {
        assert_eq!(share(0, 10), [0, 30_849_711]);
        assert_eq!(share(10, 10), [69_150_289, SHARE_PARTS]);
        assert_eq!(share(0, 1), [0, 97_500_000]);
        assert_eq!(share_interval([0, 0], 0), None);
        assert_eq!(share_interval([1, 1], ATTEMPTS_MAX + 1), None);
    }

    /// By the definition, with exact sums, for all small cases: the ends hold, and one part further in they do not.
    #[test]
    fn every_small_share_by_the_definition() {
        let whole = BigInt::from(SHARE_PARTS);
        for attempts in 1_u64..=12 {
            let choose = |k: u64| (0..k).fold(BigInt::from(1), |c, i| c * (attempts - i) / (i + 1));
            let p = |part: u64, k: u64| {
                let power =
                    |base: BigInt, exponent: u64| base.pow(u32::try_from(exponent).expect("small"));
                choose(k) * power(part.into(), k) * power(&whole - part, attempts - k)
            };
            let all = whole.pow(u32::try_from(attempts).expect("small"));
            let rare = |part, ks: std::ops::RangeInclusive<u64>| {
                ks.map(|k| p(part, k)).sum::<BigInt>() * TAIL <= all
            };
            for good in 0..=attempts {
                let [lower, upper] = share(good, attempts);
                if good > 0 {
                    assert!(rare(lower, good..=attempts), "{good} of {attempts}: {lower}");
                    assert!(!rare(lower + 1, good..=attempts), "{good} of {attempts}: {lower}");
                }
                if good < attempts {
                    assert!(rare(upper, 0..=good), "{good} of {attempts}: {upper}");
                    assert!(!rare(upper - 1, 0..=good), "{good} of {attempts}: {upper}");
                }
            }
        }
    }

    /// A threshold within a bucket opens it at both ends.
    #[test]
    fn what_is_uncertain_widens_it() {
        let [lower, _] = share(90, 100);
        let [_, upper] = share(95, 100);
        assert_eq!(share_interval([90, 95], 100), Some([lower, upper]));
    }

    /// 43 011 calls at 95 %: 40 860 ± 1.96 · √(43 011 · 0.95 · 0.05) = 40 860 ± 88.6.
    #[test]
    fn many_attempts_are_near_the_normal_law() {
        let [lower, upper] = interval("95%", 43_011).map(|rank| rank.expect("is there"));
        assert!((40_770..=40_774).contains(&lower), "{lower}");
        assert!((40_947..=40_951).contains(&upper), "{upper}");
    }
}
