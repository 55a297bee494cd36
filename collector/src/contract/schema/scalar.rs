//! Schemas of single values, as lenient as the parser: `1` and `"1"` are the same number to it.

use crate::contract::parse::calendar::DAYS;
use crate::contract::phases;
use serde_json::{Value, json};

/// An unsigned decimal.
const DECIMAL: &str = "[0-9]+(\\.[0-9]+)?";
/// A date.
const DATE: &str = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
/// The units of a duration.
const UNITS: &str = "(ns|us|ms|s|m|h|d)";

/// A mapping with these keys and no others.
pub(super) fn object(required: &[&str], properties: Vec<(&str, Value)>) -> Value {
    let properties: serde_json::Map<String, Value> =
        properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What stands under that name in the schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// A list of at least so many.
pub(super) fn list(items: Value, least: u32) -> Value {
    let mut schema = json!({"type": "array", "minItems": least});
    schema["items"] = items;
    schema
}

/// One, or a list of at least one.
pub(super) fn one_or_many(item: Value) -> Value {
    json!({"anyOf": [item.clone(), list(item, 1)]})
}

/// A mapping whose keys are names.
pub(super) fn named(values: Value, least: u32) -> Value {
    let mut schema = json!({
        "type": "object",
        "propertyNames": {"pattern": format!("^{NAME}$")},
        "minProperties": least,
    });
    schema["additionalProperties"] = values;
    schema
}

/// A name.
const NAME: &str = "[a-z0-9][a-z0-9-]{0,62}";

/// A name.
pub(super) fn name(description: &str) -> Value {
    text_or(&["integer"], &format!("^{NAME}$"), description)
}

/// An agreement and its objective.
pub(super) fn supporter(description: &str) -> Value {
    text_or(&[], &format!("^{NAME}/{NAME}$"), description)
}

/// Text that says something.
pub(super) fn words(description: &str) -> Value {
    text_or(&["number", "boolean", "null"], "\\S", description)
}

/// One of a closed set of words.
pub(super) fn choice<T>(words: &[(&str, T)], description: &str) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"description": description, "enum": words})
}

/// `true` or `false`, those of them that mean something.
pub(super) fn flag(description: &str, values: &[bool]) -> Value {
    let plain = values.iter().map(|value| json!(value));
    let quoted = values.iter().map(|value| json!(value.to_string()));
    let values: Vec<Value> = plain.chain(quoted).collect();
    json!({"description": description, "enum": values})
}

/// A percentage.
pub(super) fn share(description: &str) -> Value {
    text_or(&[], &format!("^{DECIMAL}%$"), description)
}

/// A duration.
pub(super) fn duration(description: &str) -> Value {
    text_or(&[], &format!("^{DECIMAL}{UNITS}$"), description)
}

/// A whole number.
pub(super) fn whole(description: &str) -> Value {
    let mut schema = text_or(&["integer"], "^[0-9]+$", description);
    schema["minimum"] = json!(0);
    schema
}

/// A whole number of at least one.
pub(super) fn count(description: &str) -> Value {
    let mut schema = text_or(&["integer"], "^0*[1-9][0-9]*$", description);
    schema["minimum"] = json!(1);
    schema
}

/// A whole number up to so many.
pub(super) fn whole_to(most: u64, description: &str) -> Value {
    with_maximum(whole(description), most)
}

/// A whole number of at least one, up to so many.
pub(super) fn count_to(most: u64, description: &str) -> Value {
    with_maximum(count(description), most)
}

fn with_maximum(mut schema: Value, most: u64) -> Value {
    schema["maximum"] = json!(most);
    schema
}

/// A phase or value that good attempts have.
pub(super) fn phase() -> Value {
    let mut known: Vec<&str> =
        phases::PHASES.iter().flat_map(|(_, phases)| *phases).copied().collect();
    known.sort_unstable();
    known.dedup();
    json!({
        "description": phases::phases_text(),
        "anyOf": [{"enum": known}, {"type": "string", "pattern": format!("^{}.", phases::STEP.replace('.', "\\."))}],
    })
}

/// Exactly one of these keys.
pub(super) fn one_of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Value {
    keys.into_iter().map(|key| json!({"required": [key]})).collect()
}

/// A day of the month.
pub(super) fn day_of_month() -> Value {
    let description = "Months begin on this day; on its last, where a month has none such.";
    let mut schema = text_or(&["integer"], "^0*([1-9]|[12][0-9]|3[01])$", description);
    schema["minimum"] = json!(1);
    schema["maximum"] = json!(31);
    schema
}

/// A decimal above zero.
pub(super) fn number(description: &str) -> Value {
    let mut schema = text_or(&["number"], &format!("^{DECIMAL}$"), description);
    schema["exclusiveMinimum"] = json!(0);
    schema
}

/// An amount of the agreement's currency, which must be in quotes.
pub(super) fn money(description: &str) -> Value {
    text_or(&[], &format!("^{DECIMAL}$"), &format!("{description} In quotes: \"12000.00\"."))
}

/// A date.
pub(super) fn date(description: &str) -> Value {
    text_or(&[], &format!("^{DATE}$"), description)
}

/// A date, or an instant.
pub(super) fn instant(description: &str) -> Value {
    let clock = "[0-9]{2}:[0-9]{2}";
    text_or(&[], &format!("^{DATE}(T{clock}:[0-9]{{2}}(Z|[+-]{clock}))?$"), description)
}

/// An operator and a value.
pub(super) fn target(description: &str) -> Value {
    text_or(&[], &format!("^(>=|<=|>|<)\\s*{DECIMAL}(%|{UNITS})?\\s*$"), description)
}

/// The failed share at which an agent says Down.
pub(super) fn bad_share(description: &str) -> Value {
    text_or(&[], &format!("^>=?\\s*{DECIMAL}%\\s*$"), description)
}

/// A figure in the unit of a measure.
pub(super) fn figure(description: &str) -> Value {
    let mut schema = text_or(&["number"], &format!("^{DECIMAL}(%|{UNITS})?$"), description);
    schema["minimum"] = json!(0);
    schema
}

/// A key or value of a label.
pub(super) fn labels() -> Value {
    const LABEL: &str = "^[A-Za-z0-9._-]{1,63}$";
    let value = text_or(&["number", "boolean", "null"], LABEL, "A value of the label.");
    json!({
        "description": "Chooses agents by their labels; every agent that runs the probe, if left out.",
        "type": "object",
        "propertyNames": {"pattern": LABEL},
        "additionalProperties": one_or_many(value),
    })
}

/// The hours of a week.
pub(super) fn week() -> Value {
    let day = DAYS.map(|(word, _)| word).join("|");
    let clock = "[0-9]{2}:[0-9]{2}";
    let hours =
        text_or(&[], &format!("^{clock}-{clock}$"), "In quotes: \"08:00-18:00\"; 24:00 is an end.");
    json!({
        "description": "Hours by a day (sat) or a range of days (mon-fri).",
        "type": "object",
        "propertyNames": {"pattern": format!("^({day})(-({day}))?$")},
        "additionalProperties": {"anyOf": [hours.clone(), list(hours, 0)]},
        "minProperties": 1,
    })
}

/// Text of a pattern; some editors read a plain one as another type, where nothing but the type is looked at.
fn text_or(types: &[&str], pattern: &str, description: &str) -> Value {
    let types: Vec<&str> = std::iter::once("string").chain(types.iter().copied()).collect();
    json!({"description": description, "type": types, "pattern": pattern})
}
