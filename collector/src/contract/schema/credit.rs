//! The schema of credits: of one breach, and of all of a period.

use super::scalar::{
    choice, duration, figure, flag, list, money, name, number, object, one_of, reference, share,
};
use crate::contract::model::Good;
use crate::contract::parse::credit::bands::{BY, keys_of};
use crate::contract::parse::credit::per::{COUNT, OF};
use crate::contract::parse::credit::{BASE, DAY_FRACTION, FORMS};
use crate::contract::parse::terms::{CLAIM, CLAIM_FROM, COMBINE, ROUNDING};
use serde_json::{Value, json};

/// What credits are made of.
pub(super) fn definitions() -> Vec<(&'static str, Value)> {
    vec![
        ("credit", credit()),
        ("band", band()),
        ("per", per()),
        (
            "base",
            json!({
                "description": "What a share is of; monthly_charge if left out.",
                "anyOf": [
                    choice(BASE, "The service's charge for the period."),
                    reference("amount"),
                    reference("greater_of"),
                ],
            }),
        ),
        ("amount", object(&["amount"], vec![("amount", money("For the whole period."))])),
        ("greater_of", object(&["greater_of"], vec![("greater_of", list(reference("base"), 2))])),
        ("credits", credits()),
        (
            "claim",
            json!({
                "description": "Whether credits must be asked for; automatic if left out.",
                "anyOf": [choice(CLAIM, "They are given without."), reference("claimed")],
            }),
        ),
        (
            "claimed",
            object(
                &["within", "from"],
                vec![
                    ("within", duration("So long, and until the end of that date.")),
                    ("from", choice(CLAIM_FROM, "What the time runs from.")),
                ],
            ),
        ),
    ]
}

fn credit() -> Value {
    let mut credit = object(
        &[],
        vec![
            ("flat", share("That share of the base.")),
            ("days", number("So many days of the service's charge.")),
            ("bands", list(reference("band"), 1)),
            (
                "by",
                choice(
                    BY,
                    "What bands stand on, if not on the value: how far it lies beyond the target, that as a percentage of \
                     the target, or the Down time of the period.",
                ),
            ),
            ("precision", figure("What an excess is rounded to first.")),
            ("per", reference("per")),
            ("linear", number("So many percentage points for each percentage point missed.")),
            ("base", reference("base")),
            (
                "day_fraction",
                choice(
                    DAY_FRACTION,
                    "A day is a thirtieth of the monthly charge, or the period's charge over its dates.",
                ),
            ),
        ],
    );
    credit["description"] = json!("What a breach is worth.");
    credit["oneOf"] = one_of(FORMS);
    credit["dependentRequired"] = json!({"by": ["bands"], "precision": ["by"]});
    credit["dependentSchemas"] = json!({"days": {"properties": {"base": false}}});
    credit
}

fn band() -> Value {
    let beginnings = [Good::High, Good::Low].map(keys_of).concat();
    let mut band = object(
        &["rate"],
        vec![
            ("below", figure("Less than this, of what is good when it is high.")),
            ("at_most", figure("This or less, of what is good when it is high.")),
            ("above", figure("More than this, of what is good when it is low, and of every `by`.")),
            (
                "at_least",
                figure("This or more, of what is good when it is low, and of every `by`."),
            ),
            ("rate", share("The share of the base.")),
        ],
    );
    band["oneOf"] = one_of(beginnings.iter().map(|(key, _)| *key));
    band
}

fn per() -> Value {
    let mut per = object(
        &["of"],
        vec![
            (
                "of",
                choice(
                    OF,
                    "Down time, what of it lies beyond the target's budget, or dates that miss the target by themselves.",
                ),
            ),
            ("every", figure("One unit: a duration, or a number of dates.")),
            ("days", number("So many days for each unit.")),
            ("rate", share("That share of the base for each unit.")),
            ("count", choice(COUNT, "Parts of a unit: as a whole one, not at all, in proportion.")),
            (
                "round",
                duration("What is counted is first rounded to the nearest multiple of this."),
            ),
        ],
    );
    per["oneOf"] = one_of(["days", "rate"]);
    // Dates come one by one, and are not rounded.
    per["if"] = json!({"properties": {"of": {"const": "failed_days"}}});
    per["then"] = json!({"properties": {"every": number("So many dates."), "round": false}});
    per["else"] = json!({"required": ["every"], "properties": {"every": duration("One unit.")}});
    per
}

fn credits() -> Value {
    object(
        &[],
        vec![
            ("combine", choice(COMBINE, "All credits of a period, or only the largest.")),
            ("cap", share("The largest total, of the charges of the services that have a credit.")),
            ("priority", list(name("An objective whose credit is filled first."), 0)),
            ("rounding", choice(ROUNDING, "How a credit becomes whole minor units.")),
            ("minimum", money("A smaller total is not paid.")),
            ("sole_remedy", flag("Credits are the only remedy.", &[true, false])),
            ("claim", reference("claim")),
        ],
    )
}
