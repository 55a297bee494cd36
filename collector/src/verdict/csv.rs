//! A verdict for spreadsheets: a header, then one objective a line (RFC 4180). Every figure is a number or text that no
//! spreadsheet takes for a formula; percentages are exact decimals without the sign. A value is in `value_percent` or in
//! `value_seconds`, as its measure is; a percentile beyond the ok attempts is `timeout`. `credit` is what is due for a
//! closed period, `credit_projected` what is projected for an open one.

use crate::contract::number::{self, fixed, percent_short, percent_text};
use crate::sla::verdict::{Budget, Distance, Measured, ObjectiveVerdict, Verdict};
use probefleet_proto::units::NS_PER_S;

/// Places of a number of seconds: whole ns.
const SECONDS_PLACES: u32 = 9;

/// How many columns there are.
const COLUMNS_NUMBER: usize = 25;
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
    let currency = &verdict.credits.currency;
    let [value_percent, value_seconds, needed] = value(objective);
    let amount = objective.credit.as_ref().map(|line| currency.text(&line.amount));
    let amount = amount.unwrap_or_default();
    let (due, projected) =
        if verdict.is_open() { (String::new(), amount) } else { (amount, String::new()) };
    let next = objective.next_band.as_ref();
    let next_rate = next.map(|next| percent_short(&next.rate).trim_end_matches('%').to_owned());
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
        next.map(|next| away(&next.away)).unwrap_or_default(),
    ]
}

/// The value as a percentage or in seconds, and how many attempts a percentile asks for.
fn value(objective: &ObjectiveVerdict) -> [String; 3] {
    let nothing = String::new;
    let seconds = |ns: number::Exact| fixed(&(ns / number::whole(NS_PER_S)), SECONDS_PLACES);
    match &objective.value {
        None => [nothing(), nothing(), nothing()],
        Some(Measured::Share(share)) => {
            let percent = percent_text(&share.share).trim_end_matches('%').to_owned();
            [percent, nothing(), nothing()]
        }
        Some(Measured::Percentile(it)) => {
            let value_ns = it.value_ns.map(number::whole);
            let value = value_ns.map_or("timeout".to_owned(), seconds);
            [nothing(), value, it.needed.to_string()]
        }
        Some(Measured::Mean(mean)) => [nothing(), seconds(mean.mean_ns.clone()), nothing()],
    }
}

fn away(away: &Distance) -> String {
    match away {
        Distance::Seconds(seconds) => format!("{seconds} s"),
        Distance::Attempts(attempts) => format!("{attempts} attempts"),
        Distance::Duration(ns) => super::ns_text(ns),
    }
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
