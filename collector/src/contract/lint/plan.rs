//! What is wrong or unwise in an agreement beside a plan: names, intervals, and what so many attempts can prove.

use super::{MOSTLY_EMPTY_CURE, mostly_empty, shortest_s};
use crate::contract::model::{Good, Measure, Objective, Vantages};
use crate::contract::number::{self, Exact};
use crate::contract::parse::Placed;
use crate::contract::phases::{PHASES, kind_has_phase, phases_text};
use num_bigint::BigInt;
use probefleet_proto::plan::{Plan, PlannedProbe};
use probefleet_proto::yaml::Problems;

/// Reports what an objective and the probes that it names make of each other.
pub(super) fn against(
    placed: &Placed,
    plan: &Plan,
    problems: &mut Problems,
    warnings: &mut Problems,
) {
    let objective = &placed.objective;
    let mut slowest_s = 0;
    let mut attempts = 0;
    for name in &objective.probes {
        let Some(probe) = plan.probes.iter().find(|probe| probe.schedule.name == *name) else {
            let known: Vec<&str> =
                plan.probes.iter().map(|probe| probe.schedule.name.as_str()).take(20).collect();
            let cure = format!("probes of the plan: {}", known.join(", "));
            problems.report::<()>(placed.probes_at, "unknown-probe", format!("`{name}`"), cure);
            continue;
        };
        slowest_s = slowest_s.max(probe.schedule.every_s);
        attempts += shortest_s(objective).div_ceil(probe.schedule.every_s.max(1));
        phase_of(placed, probe, problems);
        ratio_of(placed, probe, problems);
    }
    if attempts == 0 {
        return;
    }
    if objective.measure.is_of_time() {
        intervals(placed, slowest_s, warnings);
    }
    let attempted = mostly_empty(objective, slowest_s, "attempts are");
    if let Some(message) = attempted.filter(|_| slowest_s > u64::from(objective.window.width_s)) {
        warnings.report::<()>(placed.at, "interval-mostly-empty", message, MOSTLY_EMPTY_CURE);
    }
    let agents = match &objective.vantages {
        Vantages::Quorum { at_least, .. } => *at_least,
        Vantages::Each(_) => 1,
    };
    let attempts = attempts.saturating_mul(agents);
    if promised_share(objective).is_some_and(|share| unprovable(&share, attempts)) {
        let message = format!("{attempts} attempts in a period cannot prove such a target");
        let cure = "probe more often, from more agents, or promise less";
        warnings.report::<()>(placed.at, "unprovable", message, cure);
    }
}

/// The share of attempts that must be good; `None` where none is promised.
fn promised_share(objective: &Objective) -> Option<Exact> {
    match &objective.measure {
        Measure::Percentile { share, .. } => Some(share.clone()),
        Measure::Downtime
        | Measure::LongestOutage
        | Measure::Outages
        | Measure::Mean { .. }
        | Measure::GoodDays { .. } => None,
        Measure::Availability
        | Measure::Success
        | Measure::Within { .. }
        | Measure::Ratio(_)
        | Measure::MeanSuccess { .. } => Some(match objective.measure.scale().good {
            Good::High => objective.target.limit.clone(),
            Good::Low => number::whole(1) - &objective.target.limit,
        }),
    }
}

fn phase_of(placed: &Placed, probe: &PlannedProbe, problems: &mut Problems) {
    let Some(phase) = placed.objective.measure.phase() else { return };
    if !kind_has_phase(&probe.kind, phase) && PHASES.iter().any(|(kind, _)| *kind == probe.kind) {
        let message =
            format!("`{phase}` of `{}`, a probe of kind {}", probe.schedule.name, probe.kind);
        problems.report::<()>(placed.at, "unknown-phase", message, phases_text());
    }
}

/// A ratio is of what the probe does: calls, or registrations.
fn ratio_of(placed: &Placed, probe: &PlannedProbe, problems: &mut Problems) {
    let Measure::Ratio(ratio) = placed.objective.measure else { return };
    let block = probe.block.to_json();
    // A probe that says no mode asks, and calls nobody.
    let mode = block.get("mode").and_then(|mode| mode.as_str()).unwrap_or("options");
    let counts = match mode {
        "call" | "ring" => ratio.is_of_calls(),
        "register" => !ratio.is_of_calls(),
        _ => false,
    };
    if probe.kind == "sip" && counts {
        return;
    }
    let kind = match probe.kind.as_str() {
        "sip" => format!("sip with `mode: {mode}`"),
        kind => kind.to_owned(),
    };
    let message =
        format!("`{}` of `{}`, a probe of kind {kind}", ratio.as_str(), probe.schedule.name);
    let cure = if ratio.is_of_calls() {
        "it is of calls: name a sip probe with `mode: call` or `mode: ring`"
    } else {
        "it is of registrations: name a sip probe with `mode: register`"
    };
    problems.report::<()>(placed.at, "ratio-mismatch", message, cure);
}

/// Rules that count windows mean little where one attempt fills several.
fn intervals(placed: &Placed, slowest_s: u64, warnings: &mut Problems) {
    let objective = &placed.objective;
    let width_s = u64::from(objective.window.width_s);
    let held = slowest_s.div_ceil(width_s);
    if held > 1 && objective.outage.after > 1 && objective.outage.after <= held {
        let message =
            format!("one attempt every {slowest_s} s fills {held} windows of {width_s} s");
        let cure = format!("a single bad attempt is an outage: write `after: {}`", held + 1);
        warnings.report::<()>(placed.at, "after-under-interval", message, cure);
    }
    if held > 1 && objective.outage.bridge < held {
        let message = format!("one lost attempt leaves {held} windows of {width_s} s Unknown");
        let cure = format!("it ends an outage: write `bridge: {held}`");
        warnings.report::<()>(placed.at, "bridge-under-interval", message, cure);
    }
}

/// True when even faultless attempts are fewer than ln 0.05 / ln target, that is when target^attempts > 5 %.
///
/// In fixed point of 62 bits, rounded down a step, which is far finer than a warning needs.
fn unprovable(target: &Exact, attempts: u64) -> bool {
    const BITS: u32 = 62;
    let scaled = (target * Exact::from_integer(BigInt::from(1_u64 << BITS))).to_integer();
    let Ok(mut square) = u128::try_from(scaled) else { return false };
    if square >= 1 << BITS {
        return true;
    }
    let (mut power, mut rest) = (1_u128 << BITS, attempts);
    while rest > 0 {
        if rest % 2 == 1 {
            power = (power * square) >> BITS;
        }
        square = (square * square) >> BITS;
        rest /= 2;
    }
    power > (1_u128 << BITS) / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of attempts that prove a target at 95 %.
    #[test]
    fn what_can_be_proven() {
        for (target, enough) in
            [("99.9%", 2_995), ("99.95%", 5_990), ("99.99%", 29_956), ("99.999%", 299_572)]
        {
            let target = number::percentage(target).expect("valid");
            assert!(!unprovable(&target, enough), "{enough} suffice");
            assert!(unprovable(&target, enough - 1), "{enough} are needed");
        }
        assert!(unprovable(&number::whole(1), u64::MAX));
    }
}
