//! What a promise rests on: an agreement cannot keep more than those that it names in `supported_by` keep together.
//!
//! They are taken as a series, in which each must work for the whole to work, so that their targets multiply. Only those
//! whose files were given are looked at.

use super::model::{Good, Objective, Scale, Unit};
use super::number::{self, Exact, percent_text};
use super::{Agreement, Place};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Position, Problems};

/// Reports objectives that promise more than what they rest on; `find` knows the agreements that were given.
pub(super) fn check(
    agreement: &Agreement,
    places: &[Place],
    find: impl Fn(&Name) -> Option<Agreement>,
    problems: &mut Problems,
) {
    for (objective, place) in agreement.objectives.iter().zip(places) {
        if place.inherited || objective.supported_by.is_empty() {
            continue;
        }
        if !is_share(objective) {
            let cure = "targets multiply where they are percentages: leave `supported_by` out";
            let message =
                format!("`{}` is no percentage that is good when it is high", objective.name);
            problems.report::<()>(place.at, "measure-target-mismatch", message, cure);
            continue;
        }
        let found = objective.supported_by.iter().map(|(id, name)| {
            let Some(other) = find(id) else { return Ok(None) };
            target_of(&other, name).map(Some).map_err(|why| (format!("`{id}/{name}`"), why))
        });
        match found.collect::<Result<Vec<Option<Exact>>, _>>() {
            Err((what, (code, cure))) => {
                problems.report::<()>(place.at, code, what, cure);
            }
            Ok(targets) => {
                // What is not known may be as good as can be.
                let product =
                    targets.into_iter().flatten().fold(number::whole(1), |all, one| all * one);
                too_weak(objective, &product, place.at, problems);
            }
        }
    }
}

fn too_weak(objective: &Objective, product: &Exact, at: Position, problems: &mut Problems) {
    if objective.target.limit <= *product {
        return;
    }
    let message = format!(
        "`{}` promises {}, and what it rests on comes to {}",
        objective.name,
        objective.target.text,
        percent_text(product)
    );
    problems.report::<()>(
        at,
        "chain-too-weak",
        message,
        "promise at most that, or agree on more below",
    );
}

/// The target of an objective, or the code and the cure of why it has none.
fn target_of(agreement: &Agreement, name: &Name) -> Result<Exact, (&'static str, String)> {
    let found = agreement.objectives.iter().find(|objective| objective.name == *name);
    match found {
        Some(objective) if is_share(objective) => Ok(objective.target.limit.clone()),
        Some(_) => {
            let cure = "it is no percentage that is good when it is high: leave it out".to_owned();
            Err(("measure-target-mismatch", cure))
        }
        None => {
            let names: Vec<&str> =
                agreement.objectives.iter().map(|objective| objective.name.as_str()).collect();
            Err(("unknown-objective", format!("objectives there: {}", names.join(", "))))
        }
    }
}

fn is_share(objective: &Objective) -> bool {
    objective.measure.scale() == Scale { unit: Unit::Share, good: Good::High }
}
