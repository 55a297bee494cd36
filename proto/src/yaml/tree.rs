//! From text to a tree of positioned nodes.

use super::{DEPTH_MAX, FILE_MAX_BYTES, Position, Problems};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value as Json;

/// A value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text; `quoted` tells `"5"` from `5`.
    Scalar {
        /// The text, unquoted and unescaped.
        text: String,
        /// It was written in quotes or as a block.
        quoted: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of the file; keys are plain text and differ.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where it begins.
    pub at: Position,
    /// Its text.
    pub text: String,
}

/// A file that is one YAML document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The document's value.
    pub root: Node,
}

impl Document {
    /// Reads the one document of a file.
    ///
    /// # Errors
    /// The problem when the text is not YAML, is too large or too deep, has anchors, or is not exactly one document.
    /// Duplicate keys are all reported.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new(file);
        let root = if text.len() > FILE_MAX_BYTES {
            let cure = format!("at most {} MiB are read", FILE_MAX_BYTES >> 20);
            problems.report(
                Position { line: 1, column: 1 },
                "too-large",
                "the file is too large",
                cure,
            )
        } else {
            Builder { parser: Parser::new_from_str(text), problems: &mut problems }.document()
        };
        problems.into_result(root.map(|root| Self { root }))
    }
}

/// Reads parser events into nodes. Methods return `None` after they have reported why.
struct Builder<'input, 'problems> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    problems: &'problems mut Problems,
}

impl<'input> Builder<'input, '_> {
    fn document(&mut self) -> Option<Node> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Nothing => {}
                Event::StreamEnd => break,
                _ if root.is_some() => {
                    return self.problems.report(
                        at,
                        "bad-yaml",
                        "a second document",
                        "keep one document a file",
                    );
                }
                event => root = Some(self.node(event, at, 0)?),
            }
        }
        let start = Position { line: 1, column: 1 };
        root.or_else(|| {
            self.problems.report(start, "bad-yaml", "the file is empty", "write a mapping of keys")
        })
    }

    fn next(&mut self) -> Option<(Event<'input>, Position)> {
        match self.parser.next() {
            Some(Ok((event, span))) => Some((event, position(&span))),
            Some(Err(error)) => {
                let at = Position { line: error.marker().line(), column: error.marker().col() + 1 };
                self.problems.report(
                    at,
                    "bad-yaml",
                    error.info(),
                    "see the line, and the one before it",
                )
            }
            None => Some((Event::StreamEnd, Position::default())),
        }
    }

    fn node(&mut self, event: Event<'input>, at: Position, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX {
            return self.problems.report(
                at,
                "too-deep",
                "nested too deeply",
                format!("at most {DEPTH_MAX} levels"),
            );
        }
        if anchored(&event) {
            let cure = "write the value out where it is needed";
            return self.problems.report(at, "bad-yaml", "anchors and aliases are not read", cure);
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                Value::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => Value::Sequence(self.sequence(depth)?),
            Event::MappingStart(..) => Value::Mapping(self.mapping(depth)?),
            _ => return self.problems.report(at, "bad-yaml", "a value is missing", ""),
        };
        Some(Node { at, value })
    }

    fn sequence(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(items),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Option<Vec<(Key, Node)>> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Some(entries),
                (Event::Scalar(text, ..), at) => Key { at, text: text.into_owned() },
                (_, at) => {
                    return self.problems.report(at, "bad-yaml", "a key must be plain text", "");
                }
            };
            let (event, at) = self.next()?;
            let value = self.node(event, at, depth + 1)?;
            if let Some(first) = seen.insert(key.text.clone(), key.at) {
                let message = format!("`{}` stands here a second time", key.text);
                let cure = format!("the first is in line {}; keep one", first.line);
                self.problems.report::<()>(key.at, "duplicate-key", message, cure);
            } else {
                entries.push((key, value));
            }
        }
    }
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}

