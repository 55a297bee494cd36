//! What a breach of a percentile or a mean costs.

use super::*;
use crate::contract::number;

/// The amount of a breach of a day: a thirtieth of 12 000.00 is 400.00.
fn amount(keys: &str, attempts: &[Attempted]) -> String {
    let keys = format!("{keys}, period: day, unknown: {{coverage: 0%}}");
    let mut bench = Bench::of(&[("fast", &keys)]);
    attempts.iter().for_each(|attempted| bench.attempt(attempted));
    let verdict = bench.ask("2026-04-01", None);
    let currency = &verdict.credits.currency;
    let line = verdict.objectives[0].credit.as_ref();
    line.map_or("-".to_owned(), |line| currency.text(&line.amount))
}

const BANDS: &str =
    "credit: {bands: [{above: 3s, rate: 10%}, {at_least: 5s, rate: 25%}, {above: 5s, rate: 50%}]}";

#[test]
fn bands_of_a_percentile_are_counted() {
    let keys = format!("{}, {BANDS}", percentile("75%", "<= 2s"));
    for (third, due) in [
        (2 * S, "-"),
        // Breached, but no band passed.
        (2 * S + 1, "-"),
        (3 * S, "-"),
        (3 * S + 1, "40.00"),
        (5 * S - 1, "40.00"),
        (5 * S, "100.00"),
        (5 * S + 1, "200.00"),
        (60 * S, "200.00"),
    ] {
        // Three of four decide, so the third of them is the value.
        let attempts = [attempted(0, &[1, third, 2], 1)];
        assert_eq!(amount(&keys, &attempts), due, "{third}");
    }
    // Failures are beyond every band.
    assert_eq!(amount(&keys, &[attempted(0, &[1, 1], 2)]), "200.00");
    // A band is milder than the target: nothing is due before the target is missed.
    let early = "credit: {bands: [{above: 1s, rate: 10%}]}";
    let keys = format!("{}, {early}", percentile("75%", "<= 2s"));
    assert_eq!(amount(&keys, &[attempted(0, &[2 * S], 0)]), "-");
    assert_eq!(amount(&keys, &[attempted(0, &[2 * S + 1], 0)]), "40.00");
}

/// A band inside a bucket that nobody counted is unpassed; the one below it is certain.
#[test]
fn a_band_inside_a_bucket_is_unpassed() {
    let keys = format!("{}, {BANDS}", percentile("50%", "<= 2s"));
    let due =
        |uncounted| amount(&keys, &[Attempted { uncounted, ..attempted(0, &[5 * S + 1], 0) }]);
    assert_eq!((due(false).as_str(), due(true).as_str()), ("200.00", "40.00"));
}

#[test]
fn bands_of_a_mean_are_exact() {
    let keys = format!("{}, {BANDS}", mean("< 3s"));
    for (ns, due) in [
        ([3 * S - 1, 3 * S], "-"),
        ([3 * S, 3 * S], "-"),
        ([3 * S, 3 * S + 1], "40.00"),
        ([5 * S - 1, 5 * S], "40.00"),
        ([5 * S, 5 * S], "100.00"),
        ([5 * S, 5 * S + 1], "200.00"),
    ] {
        assert_eq!(amount(&keys, &[attempted(0, &ns, 0)]), due, "{ns:?}");
    }
}

/// T39: 5 % of 12 000.00 for the query, and a thirtieth of it, as a flat rate, for the latency.
#[test]
fn the_worked_months_credits() {
    let mut ns = vec![3_900 * MS; 2_150];
    ns.resize(2_400, 5 * S);
    let keys =
        format!("{}, unknown: {{coverage: 0%}}, credit: {{flat: 5%}}", percentile("90%", "<= 4s"));
    let rtt =
        format!("{}, unknown: {{coverage: 0%}}, credit: {{flat: 5%}}, probe: rtt", mean("<= 45ms"));
    let mut bench = Bench::of(&[("query", &keys), ("latency", &rtt)]);
    bench.attempt(&attempted(0, &ns, 0));
    bench.probe = "rtt";
    bench.attempt(&attempted(0, &[46 * MS, 46_400_000], 0));
    let verdict = bench.ask("2026-04", None);
    let lines = verdict.objectives.iter().map(|objective| objective.credit.clone().expect("due"));
    let amounts: Vec<String> =
        lines.map(|line| verdict.credits.currency.text(&line.amount)).collect();
    assert_eq!(amounts, ["600.00", "600.00"]);
    assert_eq!(verdict.objectives[1].limit, number::whole(45_000_000));
    assert_eq!(value(&verdict.objectives[1]), "46.2ms");
}
