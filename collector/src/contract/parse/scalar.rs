//! Single values: percentages, targets, dates and counts.

use crate::contract::model::{Good, Operator, Scale, Target, Unit};
use crate::contract::money::{Currency, Money};
use crate::contract::number::{self, Exact};
use crate::contract::period::{PeriodKind, instant_s, start_of_date};
use jiff::tz::TimeZone;
use probefleet_proto::units::parse_duration_ns;
use probefleet_proto::yaml::{Map, Node, Problems, Value, scalar};

/// Highest score that anything is compared with: a MOS ends at 5, an R factor at 100.
const SCORE_MAX: u64 = 1_000;

/// Highest number of outages that anything is compared with: one in each second of a year is far less.
const COUNT_MAX: u64 = 1_000_000_000;

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

/// A percentage above zero, however large.
pub(super) fn percentage_above_zero(node: &Node, problems: &mut Problems) -> Option<Exact> {
    let share = scalar(node, problems, "bad-percentage", number::percentage)?;
    if share == number::whole(0) {
        return problems.report(node.at, "bad-value", node.describe(), "write more than 0%");
    }
    Some(share)
}

/// A decimal above zero.
pub(super) fn number_above_zero(node: &Node, problems: &mut Problems) -> Option<Exact> {
    let read = scalar(node, problems, "bad-value", number::decimal)?;
    if read == number::whole(0) {
        return problems.report(node.at, "bad-value", node.describe(), "write more than 0");
    }
    Some(read)
}

/// An amount in quotes. Without a currency, whose own problem was reported, there is none.
pub(super) fn amount(
    node: &Node,
    currency: Option<&Currency>,
    problems: &mut Problems,
) -> Option<Money> {
    let currency = currency?;
    if matches!(node.value, Value::Scalar { quoted: false, .. }) {
        let cure = "write an amount in quotes, such as \"12000.00\"";
        return problems.report(node.at, "bad-value", node.describe(), cure);
    }
    scalar(node, problems, "bad-value", |text| currency.amount(text))
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

/// The promise of a measure; `None` for one that could not be read, whose target is taken as it is written.
pub(super) fn target(node: &Node, scale: Option<Scale>, problems: &mut Problems) -> Option<Target> {
    let (text, operator, value) = comparison(node, problems)?;
    let Scale { unit, good } = scale.unwrap_or(Scale {
        unit: if value.ends_with('%') { Unit::Share } else { Unit::Duration },
        good: operator.good(),
    });
    let sample = match (unit, good) {
        (Unit::Share, Good::High) => "a target such as \">= 99.95%\"",
        (Unit::Share | Unit::Ppm, _) => "a target such as \"<= 0.1%\"",
        (Unit::Duration, _) => "a target such as \"<= 3s\"",
        (Unit::Centi, _) => "a target such as \">= 4.0\"",
        (Unit::Count, _) => "a target such as \"<= 2\"",
    };
    let limit = figure(node, value, Written { unit, sample }, problems)?;
    let (one, zero) = (number::whole(unit.in_one()), number::whole(0));
    let never = match (operator, unit) {
        _ if operator.good() != good => {
            let cure = match good {
                Good::High => "this measure is good when it is high: write >= or >",
                Good::Low => "this measure is good when it is low: write <= or <",
            };
            return problems.report(node.at, "measure-target-mismatch", node.describe(), cure);
        }
        (Operator::Above, Unit::Share) if limit == one => {
            "nothing is above 100%: write \">= 100%\""
        }
        (Operator::Below, Unit::Duration) if limit == zero => {
            "nothing takes less than no time: write a longer duration"
        }
        (Operator::Below, Unit::Count) if limit == zero => "nothing is below 0: write \"<= 0\"",
        (Operator::Below, _) if limit == zero => "nothing is below 0%: write \"<= 0%\"",
        (Operator::AtLeast, Unit::Centi) if limit == zero => {
            "everything is at least that: write more than 0"
        }
        _ => return Some(Target { text: text.to_owned(), operator, limit }),
    };
    problems.report(node.at, "bad-value", node.describe(), never)
}

/// How a figure is written, with a sample for who wrote it otherwise.
#[derive(Clone, Copy)]
pub(super) struct Written {
    pub(super) unit: Unit,
    pub(super) sample: &'static str,
}

/// A figure in the unit of its scale.
pub(super) fn figure(
    node: &Node,
    value: &str,
    written: Written,
    problems: &mut Problems,
) -> Option<Exact> {
    let Written { unit, sample } = written;
    let percentage = number::percentage(value).is_ok();
    let duration = parse_duration_ns(value).is_ok();
    let (mismatch, what) = match unit {
        Unit::Share | Unit::Ppm => {
            (duration || number::decimal(value).is_ok(), "this measure is a percentage")
        }
        Unit::Duration => (percentage, "this measure is a duration"),
        Unit::Centi => (percentage || duration, "this measure is a score"),
        Unit::Count => (percentage || duration, "this measure is a number"),
    };
    if mismatch {
        let cure = format!("{what}: write {sample}");
        return problems.report(node.at, "measure-target-mismatch", node.describe(), cure);
    }
    let read = match unit {
        Unit::Share | Unit::Ppm => number::percentage(value).map_err(|error| error.to_string()),
        Unit::Centi => score(value),
        Unit::Count => whole_number(value),
        Unit::Duration => {
            let limit_ns = parse_duration_ns(value).map_err(|error| error.to_string());
            return match limit_ns {
                Ok(limit_ns) => Some(number::whole(limit_ns)),
                Err(why) => problems.report(node.at, "bad-duration", node.describe(), why),
            };
        }
    };
    match read {
        Ok(share) if matches!(unit, Unit::Share | Unit::Ppm) && share > number::whole(1) => {
            problems.report(node.at, "percent-over-100", node.describe(), "at most 100%")
        }
        Ok(figure) => Some(figure * number::whole(unit.in_one())),
        Err(why) => problems.report(node.at, "bad-value", node.describe(), why),
    }
}

/// A decimal of whole hundredths.
fn score(value: &str) -> Result<Exact, String> {
    let score = number::decimal(value).map_err(|error| error.to_string())?;
    if !(&score * number::whole(Unit::Centi.in_one())).is_integer() {
        return Err("write at most two places, such as 4.05".to_owned());
    }
    if score > number::whole(SCORE_MAX) {
        return Err(format!("write at most {SCORE_MAX}"));
    }
    Ok(score)
}

/// A number of things.
fn whole_number(value: &str) -> Result<Exact, String> {
    let number = number::decimal(value).map_err(|error| error.to_string())?;
    if !number.is_integer() {
        return Err("write a whole number, such as 2".to_owned());
    }
    if number > number::whole(COUNT_MAX) {
        return Err(format!("write at most {COUNT_MAX}"));
    }
    Ok(number)
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
            let mut map = Map::open(node, "a period", problems)?;
            let day = map.required("billing_day", problems, |node, p| match node.whole(p)? {
                day @ 1..=31 => i8::try_from(day).ok(),
                _ => p.report(node.at, "bad-value", node.describe(), "write a day from 1 to 31"),
            });
            map.finish(problems);
            day.map(PeriodKind::Billing)
        }
        _ => node.choice(problems, PeriodKind::WORDS),
    }
}
