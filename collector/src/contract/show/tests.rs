//! Whatever moves money or a verdict is said: every value of a sample with every key is changed, and the clauses with it.

use super::super::number::{self, Exact};
use super::words;
use super::*;
use probefleet_proto::yaml::Document;
use serde_json::{Value, json};

/// Every key of the language.
const FULL: &str = include_str!("../../../tests/fixtures/contract/full.yaml");

/// Words, each with those that may stand in its place.
const WORDS: &[&[&str]] = &[
    &["sla", "ola", "underpinning"],
    &["corporate", "customer", "service"],
    &["day", "week", "quarter", "half_year", "year"],
    &["automatic", "customer"],
    &["monthly_charge", "other"],
    &["availability", "success"],
    &["downtime", "longest_outage"],
    &["removed", "as_up", "none"],
    &["removed", "up", "down"],
    &["open", "floor", "locked"],
    &["available", "always"],
    &["as_worst", "exclude"],
    &["all", "other"],
    &["thirtieth", "actual"],
    &["downtime", "excess_downtime", "failed_days"],
    &["excess", "excess_ratio", "downtime"],
    &["up", "down", "prorata"],
    &["sum", "max"],
    &["half_even", "half_away_from_zero"],
    &["mean_of_periods", "pooled"],
    &["ser", "seer", "isa", "scr", "ira"],
    &["voice", "desk"],
    &["office", "morning"],
    &["fast", "delay", "available"],
    &["total", "jitter", "time_to_answer", "session_request_delay"],
    &["loss_ppm", "mos_centi"],
    &["UTC", "Europe/Berlin"],
    &["USD", "EUR"],
];
/// Values that do not change alone: what stands beside them is written for them.
const NEVER_ALONE: [&str; 13] = [
    "/objectives/available/credit/base/greater_of/0",
    "/objectives/night/credit/by",
    "/objectives/beyond/measure",
    "/objectives/beyond/vantages/each",
    "/objectives/heard/measure/phase",
    "/objectives/clear/measure/phase",
    "/objectives/delay/credit/by",
    "/objectives/lost/measure/mean",
    "/objectives/lost/credit/by",
    "/objectives/established/credit/per/of",
    "/objectives/refused/credit/per/of",
    "/objectives/failures/measure",
    "/credits/claim/from",
];

fn load(text: &str) -> Option<Agreement> {
    Agreement::load(&[("a.yaml", text)]).ok().map(|loaded| loaded.agreement)
}

fn said(agreement: &Agreement) -> String {
    Reading::of(agreement).to_text()
}

/// A step into a value: a key or a place.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Place(usize),
}

fn paths(value: &Value) -> Vec<Vec<Step>> {
    let children: Vec<(Step, &Value)> = match value {
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (Step::Key(key.clone()), value)).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(place, item)| (Step::Place(place), item)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let mut all = vec![Vec::new()];
    for (step, child) in children {
        for mut path in paths(child) {
            path.insert(0, step.clone());
            all.push(path);
        }
    }
    all
}

fn at<'a>(value: &'a mut Value, path: &[Step]) -> &'a mut Value {
    path.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Place(place) => &mut value[*place],
    })
}

/// Other values of the same shape; most of them mean nothing where they stand, and are then refused.
fn others(value: &Value) -> Vec<Value> {
    let Value::String(text) = value else {
        return match value {
            Value::Number(number) => vec![json!(number.as_u64().expect("whole") + 1)],
            Value::Bool(flag) => vec![json!(!flag)],
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => Vec::new(),
        };
    };
    let words: Vec<Value> = WORDS
        .iter()
        .filter(|words| words.contains(&text.as_str()))
        .flat_map(|words| words.iter().filter(|word| *word != text).map(|word| json!(word)))
        .collect();
    if !words.is_empty() {
        return words;
    }
    // Another first digit, and another last one: nothing is lost to rounding.
    let is_digit = |(_, c): &(usize, char)| c.is_ascii_digit();
    let (first, last) =
        (text.char_indices().find(is_digit), text.char_indices().rev().find(is_digit));
    let digits = first.into_iter().chain(last).map(|(place, digit)| {
        let other = if digit == '9' { '8' } else { char::from(digit as u8 + 1) };
        let (before, after) = (&text[..place], &text[place + 1..]);
        json!(format!("{before}{other}{after}"))
    });
    let operator = [(">= ", "> "), ("> ", ">= "), ("<= ", "< "), ("< ", "<= ")]
        .iter()
        .filter(|(from, _)| text.starts_with(from))
        .map(|(from, to)| json!(text.replacen(from, to, 1)));
    let letter = [json!(format!("{text}x"))];
    digits.chain(operator).chain(letter).collect()
}

