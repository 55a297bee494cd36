//! The JSON Schema of agreements, for editors: draft 2020-12, whose validator says while somebody writes what
//! `contract check` would say later.
//!
//! It knows keys, words and the shapes of values; the words are the tables that the parser reads by. What several places of
//! a file decide together (a target and its measure, the order of bands, names) only the parser knows, which has the last
//! word: the schema never refuses what the parser takes. Tests ask the parser for the keys that it knows at each place, and
//! break a file that has them all at every place.

mod credit;
mod objective;
mod scalar;

use super::money::Currency;
use super::parse::termination::{COMBINE, PERIODS_MAX};
use super::parse::terms;
use super::period::PeriodKind;
use scalar::{
    choice, count, count_to, date, duration, flag, instant, list, money, name, named, object,
    reference, share, words,
};
use serde_json::{Map, Value, json};

/// Where the drafts of JSON Schema are named.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of an agreement.
#[must_use]
pub fn agreement() -> Value {
    let definitions: Map<String, Value> = parties()
        .into_iter()
        .chain(delivery())
        .chain(termination())
        .chain(objective::definitions())
        .chain(credit::definitions())
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    let mut schema = json!({"$schema": DRAFT, "title": "An agreement of Probefleet"});
    if let (Some(schema), Value::Object(keys)) = (schema.as_object_mut(), root()) {
        schema.extend(keys);
    }
    // An heir may do without promises of its own.
    let own =
        json!({"required": ["objectives"], "properties": {"objectives": {"minProperties": 1}}});
    schema["anyOf"] = json!([{"required": ["parent"]}, own]);
    schema["$defs"] = Value::Object(definitions);
    schema
}

/// The keys of an agreement.
fn root() -> Value {
    let required = [
        "agreement",
        "version",
        "kind",
        "level",
        "title",
        "parties",
        "time_zone",
        "currency",
        "term",
        "period",
        "services",
    ];
    let objective = json!({
        "if": {"type": "object", "required": ["remove"]},
        "then": reference("removed"),
        "else": reference("objective"),
    });
    let currencies: Vec<(&str, ())> = Currency::codes().map(|code| (code, ())).collect();
    object(
        &required,
        vec![
            ("agreement", name("Its name, by which others inherit from it and rest on it.")),
            ("version", count("Any change of meaning is a new, higher version.")),
            (
                "kind",
                choice(
                    terms::KINDS,
                    "sla; ola: between parts of one house, without credits; underpinning: with a supplier, credits are ours.",
                ),
            ),
            ("level", choice(terms::LEVELS, "For whom it holds.")),
            ("parent", name("The agreement whose objectives it inherits.")),
            ("title", words("What people call it.")),
            ("overview", words("What is promised, to whom, and why.")),
            ("not_included", list(words("What nobody should expect."), 0)),
            ("parties", reference("parties")),
            ("responsibilities", list(reference("responsibility"), 0)),
            (
                "time_zone",
                words(
                    "A name of the IANA zone database, such as Europe/Berlin; every date is in it.",
                ),
            ),
            ("currency", choice(&currencies, "A code of ISO 4217, such as EUR.")),
            ("term", reference("term")),
            ("period", reference("period")),
            ("services", named(reference("service"), 1)),
            ("calendars", named(reference("calendar"), 0)),
            ("maintenance", reference("maintenance")),
            ("objectives", named(objective, 0)),
            ("credits", reference("credits")),
            ("termination", list(reference("termination"), 0)),
            ("close", reference("close")),
        ],
    )
}

/// Who, and for how long.
fn parties() -> Vec<(&'static str, Value)> {
    vec![
        (
            "parties",
            object(
                &["provider"],
                vec![
                    ("provider", reference("party")),
                    ("customer", reference("party")),
                    ("auditors", list(reference("party"), 0)),
                ],
            ),
        ),
        (
            "party",
            object(
                &["name"],
                vec![("name", words("Its name.")), ("contact", words("Where it is reached."))],
            ),
        ),
        (
            "responsibility",
            object(
                &["party", "text"],
                vec![("party", words("Whose duty it is.")), ("text", words("What it must do."))],
            ),
        ),
        (
            "term",
            object(
                &["from", "until"],
                vec![
                    ("from", instant("When it begins.")),
                    ("until", instant("The first instant that no longer belongs to it.")),
                ],
            ),
        ),
    ]
}

/// What is delivered, and when.
fn delivery() -> Vec<(&'static str, Value)> {
    vec![
        (
            "period",
            json!({
                "description": "The stretch of the calendar that is judged.",
                "anyOf": [choice(PeriodKind::WORDS, "A stretch of the calendar."), reference("billing")],
            }),
        ),
        ("billing", object(&["billing_day"], vec![("billing_day", scalar::day_of_month())])),
        (
            "service",
            object(
                &[],
                vec![
                    ("title", words("What people call it.")),
                    ("monthly_charge", money("What it costs a month; credits are shares of it.")),
                    ("active_from", instant("When it comes into use.")),
                    ("active_until", instant("When it goes out of use.")),
                ],
            ),
        ),
        (
            "calendar",
            object(
                &["weekly"],
                vec![
                    ("weekly", scalar::week()),
                    ("holidays", list(date("A date on which no hours begin."), 0)),
                ],
            ),
        ),
        (
            "maintenance",
            object(
                &["notice", "at_most", "approval"],
                vec![
                    ("notice", duration("It is announced at least so long before.")),
                    ("at_most", duration("So much of each period is excluded at most.")),
                    ("approval", choice(terms::APPROVAL, "Who grants it.")),
                ],
            ),
        ),
        (
            "close",
            object(
                &[],
                vec![
                    ("grace", duration("Late reports are taken so long; 72h if left out.")),
                    ("dispute", duration("Objections are taken so long; 30d if left out.")),
                ],
            ),
        ),
        (
            "removed",
            object(
                &["remove"],
                vec![("remove", flag("An inherited objective does not hold.", &[true]))],
            ),
        ),
    ]
}

/// What opens the right to terminate.
fn termination() -> Vec<(&'static str, Value)> {
    let periods = |description: &str| count_to(PERIODS_MAX, description);
    vec![
        (
            "of_last",
            object(
                &["breached", "of_last"],
                vec![
                    ("breached", periods("So many are breached.")),
                    ("of_last", periods("Of so many with a verdict.")),
                ],
            ),
        ),
        (
            "consecutive",
            object(
                &["consecutive"],
                vec![("consecutive", periods("So many in a row are breached."))],
            ),
        ),
        (
            "mean_below",
            object(
                &["objective", "mean_below", "over"],
                vec![
                    ("objective", name("Whose values.")),
                    ("mean_below", share("The mean is below this.")),
                    ("over", periods("Over so many periods.")),
                    ("combine", choice(COMBINE, "Which mean; mean_of_periods if left out.")),
                ],
            ),
        ),
        (
            "termination",
            json!({
                "description": "What opens the right to terminate.",
                "anyOf": (["of_last", "consecutive", "mean_below"].map(reference)),
            }),
        ),
    ]
}

#[cfg(test)]
mod tests;
