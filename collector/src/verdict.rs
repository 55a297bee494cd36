//! A verdict as others read it: JSON with a frozen order of keys here, text for people in [`text`], and lines for
//! spreadsheets in [`csv`]; what a collector adds about its publication, in [`life`]. `words` has the figures in words, as
//! the text and the pages show them.
//!
//! Figures are exact until here. Percentages are shown with six places, half away from zero; durations as exact text, a
//! mean's rounded to the nanosecond; values in ppm as the shortest percentage of at most six places (`0.08%`), those in
//! hundredths as a decimal of two places, a mean's of at most four (`4.38`).
//!
//! Where an agreement rounds, `value` is the rounded one, which was compared; `exact` and `band` are not rounded.
//!
//! Keys are only ever added. `exclusions`, at the end, is there when records claim time of the period: what they claim, and
//! `because` of what they do not hold (`not_agreed`, `not_announced`, `short_notice`, `not_approved`).
//! Of an objective: `value` is a percentage, a duration, a decimal or a number, by its measure; `band` has the lowest and
//! the highest value that Unknown time leaves open to an availability or a downtime. With
//! percentiles, `value` is the bad end of the histogram bucket in which the attempt of rank `needed` lies, counted from the
//! good end: the highest duration or loss, the lowest score (beyond the ok attempts: `timeout` of a phase, `failed` of a
//! value). `exact` is attempts on the good side of the target over all; with means, it is ns, ppm or hundredths over
//! samples; with ratios, what the ratio counts over all calls or registrations that it is of; a downtime, a longest outage
//! and a number of outages have none. That of a mean success is reduced, because its intervals have many denominators;
//! `intervals` says of how many it is the mean, and `intervals_empty` how many of them were without attempts.
//! `uncertainty.rank_interval` has the ranks that bracket the true percentile, from the good end, `null` where too few
//! attempts have no such end; `uncertainty.share_interval` of a success, a `within` and a ratio has the percentages between
//! which the true share lies (Clopper and Pearson), as if attempts were independent.
//! `value_at_most` and `exact_at_most` stand there where a threshold lies inside a bucket that nobody counted exactly.
//! A `credit` has a `rate`, or `days` of the charge, and with credits by the unit how many `units` that is to be taken; a
//! claim that has a deadline has `credits.claim_until`, the first instant after it.
//! While a period is open there is no `credit`, but `credit_projected` (what is due if nothing more goes wrong) and
//! `next_band`: what a breach costs from `threshold` on, and how far that is away (`away_s` seconds Down, `away_attempts`
//! bad attempts, or `away`, by which a mean, the longest outage or the number of outages must get worse).
//! `credits.projected` is what would be payable. What may still go wrong is `budget_left_s`, `budget_left_attempts` or
//! `budget_left_outages`; that of a longest outage is by how much it may get longer.
//! `burn`, too, is there while a period is open: pairs of windows with their rates, of which 1 uses up the budget in just the
//! period. `firing` says whether both are at least `factor`; where too little of a window is known, `frozen` stands in its
//! place, and a rate is left out where nothing is. `gone_in_s` is the eligible time in which the budget of a firing pair is
//! gone at its long rate, where that is before the period's end.

pub mod csv;
pub mod life;
pub mod text;
pub(crate) mod words;

use crate::contract::model::{Measure, Operator, Unit, Worth};
use crate::contract::money::Money;
use crate::contract::number::{self, Exact, fixed, percent_short, percent_text, short};
use crate::contract::period::instant_text;
use crate::sla::burn::{Burn, length_text};
use crate::sla::uncertainty::{SHARE_PARTS, share_interval};
use crate::sla::verdict::{
    Attempts, Budget, Claim, CreditLine, CreditTotals, Distance, Intervals, Mean, Measured,
    NextBand, ObjectiveVerdict, Outage, Seconds, Share, Verdict,
};
use serde_json::{Map, Value, json};

