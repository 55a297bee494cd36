//! Text to model: every key in one place, every problem in one run.

mod calendar;
mod credit;
mod objective;
mod scalar;
mod terms;

use super::model::{Objective, Terms};
use jiff::tz::TimeZone;
use probefleet_proto::yaml::{Map, Node, Position, Problems};

/// An agreement as it was read, with the places that later checks report.
pub(super) struct Read {
    pub(super) terms: Terms,
    pub(super) zone: TimeZone,
    pub(super) objectives: Vec<Placed>,
    /// Where the parties and the credits stand.
    pub(super) parties_at: Position,
    pub(super) credits_at: Position,
}

/// An objective and where it stands.
pub(super) struct Placed {
    /// Its name's place.
    pub(super) at: Position,
    /// Its probes' places, in their order.
    pub(super) probes_at: Position,
    pub(super) objective: Objective,
}

/// Keys of the language that cannot be judged yet, and what to do instead.
const NOT_YET: &[(&str, &str)] = &[
    ("parent", "write the parent's objectives into this agreement"),
    ("termination", "leave it out and count breached periods by hand"),
];

/// Reads an agreement.
pub(super) fn agreement(node: &Node, problems: &mut Problems) -> Option<Read> {
    let mut map = Map::open(node, "an agreement", problems)?;
    refuse(&mut map, NOT_YET, problems);
    let read = terms::terms(&mut map, problems);
    let [parties_at, credits_at] =
        ["parties", "credits"].map(|key| map.get(key).map_or(map.at(), |node| node.at));
    let known = read.as_ref().map(|(terms, _)| terms);
    let objectives = map.required("objectives", problems, |node, problems| {
        objective::objectives(node, known, problems)
    });
    map.finish(problems);
    let ((terms, zone), objectives) = (read?, objectives?);
    Some(Read { terms, zone, objectives, parties_at, credits_at })
}

/// Reports the keys that stand there but cannot be judged yet.
fn refuse(map: &mut Map<'_>, keys: &[(&'static str, &str)], problems: &mut Problems) {
    for (key, instead) in keys {
        if let Some(node) = map.get(key) {
            not_yet(node.at, &format!("`{key}`"), instead, problems);
        }
    }
}

/// Reports that the language has `what`, but this program cannot judge it yet.
fn not_yet(at: Position, what: &str, instead: &str, problems: &mut Problems) {
    let message = format!("{what} cannot be judged yet");
    problems.report::<()>(at, "not-supported-yet", message, instead);
}
