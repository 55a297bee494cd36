//! Exclusion records: time for which a provider is not answerable, who asked for it when, and whether it was granted.
//!
//! A record claims; what of it holds is decided by the agreement when a period is judged.

use super::Agreement;
use super::period::{Span, instant_s};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Document, Map, Node, Problems, Value, list, scalar};

/// Why time is to be excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Work that was announced.
    Maintenance,
    /// Work that could not wait.
    EmergencyMaintenance,
    /// The customer's doing.
    Customer,
    /// Nobody's doing.
    ForceMajeure,
}

impl Reason {
    /// Every reason with its word.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("maintenance", Self::Maintenance),
        ("emergency_maintenance", Self::EmergencyMaintenance),
        ("customer", Self::Customer),
        ("force_majeure", Self::ForceMajeure),
    ];

    /// The word in a record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, reason)| *reason == self).map_or("", |(word, _)| word)
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exclusion {
    /// The time that it claims.
    pub span: Span,
    /// Why.
    pub reason: Reason,
    /// When it was announced, in s since 1970.
    pub announced_s: Option<i64>,
    /// For which objectives; empty: for all.
    pub objectives: Vec<Name>,
    /// It was approved.
    pub approved: bool,
}

impl Exclusion {
    /// True when it claims time of that objective.
    #[must_use]
    pub fn names(&self, objective: &Name) -> bool {
        self.objectives.is_empty() || self.objectives.contains(objective)
    }
}

/// The records of an agreement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions(Vec<Exclusion>);

impl Exclusions {
    /// Reads a file of records for an agreement.
    ///
    /// # Errors
    /// Every problem of the file.
    pub fn parse(file: &str, text: &str, agreement: &Agreement) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let mut problems = Problems::new(file);
        let records = records(&document.root, agreement, &mut problems);
        problems.into_result(records).map(Self::of)
    }

    /// These records, in whatever order.
    #[must_use]
    pub fn of(mut records: Vec<Exclusion>) -> Self {
        records.sort();
        Self(records)
    }

    /// The records, sorted by beginning.
    pub fn iter(&self) -> impl Iterator<Item = &Exclusion> {
        self.0.iter()
    }

    /// Those that claim time of a stretch.
    #[must_use]
    pub fn touching(&self, stretch: Span) -> Self {
        let touching = self.iter().filter(|record| record.span.meet(stretch).seconds() > 0);
        Self(touching.cloned().collect())
    }

    /// Those that exist at an instant: announced later, a record does not.
    pub fn at(&self, as_of_s: Option<i64>) -> impl Iterator<Item = &Exclusion> {
        self.iter().filter(move |record| {
            as_of_s.is_none_or(|as_of_s| record.announced_s.is_none_or(|at_s| at_s <= as_of_s))
        })
    }
}

fn records(node: &Node, agreement: &Agreement, problems: &mut Problems) -> Option<Vec<Exclusion>> {
    let mut map = Map::open(node, "a file of exclusions", problems)?;
    let records = map.required("exclusions", problems, |node, problems| {
        list(node, problems, |node, problems| record(node, agreement, problems))
    });
    map.finish(problems);
    records
}

fn record(node: &Node, agreement: &Agreement, problems: &mut Problems) -> Option<Exclusion> {
    let mut map = Map::open(node, "an exclusion", problems)?;
    let from_s = map.required("from", problems, instant);
    let until_s = map.required("until", problems, instant);
    let reason = map.required("reason", problems, |node, p| node.choice(p, Reason::WORDS));
    let announced_s =
        map.optional("announced", None, problems, |node, p| instant(node, p).map(Some));
    let objectives = map.optional("objectives", Vec::new(), problems, |node, problems| {
        objectives(node, agreement, problems)
    });
    let approved = map.optional("approved", false, problems, Node::flag);
    map.finish(problems);
    let span = Span { from_s: from_s?, until_s: until_s? };
    if span.seconds() == 0 {
        let cure =
            "its end must be later than its beginning; the end itself no longer belongs to it";
        return problems.report(node.at, "term-empty", "no time lies in it", cure);
    }
    Some(Exclusion {
        span,
        reason: reason?,
        announced_s: announced_s?,
        objectives: objectives?,
        approved: approved?,
    })
}

fn instant(node: &Node, problems: &mut Problems) -> Option<i64> {
    scalar(node, problems, "bad-date", |text| {
        instant_s(text).ok_or("write an instant such as 2026-04-12T01:00:00+02:00")
    })
}

