//! So much for each unit of Down time, or for each failed day.

use super::super::scalar::{number_above_zero, share_above_zero};
use super::Context;
use crate::contract::model::{Measure, Per, PerCount, PerOf, Worth};
use crate::contract::number::{self, Exact};
use probefleet_proto::yaml::{Map, Node, Problems};

/// What may be counted.
pub(in crate::contract) const OF: &[(&str, PerOf)] = &[
    ("downtime", PerOf::Downtime),
    ("excess_downtime", PerOf::ExcessDowntime),
    ("failed_days", PerOf::FailedDays),
];
/// What parts of a unit may count as.
pub(in crate::contract) const COUNT: &[(&str, PerCount)] =
    &[("up", PerCount::Up), ("down", PerCount::Down), ("prorata", PerCount::Prorata)];

pub(super) fn per(node: &Node, context: Context<'_>, problems: &mut Problems) -> Option<Per> {
    let mut map = Map::open(node, "a credit for each unit", problems)?;
    let of = map.required("of", problems, |node, p| node.choice(p, OF));
    let every = every(&mut map, of, problems);
    let pays = pays(&mut map, problems);
    let count = map.optional("count", PerCount::Up, problems, |node, p| node.choice(p, COUNT));
    let round_s = round_s(&mut map, of, problems);
    let budgeted = context.measure.is_none_or(Measure::has_down_budget);
    let at = map.at();
    map.finish(problems);
    if of == Some(PerOf::ExcessDowntime) && !budgeted {
        let cure = "only an availability and a downtime have a budget of it: write `of: downtime`";
        return problems.report(at, "measure-target-mismatch", "`excess_downtime`", cure);
    }
    Some(Per { of: of?, every: every?, pays: pays?, count: count?, round_s: round_s? })
}

/// A duration; for days a number of them, one when it is left out.
fn every(map: &mut Map<'_>, of: Option<PerOf>, problems: &mut Problems) -> Option<Exact> {
    let in_seconds = |node: &Node, problems: &mut Problems| match node.duration_s(problems)? {
        0 => problems.report(node.at, "bad-duration", node.describe(), "write more than 0s"),
        every_s => Some(number::whole(every_s)),
    };
    match of {
        Some(PerOf::FailedDays) => {
            map.optional("every", number::whole(1), problems, number_above_zero)
        }
        Some(_) => map.required("every", problems, in_seconds),
        None => map.get("every").and(None),
    }
}

fn pays(map: &mut Map<'_>, problems: &mut Problems) -> Option<Worth> {
    let days = map.get("days").map(|node| number_above_zero(node, problems).map(Worth::Days));
    let rate = map.get("rate").map(|node| share_above_zero(node, problems).map(Worth::Rate));
    match (days, rate) {
        (Some(worth), None) | (None, Some(worth)) => worth,
        (Some(_), Some(_)) => problems.report(
            map.at(),
            "two-credit-forms",
            "days and rate stand together",
            "keep exactly one",
        ),
        (None, None) => {
            let cure = "write what one unit is worth: `days: 1` or `rate: 5%`";
            problems.report(map.at(), "missing-key", "a unit has no worth", cure)
        }
    }
}

/// `Some(None)` when nothing is rounded.
fn round_s(map: &mut Map<'_>, of: Option<PerOf>, problems: &mut Problems) -> Option<Option<u64>> {
    let Some(node) = map.get("round") else { return Some(None) };
    if of == Some(PerOf::FailedDays) {
        let cure = "days are whole: leave it out";
        return problems.report(node.at, "bad-value", "`round` of days", cure);
    }
    match node.duration_s(problems)? {
        0 => problems.report(node.at, "bad-duration", node.describe(), "write more than 0s"),
        round_s => Some(Some(round_s)),
    }
}