/// What the bracket of sampled outages, and that of a percentile's rank, are quoted at.
const CONFIDENCE: &str = "95%";

/// Places of a burn rate, as of a percentage.
const BURN_PLACES: u32 = 6;

impl Verdict {
    /// The stable result: keys in the order of the specification.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.to_json_of(|_| true)
    }

    /// The stable result with some of the objectives; the others were judged all the same.
    #[must_use]
    pub fn to_json_of(&self, shown: impl Fn(&ObjectiveVerdict) -> bool) -> Value {
        let objectives = self.objectives.iter().filter(|verdict| shown(verdict));
        let objectives: Vec<Value> = objectives.map(|verdict| objective(self, verdict)).collect();
        let mut keys = json!({
            "agreement": self.agreement,
            "version": self.version,
            "signed": self.signed,
            "period": {
                "label": self.label,
                "start": instant_text(self.period.from_s),
                "end": instant_text(self.period.until_s),
                "final": false,
            },
            "objectives": objectives,
            "credits": credits(self),
            "termination_right": self.termination_right,
            "inputs_digest": self.inputs_digest,
        });
        if let Some(keys) = keys.as_object_mut().filter(|_| !self.claims.is_empty()) {
            keys.insert("exclusions".to_owned(), self.claims.iter().map(claim).collect());
        }
        keys
    }
}

fn claim(claim: &Claim) -> Value {
    let mut keys = json!({
        "from": instant_text(claim.span.from_s),
        "until": instant_text(claim.span.until_s),
        "reason": claim.reason.as_str(),
        "holds": claim.refused.is_none(),
    });
    if let (Some(refused), Some(keys)) = (claim.refused, keys.as_object_mut()) {
        keys.insert("because".to_owned(), json!(refused.as_str()));
    }
    keys
}

fn objective(of: &Verdict, verdict: &ObjectiveVerdict) -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    put("name", json!(verdict.name));
    if let Some(agent) = &verdict.agent {
        put("agent", json!(agent));
    }
    put("status", json!(verdict.status.as_str()));
    if let Some(reason) = verdict.reason {
        put("reason", json!(reason.as_str()));
    }
    put("target", json!(verdict.target));
    let unit = verdict.measure.unit();
    for (key, value) in verdict.value.iter().flat_map(|value| measured(unit, value)) {
        put(key, value);
    }
    if let Some([low, high]) = &verdict.band {
        put("band", json!([low, high].map(|end| figure_text(unit, end))));
    }
    if let Some(coverage) = &verdict.coverage {
        put("coverage", json!(percent_text(coverage)));
    }
    put("seconds", seconds(&verdict.seconds));
    if let Some(list) = &verdict.outages {
        put("outages", list.iter().map(outage).collect());
    }
    put("attempts", attempts(&verdict.attempts));
    if let Some(bracket) = verdict.downtime_bracket_s {
        put("uncertainty", json!({"downtime_s": bracket, "confidence": CONFIDENCE}));
    }
    if let Some([low, high]) = share_left_open(verdict) {
        put("uncertainty", json!({"share_interval": [low, high], "confidence": CONFIDENCE}));
    }
    if let Some(Measured::Percentile(it)) = &verdict.value
        && let Some(ranks) = it.rank_interval
    {
        put("uncertainty", json!({"rank_interval": ranks, "confidence": CONFIDENCE}));
    }
    if let Some(credit) = &verdict.credit {
        let key = if of.is_open() { "credit_projected" } else { "credit" };
        put(key, credit_line(credit, &of.credits));
    }
    if let Some(next) = &verdict.next_band {
        put("next_band", next_band(unit, next));
    }
    match verdict.budget_left {
        Some(Budget::Seconds(left)) => put("budget_left_s", json!(left)),
        Some(Budget::Attempts(left)) => put("budget_left_attempts", json!(left)),
        Some(Budget::Outages(left)) => put("budget_left_outages", json!(left)),
        None => None,
    };
    if !verdict.burn.is_empty() {
        put("burn", verdict.burn.iter().map(burn).collect());
    }
    put("agents", json!(verdict.agents));
    for (key, count, least) in [
        ("specs", verdict.specs, 2),
        ("flagged", verdict.flagged, 1),
        ("conflicts", verdict.conflicts, 1),
    ] {
        if count >= least {
            put(key, json!(count));
        }
    }
    Value::Object(keys)
}

