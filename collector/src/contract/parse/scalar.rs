//! Single values: percentages, targets, dates and counts.

use crate::contract::model::{Operator, Target, Unit};
use crate::contract::number::{self, Exact};
use crate::contract::period::{PeriodKind, instant_s, start_of_date};
use jiff::tz::TimeZone;
use probefleet_proto::units::parse_duration_ns;
use probefleet_proto::yaml::{Node, Problems, Value, scalar};

/// A percentage of at most 100 %, as a share.
pub(super) fn share(node: &Node, problems: &mut Problems) -> Option<Exact> {
    let share = scalar(node, problems, "bad-percentage", number::percentage)?;
    if share > number::whole(1) {
        return problems.report(node.at, "percent-over-100", node.describe(), "at most 100%");
    }
    Some(share)
}

/// A percentage above zero and of at most 100 %.
pub(super) fn share_above_zero(node: &Node, problems: &mut Problems) -> Option<Exact> {
    let share = share(node, problems)?;
    if share == number::whole(0) {
        return problems.report(node.at, "bad-value", node.describe(), "write more than 0%");
    }
    Some(share)
}

/// A whole number of at least one.
pub(super) fn count(node: &Node, problems: &mut Problems) -> Option<u64> {
    match node.whole(problems)? {
        0 => problems.report(node.at, "bad-value", node.describe(), "write 1 or more"),
        count => Some(count),
    }
}

/// Text that says something.
pub(super) fn words(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, problems, "bad-value", |text| match text.trim() {
        "" => Err("write some text"),
        _ => Ok(text.to_owned()),
    })
}

/// `true` or `false`.
pub(super) fn flag(node: &Node, problems: &mut Problems) -> Option<bool> {
    node.choice(problems, &[("true", true), ("false", false)])
}

/// The promise of a measure; `None` for one that could not be read, whose target may be of either unit.
pub(super) fn target(node: &Node, unit: Option<Unit>, problems: &mut Problems) -> Option<Target> {
    let (text, operator, value) = comparison(node, problems)?;
    let written = if value.ends_with('%') { Unit::Share } else { Unit::Duration };
    match unit.unwrap_or(written) {
        Unit::Share => share_target(node, (text, operator, value), problems),
        Unit::Duration => duration_target(node, (text, operator, value), problems),
    }
}

/// The promise of a measure that is a duration and good when low.
fn duration_target(
    node: &Node,
    (text, operator, value): (&str, Operator, &str),
    problems: &mut Problems,
) -> Option<Target> {
    if number::percentage(value).is_ok() {
        let cure = "this measure is a duration: write a target such as \"<= 3s\"";
        return problems.report(node.at, "measure-target-mismatch", node.describe(), cure);
    }
    let limit_ns = match parse_duration_ns(value) {
        Ok(limit_ns) => limit_ns,
        Err(error) => {
            return problems.report(node.at, "bad-duration", node.describe(), error.to_string());
        }
    };
    match operator {
        Operator::AtLeast | Operator::Above => {
            let cure = "this measure is good when it is low: write <= or <";
            problems.report(node.at, "measure-target-mismatch", node.describe(), cure)
        }
        Operator::Below if limit_ns == 0 => {
            let cure = "nothing takes less than no time: write a longer duration";
            problems.report(node.at, "bad-value", node.describe(), cure)
        }
        operator => {
            Some(Target { text: text.to_owned(), operator, limit: number::whole(limit_ns) })
        }
    }
}

/// The promise of a measure that is a percentage and good when high.
fn share_target(
    node: &Node,
    (text, operator, value): (&str, Operator, &str),
    problems: &mut Problems,
) -> Option<Target> {
    if parse_duration_ns(value).is_ok() || number::decimal(value).is_ok() {
        let cure = "this measure is a percentage: write a target such as \">= 99.95%\"";
        return problems.report(node.at, "measure-target-mismatch", node.describe(), cure);
    }
    let limit = match number::percentage(value) {
        Ok(limit) => limit,
        Err(error) => {
            return problems.report(node.at, "bad-value", node.describe(), error.to_string());
        }
    };
    let one = number::whole(1);
    if limit > one {
        return problems.report(node.at, "percent-over-100", node.describe(), "at most 100%");
    }
    match operator {
        Operator::AtMost | Operator::Below => {
            let cure = "this measure is good when it is high: write >= or >";
            problems.report(node.at, "measure-target-mismatch", node.describe(), cure)
        }
        Operator::Above if limit == one => {
            let cure = "nothing is above 100%: write \">= 100%\"";
            problems.report(node.at, "bad-value", node.describe(), cure)
        }
        operator => Some(Target { text: text.to_owned(), operator, limit }),
    }
}

/// `"> 50%"` or `">= 50%"`: the failed share at which an agent says Down.
pub(super) fn bad_share(node: &Node, problems: &mut Problems) -> Option<(Operator, Exact)> {
    let (_, operator, value) = comparison(node, problems)?;
    let cure = "write > or >= and a percentage, such as \"> 50%\"";
    let fits = matches!(operator, Operator::Above | Operator::AtLeast);
    match number::percentage(value) {
        Ok(share) if share > number::whole(1) => {
            problems.report(node.at, "percent-over-100", node.describe(), "at most 100%")
        }
        Ok(share) if fits && !impossible(operator, &share) => Some((operator, share)),
        _ => problems.report(node.at, "bad-value", node.describe(), cure),
    }
}

/// A rule that no window, or every window, would fulfil.
fn impossible(operator: Operator, share: &Exact) -> bool {
    match operator {
        Operator::Above => *share == number::whole(1),
        _ => *share == number::whole(0),
    }
}

/// Splits `">= 99.95%"` into operator and value.
fn comparison<'a>(node: &'a Node, problems: &mut Problems) -> Option<(&'a str, Operator, &'a str)> {
    const OPERATORS: [(&str, Operator); 4] = [
        (">=", Operator::AtLeast),
        ("<=", Operator::AtMost),
        (">", Operator::Above),
        ("<", Operator::Below),
    ];
    let Value::Scalar { text, .. } = &node.value else {
        return problems.report(node.at, "bad-value", node.describe(), "write a single value");
    };
    let found = OPERATORS
        .iter()
        .find_map(|(sign, operator)| text.strip_prefix(sign).map(|value| (*operator, value)));
    match found {
        Some((operator, value)) => Some((text, operator, value.trim())),
        None => {
            let cure = "write an operator and a value in quotes, such as \">= 99.95%\"";
            problems.report(node.at, "bad-value", node.describe(), cure)
        }
    }
}

/// A date in the agreement's zone, or an instant; in s since 1970 UTC.
pub(super) fn moment(node: &Node, zone: &TimeZone, problems: &mut Problems) -> Option<i64> {
    scalar(node, problems, "bad-date", |text| {
        let date = || {
            let shape: String =
                text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            let date = (shape == "0000-00-00").then(|| text.parse().ok()).flatten()?;
            start_of_date(date, zone)
        };
        let cure =
            "write a date such as 2026-01-01, or an instant such as 2026-01-01T08:00:00+01:00";
        instant_s(text).or_else(date).ok_or(cure)
    })
}

/// A kind of period.
pub(super) fn period(node: &Node, problems: &mut Problems) -> Option<PeriodKind> {
    match &node.value {
        Value::Mapping(entries) if entries.iter().any(|(key, _)| key.text == "billing_day") => {
            super::not_yet(node.at, "a billing month", "write month", problems);
            None
        }
        _ => node.choice(problems, PeriodKind::WORDS),
    }
}
