//! Levels: which of several agreements is judged, from which it inherits, and what an override may change.
//!
//! Only objectives are inherited, and an override replaces one as a whole, in its place. So what holds can be read in two
//! files side by side, and nothing is half inherited.

use super::model::{Good, Inherit, Objective, Operator, Service, Target};
use super::parse::{Entry, Placed};
use probefleet_proto::name::Name;
use probefleet_proto::yaml::{Node, Position, Problems, Value};

/// What is read of an agreement to know whose child it is, whatever else is wrong with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    id: String,
    id_at: Position,
    parent: Option<(String, Position)>,
}

impl Head {
    /// Reads the two keys; what they lack is said when the whole is read.
    pub(super) fn of(root: &Node) -> Self {
        let Value::Mapping(entries) = &root.value else { return Self::default() };
        let text = |wanted: &str| {
            let (_, node) = entries.iter().find(|(key, _)| key.text == wanted)?;
            match &node.value {
                Value::Scalar { text, .. } => Some((text.clone(), node.at)),
                Value::Sequence(_) | Value::Mapping(_) => None,
            }
        };
        let (id, id_at) = text("agreement").unwrap_or((String::new(), root.at));
        Self { id, id_at, parent: text("parent") }
    }

    /// What is said of a file that the agreement does not inherit from.
    pub(super) fn stranger(&self) -> Fault {
        let message = format!("`{}` is no ancestor of the agreement", self.id);
        Fault::new(self.id_at, "bad-value", message, "leave its file out")
    }

    /// True when it is the agreement of that name.
    pub(super) fn is(&self, id: &Name) -> bool {
        self.id == id.as_str()
    }

    /// True when it names no parent.
    pub(super) fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}

/// The places of the judged agreement and its ancestors, the eldest first.
///
/// # Errors
/// The place of the file that is wrong, with what to report.
pub(super) fn lineage(heads: &[Head], judged: Option<usize>) -> Result<Vec<usize>, (usize, Fault)> {
    for (index, head) in heads.iter().enumerate() {
        // Where one of many is asked for, what the others are called matters to it only if it inherits from them.
        if judged.is_none() && heads[..index].iter().any(|other| other.id == head.id) {
            let message = format!("agreement `{}` a second time", head.id);
            return Err((
                index,
                Fault::new(head.id_at, "duplicate-name", message, "give each file once"),
            ));
        }
    }
    let judged = match (judged, heads) {
        (Some(judged), _) => judged,
        (None, [_]) => 0,
        (None, _) => only_one_without_children(heads)?,
    };
    let (mut lineage, mut at) = (vec![judged], judged);
    while let Some((parent, position)) = heads.get(at).and_then(|head| head.parent.as_ref()) {
        let mut named = (0..heads.len()).filter(|index| heads[*index].id == *parent);
        let (found, second) = (named.next(), named.next());
        let fault = |message: String, cure| Fault::new(*position, "unknown-parent", message, cure);
        match found {
            None => {
                let message = format!("agreement `{parent}` was not given");
                return Err((at, fault(message, "give its file too")));
            }
            Some(_) if second.is_some() => {
                let message = format!("agreement `{parent}` was given twice");
                return Err((at, fault(message, "give its file once")));
            }
            Some(next) if lineage.contains(&next) => {
                let message = format!("`{parent}` inherits from this agreement itself");
                return Err((at, fault(message, "name an agreement of a higher level")));
            }
            Some(next) => {
                lineage.push(next);
                at = next;
            }
        }
    }
    lineage.reverse();
    Ok(lineage)
}

/// The one that no other names as its parent.
fn only_one_without_children(heads: &[Head]) -> Result<usize, (usize, Fault)> {
    let is_parent =
        |id: &str| heads.iter().any(|head| head.parent.as_ref().is_some_and(|(of, _)| of == id));
    let mut candidates = (0..heads.len()).filter(|index| !is_parent(&heads[*index].id));
    let first = candidates.next();
    let fault = |index: usize, message: String| {
        let cure = "give one agreement, and those that it inherits from by `parent`";
        (index, Fault::new(heads[index].id_at, "bad-value", message, cure))
    };
    match (first, candidates.next()) {
        (Some(only), None) => Ok(only),
        (Some(first), Some(second)) => {
            let (first, id) = (&heads[first].id, &heads[second].id);
            Err(fault(second, format!("neither `{id}` nor `{first}` inherits from the other")))
        }
        (None, _) => Err(fault(0, "every one of them is the parent of another".to_owned())),
    }
}

