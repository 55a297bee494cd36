//! Text to model.

use super::model::{Objective, Terms};
use jiff::tz::TimeZone;
use probefleet_proto::yaml::{Node, Position, Problems};

/// An agreement as it was read, with the places that later checks report.
pub(super) struct Read {
    pub(super) terms: Terms,
    pub(super) zone: TimeZone,
    pub(super) objectives: Vec<Placed>,
}

/// An objective and where it stands.
pub(super) struct Placed {
    pub(super) at: Position,
    pub(super) objective: Objective,
}

/// Reads an agreement.
pub(super) fn agreement(_node: &Node, _problems: &mut Problems) -> Option<Read> {
    None
}
