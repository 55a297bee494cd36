//! From nodes to checked values.

use super::tree::Key;
use super::{Node, Position, Problems, Value};
use std::fmt::Display;

/// An open mapping: ask for its keys, then [`Map::finish`] it.
#[derive(Debug)]
pub struct Map<'a> {
    at: Position,
    entries: &'a [(Key, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Map<'a> {
    /// Opens a node that must be a mapping; `what` names it in the message.
    pub fn open(node: &'a Node, what: &str, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Mapping(entries) => Some(Self { at: node.at, entries, asked: Vec::new() }),
            _ => {
                let message = format!("{what} is {}", node.describe());
                problems.report(
                    node.at,
                    "bad-value",
                    message,
                    "write a mapping of keys, as in `key: value`",
                )
            }
        }
    }

    /// Where the mapping begins.
    #[must_use]
    pub fn at(&self) -> Position {
        self.at
    }

    /// The node under a key, if it is there.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// The value under a key that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
        decode: impl FnOnce(&'a Node, &mut Problems) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(node) => decode(node, problems),
            None => problems.report(
                self.at,
                "missing-key",
                format!("`{key}` is missing"),
                format!("add `{key}: …`"),
            ),
        }
    }

    /// The value under a key, or `default` when the key is absent. `None` when it is there and wrong.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        default: T,
        problems: &mut Problems,
        decode: impl FnOnce(&'a Node, &mut Problems) -> Option<T>,
    ) -> Option<T> {
        match self.get(key) {
            Some(node) => decode(node, problems),
            None => Some(default),
        }
    }

    /// All entries with the place of their keys, for mappings whose keys are names. Nothing is left to finish.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Position, &'a Node)> {
        self.entries.iter().map(|(key, node)| (key.text.as_str(), key.at, node))
    }

    /// The keys that are there, with their places, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, Position)> + use<'a> {
        self.entries.iter().map(|(key, _)| (key.text.as_str(), key.at))
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self, problems: &mut Problems) {
        for (key, _) in self.entries {
            if self.asked.iter().any(|asked| *asked == key.text) {
                continue;
            }
            let cure = match closest(&key.text, &self.asked) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            problems.report::<()>(
                key.at,
                "unknown-key",
                format!("`{}` is not known here", key.text),
                cure,
            );
        }
    }
}

/// Reads a scalar through `read`, whose error becomes the message.
pub fn scalar<T, E: Display>(
    node: &Node,
    problems: &mut Problems,
    code: &'static str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match &node.value {
        Value::Scalar { text, .. } => match read(text) {
            Ok(value) => Some(value),
            Err(error) => problems.report(node.at, code, node.describe(), error.to_string()),
        },
        _ => problems.report(node.at, "bad-value", node.describe(), "write a single value"),
    }
}

/// Reads every item of a list, reporting all problems before it gives up.
pub fn list<'a, T>(
    node: &'a Node,
    problems: &mut Problems,
    decode: impl FnMut(&'a Node, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.value {
        Value::Sequence(items) => each(items, problems, decode),
        _ => problems.report(node.at, "bad-value", node.describe(), "write a list, as in `[a, b]`"),
    }
}

/// Reads a single value or a list of them.
pub fn one_or_many<'a, T>(
    node: &'a Node,
    problems: &mut Problems,
    mut decode: impl FnMut(&'a Node, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    match &node.value {
        Value::Sequence(items) => each(items, problems, decode),
        _ => decode(node, problems).map(|value| vec![value]),
    }
}

/// Decodes every node, so that all problems are seen, then gives the values if all are good.
pub fn each<'a, T>(
    nodes: impl IntoIterator<Item = &'a Node>,
    problems: &mut Problems,
    mut decode: impl FnMut(&'a Node, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let decoded: Vec<Option<T>> = nodes.into_iter().map(|node| decode(node, problems)).collect();
    decoded.into_iter().collect()
}

// === scalars ===

impl Node {
    /// Text that is not empty.
    pub fn text(&self, problems: &mut Problems) -> Option<String> {
        scalar(self, problems, "bad-value", |text| {
            if text.is_empty() { Err("write some text") } else { Ok(text.to_owned()) }
        })
    }

    /// `true` or `false`, unquoted.
    pub fn flag(&self, problems: &mut Problems) -> Option<bool> {
        scalar(self, problems, "bad-value", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("write true or false"),
        })
    }

    /// A whole number.
    pub fn whole(&self, problems: &mut Problems) -> Option<u64> {
        scalar(self, problems, "bad-value", |text| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or("write a whole number")
        })
    }

    /// A name: `[a-z0-9][a-z0-9-]{0,62}`.
    pub fn name(&self, problems: &mut Problems) -> Option<crate::name::Name> {
        scalar(self, problems, "bad-name", crate::name::Name::new)
    }

    /// A duration, in ns.
    pub fn duration_ns(&self, problems: &mut Problems) -> Option<u64> {
        scalar(self, problems, "bad-duration", crate::units::parse_duration_ns)
    }

    /// A duration of whole seconds, in s.
    pub fn duration_s(&self, problems: &mut Problems) -> Option<u64> {
        let ns = self.duration_ns(problems)?;
        if ns % crate::units::NS_PER_S == 0 {
            return Some(ns / crate::units::NS_PER_S);
        }
        problems.report(
            self.at,
            "bad-duration",
            self.describe(),
            "write whole seconds, such as 30s",
        )
    }

    /// A size, in bytes.
    pub fn size_bytes(&self, problems: &mut Problems) -> Option<u64> {
        scalar(self, problems, "bad-size", crate::units::parse_size_bytes)
    }

    /// One of a closed set of words.
    pub fn choice<T: Copy>(&self, problems: &mut Problems, choices: &[(&str, T)]) -> Option<T> {
        scalar(self, problems, "bad-value", |text| {
            let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
            found.ok_or_else(|| {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                format!("write one of {}", words.join(", "))
            })
        })
    }
}

/// The known word that a misspelt one most likely means: at most two edits away.
fn closest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|word| (edits(text, word), *word)).min()?;
    (near.0 <= 2 && near.0 < near.1.len()).then_some(near.1)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // Keys are short; a hostile one is cut, because its distance no longer matters.
    for (i, x) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    #[test]
    fn all_problems_of_a_file_in_one_run() {
        let document =
            Document::parse("f.yaml", "every: 30\ntimeot: 1s\nname: Bad\n").expect("is YAML");
        let mut problems = Problems::new("f.yaml");
        let mut map = Map::open(&document.root, "a probe", &mut problems).expect("is a mapping");
        map.required("name", &mut problems, Node::name);
        map.required("every", &mut problems, Node::duration_s);
        map.optional("timeout", 1, &mut problems, Node::duration_ns);
        map.required("agents", &mut problems, Node::text);
        map.finish(&mut problems);
        let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "f.yaml:1:1: missing-key: `agents` is missing; add `agents: …`",
                "f.yaml:1:8: bad-duration: `30`; a duration needs its unit: 30s, 30ms …",
                "f.yaml:2:1: unknown-key: `timeot` is not known here; did you mean `timeout`?",
                "f.yaml:3:7: bad-name: `Bad`; a name is 1 to 63 of a-z, 0-9 and -, and does not begin with -",
            ]
        );
    }

    #[test]
    fn words_are_told_apart() {
        assert_eq!(closest("timout", &["timeout", "every"]), Some("timeout"));
        assert_eq!(closest("colour", &["timeout", "every"]), None);
    }
}
