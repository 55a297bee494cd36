//! The schema knows the keys and the words that the parser knows, and refuses nothing that the parser takes.

use super::super::{Agreement, Rejected};
use super::*;
use probefleet_proto::yaml::{self, Document, Node, Problem, Problems};
use std::collections::BTreeSet;
use std::path::Path;

/// Every key of the language.
const FULL: &str = include_str!("../../../tests/fixtures/contract/full.yaml");
const GOOD: &str = include_str!("../../../tests/fixtures/contract/good.yaml");
/// Nobody's key and nobody's word, and too long to be taken for a slip of one.
const NOBODYS: &str = "zzzzzzzzzzzzzzzzzzzzzzzz";

fn json(text: &str) -> Value {
    Document::parse("a.yaml", text).expect("is YAML").root.to_json()
}

fn problems(agreement: &Value) -> Vec<Problem> {
    match Agreement::load(&[("a.yaml", &agreement.to_string())]) {
        Ok(_) => Vec::new(),
        Err(Rejected(all)) => all.iter().flat_map(Problems::sorted).cloned().collect(),
    }
}

/// What the sample says with another value at a place.
fn with(place: &str, value: Value) -> Value {
    let mut full = json(FULL);
    *full.pointer_mut(place).unwrap_or_else(|| panic!("{place} is in the sample")) = value;
    full
}

/// The keys that the parser asks for at a place of the sample.
fn asked(place: &str) -> BTreeSet<String> {
    let mut there = json(FULL).pointer(place).expect("is there").clone();
    there[NOBODYS] = json!("1");
    let found = problems(&with(place, there));
    let unknown = found
        .iter()
        .find(|problem| problem.code == "unknown-key" && problem.message.contains(NOBODYS));
    let cure = &unknown.unwrap_or_else(|| panic!("{place}: {found:?}")).cure;
    let known = cure.strip_prefix("known here: ").unwrap_or_else(|| panic!("{place}: {cure}"));
    known.split(", ").map(str::to_owned).collect()
}

/// Places of the sample, together all variants of what may stand there, and what the schema calls them.
const PLACES: &[(&[&str], &[&str])] = &[
    (&[""], &[""]),
    (&["/parties"], &["/$defs/parties"]),
    (&["/parties/provider", "/parties/customer", "/parties/auditors/0"], &["/$defs/party"]),
    (&["/responsibilities/0"], &["/$defs/responsibility"]),
    (&["/term"], &["/$defs/term"]),
    (&["/objectives/available/period"], &["/$defs/billing"]),
    (&["/services/voice"], &["/$defs/service"]),
    (&["/calendars/office"], &["/$defs/calendar"]),
    (&["/maintenance"], &["/$defs/maintenance"]),
    (&["/close"], &["/$defs/close"]),
    (&["/objectives/available"], &["/$defs/objective"]),
    (
        &[
            "/objectives/fast/measure",
            "/objectives/setup/measure",
            "/objectives/delay/measure",
            "/objectives/established/measure",
            "/objectives/errors/measure",
            "/objectives/days/measure",
        ],
        &[
            "/$defs/within",
            "/$defs/percentile",
            "/$defs/mean",
            "/$defs/ratio",
            "/$defs/mean_success",
            "/$defs/good_days",
        ],
    ),
    (&["/objectives/days/measure/good_days"], &["/$defs/good_day"]),
    (&["/objectives/errors/round"], &["/$defs/round"]),
    (&["/objectives/available/window"], &["/$defs/window"]),
    (
        &["/objectives/available/vantages", "/objectives/night/vantages"],
        &["/$defs/quorum", "/$defs/each"],
    ),
    (&["/objectives/available/outage"], &["/$defs/outage"]),
    (&["/objectives/available/unknown"], &["/$defs/unknown"]),
    (&["/objectives/available/credit"], &["/$defs/credit"]),
    (
        &["/objectives/available/credit/bands/0", "/objectives/setup/credit/bands/0"],
        &["/$defs/band"],
    ),
    (&["/objectives/beyond/credit/per"], &["/$defs/per"]),
    (
        &["/objectives/available/credit/base", "/objectives/night/credit/base"],
        &["/$defs/amount", "/$defs/greater_of"],
    ),
    (&["/credits"], &["/$defs/credits"]),
    (&["/credits/claim"], &["/$defs/claimed"]),
    (
        &["/termination/0", "/termination/1", "/termination/2"],
        &["/$defs/of_last", "/$defs/consecutive", "/$defs/mean_below"],
    ),
];