/// Something to report.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    at: Position,
    code: &'static str,
    message: String,
    cure: &'static str,
}

impl Fault {
    fn new(at: Position, code: &'static str, message: String, cure: &'static str) -> Self {
        Self { at, code, message, cure }
    }

    /// As the problem of a file.
    pub(super) fn of_file(self, name: &str) -> Problems {
        let mut problems = Problems::new(name);
        problems.report::<()>(self.at, self.code, self.message, self.cure);
        problems
    }
}

/// The objectives that hold: the parent's in its order, each as the child overrides it, then the child's own.
pub(super) fn effective(
    inherited: &[Placed],
    own: Vec<Entry>,
    services: (&[Service], &[Service]),
    problems: &mut Problems,
) -> Option<Vec<Placed>> {
    let mut effective: Vec<Placed> = inherited
        .iter()
        .map(|placed| {
            let mut placed = Placed { inherited: true, ..placed.clone() };
            placed.objective.service = moved(placed.objective.service, services)?;
            Some(placed)
        })
        .collect::<Option<_>>()?;
    let mut good = true;
    for entry in own {
        let (name, at) = entry.name();
        let place = effective.iter().position(|placed| placed.objective.name == *name);
        let parent = place.and_then(|place| effective.get(place)).map(|placed| &placed.objective);
        if let Some(parent) = parent
            && !may_override(parent, &entry, at, problems)
        {
            good = false;
            continue;
        }
        match (entry, place) {
            (Entry::Objective(placed), Some(place)) => effective[place] = *placed,
            (Entry::Objective(placed), None) => effective.push(*placed),
            (Entry::Removed(..), Some(place)) => {
                effective.remove(place);
            }
            (Entry::Removed(name, at), None) => {
                let message = format!("`{name}` is inherited from nowhere");
                problems.report::<()>(at, "unknown-objective", message, "leave it out");
                good = false;
            }
        }
    }
    good.then_some(effective)
}

/// The place of a parent's service among those of the child.
fn moved(service: usize, (parents, own): (&[Service], &[Service])) -> Option<usize> {
    let name = &parents.get(service)?.name;
    own.iter().position(|service| service.name == *name)
}

/// Reports an override that the parent forbids.
fn may_override(parent: &Objective, entry: &Entry, at: Position, problems: &mut Problems) -> bool {
    let name = &parent.name;
    match (parent.inherit, entry) {
        (Inherit::Open, _) => true,
        (Inherit::Locked, _) => {
            let message = format!("the parent has locked `{name}`");
            problems.report::<()>(at, "locked-override", message, "leave it out: it is inherited");
            false
        }
        (Inherit::Floor, Entry::Removed(..)) => {
            let message = format!("the parent promises `{name}` as a floor");
            problems.report::<()>(at, "floor-violation", message, "leave it out: it is inherited");
            false
        }
        (Inherit::Floor, Entry::Objective(child)) => match weaker(parent, &child.objective) {
            None => true,
            Some(what) => {
                let message = format!("{what} `{name}` of the parent, which is a floor");
                let cure =
                    "only a stricter target, the credit, supported_by and inherit may differ";
                problems.report::<()>(at, "floor-violation", message, cure);
                false
            }
        },
    }
}

/// In what an override falls short of a floor.
fn weaker(parent: &Objective, child: &Objective) -> Option<&'static str> {
    let alike = Objective {
        target: parent.target.clone(),
        credit: parent.credit.clone(),
        supported_by: parent.supported_by.clone(),
        inherit: parent.inherit,
        ..child.clone()
    };
    if alike != *parent {
        return Some("it measures otherwise than");
    }
    if !is_as_strict(&child.target, &parent.target) {
        return Some("its target is weaker than that of");
    }
    (child.inherit < parent.inherit).then_some("it may be overridden more freely than")
}

/// True when whoever keeps the first target keeps the second.
fn is_as_strict(first: &Target, second: &Target) -> bool {
    let strict = |target: &Target| matches!(target.operator, Operator::Above | Operator::Below);
    let further = match second.operator.good() {
        Good::High => first.limit.cmp(&second.limit),
        Good::Low => second.limit.cmp(&first.limit),
    };
    further.is_gt() || (further.is_eq() && (strict(first) || !strict(second)))
}

impl Entry {
    fn name(&self) -> (&Name, Position) {
        match self {
            Self::Objective(placed) => (&placed.objective.name, placed.at),
            Self::Removed(name, at) => (name, *at),
        }
    }
}