/// Each value is changed to others, and each part taken away. Where what is left is an agreement, and another one than
/// before, it says something else.
#[test]
fn every_value_is_said() {
    let document = Document::parse("full.yaml", FULL).expect("is YAML");
    let full = document.root.to_json();
    let agreement = load(FULL).expect("valid");
    let (expected, mut untried, mut tried) = (said(&agreement), Vec::new(), 0);
    assert_eq!(said(&load(&full.to_string()).expect("as JSON")), expected);
    let mut differs = |changed: &Value, what: &str| {
        let Some(other) = load(&changed.to_string()) else { return false };
        if (other.terms(), other.objectives()) == (agreement.terms(), agreement.objectives()) {
            return false;
        }
        assert_ne!(said(&other), expected, "{what}");
        tried += 1;
        true
    };
    for path in paths(&full) {
        let found = at(&mut full.clone(), &path).clone();
        let mut any = found.is_array() || found.is_object();
        for other in others(&found) {
            let mut changed = full.clone();
            *at(&mut changed, &path) = other.clone();
            any |= differs(&changed, &format!("{path:?} as {other}"));
        }
        if !any {
            untried.push(pointer(&path));
        }
        let Some((last, parent)) = path.split_last() else { continue };
        let mut changed = full.clone();
        match (at(&mut changed, parent), last) {
            (Value::Object(entries), Step::Key(key)) => drop(entries.remove(key)),
            (Value::Array(items), Step::Place(place)) => drop(items.remove(*place)),
            (other, _) => panic!("{other} has no parts"),
        }
        differs(&changed, &format!("without {path:?}"));
    }
    assert_eq!(untried, NEVER_ALONE, "values of which no other was tried");
    println!("{tried} changes");
}

fn pointer(path: &[Step]) -> String {
    path.iter().fold(String::new(), |pointer, step| match step {
        Step::Key(key) => format!("{pointer}/{key}"),
        Step::Place(place) => format!("{pointer}/{place}"),
    })
}

