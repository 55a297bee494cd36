//! What a breach is worth.

use super::refuse;
use super::scalar::{share, share_above_zero};
use crate::contract::model::{Band, CreditForm, Operator};
use probefleet_proto::yaml::{Map, Node, Problems, list};

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

/// Reads a credit.
pub(super) fn credit(node: &Node, problems: &mut Problems) -> Option<CreditForm> {
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
    let bands = map.optional("bands", None, problems, |node, p| bands(node, p).map(Some));
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
fn bands(node: &Node, problems: &mut Problems) -> Option<CreditForm> {
    let mut bands = list(node, problems, band)?;
    if bands.is_empty() {
        return problems.report(node.at, "bad-value", "no band", "write {below: 99.9%, rate: 10%}");
    }
    // A value passes `at_most x` before it passes `below x`, so that one is milder.
    bands.sort_by(|a, b| {
        let strict = |band: &Band| band.operator == Operator::Below;
        b.threshold.cmp(&a.threshold).then(strict(a).cmp(&strict(b)))
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

fn band(node: &Node, problems: &mut Problems) -> Option<Band> {
    let mut map = Map::open(node, "a band", problems)?;
    for key in ["above", "at_least"] {
        if let Some(node) = map.get(key) {
            let cure = "this measure is good when it is high: write below or at_most";
            problems.report::<()>(node.at, "measure-target-mismatch", format!("`{key}`"), cure);
            return None;
        }
    }
    let below = map.optional("below", None, problems, |node, p| share(node, p).map(Some));
    let at_most = map.optional("at_most", None, problems, |node, p| share(node, p).map(Some));
    let rate = map.required("rate", problems, share_above_zero);
    map.finish(problems);
    let (operator, threshold) = match (below?, at_most?) {
        (Some(threshold), None) => (Operator::Below, threshold),
        (None, Some(threshold)) => (Operator::AtMost, threshold),
        (Some(_), Some(_)) => {
            let message = "`below` and `at_most` stand together";
            return problems.report(node.at, "bad-value", message, "keep one of them");
        }
        (None, None) => {
            let message = "the band has no beginning";
            return problems.report(node.at, "missing-key", message, "add `below: 99.9%`");
        }
    };
    Some(Band { operator, threshold, rate: rate? })
}
