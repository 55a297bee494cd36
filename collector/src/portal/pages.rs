//! The pages: what a snapshot and the fleet say, as HTML. Names of others are escaped by the templates.
//!
//! Here is what stands round every page; `agreement` and `objective` have what verdicts say, `board` has the agents.

mod agreement;
mod board;
mod objective;

pub(super) use agreement::AgreementView;
pub(super) use board::AgentsPage;

use super::events::Marks;
use super::words;
use crate::evaluator::Snapshot;
use askama::Template;

/// A verdict that is older than this is said to stand still, s.
pub(super) const STALE_S: u64 = 60;

/// What stands round every page.
pub(super) struct Frame {
    pub(super) at: &'static str,
    pub(super) style: String,
    pub(super) script: String,
    /// What the page shows; when that has another mark, it is time to look again.
    pub(super) refresh: &'static str,
    pub(super) mark: String,
    pub(super) as_of: String,
    pub(super) trouble: Option<String>,
    pub(super) version: &'static str,
}

impl Frame {
    /// The frame of a page with verdicts, or with the board (`at` is `agents`).
    pub(super) fn new(at: &'static str, snapshot: &Snapshot, marks: Marks, now_s: u64) -> Self {
        let as_of = if snapshot.made_s == 0 {
            "reading the records …".to_owned()
        } else {
            let instant = i64::try_from(snapshot.as_of_s).unwrap_or_default();
            format!("as of {}", words::local_time(instant, &jiff::tz::TimeZone::UTC))
        };
        let idle_s = now_s.saturating_sub(snapshot.fresh_s);
        let trouble = match &snapshot.failure {
            Some(failure) => Some(failure.clone()),
            None if stands_still(snapshot, now_s) => {
                Some(format!("The last round of judging was {} ago.", words::age(idle_s)))
            }
            None => complaint(snapshot),
        };
        let (refresh, mark) =
            if at == "agents" { ("agents", marks.agents) } else { ("verdicts", marks.verdicts) };
        let (style, script) = (super::assets::style_path(), super::assets::script_path());
        let version = env!("CARGO_PKG_VERSION");
        Self { at, style, script, refresh, mark, as_of, trouble, version }
    }
}

/// What is wrong with a file of exclusions.
fn complaint(snapshot: &Snapshot) -> Option<String> {
    let mut complaints = snapshot.agreements.iter().filter_map(|now| now.complaint.as_ref());
    complaints.next().map(|what| format!("The exclusions stay as they were: {what}"))
}

/// Nothing has been judged for too long.
pub(super) fn stands_still(snapshot: &Snapshot, now_s: u64) -> bool {
    snapshot.made_s > 0 && now_s.saturating_sub(snapshot.fresh_s) > STALE_S
}

#[derive(Template)]
#[template(path = "agreements.html")]
pub(super) struct AgreementsPage {
    pub(super) frame: Frame,
    pub(super) agreements: Vec<AgreementView>,
    pub(super) no_agents: bool,
}

#[derive(Template)]
#[template(path = "agreement.html")]
pub(super) struct AgreementPage {
    pub(super) frame: Frame,
    pub(super) agreement: AgreementView,
}

#[derive(Template)]
#[template(path = "missing.html")]
pub(super) struct MissingPage {
    pub(super) frame: Frame,
    pub(super) what: String,
}
