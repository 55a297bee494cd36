//! The rules by which a customer may terminate.

use super::scalar::{count, share_above_zero};
use crate::contract::model::{MeanOf, TerminationRule};
use probefleet_proto::yaml::{Map, Node, Position, Problems, list};

/// Most periods that a rule looks back: ten years of months.
pub(in crate::contract) const PERIODS_MAX: u64 = 120;

/// Reads the rules, each with its place.
pub(super) fn rules(
    node: &Node,
    problems: &mut Problems,
) -> Option<Vec<(Position, TerminationRule)>> {
    list(node, problems, |node, problems| rule(node, problems).map(|rule| (node.at, rule)))
}

fn rule(node: &Node, problems: &mut Problems) -> Option<TerminationRule> {
    let mut map = Map::open(node, "a right to terminate", problems)?;
    let rule = if map.get("consecutive").is_some() {
        map.required("consecutive", problems, periods).map(TerminationRule::Consecutive)
    } else if map.get("mean_below").is_some() {
        mean_below(&mut map, problems)
    } else {
        of_last(&mut map, problems)
    };
    map.finish(problems);
    rule
}

fn of_last(map: &mut Map<'_>, problems: &mut Problems) -> Option<TerminationRule> {
    let breached = map.required("breached", problems, periods);
    let of_last = map.required("of_last", problems, periods);
    let (breached, of_last) = breached.zip(of_last)?;
    if breached > of_last {
        let message = format!("{breached} of {of_last}");
        return problems.report(map.at(), "bad-value", message, "there are never so many of them");
    }
    Some(TerminationRule::OfLast { breached, of_last })
}

/// Which mean of several periods may be meant.
pub(in crate::contract) const COMBINE: &[(&str, MeanOf)] =
    &[("mean_of_periods", MeanOf::Periods), ("pooled", MeanOf::Pooled)];

fn mean_below(map: &mut Map<'_>, problems: &mut Problems) -> Option<TerminationRule> {
    let objective = map.required("objective", problems, Node::name);
    let below = map.required("mean_below", problems, share_above_zero);
    let over = map.required("over", problems, periods);
    let combine =
        map.optional("combine", MeanOf::Periods, problems, |node, p| node.choice(p, COMBINE));
    Some(TerminationRule::MeanBelow {
        objective: objective?,
        below: below?,
        over: over?,
        combine: combine?,
    })
}

fn periods(node: &Node, problems: &mut Problems) -> Option<u64> {
    match count(node, problems)? {
        periods @ 1..=PERIODS_MAX => Some(periods),
        _ => {
            let cure = format!("at most {PERIODS_MAX} periods are looked at");
            problems.report(node.at, "bad-value", node.describe(), cure)
        }
    }
}