#[test]
fn the_keys_are_those_of_the_parser() {
    let schema = agreement();
    // What takes an objective away is read by itself.
    let mut seen = BTreeSet::from(["/$defs/removed".to_owned()]);
    for (places, definitions) in PLACES {
        let asked: BTreeSet<String> = places.iter().flat_map(|place| asked(place)).collect();
        let mut known = BTreeSet::new();
        for definition in *definitions {
            seen.insert((*definition).to_owned());
            let properties = schema.pointer(definition).expect("is defined")["properties"].clone();
            known.extend(properties.as_object().expect("keys").keys().cloned());
        }
        assert_eq!(known, asked, "{definitions:?}: of the schema, and of the parser");
    }
    let closed = closed(&schema, "");
    assert_eq!(seen, closed, "mappings whose keys were compared");
}

/// The places of the schema that list the keys of a mapping.
fn closed(schema: &Value, at: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    if schema["additionalProperties"] == json!(false) {
        all.insert(at.to_owned());
    }
    for (key, child) in schema.as_object().into_iter().flatten() {
        all.extend(closed(child, &format!("{at}/{key}")));
    }
    all
}

/// Places of the sample where one of a closed set of words stands, and what the schema calls them.
const CHOICES: &[(&str, &str)] = &[
    ("/kind", "/properties/kind"),
    ("/level", "/properties/level"),
    ("/period", "/$defs/period/anyOf/0"),
    ("/maintenance/approval", "/$defs/maintenance/properties/approval"),
    ("/objectives/available/exclusions", "/$defs/objective/properties/exclusions"),
    ("/objectives/fast/during", "/$defs/objective/properties/during"),
    ("/objectives/fast/failures", "/$defs/objective/properties/failures"),
    ("/objectives/available/inherit", "/$defs/objective/properties/inherit"),
    ("/objectives/available/unknown/as", "/$defs/unknown/properties/as"),
    ("/objectives/established/measure/ratio", "/$defs/ratio/properties/ratio"),
    ("/objectives/delay/credit/by", "/$defs/credit/properties/by"),
    ("/objectives/beyond/credit/day_fraction", "/$defs/credit/properties/day_fraction"),
    ("/objectives/available/credit/base", "/$defs/base/anyOf/0"),
    ("/objectives/beyond/credit/per/of", "/$defs/per/properties/of"),
    ("/objectives/beyond/credit/per/count", "/$defs/per/properties/count"),
    ("/credits/combine", "/$defs/credits/properties/combine"),
    ("/credits/rounding", "/$defs/credits/properties/rounding"),
    ("/credits/sole_remedy", "/$defs/credits/properties/sole_remedy"),
    ("/credits/claim", "/$defs/claim/anyOf/0"),
    ("/credits/claim/from", "/$defs/claimed/properties/from"),
    ("/termination/2/combine", "/$defs/mean_below/properties/combine"),
];

#[test]
fn the_words_are_those_of_the_parser() {
    let schema = agreement();
    for (place, definition) in CHOICES {
        let found = problems(&with(place, json!(NOBODYS)));
        let cure = found.iter().find_map(|problem| problem.cure.strip_prefix("write one of "));
        let known: BTreeSet<&str> =
            cure.unwrap_or_else(|| panic!("{place}: {found:?}")).split(", ").collect();
        let words = schema.pointer(definition).expect("is defined")["enum"].clone();
        let words = words.as_array().expect("words");
        let words: BTreeSet<&str> = words.iter().filter_map(Value::as_str).collect();
        assert_eq!(words, known, "{place}");
    }
    // Beside them: currencies, plain measures, `each: all`, `remove: true` and phases.
    let compared = CHOICES.len() + 5;
    assert_eq!(schema.to_string().matches("\"enum\":").count(), compared, "all were compared");
}

fn validator() -> jsonschema::Validator {
    let schema = agreement();
    jsonschema::draft202012::meta::validate(&schema).expect("is a schema");
    jsonschema::draft202012::new(&schema).expect("is a schema")
}