/// Between which percentages the true share of counted attempts lies.
fn share_left_open(verdict: &ObjectiveVerdict) -> Option<[String; 2]> {
    let of_attempts =
        matches!(verdict.measure, Measure::Success | Measure::Within { .. } | Measure::Ratio(_));
    let Some(Measured::Share(share)) = verdict.value.as_ref().filter(|_| of_attempts) else {
        return None;
    };
    let ends = share_interval([share.numerator, share.numerator_most], share.denominator)?;
    let [low, high] = ends.map(|part| number::ratio(part, SHARE_PARTS));
    Some([percent_text(&low?), percent_text(&high?)])
}

/// The value, and the unreduced fraction that was compared.
fn measured(unit: Unit, value: &Measured) -> Vec<(&'static str, Value)> {
    let mut keys = vec![("value", json!(value_text(unit, value)))];
    match value {
        Measured::Share(share) => {
            keys.push(("exact", json!(format!("{}/{}", share.numerator, share.denominator))));
            if share.numerator_most > share.numerator {
                keys.push(("value_at_most", json!(percent_text(&share.most))));
            }
        }
        Measured::Percentile(it) => {
            keys.push(("exact", json!(format!("{}/{}", it.good, it.all))));
            if it.good_most > it.good {
                keys.push(("exact_at_most", json!(format!("{}/{}", it.good_most, it.all))));
            }
            keys.push(("needed", json!(it.needed)));
        }
        Measured::Mean(mean) => {
            keys.push(("exact", json!(format!("{}/{}", mean.sum, mean.samples))));
        }
        Measured::Amount(_) => {}
        Measured::Intervals(it) => {
            keys.push(("exact", json!(format!("{}/{}", it.exact.numer(), it.exact.denom()))));
            keys.push(("intervals", json!(it.all)));
            keys.push(("intervals_empty", json!(it.empty)));
        }
    }
    keys
}

/// A value of a measure: a percentage with all its places, or as short as can be.
fn figure_text(unit: Unit, figure: &Exact) -> String {
    if unit == Unit::Share { percent_text(figure) } else { unit.text(figure) }
}

/// A measured value: a percentage, a duration, a decimal, a number, or [`beyond`].
pub(crate) fn value_text(unit: Unit, value: &Measured) -> String {
    match value {
        Measured::Share(Share { share: value, .. })
        | Measured::Mean(Mean { mean: value, .. })
        | Measured::Amount(value)
        | Measured::Intervals(Intervals { mean: value, .. }) => figure_text(unit, value),
        Measured::Percentile(it) => {
            it.value.map_or(beyond(unit).to_owned(), |value| unit.text(&number::whole(value)))
        }
    }
}

/// The value of a percentile whose rank lies beyond the ok attempts.
pub(crate) fn beyond(unit: Unit) -> &'static str {
    if unit == Unit::Duration { "timeout" } else { "failed" }
}

/// A comparison with a limit: `< 99.8%`, `> 3s`.
pub(crate) fn threshold_text(unit: Unit, (operator, limit): &(Operator, Exact)) -> String {
    format!("{} {}", operator.sign(), unit.text(limit))
}

/// The threshold of the next band: of the value, or of the period's Down time.
pub(crate) fn next_threshold_text(unit: Unit, next: &NextBand) -> String {
    if !next.by_downtime {
        return threshold_text(unit, &next.threshold);
    }
    let (operator, limit_s) = &next.threshold;
    let limit_ns = limit_s * number::whole(Unit::Duration.in_one());
    format!("{} Down", threshold_text(Unit::Duration, &(*operator, limit_ns)))
}

