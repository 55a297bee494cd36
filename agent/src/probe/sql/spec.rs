//! The block under `sql`: from what people wrote to a checked query.

use super::dsn;
use super::expect::Expect;
use super::source::Source;
use probefleet_proto::yaml::{Map, Node, Position, Problems, scalar};
use serde_json::{Map as JsonMap, Value, json};

/// Longest statement: a page of SQL is 4 KiB.
const QUERY_MAX_BYTES: usize = 64 << 10;
/// What a bare URL is asked.
const QUERY_DEFAULT: &str = "SELECT 1";
/// Longest statement that is shown whole, in characters.
const SHOWN_MAX_CHARS: usize = 60;

const REUSES: [(&str, Reuse); 2] = [("fresh", Reuse::Fresh), ("kept", Reuse::Kept)];

/// Whether attempts share a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Each has its own.
    Fresh,
    /// One after the other, as long as it lasts.
    Kept,
}

/// A checked block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    pub(super) source: Source,
    pub(super) query: String,
    pub(super) reuse: Reuse,
    pub(super) expect: Expect,
}

impl Spec {
    /// Reads the block, reporting all its problems.
    pub(super) fn decode(block: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(block, "an sql block", problems)?;
        let source = Source::decode(&mut map, problems);
        let query = map.required("query", problems, query);
        let reuse = map.optional("session", Reuse::Fresh, problems, |node, problems| {
            node.choice(problems, &REUSES)
        });
        let expect = map.optional("expect", Expect::default(), problems, Expect::decode);
        map.finish(problems);
        Some(Self { source: source?, query: query?, reuse: reuse?, expect: expect? })
    }

    /// The least that a bare URL can be asked.
    pub(super) fn of_url(url: &str, problems: &mut Problems) -> Option<Self> {
        let at = Position::default();
        match dsn::parse(url) {
            Ok((login, None)) => {
                let source = Source::Bare(Box::new(login));
                let (query, expect) = (QUERY_DEFAULT.to_owned(), Expect::default());
                Some(Self { source, query, reuse: Reuse::Fresh, expect })
            }
            Ok((_, Some(_))) => {
                let cure = "everybody on this machine can read it there; leave out `:password` and set PGPASSWORD, write it to ~/.pgpass, or try a plan with `sql: {url_file: …}`";
                problems.report(at, "bad-url", "a password on the command line", cure)
            }
            Err(why) => problems.report(at, "bad-url", "the URL", why),
        }
    }

    /// The block with its defaults, without secrets.
    pub(super) fn canonical(&self) -> Value {
        let reuse = REUSES.iter().find(|(_, reuse)| *reuse == self.reuse).map(|(word, _)| *word);
        let mut block = JsonMap::new();
        self.source.note(&mut block);
        block.insert("query".to_owned(), json!(self.query));
        block.insert("session".to_owned(), json!(reuse));
        block.insert("expect".to_owned(), self.expect.canonical());
        Value::Object(block)
    }

    /// What is asked whom, in a line.
    pub(super) fn shown(&self) -> String {
        let words: Vec<&str> = self.query.split_whitespace().collect();
        let query = words.join(" ");
        let shown = match query.char_indices().nth(SHOWN_MAX_CHARS) {
            Some((end, _)) => format!("{}…", &query[..end]),
            None => query,
        };
        format!("{}  {shown}", self.source.shown())
    }
}

fn query(node: &Node, problems: &mut Problems) -> Option<String> {
    scalar(node, problems, "bad-query", |text| {
        let bare = text.trim();
        if bare.is_empty() {
            return Err("write one statement, such as SELECT 1".to_owned());
        }
        if text.len() > QUERY_MAX_BYTES {
            return Err(format!("at most {} KiB", QUERY_MAX_BYTES >> 10));
        }
        if text.contains('\0') {
            return Err("a zero byte cannot be sent".to_owned());
        }
        Ok(bare.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use probefleet_proto::yaml::Document;

    fn decode(text: &str) -> Result<Spec, String> {
        let document = Document::parse("p", text).expect("is YAML");
        let mut problems = Problems::new("p");
        let spec = Spec::decode(&document.root, &mut problems);
        problems.into_result(spec).map_err(|problems| problems.to_string())
    }

    #[test]
    fn defaults_are_filled_in() {
        let spec = decode("{source: erp, query: ' SELECT 1 '}").expect("valid");
        assert_eq!(
            spec.canonical().to_string(),
            r#"{"source":"erp","query":"SELECT 1","session":"fresh","expect":{"max_rows":10000,"max_bytes":1048576}}"#
        );
        let all =
            "{url_file: /x, ca_file: /y, query: q, session: kept, expect: {rows: 1, first: a}}";
        assert_eq!(
            decode(all).expect("valid").canonical().to_string(),
            r#"{"ca_file":"/y","url_file":"/x","query":"q","session":"kept","expect":{"rows":1,"first":"a","max_rows":10000,"max_bytes":1048576}}"#
        );
    }

    #[test]
    fn every_problem_has_its_place() {
        let long = format!("{{source: a, query: '{}'}}", "x".repeat(QUERY_MAX_BYTES + 1));
        for (text, expected) in [
            ("{}", "1:1: missing-key: `source` is missing; add `source: NAME`"),
            ("{source: A B, query: q}", "1:10: bad-name"),
            ("{source: a}", "1:1: missing-key: `query` is missing"),
            ("{source: a, query: ' '}", "1:20: bad-query: ` `; write one statement"),
            ("{source: a, query: [a]}", "1:20: bad-value"),
            (&long, "1:20: bad-query"),
            ("{source: a, url_file: b, query: q}", "1:23: bad-value: `url_file` beside `source`"),
            ("{source: a, ca_file: b, query: q}", "1:22: bad-value: `ca_file` beside `source`"),
            (
                "{source: a, query: q, session: often}",
                "1:32: bad-value: `often`; write one of fresh, kept",
            ),
            (
                "{source: a, query: q, sesion: kept}",
                "1:23: unknown-key: `sesion` is not known here; did you mean `session`?",
            ),
            ("{source: a, query: q, url: 'postgres://u:s3cret@h'}", "1:23: unknown-key"),
            ("{source: a, query: q, expect: {rows: many}}", "1:38: bad-value"),
        ] {
            let problems = decode(text).expect_err(text);
            assert!(problems.starts_with(&format!("p:{expected}")), "{text}: {problems}");
            assert!(!problems.contains("s3cret"), "{problems}");
        }
        let three = decode("{query: '', session: x, expekt: {}}").expect_err("wrong");
        assert_eq!(three.lines().count(), 4, "{three}");
    }

    #[test]
    fn a_password_has_no_place_on_a_command_line() {
        let mut problems = Problems::new("URL");
        assert_eq!(Spec::of_url("postgres://u:s3cret@h/db", &mut problems), None);
        let text = problems.to_string();
        assert!(text.starts_with("URL: bad-url: a password on the command line"), "{text}");
        assert!(text.contains("PGPASSWORD") && !text.contains("s3cret"), "{text}");
        let spec = Spec::of_url("postgres://u@h/db?sslmode=require", &mut Problems::new("URL"))
            .expect("valid");
        assert_eq!(spec.shown(), "postgres://u@h:5432/db?sslmode=require  SELECT 1");
        assert_eq!(spec.canonical()["url"], "postgres://u@h:5432/db?sslmode=require");
    }
}
