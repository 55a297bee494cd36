//! What a result must be: how many rows, its first value, its checksum; and how much of it is read.

use super::result::Taken;
use crate::probe::failure::Failure;
use probefleet_proto::name::FailureClass;
use probefleet_proto::yaml::{Map, Node, Position, Problems, scalar};
use serde_json::{Map as JsonMap, Value, json};

/// Default bound of the rows that are read.
const MAX_ROWS_DEFAULT: u64 = 10_000;
/// Largest bound of the rows: a report, not a copy of a table.
const MAX_ROWS_LIMIT: u64 = 10_000_000;
/// Default bound of the rows that are read, in bytes.
const MAX_BYTES_DEFAULT: u64 = 1 << 20;
/// Largest bound of the rows, in bytes: a single row may be as large, and is held whole.
const MAX_BYTES_LIMIT: u64 = 16 << 20;
/// Longest first value that can be expected, in bytes.
const FIRST_MAX_BYTES: usize = 4 << 10;

/// What a result must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expect {
    /// Exactly that many rows.
    rows: Option<u64>,
    /// The first value of the first row, as text.
    first: Option<String>,
    /// Of all rows, as 64 hexadecimal digits.
    checksum: Option<String>,
    /// Most rows that are read.
    pub(super) max_rows: u64,
    /// Most bytes of rows that are read.
    pub(super) max_bytes: u64,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            rows: None,
            first: None,
            checksum: None,
            max_rows: MAX_ROWS_DEFAULT,
            max_bytes: MAX_BYTES_DEFAULT,
        }
    }
}

impl Expect {
    /// Reads the block under `expect`.
    pub(super) fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let default = Self::default();
        let mut map = Map::open(node, "expectations", problems)?;
        let rows = map.optional("rows", None, problems, |node, problems| {
            node.whole(problems).map(|rows| Some((rows, node.at)))
        });
        let first = map.optional("first", None, problems, first);
        let checksum = map.optional("checksum", None, problems, checksum);
        let max_rows = map.optional("max_rows", default.max_rows, problems, |node, problems| {
            within(node.at, node.whole(problems)?, MAX_ROWS_LIMIT, "10000000 rows", problems)
        });
        let max_bytes = map.optional("max_bytes", default.max_bytes, problems, |node, problems| {
            within(node.at, node.size_bytes(problems)?, MAX_BYTES_LIMIT, "16MiB", problems)
        });
        map.finish(problems);
        let (rows, max_rows) = (rows?, max_rows?);
        if let Some((rows, at)) = rows.filter(|(rows, _)| *rows > max_rows) {
            let message = format!("{rows} rows, but only {max_rows} are read");
            return problems.report(at, "bad-value", message, "raise `max_rows`");
        }
        let rows = rows.map(|(rows, _)| rows);
        Some(Self { rows, first: first?, checksum: checksum?, max_rows, max_bytes: max_bytes? })
    }

    /// The block with its defaults.
    pub(super) fn canonical(&self) -> Value {
        let mut block = JsonMap::new();
        if let Some(rows) = self.rows {
            block.insert("rows".to_owned(), json!(rows));
        }
        if let Some(first) = &self.first {
            block.insert("first".to_owned(), json!(first));
        }
        if let Some(checksum) = &self.checksum {
            block.insert("checksum".to_owned(), json!(checksum));
        }
        block.insert("max_rows".to_owned(), json!(self.max_rows));
        block.insert("max_bytes".to_owned(), json!(self.max_bytes));
        Value::Object(block)
    }

    /// Judges a whole result.
    pub(super) fn check(&self, taken: &Taken) -> Result<(), Failure> {
        if let Some(rows) = self.rows.filter(|rows| *rows != taken.rows) {
            return Err(assertion("rows", format!("{} rows, not {rows}", taken.rows)));
        }
        if let Some(expected) = &self.first {
            let first = taken.first.as_ref().map_err(|why| assertion("value", why.clone()))?;
            if first != expected {
                return Err(assertion(
                    "value",
                    format!("the first value is `{first}`, not `{expected}`"),
                ));
            }
        }
        if self.checksum.as_ref().is_some_and(|checksum| *checksum != taken.checksum) {
            return Err(assertion("value", format!("the checksum is {}", taken.checksum)));
        }
        Ok(())
    }
}

