//! What a breach is worth: a flat share, or bands on the value, which are written as the measure's target is.

use super::refuse;
use super::scalar::{Written, figure, share, share_above_zero};
use crate::contract::model::{Band, CreditForm, Good, Operator, Scale, Unit};
use crate::contract::number::{self, Exact};
use probefleet_proto::yaml::{Map, Node, Problems, Value, list};

/// The forms of the language; exactly one stands under a `credit`.
const FORMS: [&str; 5] = ["flat", "days", "bands", "per", "linear"];

const NOT_YET: &[(&str, &str)] = &[
    ("days", "a day is a thirtieth of the monthly charge: write `flat` with that percentage"),
    ("day_fraction", "leave it out"),
    ("per", "write `bands` on the value"),
    ("linear", "write `bands` on the value"),
    ("base", "leave it out: the base is the service's monthly charge"),
    ("by", "leave it out: bands stand on the value"),
    ("precision", "leave it out: the value is exact"),
];

/// Reads a credit; `scale` is that of the measure, `None` for one that could not be read.
pub(super) fn credit(
    node: &Node,
    scale: Option<Scale>,
    problems: &mut Problems,
) -> Option<CreditForm> {
    let mut map = Map::open(node, "a credit", problems)?;
    let there: Vec<&str> =
        map.keys().map(|(key, _)| key).filter(|key| FORMS.contains(key)).collect();
    if there.len() > 1 {
        let message = format!("{} stand together", there.join(" and "));
        problems.report::<()>(node.at, "two-credit-forms", message, "keep exactly one");
    }
    if there.contains(&"days") && map.keys().any(|(key, _)| key == "base") {
        let cure = "a day has its own base: leave `base` out";
        problems.report::<()>(node.at, "base-with-days", "`base` beside `days`", cure);
    }
    refuse(&mut map, NOT_YET, problems);
    let flat = map.optional("flat", None, problems, |node, p| {
        share_above_zero(node, p).map(|rate| Some(CreditForm::Flat(rate)))
    });
    let bands = map.optional("bands", None, problems, |node, p| bands(node, scale, p).map(Some));
    map.finish(problems);
    match (flat?, bands?) {
        (Some(form), None) | (None, Some(form)) => Some(form),
        (None, None) if there.is_empty() => {
            let cure = "write one of flat, bands";
            problems.report(node.at, "missing-key", "the credit has no form", cure)
        }
        _ => None,
    }
}

/// Reads a band table, mildest first.
fn bands(node: &Node, scale: Option<Scale>, problems: &mut Problems) -> Option<CreditForm> {
    let mut bands = list(node, problems, |node, problems| band(node, scale, problems))?;
    if bands.is_empty() {
        return problems.report(node.at, "bad-value", "no band", "write {below: 99.9%, rate: 10%}");
    }
    // Every band of a table has the direction of its measure: the better end of the scale comes first. A value passes
    // `at_most x` before it passes `below x`, and `at_least x` before `above x`, so those are milder.
    bands.sort_by(|a, b| {
        let strict = |band: &Band| matches!(band.operator, Operator::Below | Operator::Above);
        let by_threshold = match a.operator {
            Operator::Below | Operator::AtMost => b.threshold.cmp(&a.threshold),
            Operator::Above | Operator::AtLeast => a.threshold.cmp(&b.threshold),
        };
        by_threshold.then(strict(a).cmp(&strict(b)))
    });
    for pair in bands.windows(2) {
        let [mild, severe] = pair else { continue };
        let same = mild.threshold == severe.threshold && mild.operator == severe.operator;
        if same || severe.rate < mild.rate {
            let message = if same {
                "two bands begin at the same value"
            } else {
                "a more severe band pays less than a milder one"
            };
            let cure = "from the mildest to the most severe, rates must not fall";
            return problems.report(node.at, "band-order", message, cure);
        }
    }
    Some(CreditForm::Bands(bands))
}

