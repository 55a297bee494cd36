//! `expect.codes`: final statuses and ranges of them.

use probefleet_proto::yaml::{Map, Node, Problems, one_or_many, scalar};

/// Most statuses or ranges of `codes`.
const CODES_MAX: usize = 16;

/// Final statuses that are as expected: inclusive ranges, ascending, apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Codes(Vec<(u16, u16)>);

impl Codes {
    /// 200 and nothing else.
    pub(crate) fn ok() -> Self {
        Self(vec![(200, 200)])
    }

    /// Those of a list as a plan has it.
    #[cfg(test)]
    pub(crate) fn of(list: &str) -> Self {
        let document = probefleet_proto::yaml::Document::parse("codes", list).expect("is YAML");
        codes(&document.root, &mut Problems::new("codes")).expect("codes")
    }

    /// 487, which a call has that was cancelled (RFC 3261 §9.2).
    pub(crate) fn cancelled() -> Self {
        Self(vec![(487, 487)])
    }

    /// Whether a status is among them.
    pub(crate) fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    pub(super) fn canonical(&self) -> Vec<String> {
        let text = |(from, to): &(u16, u16)| {
            if from == to { from.to_string() } else { format!("{from}-{to}") }
        };
        self.0.iter().map(text).collect()
    }
}

/// Reads what stands under `expect`; `None` inside where it names no statuses.
pub(super) fn expect(node: &Node, problems: &mut Problems) -> Option<Option<Codes>> {
    let mut map = Map::open(node, "expectations", problems)?;
    let codes =
        map.optional("codes", None, problems, |node, problems| codes(node, problems).map(Some));
    map.finish(problems);
    codes
}

/// Reads `[200, 400-499]`, sorted and merged, so that equal meaning is an equal spec.
fn codes(node: &Node, problems: &mut Problems) -> Option<Codes> {
    let mut ranges = one_or_many(node, problems, |node, problems| {
        scalar(node, problems, "bad-status", parse_range)
    })?;
    if ranges.is_empty() || ranges.len() > CODES_MAX {
        let cure = format!("write 1 to {CODES_MAX} statuses or ranges, such as 200-299");
        return problems.report(node.at, "bad-status", "no status, or too many", cure);
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    Some(Codes(merged))
}

fn parse_range(text: &str) -> Result<(u16, u16), &'static str> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| digits && (200..700).contains(code))
    };
    match (status(from.trim()), status(to.trim())) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        _ => Err("write a final status of 200 to 699, or a range such as 200-299"),
    }
}
