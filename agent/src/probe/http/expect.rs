//! What an answer must be: status, headers, size, text, regular expressions, JSON.

mod json;

use crate::probe::failure::Failure;
use crate::probe::statuses::Statuses;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName};
use json::JsonExpect;
use probefleet_proto::name::FailureClass;
use probefleet_proto::yaml::{Map, Node, Problems, one_or_many, scalar};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::{Map as JsonMap, Value, json};
use std::collections::BTreeMap;

/// Default bound of a body that is read, in bytes.
const MAX_SIZE_DEFAULT_BYTES: u64 = 1 << 20;
/// Largest bound of a body that is kept to be searched: an attempt stays under 2 MiB.
const MAX_SIZE_KEPT_BYTES: u64 = 1 << 20;
/// Largest bound of a body that is counted and dropped: a download, not a flood.
const MAX_SIZE_COUNTED_BYTES: u64 = 1 << 30;
/// Most texts, expressions, headers or JSON paths: each is searched for in every answer.
const EACH_MAX: usize = 16;
/// Largest compiled expression, in bytes: searching costs the body's length times this, at worst. `\w` takes some 15 KiB.
const REGEX_MAX_BYTES: usize = 256 << 10;
/// Largest cache of a search, in bytes.
const REGEX_CACHE_MAX_BYTES: usize = 128 << 10;

/// The largest status (RFC 9110 §15).
const STATUS_MAX: u16 = 599;

/// What an answer must be.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    status: Statuses,
    headers: BTreeMap<String, Regex>,
    contains: Vec<String>,
    matches: Vec<Regex>,
    json: Vec<JsonExpect>,
    /// Largest body, in bytes.
    pub(super) max_size: u64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            status: Statuses::range(200, 299),
            headers: BTreeMap::new(),
            contains: Vec::new(),
            matches: Vec::new(),
            json: Vec::new(),
            max_size: MAX_SIZE_DEFAULT_BYTES,
        }
    }
}