/// A file as an editor reads it: by the core schema of YAML 1.2 (§10.3.2), where a plain `4.05` is a number.
fn as_an_editor_reads(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar { text, quoted: false } => {
            let plain = |text: &str| serde_json::from_str(text).ok();
            plain(text).filter(|value: &Value| !value.is_string()).unwrap_or_else(|| json!(text))
        }
        yaml::Value::Scalar { text, .. } => json!(text),
        yaml::Value::Sequence(items) => items.iter().map(as_an_editor_reads).collect(),
        yaml::Value::Mapping(entries) => {
            entries.iter().map(|(key, node)| (key.text.clone(), as_an_editor_reads(node))).collect()
        }
    }
}

#[test]
fn what_the_parser_takes_is_valid() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/agreements");
    let mut texts =
        vec![("full".to_owned(), FULL.to_owned()), ("good".to_owned(), GOOD.to_owned())];
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        texts.push((path.display().to_string(), std::fs::read_to_string(&path).expect("reads")));
    }
    assert!(texts.len() > 12, "there are samples");
    let read = as_an_editor_reads(&Document::parse("full", FULL).expect("is YAML").root);
    assert_ne!(read, json(FULL), "to an editor, 4.05 is a number");
    for (name, text) in &texts {
        let read = as_an_editor_reads(&Document::parse(name, text).expect("is YAML").root);
        for read in [read, json(text)] {
            let errors: Vec<String> =
                validator.iter_errors(&read).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
        }
    }
}

/// A place of the sample, what stands there instead, and whether that is an agreement.
fn variants() -> Vec<(&'static str, Value, bool)> {
    vec![
        ("/agreement", json!("Acme"), false),
        ("/agreement", json!("2026"), true),
        ("/version", json!(0), false),
        ("/version", json!("7"), true),
        ("/version", json!(null), false),
        ("/kind", json!("SLA"), false),
        ("/title", json!(2026), true),
        ("/title", json!(" "), false),
        ("/not_included", json!("Handsets"), false),
        ("/parties/provider", json!({"contact": "x"}), false),
        ("/parties/provider", json!({"name": "x", "fax": "y"}), false),
        ("/currency", json!("euro"), false),
        ("/term", json!({"from": "2026-01-01"}), false),
        ("/term/from", json!("01.01.2026"), false),
        ("/period", json!("fortnight"), false),
        ("/period", json!({"billing_day": 32}), false),
        ("/services", json!({}), false),
        ("/services/voice/monthly_charge", json!(12000), false),
        ("/services/voice/monthly_charge", json!("12000"), true),
        ("/calendars/office/weekly", json!({"monday": "08:00-18:00"}), false),
        ("/calendars/office/weekly", json!({"mon": "8-18"}), false),
        ("/calendars/office/weekly", json!({}), false),
        ("/calendars/office/holidays", json!(["Easter"]), false),
        ("/maintenance", json!({"notice": "48h"}), false),
        ("/maintenance/notice", json!("48"), false),
        ("/objectives/fast", json!({"remove": false}), false),
        ("/objectives/available/probe", json!([]), false),
        ("/objectives/available/agents", json!({"site": []}), false),
        ("/objectives/available/measure", json!("speed"), false),
        ("/objectives/fast/measure", json!({"within": "3s"}), false),
        ("/objectives/available/target", json!("99.95%"), false),
        ("/objectives/available/target", json!(">=99.95%"), true),
        ("/objectives/available/window/bad", json!("< 50%"), false),
        ("/objectives/available/vantages", json!({"each": "all", "quorum": "51%"}), false),
        ("/objectives/available/vantages", json!({"each": []}), false),
        ("/objectives/available/outage/after", json!(0), false),
        ("/objectives/available/unknown/coverage", json!(95), false),
        ("/objectives/available/supported_by", json!(["network"]), false),
        ("/objectives/available/credit", json!({}), false),
        ("/objectives/available/credit", json!({"flat": "5%", "days": 1}), false),
        ("/objectives/available/credit", json!({"flat": "5%", "by": "excess"}), false),
        ("/objectives/available/credit", json!({"days": 1, "base": "monthly_charge"}), false),
        ("/objectives/available/credit", json!({"days": "1.5"}), true),
        ("/objectives/available/credit", json!({"linear": 0}), false),
        ("/objectives/available/credit/bands/0", json!({"below": "99.95%"}), false),
        ("/objectives/available/credit/bands/0", json!({"rate": "10%"}), false),
        (
            "/objectives/available/credit/bands/0",
            json!({"below": "99%", "at_most": "99%", "rate": "1%"}),
            false,
        ),
        ("/objectives/available/credit/base", json!({"greater_of": ["monthly_charge"]}), false),
        ("/objectives/available/credit/base", json!({"amount": 500}), false),
        ("/objectives/beyond/credit/per", json!({"of": "downtime", "every": "4h"}), false),
        ("/objectives/beyond/credit/per", json!({"every": "4h", "days": 1}), false),
        ("/credits/claim", json!("by letter"), false),
        ("/credits/claim", json!({"within": "30d"}), false),
        ("/credits/sole_remedy", json!("true"), true),
        ("/credits/sole_remedy", json!("yes"), false),
        ("/termination/0", json!({"breached": 3}), false),
        ("/termination/0", json!({}), false),
        ("/close/grace", json!(72), false),
    ]
}

