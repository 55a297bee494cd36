//! Statuses that are as expected, as plans have them: `200`, `[200-299, 404]`. Pure.

use probefleet_proto::yaml::{Node, Problems, one_or_many, scalar};

/// Most statuses or ranges of a list.
const RANGES_MAX: usize = 16;
/// The least that is final.
const FINAL_MIN: u16 = 200;

/// Inclusive ranges of final statuses, ascending, apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// One and nothing else.
    pub(crate) fn one(status: u16) -> Self {
        Self(vec![(status, status)])
    }

    /// From the first to the last.
    pub(crate) fn range(first: u16, last: u16) -> Self {
        Self(vec![(first, last)])
    }

    /// Reads a list of statuses up to `last`, sorted and merged, so that equal meaning is an equal spec.
    pub(crate) fn decode(node: &Node, problems: &mut Problems, last: u16) -> Option<Self> {
        let mut ranges = one_or_many(node, problems, |node, problems| {
            scalar(node, problems, "bad-status", |text| parse_range(text, last))
        })?;
        if ranges.is_empty() || ranges.len() > RANGES_MAX {
            let cure = format!("write 1 to {RANGES_MAX} statuses or ranges, such as 200-299");
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
        Some(Self(merged))
    }

    /// Those of a list as a plan has it.
    #[cfg(test)]
    pub(crate) fn of(list: &str) -> Self {
        let document = probefleet_proto::yaml::Document::parse("codes", list).expect("is YAML");
        Self::decode(&document.root, &mut Problems::new("codes"), 699).expect("statuses")
    }

    /// Whether a status is among them.
    pub(crate) fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    /// As they are written shortest.
    pub(crate) fn canonical(&self) -> Vec<String> {
        let text = |(from, to): &(u16, u16)| {
            if from == to { from.to_string() } else { format!("{from}-{to}") }
        };
        self.0.iter().map(text).collect()
    }
}

fn parse_range(text: &str, last: u16) -> Result<(u16, u16), String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|code| digits && (FINAL_MIN..=last).contains(code))
    };
    match (status(from.trim()), status(to.trim())) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        _ => Err(format!(
            "write a final status of {FINAL_MIN} to {last}, or a range such as 200-299"
        )),
    }
}
