//! Labels of agents, and the selectors that choose by them.

use crate::yaml::{Map, Node, Problems, one_or_many, scalar};
use std::collections::BTreeMap;

/// Labels of an agent: key to value.
pub type Labels = BTreeMap<String, String>;

/// Most labels of an agent: each is kept for ever with its instant.
pub const LABELS_MAX: usize = 32;
/// Longest key or value, in bytes.
pub const LABEL_MAX_BYTES: usize = 63;

/// The text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a label is 1 to {LABEL_MAX_BYTES} of a-z, A-Z, 0-9 and ._-")]
pub struct LabelError;

/// Takes a key or value of a label if it is one.
///
/// # Errors
/// [`LabelError`] when it is empty, too long or has another character.
pub fn label_text(text: &str) -> Result<String, LabelError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = (1..=LABEL_MAX_BYTES).contains(&text.len()) && text.chars().all(legal);
    if good { Ok(text.to_owned()) } else { Err(LabelError) }
}

/// Reads `{site: berlin, rack: r1}`.
pub fn labels(node: &Node, problems: &mut Problems) -> Option<Labels> {
    let map = Map::open(node, "labels", problems)?;
    let mut labels = Labels::new();
    for (key, at, value) in map.entries() {
        match label_text(key) {
            Ok(key) => labels.insert(key, scalar(value, problems, "bad-label", label_text)?),
            Err(error) => {
                return problems.report(at, "bad-label", format!("`{key}`"), error.to_string());
            }
        };
    }
    if labels.len() > LABELS_MAX {
        return problems.report(
            node.at,
            "bad-label",
            "too many labels",
            format!("at most {LABELS_MAX}"),
        );
    }
    Some(labels)
}

/// Chooses agents by their labels: each key must have one of its values. Empty = every agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(BTreeMap<String, Vec<String>>);

impl Selector {
    /// Reads `{site: [berlin, london], rack: r1}`.
    pub fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let map = Map::open(node, "a label selector", problems)?;
        let mut wanted = BTreeMap::new();
        for (key, at, value) in map.entries() {
            let Ok(key) = label_text(key) else {
                return problems.report(
                    at,
                    "bad-label",
                    format!("`{key}`"),
                    LabelError.to_string(),
                );
            };
            let values = one_or_many(value, problems, |node, problems| {
                scalar(node, problems, "bad-label", label_text)
            })?;
            if values.is_empty() {
                return problems.report(
                    value.at,
                    "bad-label",
                    "an empty list chooses nobody",
                    "name a value",
                );
            }
            wanted.insert(key, values);
        }
        Some(Self(wanted))
    }

    /// Whether an agent with these labels is chosen.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0
            .iter()
            .all(|(key, values)| labels.get(key).is_some_and(|value| values.contains(value)))
    }

    /// The keys and the values that each may have.
    pub fn wanted(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn selector(text: &str) -> Result<Selector, Problems> {
        let document = Document::parse("f", text)?;
        let mut problems = Problems::new("f");
        let selector = Selector::decode(&document.root, &mut problems);
        problems.into_result(selector)
    }

    #[test]
    fn every_key_must_match() {
        let berlin: Labels =
            [("site", "berlin"), ("rack", "r1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (text, expected) in [
            ("{}", true),
            ("{site: berlin}", true),
            ("{site: [london, berlin], rack: r1}", true),
            ("{site: london}", false),
            ("{site: berlin, floor: 1}", false),
        ] {
            assert_eq!(selector(text).expect(text).matches(&berlin), expected, "{text}");
        }
        assert!(selector("{site: []}").is_err());
        assert!(selector("{site: 'b c'}").is_err());
        assert!(selector("berlin").is_err());
    }
}