#[test]
fn schema_and_parser_agree_on_broken_files() {
    let validator = validator();
    for (place, value, good) in variants() {
        let changed = with(place, value.clone());
        let found = problems(&changed);
        assert_eq!(found.is_empty(), good, "{place} as {value}, to the parser: {found:?}");
        assert_eq!(validator.is_valid(&changed), good, "{place} as {value}, to the schema");
    }
    for key in ["agreement", "version", "parties", "services", "objectives", "currency"] {
        let mut full = json(FULL);
        full.as_object_mut().expect("keys").remove(key);
        assert!(!validator.is_valid(&full) && !problems(&full).is_empty(), "without {key}");
    }
}

// === a file that has every key, broken at every place ===

/// Problems of a value or a key by itself, which the schema must see too; of the others it need not know.
const SEEN: [&str; 9] = [
    "unknown-key",
    "missing-key",
    "bad-duration",
    "bad-percentage",
    "bad-date",
    "bad-name",
    "bad-label",
    "unknown-phase",
    "two-credit-forms",
];

/// Keys of figures, whose unit is that of the measure: a plain number fits some.
const FIGURES: [&str; 6] = ["within", "precision", "below", "at_most", "above", "at_least"];

/// All places of a value, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all));
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at_item, value)| places(value, &format!("{at}/{at_item}"), all));
        }
        _ => {}
    }
}

/// The sample without the key at a place, or with another in its stead; `None` where there is no key.
fn rekeyed(full: &Value, place: &str, key: Option<&str>) -> Option<Value> {
    let (map, old) = place.rsplit_once('/')?;
    let mut full = full.clone();
    let map = full.pointer_mut(map)?.as_object_mut()?;
    let value = map.shift_remove(old)?;
    if let Some(key) = key {
        map.insert(key.to_owned(), value);
    }
    Some(full)
}

fn replaced(full: &Value, place: &str, value: Value) -> Value {
    let mut full = full.clone();
    *full.pointer_mut(place).expect("is there") = value;
    full
}

/// Where parser and schema disagree on a file.
fn disagreement(changed: &Value, validator: &jsonschema::Validator) -> Option<String> {
    let (found, valid) = (problems(changed), validator.is_valid(changed));
    let seen = found.iter().find(|problem| SEEN.contains(&problem.code));
    match (seen, valid) {
        (Some(problem), true) => Some(format!("the schema does not see {problem:?}")),
        (None, false) if found.is_empty() => {
            let errors: Vec<String> =
                validator.iter_errors(changed).map(|error| error.to_string()).collect();
            Some(format!("the schema alone refuses it: {errors:?}"))
        }
        _ => None,
    }
}

#[test]
fn schema_and_parser_agree_wherever_a_file_is_broken() {
    let (validator, full) = (validator(), json(FULL));
    let mut all = Vec::new();
    places(&full, "", &mut all);
    let mut wrong = Vec::new();
    for place in &all {
        let key = place.rsplit('/').next().unwrap_or_default();
        let mut changes: Vec<Value> = [json!(NOBODYS), json!({NOBODYS: 1})]
            .into_iter()
            .chain((!FIGURES.contains(&key)).then(|| json!(0)))
            .map(|value| replaced(&full, place, value))
            .collect();
        // A service may do without a charge as long as no credit is a share of it.
        changes.extend(rekeyed(&full, place, None).filter(|_| key != "monthly_charge"));
        changes.extend(rekeyed(&full, place, Some(NOBODYS)));
        for (number, changed) in changes.iter().enumerate() {
            let why = disagreement(changed, &validator);
            wrong.extend(why.map(|why| format!("{place}, change {number}: {why}")));
        }
    }
    assert!(all.len() > 350, "the sample is full");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
