//! A verdict for spreadsheets: a header, then one objective a line (RFC 4180). Every figure is a number or text that no
//! spreadsheet takes for a formula; percentages are exact decimals without the sign. A value is in `value_percent`,
//! `value_seconds`, `value_score` or `value_count`, as its measure is; a percentile beyond the ok attempts is `timeout` or `failed`. `credit` is what is due for a
//! closed period, `credit_projected` what is projected for an open one.

use crate::contract::model::{Unit, Worth};
use crate::contract::number::{self, Exact, fixed, percent_short, percent_text};
use crate::sla::verdict::{Budget, Distance, Mean, Measured, ObjectiveVerdict, Verdict};
use probefleet_proto::units::NS_PER_S;

/// Places of a number of seconds: whole ns.
const SECONDS_PLACES: u32 = 9;

/// How many columns there are.
const COLUMNS_NUMBER: usize = 27;
/// The columns. New ones are only ever added at the end.
const COLUMNS: [&str; COLUMNS_NUMBER] = [
    "agreement",
    "version",
    "signed",
    "period",
    "objective",
    "status",
    "target",
    "value_percent",
    "coverage_percent",
    "up_s",
    "down_s",
    "unknown_s",
    "attempts_scheduled",
    "attempts_ok",
    "attempts_failed",
    "attempts_invalid",
    "attempts_missed",
    "budget_left",
    "credit",
    "currency",
    "value_seconds",
    "attempts_needed",
    "credit_projected",
    "next_band_rate_percent",
    "next_band_away",
    "value_score",
    "value_count",
];

/// The text of a verdict.
#[must_use]
pub fn render(verdict: &Verdict) -> String {
    let mut text = line(&COLUMNS.map(str::to_owned));
    for objective in &verdict.objectives {
        text.push_str(&line(&fields(verdict, objective)));
    }
    text
}

fn fields(verdict: &Verdict, objective: &ObjectiveVerdict) -> [String; COLUMNS_NUMBER] {
    let percent = |share| percent_text(share).trim_end_matches('%').to_owned();
    let (seconds, attempts) = (&objective.seconds, &objective.attempts);
    let (currency, unit) = (&verdict.credits.currency, objective.measure.unit());
    let [value_percent, value_seconds, value_score, value_count] = value(objective);
    let needed = match &objective.value {
        Some(Measured::Percentile(it)) => it.needed.to_string(),
        _ => String::new(),
    };
    let amount = objective.credit.as_ref().map(|line| currency.text(&line.amount));
    let amount = amount.unwrap_or_default();
    let (due, projected) =
        if verdict.is_open() { (String::new(), amount) } else { (amount, String::new()) };
    let next = objective.next_band.as_ref();
    let next_rate = next.and_then(|next| match &next.worth {
        Worth::Rate(rate) => Some(percent_short(rate).trim_end_matches('%').to_owned()),
        Worth::Days(_) => None,
    });
    [
        verdict.agreement.clone(),
        verdict.version.to_string(),
        verdict.signed.to_string(),
        verdict.label.clone(),
        objective.name.clone(),
        objective.status.as_str().to_owned(),
        objective.target.clone(),
        value_percent,
        objective.coverage.as_ref().map(percent).unwrap_or_default(),
        seconds.up.to_string(),
        seconds.down.to_string(),
        seconds.unknown.to_string(),
        attempts.scheduled.to_string(),
        attempts.ok.to_string(),
        attempts.failed.to_string(),
        attempts.invalid.to_string(),
        attempts.missed.to_string(),
        objective.budget_left.map(budget).unwrap_or_default(),
        due,
        currency.code().to_owned(),
        value_seconds,
        needed,
        projected,
        next_rate.unwrap_or_default(),
        next.map(|next| away(unit, &next.away)).unwrap_or_default(),
        value_score,
        value_count,
    ]
}

/// The value as a percentage, in seconds, as a score or as a number.
fn value(objective: &ObjectiveVerdict) -> [String; 4] {
    let unit = objective.measure.unit();
    let sample = |value: Option<Exact>| match value {
        None => super::beyond(unit).to_owned(),
        Some(value) if unit == Unit::Duration => {
            fixed(&(value / number::whole(NS_PER_S)), SECONDS_PLACES)
        }
        Some(value) => unit.text(&value).trim_end_matches('%').to_owned(),
    };
    let value = match &objective.value {
        None => String::new(),
        Some(Measured::Share(share)) => percent_text(&share.share).trim_end_matches('%').to_owned(),
        Some(Measured::Percentile(it)) => sample(it.value.map(number::whole)),
        Some(Measured::Mean(Mean { mean: value, .. }) | Measured::Amount(value)) => {
            sample(Some(value.clone()))
        }
        Some(Measured::Intervals(it)) => percent_text(&it.mean).trim_end_matches('%').to_owned(),
    };
    let mut columns = [const { String::new() }; 4];
    let place = match unit {
        Unit::Share | Unit::Ppm => 0,
        Unit::Duration => 1,
        Unit::Centi => 2,
        Unit::Count => 3,
    };
    columns[place] = value;
    columns
}

fn away(unit: Unit, away: &Distance) -> String {
    match away {
        Distance::Seconds(seconds) => format!("{seconds} s"),
        Distance::Attempts(attempts) => format!("{attempts} attempts"),
        Distance::Value(away) => unit.text(away),
    }
}

fn budget(budget: Budget) -> String {
    match budget {
        Budget::Seconds(left) => format!("{left} s"),
        Budget::Attempts(left) => format!("{left} attempts"),
        Budget::Outages(left) => format!("{left} outages"),
    }
}

fn line(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|text| field(text)).collect();
    format!("{}\r\n", fields.join(","))
}

/// Quoted where it must be; what a spreadsheet would run as a formula is made text.
fn field(text: &str) -> String {
    let number =
        text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let formula =
        text.starts_with(['=', '+', '@', '\t', '\r']) || (text.starts_with('-') && !number);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_never_formulas() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("=1+1", "'=1+1"),
            ("-5 s", "-5 s"),
            ("-cmd", "'-cmd"),
            (">= 99%", ">= 99%"),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
