//! From the file to a policy.

use super::destination::Destination;
use super::{Allow, CallLimits, Kind, Policy, UserPattern};
use probefleet_proto::yaml::{Map, Node, Problems, list, one_or_many, scalar};
use std::collections::BTreeMap;

const KINDS: [(&str, Kind); 3] = [("http", Kind::Http), ("sql", Kind::Sql), ("sip", Kind::Sip)];

/// Most calls in an hour that can be a limit: the instants of all of them are kept, some bytes each.
const CALLS_PER_HOUR_MAX: u64 = 100_000;

impl Policy {
    pub(super) fn decode(root: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(root, "a policy", problems)?;
        let allow =
            map.required("allow", problems, |node, problems| list(node, problems, Allow::decode));
        let sql = map.optional("sql", BTreeMap::new(), problems, named);
        let sip = map.optional("sip", BTreeMap::new(), problems, named);
        map.finish(problems);
        Some(Self { allow: allow?, sql: sql?, sip: sip?, own: None })
    }
}

impl Allow {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut map = Map::open(node, "an entry", problems)?;
        let kind = map.required("kind", problems, |node, problems| node.choice(problems, &KINDS));
        let to = map.required("to", problems, |node, problems| {
            one_or_many(node, problems, |node, problems| {
                scalar(node, problems, "bad-destination", Destination::parse)
            })
        });
        let calls = match kind {
            Some(Kind::Sip) => CallLimits::decode(&mut map, problems).map(Some),
            _ => Some(None),
        };
        map.finish(problems);
        Some(Self { kind: kind?, to: to?, calls: calls? })
    }
}

impl CallLimits {
    fn decode(map: &mut Map<'_>, problems: &mut Problems) -> Option<Self> {
        let calls_per_hour = map.optional("calls_per_hour", None, problems, |node, problems| {
            let calls = node.whole(problems)?;
            if calls <= CALLS_PER_HOUR_MAX {
                return Some(Some(calls));
            }
            let cure = format!("at most {CALLS_PER_HOUR_MAX}; leave it out for no limit");
            problems.report(node.at, "bad-value", node.describe(), cure)
        });
        let concurrent = map.optional("concurrent", None, problems, |node, problems| {
            node.whole(problems).map(Some)
        });
        let hold_ns = map.optional("hold", None, problems, |node, problems| {
            node.duration_ns(problems).map(Some)
        });
        let users = map.optional("users", None, problems, |node, problems| {
            one_or_many(node, problems, |node, problems| {
                scalar(node, problems, "bad-user", UserPattern::parse)
            })
            .map(Some)
        });
        Some(Self {
            users: users?,
            calls_per_hour: calls_per_hour?,
            concurrent: concurrent?,
            hold_ns: hold_ns?,
        })
    }
}

/// Named credentials. What is under a name belongs to the kind that uses it.
fn named(node: &Node, problems: &mut Problems) -> Option<BTreeMap<String, Node>> {
    let map = Map::open(node, "a mapping of names", problems)?;
    let mut all = BTreeMap::new();
    for (name, _, value) in map.entries() {
        Map::open(value, "credentials", problems)?;
        all.insert(name.to_owned(), value.clone());
    }
    Some(all)
}
