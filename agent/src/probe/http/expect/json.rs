//! Expectations on a JSON body: `{path: $.status, equals: ok}`.

use probefleet_proto::yaml::{Map, Node, Problems, Value as YamlValue, scalar};
use serde_json::{Map as JsonMap, Value};
use serde_json_path::JsonPath;

/// Longest path, in bytes.
const PATH_MAX_BYTES: usize = 256;
/// Most values of a document that is read: as a tree each takes some hundred bytes, and an attempt stays under 2 MiB.
const VALUES_MAX: usize = 8 << 10;

/// One expectation: the path finds something, and all that it finds equals a value, if one is given.
#[derive(Clone, Debug)]
pub(super) struct JsonExpect {
    path: JsonPath,
    text: String,
    equals: Option<Value>,
}

impl JsonExpect {
    /// Reads `{path: …, equals: …}`.
    pub(super) fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(node, "a JSON expectation", problems)?;
        let path = map.required("path", problems, |node, problems| {
            scalar(node, problems, "bad-path", parse_path)
        });
        let equals = map.optional("equals", None, problems, |node, problems| match node.value {
            YamlValue::Scalar { .. } => Some(Some(node.to_json())),
            _ => problems.report(node.at, "bad-value", node.describe(), "write a single value"),
        });
        map.finish(problems);
        let (path, text) = path?;
        Some(Self { path, text, equals: equals? })
    }

    /// The expectation as it is hashed.
    pub(super) fn canonical(&self) -> Value {
        let mut block = JsonMap::new();
        block.insert("path".to_owned(), self.text.clone().into());
        if let Some(equals) = &self.equals {
            block.insert("equals".to_owned(), equals.clone());
        }
        Value::Object(block)
    }

    fn check(&self, document: &Value) -> Result<(), String> {
        let found = self.path.query(document);
        if found.is_empty() {
            return Err(format!("{} finds nothing", self.text));
        }
        let Some(expected) = &self.equals else { return Ok(()) };
        match found.iter().find(|value| !equal(expected, value)) {
            None => Ok(()),
            Some(other) => Err(format!("{} is {}, not {expected}", self.text, brief(other))),
        }
    }
}

fn parse_path(text: &str) -> Result<(JsonPath, String), String> {
    // Each `..` multiplies what is found by the depth of a document that the other side chose.
    if text.len() > PATH_MAX_BYTES || text.matches("..").count() > 1 {
        return Err(format!("at most {PATH_MAX_BYTES} bytes, and at most one `..`"));
    }
    let path = JsonPath::parse(text).map_err(|error| error.to_string())?;
    Ok((path, text.to_owned()))
}

/// A text also equals a number that is written so, because `1.50` in a plan is a text.
fn equal(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(text), Value::Number(number)) => *text == number.to_string(),
        (Value::Number(expected), Value::Number(found)) => {
            expected == found || format!("{expected}.0") == found.to_string()
        }
        (expected, found) => expected == found,
    }
}

fn brief(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => scalar.to_string().chars().take(60).collect(),
    }
}

/// Judges a body by all expectations; the body is not looked at when there are none.
pub(super) fn check(expectations: &[JsonExpect], body: &[u8]) -> Result<(), String> {
    if expectations.is_empty() {
        return Ok(());
    }
    if values_at_most(body) > VALUES_MAX {
        return Err(format!("the document has more than {VALUES_MAX} values"));
    }
    let document =
        serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    expectations.iter().try_for_each(|expectation| expectation.check(&document))
}

/// An upper bound of the number of values in a document: every value but the first follows one of these marks.
fn values_at_most(body: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (1_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' | b'[' | b'{' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::yaml::Document;

    fn expectation(text: &str) -> Result<JsonExpect, Problems> {
        let document = Document::parse("f", text)?;
        let mut problems = Problems::new("f");
        let expectation = JsonExpect::decode(&document.root, &mut problems);
        problems.into_result(expectation)
    }

    #[test]
    fn values_are_compared_as_people_write_them() {
        let body = br#"{"status":"ok","n":3,"f":1.5,"up":true,"none":null,"list":[{"id":1},{"id":1}],"code":"3"}"#;
        for (text, expected) in [
            ("{path: $.status, equals: ok}", true),
            ("{path: $.status, equals: OK}", false),
            ("{path: $.n, equals: 3}", true),
            ("{path: $.n, equals: 4}", false),
            ("{path: $.code, equals: 3}", false),
            ("{path: $.code, equals: '3'}", true),
            ("{path: $.f, equals: 1.5}", true),
            ("{path: $.up, equals: true}", true),
            ("{path: $.none, equals: null}", true),
            ("{path: '$.list[*].id', equals: 1}", true),
            ("{path: $..id}", true),
            ("{path: $.absent}", false),
            ("{path: $.list, equals: ok}", false),
        ] {
            let expectation = expectation(text).expect(text);
            assert_eq!(check(&[expectation], body).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn hostile_documents_are_refused_before_they_become_trees() {
        let any = [expectation("{path: $}").expect("valid")];
        assert!(check(&any, b"[1,2").is_err());
        assert!(check(&any, b"").is_err());
        assert!(check(&any, &[b'['; 1 << 20]).is_err());
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX));
        assert!(check(&any, many.as_bytes()).expect_err("too many").contains("values"));
        let text = format!("\"{}\"", ",[{\\\"".repeat(10_000));
        assert!(check(&any, text.as_bytes()).is_ok(), "marks within a text are no values");
    }

    #[test]
    fn paths_are_bounded() {
        for text in [
            "{path: status}",
            "{path: $..a..b}",
            "{equals: 1}",
            "{path: $, equals: [1]}",
            "{path: $, equal: 1}",
        ] {
            assert!(expectation(text).is_err(), "{text}");
        }
        assert!(expectation(&format!("{{path: $.{}}}", "a".repeat(300))).is_err());
    }
}