/// The keys that a band of a measure may begin with, the strict one first.
fn keys_of(good: Good) -> [(&'static str, Operator); 2] {
    match good {
        Good::High => [("below", Operator::Below), ("at_most", Operator::AtMost)],
        Good::Low => [("above", Operator::Above), ("at_least", Operator::AtLeast)],
    }
}

/// The scale of a measure that could not be read, as its band is written.
fn scale_as_written(map: &mut Map<'_>) -> Scale {
    let keys = |good| keys_of(good).map(|(key, _)| key);
    let low = keys(Good::Low).iter().any(|key| map.get(key).is_some());
    let good = if low { Good::Low } else { Good::High };
    let value = keys(good).iter().find_map(|key| map.get(key));
    let share = value.is_none_or(|node| number::percentage(text_of(node)).is_ok());
    Scale { unit: if share { Unit::Share } else { Unit::Duration }, good }
}

fn band(node: &Node, scale: Option<Scale>, problems: &mut Problems) -> Option<Band> {
    let mut map = Map::open(node, "a band", problems)?;
    let scale = scale.unwrap_or_else(|| scale_as_written(&mut map));
    let (other, direction) = match scale.good {
        Good::High => (Good::Low, "high: write below or at_most"),
        Good::Low => (Good::High, "low: write above or at_least"),
    };
    for (key, _) in keys_of(other) {
        if let Some(node) = map.get(key) {
            let cure = format!("this measure is good when it is {direction}");
            problems.report::<()>(node.at, "measure-target-mismatch", format!("`{key}`"), cure);
            return None;
        }
    }
    let [strict, equal] = keys_of(scale.good).map(|(key, operator)| {
        map.optional(key, None, problems, |node, p| {
            threshold(node, scale, operator, p).map(|threshold| Some((operator, threshold)))
        })
    });
    let rate = map.required("rate", problems, share_above_zero);
    map.finish(problems);
    let (operator, threshold) = match (strict?, equal?) {
        (Some(begin), None) | (None, Some(begin)) => begin,
        (Some(_), Some(_)) => {
            let [(strict, _), (equal, _)] = keys_of(scale.good);
            let message = format!("`{strict}` and `{equal}` stand together");
            return problems.report(node.at, "bad-value", message, "keep one of them");
        }
        (None, None) => {
            let cure = format!("add `{}`", sample(scale));
            return problems.report(node.at, "missing-key", "the band has no beginning", cure);
        }
    };
    Some(Band { operator, threshold, rate: rate? })
}

/// How a band of such a measure may begin.
fn sample(scale: Scale) -> &'static str {
    match (scale.unit, scale.good) {
        (Unit::Share | Unit::Ppm, Good::High) => "below: 99.9%",
        (Unit::Share | Unit::Ppm, Good::Low) => "above: 1%",
        (Unit::Duration, _) => "above: 3s",
        (Unit::Centi, _) => "below: 3.5",
    }
}

/// The value that a band begins at.
fn threshold(
    node: &Node,
    scale: Scale,
    operator: Operator,
    problems: &mut Problems,
) -> Option<Exact> {
    if scale.unit == Unit::Share {
        return share(node, problems);
    }
    let Value::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-value", node.describe(), "write a single value");
    };
    let sample = match scale.unit {
        Unit::Duration => "a band such as `above: 3s`",
        Unit::Centi => "a band such as `below: 3.5`",
        Unit::Share | Unit::Ppm => "a band such as `above: 1%`",
    };
    let threshold = figure(node, text, Written { unit: scale.unit, sample }, problems)?;
    let cure = match operator {
        Operator::AtLeast if scale.unit == Unit::Duration => {
            "every duration is at least that: write `flat`, or a longer one"
        }
        Operator::AtLeast => "everything is at least that: write `flat`, or more",
        Operator::Below => "nothing is below that: write more than 0",
        Operator::Above | Operator::AtMost => return Some(threshold),
    };
    if threshold == number::whole(0) {
        return problems.report(node.at, "bad-value", node.describe(), cure);
    }
    Some(threshold)
}

fn text_of(node: &Node) -> &str {
    match &node.value {
        Value::Scalar { text, .. } => text,
        Value::Sequence(_) | Value::Mapping(_) => "",
    }
}