fn anchored(event: &Event<'_>) -> bool {
    match event {
        Event::Alias(_) => true,
        Event::Scalar(_, _, anchor, _)
        | Event::SequenceStart(anchor, _)
        | Event::MappingStart(anchor, _) => *anchor != 0,
        _ => false,
    }
}

// === impl Node ===

impl Node {
    /// What it is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Scalar { text, .. } if text.is_empty() => "nothing".to_owned(),
            Value::Scalar { text, .. } => format!("`{}`", shortened(text)),
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "a mapping".to_owned(),
        }
    }

    /// The value as JSON, exactly: plain whole numbers up to 2^53, `true`, `false` and `null` become what they are,
    /// every other scalar stays text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar { text, quoted: false } => match text.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                "null" | "~" | "" => Json::Null,
                text => {
                    exact_integer(text).map_or_else(|| Json::String(text.to_owned()), Json::from)
                }
            },
            Value::Scalar { text, .. } => Json::String(text.clone()),
            Value::Sequence(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Mapping(entries) => Json::Object(
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect(),
            ),
        }
    }

    /// The inverse of [`Node::to_json`]; positions are unknown. Used for plans that come over the wire.
    #[must_use]
    pub fn from_json(json: &Json) -> Self {
        let plain = |text: String| Value::Scalar { text, quoted: false };
        let value = match json {
            Json::Null => plain(String::new()),
            Json::Bool(flag) => plain(flag.to_string()),
            Json::Number(number) => plain(number.to_string()),
            Json::String(text) => Value::Scalar { text: text.clone(), quoted: true },
            Json::Array(items) => Value::Sequence(items.iter().map(Self::from_json).collect()),
            Json::Object(entries) => Value::Mapping(
                entries
                    .iter()
                    .map(|(key, value)| {
                        (Key { at: Position::default(), text: key.clone() }, Self::from_json(value))
                    })
                    .collect(),
            ),
        };
        Self { at: Position::default(), value }
    }
}

/// Whole numbers that JSON carries without loss between any two programs (RFC 8259 §6).
fn exact_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = digits == "0" || !digits.starts_with('0');
    let number: i64 = text.parse().ok().filter(|_| canonical && !text.starts_with('+'))?;
    (number.unsigned_abs() <= 1 << 53).then_some(number)
}

/// At most forty characters of a text, for messages.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Document::parse("f.yaml", text).expect_err(text).to_string()
    }

    #[test]
    fn positions_are_of_the_value() {
        let document = Document::parse("f", "a: 1\nb:\n  - x\n").expect("valid");
        let Value::Mapping(entries) = &document.root.value else { panic!("a mapping") };
        assert_eq!(entries[0].1.at, Position { line: 1, column: 4 });
        let Value::Sequence(items) = &entries[1].1.value else { panic!("a list") };
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let text = problem("a: 1\na: 2\nb: {c: 1, c: 2}\n");
        assert!(text.contains("f.yaml:2:1: duplicate-key: `a`"), "{text}");
        assert!(text.contains("f.yaml:3:11: duplicate-key: `c`"), "{text}");
    }

    #[test]
    fn bombs_are_refused() {
        assert!(problem("a: &x [1]\nb: [*x, *x]\n").contains("anchors"));
        assert!(problem(&"[".repeat(100)).contains("deep"));
        assert!(problem(&" ".repeat(FILE_MAX_BYTES + 1)).contains("too-large"));
        assert!(problem("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(problem("").contains("empty"));
        assert!(problem("a: [1, 2\nb: 3\n").contains("bad-yaml"));
    }

    #[test]
    fn json_keeps_every_scalar() {
        let document =
            Document::parse("f", "{a: 42, b: '42', c: 1.50, d: true, e: [200-299], f: 007}")
                .expect("valid");
        let json = document.root.to_json();
        assert_eq!(
            json.to_string(),
            r#"{"a":42,"b":"42","c":"1.50","d":true,"e":["200-299"],"f":"007"}"#
        );
        assert_eq!(Node::from_json(&json).to_json(), json);
    }
}
