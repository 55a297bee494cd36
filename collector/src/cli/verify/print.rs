//! What `verify` found, for people and for programs.

use crate::audit::Account;
use crate::store::StreamInfo;
use crate::verdict::words::counted;
use probefleet_proto::hex::hex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use uuid::Uuid;

/// Streams and what each came to.
type Checked = [(StreamInfo, Account)];

/// For people: some lines a stream, and one for all.
pub(super) fn text(checked: &Checked) -> String {
    let mut text = String::new();
    for (info, account) in checked {
        stream_text(&mut text, info, account);
    }
    for (name, keys) in several_keys(checked) {
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            text,
            "{name} has signed with {keys} keys: a new state directory, or another machine with its certificate; compare each with what the agents' logs say"
        );
    }
    let sum = sum(checked);
    let broken = checked.iter().filter(|(_, account)| account.problems > 0).count();
    let verdict = match broken {
        0 => "all as it was sealed".to_owned(),
        broken => format!("BROKEN: {} not as sealed", counted(number(broken), "stream")),
    };
    let _infallible = writeln!(
        text,
        "{}, {}: {verdict}",
        counted(number(checked.len()), "stream"),
        amounts(&sum)
    );
    text
}

fn stream_text(text: &mut String, info: &StreamInfo, account: &Account) {
    let key = match info.evidence {
        Some(evidence) => {
            format!("key {}, all signed from record {} on", evidence.key, evidence.signed_from)
        }
        None => "no key: this agent does not sign".to_owned(),
    };
    let _infallible = writeln!(text, "{}  spool {}\n  {key}", info.name, hex(&info.spool_id));
    if account.records > 0 {
        let end = account.last_hash.map_or_else(String::new, |hash| hex(&hash));
        let (from, to) = (account.from_seq, account.to_seq);
        let _infallible =
            writeln!(text, "  records {from} to {to}: {}\n  end {to} {end}", amounts(account));
    } else {
        text.push_str("  no records\n");
    }
    match &account.first_problem {
        None => text.push_str("  as it was sealed\n\n"),
        Some((seq, problem)) => {
            let place = if *seq > 0 { format!(" at record {seq}") } else { String::new() };
            let _infallible = writeln!(
                text,
                "  BROKEN{place}: {problem}\n  {}\n",
                counted(account.problems, "problem")
            );
        }
    }
}

fn amounts(account: &Account) -> String {
    let mut text = format!(
        "{}, {} signed, {} not",
        counted(account.records, "record"),
        account.signed,
        account.unsigned
    );
    if account.gaps > 0 {
        let (gaps, lost) = (counted(account.gaps, "gap"), counted(account.lost, "record"));
        let _infallible = write!(text, ", {gaps} in place of {lost}");
    }
    text
}

/// For programs: one object.
pub(super) fn json(checked: &Checked) -> String {
    let sum = sum(checked);
    let streams: Vec<Value> =
        checked.iter().map(|(info, account)| stream_json(info, account)).collect();
    let several = several_keys(checked);
    let all = json!({
        "sound": sum.problems == 0,
        "streams": streams,
        "agents_with_several_keys": several.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "records": sum.records, "signed": sum.signed, "unsigned": sum.unsigned,
        "gaps": sum.gaps, "lost": sum.lost, "problems": sum.problems,
    });
    format!("{all}\n")
}

fn stream_json(info: &StreamInfo, account: &Account) -> Value {
    let problem = account.first_problem.as_ref().map(
        |(seq, problem)| json!({"seq": seq, "what": problem.word(), "text": problem.to_string()}),
    );
    json!({
        "agent": info.name, "agent_id": info.agent.to_string(), "spool_id": hex(&info.spool_id),
        "key": info.evidence.map(|evidence| evidence.key.to_string()),
        "public_key": info.evidence.map(|evidence| hex(evidence.key.as_bytes())),
        "signed_from": info.evidence.map(|evidence| evidence.signed_from),
        "from_seq": account.from_seq, "to_seq": account.to_seq,
        "end_hash": account.last_hash.map(|hash| hex(&hash)),
        "records": account.records, "signed": account.signed, "unsigned": account.unsigned,
        "gaps": account.gaps, "lost": account.lost,
        "problems": account.problems, "first_problem": problem,
    })
}

fn sum(checked: &Checked) -> Account {
    checked.iter().fold(Account::default(), |sum, (_, one)| Account {
        records: sum.records + one.records,
        signed: sum.signed + one.signed,
        unsigned: sum.unsigned + one.unsigned,
        gaps: sum.gaps + one.gaps,
        lost: sum.lost.saturating_add(one.lost),
        problems: sum.problems + one.problems,
        ..sum
    })
}

/// Agents whose streams have different keys, and how many.
fn several_keys(checked: &Checked) -> Vec<(&str, usize)> {
    let mut keys: BTreeMap<Uuid, (&str, Vec<_>)> = BTreeMap::new();
    for (info, _) in checked {
        let (_, of_agent) = keys.entry(info.agent).or_insert((&info.name, Vec::new()));
        if let Some(evidence) = info.evidence
            && !of_agent.contains(&evidence.key)
        {
            of_agent.push(evidence.key);
        }
    }
    let several = keys.into_values().filter(|(_, keys)| keys.len() > 1);
    several.map(|(name, keys)| (name, keys.len())).collect()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
