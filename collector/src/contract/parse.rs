//! Text to model: every key in one place, every problem in one run.

pub(super) mod calendar;
pub(super) mod credit;
pub(super) mod objective;
pub(super) mod scalar;
pub(super) mod termination;
pub(super) mod terms;

use super::levels;
use super::model::{Objective, Terms};
use jiff::tz::TimeZone;
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Map, Node, Position, Problems};

/// An agreement as it was read, with the places that later checks report.
pub(super) struct Read {
    pub(super) terms: Terms,
    pub(super) zone: TimeZone,
    /// Those that hold, inherited ones included.
    pub(super) objectives: Vec<Placed>,
    /// Where the parent, the parties and the credits stand.
    pub(super) parent_at: Position,
    pub(super) parties_at: Position,
    pub(super) credits_at: Position,
    /// The places of the rights to terminate, in their order.
    pub(super) termination_at: Vec<Position>,
}

/// What stands under the name of an objective.
pub(super) enum Entry {
    /// An objective.
    Objective(Box<Placed>),
    /// The word that an inherited one does not hold.
    Removed(Name, Position),
}

/// An objective and where it stands.
#[derive(Clone)]
pub(super) struct Placed {
    /// It stands in another file.
    pub(super) inherited: bool,
    /// Its name's place.
    pub(super) at: Position,
    /// Its probes' places, in their order.
    pub(super) probes_at: Position,
    pub(super) objective: Objective,
}

/// Reads an agreement; `parent` is the one that it inherits from.
pub(super) fn agreement(
    node: &Node,
    parent: Option<&Read>,
    problems: &mut Problems,
) -> Option<Read> {
    let mut map = Map::open(node, "an agreement", problems)?;
    map.optional("parent", None, problems, |node, p| node.name(p).map(Some));
    let mut read = terms::terms(&mut map, parent, problems);
    let termination =
        map.optional("termination", Vec::new(), problems, termination::rules).unwrap_or_default();
    let (termination_at, termination) = termination.into_iter().unzip();
    if let Some((terms, _)) = &mut read {
        terms.termination = termination;
    }
    let [parent_at, parties_at, credits_at] =
        ["parent", "parties", "credits"].map(|key| map.get(key).map_or(map.at(), |node| node.at));
    let known = read.as_ref().map(|(terms, _)| terms);
    let own = |node: &Node, problems: &mut Problems| {
        objective::objectives(node, known, parent.is_some(), problems)
    };
    let own = match parent {
        None => map.required("objectives", problems, own),
        Some(_) => map.optional("objectives", Vec::new(), problems, own),
    };
    map.finish(problems);
    let ((terms, zone), own) = (read?, own?);
    let (inherited, services) = match parent {
        Some(parent) => (&parent.objectives[..], &parent.terms.services[..]),
        None => (&[][..], &[][..]),
    };
    let objectives = levels::effective(inherited, own, (services, &terms.services), problems)?;
    if objectives.is_empty() {
        let cure = "an agreement promises at least one thing";
        return problems.report(node.at, "missing-key", "no objective is left", cure);
    }
    Some(Read { terms, zone, objectives, parent_at, parties_at, credits_at, termination_at })
}