/// The sample with other lines in place of some.
fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(FULL.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

#[test]
fn what_is_inherited_says_from_where() {
    let child = "
agreement: child
version: 2
kind: sla
level: service
parent: acme-voice
title: Voice at one site
parties: {provider: {name: Voxtel GmbH}, customer: {name: ACME AG}}
time_zone: Europe/Berlin
currency: EUR
term: {from: 2026-01-01, until: 2029-01-01}
period: month
services: {voice: {monthly_charge: \"90.00\"}}
calendars: {office: {weekly: {mon: \"08:00-12:00\"}}}
objectives:
  fast: {remove: true}
  heard: {service: voice, probe: other, measure: success, target: \">= 99%\", hours: office, period: day}
";
    let agreement =
        Agreement::load(&[("child.yaml", child), ("full.yaml", FULL)]).expect("valid").agreement;
    let text = said(&agreement).split_whitespace().collect::<Vec<_>>().join(" ");
    for clause in [
        "It inherits the promises of agreement acme-voice, version 7, except where it says otherwise.",
        "It is inherited from agreement acme-voice, version 7. Agreements that inherit it may only promise more",
        "It stands in the place of that of agreement acme-voice, version 7.",
        "The promise fast of agreement acme-voice, version 7, does not hold under this agreement.",
        "It holds in the service hours office (of agreement acme-voice, version 7) only.",
        "It holds in the service hours office only.",
        "The service hours office are: - Monday, 08:00 to 12:00",
        "The service hours office (of agreement acme-voice, version 7) are: - Monday to Thursday, 08:00 to 18:00",
    ] {
        assert!(text.contains(clause), "{clause}\n{text}");
    }
}

/// Where a key has no effect nothing is said of it: the reader would take it for a promise.
#[test]
fn what_has_no_effect_is_not_said() {
    let text = said(
        &load(&with(&[("unknown: {as: up}", "unknown: {as: up, coverage: 77%}")])).expect("valid"),
    );
    assert!(!text.contains("77%"));
    let ola = load(&with(&[("kind: sla", "kind: ola")])).expect("valid");
    let text = said(&ola).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("the credits that are named here are not given"));
    let without = load(super::super::template::agreement(&plan()).as_str()).expect("valid");
    assert!(said(&without).contains("Breaches give no right to terminate"));
}

fn plan() -> probefleet_proto::plan::Plan {
    let text = "probes: [{name: page, http: {url: 'https://a.example/'}, every: 60s}]";
    probefleet_proto::plan::Plan::parse("plan.yaml", text).expect("a plan")
}

#[test]
fn quantities_are_said_exactly() {
    for (seconds, expected) in [
        (0, "0 seconds"),
        (1, "1 second"),
        (90, "90 seconds"),
        (120, "2 minutes"),
        (86_400, "24 hours"),
        (259_200, "72 hours"),
        (345_600, "4 days"),
        (345_660, "5761 minutes"),
    ] {
        assert_eq!(words::seconds(seconds), expected);
    }
    let ratio = |n: i64, d: i64| Exact::new(n.into(), d.into());
    for (ns, expected) in [
        (ratio(3_500_001_000, 1), "3.500001 seconds"),
        (ratio(45_000_000, 1), "45 milliseconds"),
        (ratio(1, 1), "1 nanosecond"),
        (ratio(5_050_000, 2), "2.525 milliseconds"),
        (ratio(60_000_000_000, 1), "1 minute"),
    ] {
        assert_eq!(words::nanoseconds(&ns), expected);
    }
    assert_eq!(
        words::exact(&number::decimal("0.00000000000000000000000000001").expect("fits")),
        "0.00000000000000000000000000001"
    );
    assert_eq!(words::exact(&ratio(1, 3)), "1/3");
    assert_eq!(words::percent(&ratio(501_250, 1_000_000)), "50.125%");
}

/// What somebody wrote into a title is no markup, and nothing that a terminal obeys.
#[test]
fn texts_mean_themselves() {
    let title = "\"\\e[31mAll *best* <b>_voice_</b> for snake_case\\n  and [more](x)\"";
    let text =
        with(&[("Hosted voice for ACME", title), ("[Handsets,", "[\"# none\", \"1. - x\",")]);
    let reading = Reading::of(&load(&text).expect("valid"));
    let markdown = reading.to_markdown();
    let first = markdown.lines().next().expect("a line");
    assert_eq!(
        first,
        "# \u{fffd}\\[31mAll \\*best\\* \\<b\\>\\_voice\\_\\</b\\> for snake_case and \\[more\\](x)"
    );
    assert!(markdown.contains("\n- \\# none\n- 1\\. - x\n"), "{markdown}");
    assert!(!reading.to_text().contains('\u{1b}'));
    assert!(reading.to_text().lines().all(|line| line.chars().count() <= 80));
}

/// The three formats have the same clauses under the same numbers.
#[test]
fn formats_agree() {
    let reading = Reading::of(&load(FULL).expect("valid"));
    let (text, markdown, json) = (reading.to_text(), reading.to_markdown(), reading.to_json());
    let mut clauses = 0;
    for section in json["sections"].as_array().expect("a list") {
        for clause in section["clauses"].as_array().expect("a list") {
            let number = clause["number"].as_str().expect("text");
            assert_eq!(text.matches(&format!("\n  {number} ")).count(), 1, "{number}");
            assert_eq!(markdown.matches(&format!("\n{number} ")).count(), 1, "{number}");
            clauses += 1;
        }
    }
    assert!(clauses > 100, "{clauses} clauses");
}