fn seconds(seconds: &Seconds) -> Value {
    let mut value = json!({
        "eligible": seconds.eligible,
        "up": seconds.up,
        "down": seconds.down,
        "unknown": seconds.unknown,
        "excluded": seconds.excluded,
    });
    if let (Some(remaining), Some(keys)) = (seconds.remaining, value.as_object_mut()) {
        keys.insert("remaining".to_owned(), json!(remaining));
    }
    value
}

fn outage(outage: &Outage) -> Value {
    json!({
        "start": instant_text(outage.span.from_s),
        "end": instant_text(outage.span.until_s),
        "seconds": outage.seconds,
    })
}

fn attempts(attempts: &Attempts) -> Value {
    json!({
        "scheduled": attempts.scheduled,
        "ok": attempts.ok,
        "failed": attempts.failed,
        "invalid": attempts.invalid,
        "missed": attempts.missed,
    })
}

fn credit_line(line: &CreditLine, credits: &CreditTotals) -> Value {
    let mut keys = Map::new();
    let (key, worth) = worth(&line.worth);
    keys.insert(key.to_owned(), worth);
    if let Some(units) = &line.units {
        keys.insert("units".to_owned(), json!(short(units)));
    }
    for (key, money) in [("base", &line.base), ("amount", &line.amount)] {
        keys.insert(key.to_owned(), json!(credits.currency.text(money)));
    }
    Value::Object(keys)
}

/// The key and the value of a share of the base, or of a number of days.
fn worth(worth: &Worth) -> (&'static str, Value) {
    match worth {
        Worth::Rate(rate) => ("rate", json!(percent_short(rate))),
        Worth::Days(days) => ("days", json!(short(days))),
    }
}

fn next_band(unit: Unit, next: &NextBand) -> Value {
    let (key, away) = match &next.away {
        Distance::Seconds(seconds) => ("away_s", json!(seconds)),
        Distance::Attempts(attempts) => ("away_attempts", json!(attempts)),
        Distance::Value(away) => ("away", json!(unit.text(away))),
    };
    let (worth_key, worth) = worth(&next.worth);
    json!({worth_key: worth, "threshold": next_threshold_text(unit, next), key: away})
}

fn burn(pair: &Burn) -> Value {
    let mut keys = Map::new();
    let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
    put("long", json!(length_text(pair.long.window_s)));
    put("short", json!(length_text(pair.short.window_s)));
    put("factor", json!(short(&pair.factor)));
    for (key, of) in [("long_rate", &pair.long), ("short_rate", &pair.short)] {
        if let Some(rate) = &of.rate {
            put(key, json!(fixed(rate, BURN_PLACES)));
        }
    }
    if pair.is_frozen() {
        put("frozen", json!(true));
        return Value::Object(keys);
    }
    put("firing", json!(pair.is_firing()));
    if let Some(gone_in_s) = pair.gone_in_s.filter(|_| pair.is_firing()) {
        put("gone_in_s", json!(gone_in_s));
    }
    Value::Object(keys)
}

/// A credit exists only for what is breached, which nothing is before the period is over.
fn credits(of: &Verdict) -> Value {
    let credits = &of.credits;
    let text = |money: &Money| credits.currency.text(money);
    if of.is_open() {
        return json!({
            "sum": text(&Money::zero()),
            "payable": text(&Money::zero()),
            "currency": credits.currency.code(),
            "projected": text(&credits.payable),
        });
    }
    let mut keys = json!({
        "sum": text(&credits.sum),
        "payable": text(&credits.payable),
        "currency": credits.currency.code(),
    });
    if let (Some(until_s), Some(keys)) = (credits.claim_until_s, keys.as_object_mut()) {
        keys.insert("claim_until".to_owned(), json!(instant_text(until_s)));
    }
    keys
}