/// Names of objectives; empty for `"*"`, which is all of them.
fn objectives(node: &Node, agreement: &Agreement, problems: &mut Problems) -> Option<Vec<Name>> {
    let all = |node: &Node| matches!(&node.value, Value::Scalar { text, .. } if text == "*");
    if matches!(&node.value, Value::Sequence(items) if items.iter().any(all)) {
        let names =
            list(
                node,
                problems,
                |node, p| if all(node) { Some(None) } else { node.name(p).map(Some) },
            )?;
        if names.len() > 1 {
            let cure = "`\"*\"` names every objective: leave the others out";
            return problems.report(node.at, "bad-value", "`*` beside names", cure);
        }
        return Some(Vec::new());
    }
    let known = |node: &Node, problems: &mut Problems| {
        let name = node.name(problems)?;
        let objectives = agreement.objectives();
        if objectives.iter().any(|objective| objective.name == name) {
            return Some(name);
        }
        let names: Vec<&str> = objectives.iter().map(|objective| objective.name.as_str()).collect();
        let cure = format!("objectives here: {}", names.join(", "));
        problems.report(node.at, "unknown-objective", format!("`{name}`"), cure)
    };
    let names = list(node, problems, known)?;
    if names.is_empty() {
        let cure = "name objectives, or leave the key out for all of them";
        return problems.report(node.at, "bad-value", "an empty list", cure);
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGREEMENT: &str = include_str!("../../tests/fixtures/contract/good.yaml");
    const RECORD: &str = "exclusions:
  - from: 2026-04-12T01:00:00+02:00
    until: 2026-04-12T03:00:00+02:00
    reason: maintenance
    announced: 2026-04-07T09:00:00+02:00
    objectives: [\"*\"]
    approved: true
";

    fn parse(text: &str) -> Result<Exclusions, String> {
        let agreement = Agreement::load(&[("a.yaml", AGREEMENT)]).expect("valid").agreement;
        Exclusions::parse("x.yaml", text, &agreement).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_record_is_read() {
        let records = parse(RECORD).expect("valid");
        let record = records.iter().next().expect("one");
        assert_eq!(
            (record.span.seconds(), record.reason, record.approved),
            (7_200, Reason::Maintenance, true)
        );
        assert!(record.objectives.is_empty());
        let at = |text| instant_s(text);
        assert_eq!(records.at(at("2026-04-07T06:59:59Z")).count(), 0);
        assert_eq!(records.at(at("2026-04-07T07:00:00Z")).count(), 1);
        let plain = RECORD.replace("    announced: 2026-04-07T09:00:00+02:00\n    objectives: [\"*\"]\n    approved: true\n", "");
        let records = parse(&plain).expect("valid");
        let record = records.iter().next().expect("one");
        assert_eq!((record.announced_s, record.approved), (None, false));
        assert_eq!(records.at(Some(0)).count(), 1, "what is not announced exists");
        assert_eq!(parse("exclusions: []"), Ok(Exclusions::default()));
    }

    proptest::proptest! {
        /// A file is read or refused, whatever was done to it.
        #[test]
        fn is_read_or_refused(
            cut in 0_usize..300, length in 0_usize..40, text in "[-a-z0-9%.:,{}\\[\\]\"'&*#<>= \n]{0,30}",
        ) {
            let (start, end) = (cut.min(RECORD.len()), (cut + length).min(RECORD.len()));
            let changed = format!("{}{text}{}", &RECORD[..start], &RECORD[end..]);
            let read = parse(&changed);
            proptest::prop_assert!(read.is_ok() || !read.expect_err("refused").is_empty());
        }
    }

    #[test]
    fn every_problem_has_its_place() {
        for (from, to, expected) in [
            ("from: 2026-04-12T01:00:00+02:00", "from: 2026-04-12", "x.yaml:2:11: bad-date"),
            ("2026-04-12T03:00:00+02:00", "2026-04-12T01:00:00+02:00", "x.yaml:2:5: term-empty"),
            ("reason: maintenance", "reason: holiday", "x.yaml:4:13: bad-value"),
            ("[\"*\"]", "[nothing]", "x.yaml:6:18: unknown-objective"),
            ("[\"*\"]", "[]", "x.yaml:6:17: bad-value"),
            ("[\"*\"]", "[\"*\", fast]", "x.yaml:6:17: bad-value"),
            ("approved: true", "approved: yes", "x.yaml:7:15: bad-value"),
            ("approved", "aproved", "x.yaml:7:5: unknown-key"),
            ("exclusions:", "exclusion:", "x.yaml:1:1: missing-key"),
        ] {
            let found = parse(&RECORD.replacen(from, to, 1)).expect_err(to);
            assert!(found.contains(expected), "{to}: {found}");
        }
    }
}
