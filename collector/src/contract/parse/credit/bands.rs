//! Band tables. Bands on the value are written as the measure's target is. Those on what lies beyond the target become
//! bands on the value here, once and exactly, so that there is one way to judge them; those on Down time stay apart.

use super::super::scalar::{Written, figure, percentage_above_zero, share, share_above_zero};
use super::{Context, half};
use crate::contract::model::{Band, CreditForm, Good, Operator, Scale, Unit};
use crate::contract::number::{self, Exact};
use probefleet_proto::units::NS_PER_S;
use probefleet_proto::yaml::{Map, Node, Problems, Value, list};

/// What bands stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::contract) enum By {
    Value,
    Excess,
    ExcessRatio,
    Downtime,
}

/// What bands stand on, if not on the value.
pub(in crate::contract) const BY: &[(&str, By)] =
    &[("excess", By::Excess), ("excess_ratio", By::ExcessRatio), ("downtime", By::Downtime)];

/// Reads a band table; `keys` are the nodes of `by` and `precision`.
pub(super) fn table(
    node: &Node,
    keys: (Option<&Node>, Option<&Node>),
    context: Context<'_>,
    problems: &mut Problems,
) -> Option<CreditForm> {
    let by = match keys.0 {
        Some(node) => node.choice(problems, BY)?,
        None => By::Value,
    };
    if let Some(node) = keys.1.filter(|_| by != By::Excess) {
        let cure = "it belongs to `by: excess`: leave it out";
        return problems.report(node.at, "bad-value", "`precision`", cure);
    }
    match by {
        By::Value => {
            let bands = list(node, problems, |node, p| band(node, context.scale(), p))?;
            in_order(node, bands, problems).map(CreditForm::Bands)
        }
        By::Downtime => {
            let scale = Scale { unit: Unit::Duration, good: Good::Low };
            let mut bands = list(node, problems, |node, p| band(node, Some(scale), p))?;
            bands.iter_mut().for_each(|band| band.threshold /= number::whole(NS_PER_S));
            in_order(node, bands, problems).map(CreditForm::DownBands)
        }
        By::Excess | By::ExcessRatio => {
            let ratio = by == By::ExcessRatio;
            let bands = list(node, problems, |node, p| excess(node, ratio, context, p))?;
            let bands = on_the_value(node, bands, (ratio, keys.1), context, problems)?;
            in_order(node, bands, problems).map(CreditForm::Bands)
        }
    }
}

/// Sorts bands, the mildest first.
fn in_order(node: &Node, mut bands: Vec<Band>, problems: &mut Problems) -> Option<Vec<Band>> {
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
    Some(bands)
}

// === bands on what lies beyond the target ===

/// A band of an excess, whose good end is low: in the unit of the measure, or as a share of the target.
fn excess(node: &Node, ratio: bool, context: Context<'_>, problems: &mut Problems) -> Option<Band> {
    if ratio {
        return ratio_band(node, problems);
    }
    let scale = context.scale().map(|scale| Scale { good: Good::Low, ..scale });
    band(node, scale, problems)
}

/// A band of an excess as a share of the target, which may be more than all of it.
fn ratio_band(node: &Node, problems: &mut Problems) -> Option<Band> {
    let mut map = Map::open(node, "a band", problems)?;
    let [strict, equal] = keys_of(Good::Low).map(|(key, operator)| {
        map.get(key)
            .map(|node| percentage_above_zero(node, problems).map(|share| (operator, share)))
    });
    let rate = map.required("rate", problems, share_above_zero);
    let at = map.at();
    map.finish(problems);
    let (operator, threshold) = match (strict, equal) {
        (Some(begin), None) | (None, Some(begin)) => begin?,
        (Some(_), Some(_)) => {
            let message = "`above` and `at_least` stand together";
            return problems.report(at, "bad-value", message, "keep one of them");
        }
        (None, None) => {
            return problems.report(
                at,
                "missing-key",
                "the band has no beginning",
                "add `above: 10%`",
            );
        }
    };
    Some(Band { operator, threshold, rate: rate? })
}

/// The same bands as ones on the value.
fn on_the_value(
    node: &Node,
    bands: Vec<Band>,
    (ratio, precision): (bool, Option<&Node>),
    context: Context<'_>,
    problems: &mut Problems,
) -> Option<Vec<Band>> {
    let (scale, target) = (context.scale()?, context.target?);
    if ratio && target.limit == number::whole(0) {
        let cure = "nothing is a share of a target of 0: write `by: excess`";
        return problems.report(node.at, "excess-of-zero-target", target.text.clone(), cure);
    }
    let precision = match precision {
        Some(node) => Some(step(node, scale, problems)?),
        None => None,
    };
    let on_value = |band: Band| {
        let band = match &precision {
            Some(step) => rounded(&band, step),
            None => band,
        };
        let excess = if ratio { &band.threshold * &target.limit } else { band.threshold };
        match scale.good {
            Good::Low => Band { threshold: &target.limit + excess, ..band },
            Good::High => Band {
                operator: band.operator.mirrored(),
                threshold: &target.limit - excess,
                rate: band.rate,
            },
        }
    };
    let bands: Vec<Band> = bands.into_iter().map(on_value).collect();
    if bands.iter().any(|band| band.threshold < number::whole(0)) {
        let cure = "a value cannot fall that far below its target: write less";
        return problems.report(node.at, "bad-value", "a band below zero", cure);
    }
    Some(bands)
}

/// What an excess is rounded to, in the unit of the measure.
fn step(node: &Node, scale: Scale, problems: &mut Problems) -> Option<Exact> {
    let Value::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-value", node.describe(), "write a single value");
    };
    let sample = match scale.unit {
        Unit::Duration => "one such as 0.1ms",
        Unit::Share | Unit::Ppm => "one such as 0.1%",
        Unit::Centi => "one such as 0.1",
        Unit::Count => "one such as 1",
    };
    let step = figure(node, text, Written { unit: scale.unit, sample }, problems)?;
    if step == number::whole(0) {
        return problems.report(node.at, "bad-value", node.describe(), "write more than 0");
    }
    Some(step)
}

/// Where an excess must be so that, rounded half up to a step, it passes the band: `> x` from half a step before the next
/// multiple after x, `>= x` from half a step before the first multiple that is not below x.
fn rounded(band: &Band, step: &Exact) -> Band {
    let steps = &band.threshold / step;
    let first = match band.operator {
        Operator::Above | Operator::Below => steps.floor() + number::whole(1),
        Operator::AtLeast | Operator::AtMost => steps.ceil(),
    };
    let threshold = (first - half()) * step;
    Band { operator: Operator::AtLeast, threshold, rate: band.rate.clone() }
}

// === one band ===

/// The keys that a band of a measure may begin with, the strict one first.
pub(in crate::contract) fn keys_of(good: Good) -> [(&'static str, Operator); 2] {
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
        (Unit::Count, _) => "above: 3",
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
        Unit::Count => "a band such as `above: 3`",
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
