//! Which file a promise comes from, by the texts that the agreement was read from.

use probefleet_proto::yaml::{Document, Node, Value};

/// The agreements of a line of inheritance, and what each says about promises.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage {
    /// The eldest first.
    links: Vec<Link>,
    /// Promises that hold, each with the places of the agreements that say it, the eldest first.
    held: Vec<(String, Vec<usize>)>,
    /// Promises that were taken away, likewise.
    removed: Vec<(String, Vec<usize>)>,
}

/// One agreement of the line.
#[derive(Clone, Debug)]
struct Link {
    name: String,
    version: String,
}

/// Where a promise comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This agreement alone.
    Own,
    /// This agreement, in the place of another's.
    Replaces(String),
    /// Another agreement.
    Inherited(String),
}

impl Lineage {
    /// That of texts, the eldest first. They were read before, so nothing is left to report.
    pub(super) fn of(texts: &[String]) -> Self {
        let mut lineage = Self::default();
        for text in texts {
            let Ok(document) = Document::parse("", text) else { continue };
            lineage.add(&document.root);
        }
        lineage
    }

    fn add(&mut self, root: &Node) {
        let place = self.links.len();
        let said = |key| under(root, key).and_then(scalar).unwrap_or_default().to_owned();
        self.links.push(Link { name: said("agreement"), version: said("version") });
        let Some(Value::Mapping(entries)) = under(root, "objectives").map(|node| &node.value)
        else {
            return;
        };
        for (key, node) in entries {
            let known = self.held.iter().position(|(name, _)| *name == key.text);
            match (under(node, "remove").is_some(), known) {
                (true, Some(known)) => self.removed.push(self.held.remove(known)),
                (true, None) => {}
                (false, Some(known)) => self.held[known].1.push(place),
                (false, None) => self.held.push((key.text.clone(), vec![place])),
            }
        }
        self.removed.retain(|(name, _)| !self.held.iter().any(|(held, _)| held == name));
    }

    /// The agreement that this one inherits from.
    pub(super) fn parent(&self) -> Option<String> {
        self.links.iter().rev().nth(1).map(Link::words)
    }

    /// Where a promise comes from.
    pub(super) fn origin(&self, objective: &str) -> Origin {
        let held = self.held.iter().find(|(name, _)| name == objective);
        let words = |place: &usize| self.links.get(*place).map(Link::words).unwrap_or_default();
        match held.map_or(&[][..], |(_, places)| places) {
            [.., before, last] if self.is_last(*last) => Origin::Replaces(words(before)),
            [.., last] if !self.is_last(*last) => Origin::Inherited(words(last)),
            [] | [..] => Origin::Own,
        }
    }

    /// The promises that were taken away, each with the agreement that makes it.
    pub(super) fn removed(&self) -> Vec<(&str, String)> {
        let words = |places: &[usize]| {
            places.last().and_then(|place| self.links.get(*place)).map(Link::words)
        };
        self.removed
            .iter()
            .map(|(name, places)| (name.as_str(), words(places).unwrap_or_default()))
            .collect()
    }

    fn is_last(&self, place: usize) -> bool {
        place + 1 == self.links.len()
    }
}

impl Link {
    fn words(&self) -> String {
        format!("agreement {}, version {}", self.name, self.version)
    }
}

fn under<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Mapping(entries) => {
            entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
        }
        Value::Scalar { .. } | Value::Sequence(_) => None,
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}
