//! What a breach is worth: a flat share, or bands on the value, which are shares or durations as the measure is.

use super::refuse;
use super::scalar::{share, share_above_zero};
use crate::contract::model::{Band, CreditForm, Operator, Unit};
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

/// Reads a credit; `unit` is that of the measure, `None` for one that could not be read.
pub(super) fn credit(
    node: &Node,
    unit: Option<Unit>,
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
    let bands = map.optional("bands", None, problems, |node, p| bands(node, unit, p).map(Some));
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
fn bands(node: &Node, unit: Option<Unit>, problems: &mut Problems) -> Option<CreditForm> {
    let mut bands = list(node, problems, |node, problems| band(node, unit, problems))?;
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
fn keys_of(unit: Unit) -> [(&'static str, Operator); 2] {
    match unit {
        Unit::Share => [("below", Operator::Below), ("at_most", Operator::AtMost)],
        Unit::Duration => [("above", Operator::Above), ("at_least", Operator::AtLeast)],
    }
}

fn band(node: &Node, unit: Option<Unit>, problems: &mut Problems) -> Option<Band> {
    let mut map = Map::open(node, "a band", problems)?;
    let unit = unit.unwrap_or_else(|| {
        let durations = keys_of(Unit::Duration).map(|(key, _)| key);
        let found = map.keys().any(|(key, _)| durations.contains(&key));
        if found { Unit::Duration } else { Unit::Share }
    });
    let (other, direction, sample) = match unit {
        Unit::Share => (Unit::Duration, "high: write below or at_most", "below: 99.9%"),
        Unit::Duration => (Unit::Share, "low: write above or at_least", "above: 3s"),
    };
    for (key, _) in keys_of(other) {
        if let Some(node) = map.get(key) {
            let cure = format!("this measure is good when it is {direction}");
            problems.report::<()>(node.at, "measure-target-mismatch", format!("`{key}`"), cure);
            return None;
        }
    }
    let [strict, equal] = keys_of(unit).map(|(key, operator)| {
        map.optional(key, None, problems, |node, p| {
            threshold(node, unit, operator, p).map(|threshold| Some((operator, threshold)))
        })
    });
    let rate = map.required("rate", problems, share_above_zero);
    map.finish(problems);
    let (operator, threshold) = match (strict?, equal?) {
        (Some(begin), None) | (None, Some(begin)) => begin,
        (Some(_), Some(_)) => {
            let [(strict, _), (equal, _)] = keys_of(unit);
            let message = format!("`{strict}` and `{equal}` stand together");
            return problems.report(node.at, "bad-value", message, "keep one of them");
        }
        (None, None) => {
            let cure = format!("add `{sample}`");
            return problems.report(node.at, "missing-key", "the band has no beginning", cure);
        }
    };
    Some(Band { operator, threshold, rate: rate? })
}

/// The value that a band begins at.
fn threshold(
    node: &Node,
    unit: Unit,
    operator: Operator,
    problems: &mut Problems,
) -> Option<Exact> {
    let percentage = match &node.value {
        Value::Scalar { text, .. } => number::percentage(text).is_ok(),
        Value::Sequence(_) | Value::Mapping(_) => false,
    };
    match unit {
        Unit::Share => share(node, problems),
        Unit::Duration if percentage => {
            let cure = "this measure is a duration: write a band such as `above: 3s`";
            problems.report(node.at, "measure-target-mismatch", node.describe(), cure)
        }
        Unit::Duration => match (node.duration_ns(problems)?, operator) {
            (0, Operator::AtLeast) => {
                let cure = "every duration is at least that: write `flat`, or a longer one";
                problems.report(node.at, "bad-value", node.describe(), cure)
            }
            (threshold_ns, _) => Some(number::whole(threshold_ns)),
        },
    }
}
