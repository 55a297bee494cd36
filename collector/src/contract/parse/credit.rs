//! What a breach is worth: exactly one form, and what its shares and days are taken of.

pub(in crate::contract) mod bands;
pub(in crate::contract) mod per;

use super::scalar::{amount, number_above_zero, share_above_zero};
use crate::contract::model::{Base, Credit, CreditForm, DayFraction, Measure, Scale, Target};
use crate::contract::money::Currency;
use crate::contract::number::Exact;
use probefleet_proto::yaml::{Map, Node, Problems, Value, list};

/// The forms of the language; exactly one stands under a `credit`.
pub(in crate::contract) const FORMS: [&str; 5] = ["flat", "days", "bands", "per", "linear"];
/// What a day may cost.
pub(in crate::contract) const DAY_FRACTION: &[(&str, DayFraction)] =
    &[("thirtieth", DayFraction::Thirtieth), ("actual", DayFraction::Actual)];
/// Bases that are one word.
pub(in crate::contract) const BASE: &[(&str, ())] = &[("monthly_charge", ())];

/// What a credit is read by: of an objective that could not be read, less is known.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) measure: Option<&'a Measure>,
    pub(super) target: Option<&'a Target>,
    pub(super) currency: Option<&'a Currency>,
}

impl Context<'_> {
    fn scale(&self) -> Option<Scale> {
        self.measure.map(Measure::scale)
    }
}

/// Reads a credit.
pub(super) fn credit(node: &Node, context: Context<'_>, problems: &mut Problems) -> Option<Credit> {
    let mut map = Map::open(node, "a credit", problems)?;
    let there: Vec<&str> =
        map.keys().map(|(key, _)| key).filter(|key| FORMS.contains(key)).collect();
    if there.len() > 1 {
        let message = format!("{} stand together", there.join(" and "));
        problems.report::<()>(node.at, "two-credit-forms", message, "keep exactly one");
    }
    let form = form(&mut map, context, problems);
    let base = map.get("base");
    if let Some(at) = base.filter(|_| form.as_ref().is_some_and(CreditForm::is_in_days)) {
        let cure = "a day has its own base: leave `base` out";
        problems.report::<()>(at.at, "base-with-days", "`base` beside `days`", cure);
    }
    let base = match base {
        Some(node) => self::base(node, context, problems),
        None => Some(Base::Charge),
    };
    let day = map.optional("day_fraction", DayFraction::Thirtieth, problems, |node, p| {
        node.choice(p, DAY_FRACTION)
    });
    map.finish(problems);
    if there.is_empty() {
        let cure = format!("write one of {}", FORMS.join(", "));
        return problems.report(node.at, "missing-key", "the credit has no form", cure);
    }
    Some(Credit { form: form?, base: base?, day: day? })
}

fn form(map: &mut Map<'_>, context: Context<'_>, problems: &mut Problems) -> Option<CreditForm> {
    // All are read, so that every problem is seen; a second one was reported.
    let flat = map.get("flat").map(|node| share_above_zero(node, problems).map(CreditForm::Flat));
    let days = map.get("days").map(|node| number_above_zero(node, problems).map(CreditForm::Days));
    let by = map.get("by");
    let precision = map.get("precision");
    let table = map.get("bands").map(|node| bands::table(node, (by, precision), context, problems));
    let per = map.get("per").map(|node| per::per(node, context, problems).map(CreditForm::Per));
    let linear = map.get("linear").map(|node| linear(node, context, problems));
    if table.is_none() {
        for (key, node) in [("by", by), ("precision", precision)] {
            if let Some(node) = node {
                let cure = "it says what bands stand on: add `bands`, or leave it out";
                problems.report::<()>(
                    node.at,
                    "bad-value",
                    format!("`{key}` without `bands`"),
                    cure,
                );
            }
        }
    }
    [flat, days, table, per, linear].into_iter().flatten().next()?
}

/// Points for points: of percentages only.
fn linear(node: &Node, context: Context<'_>, problems: &mut Problems) -> Option<CreditForm> {
    let factor = number_above_zero(node, problems)?;
    // The value of a percentile is that of a histogram's bucket, and no exact figure to multiply.
    if context.measure.is_some_and(|measure| !measure.is_percentage()) {
        let cure = "it is for percentages that are no percentiles: write `bands` with `by: excess`";
        return problems.report(node.at, "measure-target-mismatch", "`linear`", cure);
    }
    Some(CreditForm::Linear(factor))
}

/// `monthly_charge`, `{amount: "500.00"}` or `{greater_of: […]}`.
fn base(node: &Node, context: Context<'_>, problems: &mut Problems) -> Option<Base> {
    if matches!(node.value, Value::Scalar { .. }) {
        return node.choice(problems, BASE).map(|()| Base::Charge);
    }
    let mut map = Map::open(node, "a base", problems)?;
    let of = map.get("greater_of");
    let read = match of {
        Some(node) => greater_of(node, context, problems),
        None => map
            .required("amount", problems, |node, p| amount(node, context.currency, p))
            .map(Base::Amount),
    };
    map.finish(problems);
    read
}

fn greater_of(node: &Node, context: Context<'_>, problems: &mut Problems) -> Option<Base> {
    let flat = |node: &Node, problems: &mut Problems| match base(node, context, problems)? {
        Base::GreaterOf(_) => {
            let cure = "write all of them in one list";
            problems.report(node.at, "bad-value", "`greater_of` inside itself", cure)
        }
        base => Some(base),
    };
    let of = list(node, problems, flat)?;
    if of.len() < 2 {
        let cure = "name at least two, as in [monthly_charge, {amount: \"1400.00\"}]";
        return problems.report(node.at, "bad-value", node.describe(), cure);
    }
    Some(Base::GreaterOf(of))
}

/// Half an exact number, for thresholds of what is rounded.
fn half() -> Exact {
    Exact::new(1.into(), 2.into())
}
