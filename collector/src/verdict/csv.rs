//! A verdict for spreadsheets: a header, then one objective a line (RFC 4180). Every figure is a number or text that no
//! spreadsheet takes for a formula; percentages are exact decimals without the sign.

use crate::contract::number::percent_text;
use crate::sla::verdict::{Budget, ObjectiveVerdict, Verdict};

/// The columns. New ones are only ever added at the end.
const COLUMNS: [&str; 20] = [
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

fn fields(verdict: &Verdict, objective: &ObjectiveVerdict) -> [String; 20] {
    let percent = |share| percent_text(share).trim_end_matches('%').to_owned();
    let (seconds, attempts) = (&objective.seconds, &objective.attempts);
    let currency = &verdict.credits.currency;
    [
        verdict.agreement.clone(),
        verdict.version.to_string(),
        verdict.signed.to_string(),
        verdict.label.clone(),
        objective.name.clone(),
        objective.status.as_str().to_owned(),
        objective.target.clone(),
        objective.value.as_ref().map(|value| percent(&value.share)).unwrap_or_default(),
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
        objective.credit.as_ref().map(|line| currency.text(&line.amount)).unwrap_or_default(),
        currency.code().to_owned(),
    ]
}

fn budget(budget: Budget) -> String {
    match budget {
        Budget::Seconds(left) => format!("{left} s"),
        Budget::Attempts(left) => format!("{left} attempts"),
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