pub(super) fn assertion(code: &'static str, why: String) -> Failure {
    Failure::failed(FailureClass::Assertion, code, why)
}

// === keys ===

/// Any text, the empty one too.
fn first(node: &Node, problems: &mut Problems) -> Option<Option<String>> {
    scalar(node, problems, "bad-value", |text| {
        if text.len() <= FIRST_MAX_BYTES { Ok(Some(text.to_owned())) } else { Err("at most 4 KiB") }
    })
}

fn checksum(node: &Node, problems: &mut Problems) -> Option<Option<String>> {
    scalar(node, problems, "bad-value", |text| {
        let hexadecimal = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let cure = "64 hexadecimal digits, as `try` shows them in `checksum`";
        if hexadecimal { Ok(Some(text.to_ascii_lowercase())) } else { Err(cure) }
    })
}

fn within(
    at: Position,
    value: u64,
    limit: u64,
    shown: &str,
    problems: &mut Problems,
) -> Option<u64> {
    if (1..=limit).contains(&value) {
        return Some(value);
    }
    problems.report(at, "bad-value", format!("`{value}`"), format!("1 to {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::yaml::Document;

    fn decode(text: &str) -> Result<Expect, String> {
        let document = Document::parse("e", text).expect("is YAML");
        let mut problems = Problems::new("e");
        let expect = Expect::decode(&document.root, &mut problems);
        problems.into_result(expect).map_err(|problems| problems.to_string())
    }

    fn taken(rows: u64, first: Result<&str, &str>) -> Taken {
        let first = first.map(str::to_owned).map_err(str::to_owned);
        Taken { rows, first, checksum: "ab".repeat(32) }
    }

    #[test]
    fn results_are_judged() {
        let checksum = "AB".repeat(32);
        let text = format!("{{rows: 2, first: 'ok', checksum: {checksum}}}");
        let expect = decode(&text).expect("valid");
        assert_eq!(expect.check(&taken(2, Ok("ok"))), Ok(()));
        for (taken, code, why) in [
            (taken(3, Ok("ok")), "rows", "3 rows, not 2"),
            (taken(2, Ok("no")), "value", "the first value is `no`, not `ok`"),
            (taken(2, Err("the first value is NULL")), "value", "the first value is NULL"),
            (
                Taken { checksum: "00".repeat(32), ..taken(2, Ok("ok")) },
                "value",
                "the checksum is 0000",
            ),
        ] {
            let failure = expect.check(&taken).expect_err(why);
            assert_eq!(failure.code.as_deref(), Some(code));
            assert!(failure.why.starts_with(why), "{failure:?}");
        }
        assert_eq!(Expect::default().check(&taken(7, Err("NULL"))), Ok(()));
        assert_eq!(decode("{first: ''}").expect("valid").check(&taken(1, Ok(""))), Ok(()));
    }

    #[test]
    fn bounds_are_kept() {
        for (text, expected) in [
            (
                "{rows: 20000}",
                "1:8: bad-value: 20000 rows, but only 10000 are read; raise `max_rows`",
            ),
            ("{max_rows: 0}", "1:12: bad-value: `0`; 1 to 10000000 rows"),
            ("{max_bytes: 17MiB}", "1:13: bad-value: `17825792`; 1 to 16MiB"),
            ("{checksum: abc}", "1:12: bad-value: `abc`; 64 hexadecimal digits"),
            ("{first: [a]}", "1:9: bad-value"),
            ("{row: 1}", "1:2: unknown-key: `row` is not known here; did you mean `rows`?"),
        ] {
            let problems = decode(text).expect_err(text);
            assert!(problems.starts_with(&format!("e:{expected}")), "{text}: {problems}");
        }
        assert!(decode("{rows: 20000, max_rows: 20000}").is_ok());
    }
}