impl Expect {
    /// Reads the block under `expect`.
    pub(super) fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let default = Self::default();
        let mut map = Map::open(node, "expectations", problems)?;
        let status = map.optional("status", default.status, problems, |node, problems| {
            Statuses::decode(node, problems, STATUS_MAX)
        });
        let headers = map.optional("headers", default.headers, problems, headers);
        let contains = map.optional("contains", Vec::new(), problems, |node, problems| {
            bounded(node, problems, Node::text)
        });
        let matches = map.optional("matches", Vec::new(), problems, |node, problems| {
            bounded(node, problems, expression)
        });
        let json = map.optional("json", Vec::new(), problems, |node, problems| {
            bounded(node, problems, JsonExpect::decode)
        });
        let max_size =
            map.optional("max_size", (default.max_size, node.at), problems, |node, problems| {
                node.size_bytes(problems).map(|size| (size, node.at))
            });
        map.finish(problems);
        let (max_size, max_size_at) = max_size?;
        let expect = Self {
            status: status?,
            headers: headers?,
            contains: contains?,
            matches: matches?,
            json: json?,
            max_size,
        };
        let limit = if expect.keeps_body() { MAX_SIZE_KEPT_BYTES } else { MAX_SIZE_COUNTED_BYTES };
        if (1..=limit).contains(&max_size) {
            return Some(expect);
        }
        let cure = "1 to 1MiB where the body is searched, up to 1GiB where it is only counted";
        problems.report(max_size_at, "bad-value", format!("max_size {max_size}"), cure)
    }

    /// The block with its defaults.
    pub(super) fn canonical(&self) -> Value {
        let mut block = JsonMap::new();
        let patterns = |list: &[Regex]| list.iter().map(Regex::as_str).map(Value::from).collect();
        let headers: BTreeMap<&String, &str> =
            self.headers.iter().map(|(name, pattern)| (name, pattern.as_str())).collect();
        block.insert("status".to_owned(), json!(self.status.canonical()));
        block.insert("headers".to_owned(), json!(headers));
        block.insert("contains".to_owned(), json!(self.contains));
        block.insert("matches".to_owned(), Value::Array(patterns(&self.matches)));
        let paths = self.json.iter().map(JsonExpect::canonical).collect();
        block.insert("json".to_owned(), Value::Array(paths));
        block.insert("max_size".to_owned(), json!(self.max_size));
        Value::Object(block)
    }

    /// Whether the body must be kept to be searched.
    pub(super) fn keeps_body(&self) -> bool {
        !(self.contains.is_empty() && self.matches.is_empty() && self.json.is_empty())
    }

    /// Whether a status is among the expected.
    pub(super) fn has_status(&self, status: StatusCode) -> bool {
        self.status.has(status.as_u16())
    }

    /// Judges the headers.
    pub(super) fn check_headers(&self, headers: &HeaderMap) -> Result<(), Failure> {
        for (name, pattern) in &self.headers {
            let mut values = headers.get_all(name).iter();
            if !values.any(|value| pattern.is_match(value.as_bytes())) {
                let why = format!("no `{name}` header matches `{}`", pattern.as_str());
                return Err(assertion("header", why));
            }
        }
        Ok(())
    }

    /// Judges the whole body.
    pub(super) fn check_body(&self, body: &[u8]) -> Result<(), Failure> {
        for text in &self.contains {
            if !contains(body, text.as_bytes()) {
                return Err(assertion("body", format!("the body does not contain `{text}`")));
            }
        }
        for pattern in &self.matches {
            if !pattern.is_match(body) {
                let why = format!("the body does not match `{}`", pattern.as_str());
                return Err(assertion("regex", why));
            }
        }
        json::check(&self.json, body).map_err(|why| assertion("value", why))
    }

    /// The failure of a body that is too large.
    pub(super) fn too_large(&self) -> Failure {
        assertion("max_size", format!("the body is larger than {} bytes", self.max_size))
    }
}

fn assertion(code: &'static str, why: String) -> Failure {
    Failure::failed(FailureClass::Assertion, code, why)
}

/// Substring search in time linear in the body, whatever both are.
fn contains(body: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(body, text).is_some()
}

// === keys ===

/// One or a list, but not too many.
fn bounded<'a, T>(
    node: &'a Node,
    problems: &mut Problems,
    decode: impl FnMut(&'a Node, &mut Problems) -> Option<T>,
) -> Option<Vec<T>> {
    let all = one_or_many(node, problems, decode)?;
    if all.len() <= EACH_MAX {
        return Some(all);
    }
    problems.report(node.at, "bad-value", "too many", format!("at most {EACH_MAX}"))
}

fn headers(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Regex>> {
    let map = Map::open(node, "expected headers", problems)?;
    let mut headers = BTreeMap::new();
    for (key, at, value) in map.entries() {
        let Ok(name) = HeaderName::from_bytes(key.as_bytes()) else {
            return problems.report(at, "bad-header", format!("`{key}`"), "not a header's name");
        };
        headers.insert(name.as_str().to_owned(), expression(value, problems)?);
    }
    if headers.len() <= EACH_MAX {
        return Some(headers);
    }
    problems.report(node.at, "bad-value", "too many", format!("at most {EACH_MAX}"))
}

fn expression(node: &Node, problems: &mut Problems) -> Option<Regex> {
    scalar(node, problems, "bad-regex", |text| {
        if text.is_empty() {
            return Err("an empty expression matches everything; leave it out".to_owned());
        }
        RegexBuilder::new(text)
            .size_limit(REGEX_MAX_BYTES)
            .dfa_size_limit(REGEX_CACHE_MAX_BYTES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    "too large when compiled; write less repetition".to_owned()
                }
                error => error.to_string().replace('\n', " "),
            })
    })
}

#[cfg(test)]
mod tests;
